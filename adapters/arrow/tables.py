"""Anything that is a table, as batches of rows: Arrow, data frames, and files of Parquet and CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from ...engine.errors import InvalidValueError, UsageError
from ...engine.storage.atomic_files import path_of
from ...engine.validation import shorten

_SUFFIXES = {".parquet": "Parquet", ".pq": "Parquet", ".csv": "CSV"}

_FORMS = (
    "a pyarrow Table, RecordBatch or RecordBatchReader, a data frame of pandas or polars, any object with "
    "__arrow_c_stream__, or the path of a Parquet or CSV file"
)


class TableReader:
    """The rows of a table, streamed.

    Parameters
    ----------
    table : object
        The table, or the path of a file.

    Raises
    ------
    InvalidValueError
        It is no table, or not such a file.
    UsageError
        The file does not exist.
    """

    def __init__(self, table: Any) -> None:
        self._stack = ExitStack()
        self.rows: int | None = None
        try:
            self.reader = self._open(table)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        if self.rows is None:
            raise TypeError("the number of rows is not known before they are read")
        return self.rows

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self.reader.schema

    def _open(self, table: Any) -> pa.RecordBatchReader:
        if isinstance(table, str | os.PathLike):
            return self._open_file(_local_path(table))
        if hasattr(table, "to_arrow_reader"):  # a version: its errors stay what they are
            self.rows, table = len(table), table.to_arrow_reader()
        if isinstance(table, pa.RecordBatchReader):
            return table
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        elif type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
            table = pa.Table.from_pandas(table, preserve_index=False)
        elif type(table).__name__ == "LazyFrame" and hasattr(table, "collect"):
            table = table.collect()
        if isinstance(table, pa.Table):
            self.rows = len(table)
            return table.to_reader()
        if not hasattr(table, "__arrow_c_stream__"):
            raise InvalidValueError(f"a table must be {_FORMS}, not {shorten(table)}")
        self.rows = len(table) if hasattr(table, "__len__") else None
        return pa.RecordBatchReader.from_stream(table)

    def _open_file(self, path: Path) -> pa.RecordBatchReader:
        form = _SUFFIXES.get(path.suffix.lower())
        if form is None:
            raise InvalidValueError(
                f"{shorten(str(path))} is no table: its name must end in .parquet, .pq or .csv"
            )
        try:
            return self._open_parquet(path) if form == "Parquet" else self._open_csv(path)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist") from None
        except (pa.ArrowException, OSError) as error:
            raise InvalidValueError(f"{path} cannot be read as {form}: {error}") from error

    def _open_parquet(self, path: Path) -> pa.RecordBatchReader:
        from pyarrow import parquet as pq

        file = self._stack.enter_context(pq.ParquetFile(path))
        self.rows = file.metadata.num_rows
        return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())

    def _open_csv(self, path: Path) -> pa.RecordBatchReader:
        from pyarrow import csv

        # What is quoted is text, and a field without anything is missing.
        options = csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        return self._stack.enter_context(csv.open_csv(path, convert_options=options))


def parts_of(
    reader: pa.RecordBatchReader, size: int
) -> Iterator[tuple[pa.RecordBatch, bool, BaseException | None]]:
    """Cut the rows of a stream into parts; says of each whether it is the last, and what error came after it.

    The parts do not depend on how the stream is cut. What was read before an error comes as a part, too.
    """
    held: list[pa.RecordBatch] = []
    count = 0
    while True:
        try:
            # One row more says whether a part is the last.
            while count <= size:
                batch = reader.read_next_batch()
                held.append(batch)
                count += len(batch)
        except StopIteration:
            break
        except BaseException as error:
            raised = _translated(error)
            if not count:
                raise raised from error
            yield from _cut(held, size, raised)
            return
        *parts, held = _split(held, size)
        for part in parts:
            yield part, False, None
        count = sum(map(len, held))
    yield from _cut(held, size, None)


def _cut(
    held: list[pa.RecordBatch], size: int, error: BaseException | None
) -> Iterator[tuple[pa.RecordBatch, bool, BaseException | None]]:
    """Yield the last parts, the very last with an error."""
    *parts, rest = _split(held, size)
    last = _whole(rest)
    for part in parts:
        yield part, False, None
    if last is not None:
        yield last, True, error


def _split(held: list[pa.RecordBatch], size: int) -> list[Any]:
    """Return whole parts, followed by the batches of the rest, which has at least one row if there is any."""
    table = pa.Table.from_batches(held) if held else None
    parts: list[Any] = []
    at = 0
    while table is not None and len(table) - at > size:
        parts.append(_whole(table.slice(at, size).to_batches()))
        at += size
    return [*parts, [] if table is None else table.slice(at).to_batches()]


def _whole(batches: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    batches = [batch for batch in batches if len(batch)]
    if not batches:
        return None
    if len(batches) == 1:
        return batches[0]
    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return whole


def _translated(error: BaseException) -> BaseException:
    """Return the error of a table that cannot be read further."""
    if isinstance(error, pa.ArrowException):
        return InvalidValueError(f"the table cannot be read further: {str(error).partition(chr(10))[0]}")
    return error


def _local_path(path: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(path):
        raise UsageError(
            f"{shorten(os.fspath(path))} is a URL: open it by pyarrow and pass the reader, or download the file"
        )
    return path_of(path, "a table")
