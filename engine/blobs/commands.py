"""Commands on blobs: mark unreferenced blobs, restore them, delete them.

Files have no transactions, so the log provides the order. A blob is deleted only while the log is locked and the blob is
marked. It is restored while the log is locked, after a check that its content is stored. Frames that refer to a marked or
deleted blob are rejected. So no referenced blob is ever deleted, even if a process is slow or dies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ..datasets.application import LogApplication
from ..events.base import Event
from ..events.domain import BlobsCollected, BlobsCondemned, BlobsRestored
from ..iterables import chunked
from .ledger import BlobLedger
from .presence import Present

BLOBS_AT_ONCE = 256
"""Maximum number of blobs per event: the log is locked while they are checked or deleted."""


class BlobCommands:
    """Commands on blobs.

    Parameters
    ----------
    application : LogApplication
        Decides on aggregates and records their events.

    Attributes
    ----------
    log : Log
        The log.
    """

    def __init__(self, application: LogApplication) -> None:
        self._application = application
        self.log = application.record_log

    @cached_property
    def blob_ledger(self) -> BlobLedger:
        """The state of the stream ``blobs``."""
        return BlobLedger(self.log)

    def condemn_blobs(self, digests: Sequence[str], found_at: int | None = None) -> list[str]:
        """Mark unreferenced blobs. From now on, frames must not refer to them.

        Parameters
        ----------
        found_at : int, optional
            Position at which they were unreferenced. Blobs restored after it are skipped.

        Returns
        -------
        list of str
            The digests that were marked, without those marked before.
        """
        done: list[str] = []
        for part in chunked(digests, BLOBS_AT_ONCE):
            with self.log.exclusive():
                left = set(self.blob_ledger.condemned(part))
                if found_at is not None:
                    restored = self.blob_ledger.restored(part)
                    left.update(digest for digest, when in restored.items() if when.position > found_at)
                new = [digest for digest in part if digest not in left]
                self._record_blobs(BlobsCondemned, new)
                done += new
        return done

    def restore_blobs(self, digests: Sequence[str], present: Present) -> list[str]:
        """Unmark marked or deleted blobs whose contents are stored.

        Parameters
        ----------
        present : callable
            Returns the given digests that are in the store.

        Returns
        -------
        list of str
            The marked digests whose contents are not stored. Frames may refer to all others.
        """
        gone: list[str] = []
        for part in chunked(sorted(self.blob_ledger.banned(digests)[1]), BLOBS_AT_ONCE):
            with self.log.exclusive():
                banned = sorted(self.blob_ledger.banned(part)[1])
                there = set(present(banned)) if banned else set[str]()
                self._record_blobs(BlobsRestored, sorted(there))
                gone += [digest for digest in banned if digest not in there]
        return gone

    def collect_blobs(
        self, condemned: Mapping[str, int], delete: Callable[[Sequence[str]], Sequence[str]]
    ) -> list[str]:
        """Delete marked blobs, and record it.

        Parameters
        ----------
        condemned : mapping of str to int
            Digests, each with the position at which it was marked. A blob restored since then is skipped, even if it was
            marked again.
        delete : callable
            Deletes blobs, and returns the digests of those it deleted. It runs while restoring is locked out.

        Returns
        -------
        list of str
            Digests of the deleted blobs.
        """
        collected: list[str] = []
        for part in chunked(condemned, BLOBS_AT_ONCE):
            with self.log.exclusive():
                now = self.blob_ledger.condemned(part)
                doomed = [
                    digest for digest in part if digest in now and now[digest].position == condemned[digest]
                ]
                self.log.require_exclusive()
                deleted = list(delete(doomed)) if doomed else []
                self._record_blobs(BlobsCollected, deleted)
                collected += deleted
        return collected

    def _record_blobs(self, event: type[Event], digests: list[str]) -> None:
        if digests:
            stream = self.blob_ledger.stream()
            stream.trigger(event, digests=digests)
            self._application.save(stream, command_id=self._application.new_id())
