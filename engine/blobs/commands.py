"""Commands on blobs: condemn those that nothing refers to, restore them, delete them.

Files have no transactions, so the log keeps the order. A blob is deleted while the log is held and only while it is
condemned; it is restored while the log is held, once its content is seen; and frames that name a condemned or deleted
blob are refused. So nothing that frames name is deleted, whoever is slow or dies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from ..datasets.application import LogApplication
from ..events.base import Event
from ..events.domain import BlobsCollected, BlobsCondemned, BlobsRestored
from .ledger import BlobLedger
from .presence import Present

BLOBS_AT_ONCE = 256
"""Blobs of one event: nobody can write while so many are looked at or deleted."""


class BlobCommands(LogApplication):
    """Commands on blobs."""

    @cached_property
    def blob_ledger(self) -> BlobLedger:
        """What the stream ``blobs`` says."""
        return BlobLedger(self.record_log)

    def condemn_blobs(self, digests: Sequence[str], found_at: int | None = None) -> list[str]:
        """Record that nothing refers to some blobs: from now on frames must not name them.

        Parameters
        ----------
        found_at : int, optional
            Position at which that was found; what was restored since is left alone.

        Returns
        -------
        list of str
            The digests condemned, those left out that were before.
        """
        done: list[str] = []
        for part in _parts(digests):
            with self.record_log.exclusive():
                left = set(self.blob_ledger.condemned(part))
                if found_at is not None:
                    restored = self.blob_ledger.restored(part)
                    left.update(digest for digest, when in restored.items() if when.position > found_at)
                new = [digest for digest in part if digest not in left]
                self._record_blobs(BlobsCondemned, new)
                done += new
        return done

    def restore_blobs(self, digests: Sequence[str], present: Present) -> list[str]:
        """Lift the ban on condemned or deleted blobs whose contents are there.

        Parameters
        ----------
        present : callable
            Returns those of some blobs that are in the store.

        Returns
        -------
        list of str
            The banned ones whose contents are not there; all others may be named by frames.
        """
        gone: list[str] = []
        for part in _parts(sorted(self.blob_ledger.banned(digests)[1])):
            with self.record_log.exclusive():
                banned = sorted(self.blob_ledger.banned(part)[1])
                there = set(present(banned)) if banned else set[str]()
                self._record_blobs(BlobsRestored, sorted(there))
                gone += [digest for digest in banned if digest not in there]
        return gone

    def collect_blobs(
        self, condemned: Mapping[str, int], delete: Callable[[Sequence[str]], Sequence[str]]
    ) -> list[str]:
        """Delete condemned blobs, and record that.

        Parameters
        ----------
        condemned : mapping of str to int
            Digests, and the position at which each was condemned. One that was restored since is left alone, also
            if it was condemned again.
        delete : callable
            Deletes blobs and returns those that it deleted; nobody can restore them meanwhile.

        Returns
        -------
        list of str
            The digests deleted.
        """
        collected: list[str] = []
        for part in _parts(list(condemned)):
            with self.record_log.exclusive():
                now = self.blob_ledger.condemned(part)
                doomed = [
                    digest for digest in part if digest in now and now[digest].position == condemned[digest]
                ]
                self.record_log.require_exclusive()
                deleted = list(delete(doomed)) if doomed else []
                self._record_blobs(BlobsCollected, deleted)
                collected += deleted
        return collected

    def _record_blobs(self, event: type[Event], digests: list[str]) -> None:
        if digests:
            stream = self.blob_ledger.stream()
            stream.trigger(event, digests=digests)
            self.save(stream, command_id=self.new_id())


def _parts(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    return (digests[at : at + BLOBS_AT_ONCE] for at in range(0, len(digests), BLOBS_AT_ONCE))
