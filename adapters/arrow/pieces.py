"""Columns to MessagePack: each function encodes a whole column, and few calls join the columns to the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from ...engine.errors import InvalidValueError

Mask = NDArray[np.bool_]
Numbers = NDArray[Any]

pc: Any = compute
"""The functions of pyarrow on columns, which type checkers do not know."""

_MOST_BYTES = 2**31 - 1
_NOTHING = pa.scalar(b"", pa.binary())
_FLOAT64 = 0xCB
_INTEGERS = (
    # the first number that needs the next form, the first byte (0 for none), the bytes of the number
    (2**7, 0, 1),
    (2**8, 0xCC, 1),
    (2**16, 0xCD, 2),
    (2**32, 0xCE, 4),
    (2**64, 0xCF, 8),
)
_NEGATIVES = (
    (-(2**5), 0, 1),
    (-(2**7), 0xD0, 1),
    (-(2**15), 0xD1, 2),
    (-(2**31), 0xD2, 4),
    (-(2**63), 0xD3, 8),
)
_TEXTS = ((2**5, 0xA0, 0), (2**8, 0xD9, 1), (2**16, 0xDA, 2), (2**32, 0xDB, 4))
_ARRAYS = ((2**4, 0x90, 0), (2**16, 0xDC, 2), (2**32, 0xDD, 4))
_MAPS = ((2**4, 0x80, 0), (2**16, 0xDE, 2), (2**32, 0xDF, 4))

Part = bytes | pa.Array
"""The same bytes in each row, or those of each row in a column of type binary; null is no bytes."""


class Encoded(NamedTuple):
    """A column in MessagePack: the parts of each value in order, and which rows have one; None for all."""

    parts: list[Part]
    present: Mask | None = None


def text(value: str) -> bytes:
    """Return one encoded string."""
    data = value.encode()
    return _head(np.array([len(data)]), _TEXTS).tobytes() + data


def join(parts: Sequence[Part], rows: int) -> pa.Array:
    """Return the bytes of each row as one column."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        elif len(part) or not isinstance(part, bytes):
            merged.append(part)
    if not any(isinstance(part, pa.Array) for part in merged):
        return pa.repeat(pa.scalar(b"".join(merged), pa.binary()), rows)  # type: ignore[arg-type]
    if len(merged) == 1 and not merged[0].null_count:  # type: ignore[union-attr]
        return merged[0]  # type: ignore[return-value]
    pieces = [pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part for part in merged]
    return pc.binary_join_element_wise(*pieces, _NOTHING, null_handling="replace", null_replacement=b"")


def only(parts: Sequence[Part], present: Mask, rows: int) -> pa.Array:
    """Return the bytes of the rows that are present; the others are null."""
    return pc.if_else(pa.array(present), join(parts, rows), None)


def fixed(matrix: NDArray[np.uint8]) -> pa.Array:
    """Return the rows of a matrix of bytes as a column."""
    rows, width = matrix.shape
    return binary(np.arange(rows + 1, dtype=np.int64) * width, matrix)


def binary(offsets: Numbers, data: Any) -> pa.Array:
    """Return the column of the values between offsets into some bytes."""
    if offsets[-1] > _MOST_BYTES:
        raise InvalidValueError("a column of a batch has more than 2 GB: pass smaller batches")
    whole = np.ascontiguousarray(offsets, np.int32)
    return pa.Array.from_buffers(pa.binary(), len(whole) - 1, [None, pa.py_buffer(whole), _buffer(data)])


def _buffer(data: Any) -> pa.Buffer:
    return data if isinstance(data, pa.Buffer) else pa.py_buffer(np.ascontiguousarray(data))


def offsets_of(array: pa.Array) -> NDArray[np.int32]:
    """Return where the values of a column of strings, bytes or lists begin and end."""
    if not len(array):
        return np.zeros(1, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]  # type: ignore[arg-type]


def present_in(array: pa.Array) -> Mask | None:
    """Return which values of a column are not null; None for all."""
    return np.asarray(array.is_valid()) if array.null_count else None


def floats(values: NDArray[np.float64]) -> pa.Array:
    """Return encoded floats. They must be canonical."""
    return fixed(_float_matrix(values))


