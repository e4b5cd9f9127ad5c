"""Commands that record uploads."""

from __future__ import annotations

from collections.abc import Sequence

from ..datasets.aggregate import Aggregate
from ..datasets.application import LogApplication, Result
from ..datasets.stream_view import LedgerStream
from ..events.domain import UPLOADS, FilesUploaded, UploadedFile

_FILES_AT_ONCE = 4096


class UploadCommands:
    """Commands on uploaded files.

    Parameters
    ----------
    application : LogApplication
        Decides on aggregates and records their events.
    """

    def __init__(self, application: LogApplication) -> None:
        self._application = application

    def uploads_version(self) -> int:
        """Return the version of the stream of uploads; 0 if it is empty."""
        return self._application.record_log.stream_version(UPLOADS.id) or 0

    def record_uploads(self, destination: str, files: Sequence[UploadedFile]) -> int:
        """Record files that exist at a destination. A later upload of the same content replaces the earlier one.

        Returns
        -------
        int
            Number of events.
        """
        starts = range(0, len(files), _FILES_AT_ONCE)
        for at in starts:
            self._record_files(destination, list(files[at : at + _FILES_AT_ONCE]))
        return len(starts)

    def _record_files(self, destination: str, files: list[UploadedFile]) -> None:
        def decide() -> tuple[list[Aggregate], Result]:
            stream = LedgerStream(UPLOADS.id)
            stream.version = self.uploads_version()
            stream.trigger(FilesUploaded, destination=destination, files=files)
            return [stream], {}

        self._application.run(["record_uploads"], None, decide)
