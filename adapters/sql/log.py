"""The log in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ...engine.batch import (
    FRAMES_SCHEMA,
    AppendHeader,
    Batch,
    BatchHeader,
    Body,
    body_checksum,
    chain_digest,
    genesis_digest,
)
from ...engine.errors import IntegrityError, NotFoundError, UsageError
from ...engine.keys import ROW
from ...engine.log import Append, AppendExistsError, Clock, Head, Log, StreamConflictError, StreamRows
from . import tables as t
from .database import Database

_PAGE_BYTES = 4 * 1024 * 1024
_PAGE_ROWS = 2000
_FIRST_PAGE_ROWS = 32
_BATCHES_AT_ONCE = 8
_FLAGS = {0: False, 1: True}
_FEW = 8

_HEADER_COLUMNS = [column for column in t.record_batch.c if column.name != "keys"]
_APPEND_COLUMNS = list(t.append.c)
_HEADER_NAMES = [str(column.name) for column in _HEADER_COLUMNS]
_APPEND_NAMES = [str(column.name) for column in _APPEND_COLUMNS]
_ROWS_COLUMNS = [
    t.record_batch.c[n] for n in ("first_position", "count", "first_version", "keys", "keys_digest")
]

_last_batch = sa.select(*_HEADER_COLUMNS).order_by(t.record_batch.c.first_position.desc()).limit(1)
_batch_at = (
    sa.select(*_HEADER_COLUMNS)
    .where(t.record_batch.c.first_position <= sa.bindparam("position"))
    .order_by(t.record_batch.c.first_position.desc())
    .limit(1)
)
_stream_head = (
    sa.select(t.record_batch.c.first_version + t.record_batch.c.count - 1)
    .where(t.record_batch.c.stream_id == sa.bindparam("stream_id"))
    .order_by(t.record_batch.c.first_version.desc())
    .limit(1)
)


class _At:
    """Statements, built once, that select rows by first position: of one batch, and of a few together."""

    def __init__(self, columns: Sequence[Any], key: Any) -> None:
        self.table = key.table.name
        names = [f"p{number}" for number in range(_BATCHES_AT_ONCE)]
        self._one = sa.select(*columns).where(key == sa.bindparam("p0"))
        self._few = (
            sa.select(*columns).where(sa.or_(*(key == sa.bindparam(name) for name in names))).order_by(key)
        )
        self._names = names

    def execute(self, connection: sa.Connection, positions: Sequence[int]) -> Sequence[Any]:
        """Return the rows at up to a few positions, ascending."""
        statement = self._one if len(positions) == 1 else self._few
        padded = [*positions, *[positions[-1]] * (_BATCHES_AT_ONCE - len(positions))]
        names = self._names[:1] if len(positions) == 1 else self._names
        return connection.execute(statement, dict(zip(names, padded, strict=False))).all()


_rows_at = _At(_ROWS_COLUMNS, t.record_batch.c.first_position)
_bodies_at = _At(list(t.record_body.c), t.record_body.c.first_position)


class SqlLog(Log):
    """The log in a SQL database (SQLite here), append-only by lock, check and trigger.

    Parameters
    ----------
    database : Database
        Where the tables are, or are made when the database is empty.
    clock : Clock
        UTC microseconds; a recorded time never runs backwards even if this does.
    new_id : callable
        Makes the log's identity.

    Raises
    ------
    UsageError
        The log was written by a newer format than this code reads.
    IntegrityError
        The last batch does not match its digest.
    """

    def __init__(self, database: Database, clock: Clock, new_id: Callable[[], str]) -> None:
        self.database = database
        self.name = database.name
        self._clock = clock
        self._head: Head | None = None
        self._head_version = -1
        self.uuid = self._open(new_id)
        database.use_write_ahead_log()
        self._check_head()

    def _open(self, new_id: Callable[[], str]) -> str:
        with self.database.read() as connection:
            names = set(sa.inspect(connection).get_table_names())
        if "log_info" not in names:
            if names:
                self._refuse_remains(names)
                raise UsageError(
                    f"{self.name} is a database of something else: it holds {', '.join(sorted(names))}"
                )
            self._create(new_id)
        else:
            self._refuse_remains(names)
        with self.database.read() as connection:
            infos = connection.execute(sa.select(t.log_info)).all()
        info = infos[0] if len(infos) == 1 else None
        if (
            info is None
            or not isinstance(info.uuid, str)
            or not isinstance(info.format, int)
            or info.format < 1
        ):
            raise IntegrityError(f"{self.name} has lost its identity (table log_info)", file=self.name)
        if info.format > t.FORMAT_VERSION:
            raise UsageError(
                f"{self.name} has log format {info.format}, this framelode reads up to {t.FORMAT_VERSION}: "
                "install a newer framelode"
            )
        return info.uuid

    def _refuse_remains(self, names: set[str]) -> None:
        missing = set(t.LOG_TABLES) - names
        if missing and missing != set(t.LOG_TABLES):
            raise IntegrityError(
                f"{self.name} has lost its tables {', '.join(sorted(missing))}: restore it from a copy",
                file=self.name,
            )

    def _create(self, new_id: Callable[[], str]) -> None:
        with self.database.write() as connection:
            t.metadata.create_all(connection)
            for statement in t.sqlite_triggers():
                connection.exec_driver_sql(statement)
            if connection.execute(sa.select(t.log_info)).first() is None:
                connection.execute(t.log_info.insert(), {"uuid": new_id(), "format": t.FORMAT_VERSION})

    def _check_head(self) -> None:
        with self.database.read() as connection:
            row = connection.execute(_last_batch).one_or_none()
        if row is None:
            return
        header = self._header(row)
        append = self.append_header(header.append_id)
        if chain_digest(header, append) != header.digest or append.last_position != header.last_position:
            raise self._damaged("the last batch does not match its digest", header.first_position)

    def _damaged(self, what: str, position: int) -> IntegrityError:
        return IntegrityError(f"{self.name}: {what} (position {position})", position=position, file=self.name)

    def head(self) -> Head:
        """Return the end of the log; a hot read, answered from memory while nobody has written."""
        with self.database.read() as connection:
            version = self.database.data_version(connection)
            if self._head is None or version != self._head_version:
                self._head = self._read_head(connection)
                self._head_version = version
            return self._head

    def _read_head(self, connection: sa.Connection) -> Head:
        row = connection.execute(_last_batch).one_or_none()
        if row is None:
            return Head(0, genesis_digest(self.uuid), 0)
        last = self._header(row)
        return Head(last.last_position, last.digest, last.recorded_at)

    def append(self, append: Append, also: Callable[[sa.Connection], None] | None = None) -> AppendHeader:
        """Record an append; `also` runs in the same transaction (a process recorder's tracking)."""
        if not append.batches:
            raise UsageError("an append needs at least one batch")
        with self.database.write() as connection:
            recorded = self._record(connection, append)
            if also:
                also(connection)
        self._head = None
        return recorded

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Keep all other writers out while something is decided and appended inside."""
        with self.database.write():
            yield

    def _record(self, connection: sa.Connection, append: Append) -> AppendHeader:
        row = connection.execute(_last_batch).one_or_none()
        last = self._header(row) if row else None
        position = last.last_position + 1 if last else 1
        header = AppendHeader(
            append_id=last.append_id + 1 if last else 1,
            command_id=append.command_id,
            part=append.part,
            is_last=append.is_last,
            request_digest=append.request_digest,
            first_position=position,
            last_position=position + sum(batch.count for batch in append.batches) - 1,
            result=append.result,
        )
        if self._find_part(connection, append.command_id, append.part):
            raise AppendExistsError(f"part {append.part} of command {append.command_id} is recorded already")
        _check_guards(connection, append)
        connection.execute(t.append.insert(), msgspec.structs.asdict(header))
        previous = last.digest if last else genesis_digest(self.uuid)
        recorded_at = max(self._clock(), last.recorded_at if last else 0)
        for batch in append.batches:
            previous = self._insert_batch(connection, batch, append, header, position, recorded_at, previous)
            position += batch.count
        return header

    def _insert_batch(
        self,
        connection: sa.Connection,
        batch: Batch,
        append: Append,
        header: AppendHeader,
        position: int,
        recorded_at: int,
        previous: bytes,
    ) -> bytes:
        found = connection.execute(_stream_head, {"stream_id": batch.stream_id}).scalar_one_or_none()
        if found is not None and batch.first_version != found + 1:
            raise StreamConflictError(batch.stream_id, batch.first_version - 1, found)
        unsealed = BatchHeader(
            first_position=position,
            count=batch.count,
            append_id=header.append_id,
            stream_id=batch.stream_id,
            first_version=batch.first_version,
            topics=batch.topics,
            schema=batch.schema,
            recorded_at=recorded_at,
            actor=append.actor,
            context=append.context,
            previous_digest=previous,
            keys_digest=batch.keys_digest,
            body_digest=batch.body_digest,
        )
        digest = chain_digest(unsealed, header)
        values = msgspec.structs.asdict(unsealed)
        values |= {"topics": _encode_topics(batch.topics), "digest": digest, "keys": batch.keys}
        connection.execute(t.record_batch.insert(), values)
        body = {
            "first_position": position,
            "codec": batch.codec,
            "checksum": batch.checksum,
            "body": batch.body,
        }
        connection.execute(t.record_body.insert(), body)
        return digest

    def _find_part(self, connection: sa.Connection, command_id: str, part: int | None) -> AppendHeader | None:
        query = sa.select(*_APPEND_COLUMNS).where(t.append.c.command_id == command_id)
        if part is not None:
            query = query.where(t.append.c.part == part)
        row = connection.execute(query.order_by(t.append.c.part.desc()).limit(1)).one_or_none()
        return self._append_header(row) if row else None

    def find_append(self, command_id: str, part: int | None = None) -> AppendHeader | None:
        """Return a part of a command (the last one by default), or None."""
        with self.database.read() as connection:
            return self._find_part(connection, command_id, part)

    def first_positions(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return ``(first position, count)`` of batches, ascending: those that hold some positions, maybe more."""
        if not positions:
            return []
        if len(positions) <= _FEW:
            headers = {header.first_position: header.count for header in map(self.batch_at, positions)}
            return sorted(headers.items())
        batch = t.record_batch.c
        low, high = self._first_of_batch_at(min(positions)), max(positions)
        query = sa.select(batch.first_position, batch.count).where(batch.first_position.between(low, high))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(batch.first_position)).all()
        return [(row[0], row[1]) for row in rows]

    def append_header(self, append_id: int) -> AppendHeader:
        """Return the append a batch belongs to."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(*_APPEND_COLUMNS).where(t.append.c.append_id == append_id)
            ).one_or_none()
        if row is None:
            raise IntegrityError(f"{self.name}: append {append_id} is missing", file=self.name)
        return self._append_header(row)

    def appends(self) -> Iterator[AppendHeader]:
        """Yield every append in order, read in pages."""
        query = sa.select(*_APPEND_COLUMNS).order_by(t.append.c.append_id).limit(_PAGE_ROWS)
        last = 0
        while True:
            with self.database.read() as connection:
                rows = connection.execute(query.where(t.append.c.append_id > last)).all()
            yield from map(self._append_header, rows)
            if len(rows) < _PAGE_ROWS:
                return
            last = rows[-1].append_id

    def check_tables(self) -> list[str]:
        """Run the database's own integrity check and look for bodies that belong to no batch; [] means sound."""
        report = [f"{self.name}: {line}" for line in self.database.integrity_report()]
        batch, body = t.record_batch.c.first_position, t.record_body.c.first_position
        query = sa.select(body).where(body.not_in(sa.select(batch))).limit(1)
        with self.database.read() as connection:
            stray = connection.execute(query).scalar_one_or_none()
            triggers = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).scalars()
            unguarded = sorted(t.TRIGGERS - set(triggers))
        report += [
            f"{self.name}: the trigger {name} is missing, so the log can be rewritten" for name in unguarded
        ]
        if stray is not None:
            report.append(f"{self.name}: the body at position {stray} belongs to no batch")
        return report

    def stream_version(self, stream_id: str) -> int | None:
        """Return the version of a stream's last event, None for an unknown stream."""
        with self.database.read() as connection:
            return connection.execute(_stream_head, {"stream_id": stream_id}).scalar_one_or_none()

    def headers(
        self, *, gt: int = 0, lte: int | None = None, stream_id: str | None = None, schema: str | None = None
    ) -> Iterator[BatchHeader]:
        """Yield batch headers in order, read in pages."""
        batch = t.record_batch.c
        query = sa.select(*_HEADER_COLUMNS).order_by(batch.first_position).limit(_PAGE_ROWS)
        if lte is not None:
            query = query.where(batch.first_position <= lte)
        if stream_id is not None:
            query = query.where(batch.stream_id == stream_id)
        if schema is not None:
            query = query.where(batch.schema == schema)
        first = self._first_of_batch_at(gt + 1)
        while True:
            with self.database.read() as connection:
                rows = connection.execute(query.where(batch.first_position >= first)).all()
            yield from (header for header in map(self._header, rows) if header.last_position > gt)
            if len(rows) < _PAGE_ROWS:
                return
            first = rows[-1].first_position + 1

    def _first_of_batch_at(self, position: int) -> int:
        with self.database.read() as connection:
            row = connection.execute(_batch_at, {"position": position}).one_or_none()
        return row.first_position if row else 0

    def batch_at(self, position: int) -> BatchHeader:
        """Return the header of the batch that holds a position."""
        with self.database.read() as connection:
            row = connection.execute(_batch_at, {"position": position}).one_or_none()
        header = self._header(row) if row else None
        if header is None or position > header.last_position:
            raise NotFoundError(f"{self.name} has no position {position}")
        return header

    def stream_rows(self, stream_id: str, *, after: int = 0, lte: int | None = None) -> Iterator[StreamRows]:
        """Yield the frame batches of a stream in order, checked, read in pages of a few megabytes."""
        batch = t.record_batch.c
        query = (
            sa.select(*_ROWS_COLUMNS)
            .where(batch.stream_id == stream_id, batch.schema == FRAMES_SCHEMA)
            .order_by(batch.first_version)
        )
        if lte is not None:
            query = query.where(batch.first_position <= lte)
        limit = _FIRST_PAGE_ROWS
        while True:
            page = query.where(batch.first_version > after).limit(limit)
            with self.database.read() as connection:
                rows: Sequence[Any] = connection.execute(page).all()
            for row in rows:
                self._check_keys(row)
                yield StreamRows(*row[:4])
            if len(rows) < limit:
                return
            after = rows[-1].first_version
            bytes_per_row = sum(len(row.keys) for row in rows) // len(rows) + 1
            limit = max(_FIRST_PAGE_ROWS, min(_PAGE_ROWS, _PAGE_BYTES // bytes_per_row))

    def _check_keys(self, row: Any) -> None:
        whole = isinstance(row.keys, bytes) and isinstance(row.first_version, int)
        if (
            not whole
            or len(row.keys) not in {0, row.count * ROW.itemsize}
            or blake3(row.keys).digest() != row.keys_digest
        ):
            raise self._damaged("the keys of a batch do not match their digest", row.first_position)

    def rows_at(self, first_positions: Sequence[int]) -> dict[int, bytes]:
        """Return the checked `keys` of batches, by their first positions."""
        found: dict[int, bytes] = {}
        for row in self._select_at(_rows_at, first_positions):
            self._check_keys(row)
            found[row.first_position] = row.keys
        return found

    def bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Yield the checked bodies of batches, in ascending order of position."""
        for row in self._select_at(_bodies_at, first_positions):
            whole = isinstance(row.codec, str) and isinstance(row.body, bytes)
            if not whole or body_checksum(row.codec, row.body) != row.checksum:
                raise self._damaged("a body does not match its checksum", row.first_position)
            yield Body(row.first_position, row.codec, row.body)

    def _select_at(self, statements: _At, first_positions: Sequence[int]) -> Iterator[Any]:
        for start in range(0, len(first_positions), _BATCHES_AT_ONCE):
            wanted = list(first_positions[start : start + _BATCHES_AT_ONCE])
            with self.database.read() as connection:
                rows = statements.execute(connection, wanted)
            if len(rows) != len(wanted):
                missing = min(set(wanted) - {row.first_position for row in rows})
                raise self._damaged(f"{statements.table} misses a batch", missing)
            yield from rows

    def _header(self, row: Any) -> BatchHeader:
        values: dict[str, Any] = dict(zip(_HEADER_NAMES, row, strict=True))
        try:
            values["topics"] = _topics(values["topics"])
            return msgspec.convert(values, BatchHeader)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise self._damaged(f"the header of a batch is damaged: {error}", row.first_position) from error

    def _append_header(self, row: Any) -> AppendHeader:
        values: dict[str, Any] = dict(zip(_APPEND_NAMES, row, strict=True))
        try:
            values["is_last"] = _FLAGS[values["is_last"]]
            return msgspec.convert(values, AppendHeader)
        except (msgspec.MsgspecError, LookupError, TypeError) as error:
            what = f"append {row.append_id} is damaged: {error}"
            raise self._damaged(what, row.first_position) from error

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def _check_guards(connection: sa.Connection, append: Append) -> None:
    for stream_id, version in append.guards.items():
        found = connection.execute(_stream_head, {"stream_id": stream_id}).scalar_one_or_none() or 0
        if found != version:
            raise StreamConflictError(stream_id, version, found)


@lru_cache(maxsize=256)
def _topics(text: str) -> tuple[str, ...]:
    """Return the topics of a batch; their text has one form, so that any other is damage."""
    topics = tuple(msgspec.json.decode(text, type=list[str]))
    if _encode_topics(topics) != text:
        raise ValueError(f"its topics are written as {text!r}")
    return topics


def _encode_topics(topics: tuple[str, ...]) -> str:
    return msgspec.json.encode(topics).decode()
