"""The history projection: one row for each record batch, so that queries decode only matching batches."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events.domain import DatasetCreated, VersionCreated
from ...engine.events.registry import FRAME_TOPICS
from ...engine.keys import Operation
from ...engine.log.batch import FRAMES_SCHEMA, BatchHeader
from ..columns import from_json, from_row, text_key
from ..pages import Page
from ..projection import FoldedProjection
from ..statements import CheckedQuery, DirectInsert
from ..states.fold import count_operations


class BatchRow(msgspec.Struct, frozen=True, gc=False):
    """The data of a record batch that is known without decoding it. Times are UTC microseconds since 1970.

    Attributes
    ----------
    dataset_id : str or None
        Dataset of the stream; None if it belongs to none.
    topics : list of str
        Topics of its events.
    added, updated, deleted : int
        Number of frame events, by operation.
    """

    first_position: int
    count: int
    stream_id: str
    dataset_id: str | None
    actor: str
    context: str
    recorded_at: int
    topics: list[str]
    added: int
    updated: int
    deleted: int

    @property
    def last_position(self) -> int:
        """Position of the last event of the batch."""
        return self.first_position + self.count - 1

    @property
    def version_id(self) -> str | None:
        """The version of the stream; None for other streams."""
        return self.stream_id if self.dataset_id not in {None, self.stream_id} else None

    @property
    def is_frames(self) -> bool:
        """Whether the events are frame events."""
        return self.added + self.updated + self.deleted > 0


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of the history. None means any.

    Attributes
    ----------
    stream_id, dataset_id, actor : str or None
        The stream, the dataset, the actor.
    topics : frozenset of str or None
        Topics of events.
    since, until : int or None
        First and last positions.
    since_time, until_time : int or None
        First and last times, UTC microseconds since 1970.
    newest_first : bool
        Return the latest events first.
    """

    stream_id: str | None = None
    dataset_id: str | None = None
    actor: str | None = None
    topics: frozenset[str] | None = None
    since: int | None = None
    until: int | None = None
    since_time: int | None = None
    until_time: int | None = None
    newest_first: bool = False

    def includes(self, position: int, topic: str, header: BatchHeader) -> bool:
        """Whether an event matches, apart from its stream."""
        return (
            (self.actor is None or header.actor == self.actor)
            and (self.topics is None or topic in self.topics)
            and (self.since is None or position >= self.since)
            and (self.until is None or position <= self.until)
            and (self.since_time is None or header.recorded_at >= self.since_time)
            and (self.until_time is None or header.recorded_at <= self.until_time)
        )


class HistoryChanges(msgspec.Struct):
    """The rows that a range of the log adds to the history.

    Attributes
    ----------
    rows : list of dict
        One row per batch, without its dataset.
    owners : dict of str to str
        Dataset of each stream that begins in the range, if it has one.
    """

    rows: list[dict[str, Any]]
    owners: dict[str, str]


