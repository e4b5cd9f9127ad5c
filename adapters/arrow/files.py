"""Tables as files, and as data frames of other libraries."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

from ...engine.errors import UsageError
from ...engine.storage.atomic_files import new_file, path_of

_ROWS_OF_GROUP = 64 * 1024


def write_parquet(reader: pa.RecordBatchReader, path: str | os.PathLike[str]) -> int:
    """Write a stream into a Parquet file atomically, and return the number of rows."""
    from pyarrow import parquet as pq

    rows = 0
    with (
        new_file(path_of(path, "path")) as file,
        pq.ParquetWriter(file, reader.schema, compression="zstd") as writer,
    ):
        held: list[pa.RecordBatch] = []
        count = 0
        for batch in reader:
            held.append(batch)
            count += len(batch)
            if count >= _ROWS_OF_GROUP:
                writer.write_table(pa.Table.from_batches(held))
                rows, held, count = rows + count, [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held))
    return rows + count


def polars_frame(table: pa.Table) -> Any:
    """Return a table as a data frame of polars."""
    try:
        import polars as pl
    except ImportError as error:
        raise UsageError("to_polars needs the library polars: pip install polars") from error
    return pl.from_arrow(table)
