"""The size of the pages of a Parquet file, from their headers, before anything is decompressed.

The metadata of a file may claim less than its pages contain, and libraries allocate whatever a page claims.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

_UNCOMPRESSED, _COMPRESSED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8
"""Fields of a page header."""

_ENCODING = {_DATA: 2, _DATA_V2: 4}
"""Field of the encoding, by page type."""

_PREFIX_ENCODING = 7
"""DELTA_BYTE_ARRAY: each value may repeat the previous one, so a page does not show its expanded size."""

_DEEPEST = 8


def expanded_size(file: BinaryIO, column: Any, kept: Collection[str]) -> int:
    """Return the maximum size in bytes of a column chunk when it is read.

    Parameters
    ----------
    file : file
        The file.
    column : pyarrow.parquet.ColumnChunkMetaData
        The column chunk.
    kept : collection of str
        Columns whose dictionaries are kept when they are read.

    Raises
    ------
    ValueError
        The pages do not fill the chunk, or their encoding does not show their size.
    """
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    file.seek(start)
    size = dictionary = 0
    for page in _headers(file.read(column.total_compressed_size)):
        size += page[_UNCOMPRESSED]
        dictionary += page[_UNCOMPRESSED] if _DICTIONARY in page else 0
    if column.physical_type == "BYTE_ARRAY" and column.path_in_schema not in kept:
        # Each value may be the longest one of the dictionary.
        size += dictionary * column.num_values
    return size


def _headers(data: bytes) -> Iterator[dict[int, Any]]:
    at = 0
    try:
        while at < len(data):
            page, at = _struct(data, at)
            if page[_COMPRESSED] < 0 or page[_UNCOMPRESSED] < 0:
                raise ValueError("a page has a negative size")
            if any(
                page[kind][field] == _PREFIX_ENCODING for kind, field in _ENCODING.items() if kind in page
            ):
                raise ValueError("the encoding of a page does not show its size")
            yield page
            at += page[_COMPRESSED]
    except (LookupError, TypeError) as error:
        raise ValueError("a page header is damaged") from error
    if at != len(data):
        raise ValueError("the pages do not fill their column")


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Read a struct of Thrift's compact protocol, the format of page headers. Return its fields and its end."""
    if depth > _DEEPEST:
        raise ValueError("a page header is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[at]:
        at += 1
        step, kind = byte >> 4, byte & 15
        if step:
            number += step
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    match kind:
        case 1 | 2:
            return kind == 1, at
        case 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            return _integer(data, at)
        case 7:
            return None, at + 8
        case 8:
            length, at = _varint(data, at)
            return None, at + length
        case 12:
            return _struct(data, at, depth + 1)
        case _:
            raise ValueError(f"a page header has a field of unexpected type {kind}")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
        if shift > 63:
            raise ValueError("a page header has a number that is too long")
