"""The classes of entries and sub-entries: their names are recorded, so that an entry is read back as its class."""

from __future__ import annotations

from typing import TypeVar

ENTRY_CLASS = "_clearml_data_entry_class"
"""Metadata key of a frame that holds the class name of its entry, as in ClearML."""

SUB_ENTRY_CLASS = "_clearml_data_sub_entry_class"
"""Metadata key of a source that holds the class name of its sub-entry, as in ClearML."""

AnyEntry = TypeVar("AnyEntry")


def class_named(name: object, base: type[AnyEntry]) -> type[AnyEntry] | None:
    """Return the class of that name among `base` and its subclasses in this process; None if there is none."""
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
