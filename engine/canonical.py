"""JSON-like values, such as metadata, in canonical form."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec
from blake3 import blake3

from .errors import InvalidValueError
from .validation import refusal, text

MAX_DEPTH = 100
"""Levels of nesting that metadata may have."""

_LONG = 256
"""A container of more items is copied in C when it holds plain values only."""

_FLOAT64 = 0xCB
"""What a float begins with in MessagePack."""

_INTEGERS = range(-(2**63), 2**64)

_LEAST, _MOST = _INTEGERS[0], _INTEGERS[-1]

_LEAVES = frozenset({str, int, float, bool, NoneType})

_VALUES = _LEAVES | {dict, list}

_TEXT = frozenset({str})

_JSON = "a string, a number, a boolean, None, or a list or dict of these"

_Path = tuple[Any, str | int]

encode_canonical = msgspec.msgpack.Encoder(order="deterministic").encode
"""Encodes canonical values: equal ones give equal bytes."""


def canonical_object(value: object, path: str) -> dict[str, Any]:
    """Return a deep copy of a mapping of JSON-like values in canonical form; None is an empty one.

    Tuples and arrays become lists, -0.0 becomes 0.0, numpy scalars and subclasses of the plain types become the plain
    types. Dates become ISO 8601 text, paths and UUIDs text, decimal numbers floats or text, members of an Enum their
    values. The missing values of pandas are left out of dicts.

    Parameters
    ----------
    value : mapping or None
        Text keys; text, bool, int of 64 bits (signed or unsigned), finite float, None, or mappings, lists and tuples
        of such values, at most `MAX_DEPTH` levels deep.
    path : str
        Name of the field, for errors.

    Raises
    ------
    InvalidValueError
        Anything else; the message has the path of the offending part.
    """
    if value is None:
        return {}
    if type(value) is dict and (copied := _copy_flat(value)) is not None:
        return copied
    if not isinstance(value, (dict, Mapping)):
        raise refusal(path, value, "a dict with JSON-like values")
    return _canonical(value, (None, path), 0)


def _copy_flat(value: dict[Any, Any]) -> dict[str, Any] | None:
    """Return a copy of a dict of canonical scalars; None if a value is anything else, or needs a closer look."""
    items = list(value.items())
    for key, item in items:
        kind = type(item)
        if type(key) is not str or not key.isascii():
            return None
        if kind is str:
            plain = item.isascii()
        elif kind is int:
            plain = _LEAST <= item <= _MOST
        elif kind is float:
            plain = item - item == 0 and item != 0
        else:
            plain = kind is bool or item is None
        if not plain:
            return None
    return dict(items)


def settle_object(held: dict[str, Any], path: str) -> None:
    """Bring a dict that users may have changed into canonical form, leaving it alone when it is."""
    if not held or _encoded(held, MAX_DEPTH) is not None:
        return
    canonical = canonical_object(held, path)
    # Users keep references into their metadata, so an unchanged tree must stay the same objects.
    if is_plain_json([held]) and encode_canonical(held) == encode_canonical(canonical):
        return
    held.clear()
    held.update(canonical)


def is_plain_json(objects: list[dict[str, Any]], levels: int = MAX_DEPTH) -> bool:
    """Tell whether dicts consist of the exact plain types only, at C speed over all of them.

    It looks at types alone: the size of integers, NaN and surrogates show when the dicts are encoded.
    """
    dicts, lists = objects, list[list[Any]]()
    for _ in range(levels):
        if not _TEXT.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        values = list(chain(chain.from_iterable(map(dict.values, dicts)), chain.from_iterable(lists)))
        kinds = set(map(type, values))
        if kinds <= _LEAVES:
            return True
        if not kinds <= _VALUES:
            return False
        # By identity: a container reached by many ways must not be walked as many times.
        full = list(filter(None, values))
        dicts = list({id(item): item for item in full if type(item) is dict}.values())
        lists = list({id(item): item for item in full if type(item) is list}.values())
    return False


def is_flat_json(held: dict[str, Any]) -> bool:
    """Tell whether a dict consists of the exact plain types only, none of them a list or dict."""
    return _LEAVES.issuperset(map(type, held.values())) and _TEXT.issuperset(map(type, held))


def _canonical(value: Any, path: _Path, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else text(value, _show(path))
    if kind is bool or value is None:
        return value
    if kind is int or kind is float:
        return _canonical_number(value, path)
    if isinstance(value, (dict, list, tuple, Mapping)):
        return _canonical_container(value, path, depth + 1)
    return _canonical(_plain(value, path), path, depth)


def _canonical_number(value: int | float, path: _Path) -> int | float:  # noqa: PYI041 - kept apart, not merged
    if type(value) is float:
        if not math.isfinite(value):
            raise refusal(_show(path), value, "a finite number")
        return value + 0.0
    if value not in _INTEGERS:
        raise refusal(_show(path), value, "an integer from -2**63 to 2**64 - 1")
    return value


def _canonical_container(value: Any, path: _Path, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise refusal(_show(path), value, f"nested at most {MAX_DEPTH} levels deep, without cycles")
    if len(value) > _LONG and (data := _encoded(value, MAX_DEPTH - depth + 1)) is not None:
        return msgspec.msgpack.decode(data)
    if isinstance(value, (dict, Mapping)):
        try:
            return _canonical_dict(value, path, depth)
        except _MissingValueError:
            held = {key: item for key, item in list(value.items()) if not is_missing(item)}
            return _canonical_dict(held, path, depth)
    return [_canonical(item, (path, index), depth) for index, item in enumerate(value)]


def _canonical_dict(value: Mapping[Any, Any], path: _Path, depth: int) -> dict[str, Any]:
    # A list of the items: another thread may change the dict meanwhile.
    return {_key(key, path): _canonical(item, (path, key), depth) for key, item in list(value.items())}


def _encoded(value: Any, levels: int) -> bytes | None:
    """Return plain values encoded; None if some may not be canonical, or are nested deeper than `levels`."""
    # One more level for the dict around it.
    if not is_plain_json([{"": value}], levels + 1):
        return None
    try:
        data = msgspec.msgpack.encode(value)
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return None if suspicious_floats([data]) else data


def _key(key: object, path: _Path) -> str:
    if type(key) is str and key.isascii():
        return key
    if not isinstance(key, str):
        raise refusal(f"each key of {_show(path)}", key, "a string")
    return text(key, _show(path))


def _plain(value: Any, path: _Path) -> Any:
    """Return the value of JSON that another value stands for; docs/how-to/frames.md lists them."""
    import numpy as np

    if is_missing(value):
        raise _MissingValueError(f"{_show(path)} is missing: {value!r} can only be left out of a dict")
    of_numpy: _Conversions = (
        (np.datetime64, str),
        (np.floating, float),
        ((np.bool_, np.integer), lambda scalar: scalar.tolist()),
        # Of moments, `tolist` would give some as integers.
        (
            np.ndarray,
            lambda array: list(array) if array.ndim and array.dtype.kind in "mM" else array.tolist(),
        ),
    )
    for kinds, convert in (*_CONVERSIONS, *of_numpy):
        if isinstance(value, kinds):
            return convert(value)
    raise refusal(_show(path), value, _JSON)


class _MissingValueError(InvalidValueError):
    """A missing value is not an item of a dict."""


def is_missing(value: object) -> bool:
    """Whether a value is the NA or NaT of pandas, or the NaT of numpy. It does not import pandas."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and (value is pandas.NA or value is pandas.NaT):
        return True
    return type(value).__name__ in {"datetime64", "timedelta64"} and str(value) == "NaT"


