"""Encodes and decodes lifecycle events as record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

import msgspec

from ..decoding import UNDECODABLE
from ..errors import UnreadableError
from ..events.base import Event
from ..events.registry import decode_event, encode_event
from .batch import BATCH_BYTES, BATCH_EVENTS, EVENTS_SCHEMA, Batch, BatchHeader, Body, OpenedBatch, pack_batch
from .contract import Log


def pack_states(stream_id: str, first_version: int, states: Sequence[tuple[str, bytes]]) -> Batch:
    """Pack topics and encoded states of consecutive events of one stream into a record batch."""
    topics = list(dict.fromkeys(map(itemgetter(0), states)))
    numbers = dict(zip(topics, range(len(topics)), strict=True))
    encoded = [msgspec.msgpack.encode((numbers[topic], state)) for topic, state in states]
    return pack_batch(stream_id, first_version, EVENTS_SCHEMA, topics, encoded)


# Not guarded: a tuple of these is not nested.
_decode = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def unpack_states(header: BatchHeader, body: Body) -> list[tuple[str, bytes]]:
    """Decode the topics and encoded states of a batch."""
    return states_of(header, body.events())


def states_of(header: BatchHeader | OpenedBatch, events: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Read the topics and encoded states of the encoded events of a batch."""
    topics = header.topics
    try:
        return [(topics[number], state) for number, state in map(_decode, events)]
    except (*UNDECODABLE, IndexError) as error:
        position = header.first_position
        raise UnreadableError(
            f"the events at position {position} are damaged: {error}", position=position
        ) from error


def read_events(log: Log, header: BatchHeader) -> list[Event]:
    """Read and decode the lifecycle events of a batch."""
    (body,) = log.bodies([header.first_position])
    return [
        decode_event(topic, header.stream_id, version, state, header.position_of(version))
        for version, (topic, state) in enumerate(unpack_states(header, body), header.first_version)
    ]


def batches_of(stream: str, first_version: int, events: Sequence[Event]) -> Iterator[Batch]:
    """Pack the events of one stream into as many batches as needed."""
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
