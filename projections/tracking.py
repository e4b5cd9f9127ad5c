"""The position of each projection, stored in the transaction that writes the projection's rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ..engine.errors import IntegrityError, NotFoundError, UsageError
from ..engine.log.contract import Log
from .projection import Projection, ProjectionStore
from .statements import CompiledStatement, DirectInsert, DirectQuery, SchemaStatements, run_all

logger = logging.getLogger("framelode.projections")

_NO_TABLES = ""
"""The stored shape of a projection whose tables are not created yet."""

TRACKING_TABLE = "projection_tracking_v1"

_REMEDY = (
    "give each engine its own projections with projections=, or delete these if no other engine uses them: they are "
    "rebuilt from the log"
)

_metadata = sa.MetaData()
_tracking = sa.Table(
    TRACKING_TABLE,
    _metadata,
    sa.Column("projection", sa.Text, primary_key=True),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("log_uuid", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)
_column = _tracking.c
_log_uuid = attrgetter("log_uuid")
_all_rows = DirectQuery(lambda: sa.select(_tracking), ())
_write_rows = DirectInsert(_tracking, replace=True)

_owner = sa.Table(
    "projection_owner_v1",
    _metadata,
    sa.Column("log_uuid", sa.Text, primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
)
_owners = DirectQuery(lambda: sa.select(_owner), ())
_any_log = DirectQuery(lambda: sa.select(_column.log_uuid).limit(1), ())
_delete_owners = CompiledStatement(lambda: sa.delete(_owner), ())
_write_owner = DirectInsert(_owner)
_schema = SchemaStatements(_metadata)
_delete_row = CompiledStatement(
    lambda: sa.delete(_tracking).where(_column.projection == sa.bindparam("name")), ("name",)
)
_rename_row = CompiledStatement(
    lambda: (
        sa.update(_tracking)
        .where(_column.projection == sa.bindparam("old"))
        .values(projection=sa.bindparam("new", type_=sa.Text))
    ),
    ("new", "old"),
)


class Track(msgspec.Struct, frozen=True):
    """A position that a projection has reached, and the digest of the log there.

    Without tables, no event up to the position has one of its topics.
    """

    position: int
    digest: bytes
    has_tables: bool = True


UNTRACKED = Track(0, b"", has_tables=False)


class Tracking:
    """Reads and writes the tracking rows of the projections of one log. Their database belongs to that log.

    Parameters
    ----------
    log : Log
        The log.
    name : str
        Name of the database in messages.
    place : str
        Location of the log relative to the database. A copy of both finds the copied log there.
    """

    def __init__(self, log: Log, name: str = "the database", place: str = "") -> None:
        self._log = log
        self._name = name
        self._place = place
        self._is_owner = self._has_warned = False

    def create(self, store: ProjectionStore) -> None:
        """Create the tables if they are missing. Raises an error if they belong to another engine."""
        with store.read() as connection:
            if _schema.exist(connection):
                self._check_owner(connection)
                return
        with store.write() as connection:
            _schema.create_missing(connection)
            self._check_owner(connection)

    def _check_owner(self, connection: sa.Connection) -> None:
        """Raise an error if the database belongs to another log, or to another copy of this one."""
        found = _owners.row(connection, ())
        log_uuid, place = found or (*(_any_log.row(connection, ()) or (None,)), "")
        if log_uuid is None:
            return
        where = f"{log_uuid}{place and f' at {place}'}"
        if log_uuid != self._log.uuid:
            message = f"{self._name} holds the projections of the log {where}, not of {self._log.name}, which is {self._log.uuid}"
            if place and place == self._place:
                raise IntegrityError(
                    f"{message}: restore that log from a copy; or, to use the new log, delete these projections",
                    file=self._log.name,
                )
            raise UsageError(f"{message}: {_REMEDY}")
        if _is_elsewhere(place, self._place):
            raise UsageError(
                f"{self._name} holds the projections of the log {where}, and {self._log.name} is a copy of it: {_REMEDY}"
            )
        self._is_owner = found is not None and place == self._place

    def _claim(self, connection: sa.Connection) -> None:
        """Record that the database belongs to this log."""
        self._check_owner(connection)
        if not self._is_owner:
            _delete_owners.execute(connection, ())
            _write_owner.execute(connection, (self._log.uuid, self._place))

    def read(self, connection: sa.Connection, projections: Iterable[Projection]) -> dict[str, Track]:
        """Return the positions of projections by full name.

        Projections are omitted if their tables have another structure, or their position is not in the past of this log.
        """
        return self._fitting(connection, _rows(connection), projections)

    def ensure(self, connection: sa.Connection, projections: Sequence[Projection]) -> dict[str, Track]:
        """Return the positions of projections by full name. Projections that do not match the log are emptied.

        Those of few topics get their tables when an event has one of these, or a reader needs them.
        """
        rows = _rows(connection)
        tracks = self._fitting(connection, rows, projections)
        for each in projections:
            if each.full_name in tracks:
                continue
            if each.topics is None:
                self.reset(connection, each)
                tracks[each.full_name] = Track(0, b"")
            else:
                if each.full_name in rows:
                    self._forget(connection, each)
                tracks[each.full_name] = UNTRACKED
        return tracks

    def _fitting(
        self, connection: sa.Connection, rows: Mapping[str, Any], projections: Iterable[Projection]
    ) -> dict[str, Track]:
        uuid = self._log.uuid
        if not {uuid}.issuperset(map(_log_uuid, rows.values())):
            self._check_owner(connection)
        fitting: dict[tuple[int, bytes], bool] = {}
        tracks: dict[str, Track] = {}
        for projection in projections:
            row = rows.get(projection.full_name)
            if row is None or row.log_uuid != uuid or row.shape not in (projection.shape, _NO_TABLES):
                continue
            if not (isinstance(row.position, int) and isinstance(row.digest, bytes)):
                continue  # damaged: replayed again
            place = (row.position, row.digest)
            if place not in fitting:
                fitting[place] = self._fits(*place)
            if fitting[place]:
                tracks[projection.full_name] = Track(*place, row.shape != _NO_TABLES)
        return tracks

    def _fits(self, position: int, digest: bytes) -> bool:
        """Whether the log has the digest at the position. A restored or replaced log does not."""
        if position == 0:
            return True
        head = self._log.head()
        try:
            # The head is at hand.
            found = head if position == head.position else self._log.batch_at(position)
        except NotFoundError:
            self._warn_of_lost_events(position)
            return False
        return found.digest == digest

    def _warn_of_lost_events(self, position: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s ends at position %d, but the projections %s had read it up to position %d: the log was replaced by an "
                "earlier copy, and the later events are lost",
                self._log.name,
                self._log.head().position,
                self._name,
                position,
            )

    def write(
        self, connection: sa.Connection, projections: Sequence[Projection], tracks: Mapping[str, Track]
    ) -> None:
        """Record the positions of some projections, given by their full names."""
        if not self._is_owner:
            self._claim(connection)
        rows: list[Sequence[Any]] = []
        for each in projections:
            track = tracks[each.full_name]
            shape = each.shape if track.has_tables else _NO_TABLES
            rows.append((each.full_name, shape, self._log.uuid, track.position, track.digest))
        _write_rows.execute_many(connection, rows)

    def reset(self, connection: sa.Connection, projection: Projection) -> None:
        """Drop the tables of a projection and create empty ones."""
        projection.schema.drop(connection)
        projection.schema.create(connection)
        _delete_row.execute(connection, (projection.full_name,))

    def _forget(self, connection: sa.Connection, projection: Projection) -> None:
        """Drop the tables of a projection."""
        _delete_row.execute(connection, (projection.full_name,))
        projection.schema.drop(connection)

    def swap(
        self, connection: sa.Connection, live: Projection, fresh: Projection, *, has_tables: bool
    ) -> None:
        """Replace the live tables and their tracking row by those of `fresh`, if it has any."""
        live.schema.drop(connection)
        pairs = zip(live.metadata.sorted_tables, fresh.metadata.sorted_tables, strict=True)
        if has_tables:
            run_all(connection, [f'ALTER TABLE "{new.name}" RENAME TO "{old.name}"' for old, new in pairs])
        _delete_row.execute(connection, (live.full_name,))
        _rename_row.execute(connection, (live.full_name, fresh.full_name))


def _rows(connection: sa.Connection) -> dict[str, Any]:
    return {row.projection: row for row in _all_rows.rows(connection, ())}


def _is_elsewhere(place: str, ours: str) -> bool:
    """Whether another log file exists at a location, given by its absolute path."""
    there, here = Path(place), Path(ours)
    if place == ours or not there.is_absolute() or not there.exists():
        return False
    return not (here.exists() and there.samefile(here))