def _decimal(value: Decimal) -> float | str:
    """Return a decimal number as a float if that is exact, else as text."""
    if not value.is_finite():
        return float(value)
    plain = float(value)
    return plain if math.isfinite(plain) and Decimal(plain) == value else str(value)


_Conversions = tuple[tuple[Any, Callable[[Any], Any]], ...]

_CONVERSIONS: _Conversions = (
    (Enum, lambda member: member.value),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (date, lambda moment: moment.isoformat()),
    ((PurePath, UUID), str),
    (Decimal, _decimal),
)


def _show(path: _Path) -> str:
    parts: list[str] = []
    node: Any = path
    while node[0] is not None:
        parts.append(f"[{node[1]}]" if isinstance(node[1], int) else f".{node[1]}")
        node = node[0]
    shown = node[1] + "".join(reversed(parts))
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-90:]}"


def suspicious_floats(payloads: Sequence[bytes]) -> list[int]:
    """Return the indices of payloads that may contain NaN, an infinity or -0.0, which are not canonical.

    It searches for the first bytes of such floats anywhere in a payload, so there are false positives.
    """
    import numpy as np

    values = np.frombuffer(b"".join(payloads), np.uint8)
    at = np.flatnonzero(values[:-2] == _FLOAT64)
    first, second = values[at + 1], values[at + 2]
    endless = ((first & 0x7F) == 0x7F) & (second >= 0xF0)
    negative_zero = (first == 0x80) & (second == 0)
    found = at[endless | negative_zero]
    if not len(found):
        return []
    ends = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
    return np.unique(np.searchsorted(ends, found, side="right")).tolist()


def digest_of(*parts: bytes) -> bytes:
    """Return a 16-byte digest of parts, each preceded by its length."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest(length=16)
