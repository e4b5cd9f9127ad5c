"""Pages of the log: consecutive batches, read and decoded once for all projections."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from operator import attrgetter
from typing import TypeVar, overload

from ..engine.errors import IntegrityError, UnreadableError
from ..engine.events.base import Event
from ..engine.events.registry import decode_event, is_known_topic
from ..engine.keys import Rows, read_rows
from ..engine.log.batch import EVENTS_SCHEMA, FRAMES_SCHEMA, BatchHeader, Block, Body
from ..engine.log.contract import Log, StreamRows
from ..engine.log.event_batch import unpack_states

PAGE_EVENTS = 50_000
_KEPT_BYTES = 64 * 1024 * 1024
_BODIES_AT_ONCE = 8
_LIFECYCLE_WEIGHT = 5

_first_position = attrgetter("first_position")
_topics = attrgetter("topics")

AnyEvent = TypeVar("AnyEvent", bound=Event)
Counted = TypeVar("Counted", BatchHeader, StreamRows)


class Page(Sequence[BatchHeader]):
    """Headers of consecutive batches. Their contents are read when they are first needed.

    Contents that several projections need are cached up to 64 MB, and read again beyond that.

    Parameters
    ----------
    log : Log
        The log to read from.
    headers : sequence of BatchHeader
        The batches, in ascending order.
    """

    def __init__(self, log: Log, headers: Sequence[BatchHeader]) -> None:
        self._log = log
        self._headers = headers
        self._frame_headers = [header for header in headers if header.schema == FRAMES_SCHEMA]
        self._event_headers = [header for header in headers if header.schema == EVENTS_SCHEMA]
        self._frames = list(map(_first_position, self._frame_headers))
        self._blocks: dict[int, list[Block]] = {}
        self._kept_bytes = 0
        self._frame_bodies, self._event_bodies = _Bodies(log), _Bodies(log)
        self._events: dict[int, list[tuple[int, Event | UnreadableError]]] = {}
        self._rows: dict[int, Rows] = {}

    @overload
    def __getitem__(self, index: int) -> BatchHeader: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BatchHeader]: ...
    def __getitem__(self, index: int | slice) -> BatchHeader | Sequence[BatchHeader]:
        """Return one header or several."""
        return self._headers[index]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._headers)

    @cached_property
    def topics(self) -> frozenset[str]:
        """Topics of all events."""
        return frozenset(chain.from_iterable(map(_topics, self._headers)))

    def frame_batches(self) -> Sequence[BatchHeader]:
        """Return the headers of batches of frame changes."""
        return self._frame_headers

    def lifecycle(self, *kinds: type[AnyEvent]) -> Iterator[tuple[BatchHeader, int, AnyEvent]]:
        """Yield the lifecycle events of some kinds with their batch and position. Other events are not decoded.

        Unreadable events are omitted. They only concern their own stream, whose aggregate cannot be loaded.
        """
        topics = _topics_of(kinds)
        headers = [header for header in self._event_headers if not topics.isdisjoint(header.topics)]
        positions = [header.first_position for header in headers if header.first_position not in self._events]
        for header in headers:
            for position, event in self._decoded(header, positions):
                if isinstance(event, kinds):
                    yield header, position, event

    def event_body(self, header: BatchHeader) -> Body:
        """Return the body of a lifecycle batch. It is not read again if its events are needed next."""
        return self._event_bodies.read(header.first_position, self._event_positions)

    @cached_property
    def _event_positions(self) -> list[int]:
        return list(map(_first_position, self._event_headers))

    def events(self, header: BatchHeader) -> list[tuple[int, Event]]:
        """Return the framelode events of a lifecycle batch. Other applications may have written events as well."""
        events: list[tuple[int, Event]] = []
        for position, event in self._decoded(header, self._event_positions):
            if isinstance(event, UnreadableError):
                raise event
            events.append((position, event))
        return events

    def _decoded(
        self, header: BatchHeader, next_positions: Sequence[int]
    ) -> list[tuple[int, Event | UnreadableError]]:
        first = header.first_position
        if first not in self._events:
            body = self._event_bodies.take(first, next_positions)
            try:
                states = unpack_states(header, body)
            except UnreadableError as error:
                self._events[first] = [(first, error)]
            else:
                self._events[first] = [
                    (position, readable_event(header, topic, position, state))
                    for position, (topic, state) in enumerate(states, first)
                    if is_known_topic(topic)
                ]
        return self._events[first]

    def rows(self, header: BatchHeader) -> Rows:
        """Return the key rows of a frame batch."""
        if not self._rows:
            keys = self._log.rows_at(self._frames)
            self._rows = {position: read_rows(data) for position, data in keys.items()}
        return self._rows[header.first_position]

    def blocks(self, header: BatchHeader) -> Iterator[tuple[int, Block]]:
        """Yield the blocks of a frame batch, each with the position of its first event."""
        position = header.first_position
        for block in self._opened(header):
            yield position, block
            position += block.count

    def _opened(self, header: BatchHeader) -> Iterable[Block]:
        kept = self._blocks.get(header.first_position)
        if kept is not None:
            return kept
        body = self._frame_bodies.take(header.first_position, self._frames)
        blocks = map(body.open_block, range(body.blocks))
        if self._kept_bytes + body.raw_bytes > _KEPT_BYTES:
            return blocks
        kept = self._blocks[header.first_position] = list(blocks)
        self._kept_bytes += body.raw_bytes
        return kept


class _Bodies:
    """Reads bodies a few at once, in ascending order."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ahead: dict[int, Body] = {}

    def take(self, position: int, positions: Sequence[int]) -> Body:
        """Return a body, and forget it."""
        self.read(position, positions)
        return self._ahead.pop(position)

    def read(self, position: int, positions: Sequence[int]) -> Body:
        """Return a body. Those of the next few positions, of those given, are read together with it."""
        if position not in self._ahead:
            at = bisect_left(positions, position)
            wanted = positions[at : at + _BODIES_AT_ONCE]
            if position not in wanted:
                # A damaged table returns the batches out of order.
                wanted = [position]
            try:
                bodies = list(self._log.bodies(wanted))
            except IntegrityError:
                # One of them is damaged. The error is raised when that body is requested.
                bodies = list(self._log.bodies([position]))
            self._ahead = {body.first_position: body for body in bodies}
        return self._ahead[position]


