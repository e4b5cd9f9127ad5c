"""Where the state snapshots of an engine are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.log.contract import Log
from ..engine.storage.urls import is_object_store
from ..projections.projection import ProjectionStore
from ..projections.states.snapshot_table import SnapshotTable
from ..projections.states.snapshots import SnapshotStore
from .location import Location
from .sql.urls import PostgresSchema

if TYPE_CHECKING:
    from ..engine.storage.objects import ObjectPrefix


def open_shelf(where: Location, store: ProjectionStore, log: Log) -> SnapshotStore:
    """Return the shelf of an engine: beside its blobs where many machines share both, else with its projections.

    A database keeps small rows that change; a snapshot is a large object that never does. An engine in a folder has
    one machine, whose disk is nearer than any store.
    """
    if not isinstance(where.log, PostgresSchema) or not is_object_store(where.blobs):
        return SnapshotTable(store, log)
    from ..projections.states.snapshot_objects import SnapshotObjects

    return SnapshotObjects(lambda: _objects(where.blobs), log)


def _objects(url: str) -> ObjectPrefix:
    from ..engine.storage.objects import ObjectPrefix

    return ObjectPrefix(url, what="store of snapshots")
