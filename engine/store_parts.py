"""What is written to an execution store, cut into record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .batch import BATCH_BYTES, BATCH_EVENTS, Batch
from .event import Event
from .event_batch import pack_states
from .events import encode_event


def parts_of(values: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[tuple[str, bytes]], bool]]:
    """Cut what is set into parts of one record batch each; says of each whether it is the last."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for key, value in values:
        length = len(key) + len(value)
        if part and (len(part) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield part, False
            part, size = [], 0
        part.append((key, value))
        size += length
    if part:
        yield part, True


def batches_of(stream: str, first_version: int, events: Sequence[Event]) -> Iterator[Batch]:
    """Pack events of one stream, as many batches as it takes."""
    states: list[tuple[str, bytes]] = []
    size = 0
    for event in events:
        topic, state = encode_event(event)
        if states and (len(states) == BATCH_EVENTS or size + len(state) > BATCH_BYTES):
            yield pack_states(stream, first_version, states)
            first_version += len(states)
            states, size = [], 0
        states.append((topic, state))
        size += len(state)
    yield pack_states(stream, first_version, states)
