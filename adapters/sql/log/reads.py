"""Reads the log from a SQL database. Headers, key rows and bodies are checked when they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ....engine.errors import IntegrityError, NotFoundError
from ....engine.keys import KeyRow
from ....engine.log.batch import (
    FRAMES_SCHEMA,
    AppendHeader,
    BatchHeader,
    Body,
    OpenedBatch,
    Positive,
    body_checksum,
    read_events,
    stored_hash,
)
from ....engine.log.contract import Log, StreamRows
from ....engine.log.recent import RecentlyRead
from ....projections.statements import DirectQuery
from ..database import Database
from . import tables as t

PAGE_BYTES = 4 * 1024 * 1024
PAGE_ROWS = 2000
_FIRST_PAGE_ROWS = 32
_BATCHES_AT_ONCE = 8
_RECENT_BYTES = 128 * 1024 * 1024
_FLAGS = {0: False, 1: True}
_STORED_TYPES = (bytes,)
"""A string in a column of bytes is damage, but msgspec would decode it as base64."""
_FEW = 8

_HEADER_COLUMNS = [column for column in t.record_batch.c if column.name != "keys"]
_APPEND_COLUMNS = list(t.append.c)
_HEADER_NAMES = [str(column.name) for column in _HEADER_COLUMNS]
_APPEND_NAMES = [str(column.name) for column in _APPEND_COLUMNS]
ROWS_COLUMNS = [
    t.record_batch.c[n] for n in ("first_position", "count", "first_version", "keys", "keys_digest", "schema")
]

_last_batch = DirectQuery(
    lambda: sa.select(*_HEADER_COLUMNS).order_by(t.record_batch.c.first_position.desc()).limit(1), ()
)
_batch_at = DirectQuery(
    lambda: (
        sa.select(*_HEADER_COLUMNS)
        .where(t.record_batch.c.first_position <= sa.bindparam("position"))
        .order_by(t.record_batch.c.first_position.desc())
        .limit(1)
    ),
    ("position",),
)
_stream_head = DirectQuery(
    lambda: (
        sa.select((t.record_batch.c.first_version + t.record_batch.c.count).label("next_version"))
        .where(t.record_batch.c.stream_id == sa.bindparam("stream_id"))
        .order_by(t.record_batch.c.first_version.desc())
        .limit(1)
    ),
    ("stream_id",),
)
_part_of = DirectQuery(
    lambda: sa.select(*_APPEND_COLUMNS).where(
        t.append.c.command_id == sa.bindparam("command_id"), t.append.c.part == sa.bindparam("part")
    ),
    ("command_id", "part"),
)

_last_part_of = DirectQuery(
    lambda: (
        sa.select(*_APPEND_COLUMNS)
        .where(t.append.c.command_id == sa.bindparam("command_id"))
        .order_by(t.append.c.part.desc())
        .limit(1)
    ),
    ("command_id",),
)
_append_at = DirectQuery(
    lambda: sa.select(*_APPEND_COLUMNS).where(t.append.c.append_id == sa.bindparam("append_id")),
    ("append_id",),
)
_appends_from = DirectQuery(
    lambda: (
        sa.select(*_APPEND_COLUMNS)
        .where(t.append.c.append_id >= sa.bindparam("first"))
        .order_by(t.append.c.append_id)
        .limit(sa.bindparam("limit"))
    ),
    ("first", "limit"),
)

_most_bytes = attrgetter("most_bytes")

Header = TypeVar("Header", BatchHeader, AppendHeader)


_StoredBatch = tuple[Positive, Positive, str, int, str, str, str, bytes, bytes]
"""The columns of a batch that its events are read from: its first position, the number of its events, and the rest."""


class _At:
    """Compiled statements that select rows by first position: one row, or a few together."""

    def __init__(self, columns: Sequence[Any], key: Any) -> None:
        self.table = key.table.name
        names = [f"p{number}" for number in range(_BATCHES_AT_ONCE)]

        def few() -> sa.Select[Any, *tuple[Any, ...]]:
            these = sa.or_(*(key == sa.bindparam(name) for name in names))
            return sa.select(*columns).where(these).order_by(key)

        self._one = DirectQuery(lambda: sa.select(*columns).where(key == sa.bindparam("p0")), names[:1])
        self._few = DirectQuery(few, names)

    def execute(self, connection: sa.Connection, positions: Sequence[int]) -> Sequence[Any]:
        """Return the rows at a few positions, in ascending order."""
        if len(positions) == 1:
            return self._one.rows(connection, positions)
        padded = [*positions, *[positions[-1]] * (_BATCHES_AT_ONCE - len(positions))]
        return self._few.rows(connection, padded)


@lru_cache(maxsize=64)
def _opened_query(order: str, topics: int, *, has_prefix: bool, has_end: bool) -> DirectQuery:
    """Return the query of a page of batches with their bodies, in the columns of `_StoredBatch`.

    Parameters
    ----------
    order : {"position", "version", "version desc"}
        Of the batches of the log, or of those of a stream, from `low` on. The batch that contains `low` may begin before it.
    topics : int
        Number of topics; 0 for all.
    has_prefix : bool
        Only streams whose ids begin with a prefix.
    has_end : bool
        Only batches that begin at or before `high`.
    """
    batch, body = t.record_batch.c, t.record_body.c
    low = sa.bindparam("low")
    names = ["low", "limit"]
    columns = [batch.first_position, batch["count"], batch.stream_id, batch.first_version, batch.topics]
    key = batch.first_position if order == "position" else batch.first_version
    stream = [] if order == "position" else [batch.stream_id == sa.bindparam("stream_id")]
    earlier = sa.select(sa.func.max(key)).where(key <= low, *stream).scalar_subquery()
    first = sa.func.coalesce(earlier, low)
    same = batch.first_position == body.first_position
    if stream:
        names.append("stream_id")
    else:
        # PostgreSQL may merge the tables, and would read all earlier bodies for it.
        same &= body.first_position >= first
    query = sa.select(*columns, batch.schema, body.codec, body.checksum, body.body).where(
        key >= first, *stream
    )
    query = query.join_from(t.record_batch, t.record_body, same, isouter=True)
    if has_end:
        # Not in every query: PostgreSQL takes a range with two unknown ends for a short one, and may sort all of it.
        names.append("high")
        query = query.where(key <= sa.bindparam("high"))
    if topics:
        asked = [f"topic{number}" for number in range(topics)]
        names += asked
        # Several topics are stored with commas. Few batches have several, so the caller filters them.
        alone = [batch.topics == sa.bindparam(name) for name in asked]
        query = query.where(sa.or_(*alone, (batch["count"] > 1) & batch.topics.like("%,%")))
    if has_prefix:
        names += ["prefix", "length"]
        # Not a range of stream ids: the index of streams would be searched, and all that it finds be sorted. PostgreSQL
        # takes a bare comparison for one that few batches pass, and would sort all the rest of the log for a page.
        begins = sa.func.substr(batch.stream_id, 1, sa.bindparam("length", type_=sa.Integer))
        query = query.where(sa.func.coalesce(begins == sa.bindparam("prefix"), sa.false()))
    query = query.order_by(key.desc() if order == "version desc" else key)
    return DirectQuery(query.limit(sa.bindparam("limit")), names)


_rows_at = _At(ROWS_COLUMNS, t.record_batch.c.first_position)
_bodies_at = _At(list(t.record_body.c), t.record_body.c.first_position)


def last_row(connection: sa.Connection) -> Any:
    """Return the row of the last batch; None for an empty log."""
    return _last_batch.row(connection, ())


def stream_head(connection: sa.Connection, stream_id: str) -> int | None:
    """Return the version of the last event of a stream; None for an unknown stream."""
    row = _stream_head.row(connection, (stream_id,))
    return None if row is None else row.next_version - 1


def _first_of_batch_at(position: sa.BindParameter[int]) -> sa.ColumnElement[int]:
    """Return the first position of the batch that contains a position, or the position itself."""
    first = t.record_batch.c.first_position
    before = sa.select(sa.func.max(first)).where(first <= position).scalar_subquery()
    return sa.func.coalesce(before, position)


_of_positions = DirectQuery(
    lambda: (
        sa.select(t.record_batch.c.first_position, t.record_batch.c.count)
        .where(
            t.record_batch.c.first_position >= _first_of_batch_at(sa.bindparam("low", type_=sa.BigInteger)),
            t.record_batch.c.first_position <= sa.bindparam("high"),
        )
        .order_by(t.record_batch.c.first_position)
    ),
    ("low", "high"),
)


@cache
def _page_of_headers(given: tuple[str, ...], topics: int, *, is_first: bool) -> DirectQuery:
    """Return the query for a page of headers. Its parameters are those `given`, the topics, `first`, and the number of rows."""
    batch = t.record_batch.c
    first = sa.bindparam("first", type_=sa.BigInteger)
    # The batch that contains the first position may begin before it.
    query = sa.select(*_HEADER_COLUMNS).where(
        batch.first_position >= (_first_of_batch_at(first) if is_first else first)
    )
    conditions = {
        "lte": batch.first_position <= sa.bindparam("lte"),
        "stream_id": batch.stream_id == sa.bindparam("stream_id"),
        "after": batch.first_version > sa.bindparam("after"),
        "schema": batch.schema == sa.bindparam("schema"),
    }
    names = [f"topic{number}" for number in range(topics)]
    if topics:
        # Several topics are stored with commas. Few batches have several, so the caller filters them.
        alone = [batch.topics == sa.bindparam(name) for name in names]
        query = query.where(sa.or_(*alone, batch.topics.contains(",")))
    query = query.where(*(conditions[name] for name in given))
    query = query.order_by(batch.first_position).limit(sa.bindparam("limit"))
    return DirectQuery(query, (*given, *names, "first", "limit"))


@cache
def _stream_batch_at(*, has_schema: bool) -> DirectQuery:
    """Return the query for the header of a stream's batch at a position. Its parameters are both, and `schema`."""
    batch = t.record_batch.c
    query = sa.select(*_HEADER_COLUMNS).where(
        batch.stream_id == sa.bindparam("stream_id"), batch.first_position <= sa.bindparam("position")
    )
    if has_schema:
        query = query.where(batch.schema == sa.bindparam("schema"))
    names = ("stream_id", "position", *(("schema",) if has_schema else ()))
    return DirectQuery(query.order_by(batch.first_version.desc()).limit(1), names)


