"""Lifecycle events as record batches: how they are packed, and how they are read back."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from .batch import EVENTS_SCHEMA, Batch, BatchHeader, Body, pack_batch
from .errors import IntegrityError
from .events import Event, decode_event
from .log import Log


def stream_id_of(originator_id: UUID | str) -> str:
    """Return the stream id of an originator."""
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


def pack_stored_events(events: Sequence[StoredEvent]) -> Batch:
    """Pack consecutive stored events of one originator into a record batch."""
    topics = list(dict.fromkeys(event.topic for event in events))
    numbers = {topic: number for number, topic in enumerate(topics)}
    encoded = [msgspec.msgpack.encode((numbers[event.topic], event.state)) for event in events]
    first = events[0]
    return pack_batch(
        stream_id_of(first.originator_id), first.originator_version, EVENTS_SCHEMA, topics, encoded
    )


def unpack_stored_events(header: BatchHeader, body: Body, originator_id: UUID | str) -> list[StoredEvent]:
    """Read the stored events of a batch back."""
    try:
        decoded = [msgspec.msgpack.decode(event, type=tuple[int, bytes]) for event in body.events()]
        return [
            StoredEvent(originator_id, version, header.topics[number], state)
            for version, (number, state) in enumerate(decoded, header.first_version)
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
        position = header.first_position
        raise IntegrityError(
            f"the events at position {position} are damaged: {error}", position=position
        ) from error


def read_events(log: Log, header: BatchHeader) -> list[Event]:
    """Open a batch of lifecycle events and decode them."""
    (body,) = log.bodies([header.first_position])
    return [
        decode_event(stored.topic, header.stream_id, stored.originator_version, stored.state)
        for stored in unpack_stored_events(header, body, header.stream_id)
    ]
