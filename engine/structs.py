"""Struct types with constructors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import StructMeta

if TYPE_CHECKING:
    import inspect


_make = StructMeta.__call__


class InitStructMeta(StructMeta):
    """Struct types whose ``__init__`` checks what it is given; decoding does not pass through it."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        """Make the type; msgspec refuses an ``__init__`` in the body, so it is put in afterwards."""
        constructor = namespace.pop("__init__", None)
        cls = super().__new__(mcs, name, bases, namespace, **config)
        if constructor is not None:
            type.__setattr__(cls, "__init__", constructor)
        return cls

    # Hidden from type checkers, which then read each type's ``__init__``.
    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            """Make an instance with all fields at their defaults, then run its constructor."""
            self = _make(cls)
            self.__init__(*args, **kwargs)
            return self

    @property
    def __signature__(cls) -> inspect.Signature:
        """Signature of the constructor; msgspec would show the stored fields."""
        import inspect

        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])
