"""What the log knows of uploads: which contents are where, and that more came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...engine.commands import Commands
from ...engine.events.domain import UploadedFile
from ...engine.sources.ledger import SourceLedger
from ...projections.runner import Runner
from ...projections.tables.uploads import Uploads


class UploadIndex:
    """Finds contents that are at a destination, and records new ones.

    Parameters
    ----------
    commands : Commands
        Record.
    runner : Runner
        Keeps the projection level with the log.
    uploads : Uploads
        The projection.
    """

    def __init__(self, commands: Commands, runner: Runner, uploads: Uploads) -> None:
        self._commands = commands
        self._runner = runner
        self._uploads = uploads

    def version(self) -> int:
        """Return a number that changes with each record of uploads."""
        return self._commands.uploads_version()

    @property
    def sources(self) -> SourceLedger:
        """Which objects are to be deleted."""
        return self._commands.source_ledger

    def is_empty(self, destination: str) -> bool:
        """Say whether nothing was put at a destination."""
        self._runner.catch_up(self._uploads)
        with self._runner.store.read() as connection:
            return self._uploads.is_empty(connection, destination)

    def find(self, destination: str, digests: Iterable[str]) -> dict[str, UploadedFile]:
        """Return those of some contents that were put at a destination before `is_empty` was last asked, by digest."""
        with self._runner.store.read() as connection:
            return self._uploads.find(connection, destination, digests)

    def record(self, destination: str, files: Sequence[UploadedFile]) -> int:
        """Record files that are at a destination by now, durable; returns how many events that took."""
        return self._commands.record_uploads(destination, files)
