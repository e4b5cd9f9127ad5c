"""Values of execution stores as msgpack: types come back, and the keys of mappings in their order.

JSON's types, NaN and infinities, and bytes, datetime, UUID and ObjectId. Tuples become lists, as in JSON; numpy scalars and
subclasses of the plain types become the plain types. A datetime keeps its offset from UTC, or that it has none.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec

from ..canonical import MAX_DEPTH, encode_canonical, is_flat_json, is_plain_json
from ..decoding import UNDECODABLE, guarded
from ..errors import InvalidTypeError, InvalidValueError, UnreadableError, UsageError
from ..validation import shorten

MAX_VALUE_BYTES = 16 * 1024 * 1024

_DATETIME, _UUID, _OBJECT_ID = 1, 2, 3
_INTEGERS = range(-(2**63), 2**64)
_ALLOWED = (
    "a string, bytes, a number, a boolean, None, a datetime, a UUID, an ObjectId, or a list or dict of these"
)
_HEX_DIGITS = re.compile("[0-9a-f]{24}")
_AS_IT_IS = frozenset({NoneType, bool, bytes})
_LEAVES = _AS_IT_IS | {str, int, float}

_SUBCLASSES: tuple[tuple[Any, Any], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((bytes, bytearray, memoryview), bytes),
)

_Path = tuple[Any, str | int] | None

_encode = msgspec.msgpack.Encoder().encode


def encode_value(value: object) -> bytes:
    """Return a value as msgpack, with the keys of mappings in their order.

    Raises
    ------
    InvalidTypeError
        Something in it is of another type; the message names the place.
    InvalidValueError
        An integer has more than 64 bits, a text has a lone surrogate, something contains itself or is too
        deep, or all of it has more than 16 MB.
    """
    if isinstance(value, (str, bytes, bytearray)) and len(value) > MAX_VALUE_BYTES:
        raise _too_large(len(value))
    try:
        encoded = _encode(_plain(value, None, _Walk()))
    except UnicodeEncodeError as error:
        place = _show(next(_surrogates(value, None), None))
        raise InvalidValueError(f"{place} must be Unicode, without lone surrogates") from error
    if len(encoded) > MAX_VALUE_BYTES:
        raise _too_large(len(encoded))
    return encoded


def canonical_value(encoded: bytes) -> bytes:
    """Return an encoded value with the keys of mappings sorted: equal ones give equal bytes."""
    return encode_canonical(msgspec.msgpack.decode(encoded))


def is_equal(one: bytes, other: bytes) -> bool:
    """Whether two encoded values are equal in Python. NaN equals NaN."""
    return canonical_value(one) == canonical_value(other) or decode_value(one) == decode_value(other)


def decode_value(encoded: bytes, position: int | None = None) -> Any:
    """Return an encoded value, a new object at each call. An ObjectId is text where `bson` is not installed.

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
        if type(value) not in _LEAVES and not _is_plain(value):
            _plain(value, None, _Walk())
    except (*UNDECODABLE, ValueError, UsageError) as error:
        where = "" if position is None else f" at position {position}"
        raise UnreadableError(
            f"the stored value{where} cannot be read: {error}", position=position
        ) from error
    return value


def _is_plain(value: Any) -> bool:
    """Whether a decoded value has the types of JSON only. Most are small dicts."""
    return (type(value) is dict and is_flat_json(value)) or is_plain_json([{"": value}])


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
        # There are many NaNs; one of them is stored.
        return math.nan if value != value else value  # noqa: PLR0124 - only NaN differs from itself
    if value not in _INTEGERS:
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
    if type(value).__name__ == "ObjectId" and _HEX_DIGITS.fullmatch(str(value)):
        return msgspec.msgpack.Ext(_OBJECT_ID, bytes.fromhex(str(value)))
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
    """Return a value as JSON has it: what JSON does not have becomes an object of one key that says what it is."""
    if isinstance(value, dict):
        return {key: json_form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_form(item) for item in value]
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _tagged(value)


def _tagged(value: Any) -> dict[str, str]:
    match value:
        case bytes():
            return {_BYTES_NAME: base64.b64encode(value).decode()}
        case datetime():
            return {_DATETIME_NAME: value.isoformat()}
        case UUID():
            return {_UUID_NAME: str(value)}
        case float():
            return {_FLOAT_NAME: str(value)}
        case _:
            return {_OBJECT_ID_NAME: str(value)}


def from_json_form(value: Any) -> Any:
    """Return the value that `json_form` stands for; `InvalidValueError` when what it names is none."""
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


def object_id(digits: str) -> Any:
    """Return the ObjectId of 24 lowercase hex digits, or the digits where `bson` is not installed."""
    try:
        from bson.objectid import ObjectId  # pyright: ignore[reportMissingImports]
    except ImportError:
        return digits
    return ObjectId(digits)


def is_object_id(text: str) -> bool:
    """Whether a text is 24 lowercase hex digits, as ObjectIds print."""
    return _HEX_DIGITS.fullmatch(text) is not None


def _read_object_id(text: str) -> Any:
    if not is_object_id(text):
        raise ValueError("it is not 24 hex digits")
    return object_id(text)


_BYTES_NAME, _DATETIME_NAME, _UUID_NAME = "$bytes", "$datetime", "$uuid"
_FLOAT_NAME, _OBJECT_ID_NAME = "$float", "$oid"
_READ: dict[str, Callable[[str], Any]] = {
    _BYTES_NAME: _read_base64,
    _DATETIME_NAME: datetime.fromisoformat,
    _UUID_NAME: UUID,
    _FLOAT_NAME: float,
    _OBJECT_ID_NAME: _read_object_id,
}


def _extension(code: int, data: memoryview) -> Any:
    if code == _DATETIME:
        return datetime.fromisoformat(bytes(data).decode())
    if code == _UUID:
        return UUID(bytes=bytes(data))
    if code == _OBJECT_ID and len(data) == 12:
        return object_id(bytes(data).hex())
    raise ValueError(f"extension {code} is unknown")


_decode = guarded(msgspec.msgpack.Decoder(ext_hook=_extension).decode)
