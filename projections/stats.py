"""Statistics of every version: frames, annotated frames, labels, content types, sources and their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ..engine.batch import EVENTS_SCHEMA, FRAMES_SCHEMA, BatchHeader, Block, Body
from ..engine.collector import collector_paused
from ..engine.errors import IntegrityError
from ..engine.event_batch import read_events
from ..engine.events import VersionCreated
from ..engine.frame_batch import events_at
from ..engine.log import Log
from .runner import Projection

TOTAL, ANNOTATED, LABEL, CONTENT_TYPE, SOURCE, SOURCE_BYTES = (
    "total",
    "annotated",
    "label",
    "content_type",
    "source",
    "source_bytes",
)
_UNKNOWN_TYPE = "unknown"
_KEYS_AT_ONCE = 500
"""A statement takes only so many parameters, and a page of frames may have a label each."""

Counts = Counter[tuple[str, str]]
"""Counts by kind and name."""


class _Annotation(msgspec.Struct, gc=False):
    label: list[str] = []


class _Source(msgspec.Struct, gc=False):
    id: str = "default"
    content_type: str = _UNKNOWN_TYPE
    size: int = 0


class _Frame(msgspec.Struct, gc=False):
    rois: list[_Annotation] = []
    sources: list[_Source] = []


class _Change(msgspec.Struct, array_like=True, gc=False):
    """Of an event of a frame batch just what is counted."""

    frame: _Frame | None
    id: str | None = None
    previous: int = 0


_changes_decoder = msgspec.msgpack.Decoder(list[_Change])
_change_decoder = msgspec.msgpack.Decoder(_Change)
_labels = attrgetter("label")
_rois = attrgetter("rois")
_sources = attrgetter("sources")
_content_type = attrgetter("content_type")
_source_id = attrgetter("id")


def count_frames(frames: Sequence[_Frame]) -> Counts:
    """Count frames, annotations' labels, content types, and sources with their bytes."""
    counts: Counts = Counter()
    rois = list(map(_rois, frames))
    sources = list(chain.from_iterable(map(_sources, frames)))
    counts[TOTAL, ""] = len(frames)
    counts[ANNOTATED, ""] = sum(map(bool, rois))
    _count(counts, LABEL, chain.from_iterable(map(_labels, chain.from_iterable(rois))))
    _count(counts, CONTENT_TYPE, map(_content_type, sources))
    _count(counts, SOURCE, map(_source_id, sources))
    for source in sources:
        if source.size:
            counts[SOURCE_BYTES, source.id] += source.size
    return counts


def _count(counts: Counts, kind: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        counts[kind, name] = count


class _Whole(sa.TypeDecorator[int]):
    """A whole number of any size: two sizes of 63 bits are together more than a database's integer holds."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the number as it is stored."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        """Return the number that is stored."""
        return None if value is None else int(value)


class Stats(Projection):
    """Counts of each version, its inherited frames included; a child starts with its parent's."""

    name: ClassVar[str] = "stats"
    code_version: ClassVar[int] = 2

    def define_tables(self) -> None:
        """Define the table."""
        self.counts = self.table(
            "count",
            sa.Column("version_id", sa.Text, primary_key=True),
            sa.Column("kind", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("count", _Whole, nullable=False),
        )
        key = self.counts.primary_key.columns
        self._delete = sa.delete(self.counts).where(*(column == sa.bindparam(column.name) for column in key))

    def apply(self, connection: sa.Connection, batches: Sequence[BatchHeader]) -> None:
        """Fold batches: after-images are added to the counts, the before-images they replace taken off."""
        pending: dict[str, Counts] = {}
        bodies = self.log.bodies([b.first_position for b in batches if b.schema == FRAMES_SCHEMA])
        for header in batches:
            if header.schema == FRAMES_SCHEMA:
                counts = pending.setdefault(header.stream_id, Counter())
                added, removed = self._changes(next(bodies))
                counts.update(added)
                counts.subtract(removed)
            elif header.schema == EVENTS_SCHEMA and VersionCreated.__name__ in header.topics:
                self._write(connection, pending)
                pending = {}
                self._inherit(connection, header)
        self._write(connection, pending)

    def _changes(self, body: Body) -> tuple[Counts, Counts]:
        added: Counts = Counter()
        replaced: list[int] = []
        for number in range(body.blocks):
            with collector_paused():
                changes = _decode_block(body.open_block(number), body.first_position)
                added.update(count_frames([change.frame for change in changes if change.frame is not None]))
                replaced += [change.previous for change in changes if change.previous]
                del changes
        return added, count_frames(_frames_at(self.log, replaced))

    def _inherit(self, connection: sa.Connection, header: BatchHeader) -> None:
        for event in read_events(self.log, header):
            if isinstance(event, VersionCreated) and event.parent_id:
                column = self.counts.c
                inherited = sa.select(
                    sa.literal(event.originator_id), column.kind, column.name, column.count
                ).where(column.version_id == event.parent_id)
                connection.execute(sa.insert(self.counts).from_select(list(column), inherited))

    def _write(self, connection: sa.Connection, pending: dict[str, Counts]) -> None:
        for version_id, counts in pending.items():
            changed = sorted(key for key, count in counts.items() if count)
            for at in range(0, len(changed), _KEYS_AT_ONCE):
                some = {key: counts[key] for key in changed[at : at + _KEYS_AT_ONCE]}
                self._add(connection, version_id, some)

    def _add(self, connection: sa.Connection, version_id: str, changes: dict[tuple[str, str], int]) -> None:
        """Add to some of a version's counts; none is kept that is 0."""
        column = self.counts.c
        kinds, names = ({key[part] for key in changes} for part in (0, 1))
        # Finds some more than asked, but by the index, which pairs of kind and name would not use.
        known = self._read(connection, version_id, column.kind.in_(kinds), column.name.in_(names))
        rows = [
            {"version_id": version_id, "kind": kind, "name": name, "count": known[kind, name] + change}
            for (kind, name), change in changes.items()
        ]
        if known:
            connection.execute(self._delete, rows)
        rows = [row for row in rows if row["count"]]
        if rows:
            connection.execute(sa.insert(self.counts), rows)

    def _read(self, connection: sa.Connection, version_id: str, *which: sa.ColumnElement[bool]) -> Counts:
        column = self.counts.c
        query = sa.select(column.kind, column.name, column.count).where(
            column.version_id == version_id, *which
        )
        return Counter({(row.kind, row.name): row.count for row in connection.execute(query)})

    def totals(self, connection: sa.Connection) -> dict[str, int]:
        """Return the number of frames of each version that holds any."""
        column = self.counts.c
        query = sa.select(column.version_id, column.count).where(column.kind == TOTAL)
        return {row[0]: row[1] for row in connection.execute(query)}

    def version_counts(self, connection: sa.Connection, version_id: str) -> Counts:
        """Return the counts of one version."""
        return self._read(connection, version_id)


def _frames_at(log: Log, positions: Sequence[int]) -> list[_Frame]:
    """Return what is counted of the frames recorded at some positions; deletes have none."""
    changes = (_decode(_change_decoder, event, position) for position, event in events_at(log, positions))
    return [change.frame for change in changes if change.frame is not None]


def _decode_block(block: Block, position: int) -> list[_Change]:
    return _decode(_changes_decoder, block.as_array(), position)


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes, position: int) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"a frame event of the batch that holds position {position} is damaged: {error}"
        raise IntegrityError(message, position=position) from error
