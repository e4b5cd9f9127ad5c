"""Logs as Parquet (extra `arrow`): one row per event. The first row of a batch also has the batch and its append."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ...engine.errors import IntegrityError, InvalidValueError, UsageError
from ...engine.log.batch import FRAMES_SCHEMA
from ...engine.storage.atomic_files import new_file
from .events_json import Events, FrameLine, LifecycleLine, event_lines
from .parquet_pages import expanded_size
from .schema import (
    UNREADABLE,
    BatchLine,
    Header,
    Recorded,
    check_version,
    context_of,
    decode_line,
    describe,
    from_hex,
    time_of,
)

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError as error:
    raise UsageError("Parquet needs the library pyarrow: pip install 'framelode[arrow]'") from error

_GROUP_ROWS = 16 * 1024
_GROUP_BYTES = 32 * 1024 * 1024
_MOST_ROWS = 256 * 1024
_MOST_VALUES = 4 * 1024 * 1024
_LARGEST_GROUP = 256 * 1024 * 1024
"""Maximum size of a row group. Reading it needs a few times as much memory."""

_METADATA = b"framelode"
_REPEATED = ["stream", "topic", "actor", "context"]
_SCHEMA = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("context", pa.string(), nullable=False),
        pa.field("frame_id", pa.string()),
        pa.field("payload", pa.string()),
        pa.field("previous", pa.int64()),
        pa.field("saved", pa.int64()),
        pa.field("changed", pa.list_(pa.string())),
        pa.field("schema", pa.int32()),
        pa.field("raw", pa.binary()),
        pa.field("batch", pa.string()),
    ]
)
_encode = msgspec.json.Encoder().encode
_Columns = dict[str, list[Any]]


def write_parquet(path: Path, header: Header, batches: Iterable[Recorded]) -> None:
    """Write a file atomically. A row group contains complete batches."""
    schema = _SCHEMA.with_metadata({_METADATA: _encode(header)})
    with (
        new_file(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=_REPEATED) as writer,  # type: ignore[arg-type]  # names of columns are taken, too
    ):
        columns, size, append_id = _no_rows(), 0, 0
        for recorded in batches:
            line = describe(recorded, with_append=recorded.append.append_id != append_id)
            append_id = recorded.append.append_id
            added = _add_rows(columns, recorded, line)
            if len(recorded.events) > _MOST_ROWS // 2 or added > _LARGEST_GROUP // 2:
                raise UsageError(
                    f"{path}: the batch at position {line.position} has {len(recorded.events)} events of {added} bytes, "
                    "which is too much for Parquet: export to JSON Lines instead"
                )
            size += added
            if len(columns["position"]) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pydict(columns, schema))
                columns, size = _no_rows(), 0
        if columns["position"]:
            writer.write_table(pa.Table.from_pydict(columns, schema))


def _no_rows() -> _Columns:
    return {name: [] for name in _SCHEMA.names}


def _add_rows(columns: _Columns, recorded: Recorded, line: BatchLine) -> int:
    """Add the events of a batch, and return their approximate size in the file."""
    header, events = recorded.header, event_lines(recorded)
    count = len(events)
    same = {
        "stream": header.stream_id,
        "time": header.recorded_at,
        "actor": header.actor,
        "context": header.context,
    }
    for name, value in same.items():
        columns[name] += [value] * count
    columns["position"] += range(header.first_position, header.last_position + 1)
    columns["version"] += range(header.first_version, header.last_version + 1)
    columns["topic"] += [event.topic for event in events]
    columns["batch"] += [_encode(line).decode(), *[None] * (count - 1)]
    own = [_frame_row(e) if isinstance(e, FrameLine) else _lifecycle_row(e) for e in events]
    for name, values in zip(_OWN, zip(*own, strict=True), strict=True):
        columns[name] += values
    return sum(len(row[1] or row[-1] or "") for row in own)


_OWN = ("frame_id", "payload", "previous", "saved", "changed", "schema", "raw")


def _frame_row(event: FrameLine) -> tuple[Any, ...]:
    record = bytes(event.record).decode() if len(event.record) else None
    raw = None if event.payload is None else from_hex(event.payload)
    return event.id, record, event.previous or None, event.saved or None, event.changed or None, None, raw


def _lifecycle_row(event: LifecycleLine) -> tuple[Any, ...]:
    fields = bytes(event.fields).decode() if len(event.fields) else None
    raw = None if event.state is None else from_hex(event.state)
    return None, fields, None, None, None, event.schema, raw


class ParquetSource:
    """A Parquet file, read by row group.

    Raises
    ------
    InvalidValueError
        The file is not such an export.
    UsageError
        A newer framelode wrote it.
    IntegrityError
        The file is damaged. The message gives the place.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self._raw = file
        self._group = 0
        self._position = 0
        try:
            self._file = pq.ParquetFile(file)
            metadata = self._file.schema_arrow.metadata or {}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise IntegrityError(f"{name} is damaged or cut off: {error}", file=name) from error
        self.header = self._read_header(metadata)
        # Repeated values stay dictionaries: as plain strings they could need any amount of memory.
        self._dictionaries = self._dictionary_columns()
        self._file = pq.ParquetFile(file, metadata=self._file.metadata, read_dictionary=self._dictionaries)

    def _read_header(self, metadata: dict[bytes, bytes]) -> Header:
        if _METADATA not in metadata:
            raise InvalidValueError(f"{self._name} is not a log exported by framelode")
        try:
            check_version(msgspec.json.decode(metadata[_METADATA])["version"], self._name)
            if not self._file.schema_arrow.equals(_SCHEMA):
                raise ValueError("it does not have the columns of a log")
            return msgspec.json.decode(metadata[_METADATA], type=Header)
        except UNREADABLE as error:
            raise IntegrityError(f"{self._name} is damaged: {error}", file=self._name) from error

    def _dictionary_columns(self) -> list[str]:
        """Return the string columns with dictionaries. Other writers use dictionaries for more columns."""
        metadata = self._file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        columns = (group.column(index) for group in groups for index in range(group.num_columns))
        return sorted(
            {
                column.path_in_schema
                for column in columns
                if column.has_dictionary_page
                and column.physical_type == "BYTE_ARRAY"
                and "." not in column.path_in_schema
            }
        )

    def place(self) -> str:
        """Return the place of the last batch in the file, for messages."""
        return f"{self._name}, row group {self._group}, position {self._position}"

    def batches(self) -> Iterator[tuple[BatchLine, Events]]:
        """Yield the batches in order. At the end, check that the file is complete."""
        events = 0
        for group in range(self._file.num_row_groups):
            self._group = group
            columns = self._read_group(group)
            starts = [row for row, batch in enumerate(columns["batch"]) if batch is not None]
            if not starts or starts[0]:
                raise self._damaged("it does not begin with a batch")
            for start, stop in zip(starts, [*starts[1:], len(columns["batch"])], strict=True):
                yield self._read_batch(columns, start, stop)
                events += stop - start
        if events != self.header.events:
            raise IntegrityError(
                f"{self._name} has {events} events instead of {self.header.events}: it was altered",
                file=self._name,
            )

    def _read_group(self, group: int) -> _Columns:
        try:
            self._check_size(self._file.metadata.row_group(group))
            table = self._file.read_row_group(group)
            table.validate(full=True)
            return {name: _values(table.column(name)) for name in _SCHEMA.names}
        except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
            raise self._damaged(str(error)) from error

    def _check_size(self, group: Any) -> None:
        """Raise `ValueError` for a row group that is too large, before memory is allocated for it."""
        columns = [group.column(index) for index in range(group.num_columns)]
        values = max(column.num_values for column in columns)
        if not 0 <= group.num_rows <= _MOST_ROWS or values > _MOST_VALUES:
            raise ValueError(f"it claims {group.num_rows} rows of {values} values")
        size = sum(expanded_size(self._raw, column, self._dictionaries) for column in columns)
        if size > _LARGEST_GROUP:
            raise ValueError(f"it has {size} bytes, more than the limit of {_LARGEST_GROUP}")

    def _read_batch(self, columns: _Columns, start: int, stop: int) -> tuple[BatchLine, Events]:
        try:
            line = decode_line(columns["batch"][start].encode())
            self._position = line.position
            self._check_repeated(columns, line, start, stop)
            rows = zip(
                columns["topic"][start:stop], *(columns[name][start:stop] for name in _OWN), strict=True
            )
            if line.schema == FRAMES_SCHEMA:
                return line, [_frame_line(*row) for row in rows]
            return line, [_lifecycle_line(*row) for row in rows]
        except UNREADABLE as error:
            raise self._damaged(str(error)) from error

    def _check_repeated(self, columns: _Columns, line: BatchLine, start: int, stop: int) -> None:
        """Raise an error for rows that differ from the columns of their batch."""
        count = stop - start
        expected = {
            "position": list(range(line.position, line.position + count)),
            "version": list(range(line.version, line.version + count)),
            "stream": [line.stream] * count,
            "time": [time_of(line.time)] * count,
            "actor": [line.actor] * count,
            "context": [context_of(line.context)] * count,
        }
        for name, values in expected.items():
            if columns[name][start:stop] != values:
                raise ValueError(f"column {name} differs from that of the batch")

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(f"{self.place()} is damaged: {reason}", file=self._name)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column. Equal values of a dictionary are one object."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    values: list[Any] = []
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        values += [None if index is None else words[index] for index in chunk.indices.to_pylist()]
    return values


def _frame_line(
    topic: str,
    frame_id: str | None,
    payload: str | None,
    previous: int | None,
    saved: int | None,
    changed: list[str] | None,
    schema: int | None,
    raw: bytes | None,
) -> FrameLine:
    if frame_id is None or schema is not None:
        raise ValueError("the row of a frame has no frame_id, or has a schema")
    return FrameLine(
        topic=topic,
        id=frame_id,
        record=msgspec.Raw(payload or b""),
        payload=None if raw is None else raw.hex(),
        previous=previous or 0,
        saved=saved or 0,
        changed=changed or [],
    )


def _lifecycle_line(
    topic: str,
    frame_id: str | None,
    payload: str | None,
    previous: int | None,
    saved: int | None,
    changed: list[str] | None,
    schema: int | None,
    raw: bytes | None,
) -> LifecycleLine:
    if any(value is not None for value in (frame_id, previous, saved, changed)):
        raise ValueError("a row that is not of a frame has values in columns of frames")
    return LifecycleLine(
        topic=topic,
        schema=schema,
        fields=msgspec.Raw(payload or b""),
        state=None if raw is None else raw.hex(),
    )
