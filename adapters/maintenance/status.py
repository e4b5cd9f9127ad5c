"""What an engine holds, and where its parts are."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from ...engine.times import utc
from ...projections.tables.catalog import DRAFT, VersionRow
from ..session.session import LiveSession
from ..sql.database import Database


class DraftStatus(msgspec.Struct, frozen=True):
    """A draft; `uncommitted` is the number of changes of frames since its last commit."""

    dataset: str
    project: str
    name: str
    version_id: str
    frames: int
    uncommitted: int


class ProjectionStatus(msgspec.Struct, frozen=True):
    """A projection, and the position of the log up to which it was replayed before this call."""

    name: str
    position: int


class BlobStatus(msgspec.Struct, frozen=True):
    """The blob store; `count` and `size` (in bytes) are None if the blobs were not counted."""

    place: str
    count: int | None
    size: int | None


class EngineStatus(msgspec.Struct, frozen=True):
    """What an engine holds, and where its parts are.

    Attributes
    ----------
    engine : str
        Folder or URL.
    log_id : str
        Uuid of the log.
    position : int
        Position of the last event.
    recorded_at : datetime or None
        UTC time of the last event.
    log_bytes, projections_bytes : int or None
        Sizes of the databases; None if they are not files.
    datasets, versions : int
        Numbers of datasets and versions.
    drafts : list of DraftStatus
        All drafts, oldest first.
    projections : list of ProjectionStatus
        All projections.
    blobs : BlobStatus
        The blob store.
    """

    engine: str
    log_id: str
    position: int
    recorded_at: datetime | None
    log_bytes: int | None
    projections_bytes: int | None
    datasets: int
    versions: int
    drafts: list[DraftStatus]
    projections: list[ProjectionStatus]
    blobs: BlobStatus


def status(session: LiveSession, *, blobs: bool) -> EngineStatus:
    """Return what an engine holds; see `Engine.status`."""
    runner = session.runner
    projections = [ProjectionStatus(each.name, runner.position(each)) for each in runner.kept()]
    head = session.log.head()
    with session.read_catalog() as connection:
        datasets = {row.dataset_id: row for row in session.catalog.datasets(connection)}
        versions = session.catalog.versions(connection)
    totals = session.version_totals()
    drafts = [
        DraftStatus(
            dataset=datasets[row.dataset_id].name,
            project=datasets[row.dataset_id].project,
            name=row.name,
            version_id=row.version_id,
            frames=totals.get(row.version_id, 0),
            uncommitted=_uncommitted(session, row),
        )
        for row in reversed(versions)
        if row.state == DRAFT
    ]
    return EngineStatus(
        engine=session.name,
        log_id=session.log.uuid,
        position=head.position,
        recorded_at=utc(head.recorded_at) if head.position else None,
        log_bytes=_size(session.sql_log.database),
        projections_bytes=_size(session.database),
        datasets=len(datasets),
        versions=len(versions),
        drafts=drafts,
        projections=projections,
        blobs=_blobs(session, count=blobs),
    )


def _uncommitted(session: LiveSession, row: VersionRow) -> int:
    committed = session.aggregates.version(row.version_id).committed_version
    return sum(sum(rows.counts()) for rows in session.log.stream_rows(row.version_id, after=committed))


def _blobs(session: LiveSession, *, count: bool) -> BlobStatus:
    if not count:
        return BlobStatus(session.location.blobs, None, None)
    sizes = [entry.size for entry in session.blobs.entries() if entry.digest is not None]
    return BlobStatus(session.blobs.name, len(sizes), sum(sizes))


def _size(database: Database) -> int | None:
    """Return the bytes of a database file and its write-ahead log."""
    path: Path | None = getattr(database, "path", None)
    if path is None:
        return None
    total = 0
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total
