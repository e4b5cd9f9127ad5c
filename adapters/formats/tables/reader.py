"""Reads tables of annotations as frames. Rows of one image are one frame, wherever they are in the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..described import DescribedImages, is_remote
from ..files import Folder, folder_of, json_of
from ..format import SPLITS, Item, Reading, Wire
from ..report import FlawError, Report, finite
from .columns import CORNERS, EXTENT, Columns, mapped_columns

MAPPING = ".columns.json"
"""Suffix of the file that tells what the columns of a table are."""

Rows = Iterable[Sequence[Any]]
ColumnsOf = Callable[[Path], Columns]
RowsOf = Callable[[Path, Columns], Rows]

_SNIFFED = 20
_SAMPLE = 10_000
_MOST = 1 + 1e-6
_NEAR = ("images", "")
_OF_FRAMES = frozenset({"sources", "rois"})


def has_table(path: Path, suffixes: Collection[str], columns_of: ColumnsOf) -> bool:
    """Whether a file is a table of annotations; of a folder, one of the first files in it. See `read_tables`."""
    files = [path] if path.is_file() else islice(path.rglob("*"), _SAMPLE)
    some = sorted(file for file in files if file.suffix.lower() in suffixes and file.is_file())[:_SNIFFED]
    for file in some:
        with suppress(FlawError, UsageError):
            if columns_of(file).is_table:
                return True
    return False


def read_tables(
    path: Path,
    title: str,
    suffixes: Collection[str],
    columns_of: ColumnsOf,
    rows_of: RowsOf,
    report: Report,
) -> Reading:
    """Return the images of a table, or of those in a folder, and the images that none lists.

    Parameters
    ----------
    path : Path
        The table or the folder.
    title : str
        What files of this kind are called.
    suffixes : collection of str
        Lowercase suffixes of the files.
    columns_of, rows_of : callable
        Return the columns and the rows of a file.
    report : Report
        Where flaws are noted.

    Raises
    ------
    UsageError
        There is no table of annotations.
    """
    folder = Folder(folder_of(path), report)
    tables: dict[str, Columns] = {}
    for file in folder.chosen(path, suffixes):
        try:
            columns = _with_mapping(folder, file, columns_of(Path(folder.path, file)))
            # Tables of other things may lie beside.
            if _is_table(columns, file, is_meant=path.is_file() or f"{file}{MAPPING}" in folder.files):
                tables[file] = columns
        except FlawError as error:
            report.flaw("file", file, error)
    if not tables and not report.problems:
        raise UsageError(f"{path} has no {title} file with columns of images and their labels or boxes")
    return Reading(folder.path, _Reader(folder, report).items(tables, rows_of))


def _is_table(columns: Columns, file: str, *, is_meant: bool) -> bool:
    if set(columns.names) >= _OF_FRAMES:
        raise FlawError("has a row for each frame: pass it to DatasetVersion.add_table")
    if is_meant and not columns.is_table:
        raise FlawError(
            f"has no columns of images and their labels or boxes that are known: name them in {file}{MAPPING}"
        )
    return columns.is_table


class _Frame:
    """An image, and the annotations of its rows."""

    def __init__(self) -> None:
        self.source: Wire | None = None
        self.flaws = 0
        self.rois: list[Wire] = []
        self.splits: set[str] = set()

    def item(self, name: str) -> Item:
        if self.source is None:
            return Item(name, None, is_whole=False)
        frame: Wire = {"sources": [self.source], "rois": self.rois}
        if self.splits:
            frame["meta"] = {SPLITS: sorted(self.splits)}
        return Item(name, frame, is_whole=not self.flaws)


class _Table:
    def __init__(self, columns: Columns, is_normalized: bool) -> None:
        self.columns, self.is_normalized = columns, is_normalized
        used = set(columns.known.values())
        self.others = [
            (place, name) for place, name in enumerate(columns.names) if place not in used and name.strip()
        ]
        self.corners = all(key in columns.known for key in CORNERS)
        self.extent = all(key in columns.known for key in EXTENT)

    def value(self, row: Sequence[Any], key: str) -> Any:
        place = self.columns.known.get(key)
        return row[place] if place is not None and place < len(row) else None

    def box(self, row: Sequence[Any]) -> list[float] | None:
        """Return left, top, width and height of a row as they are given; None if it has no box."""
        if "bbox" in self.columns.known:
            given = self.value(row, "bbox")
            values = _list_of(given) if not _is_empty(given) else []
        elif self.corners or self.extent:
            values = [self.value(row, key) for key in (CORNERS if self.corners else EXTENT)]
        else:
            return None
        if all(map(_is_empty, values)):
            return None
        if len(values) != 4:
            raise FlawError(f"a box has 4 numbers, not {shorten(values)}")
        x, y, right, bottom = (finite(value, "a coordinate") for value in values)
        box = (
            [x, y, right - x, bottom - y]
            if self.corners and "bbox" not in self.columns.known
            else [x, y, right, bottom]
        )
        if box[2] < 0 or box[3] < 0:
            raise FlawError(f"box has a negative size: {shorten(values)}")
        return box


class _Reader:
    def __init__(self, folder: Folder, report: Report) -> None:
        self._folder, self._report = folder, report
        self._described = DescribedImages(folder, report)
        self._frames: dict[str, _Frame] = {}

    def items(self, tables: dict[str, Columns], rows_of: RowsOf) -> Iterator[Item]:
        for file, columns in tables.items():
            full = Path(self._folder.path, file)
            is_normalized = columns.is_normalized
            if is_normalized is None:
                is_normalized = _are_normalized(columns, rows_of(full, columns))
            table = _Table(columns, is_normalized)
            try:
                for number, row in enumerate(rows_of(full, columns), 1 + columns.has_header):
                    if not all(map(_is_empty, row)):
                        self._take(table, row, f"row {number}", file)
            except FlawError as error:
                self._report.flaw("file", file, error)
                for frame in self._frames.values():
                    frame.flaws += 1
        for name, frame in self._frames.items():
            yield frame.item(name)
        yield from self._described.rest()

    def _take(self, table: _Table, row: Sequence[Any], where: str, file: str) -> None:
        """Take a row into the frame of its image."""
        try:
            frame = self._frame_of(table, row, file)
        except FlawError as error:
            self._report.flaw("image", file, f"{where}: {error}")
            return
        split = table.value(row, "split")
        if not _is_empty(split):
            frame.splits.add(str(split))
        try:
            frame.rois += _annotation(table, row, frame.source or {})
        except FlawError as error:
            frame.flaws += 1
            self._report.flaw("annotation", file, f"{where}: {error}")

    def _frame_of(self, table: _Table, row: Sequence[Any], file: str) -> _Frame:
        given = table.value(row, "image")
        if _is_empty(given):
            raise FlawError("names no image")
        name = self._found(str(given), (file.rpartition("/")[0], *_NEAR))
        if name not in self._frames:
            width, height = table.value(row, "width"), table.value(row, "height")
            size = None if _is_empty(width) or _is_empty(height) else (_whole(width), _whole(height))
            frame = self._frames[name] = _Frame()
            frame.source = self._described.take(name, file, (), size)[1]
        elif self._frames[name].source is None:
            raise FlawError(f"image {shorten(name)} is left out")
        return self._frames[name]

    def _found(self, given: str, near: tuple[str, ...]) -> str:
        """Return the name of an image; the file that is there of a URI, otherwise the URI."""
        images, remote = self._described.images, is_remote(given)
        try:
            return images.find(given.partition("://")[2] if remote else given, near)
        except FlawError as error:
            if remote:
                return given
            if "missing" not in str(error):
                raise
        # Ids of images have no suffix.
        return images.of_stem(given, given)


def _annotation(table: _Table, row: Sequence[Any], source: Wire) -> list[Wire]:
    """Return the annotation of a row, if it has one."""
    box, label = table.box(row), table.value(row, "label")
    has_label = not _is_empty(label)
    if box is None and not has_label:
        return []
    if box is not None and not has_label and "label" in table.columns.known:
        raise FlawError("has a box, but no label")
    wire: Wire = {"type": "image" if box is None else "box2d", "label": [str(label)] if has_label else []}
    if box is not None:
        if table.is_normalized:
            width, height = source.get("width"), source.get("height")
            if not width or not height:
                raise FlawError("coordinates are relative to the size of the image, which is not known")
            box = [round(value * (height if place % 2 else width), 6) for place, value in enumerate(box)]
        wire["poly"] = box
    confidence = table.value(row, "confidence")
    if not _is_empty(confidence):
        wire["confidence"] = finite(confidence, "confidence")
        if not 0 <= wire["confidence"] <= 1:
            raise FlawError(f"confidence must be from 0 to 1, not {shorten(confidence)}")
    if meta := _metadata(table, row):
        wire["meta"] = meta
    return [wire]


def _metadata(table: _Table, row: Sequence[Any]) -> dict[str, Any]:
    meta = {
        name: row[place] for place, name in table.others if place < len(row) and not _is_empty(row[place])
    }
    given = table.value(row, "metadata")
    if _is_empty(given):
        return meta
    if isinstance(given, str):
        with suppress(FlawError):
            given = json_of(given.encode())
    return meta | (given if isinstance(given, dict) else {"metadata": given})


def _are_normalized(columns: Columns, rows: Rows) -> bool:
    """Whether all coordinates of the first rows are between 0 and 1, and some are fractions."""
    table = _Table(columns, is_normalized=False)
    has_fraction = False
    # A flaw is noted when the rows are taken.
    with suppress(FlawError):
        for row in islice(rows, _SAMPLE):
            box = None
            with suppress(FlawError):
                box = table.box(row)
            if box is None:
                continue
            corners = (*box[:2], box[0] + box[2], box[1] + box[3])
            if not all(0 <= value <= _MOST for value in corners):
                return False
            has_fraction |= any(not value.is_integer() for value in corners)
    return has_fraction


def _list_of(given: Any) -> list[Any]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given.replace("(", "[").replace(")", "]"))
        except msgspec.DecodeError:
            given = given.strip("[]() ").replace(",", " ").split()
    if isinstance(given, dict):
        given = list(given.values())
    if not isinstance(given, list | tuple):
        raise FlawError(f"a box has 4 numbers, not {shorten(given)}")
    return list(given)


def _is_empty(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def _whole(given: Any) -> int:
    value = finite(given, "a size")
    return int(value) if value.is_integer() else 0


def _with_mapping(folder: Folder, file: str, columns: Columns) -> Columns:
    """Return the columns of a table as the file beside it says, if there is one. Raises `FlawError` if that is wrong."""
    mapping = f"{file}{MAPPING}"
    if mapping not in folder.files:
        return columns
    try:
        return mapped_columns(columns.names, folder.json(mapping))
    except FlawError as error:
        raise FlawError(f"{mapping} {error}") from error
