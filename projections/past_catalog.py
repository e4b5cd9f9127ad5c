"""The catalog of a moment: folded from lifecycle events, frames looked at only where they changed something since."""

from __future__ import annotations

from collections.abc import Iterable

from ..engine.log.batch import EVENTS_SCHEMA, FRAMES_SCHEMA
from ..engine.log.prefix import LogPrefix
from .catalog import CATALOG_TOPICS, Catalog, CatalogChanges, VersionRow
from .pages import Page
from .store import Store
from .tracking import Track, Tracking


def fold_catalog(log: LogPrefix, store: Store, catalog: Catalog, now: Iterable[VersionRow]) -> None:
    """Fill the tables of a catalog, level with the end of a prefix.

    A log may have a million small batches. Those of frames only tell when a version was last updated, and where that
    was before the moment, the catalog of now knows it.

    Parameters
    ----------
    log : LogPrefix
        The log up to the moment.
    store : Store
        Where the tables are made.
    catalog : Catalog
        The catalog.
    now : iterable of VersionRow
        All versions in the catalog of now, removed ones included.
    """
    headers = log.headers(schema=EVENTS_SCHEMA, topics=CATALOG_TOPICS)
    changes = catalog.fold(Page(log, list(headers)))
    _add_last_updates(log, changes, now)
    tracking, head = Tracking(log), log.head()
    with store.write() as connection:
        tracking.reset(connection, catalog)
        catalog.write(connection, changes)
        tracking.write(connection, catalog, Track(head.position, head.digest))


def _add_last_updates(log: LogPrefix, changes: CatalogChanges, now: Iterable[VersionRow]) -> None:
    for row in now:
        if row.created_position > log.position or row.created_position == row.updated_position:
            continue
        if row.updated_position <= log.position:
            changes.last[row.version_id] = row.updated_at, row.updated_position
            continue
        last = log.last_batch(row.version_id, lte=log.position, schema=FRAMES_SCHEMA)
        if last is not None:
            changes.last[row.version_id] = last.recorded_at, last.last_position
