"""What an engine writes with: made when it is first asked for, since opening one to read needs none of it."""

from __future__ import annotations

from collections.abc import Callable

from ..engine.blobs.marker import Marker
from ..engine.commands import Commands
from ..engine.datasets.repository import AggregateRepository
from ..engine.log.contract import Clock
from ..engine.writes.writer import FrameWriter
from ..projections.runner import Runner
from ..projections.states.cache import StateCache
from ..projections.tables.blob_references import BlobNames
from ..projections.tables.catalog import PUBLISHED, Catalog
from ..projections.tables.uploads import Uploads
from .blob_access import BlobAccess
from .sql.log.log import SqlLog
from .sql.recorder import SqlFactory
from .uploads.index import UploadIndex
from .uploads.service import UploadService


class WriteSide:
    """Commands, the frame writer, and the blob store of one engine.

    Attributes
    ----------
    commands : Commands
        Commands on datasets, versions and blobs.
    writer : FrameWriter
        Writes frames into drafts.
    blobs : BlobAccess
        Opens the store of file contents.
    uploads : UploadService
        Sends local files of frames to destinations.
    """

    def __init__(
        self,
        log: SqlLog,
        aggregates: AggregateRepository,
        states: StateCache,
        clock: Clock,
        new_id: Callable[[], str],
        blobs_url: str,
        runner: Runner,
        catalog: Catalog,
        names: BlobNames,
        uploads: Uploads,
        join_blobs: Callable[[Marker, str], Marker],
    ) -> None:
        def versions_named(dataset_id: str, name: str) -> list[tuple[str, bool]]:
            runner.catch_up(catalog)
            with runner.store.read() as connection:
                rows = catalog.versions(connection, dataset_id=dataset_id, name=name)
            return [(row.version_id, row.state == PUBLISHED) for row in rows]

        factory = SqlFactory(log, new_id)
        self.commands = Commands(factory, log, aggregates, states, clock, new_id, versions_named)
        ledgers = self.commands.blob_ledger, self.commands.source_ledger
        self.writer = FrameWriter(log, states, aggregates.version, new_id, *ledgers)
        self.blobs = BlobAccess(blobs_url, self.commands, runner, catalog, names, states, join_blobs)
        self.uploads = UploadService(UploadIndex(self.commands, runner, uploads), lambda: self.blobs.store)