def _float_matrix(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    matrix = np.empty((len(values), 9), np.uint8)
    matrix[:, 0] = _FLOAT64
    matrix[:, 1:] = values.astype(">f8").view(np.uint8).reshape(-1, 8)
    return matrix


def float_lists(values: NDArray[np.float64], offsets: Numbers) -> list[Part]:
    """Return encoded lists of floats, which begin and end at offsets."""
    lengths = np.diff(offsets)
    return [*heads(lengths, _ARRAYS), binary(9 * offsets.astype(np.int64), _float_matrix(values))]


def integers(values: Numbers) -> pa.Array:
    """Return encoded integers of 64 bits, signed or not."""
    return _joined(_matrix_of(values))


def strings(array: pa.Array) -> list[Part]:
    """Return encoded strings; those of nulls are incomplete."""
    return [*heads(np.diff(offsets_of(array)), _TEXTS), array.cast(pa.binary())]


def lists(items: pa.Array, offsets: Numbers) -> list[Part]:
    """Return lists of encoded items, which begin and end at offsets."""
    return [*heads(np.diff(offsets), _ARRAYS), binary(offsets_of(items)[offsets], _data(items))]


def _data(array: pa.Array) -> pa.Buffer:
    return array.buffers()[2] or pa.py_buffer(b"")


def heads(lengths: Numbers, forms: Sequence[tuple[int, int, int]]) -> list[Part]:
    """Return what strings, lists or maps of so many bytes or items begin with."""
    if not len(lengths):
        return []
    least, most = int(lengths.min()), int(lengths.max())
    if least == most:
        return [_head(np.array([least]), forms).tobytes()]
    if most < forms[0][0]:
        return [fixed((forms[0][1] | lengths).astype(np.uint8).reshape(-1, 1))]
    widths = np.zeros(len(lengths), np.intp)
    matrix = np.zeros((len(lengths), 5), np.uint8)
    low = 0
    for limit, first, size in forms:
        rows = np.flatnonzero((lengths >= low) & (lengths < limit))
        if len(rows):
            matrix[rows, : 1 + size] = _head(lengths[rows], ((limit, first, size),))
            widths[rows] = 1 + size
        low = limit
    return [_joined((matrix, widths))]


def _head(lengths: Numbers, forms: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Return the first bytes for lengths that all have the same form."""
    first, size = next((first, size) for limit, first, size in forms if lengths[0] < limit)
    if not size:
        return (first | lengths).astype(np.uint8).reshape(-1, 1)
    matrix = np.empty((len(lengths), 1 + size), np.uint8)
    matrix[:, 0] = first
    matrix[:, 1:] = lengths.astype(f">u{size}").view(np.uint8).reshape(-1, size)
    return matrix


def maps(fields: Sequence[tuple[bytes, Encoded]], rows: int) -> list[Part]:
    """Return maps of encoded fields, given in order by encoded key; fields that are not present are left out."""
    counts = np.zeros(rows, np.int64)
    parts: list[Part] = []
    always = 0
    for key, (values, present) in fields:
        if present is None or present.all():
            always += 1
            parts += [key, *values]
        else:
            counts += present
            parts.append(only([key, *values], present, rows))
    return [*heads(counts + always, _MAPS), *parts]


def _matrix_of(values: Numbers) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    matrix = np.zeros((len(values), 9), np.uint8)
    widths = np.zeros(len(values), np.intp)
    todo = values >= 0
    for limit, first, size in _INTEGERS:
        todo = _take(matrix, widths, values, todo, values < limit if limit < 2**64 else None, first, size)
    if values.dtype.kind == "i":
        todo = values < 0
        for limit, first, size in _NEGATIVES:
            todo = _take(matrix, widths, values, todo, values >= limit, first, size)
    return matrix, widths


def _take(
    matrix: NDArray[np.uint8],
    widths: NDArray[np.intp],
    values: Numbers,
    todo: Mask,
    fits: Mask | None,
    first: int,
    size: int,
) -> Mask:
    """Encode the integers that fit one form, and return which of the others are left to do."""
    if not todo.any():
        return todo
    taken = todo if fits is None else todo & fits
    rows = np.flatnonzero(taken)
    if len(rows):
        head = 1 if first else 0
        matrix[rows, :head] = first
        numbers = values[rows].astype(f">{values.dtype.kind}8").view(np.uint8).reshape(-1, 8)
        matrix[rows, head : head + size] = numbers[:, 8 - size :]
        widths[rows] = head + size
    return todo & ~taken


def _joined(rows: tuple[NDArray[np.uint8], NDArray[np.intp]]) -> pa.Array:
    """Return the first bytes of each row of a matrix, of which there are so many."""
    matrix, widths = rows
    if not len(widths):
        return pa.array([], pa.binary())
    least, most = int(widths.min()), int(widths.max())
    if least == most:
        return fixed(matrix[:, :most])
    offsets = np.concatenate(([0], np.cumsum(widths)))
    used = matrix[:, :most]
    return binary(offsets, used[np.arange(most) < widths[:, None]])
