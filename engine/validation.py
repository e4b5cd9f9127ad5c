"""Checks of values, each returning the value in canonical form."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from .errors import InvalidValueError
from .secrets import find_secret, redact, redact_url

_SIGNED = range(-(2**63), 2**63)


class _Repr(reprlib.Repr):
    """Hides secrets of URLs before it cuts text: a part of a URL does not show what it is."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redact_url(x), level)

    def repr_instance(self, x: Any, level: int) -> str:
        shown = redact(repr(x))
        return shown if len(shown) <= self.maxother else self.repr_str(shown, level)[1:-1]


_repr = _Repr()

_repr.maxstring = _repr.maxother = _repr.maxlong = 60

_repr.maxlevel = 3


@runtime_checkable
class _Array(Protocol):
    """What numpy arrays, and those that look like them, offer."""

    def tolist(self) -> Any: ...


def refusal(path: str, value: object, allowed: str) -> InvalidValueError:
    """Return the error that names a field, if it is about one, the value refused and what is allowed."""
    return InvalidValueError(f"{path}{': ' * bool(path)}{shorten(value)} is refused; allowed: {allowed}")


class About:
    """Puts what is being looked at in front of what a refusal inside the block says.

    Parameters
    ----------
    what : str
        Kind of thing.
    value : object, optional
        Which one; shown in the message.
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
            which = "" if self._value is None else f" {shorten(self._value)}"
            raise InvalidValueError(f"{self._what}{which}: {error}") from None


def shorten(value: object) -> str:
    """Return the repr of any value, cut to a line's length."""
    return _repr.repr(value)


def refuse_secret(url: str, what: str, way_out: str) -> None:
    """Raise `InvalidValueError` for a URL that holds a password, token or signature; the message does not show it."""
    found = find_secret(url)
    if found is not None:
        raise InvalidValueError(f"{what}: {shorten(url)} holds {found}, which would be stored: {way_out}")


def how_many(number: int, noun: str) -> str:
    """Return a number and what is counted: ``1 frame``, ``2,000 frames``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: object) -> str:
    """Return text to be shown: without secrets of URLs, and with control characters escaped."""
    shown = redact(str(text))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def text(value: object, path: str) -> str:
    """Return `value` as a plain `str`; lone surrogates are refused, as UTF-8 cannot carry them."""
    if not isinstance(value, str):
        raise refusal(path, value, "text")
    plain = value if type(value) is str else str.__str__(value)
    if not plain.isascii() and _has_surrogate(plain):
        raise refusal(path, value, "text without lone surrogates")
    return plain


def name(value: object, path: str) -> str:
    """Return `value` as text of at least one character."""
    plain = text(value, path)
    if not plain:
        raise refusal(path, value, "text that is not empty")
    return plain


def identifier(value: object, path: str = "id") -> str:
    """Return an id: text that is not empty; numbers become text."""
    if type(value) is str and value and value.isascii():
        return value
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(int(value)) if isinstance(value, Integral) else str(number(value, path))
    if not isinstance(value, str):
        raise refusal(path, value, "text or a number")
    return name(value, path)


def number(value: object, path: str) -> float:
    """Return `value` as a finite `float`, never -0.0; booleans are no numbers."""
    try:
        plain = value if type(value) is float else _real(value)
    except OverflowError:
        plain = math.inf
    if plain is None or not math.isfinite(plain):
        raise refusal(path, value, "a finite number")
    return plain + 0.0


def whole(value: object, path: str) -> int:
    """Return `value` as an `int` of 64 bits; a float without fraction is one too."""
    plain = value if type(value) is int else _integral(value)
    if plain is None or plain not in _SIGNED:
        raise refusal(path, value, "a whole number of 64 bits")
    return plain


def count(value: object, path: str) -> int:
    """Return `value` as a whole number that is not negative."""
    plain = whole(value, path)
    if plain < 0:
        raise refusal(path, value, "a whole number that is not negative")
    return plain


def at_least(value: object, what: str, least: int) -> int:
    """Return a whole number that an argument asks for; numpy's become plain ones, booleans are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidValueError(f"{what} must be a whole number of {least} or more, not {shorten(value)}")
    return int(value)


def fraction(value: object, path: str) -> float:
    """Return `value` as a number in [0, 1]."""
    plain = number(value, path)
    if not 0.0 <= plain <= 1.0:
        raise refusal(path, value, "a number in [0, 1]")
    return plain


def label_list(value: object, path: str) -> list[str]:
    """Return a list of labels; a lone text is one label, None is none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [text(value, path)]
    return [
        item if type(item) is str and item.isascii() else text(item, f"{path}[{index}]")
        for index, item in enumerate(items(value, path, "a list of text"))
    ]


def items(value: object, path: str, allowed: str) -> list[Any] | tuple[Any, ...]:
    """Return the items of a list, tuple, array or other ordered iterable; text and mappings are refused."""
    if isinstance(value, (list, tuple)):
        return value
    value = value.tolist() if isinstance(value, _Array) else value
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)):
        raise refusal(path, value, allowed)
    return list(value)


def is_series(value: object) -> bool:
    """Say whether a value holds several others to be taken one by one; text, and arrays without an axis, do not."""
    is_text = isinstance(value, str | bytes | bytearray)
    return isinstance(value, Iterable) and not is_text and getattr(value, "ndim", 1) > 0


def fields(wire: object, allowed: Collection[str], path: str) -> dict[str, Any]:
    """Return the fields of a wire form that are set, refusing unknown ones by name."""
    if not isinstance(wire, (dict, Mapping)):
        raise refusal(path, wire, "a dict")
    for key in wire:
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise InvalidValueError(f"{dotted(path, str(key))}: this field is unknown; allowed: {known}")
    return {key: value for key, value in wire.items() if value is not None}


def dotted(path: str, part: str) -> str:
    """Return the path of a part."""
    return f"{path}.{part}" if path else part


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def _integral(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    plain = float(value)
    return int(plain) if plain.is_integer() else None


def check_name(name: object, what: str) -> str:
    """Return a name; `InvalidValueError` when it is empty, no string, or cannot be stored."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"{what} must be a string that is not empty, not {shorten(name)}")
    # A NUL parts project and name where a dataset's name is claimed.
    if "\0" in name:
        raise InvalidValueError(f"{what} {shorten(name)} holds a NUL character, which names must not")
    return check_text(name, what)


def check_text(text: object, what: str) -> str:
    """Return a plain text, which may be empty; `InvalidValueError` when it is no string or not encodable."""
    if not isinstance(text, str):
        raise InvalidValueError(f"{what} must be a string, not {shorten(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{what} {shorten(text)} holds a lone surrogate, which cannot be stored"
        raise InvalidValueError(message) from error
    return str.__str__(text)  # a subclass, such as numpy's, cannot be stored


def check_tags(tags: Iterable[str] | None) -> list[str]:
    """Return tags as a list, each once; `InvalidValueError` for one that is no string."""
    if tags is None:
        return []
    if not is_series(tags):
        raise InvalidValueError(f"tags must be a list of strings, not {shorten(tags)}")
    return list(dict.fromkeys(check_name(tag, "a tag") for tag in tags))
