"""Statistics of every version: frames, annotated frames, labels, content types, sources and their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.errors import UnreadableError
from ...engine.events.domain import VersionCreated
from ...engine.iterables import chunked
from ...engine.log.contract import Log
from ..columns import BadValueError, text_key
from ..pages import Page
from ..projection import FoldedProjection, Prepared
from ..statements import ROWS_AT_ONCE, BySize, CheckedQuery, CompiledStatement, DirectInsert
from .frame_counts import (
    ANNOTATED,
    CONTENT_TYPE,
    LABEL,
    SOURCE,
    SOURCE_BYTES,
    TOTAL,
    UNREADABLE,
    Counts,
    FrameCounts,
    require_readable,
    tally_at,
)

__all__ = ["ANNOTATED", "CONTENT_TYPE", "LABEL", "SOURCE", "SOURCE_BYTES", "TOTAL", "Counts", "Stats"]


class StatsChanges(msgspec.Struct):
    """The changes of a range of the log to the counts.

    Attributes
    ----------
    counts : dict of str to Counts
        Difference of the counts of each version. It may be negative.
    children : list of (str, str)
        Created versions with the parents whose counts they start with, in order. A parent is published first, so all its
        changes come before its children.
    """

    counts: dict[str, Counts]
    children: list[tuple[str, str]]


class _Whole(sa.TypeDecorator[int]):
    """An integer of any size. The sum of two 63-bit sizes does not fit into an integer of the database."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the integer as it is stored."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> int:  # noqa: ARG002
        """Return the stored integer."""
        try:
            return int(value)  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            raise BadValueError(f"an integer column holds {str(value)[:40]!r}") from error


