"""Parquet tables of annotations: a row for each box or label. It needs the extra `arrow`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...engine.errors import UsageError
from ...engine.iterables import chunked
from .format import Format, Reading, Writing
from .report import FlawError, Report
from .tables.columns import HEADER, Columns, named_columns
from .tables.reader import has_table, read_tables
from .tables.writer import rows_of

_SUFFIXES = (".parquet",)
_BATCH = 10_000


def sniff(path: Path) -> bool:
    """Whether a file has columns of annotations; of a folder, one of the first files in it."""
    return has_table(path, _SUFFIXES, _columns_of)


def read(path: Path, report: Report) -> Reading:
    """Return the frames in tables.

    Raises
    ------
    UsageError
        There is no table of annotations, or pyarrow is not installed.
    """
    _parquet()
    return read_tables(path, "Parquet", _SUFFIXES, _columns_of, _rows, report)


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


def _rows(file: Path, _columns: Columns) -> Iterator[tuple[Any, ...]]:
    parquet = _parquet()
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except (ArrowException, OSError) as error:
        raise FlawError(f"is not Parquet: {error}") from error
    except UnicodeDecodeError as error:
        raise FlawError(f"has text that is not UTF-8: {error}") from error


def write(out: Writing) -> None:
    """Write `annotations.parquet`, and the folder `images`."""
    parquet = _parquet()
    import pyarrow as pa

    kinds = {"width": pa.int64(), "height": pa.int64(), "confidence": pa.float64()}
    kinds |= dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pa.float64())
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in HEADER])
    with parquet.ParquetWriter(out.path / "annotations.parquet", schema) as writer:
        for some in chunked(rows_of(out), _BATCH):
            columns = dict(zip(HEADER, zip(*some, strict=True), strict=True))
            writer.write_table(pa.table({name: list(values) for name, values in columns.items()}, schema))


FORMAT = Format("parquet", "Parquet tables", sniff, read, write)
