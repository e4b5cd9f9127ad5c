"""Converts between record batches and the stored events of the eventsourcing library."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from ..events.registry import FRAME_EVENTS, encode_event
from ..keys import DIGEST_SIZE, KeyRow, read_rows
from .batch import Batch, BatchHeader, Body
from .event_batch import pack_states, unpack_states
from .frame_batch import decode_change, row_id


def stream_id_of(originator_id: UUID | str) -> str:
    """Return the stream id of an originator."""
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


def pack_stored_events(events: Sequence[StoredEvent]) -> Batch:
    """Pack consecutive stored events of one originator into a record batch."""
    first = events[0]
    states = [(event.topic, event.state) for event in events]
    return pack_states(stream_id_of(first.originator_id), first.originator_version, states)


def unpack_stored_events(header: BatchHeader, body: Body, originator_id: UUID | str) -> list[StoredEvent]:
    """Read the stored events of a batch back."""
    return [
        StoredEvent(originator_id, version, topic, state)
        for version, (topic, state) in enumerate(unpack_states(header, body), header.first_version)
    ]


def frame_stored_events(
    header: BatchHeader, keys: bytes, body: Body, originator_id: UUID | str
) -> list[StoredEvent]:
    """Make the stored events of a frame batch, on demand, for notifications and audit."""
    rows = read_rows(keys)
    stored: list[StoredEvent] = []
    for index, event in enumerate(body.events()):
        change = decode_change(event, header.first_position + index)
        digest_at = index * KeyRow.itemsize + KeyRow.itemsize - DIGEST_SIZE
        version = header.first_version + index
        payload = change.payload
        domain_event = FRAME_EVENTS[int(rows["op"][index])](
            originator_id=header.stream_id,
            originator_version=version,
            frame_id=row_id(change, rows, index),
            payload_digest=keys[digest_at : digest_at + DIGEST_SIZE],
            record=msgspec.msgpack.decode(payload) if payload else None,
            previous=change.previous,
            saved=change.saved,
            changed=change.changed,
        )
        topic, state = encode_event(domain_event)
        stored.append(StoredEvent(originator_id, version, topic, state))
    return stored
