"""Which source files are marked for deletion, from the stream ``sources``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..datasets.stream_view import StreamView
from ..events.base import Event
from ..events.domain import SOURCES, SourcesCondemned, SourcesDeleted, SourcesRestored
from ..events.registry import encode_event
from ..iterables import chunked
from ..log.batch import Batch
from ..log.event_batch import pack_states

URIS_OF_AN_EVENT = 1024

Outcome = type[SourcesCondemned | SourcesRestored | SourcesDeleted]


class SourceLedger(StreamView):
    """The state of the stream ``sources``, read incrementally. URIs are canonical.

    A condemned file is deleted when no frame refers to it, so uploads neither link to it nor use its name. Only condemned
    files are kept in memory.
    """

    stream_id: ClassVar[str] = SOURCES.id

    def _renew(self) -> None:
        super()._renew()
        self._condemned: dict[str, int] = {}

    def condemned(self) -> Mapping[str, int]:
        """Return the condemned files, each with the position of the last event that condemned it."""
        return self.look()[1]

    def look(self) -> tuple[int, Mapping[str, int]]:
        """Return up to which version the stream has been read, and the files condemned at that version."""
        self._catch_up()
        with self._lock:
            return self._version, dict(self._condemned)

    def since(self, version: int) -> tuple[int, dict[str, Outcome]]:
        """Return the version up to which the stream has now been read, and the last outcome of each file after `version`."""
        if (self._log.stream_version(SOURCES.id) or 0) <= version:
            return version, {}
        outcomes: dict[str, Outcome] = {}
        for header, events in self._read_after(version):
            for event in events:
                outcomes.update(_outcomes(event))
            version = header.last_version
        return version, outcomes

    def _apply(self, event: Event, recorded_at: int, position: int) -> None:  # noqa: ARG002 - signature of the base class
        for uri, outcome in _outcomes(event).items():
            if outcome is SourcesCondemned:
                self._condemned[uri] = position
            else:
                self._condemned.pop(uri, None)


def _outcomes(event: Event) -> dict[str, Outcome]:
    if isinstance(event, SourcesCondemned | SourcesRestored | SourcesDeleted):
        return dict.fromkeys(event.uris, type(event))
    return {}


def condemnation(uris: Sequence[str], after_version: int) -> Batch:
    """Return the batch that condemns files. It is appended together with the deletion of their frames."""
    states = [
        encode_event(
            SourcesCondemned(originator_id=SOURCES.id, originator_version=after_version + number, uris=part)
        )
        for number, part in enumerate(chunked(uris, URIS_OF_AN_EVENT), 1)
    ]
    return pack_states(SOURCES.id, after_version + 1, states)