@cache
def _page_of_rows(*, has_lte: bool) -> DirectQuery:
    """Return the query for the key rows of a stream. Its parameters are the stream, a version, the number of rows, and `lte`."""
    batch = t.record_batch.c
    names = ("stream_id", "after", "limit", *(("lte",) if has_lte else ()))
    query = sa.select(*ROWS_COLUMNS).where(
        batch.stream_id == sa.bindparam("stream_id"),
        batch.schema == FRAMES_SCHEMA,
        batch.first_version > sa.bindparam("after"),
    )
    if has_lte:
        query = query.where(batch.first_position <= sa.bindparam("lte"))
    return DirectQuery(query.order_by(batch.first_version).limit(sa.bindparam("limit")), names)


class Tail(NamedTuple):
    """What an append follows: the last batch, the part of the command if it is already recorded, and the heads of streams."""

    last: BatchHeader | None
    part: AppendHeader | None
    heads: dict[str, int | None]


class SqlLogReads(Log):
    """The methods of the log that read."""

    database: Database

    def __init__(self) -> None:
        self._recent: RecentlyRead[Body] = RecentlyRead(self._read_bodies, _most_bytes, _RECENT_BYTES)

    def tail(self, connection: sa.Connection, command_id: str, part: int, streams: Collection[str]) -> Tail:
        """Read what an append follows. Other writers must be excluded."""
        queries = [
            (_last_batch, ()),
            (_part_of, (command_id, part)),
            *((_stream_head, (stream,)) for stream in streams),
        ]
        last_row, part_row, *head_rows = self.database.first_rows(connection, queries)
        heads = {
            stream: row.next_version - 1 if row else None
            for stream, row in zip(streams, head_rows, strict=True)
        }
        return Tail(
            self.header_of(last_row) if last_row else None,
            self._append_header_of(part_row) if part_row else None,
            heads,
        )

    def find_part(self, connection: sa.Connection, command_id: str, part: int | None) -> AppendHeader | None:
        """Return a part of a command (by default the last one), or None, using an open connection."""
        if part is not None:
            row = _part_of.row(connection, (command_id, part))
        else:
            row = _last_part_of.row(connection, (command_id,))
        return self._append_header_of(row) if row else None

    def find_append(self, command_id: str, part: int | None = None) -> AppendHeader | None:
        """Return a part of a command (by default the last one), or None."""
        with self.database.read() as connection:
            return self.find_part(connection, command_id, part)

    def first_positions(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return ``(first position, count)`` of the batches that contain some positions, and maybe of more, ascending."""
        if not positions:
            return []
        if len(positions) <= _FEW:
            headers = {header.first_position: header.count for header in map(self.batch_at, positions)}
            return sorted(headers.items())
        with self.database.read() as connection:
            return list(_of_positions.execute(connection, (min(positions), max(positions))))

    def append_header(self, append_id: int) -> AppendHeader:
        """Return the append of a batch."""
        with self.database.read() as connection:
            row = _append_at.row(connection, (append_id,))
        if row is None:
            raise IntegrityError(f"{self.name}: append {append_id} is missing", file=self.name)
        return self._append_header_of(row)

    def appends(self, *, gt: int = 0, damaged: list[IntegrityError] | None = None) -> Iterator[AppendHeader]:
        """Yield the appends with ids greater than `gt` in order. They are read in pages."""
        while True:
            with self.database.read() as connection:
                rows = _appends_from.rows(connection, (gt + 1, PAGE_ROWS))
            # A short page may not be the last one: writers may add appends meanwhile.
            if not rows:
                return
            yield from _readable(self._append_header_of, rows, damaged)
            gt = rows[-1].append_id

    def stream_version(self, stream_id: str) -> int | None:
        """Return the version of the last event of a stream; None for an unknown stream."""
        with self.database.read() as connection:
            return stream_head(connection, stream_id)

    def stream_versions(self, stream_ids: Collection[str]) -> dict[str, int]:
        """Return the version of the last event of each of some streams; 0 for an unknown stream."""
        queries = [(_stream_head, (stream_id,)) for stream_id in stream_ids]
        with self.database.read() as connection:
            rows = self.database.first_rows(connection, queries)
        return {
            stream_id: row.next_version - 1 if row else 0
            for stream_id, row in zip(stream_ids, rows, strict=True)
        }

    def last_batch(self, stream_id: str, *, lte: int, schema: str | None = None) -> BatchHeader | None:
        """Return the header of the last batch of a stream that begins at or before position `lte`."""
        query = _stream_batch_at(has_schema=schema is not None)
        values = (stream_id, lte, *(() if schema is None else (schema,)))
        with self.database.read() as connection:
            row = query.row(connection, values)
        return self.header_of(row) if row else None

    def headers(
        self,
        *,
        gt: int = 0,
        lte: int | None = None,
        stream_id: str | None = None,
        after: int = 0,
        schema: str | None = None,
        topics: Collection[str] | None = None,
        damaged: list[IntegrityError] | None = None,
    ) -> Iterator[BatchHeader]:
        """Yield batch headers in order. They are read in pages."""
        values = {"lte": lte, "stream_id": stream_id, "after": after or None, "schema": schema}
        given = {name: value for name, value in values.items() if value is not None}
        alone = [encode_topics((topic,)) for topic in sorted(topics or ())]
        first, is_first = gt + 1, True
        while True:
            query = _page_of_headers(tuple(given), len(alone), is_first=is_first)
            with self.database.read() as connection:
                rows = query.rows(connection, (*given.values(), *alone, first, PAGE_ROWS))
            for header in _readable(self.header_of, rows, damaged):
                if header.first_position + header.count > gt + 1:
                    yield header
            if len(rows) < PAGE_ROWS:
                return
            first, is_first = rows[-1].first_position + 1, False

    def opened(
        self,
        low: int,
        high: int | None = None,
        *,
        stream_id: str | None = None,
        desc: bool = False,
        topics: Sequence[str] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[OpenedBatch]:
        """Yield batches with their encoded events, checked, read in pages of a few megabytes.

        Parameters
        ----------
        low, high : int
            Positions, or versions of the stream. The batch that contains `low` is yielded whole.
        stream_id : str, optional
            Only batches of this stream, in order of its versions.
        desc : bool
            The last version of the stream first.
        topics : sequence of str
            Leave out batches without these topics. A batch with several topics may be yielded all the same.
        prefix : str
            Only streams whose ids begin with it.
        limit : int, optional
            Number of batches that the caller will read, approximately.
        """
        order = "position" if stream_id is None else "version desc" if desc else "version"
        stream = [] if stream_id is None else [stream_id]
        given = [encode_topics((topic,)) for topic in topics] + ([prefix, len(prefix)] if prefix else [])
        rows = _FIRST_PAGE_ROWS if limit is None else max(1, min(limit, PAGE_ROWS))
        key = 0 if stream_id is None else 3
        while high is None or low <= high:
            query = _opened_query(order, len(topics), has_prefix=bool(prefix), has_end=high is not None)
            values = (low, rows, *stream, *([] if high is None else [high]), *given)
            with self.database.read() as connection:
                page = self._checked(query.execute(connection, values).fetchall())
            # After the end there is only the last batch.
            if not page or page[0][key] + page[0][1] <= low:
                return
            yield from self._opened(page)
            if len(page) < rows:
                return
            low, high = (low, page[-1][key] - 1) if desc else (page[-1][key] + page[-1][1], high)
            bytes_per_row = sum(len(row[-1]) for row in page) // len(page) + 1
            rows = max(1, min(PAGE_ROWS, PAGE_BYTES // bytes_per_row))

    def _checked(self, rows: list[Any]) -> list[Any]:
        try:
            return msgspec.convert(rows, list[_StoredBatch], builtin_types=_STORED_TYPES)
        except msgspec.ValidationError as error:
            for row in rows:
                if row[-1] is None:
                    raise self.damaged("record_body misses a batch", row[0]) from error
            raise self.damaged(f"a batch from here on is damaged: {error}", rows[0][0]) from error

    def _opened(self, page: list[_StoredBatch]) -> Iterator[OpenedBatch]:
        """Yield the batches of a page. This is a hot path."""
        for first, count, stream_id, version, topics, schema, codec, checksum, body in page:
            if body_checksum(first, stored_hash(codec, body)) != checksum:
                raise self.damaged("a body does not match its checksum", first)
            try:
                names = _topics(topics)
            except ValueError as error:
                raise self.damaged(f"the header of a batch is damaged: {error}", first) from error
            events = read_events(first, codec, body)
            if len(events) != count:
                raise self.damaged("a batch holds another number of events than its header says", first)
            yield OpenedBatch(first, count, stream_id, version, names, schema, events)

    def last_position(self, prefix: str) -> int | None:
        """Return the position of the last event of the streams whose ids begin with a prefix; None without one."""
        batch = t.record_batch.c
        query = (
            sa.select(batch.first_position, batch.count)
            .where(sa.func.substr(batch.stream_id, 1, len(prefix)) == prefix)
            .order_by(batch.first_position.desc())
            .limit(1)
        )
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else row[0] + row[1] - 1

    def batch_at(self, position: int) -> BatchHeader:
        """Return the header of the batch that contains a position."""
        with self.database.read() as connection:
            row = _batch_at.row(connection, (position,))
        header = self.header_of(row) if row else None
        if header is None or position > header.last_position:
            raise NotFoundError(f"{self.name} has no position {position}")
        return header

    def stream_rows(self, stream_id: str, *, after: int = 0, lte: int | None = None) -> Iterator[StreamRows]:
        """Yield the frame batches of a stream in order, with their digests checked, in pages of a few megabytes."""
        query = _page_of_rows(has_lte=lte is not None)
        limit = _FIRST_PAGE_ROWS
        while True:
            values = (stream_id, after, limit, *(() if lte is None else (lte,)))
            with self.database.read() as connection:
                rows = query.rows(connection, values)
            for row in rows:
                self._check_keys(row)
                yield StreamRows(*row[:4])
            if len(rows) < limit:
                return
            after = rows[-1].first_version
            bytes_per_row = sum(len(row.keys) for row in rows) // len(rows) + 1
            limit = max(_FIRST_PAGE_ROWS, min(PAGE_ROWS, PAGE_BYTES // bytes_per_row))

    def _check_keys(self, row: Any) -> None:
        first, count, version, *_ = row
        if (
            not (isinstance(first, int) and isinstance(count, int) and isinstance(version, int))
            or min(first, count) < 1
        ):
            raise self.damaged("the header of a batch is damaged", row.first_position)
        if (
            not isinstance(row.keys, bytes)
            or len(row.keys) != row.count * KeyRow.itemsize * (row.schema == FRAMES_SCHEMA)
            or blake3(row.keys).digest() != row.keys_digest
        ):
            raise self.damaged("the keys of a batch do not match their digest", row.first_position)

    def rows_at(self, first_positions: Sequence[int]) -> dict[int, bytes]:
        """Return the `keys` of batches by first position, with their digests checked."""
        found: dict[int, bytes] = {}
        for row in self._select_at(_rows_at, first_positions):
            self._check_keys(row)
            found[row.first_position] = row.keys
        return found

    def bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Yield the bodies of batches in ascending order of position, with their checksums checked."""
        for row in self._select_at(_bodies_at, first_positions):
            self._check_body(row)
            yield Body(row.first_position, row.codec, row.body)

    def recent_bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Like `bodies`, from a cache of the bodies that were read most recently and their open blocks."""
        for start in range(0, len(first_positions), _BATCHES_AT_ONCE):
            yield from self._recent.all(first_positions[start : start + _BATCHES_AT_ONCE])

    def _read_bodies(self, first_positions: Sequence[int]) -> dict[int, Body]:
        found: dict[int, Body] = {}
        for row in self._select_at(_bodies_at, first_positions):
            self._check_body(row)
            found[row.first_position] = Body(row.first_position, row.codec, row.body, keeps_blocks=True)
        return found

    def _check_body(self, row: Any) -> bytes:
        """Return the hash of a stored body after checking it."""
        whole = isinstance(row.codec, str) and isinstance(row.body, bytes)
        hashed = stored_hash(row.codec, row.body) if whole else b""
        if not whole or body_checksum(row.first_position, hashed) != row.checksum:
            raise self.damaged("a body does not match its checksum", row.first_position)
        return hashed

    def _select_at(self, statements: _At, first_positions: Sequence[int]) -> Iterator[Any]:
        for start in range(0, len(first_positions), _BATCHES_AT_ONCE):
            wanted = list(first_positions[start : start + _BATCHES_AT_ONCE])
            with self.database.read() as connection:
                rows = statements.execute(connection, wanted)
            missing = set(wanted) - {row.first_position for row in rows} if len(rows) != len(wanted) else ()
            if missing:
                raise self.damaged(f"{statements.table} lacks a batch", min(missing))
            yield from rows

    def header_of(self, row: Any) -> BatchHeader:
        """Return the header in a row. Raises `IntegrityError` if it is invalid."""
        values: dict[str, Any] = dict(zip(_HEADER_NAMES, row, strict=True))
        try:
            values["topics"] = _topics(values["topics"])
            return msgspec.convert(values, BatchHeader, builtin_types=_STORED_TYPES)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise self.damaged(f"the header of a batch is damaged: {error}", row.first_position) from error

    def _append_header_of(self, row: Any) -> AppendHeader:
        values: dict[str, Any] = dict(zip(_APPEND_NAMES, row, strict=True))
        try:
            values["is_last"] = _FLAGS[values["is_last"]]
            return msgspec.convert(values, AppendHeader, builtin_types=_STORED_TYPES)
        except (msgspec.MsgspecError, LookupError, TypeError) as error:
            what = f"append {row.append_id} is damaged: {error}"
            raise self.damaged(what, row.first_position) from error

    def damaged(self, what: str, position: int) -> IntegrityError:
        """Return an error that gives the problem and its position."""
        return IntegrityError(f"{self.name}: {what} (position {position})", position=position, file=self.name)


def _readable(
    read: Callable[[Any], Header], rows: Iterable[Any], damaged: list[IntegrityError] | None
) -> Iterator[Header]:
    """Yield the values of rows. Errors are raised, or added to `damaged` if it is given."""
    for row in rows:
        try:
            header = read(row)
        except IntegrityError as error:
            if damaged is None:
                raise
            damaged.append(error)
        else:
            yield header


@lru_cache(maxsize=256)
def _topics(text: str) -> tuple[str, ...]:
    """Decode the topics of a batch. Each list of topics has exactly one encoding; any other string is damage."""
    topics = tuple(msgspec.json.decode(text, type=list[str]))
    if encode_topics(topics) != text:
        raise ValueError(f"its topics are written as {text!r}")
    return topics


def encode_topics(topics: tuple[str, ...]) -> str:
    """Return the string that encodes topics."""
    return msgspec.json.encode(topics).decode()
