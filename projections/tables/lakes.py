"""Datalakes: their data, tags, sources, derived files, jobs and processings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    LAKE,
    LAKES,
    DataDeleted,
    DataRecord,
    DataUpdated,
    DataUploaded,
    JobCreated,
    JobUpdated,
    LakeConnected,
    LakeCreated,
    LakeEvent,
    LakesEvent,
    ProcessingCreated,
    ProcessingDeleted,
    ProcessingUpdated,
    ProjectionCreated,
    ProjectionDeleted,
    SchemaUpdated,
    SourceCreated,
    SourceDeleted,
    SourceUpdated,
    TagDeleted,
    TagsAttached,
    TagsCreated,
    TagsDetached,
    TagUpdated,
    UploadFinished,
    UploadStarted,
)
from ...engine.iterables import chunked
from ..columns import from_json, text_key
from ..pages import Page
from ..projection import FoldedProjection
from ..statements import ROWS_AT_ONCE, DirectInsert, Upsert
from .metadata_values import metadata_values

_BEGINNING = 16
_FIELDS = {"metadata": 0, "custom_metadata": 1}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def name_key(name: str) -> bytes:
    """Return the key of a name in an index: the first bytes, by which names that begin alike are found, and a digest."""
    return name.encode()[:_BEGINNING] + text_key(name)


def name_keys(beginning: str) -> tuple[bytes, bytes]:
    """Return the least key of names that begin with a text, and a greater one than any of theirs. Others may be between."""
    least = beginning.encode()[:_BEGINNING]
    return least, least[:-1] + bytes([least[-1] + 1])  # no text has the byte 255


class LakeChange(msgspec.Struct, frozen=True):
    """An event of datalakes, its position, and its time in UTC microseconds."""

    position: int
    recorded_at: int
    event: LakeEvent | LakesEvent

    def number(self, index: int = 0) -> int:
        """Return a number for an item of the event. Numbers grow in the order of the log."""
        return self.position * ITEMS_OF_AN_EVENT + index


class Lakes(FoldedProjection[list[LakeChange]]):
    """Tables of the current state of all datalakes.

    Lakes, data, tags and sources have numbers, which grow in the order of their creation. Names may be longer than the
    index entries of a database, so `filename_key` and `object_key` have their `name_key`.

    Attributes
    ----------
    data : Table
        `created_at` is in UTC microseconds. `metadata` and `custom_metadata` are JSON as it was recorded. `source` is the
        number of a source, which may be deleted.
    value : Table
        The values of the metadata, for queries: `field` is 0 for `metadata` and 1 for `custom_metadata`, the other columns
        are those of `MetadataValue`.
    data_tag : Table
        The tags of data.
    derived : Table
        Derived files. `data` is the number of their data.
    upload : Table
        Uploads that were interrupted or still run.
    """

    name: ClassVar[str] = "lakes"
    code_version: ClassVar[int] = 3
    topics: ClassVar[frozenset[str] | None] = LAKES.topics | LAKE.topics

    def define_tables(self) -> None:
        """Define the tables."""
        # Constraints, not named indexes, which would keep their names when a rebuilt table replaces the live one. Each
        # includes a number, so that none can be violated.
        self.lake = self._named(
            "lake",
            sa.Column("bucket", sa.Text, nullable=False),
            sa.Column("rules", sa.Text, nullable=False),
            sa.Column("allow_extra", sa.Boolean, nullable=False),
        )
        self.data = self.table(
            "data",
            _number("number"),
            sa.Column("lake", sa.BigInteger, nullable=False),
            *_content_columns(),
            sa.Column("filename_key", sa.LargeBinary, nullable=False),
            sa.Column("object_key", sa.LargeBinary, nullable=False),
            sa.Column("type", sa.Text, nullable=False),
            sa.Column("upload_status", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("source", sa.BigInteger),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("metadata", sa.Text, nullable=False),
            sa.Column("custom_metadata", sa.Text, nullable=False),
            *(
                sa.UniqueConstraint(name, "number")
                for name in ("lake", "id", "filename_key", "object_key", "digest")
            ),
        )
        self.value = self.table(
            "value",
            *map(_number, ("data", "field", "item")),
            sa.Column("path", sa.LargeBinary, nullable=False),
            sa.Column("kind", sa.BigInteger, nullable=False),
            sa.Column("text", sa.Text),
            sa.Column("number", sa.Double),
            clustered=True,
        )
        self.tag = self._named("tag", sa.Column("lake", sa.BigInteger, nullable=False))
        self.data_tag = self.table(
            "data_tag",
            _number("tag"),
            _number("number"),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.UniqueConstraint("number", "tag"),
            clustered=True,
        )
        self.source = self._named("source")
        self.derived = self.table(
            "derived",
            _number("number"),
            sa.Column("data", sa.BigInteger, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            *_content_columns(),
            sa.Column("infos", sa.Text, nullable=False),
            *(sa.UniqueConstraint(name, "number") for name in ("data", "id", "digest")),
        )
        self.job = self._named(
            "job",
            sa.Column("lake", sa.BigInteger, nullable=False),
            sa.Column("request", sa.Text, nullable=False),
            sa.Column("host", sa.Text, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("done", sa.BigInteger, nullable=False),
            sa.Column("total", sa.BigInteger, nullable=False),
            sa.Column("error", sa.Text, nullable=False),
            sa.Column("log", sa.Text, nullable=False),
            sa.Column("result", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("updated_at", sa.BigInteger, nullable=False),
        )
        self.processing = self._named("processing", sa.Column("definition", sa.Text, nullable=False))
        self.upload = self.table(
            "upload",
            _number("number"),
            sa.Column("lake", sa.BigInteger, nullable=False),
            sa.Column("id", sa.Text, nullable=False),
            sa.Column("request", sa.Text, nullable=False),
            sa.UniqueConstraint("request", "number"),
        )
        self.insert_data = DirectInsert(self.data, replace=True)
        self.insert_tag = DirectInsert(self.tag, replace=True)
        self.insert_links = DirectInsert(self.data_tag, replace=True)
        self.insert_values = DirectInsert(self.value, replace=True)

    def _named(self, name: str, *columns: sa.Column[Any]) -> sa.Table:
        """Define a table of things with an id and a name."""
        return self.table(
            name,
            _number("number"),
            sa.Column("id", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            *columns,
            sa.UniqueConstraint("id", "number"),
        )

    def fold(self, page: Page) -> list[LakeChange]:
        """Return the events of datalakes."""
        return [
            LakeChange(position, header.recorded_at, event)
            for header, position, event in page.lifecycle(*LAKES.events, *LAKE.events)
        ]

    def write(self, connection: sa.Connection, folded: list[LakeChange]) -> None:
        """Apply events to the tables, in order."""
        writer = _Writer(self, connection)
        for change in folded:
            writer.write(change)

    def blobs(self, connection: sa.Connection) -> Iterable[str]:
        """Return the digests of contents in the blob store."""
        stored = [sa.select(t.c.digest).where(t.c.uri == "") for t in (self.data, self.derived)]
        return connection.execute(sa.union(*stored)).scalars()


class _Writer:
    """Writes the changes of a range. Numbers of things that have ids are looked up."""

    def __init__(self, tables: Lakes, connection: sa.Connection) -> None:
        self._tables = tables
        self._connection = connection
        self._lakes: dict[str, int | None] = {}

    def write(self, change: LakeChange) -> None:
        event = change.event
        lake = self._lake_of(event.originator_id)
        if isinstance(event, LakesEvent) or lake is not None:
            _WRITES[type(event)](self, change, event, lake)

    def _lake_of(self, stream: str) -> int | None:
        lake_id = stream.removeprefix(LAKE.id)
        if lake_id not in self._lakes:
            self._lakes[lake_id] = next(iter(self._numbers(self._tables.lake, [lake_id]).values()), None)
        return self._lakes[lake_id]

    def _numbers(self, table: sa.Table, ids: Iterable[str], lake: int | None = None) -> dict[str, int]:
        """Return the numbers of things by id, in the order of the ids."""
        found: dict[str, int] = {}
        asked = list(islice(dict.fromkeys(ids), ITEMS_OF_AN_EVENT))
        if table is self._tables.data:
            asked = list(map(uuid_text, asked))
        query = sa.select(table.c.id, table.c.number)
        if lake is not None:
            query = query.where(table.c.lake == lake)
        for part in chunked(asked, ROWS_AT_ONCE):
            found |= {
                row.id: row.number for row in self._connection.execute(query.where(table.c.id.in_(part)))
            }
        return {each: found[each] for each in asked if each in found}

    def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        self._connection.execute(Upsert(table).values(values))

    def _update(self, table: sa.Table, thing_id: str, **values: Any) -> None:
        self._connection.execute(sa.update(table).where(table.c.id == thing_id).values(values))

    def _delete(self, table: sa.Table, column: str, values: Iterable[Any]) -> None:
        for part in chunked(values, ROWS_AT_ONCE):
            self._connection.execute(sa.delete(table).where(table.c[column].in_(part)))

    def lake_created(self, change: LakeChange, event: LakeCreated, _: Any) -> None:
        rules = {"rules": "{}", "allow_extra": True}
        self._insert(self._tables.lake, {**_named(change, event), "bucket": "", **rules})
        self._lakes.pop(event.id, None)

    def lake_connected(self, _: Any, event: LakeConnected, __: Any) -> None:
        self._update(self._tables.lake, event.id, bucket=event.bucket)

    def source_created(self, change: LakeChange, event: SourceCreated, _: Any) -> None:
        self._insert(self._tables.source, _named(change, event))

    def source_updated(self, _: Any, event: SourceUpdated, __: Any) -> None:
        self._update(self._tables.source, event.id, name=event.name)

    def source_deleted(self, _: Any, event: SourceDeleted, __: Any) -> None:
        self._delete(self._tables.source, "id", [event.id])

    def processing_created(self, change: LakeChange, event: ProcessingCreated, _: Any) -> None:
        self._insert(
            self._tables.processing, {**_named(change, event), "definition": _json(event.definition)}
        )

    def processing_updated(self, _: Any, event: ProcessingUpdated, __: Any) -> None:
        self._update(self._tables.processing, event.id, name=event.name, definition=_json(event.definition))

    def processing_deleted(self, _: Any, event: ProcessingDeleted, __: Any) -> None:
        self._delete(self._tables.processing, "id", [event.id])

    def data_uploaded(self, change: LakeChange, event: DataUploaded, lake: int) -> None:
        sources = self._numbers(self._tables.source, [event.source] if event.source else [])
        source = next(iter(sources.values()), None)
        records = event.data[:ITEMS_OF_AN_EVENT]
        self._tables.insert_data.execute_many(
            self._connection,
            [
                _data_row(change.number(index), lake, record, source, change.recorded_at)
                for index, record in enumerate(records)
            ],
        )
        numbers = [change.number(index) for index in range(len(records))]
        values = [
            row
            for number, record in zip(numbers, records, strict=True)
            for column in _FIELDS
            for row in _value_rows(number, column, getattr(record, column))
        ]
        self._tables.insert_values.execute_many(self._connection, values)
        self._tag(change, self._numbers(self._tables.tag, event.tags, lake).values(), numbers)

    def _tag(self, change: LakeChange, tags: Iterable[int], numbers: Sequence[int]) -> None:
        for tag in tags:
            rows = [(tag, number, change.position) for number in numbers]
            self._tables.insert_links.execute_many(self._connection, rows)

    def data_updated(self, _: Any, event: DataUpdated, lake: int) -> None:
        numbers = list(self._numbers(self._tables.data, event.data, lake).values())
        for column in ("metadata", "custom_metadata"):
            given: dict[str, Any] | None = getattr(event, column)
            if given is not None or column in event.cleared:
                self._merge(column, numbers, given or {}, cleared=column in event.cleared)
        table = self._tables.data
        for source in self._numbers(self._tables.source, [event.source] if event.source else []).values():
            for part in chunked(numbers, ROWS_AT_ONCE):
                self._connection.execute(
                    sa.update(table).where(table.c.number.in_(part)).values(source=source)
                )

    def _merge(self, column: str, numbers: Iterable[int], given: dict[str, Any], *, cleared: bool) -> None:
        table, values = self._tables.data, self._tables.value
        query = sa.select(table.c.number, table.c[column])
        for part in chunked(numbers, ROWS_AT_ONCE):
            for number, held in self._connection.execute(query.where(table.c.number.in_(part))).all():
                merged = _merged({} if cleared else from_json(held, dict[str, Any]), given)
                change = sa.update(table).where(table.c.number == number)
                self._connection.execute(change.values({column: _json(merged)}))
                stale = (values.c.data == number) & (values.c.field == _FIELDS[column])
                self._connection.execute(sa.delete(values).where(stale))
                rows = _value_rows(number, column, merged)
                self._tables.insert_values.execute_many(self._connection, rows)

    def data_deleted(self, _: Any, event: DataDeleted, lake: int) -> None:
        numbers = list(self._numbers(self._tables.data, event.data, lake).values())
        self._delete(self._tables.data_tag, "number", numbers)
        self._delete(self._tables.derived, "data", numbers)
        self._delete(self._tables.value, "data", numbers)
        self._delete(self._tables.data, "number", numbers)

    def schema_updated(self, _: Any, event: SchemaUpdated, lake: int) -> None:
        table = self._tables.lake
        values = {"rules": _json(event.keys), "allow_extra": event.allow_extra}
        self._connection.execute(sa.update(table).where(table.c.number == lake).values(values))

    def tags_created(self, change: LakeChange, event: TagsCreated, lake: int) -> None:
        rows = [
            (change.number(index), tag.id, tag.name, lake)
            for index, tag in enumerate(event.tags[:ITEMS_OF_AN_EVENT])
        ]
        self._tables.insert_tag.execute_many(self._connection, rows)

    def tag_updated(self, _: Any, event: TagUpdated, __: Any) -> None:
        self._update(self._tables.tag, event.id, name=event.name)

    def tag_deleted(self, _: Any, event: TagDeleted, lake: int) -> None:
        numbers = list(self._numbers(self._tables.tag, [event.id], lake).values())
        self._delete(self._tables.data_tag, "tag", numbers)
        self._delete(self._tables.tag, "number", numbers)

    def tags_attached(self, change: LakeChange, event: TagsAttached, lake: int) -> None:
        numbers = list(self._numbers(self._tables.data, event.data, lake).values())
        self._tag(change, self._numbers(self._tables.tag, event.tags, lake).values(), numbers)

    def tags_detached(self, _: Any, event: TagsDetached, lake: int) -> None:
        table = self._tables.data_tag
        tags = list(self._numbers(self._tables.tag, event.tags, lake).values())
        for part in chunked(self._numbers(self._tables.data, event.data, lake).values(), ROWS_AT_ONCE):
            for some in chunked(tags, ROWS_AT_ONCE):
                which = table.c.tag.in_(some) & table.c.number.in_(part)
                self._connection.execute(sa.delete(table).where(which))

    def projection_created(self, change: LakeChange, event: ProjectionCreated, lake: int) -> None:
        for number in self._numbers(self._tables.data, [event.data], lake).values():
            row = {"number": change.number(), "data": number, "name": event.name}
            self._insert(
                self._tables.derived, {**row, **_content(event.content), "infos": _json(event.infos)}
            )

    def projection_deleted(self, _: Any, event: ProjectionDeleted, __: Any) -> None:
        self._delete(self._tables.derived, "id", [uuid_text(event.id)])

    def upload_started(self, change: LakeChange, event: UploadStarted, lake: int) -> None:
        row = {"number": change.number(), "lake": lake, "id": event.id, "request": event.request}
        self._insert(self._tables.upload, row)

    def upload_finished(self, _: Any, event: UploadFinished, __: Any) -> None:
        self._delete(self._tables.upload, "id", [event.id])

    def job_created(self, change: LakeChange, event: JobCreated, lake: int) -> None:
        values = {"lake": lake, "request": _json(event.request), "host": event.host, "status": "PENDING"}
        empty = {"done": 0, "total": 0, "error": "", "log": "[]", "result": "{}"}
        times = {"created_at": change.recorded_at, "updated_at": change.recorded_at}
        row = {"number": change.number(), "id": event.id, "name": event.name}
        self._insert(self._tables.job, {**row, **values, **empty, **times})

    def job_updated(self, change: LakeChange, event: JobUpdated, _: Any) -> None:
        table = self._tables.job
        values: dict[str, Any] = {name: getattr(event, name) for name in ("status", "done", "total", "error")}
        values["updated_at"] = change.recorded_at
        if event.result:
            values["result"] = _json(event.result)
        if event.log:
            held = self._connection.execute(sa.select(table.c.log).where(table.c.id == event.id)).scalar()
            values["log"] = _json([*from_json(held or "[]", list[str]), *event.log])
        self._update(table, event.id, **values)


_WRITES: dict[type, Callable[..., None]] = {
    LakeCreated: _Writer.lake_created,
    LakeConnected: _Writer.lake_connected,
    SourceCreated: _Writer.source_created,
    SourceUpdated: _Writer.source_updated,
    SourceDeleted: _Writer.source_deleted,
    ProcessingCreated: _Writer.processing_created,
    ProcessingUpdated: _Writer.processing_updated,
    ProcessingDeleted: _Writer.processing_deleted,
    DataUploaded: _Writer.data_uploaded,
    DataUpdated: _Writer.data_updated,
    DataDeleted: _Writer.data_deleted,
    SchemaUpdated: _Writer.schema_updated,
    TagsCreated: _Writer.tags_created,
    TagUpdated: _Writer.tag_updated,
    TagDeleted: _Writer.tag_deleted,
    TagsAttached: _Writer.tags_attached,
    TagsDetached: _Writer.tags_detached,
    ProjectionCreated: _Writer.projection_created,
    ProjectionDeleted: _Writer.projection_deleted,
    UploadStarted: _Writer.upload_started,
    UploadFinished: _Writer.upload_finished,
    JobCreated: _Writer.job_created,
    JobUpdated: _Writer.job_updated,
}


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _content_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("object_name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("width", sa.BigInteger, nullable=False),
        sa.Column("height", sa.BigInteger, nullable=False),
    ]


_CONTENT = tuple(column.name for column in _content_columns())
_content_values = attrgetter(*_CONTENT[1:])


def _content(content: Any) -> dict[str, Any]:
    return dict(zip(_CONTENT, (uuid_text(content.id), *_content_values(content)), strict=True))


def _named(change: LakeChange, event: LakesEvent) -> dict[str, Any]:
    return {"number": change.number(), "id": event.id, "name": event.name}


def _data_row(
    number: int, lake: int, record: DataRecord, source: int | None, recorded_at: int
) -> tuple[Any, ...]:
    return (
        number,
        lake,
        uuid_text(record.id),
        *_content_values(record),
        name_key(record.filename),
        name_key(record.object_name),
        record.type,
        record.status,
        record.reason,
        source,
        recorded_at,
        _json(record.metadata),
        _json(record.custom_metadata),
    )


def _value_rows(number: int, column: str, metadata: dict[str, Any]) -> list[tuple[Any, ...]]:
    if not metadata:
        return []
    try:
        values = list(metadata_values(column, from_json(_json(metadata), dict[str, Any])))
    except (ValueError, OverflowError, RecursionError):  # of an event that framelode did not write
        return []
    return [
        (number, _FIELDS[column], item, value.path, int(value.kind), value.text, value.number)
        for item, value in enumerate(values)
    ]


def _merged(held: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with new values. A value of None removes its key."""
    return {name: value for name, value in (held | given).items() if value is not None}


def _json(value: Any) -> str:
    if not value:
        return "[]" if isinstance(value, list) else "{}"
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, RecursionError):  # of an event that framelode did not write
        return "{}"


def uuid_text(digits: str) -> str:
    """Return an id in the form of a UUID, as users see it."""
    if len(digits) != 32:  # of an event that framelode did not write
        return digits
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
