"""Columns of any type as columns of the few types that frames have; what does not fit is marked, for a closer look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...engine.errors import InvalidValueError
from .pieces import Mask, offsets_of, pc

_WORDS = {pa.string(), pa.large_string(), pa.null()} | (
    {pa.string_view()} if hasattr(pa, "string_view") else set()
)


class Odd:
    """Marks the rows that must be looked at one by one."""

    def __init__(self, rows: int) -> None:
        self.rows: Mask = np.zeros(rows, bool)

    def add(self, mask: Any) -> None:
        """Mark rows."""
        self.rows |= np.asarray(mask, bool)


class OfItems:
    """Marks the rows of items of lists.

    Parameters
    ----------
    outer : Odd or OfItems
        Marks the rows.
    counts : ndarray of int64
        Number of items of each row.
    """

    def __init__(self, outer: Any, counts: NDArray[np.int64]) -> None:
        self._outer = outer
        self._counts = counts

    def add(self, mask: Any) -> None:
        """Mark the rows of items."""
        items = np.flatnonzero(np.asarray(mask, bool))
        if len(items):
            rows = np.zeros(len(self._counts), bool)
            rows[np.searchsorted(np.cumsum(self._counts), items, side="right")] = True
            self._outer.add(rows)


def plain(array: pa.Array) -> pa.Array:
    """Return a column without dictionaries and extension types at its top."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()  # type: ignore[attr-defined]
    return array


def words(array: pa.Array, what: str) -> pa.Array:
    """Return a column of strings."""
    array = plain(array)
    if array.type not in _WORDS:
        raise wrong_type(array, what, "strings")
    return array.cast(pa.string())


def names(array: pa.Array, what: str) -> pa.Array:
    """Return a column of ids as strings; numbers become text."""
    array = plain(array)
    return words(array.cast(pa.string()) if pa.types.is_integer(array.type) else array, what)


def wholes(array: pa.Array, what: str, odd: Any) -> NDArray[np.int64]:
    """Return a column of integers; nulls are 0."""
    array = plain(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64)
    if pa.types.is_integer(kind):
        values = _filled(array)
        if kind == pa.uint64():
            odd.add(values > np.uint64(2**63 - 1))
        return values.astype(np.int64, copy=False)
    if pa.types.is_floating(kind):
        values = _filled(array).astype(np.float64)
        fits = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2.0**63)
        odd.add(~fits)
        return np.where(fits, values, 0).astype(np.int64)
    raise wrong_type(array, what, "integers")


def numbers(array: pa.Array, what: str, odd: Any) -> NDArray[np.float64]:
    """Return a column of numbers in canonical form; nulls are 0."""
    array = plain(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array))
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise wrong_type(array, what, "numbers")
    values = _filled(array).astype(np.float64, copy=False) + 0.0
    finite = np.isfinite(values)
    if not finite.all():
        odd.add(~finite)
    return values


def _filled(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        array = pc.fill_null(array, 0)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def listed(array: pa.Array, what: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Return where the lists of a column begin and end, and their items; a null is an empty list."""
    array = plain(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array) + 1, np.int64), pa.nulls(0)
    if not _is_list(kind):
        raise wrong_type(array, what, "lists")
    if not pa.types.is_list(kind):
        array = array.cast(pa.list_(kind.value_type))
    if array.null_count:
        # A null may have items, too.
        lengths = np.diff(offsets_of(array))
        if lengths[~np.asarray(array.is_valid())].any():
            array = array.take(pa.array(np.arange(len(array))))
    offsets = offsets_of(array).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    return offsets - first, array.values[first:last]  # type: ignore[attr-defined]


def _is_list(kind: pa.DataType) -> bool:
    of_kind: tuple[Callable[[Any], bool], ...] = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        *(
            getattr(pa.types, name)
            for name in ("is_list_view", "is_large_list_view")
            if hasattr(pa.types, name)
        ),
    )
    return any(check(kind) for check in of_kind)


def children(array: pa.Array, what: str) -> dict[str, pa.Array]:
    """Return the columns of a column of structs; those of a null are null."""
    array = plain(array)
    if pa.types.is_null(array.type):
        return {}
    if not pa.types.is_struct(array.type):
        raise wrong_type(array, what, "structs")
    return dict(zip([field.name for field in array.type], array.flatten(), strict=True))  # type: ignore[attr-defined]


def wrong_type(array: pa.Array, what: str, needed: str) -> InvalidValueError:
    """Return the error for a column whose type no field of its kind can have."""
    return InvalidValueError(
        f"{what} must be a column of {needed}, not of {array.type}: convert it, or leave it out"
    )
