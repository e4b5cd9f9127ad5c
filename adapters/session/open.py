"""Steps of opening an engine: settings, and the store of state snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engine.log.contract import Log
from ...engine.storage.urls import is_object_store
from ...projections.projection import ProjectionStore
from ...projections.states.snapshot_table import SnapshotTable
from ...projections.states.snapshots import SnapshotStore
from ..sql.urls import PostgresSchema, keep_password
from .location import Location

if TYPE_CHECKING:
    from ..sql.database import Database
    from ..sql.log.log import SqlLog


def complete(where: Location, database: Database) -> Location:
    """Return the complete location of an engine: saved settings, overridden by those that were passed."""
    if not isinstance(where.log, PostgresSchema):
        return where
    from ..sql.settings import stored_settings

    return where.completed(stored_settings(database) | where.given)


def save_settings(where: Location, log: SqlLog) -> None:
    """Save the settings that were passed and, in a folder, the uuid of the log whenever it changes."""
    if isinstance(where.log, PostgresSchema):
        from ..sql.settings import store_settings

        store_settings(log.database, where.given)
        keep_password(where.log)
        return
    where.remember(log.uuid)
    log.on_identity = where.remember


def open_snapshots(where: Location, store: ProjectionStore, log: Log) -> SnapshotStore:
    """Return the store of state snapshots.

    A PostgreSQL engine with blobs in object storage keeps snapshots with its blobs, because they are large and never
    change. Every other engine keeps them with its projections.
    """
    if where.read_only or not isinstance(where.log, PostgresSchema) or not is_object_store(where.blobs):
        return SnapshotTable(store, log)
    from ...engine.storage.objects import ObjectPrefix
    from ...projections.states.snapshot_objects import SnapshotObjects

    return SnapshotObjects(lambda: ObjectPrefix(where.blobs, what="store of snapshots"), log)
