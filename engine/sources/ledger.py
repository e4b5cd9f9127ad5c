"""Which source files are marked for deletion, from the stream ``sources``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from ..datasets.stream_view import StreamView
from ..events.base import Event
from ..events.domain import SOURCES, SourcesCondemned, SourcesDeleted, SourcesRestored
from ..events.registry import encode_event
from ..log.batch import Batch
from ..log.event_batch import pack_states

URIS_OF_AN_EVENT = 1024

Outcome = type[SourcesCondemned | SourcesRestored | SourcesDeleted]


class SourceMark(msgspec.Struct, frozen=True, gc=False):
    """How far the stream ``sources`` has been read: version and position of the last event."""

    version: int = 0
    position: int = 0


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

    def look(self) -> tuple[SourceMark, Mapping[str, int]]:
        """Return how far the stream has been read, and the files condemned at that point."""
        self._catch_up()
        with self._lock:
            return SourceMark(self._version, self._position), dict(self._condemned)

    def since(self, mark: SourceMark) -> tuple[SourceMark, dict[str, Outcome]]:
        """Return how far the stream has been read now, and the last outcome of each file since a mark."""
        if (self._log.stream_version(SOURCES.id) or 0) <= mark.version:
            return mark, {}
        outcomes: dict[str, Outcome] = {}
        for header, events in self._read_after(mark.position):
            for event in events:
                outcomes.update(_outcomes(event))
            mark = SourceMark(header.last_version, header.last_position)
        return mark, outcomes

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
            SourcesCondemned(
                originator_id=SOURCES.id, originator_version=after_version + number, uris=list(part)
            )
        )
        for number, part in enumerate(parts(uris, URIS_OF_AN_EVENT), 1)
    ]
    return pack_states(SOURCES.id, after_version + 1, states)


def parts(uris: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Split URIs into lists of at most `size`."""
    return (uris[at : at + size] for at in range(0, len(uris), size))
