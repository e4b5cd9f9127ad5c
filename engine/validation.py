"""Validation of values. Each check returns the value in canonical form."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath
from types import TracebackType
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from .errors import InvalidValueError
from .secrets import find_secret, redact, redact_url

_SIGNED = range(-(2**63), 2**63)
_LONGEST_NAME = 1_000


class _Repr(reprlib.Repr):
    """Removes secrets of URLs before it shortens a string, because a part of a URL cannot be recognized."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redact_url(x), level)

    def repr_instance(self, x: Any, level: int) -> str:
        shown = redact(repr(x))
        return shown if len(shown) <= self.maxother else self.repr_str(shown, level)[1:-1]


_repr = _Repr()

_repr.maxstring = _repr.maxother = _repr.maxlong = 60

_repr.maxlevel = 3


@runtime_checkable
class Array(Protocol):
    """A numpy array or a similar object."""

    def tolist(self) -> Any:
        """Return nested lists of Python values."""
        ...


def refusal(path: str, value: object, allowed: str) -> InvalidValueError:
    """Return an `InvalidValueError` for a field: what it must be, and its value."""
    return InvalidValueError(f"{path or 'the value'} must be {allowed}, not {shorten(value)}")


class About:
    """Prefixes the message of an `InvalidValueError` from the block with the object that it is about.

    Parameters
    ----------
    what : str
        Kind of object.
    value : object, optional
        Id of the object, shown in the message.
    """

    __slots__ = ("_value", "_what")

    def __init__(self, what: str, value: object = None) -> None:
        self._what, self._value = what, value

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InvalidValueError):
            raise about_error(self._what, self._value, error) from None


def about_error(what: str, value: object, error: InvalidValueError) -> InvalidValueError:
    """Return an error whose message begins with the object that it is about; see `About`."""
    which = "" if value is None else f" {shorten(value)}"
    return InvalidValueError(f"{what}{which}: {error}")


def shorten(value: object) -> str:
    """Return the repr of any value, shortened to fit a line."""
    try:
        return _repr.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list nested too deeply
        return f"<{type(value).__name__} too large to show>"


def refuse_secret(url: str, what: str, way_out: str) -> None:
    """Raise `InvalidValueError` if a URL has a password, token or signature. The message does not show the secret."""
    found = find_secret(url)
    if found is not None:
        raise InvalidValueError(f"{what}: {shorten(url)} contains {found}, which would be stored: {way_out}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the most similar known name, if there is one."""
    from difflib import get_close_matches

    # The time to compare long names grows with the square of their length.
    near = get_close_matches(name, list(known), 1) if len(name) <= _LONGEST_NAME else []
    return f": did you mean {shorten(near[0])}?" if near else ""


class KnownAttributes:
    """Base class of public objects. An attribute that does not exist cannot be set: the error names the most similar one."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        cls = type(self)
        if name[:1] != "_" and not hasattr(cls, name) and name not in cls.__annotations__:
            hint = did_you_mean(name, (known for known in dir(cls) if known[:1] != "_"))
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")
        descriptor: Any = getattr(cls, name, None)
        if hasattr(descriptor, "__set__"):  # also the fields of a Struct, which accept no other way
            descriptor.__set__(self, value)
        else:
            super().__setattr__(name, value)


def how_many(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 frame``, ``2,000 frames``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: object) -> str:
    """Return a string that is safe to show: without secrets of URLs, and with control characters escaped."""
    shown = redact(str(text))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def text(value: object, path: str) -> str:
    """Return `value` as a plain `str` without lone surrogates, which UTF-8 cannot encode."""
    if not isinstance(value, str):
        raise refusal(path, value, "a string")
    plain = value if type(value) is str else str.__str__(value)
    if not plain.isascii() and _has_surrogate(plain):
        raise refusal(path, value, "a string without lone surrogates")
    return plain


def name(value: object, path: str) -> str:
    """Return `value` as a non-empty string."""
    plain = text(value, path)
    if not plain:
        raise refusal(path, value, "a non-empty string")
    return plain


def identifier(value: object, path: str = "id") -> str:
    """Return an id, a non-empty string. Numbers and UUIDs are converted to strings."""
    if type(value) is str and value and value.isascii():
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        try:
            return str(int(value))
        except ValueError as error:  # Python writes integers of up to 4,300 digits
            raise refusal(path, value, "a shorter number") from error
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(number(value, path))
    if not isinstance(value, str):
        raise refusal(path, value, "a string or a number")
    return name(value, path)


def number(value: object, path: str) -> float:
    """Return `value` as a finite `float`, never -0.0. Booleans are not numbers."""
    try:
        plain = value if type(value) is float else _real(value)
    except OverflowError:
        plain = math.inf
    if plain is None or not math.isfinite(plain):
        raise refusal(path, value, "a finite number")
    return plain + 0.0


def whole(value: object, path: str) -> int:
    """Return `value` as a 64-bit `int`. A float without a fraction is accepted."""
    plain = value if type(value) is int else _integral(value)
    if plain is None or plain not in _SIGNED:
        raise refusal(path, value, "a 64-bit integer")
    return plain


def count(value: object, path: str) -> int:
    """Return `value` as an integer of at least 0."""
    if type(value) is int and 0 <= value < _SIGNED.stop:
        return value
    plain = whole(value, path)
    if plain < 0:
        raise refusal(path, value, "an integer of at least 0")
    return plain


def at_least(value: object, what: str, least: int) -> int:
    """Return the plain integer of an argument, which may be numpy's but not a boolean."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidValueError(f"{what} must be an integer of at least {least}, not {shorten(value)}")
    return int(value)


def fraction(value: object, path: str) -> float:
    """Return `value` as a number in [0, 1]."""
    plain = number(value, path)
    if not 0.0 <= plain <= 1.0:
        raise refusal(path, value, "a number in [0, 1]")
    return plain


def flag(value: object, path: str) -> bool:
    """Return a boolean argument. Booleans of numpy, integers and None are accepted, by their truth."""
    if value is None or isinstance(value, Real) or type(value).__name__ in {"bool", "bool_"}:
        return bool(value)
    raise refusal(path, value, "True or False")


def check_flags(**values: object) -> None:
    """Raise `InvalidValueError` if an argument is not a boolean; see `flag`."""
    for name, value in values.items():
        flag(value, name)


def label_list(value: object, path: str) -> list[str]:
    """Return a list of labels. A string is one label; None is an empty list."""
    if type(value) is list:
        for item in value:
            if type(item) is not str or not item.isascii():
                break
        else:
            return value.copy()
    if value is None:
        return []
    if isinstance(value, str):
        return [text(value, path)]
    if isinstance(value, Enum | bytes) or (isinstance(value, Integral) and not isinstance(value, bool)):
        return [label_text(value, path)]
    return [
        item if type(item) is str and item.isascii() else label_text(item, f"{path}[{index}]")
        for index, item in enumerate(items(value, path, "a list of strings"))
    ]


def label_text(value: object, path: str) -> str:
    """Return one label. Integers, paths, UUIDs and UTF-8 bytes become text, and members of an Enum their values."""
    plain = value.value if isinstance(value, Enum) else value
    if isinstance(plain, Integral) and not isinstance(plain, bool):
        return identifier(plain, path)
    if isinstance(plain, bytes):
        try:
            return plain.decode()
        except UnicodeDecodeError:
            raise refusal(path, plain, "a string, or bytes in UTF-8") from None
    return text(str(plain) if isinstance(plain, PurePath | UUID) else plain, path)


def items(value: object, path: str, allowed: str) -> list[Any] | tuple[Any, ...]:
    """Return the items of a list, tuple, array or other ordered iterable, but not of a string, set or mapping."""
    if isinstance(value, (list, tuple)):
        return value
    value = value.tolist() if isinstance(value, Array) else value
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)):
        raise refusal(path, value, allowed)
    return list(value)


