"""CSV tables of annotations: a row for each box or label."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .format import Format, Reading, Writing
from .report import FlawError, Report
from .tables.columns import HEADER, Columns, named_columns, unnamed_columns
from .tables.reader import Rows, has_table, read_tables
from .tables.writer import rows_of

_SUFFIXES = (".csv", ".tsv")
_START = 2**16
_MAX_FIELD = 2**20
_MAX_LINE = 2**24


def sniff(path: Path) -> bool:
    """Whether a file has columns of annotations; of a folder, one of the first files in it."""
    return has_table(path, _SUFFIXES, _columns_of)


def read(path: Path, report: Report) -> Reading:
    """Return the frames in tables.

    Raises
    ------
    UsageError
        There is no table of annotations.
    """
    return read_tables(path, "CSV", _SUFFIXES, _columns_of, _rows, report)


def _opened(file: Path) -> TextIO:
    return file.open(encoding="utf-8-sig", newline="")


def _columns_of(file: Path) -> Columns:
    if file.name == "metadata.csv":
        # It is that of an image folder.
        return named_columns(())
    try:
        with _opened(file) as opened:
            line = opened.readline(_START)
            first = next(csv.reader([line], delimiter=_delimiter(line)), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise FlawError(f"is not CSV in UTF-8: {error}") from error
    return unnamed_columns(first) or named_columns(first)


def _delimiter(line: str) -> str:
    return max(",\t;", key=line.count)


def _rows(file: Path, columns: Columns) -> Rows:
    csv.field_size_limit(_MAX_FIELD)
    try:
        with _opened(file) as opened:
            delimiter = _delimiter(opened.readline(_START))
            opened.seek(0)
            reader = csv.reader(_lines(opened), delimiter=delimiter)
            if columns.has_header:
                next(reader, None)
            yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise FlawError(f"is not CSV in UTF-8: {error}") from error


def _lines(opened: TextIO) -> Iterator[str]:
    while line := opened.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise FlawError(f"has a line of more than {_MAX_LINE:,} characters")
        yield line


def write(out: Writing) -> None:
    """Write `annotations.csv`, and the folder `images`."""
    with (out.path / "annotations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows_of(out))


FORMAT = Format("csv", "CSV tables", sniff, read, write)