@lru_cache
def _topics_of(kinds: tuple[type[Event], ...]) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in kinds)


def readable_event(header: BatchHeader, topic: str, position: int, state: bytes) -> Event | UnreadableError:
    """Return an event of a lifecycle batch, or the error if it cannot be read."""
    try:
        return decode_event(topic, header.stream_id, header.version_at(position), state, position)
    except UnreadableError as error:
        return error


def read_pages(log: Log, gt: int, lte: int, page_events: int = PAGE_EVENTS) -> Iterator[Page]:
    """Yield the batches that begin after one position and up to another, in pages of at least `page_events` events.

    Raises
    ------
    IntegrityError
        A batch between them is missing.
    """
    return cut_pages(log, _without_gaps(log, gt, lte), page_events)


def _without_gaps(log: Log, gt: int, lte: int) -> Iterator[BatchHeader]:
    expected = None
    for header in log.headers(gt=gt, lte=lte):
        first = header.first_position
        if first <= gt:
            continue
        if expected is not None and first != expected:
            raise IntegrityError(
                f"{log.name} lacks the batch at position {expected}", position=expected, file=log.name
            )
        expected = first + header.count
        yield header


def cut_pages(log: Log, headers: Iterable[BatchHeader], page_events: int = PAGE_EVENTS) -> Iterator[Page]:
    """Split batches into pages of at least `page_events` events. Lifecycle events are small and count less."""
    return (Page(log, some) for some in gathered(headers, page_events, _weight))


def gathered(
    batches: Iterable[Counted],
    events: int = PAGE_EVENTS,
    weigh: Callable[[Counted], int] = attrgetter("count"),
) -> Iterator[list[Counted]]:
    """Yield lists of batches, or of their rows, with at least the given number of events."""
    some: list[Counted] = []
    weight = 0
    for batch in batches:
        some.append(batch)
        weight += weigh(batch)
        if weight >= events:
            yield some
            some, weight = [], 0
    if some:
        yield some


def _weight(header: BatchHeader) -> int:
    return header.count if header.schema == FRAMES_SCHEMA else 1 + header.count // _LIFECYCLE_WEIGHT