class History(FoldedProjection[HistoryChanges]):
    """A table of record batches, by stream, dataset, actor and time."""

    name: ClassVar[str] = "history"
    code_version: ClassVar[int] = 2

    def define_tables(self) -> None:
        """Define the table."""
        # Constraints, not named indexes, which would keep their names when a rebuilt table replaces the live one.
        self.batch = self.table(
            "batch",
            sa.Column("first_position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("count", sa.BigInteger, nullable=False),
            sa.Column("stream_id", sa.Text, nullable=False),
            sa.Column("dataset_id", sa.Text),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("actor_key", sa.LargeBinary, nullable=False),
            sa.Column("context", sa.Text, nullable=False),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("topics", sa.Text, nullable=False),
            sa.Column("added", sa.BigInteger, nullable=False),
            sa.Column("updated", sa.BigInteger, nullable=False),
            sa.Column("deleted", sa.BigInteger, nullable=False),
            *(
                sa.UniqueConstraint(name, "first_position")
                for name in ("stream_id", "dataset_id", "actor_key", "recorded_at")
            ),
        )
        column = self.batch.c
        owner = sa.select(column.dataset_id).where(column.stream_id == sa.bindparam("stream")).limit(1)
        self._owner = CheckedQuery(owner, ("stream",))
        self._insert = DirectInsert(self.batch)
        self._values = itemgetter(*(each.name for each in self.batch.c))

    def fold(self, page: Page) -> HistoryChanges:
        """Return a row for each batch."""
        owners = {
            header.stream_id: event.dataset_id if isinstance(event, VersionCreated) else header.stream_id
            for header, _, event in page.lifecycle(DatasetCreated, VersionCreated)
        }
        return HistoryChanges([_row(page, header) for header in page], owners)

    def merge(self, earlier: HistoryChanges, later: HistoryChanges) -> HistoryChanges:
        """Merge the rows of two adjacent ranges."""
        return HistoryChanges(earlier.rows + later.rows, earlier.owners | later.owners)

    def write(self, connection: sa.Connection, folded: HistoryChanges) -> None:
        """Add rows to the table. Datasets of streams that began before are looked up in it."""
        owners: dict[str, str | None] = dict(folded.owners)
        for row in folded.rows:
            stream = row["stream_id"]
            if stream not in owners:
                found = self._owner.row(connection, (stream,))
                owners[stream] = found and found.dataset_id
            row["dataset_id"] = owners[stream]
        self._insert.execute_many(connection, map(self._values, folded.rows))

    def page(
        self, connection: sa.Connection, wanted: HistoryQuery, last: int | None, size: int
    ) -> Sequence[BatchRow]:
        """Return the next batches after position `last` that may match."""
        column = self.batch.c
        query = sa.select(self.batch).where(*self._conditions(wanted))
        if last is not None:
            query = query.where(
                column.first_position < last if wanted.newest_first else column.first_position > last
            )
        order = column.first_position.desc() if wanted.newest_first else column.first_position
        return [_batch_row(row) for row in connection.execute(query.order_by(order).limit(size))]

    def _conditions(self, wanted: HistoryQuery) -> list[sa.ColumnElement[bool]]:
        column = self.batch.c
        conditions: list[sa.ColumnElement[bool]] = [
            column[name] == value
            for name in ("stream_id", "dataset_id")
            if (value := getattr(wanted, name)) is not None
        ]
        if wanted.actor is not None:
            conditions.append(column.actor_key == text_key(wanted.actor))
        if wanted.topics is not None:
            names = [f'%"{topic}"%' for topic in sorted(wanted.topics)]
            conditions.append(sa.or_(sa.false(), *(column.topics.like(name) for name in names)))
        if wanted.since is not None:
            conditions.append(column.first_position >= self._start_of_batch_at(wanted.since))
        if wanted.until is not None:
            conditions.append(column.first_position <= wanted.until)
        if wanted.since_time is not None:
            conditions.append(column.recorded_at >= wanted.since_time)
        if wanted.until_time is not None:
            conditions.append(column.recorded_at <= wanted.until_time)
        return conditions

    def _start_of_batch_at(self, position: int) -> sa.ColumnElement[int]:
        first = self.batch.c.first_position
        start = sa.select(sa.func.max(first)).where(first <= position).scalar_subquery()
        return sa.func.coalesce(start, 0)


_COLUMNS = {
    FRAME_TOPICS[Operation.ADD]: "added",
    FRAME_TOPICS[Operation.UPDATE]: "updated",
    FRAME_TOPICS[Operation.DELETE]: "deleted",
}


def _row(page: Page, header: BatchHeader) -> dict[str, Any]:
    return {
        "first_position": header.first_position,
        "count": header.count,
        "stream_id": header.stream_id,
        "actor": header.actor,
        "actor_key": text_key(header.actor),
        "context": header.context,
        "recorded_at": header.recorded_at,
        "topics": msgspec.json.encode(header.topics).decode(),
        **dict.fromkeys(_COLUMNS.values(), 0),
        **_operations(page, header),
    }


def _operations(page: Page, header: BatchHeader) -> dict[str, int]:
    """Count the operations of a frame batch. Its keys are read only if it has several operations."""
    if header.schema != FRAMES_SCHEMA:
        return {}
    if len(header.topics) == 1 and header.topics[0] in _COLUMNS:
        return {_COLUMNS[header.topics[0]]: header.count}
    counts = count_operations(page.rows(header))
    return {_COLUMNS[FRAME_TOPICS[kind]]: int(counts[kind]) for kind in Operation}


def _batch_row(row: Any) -> BatchRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    values["topics"] = from_json(values["topics"], list[str])
    return from_row(values, BatchRow)
