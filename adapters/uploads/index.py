"""Finds and records uploads in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...engine.events.domain import UploadedFile
from ...engine.sources.ledger import SourceLedger
from ...engine.sources.uploads import UploadCommands
from ...projections.runner import Runner
from ...projections.tables.uploads import Uploads


class UploadIndex:
    """Finds contents at a destination, and records new ones.

    Parameters
    ----------
    commands : UploadCommands
        Records the uploads.
    sources : SourceLedger
        Which objects are marked for deletion.
    runner : Runner
        Keeps the projection up to date.
    uploads : Uploads
        The projection of uploads.
    """

    def __init__(
        self, commands: UploadCommands, sources: SourceLedger, runner: Runner, uploads: Uploads
    ) -> None:
        self._commands = commands
        self.sources = sources
        self._runner = runner
        self._uploads = uploads

    def version(self) -> int:
        """Return a number that changes whenever uploads are recorded."""
        return self._commands.uploads_version()

    def is_empty(self, destination: str) -> bool:
        """Whether nothing was uploaded to a destination."""
        self._runner.catch_up(self._uploads)
        with self._runner.store.read() as connection:
            return self._uploads.is_empty(connection, destination)

    def find(self, destination: str, digests: Iterable[str]) -> dict[str, UploadedFile]:
        """Return, by digest, the contents that were at a destination when `is_empty` was last called."""
        with self._runner.store.read() as connection:
            return self._uploads.find(connection, destination, digests)

    def record(self, destination: str, files: Sequence[UploadedFile]) -> int:
        """Record files that are durable at a destination. Return the number of events."""
        return self._commands.record_uploads(destination, files)
