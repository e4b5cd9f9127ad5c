"""The classes of entries and sub-entries: their names are recorded, so that an entry is read back as its class."""

from __future__ import annotations

from typing import Any, TypeVar

from ....engine.validation import KnownAttributes, refusal

ENTRY_CLASS = "_clearml_data_entry_class"
"""Metadata key of a frame that holds the class name of its entry, as in ClearML."""

SUB_ENTRY_CLASS = "_clearml_data_sub_entry_class"
"""Metadata key of a source that holds the class name of its sub-entry, as in ClearML."""

_OUR_MODULES = __name__.removesuffix("classes")

AnyEntry = TypeVar("AnyEntry")


class OpenObject(KnownAttributes):
    """Base class of the open API. Subclasses that scripts define may have any attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        is_ours = type(self).__module__.startswith(_OUR_MODULES)
        (KnownAttributes if is_ours else object).__setattr__(self, name, value)


def metadata_of(value: dict[str, Any] | None) -> dict[str, Any]:
    """Return metadata, a new dict for None; raises `InvalidValueError` if it is no dict."""
    if value is not None and not isinstance(value, dict):
        raise refusal("metadata", value, "a dict")
    return {} if value is None else value


def class_named(name: object, base: type[AnyEntry]) -> type[AnyEntry] | None:
    """Return the class of that name among `base` and its subclasses in this process, or None if no class has it."""
    waiting = [base]
    while waiting:
        cls = waiting.pop(0)
        if cls.__name__ == name:
            return cls
        waiting += cls.__subclasses__()
    return None


def without_constructor(cls: type[AnyEntry]) -> AnyEntry:
    """Return an instance whose constructor was not called: those of subclasses have parameters of their own."""
    return object.__new__(cls)