class Stats(FoldedProjection[StatsChanges]):
    """Counts of each version, including inherited frames. A child starts with the counts of its parent."""

    name: ClassVar[str] = "stats"
    code_version: ClassVar[int] = 3

    def __init__(self, log: Log, suffix: str = "") -> None:
        super().__init__(log, suffix)
        self.prepared: Prepared[FrameCounts] = Prepared()

    def define_tables(self) -> None:
        """Define the table."""
        self.counts = self.table(
            "count",
            sa.Column("version_id", sa.Text, primary_key=True),
            sa.Column("key", sa.LargeBinary, primary_key=True),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("count", _Whole, nullable=False),
        )
        column = self.counts.c
        own = column.version_id == sa.bindparam("version")
        counted = sa.select(column.kind, column.name, column.count).where(own)
        self._all = CheckedQuery(counted, ("version",))
        self._some = BySize(
            lambda names: CheckedQuery(
                counted.where(column.key.in_(list(map(sa.bindparam, names)))), ("version", *names)
            )
        )
        self._delete = CompiledStatement(
            lambda: sa.delete(self.counts).where(own, column.key == sa.bindparam("count_key")),
            ("version", "count_key"),
        )
        self._insert = DirectInsert(self.counts)
        self._copy = CompiledStatement(self._copying, ("child", "parent"))
        self._uncounted = CheckedQuery(
            lambda: (
                sa.select(column.version_id)
                .where(column.kind == UNREADABLE)
                .distinct()
                .order_by(column.version_id)
            ),
            (),
        )

    def _copying(self) -> sa.Insert:
        """Return the statement that gives a child the counts of its parent."""
        # A foreign log may create a version twice, or as its own parent.
        column, known = self.counts.c, self.counts.alias()
        child = sa.bindparam("child", type_=sa.Text)
        inherited = sa.select(child, column.key, column.kind, column.name, column.count).where(
            column.version_id == sa.bindparam("parent"), ~sa.exists().where(known.c.version_id == child)
        )
        return sa.insert(self.counts).from_select(list(column), inherited)

    def fold(self, page: Page) -> StatsChanges:
        """Add the counts of new frames, and subtract those of the frames that they replace."""
        tallies: dict[str, FrameCounts] = {}
        replaced: dict[str, list[int]] = {}
        for header in page.frame_batches():
            tally = tallies.setdefault(header.stream_id, FrameCounts())
            previous = replaced.setdefault(header.stream_id, [])
            prepared = self.prepared.take(header)
            if prepared is not None:
                tally.include(prepared)
                continue
            try:
                for position, block in page.blocks(header):
                    previous += tally.add_block(block, position)
            except UnreadableError:
                # Only this version lacks statistics.
                tally.unreadable[str(header.first_position)] += 1
        counts = {version_id: Counter(tally.counts()) for version_id, tally in tallies.items()}
        replaced = {version_id: positions for version_id, positions in replaced.items() if positions}
        if replaced:
            for version_id, tally in self._replaced(replaced).items():
                counts[version_id].subtract(tally.counts())
        return StatsChanges(counts, _children(page))

    def _replaced(self, positions: dict[str, list[int]]) -> dict[str, FrameCounts]:
        try:
            return tally_at(self.log, positions)
        except UnreadableError as error:
            if len(positions) == 1:
                # It is subtracted, so the count may become negative.
                (version_id,) = positions
                return {version_id: FrameCounts(unreadable=Counter({str(error.position or 0): -1}))}
        return {
            one: tally
            for version_id in positions
            for one, tally in self._replaced({version_id: positions[version_id]}).items()
        }

    def merge(self, earlier: StatsChanges, later: StatsChanges) -> StatsChanges:
        """Merge the changes of two adjacent ranges."""
        counts = earlier.counts
        for version_id, changes in later.counts.items():
            counts.setdefault(version_id, Counter()).update(changes)
        return StatsChanges(counts, earlier.children + later.children)

    def write(self, connection: sa.Connection, folded: StatsChanges) -> None:
        """Add changes to the table."""
        pending = dict(folded.counts)
        for child, parent in folded.children:
            if parent in pending:
                self._write(connection, parent, pending.pop(parent))
            self._copy.execute(connection, (child, parent))
        for version_id, counts in pending.items():
            self._write(connection, version_id, counts)

    def _write(self, connection: sa.Connection, version_id: str, counts: Counts) -> None:
        # Each frame of a page may have its own label.
        changed = sorted([key for key, count in counts.items() if count])
        for keys in chunked(changed, ROWS_AT_ONCE):
            self._add(connection, version_id, {key: counts[key] for key in keys})

    def _add(self, connection: sa.Connection, version_id: str, changes: dict[tuple[str, str], int]) -> None:
        """Add to some counts of a version. Counts of 0 are deleted."""
        keys = {names: text_key(*names) for names in changes}
        query, padded = self._some.of(list(keys.values()))
        known = _counts(query.rows(connection, (version_id, *padded)))
        if known:
            self._delete.execute_many(connection, [(version_id, key) for key in keys.values()])
        counts = {names: known[names] + change for names, change in changes.items()}
        rows = [(version_id, keys[names], *names, str(count)) for names, count in counts.items() if count]
        if rows:
            self._insert.execute_many(connection, rows)

    def totals(self, connection: sa.Connection) -> dict[str, int]:
        """Return the number of frames of each version that has any."""
        column = self.counts.c
        query = sa.select(column.version_id, column.count).where(column.kind == TOTAL)
        return {row[0]: row[1] for row in connection.execute(query)}

    def version_counts(self, connection: sa.Connection, version_id: str) -> Counts:
        """Return the counts of one version. Raises `IntegrityError` if they are incomplete."""
        return require_readable(self.all_counts(connection, version_id), version_id)

    def unreadable(self, connection: sa.Connection) -> list[str]:
        """Return a problem for each version that cannot be counted."""
        problems: list[str] = []
        for row in self._uncounted.rows(connection, ()):
            try:
                self.version_counts(connection, row.version_id)
            except UnreadableError as error:
                problems.append(str(error))
        return problems

    def all_counts(self, connection: sa.Connection, version_id: str) -> Counts:
        """Return the counts of one version, including unreadable events."""
        return _counts(self._all.rows(connection, (version_id,)))


def _counts(rows: Sequence[Any]) -> Counts:
    return Counter({(row.kind, row.name): row.count for row in rows})


def _children(page: Page) -> list[tuple[str, str]]:
    created = page.lifecycle(VersionCreated)
    return [(event.originator_id, event.parent_id) for _, _, event in created if event.parent_id]
