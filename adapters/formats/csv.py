"""CSV tables of annotations: a row for each box or label."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TextIO

from ...engine.errors import UsageError
from .files import Folder, folder_of
from .format import Format, Reading, Writing
from .report import FlawError, Report
from .tables.columns import HEADER, Columns, named_columns, unnamed_columns
from .tables.reader import MAPPING, Rows, items_of, with_mapping
from .tables.writer import rows_of

_SUFFIXES = (".csv", ".tsv")
_START = 2**16
_SAMPLE = 20
_MAX_FIELD = 2**20


def sniff(path: Path) -> bool:
    """Whether a file has columns of annotations; of a folder, one of the first files in it."""
    if path.is_file():
        return _is_table(path)
    files = sorted(file for file in islice(path.rglob("*"), 10_000) if file.suffix.lower() in _SUFFIXES)
    return any(map(_is_table, files[:_SAMPLE]))


def _is_table(file: Path, *, or_flawed: bool = False) -> bool:
    if file.suffix.lower() not in _SUFFIXES or file.name == "metadata.csv" or not file.is_file():
        return False
    try:
        return _columns_of(file).is_table
    except FlawError:
        return or_flawed


def read(path: Path, report: Report) -> Reading:
    """Return the frames in tables.

    Raises
    ------
    UsageError
        There is no table of annotations.
    """
    folder = Folder(path if path.is_dir() else folder_of(path), report)
    if path.is_file():
        files = [str(path.relative_to(folder.path))]
    else:
        files = [
            name
            for name in folder.with_suffix(_SUFFIXES)
            if _is_table(Path(folder.path, name), or_flawed=True)
        ]
    if not files:
        raise UsageError(f"{path} has no CSV file with columns of images and their labels or boxes")

    def open_table(file: str) -> tuple[Columns, Callable[[], Rows]]:
        full = Path(folder.path, file)
        columns = with_mapping(folder, file, _columns_of(full))
        if not columns.is_table:
            raise FlawError(
                f"has no columns of images and their labels or boxes that are known: name them in {file}{MAPPING}"
            )
        return columns, lambda: _rows(full, columns)

    return Reading(folder.path, items_of(folder, files, open_table, report))


def _opened(file: Path) -> TextIO:
    return file.open(encoding="utf-8-sig", newline="")


def _columns_of(file: Path) -> Columns:
    with _opened(file) as opened:
        try:
            first = next(csv.reader([opened.readline(_START)], delimiter=_delimiter(file)), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise FlawError(f"is not CSV in UTF-8: {error}") from error
    return unnamed_columns(first) or named_columns(first)


def _delimiter(file: Path) -> str:
    with _opened(file) as opened:
        try:
            line = opened.readline(_START)
        except UnicodeDecodeError as error:
            raise FlawError(f"is not text in UTF-8: {error.reason} at byte {error.start}") from error
    return max(",\t;", key=line.count)


def _rows(file: Path, columns: Columns) -> Rows:
    csv.field_size_limit(_MAX_FIELD)
    with _opened(file) as opened:
        try:
            reader = csv.reader(opened, delimiter=_delimiter(file))
            if columns.has_header:
                next(reader, None)
            yield from reader
        except (csv.Error, UnicodeDecodeError) as error:
            raise FlawError(f"is not CSV in UTF-8: {error}") from error


def write(out: Writing) -> None:
    """Write `annotations.csv`, and the folder `images`."""
    with (out.path / "annotations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows_of(out))


FORMAT = Format("csv", "CSV tables", sniff, read, write)
