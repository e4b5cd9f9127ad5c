"""Parquet tables of annotations: a row for each box or label. It needs the extra `arrow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ...engine.errors import UsageError
from .files import Folder, folder_of
from .format import Format, Reading, Writing
from .report import FlawError, Report
from .tables.columns import HEADER, Columns, named_columns
from .tables.reader import MAPPING, Rows, items_of, with_mapping
from .tables.writer import rows_of

_SUFFIX = ".parquet"
_BATCH = 10_000
_SAMPLE = 20
_OF_FRAMES = frozenset({"sources", "rois"})


def sniff(path: Path) -> bool:
    """Whether a file has columns of annotations; of a folder, one of the first files in it."""
    if path.is_file():
        return _is_table(path)
    files = sorted(file for file in islice(path.rglob("*"), 10_000) if file.suffix.lower() == _SUFFIX)
    return any(map(_is_table, files[:_SAMPLE]))


def _is_table(file: Path) -> bool:
    if file.suffix.lower() != _SUFFIX or not file.is_file():
        return False
    try:
        return _columns_of(file).is_table
    except (FlawError, UsageError):
        return False


def read(path: Path, report: Report) -> Reading:
    """Return the frames in tables.

    Raises
    ------
    UsageError
        There is no table of annotations, or pyarrow is not installed.
    """
    _parquet()
    folder = Folder(path if path.is_dir() else folder_of(path), report)
    files = [str(path.relative_to(folder.path))] if path.is_file() else folder.with_suffix({_SUFFIX})
    if not files:
        raise UsageError(f"{path} has no Parquet file")

    def open_table(file: str) -> tuple[Columns, Callable[[], Rows]]:
        full = Path(folder.path, file)
        columns = with_mapping(folder, file, _columns_of(full))
        if set(columns.names) >= _OF_FRAMES:
            raise FlawError("has a row for each frame: pass it to DatasetVersion.add_table")
        if not columns.is_table:
            raise FlawError(
                f"has no columns of images and their labels or boxes that are known: name them in {file}{MAPPING}"
            )
        return columns, lambda: _rows(full)

    return Reading(folder.path, items_of(folder, files, open_table, report))


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet files are read with pyarrow: pip install 'framelode[arrow]'") from None
    return parquet


def _columns_of(file: Path) -> Columns:
    parquet = _parquet()
    from pyarrow import ArrowException

    try:
        return named_columns(parquet.read_schema(file).names)
    except (ArrowException, OSError) as error:
        raise FlawError(f"is not Parquet: {error}") from error


def _rows(file: Path) -> Iterator[tuple[Any, ...]]:
    parquet = _parquet()
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except (ArrowException, OSError) as error:
        raise FlawError(f"is not Parquet: {error}") from error


def write(out: Writing) -> None:
    """Write `annotations.parquet`, and the folder `images`."""
    parquet = _parquet()
    import pyarrow as pa

    kinds = {"width": pa.int64(), "height": pa.int64(), "confidence": pa.float64()}
    kinds |= dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pa.float64())
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in HEADER])
    rows = rows_of(out)
    with parquet.ParquetWriter(out.path / "annotations.parquet", schema) as writer:
        while some := list(islice(rows, _BATCH)):
            columns = dict(zip(HEADER, zip(*some, strict=True), strict=True))
            writer.write_table(pa.table({name: list(values) for name, values in columns.items()}, schema))


FORMAT = Format("parquet", "Parquet tables", sniff, read, write)
