"""Values of execution stores as canonical msgpack: equal values give equal bytes, and types come back.

JSON's types, and bytes, datetime and UUID. Tuples become lists, as in JSON; keys of mappings are sorted; numpy scalars and subclasses of
the plain types become the plain types. A datetime keeps its offset from UTC, or that it has none.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec

from ..canonical import MAX_DEPTH, is_plain_json
from ..decoding import UNDECODABLE, guarded
from ..errors import InvalidTypeError, InvalidValueError, UnreadableError, UsageError
from ..validation import shorten

MAX_VALUE_BYTES = 16 * 1024 * 1024

_DATETIME, _UUID = 1, 2
_INTEGERS = range(-(2**63), 2**64)
_ALLOWED = "a string, bytes, a number, a boolean, None, a datetime, a UUID, or a list or dict of these"
_AS_IT_IS = frozenset({NoneType, bool, bytes})

_SUBCLASSES: tuple[tuple[Any, Any], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((bytes, bytearray, memoryview), bytes),
)

_Path = tuple[Any, str | int] | None

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def encode_value(value: object) -> bytes:
    """Return a value as canonical msgpack.

    Raises
    ------
    InvalidTypeError
        Something in it is of another type; the message names the place.
    InvalidValueError
        A number is not finite or has more than 64 bits, a text has a lone surrogate, something contains itself or is too
        deep, or all of it has more than 16 MB.
    """
    if isinstance(value, (str, bytes, bytearray)) and len(value) > MAX_VALUE_BYTES:
        raise _too_large(len(value))
    try:
        encoded = _encode(_plain(value, None, _Walk()))
    except UnicodeEncodeError as error:
        raise InvalidValueError(_lone_surrogate(value, None)) from error
    if len(encoded) > MAX_VALUE_BYTES:
        raise _too_large(len(encoded))
    return encoded


def decode_value(encoded: bytes, position: int | None = None) -> Any:
    """Return the value that canonical msgpack stands for, a new object at each call.

    Parameters
    ----------
    position : int, optional
        Position of its event in the log, for errors.

    Raises
    ------
    UnreadableError
        It is no value that `encode_value` makes.
    """
    try:
        value = _decode(encoded)
        # `is_plain_json` does not know the other types, and most values are plain.
        if not is_plain_json([{"": value}]):
            _plain(value, None, _Walk())
    except (*UNDECODABLE, ValueError, UsageError) as error:
        where = "" if position is None else f" at position {position}"
        raise UnreadableError(
            f"the stored value{where} cannot be read: {error}", position=position
        ) from error
    return value


class _Walk(msgspec.Struct, frozen=True, gc=False):
    """How deep a walk is, and how many items it has seen: one by many ways is walked as many times."""

    depth: int = 0
    seen: list[int] = msgspec.field(default_factory=lambda: [0])

    def into(self, container: Any, path: _Path) -> _Walk:
        if self.depth == MAX_DEPTH:
            raise _refused(
                container, path, f"of at most {MAX_DEPTH} levels, and nothing that contains itself"
            )
        self.seen[0] += len(container)
        if self.seen[0] > MAX_VALUE_BYTES:
            raise _too_large(self.seen[0])
        return _Walk(self.depth + 1, self.seen)


def _plain(value: Any, path: _Path, walk: _Walk) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if kind in _AS_IT_IS:
        return value
    if kind is int or kind is float:
        return _number(value, path)
    if kind is dict or kind is list or kind is tuple or isinstance(value, (Mapping, list, tuple)):
        return _container(value, path, walk.into(value, path))
    return _other(value, path, walk)


def _number(value: int | float, path: _Path) -> int | float:  # noqa: PYI041 - kept apart, not merged
    if type(value) is float:
        if not math.isfinite(value):
            raise _refused(value, path, "a finite number")
    elif value not in _INTEGERS:
        raise _refused(value, path, "an integer from -2**63 to 2**64 - 1")
    return value


def _container(value: Any, path: _Path, walk: _Walk) -> Any:
    if isinstance(value, (dict, Mapping)):
        # A list of the items: another thread may change the dict meanwhile.
        return {_key(key, path): _plain(item, (path, key), walk) for key, item in list(value.items())}
    return [_plain(item, (path, index), walk) for index, item in enumerate(value)]


def _key(key: object, path: _Path) -> str:
    if type(key) is str:
        return key
    if isinstance(key, str):
        return str.__str__(key)
    raise InvalidTypeError(f"{_show(path)}: keys must be strings, not {shorten(key)}")


def _other(value: object, path: _Path, walk: _Walk) -> Any:
    """Return what stands for a value of no plain type."""
    for kind, plain in _SUBCLASSES:
        if isinstance(value, kind):
            return _plain(plain(value), path, walk)
    if isinstance(value, datetime):
        return msgspec.msgpack.Ext(_DATETIME, value.isoformat().encode())
    if isinstance(value, UUID):
        return msgspec.msgpack.Ext(_UUID, value.bytes)
    return _plain(_scalar(value, path), path, walk)


def _scalar(value: object, path: _Path) -> bool | int | float:
    """Return the plain value behind a numpy scalar."""
    import numpy as np

    for kind, plain in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return plain(value)
    raise InvalidTypeError(
        f"{_show(path)} must be {_ALLOWED}, not {shorten(value)} of type {type(value).__name__}"
    )


def _refused(value: object, path: _Path, allowed: str) -> UsageError:
    return InvalidValueError(f"{_show(path)} must be {allowed}, not {shorten(value)}")


def _too_large(size: int) -> InvalidValueError:
    return InvalidValueError(
        f"the value has {size:,} bytes or more when encoded, the limit is {MAX_VALUE_BYTES:,}: store it as a file and keep its name here"
    )


def _lone_surrogate(value: Any, path: _Path) -> str:
    """Return what is said of a value that holds a lone surrogate: where it is."""
    place = next(_surrogates(value, path), path)
    return f"{_show(place)} must be Unicode, without lone surrogates"


def _surrogates(value: Any, path: _Path) -> Iterator[_Path]:
    """Yield the places of lone surrogates; that of a key is its mapping."""
    if _is_broken(value):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_broken(key):
                yield path
            yield from _surrogates(item, (path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _surrogates(item, (path, index))


def _is_broken(value: object) -> bool:
    try:
        return isinstance(value, str) and not value.encode()
    except UnicodeEncodeError:
        return True


def _show(path: _Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, step = path
        parts.append(f"[{step}]" if isinstance(step, int) else f"[{shorten(step)}]")
    shown = "value" + "".join(reversed(parts))
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-90:]}"


def json_form(value: Any) -> Any:
    """Return a value as JSON has it: bytes, datetimes and UUIDs become an object of one key that says what it is."""
    match value:
        case bytes():
            return {_BYTES_NAME: base64.b64encode(value).decode()}
        case datetime():
            return {_DATETIME_NAME: value.isoformat()}
        case UUID():
            return {_UUID_NAME: str(value)}
        case dict():
            return {key: json_form(item) for key, item in value.items()}
        case list():
            return [json_form(item) for item in value]
        case _:
            return value


def from_json_form(value: Any) -> Any:
    """Return the value that `json_form` stands for; `InvalidValueError` when bytes, a time or a UUID is none."""
    if isinstance(value, list):
        return [from_json_form(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, item),) = value.items()
        if name in _READ and isinstance(item, str):
            try:
                return _READ[name](item)
            except ValueError as error:
                raise InvalidValueError(f"{name}: {shorten(item)} is refused: {error}") from error
    return {key: from_json_form(item) for key, item in value.items()}


def _read_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_BYTES_NAME, _DATETIME_NAME, _UUID_NAME = "$bytes", "$datetime", "$uuid"
_READ: dict[str, Callable[[str], Any]] = {
    _BYTES_NAME: _read_base64,
    _DATETIME_NAME: datetime.fromisoformat,
    _UUID_NAME: UUID,
}


def _extension(code: int, data: memoryview) -> Any:
    if code == _DATETIME:
        return datetime.fromisoformat(bytes(data).decode())
    if code == _UUID:
        return UUID(bytes=bytes(data))
    raise ValueError(f"extension {code} is unknown")


_decode = guarded(msgspec.msgpack.Decoder(ext_hook=_extension).decode)
