"""The parts of a session that write: commands, frames, blobs and uploads."""

from __future__ import annotations

from ...engine.blobs.commands import BlobCommands
from ...engine.datasets.application import LogApplication
from ...engine.datasets.dataset_commands import DatasetCommands
from ...engine.datasets.version_commands import VersionCommands
from ...engine.sources.deletions import SourceCommands
from ...engine.sources.uploads import UploadCommands
from ...engine.writes.part import KnownBatch
from ...engine.writes.writer import FrameWriter
from ...projections.tables.blob_references import BlobNames
from ...projections.tables.catalog import PUBLISHED
from ...projections.tables.frame_counts import count_changes, count_records
from ...projections.tables.stats import Stats
from ...projections.tables.uploads import Uploads
from ..sql.recorder import SqlFactory
from ..uploads.index import UploadIndex
from ..uploads.service import UploadService
from .blobs import BlobAccess
from .session import LiveSession


class Writes:
    """Commands, the frame writer and the blob store of one session.

    Parameters
    ----------
    session : LiveSession
        The session.

    Attributes
    ----------
    application : LogApplication
        Decides on aggregates and records their events; what all commands are made of.
    datasets, versions : DatasetCommands, VersionCommands
        Commands on datasets and versions. With a `command_id`, a repetition of the same request changes nothing and returns
        the first result; another request is a `ConflictError`.
    blob_commands, upload_commands, source_commands : BlobCommands, UploadCommands, SourceCommands
        What gc, uploads and deletions of sources record.
    frames : FrameWriter
        Writes frames into drafts.
    blobs : BlobAccess
        Opens the store of file contents.
    uploads : UploadService
        Uploads local files of frames.
    """

    def __init__(self, session: LiveSession) -> None:
        log, states, aggregates = session.sql_log, session.states, session.aggregates
        self._session = session
        recorders = SqlFactory(log, session.new_id)
        clock, new_id = session.clock, session.new_id
        application = self.application = LogApplication(
            recorders, log, aggregates, states, clock, new_id, self._versions_named
        )
        self.datasets = DatasetCommands(application)
        self.versions = VersionCommands(application)
        self.blob_commands = BlobCommands(application)
        self.upload_commands = UploadCommands(application)
        self.source_commands = SourceCommands(application)
        sources = self.source_commands.source_ledger
        blobs = self.blob_commands.blob_ledger
        self.frames = FrameWriter(log, states, aggregates, new_id, blobs, sources, self._prepare)
        self.blobs = BlobAccess(session, self.blob_commands)
        index = UploadIndex(self.upload_commands, sources, session.runner, session.projection(Uploads))
        self.uploads = UploadService(index, lambda: self.blobs.store)

    def _prepare(self, batch: KnownBatch) -> None:
        """Prepare the replay of a batch that was just recorded, while its content is at hand."""
        counts = count_changes(batch.changed) if batch.changed else count_records(batch.records)
        if counts is not None:
            self._session.projection(Stats).prepared.put(batch.first_position, batch.body_digest, counts)
            self._session.projection(BlobNames).prepared.put(batch.first_position, batch.body_digest, {})

    def _versions_named(self, dataset_id: str, name: str) -> list[tuple[str, bool]]:
        with self._session.read_catalog() as connection:
            rows = self._session.catalog.versions(connection, dataset_id=dataset_id, name=name)
        return [(row.version_id, row.state == PUBLISHED) for row in rows]

    def close(self) -> None:
        """Close the resources of the commands."""
        self.application.close()
