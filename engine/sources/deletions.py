"""Commands that delete source files, or unmark those that are referenced again.

The order is the same as for blobs. The append that deletes frames also marks their files. From then on, uploads do not
link to these files, because appends of such frames carry the version of the stream as a guard. Unreferenced files are
deleted while the log is locked, and this is recorded. If a process dies in between, the files stay marked, and the next
command deletes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

from ..datasets.application import LogApplication
from ..datasets.stream_view import LedgerStream
from ..events.base import Event
from ..events.domain import SourcesCondemned, SourcesDeleted, SourcesRestored
from ..iterables import chunked
from .ledger import URIS_OF_AN_EVENT, SourceLedger

DELETED_AT_ONCE = 64
"""Number of files deleted at once. Writers wait meanwhile."""


class SourceCommands:
    """Commands on source files outside the blob store.

    Parameters
    ----------
    application : LogApplication
        Decides on aggregates and records their events.
    """

    def __init__(self, application: LogApplication) -> None:
        self._application = application

    @cached_property
    def source_ledger(self) -> SourceLedger:
        """The state of the stream ``sources``."""
        return SourceLedger(self._application.record_log)

    def condemn_sources(self, uris: Sequence[str]) -> LedgerStream:
        """Return the stream with the events that condemn files, to be saved with the removal of their frames."""
        stream = self.source_ledger.stream()
        for part in chunked(uris, URIS_OF_AN_EVENT):
            stream.trigger(SourcesCondemned, uris=part)
        return stream

    def restore_sources(self, condemned: Mapping[str, int]) -> None:
        """Record that condemned files are kept because frames refer to them.

        Parameters
        ----------
        condemned : mapping of str to int
            URIs, each with the position at which it was condemned. Files whose state has changed since are skipped.
        """
        for part in chunked(condemned, URIS_OF_AN_EVENT):
            with self._application.record_log.exclusive():
                self._record_sources(SourcesRestored, self._still(condemned, part))

    def delete_sources(
        self,
        condemned: Mapping[str, int],
        named_since: Callable[[], Collection[str]],
        delete: Callable[[Sequence[str]], Collection[str]],
    ) -> set[str]:
        """Delete condemned files and record it.

        Parameters
        ----------
        condemned : mapping of str to int
            URIs, each with the position at which it was condemned.
        named_since : callable
            Returns the URIs in frames written since the references were searched. Nobody can write meanwhile.
        delete : callable
            Deletes files and returns those that no longer exist.

        Returns
        -------
        set of str
            URIs that frames now refer to. They are kept, still condemned.
        """
        late: set[str] = set()
        for part in chunked(condemned, DELETED_AT_ONCE):
            with self._application.record_log.exclusive():
                still = self._still(condemned, part)
                named = set(named_since()).intersection(still) if still else set[str]()
                late |= named
                doomed = [uri for uri in still if uri not in named]
                gone = set(delete(doomed)) if doomed else set[str]()
                self._record_sources(SourcesDeleted, [uri for uri in doomed if uri in gone])
        return late

    def _still(self, condemned: Mapping[str, int], part: Sequence[str]) -> list[str]:
        now = self.source_ledger.condemned()
        return [uri for uri in part if now.get(uri) == condemned[uri]]

    def _record_sources(self, event: type[Event], uris: list[str]) -> None:
        if uris:
            stream = self.source_ledger.stream()
            stream.trigger(event, uris=uris)
            self._application.save(stream, command_id=self._application.new_id())
