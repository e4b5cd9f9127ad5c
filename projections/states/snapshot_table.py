"""State snapshots in a table of the projections database."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from ...engine.iterables import chunked
from ...engine.log.contract import Log
from ..projection import ProjectionStore
from ..statements import ROWS_AT_ONCE, BySize, CheckedQuery, SchemaStatements
from .snapshots import Snapshot, SnapshotKey, SnapshotStore

logger = logging.getLogger("framelode.states")

_tables = sa.MetaData()
_snapshot = sa.Table(
    "state_snapshot_v2",
    _tables,
    sa.Column("version_id", sa.Text, primary_key=True),
    sa.Column("log_uuid", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.LargeBinary, nullable=False),
    sa.Column("mixed", sa.LargeBinary, nullable=False),
    sa.Column("positions", sa.LargeBinary, nullable=False),
    sa.Column("batches", sa.LargeBinary, nullable=False),
)
_column = _snapshot.c
_schema = SchemaStatements(_tables)


def _keys() -> sa.Select[Any, *tuple[Any, ...]]:
    columns = (_column.version_id, _column.position, _column.digest, _column.entries)
    return sa.select(*columns).where(_column.log_uuid == sa.bindparam("log"))


_all_keys = CheckedQuery(_keys, ("log",))
_keys_of = BySize(
    lambda names: CheckedQuery(
        _keys().where(_column.version_id.in_(list(map(sa.bindparam, names)))), ("log", *names)
    )
)


class SnapshotTable(SnapshotStore):
    """One row for each version with a snapshot. The first one creates the table.

    Parameters
    ----------
    store : ProjectionStore
        The database of the projections.
    log : Log
        The log.
    """

    def __init__(self, store: ProjectionStore, log: Log) -> None:
        self._store = store
        self._log = log
        self._exists = False

    def _has_table(self, connection: sa.Connection) -> bool:
        # Another process may create it.
        self._exists = self._exists or _snapshot.name in connection.dialect.get_table_names(connection)
        return self._exists

    def kept(self, version_ids: Collection[str] | None = None, *, fresh: bool = True) -> list[SnapshotKey]:  # noqa: ARG002 - always fresh
        """Return the snapshots of some versions, by default of all."""
        found: list[Any] = []
        with self._store.read() as connection:
            if not self._has_table(connection):
                return []
            if version_ids is None:
                found += _all_keys.rows(connection, (self._log.uuid,))
            for some in chunked(version_ids or (), ROWS_AT_ONCE):
                query, padded = _keys_of.of(some)
                found += query.rows(connection, (self._log.uuid, *padded))
        return [SnapshotKey(*row) for row in found]

    def read(self, name: SnapshotKey) -> Snapshot | None:
        """Return a snapshot; None if it is gone or damaged."""
        query = sa.select(_snapshot).where(_column.version_id == name.version_id)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        found = Snapshot(
            SnapshotKey(row.version_id, row.position, row.digest, row.entries),
            row.log_uuid,
            row.version,
            row.total,
            row.mixed,
            row.positions,
            row.batches,
        )
        if found.name != name or found.checksum() != row.checksum:
            logger.warning("the snapshot of version %s is damaged: the state is replayed", name.version_id)
            return None
        return found

    def write(self, snapshot: Snapshot, outdated: Sequence[SnapshotKey]) -> None:
        """Write a snapshot and remove those that it replaces, in one transaction."""
        name = snapshot.name
        values = {
            "version_id": name.version_id,
            "log_uuid": snapshot.log_uuid,
            "position": name.position,
            "digest": name.digest,
            "version": snapshot.version,
            "total": snapshot.total,
            "entries": name.entries,
            "checksum": snapshot.checksum(),
            "mixed": snapshot.mixed,
            "positions": snapshot.positions,
            "batches": snapshot.batches,
        }
        replaced = {name.version_id, *(other.version_id for other in outdated)}
        with self._store.write() as connection:
            _schema.create_missing(connection)
            connection.execute(sa.delete(_snapshot).where(_column.version_id.in_(replaced)))
            connection.execute(_snapshot.insert(), values)

    def drop(self) -> None:
        """Remove all snapshots."""
        with self._store.write() as connection:
            if self._has_table(connection):
                connection.execute(sa.delete(_snapshot))
