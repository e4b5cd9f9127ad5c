"""Columns of metadata to canonical MessagePack: JSON text, structs, and maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ...engine.canonical import canonical_object, encode_canonical, is_plain_json, suspicious_floats
from ...engine.errors import InvalidValueError
from ...engine.log.decoding import gc_paused
from .pieces import (
    Encoded,
    Mask,
    Part,
    fixed,
    floats,
    integers,
    join,
    lists,
    maps,
    only,
    pc,
    present_in,
    strings,
    text,
)
from .typed import OfItems, children, listed, numbers, plain, words

_NOT_ENCODED = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)
_EMPTY = b"\x80"
_NULL = b"\xc0"
_NAME = "v"
_AROUND = len(encode_canonical({_NAME: None})) - 1


def objects(array: pa.Array, what: str, odd: Any) -> Encoded | None:
    """Return dicts encoded; None if none of them has a key."""
    array = plain(array)
    if pa.types.is_null(array.type) or array.null_count == len(array):
        return None
    if pa.types.is_struct(array.type):
        return _not_empty(_struct(array, what, odd), len(array))
    if pa.types.is_map(array.type):
        return _sparse(_each(array.to_pylist(maps_as_pydicts="strict"), odd, is_object=True))
    return _sparse(_from_json(words(array, what), odd))


def nested(columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """Return columns by dotted key as one column of structs; a struct of nulls alone is null."""
    direct: dict[str, pa.Array] = {}
    deeper: dict[str, dict[str, pa.Array]] = {}
    for key, column in columns.items():
        first, dot, rest = key.partition(".")
        if dot:
            deeper.setdefault(first, {})[rest] = column
        else:
            direct[first] = column
    for key in deeper.keys() & direct.keys():
        raise InvalidValueError(
            f"columns has meta.{key} and keys below it: meta.{key} is either one value or a dict of values"
        )
    direct |= {key: nested(inner, rows) for key, inner in deeper.items()}
    arrays = list(direct.values())
    absent = np.ones(rows, bool)
    for array in arrays:
        absent &= np.asarray(array.is_null())
    return pa.StructArray.from_arrays(arrays, list(direct), mask=pa.array(absent))


def without_nulls(value: Any) -> Any:
    """Return a value of a row without the keys of structs that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _not_empty(fields: list[tuple[bytes, Encoded]], rows: int) -> Encoded | None:
    filled = np.zeros(rows, bool)
    for _, (_, present) in fields:
        if present is None:
            return Encoded(maps(fields, rows))
        filled |= present
    if not filled.any():
        return None
    return Encoded(maps(fields, rows), None if filled.all() else filled)


def _struct(array: pa.Array, what: str, odd: Any) -> list[tuple[bytes, Encoded]]:
    columns = children(array, what)
    ordered: Iterable[str] = msgspec.msgpack.decode(encode_canonical(dict.fromkeys(columns)))
    return [
        (text(key), value)
        for key in ordered
        if (value := _values(columns[key], f"{what}.{key}", odd)) is not None
    ]


def _values(array: pa.Array, what: str, odd: Any) -> Encoded | None:
    """Return values of any type encoded; None if all are null."""
    array = plain(array)
    if array.null_count == len(array):
        return None
    parts = _plain_values(array, what, odd)
    return (
        _sparse(_each(array.to_pylist(), odd, is_object=False))
        if parts is None
        else Encoded(parts, present_in(array))
    )


def _plain_values(array: pa.Array, what: str, odd: Any) -> list[Part] | None:
    """Return values of the types of JSON encoded; None for other types."""
    kind = array.type
    parts: list[Part] | None = None
    if pa.types.is_boolean(kind):
        flags = np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False))
        parts = [fixed((0xC2 + flags).astype(np.uint8).reshape(-1, 1))]
    elif pa.types.is_integer(kind):
        values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
        parts = [integers(values.astype(np.uint64 if kind == pa.uint64() else np.int64))]
    elif pa.types.is_floating(kind):
        parts = [floats(numbers(array, what, odd))]
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        parts = strings(words(array, what))
    elif pa.types.is_struct(kind):
        parts = maps(_struct(array, what, odd), len(array))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        parts = _list(array, what, odd)
    return parts


def _list(array: pa.Array, what: str, odd: Any) -> list[Part]:
    offsets, items = listed(array, what)
    found = _values(items, what, OfItems(odd, np.diff(offsets))) if len(items) else None
    if found is None:
        encoded = pa.repeat(pa.scalar(_NULL, pa.binary()), len(items))  # type: ignore[arg-type]
    else:
        encoded = _joined(found, len(items))
    return lists(encoded, offsets)


def _joined(found: Encoded, rows: int) -> pa.Array:
    if found.present is None:
        return join(found.parts, rows)
    return pc.fill_null(only(found.parts, found.present, rows), _NULL)


def _from_json(array: pa.Array, odd: Any) -> list[bytes | None]:
    """Return dicts in JSON encoded."""
    whole = array.to_pylist()
    texts = [each or "{}" for each in whole]
    try:
        with gc_paused():
            found: list[Any] = msgspec.json.decode(f"[{','.join(texts)}]")
            if len(found) == len(texts) and set(map(type, found)) <= {dict} and is_plain_json(found):
                return _checked(list(map(encode_canonical, found)), odd)
    except _NOT_ENCODED:
        pass
    return _each(whole, odd, is_object=True)


def _each(values: Sequence[Any], odd: Any, *, is_object: bool) -> list[bytes | None]:
    """Return values encoded one by one; those that cannot be are marked."""
    failed: list[bool] = []
    encoded: list[bytes | None] = []
    for value in values:
        data = None
        try:
            if value is not None:
                data = _encode_object(value) if is_object else _encode_value(value)
            failed.append(False)
        except (*_NOT_ENCODED, InvalidValueError):
            failed.append(True)
        encoded.append(data)
    odd.add(failed)
    return encoded


def _encode_object(value: Any) -> bytes:
    return encode_canonical(canonical_object(json_object(value), "meta"))


def _encode_value(value: Any) -> bytes:
    return encode_canonical(canonical_object({_NAME: without_nulls(value)}, "meta"))[_AROUND:]


def json_object(value: Any) -> Any:
    """Return the dict that a row gives as JSON, or a dict as it is."""
    if not isinstance(value, str):
        return without_nulls(value)
    try:
        return msgspec.json.decode(value) if value else {}
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidValueError(f"meta must be a JSON object, not {value[:60]!r}") from None


def _checked(encoded: list[bytes], odd: Any) -> list[bytes | None]:
    """Mark what may not be canonical."""
    found = suspicious_floats(encoded) if encoded else []
    if found:
        mask = np.zeros(len(encoded), bool)
        mask[found] = True
        odd.add(mask)
    return list(encoded)


def _sparse(encoded: list[bytes | None]) -> Encoded | None:
    present: Mask = np.fromiter((data is not None and data != _EMPTY for data in encoded), bool, len(encoded))
    if not present.any():
        return None
    return Encoded([pa.array(encoded, pa.binary())], None if present.all() else present)
