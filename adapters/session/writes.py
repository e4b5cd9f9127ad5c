"""What a session writes with."""

from __future__ import annotations

from ...engine.commands import Commands
from ...engine.writes.writer import FrameWriter
from ...projections.tables.blob_references import BlobNames
from ...projections.tables.catalog import PUBLISHED
from ...projections.tables.uploads import Uploads
from ..sql.recorder import SqlFactory
from ..uploads.index import UploadIndex
from ..uploads.service import UploadService
from .blob_sharing import joined, own_ref
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
    commands : Commands
        Commands on datasets, versions and blobs.
    frames : FrameWriter
        Writes frames into drafts.
    blobs : BlobAccess
        Opens the store of file contents.
    uploads : UploadService
        Sends local files of frames to destinations.
    """

    def __init__(self, session: LiveSession) -> None:
        log, states, aggregates = session.sql_log, session.states, session.aggregates
        self._session = session
        recorders = SqlFactory(log, session.new_id)
        clock, new_id = session.clock, session.new_id
        self.commands = Commands(recorders, log, aggregates, states, clock, new_id, self._versions_named)
        ledgers = self.commands.blob_ledger, self.commands.source_ledger
        self.frames = FrameWriter(log, states, aggregates, session.new_id, *ledgers)
        self.blobs = BlobAccess(
            session.location.blobs,
            self.commands,
            session.runner,
            session.catalog,
            session.projection(BlobNames),
            states,
            lambda marker, place: joined(session, own_ref(session), marker, place),
        )
        index = UploadIndex(self.commands, session.runner, session.projection(Uploads))
        self.uploads = UploadService(index, lambda: self.blobs.store)

    def _versions_named(self, dataset_id: str, name: str) -> list[tuple[str, bool]]:
        with self._session.read_catalog() as connection:
            rows = self._session.catalog.versions(connection, dataset_id=dataset_id, name=name)
        return [(row.version_id, row.state == PUBLISHED) for row in rows]

    def close(self) -> None:
        """Close what the commands hold open."""
        self.commands.close()