def is_series(value: object) -> bool:
    """Whether a value is an iterable of values. Strings and zero-dimensional arrays are not."""
    is_text = isinstance(value, str | bytes | bytearray)
    return isinstance(value, Iterable) and not is_text and getattr(value, "ndim", 1) > 0


def fields(wire: object, allowed: Collection[str], path: str) -> dict[str, Any]:
    """Return the fields of a wire form that are set. Raises `InvalidValueError` for unknown fields."""
    if not isinstance(wire, (dict, Mapping)):
        raise refusal(path, wire, "a dict")
    for key in wire:
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise InvalidValueError(
                f"{dotted(path, str(key))} is an unknown field: it must be one of {known}"
            )
    return {key: value for key, value in wire.items() if value is not None}


def dotted(path: str, part: str) -> str:
    """Return the dotted path of a part."""
    return f"{path}.{part}" if path else part


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _real(value: object) -> float | None:
    value = _scalar(value)
    return float(value) if isinstance(value, Real | Decimal) and not isinstance(value, bool) else None


def _scalar(value: object) -> object:
    """Return the scalar of an array or tensor without dimensions, and any other value as it is."""
    return value.tolist() if getattr(value, "ndim", None) == 0 and isinstance(value, Array) else value


def _integral(value: object) -> int | None:
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    if isinstance(value, Integral):
        return int(value)
    plain = float(value)
    return int(plain) if plain.is_integer() else None


def check_name(name: object, what: str) -> str:
    """Return a name. Raises `InvalidValueError` if it is not a string, is blank, or cannot be stored."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"{what} must be a non-empty string, not {shorten(name)}")
    # In the keys of datasets, NUL separates the project from the name.
    if "\0" in name:
        raise InvalidValueError(f"{what} {shorten(name)} contains a NUL character, which is not allowed")
    return check_text(name, what)


def check_text(text: object, what: str) -> str:
    """Return a plain string, which may be empty. Raises `InvalidValueError` if it cannot be stored."""
    if not isinstance(text, str):
        raise InvalidValueError(f"{what} must be a string, not {shorten(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{what} {shorten(text)} contains a lone surrogate, which cannot be stored"
        raise InvalidValueError(message) from error
    return str.__str__(text)  # a subclass, such as numpy's, cannot be stored


def check_tags(tags: Iterable[str] | None) -> list[str]:
    """Return tags as a list without duplicates. Raises `InvalidValueError` if one is not a non-empty string."""
    if tags is None:
        return []
    if not is_series(tags):
        raise InvalidValueError(f"tags must be a list of strings, not {shorten(tags)}")
    return list(dict.fromkeys(check_name(tag, "a tag") for tag in tags))
