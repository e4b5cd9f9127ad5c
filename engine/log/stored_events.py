"""Converts between record batches and the stored events of the eventsourcing library."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from ..events.registry import FRAME_EVENTS, encode_event
from ..keys import DIGEST_SIZE, KeyRow, read_rows
from .batch import Batch, OpenedBatch
from .event_batch import pack_states
from .frame_batch import decode_change, row_id

_UUID_DIGITS = 32


class Originators:
    """Translates between the originator ids of an application and stream ids.

    Parameters
    ----------
    application : str
        Name of the application that its streams begin with; if empty, they are all streams of the log.
    uuid_ids : bool
        Originator ids are given back as `UUID` where they are one.
    """

    def __init__(self, application: str = "", *, uuid_ids: bool = False) -> None:
        name = application.replace("%", "%25").replace("/", "%2F")
        self.prefix = f"{name}/" if name else ""
        self._uuid_ids = uuid_ids

    def stream_id(self, originator_id: UUID | str) -> str:
        """Return the stream id of an originator."""
        return self.prefix + (originator_id.hex if isinstance(originator_id, UUID) else originator_id)

    def originator_id(self, stream_id: str) -> UUID | str:
        """Return the originator of a stream of the application."""
        text = stream_id[len(self.prefix) :]
        if self._uuid_ids:
            try:
                # Faster than by its text.
                return UUID(int=int(text, 16)) if len(text) == _UUID_DIGITS else UUID(text)
            except ValueError:
                # A stream that the application does not know shares the log with it.
                return text
        return text


def pack_stored_events(events: Sequence[StoredEvent], originators: Originators) -> Batch:
    """Pack consecutive stored events of one originator into a record batch."""
    first = events[0]
    states = [(event.topic, event.state) for event in events]
    return pack_states(originators.stream_id(first.originator_id), first.originator_version, states)


def frame_states(batch: OpenedBatch, keys: bytes) -> list[tuple[str, bytes]]:
    """Make the topics and states of a frame batch, on demand, for notifications and audit."""
    rows = read_rows(keys)
    states: list[tuple[str, bytes]] = []
    for index, event in enumerate(batch.events):
        change = decode_change(event, batch.first_position + index)
        digest_at = index * KeyRow.itemsize + KeyRow.itemsize - DIGEST_SIZE
        version = batch.first_version + index
        payload = change.payload
        domain_event = FRAME_EVENTS[int(rows["op"][index])](
            originator_id=batch.stream_id,
            originator_version=version,
            frame_id=row_id(change, rows, index),
            payload_digest=keys[digest_at : digest_at + DIGEST_SIZE],
            record=msgspec.msgpack.decode(payload) if payload else None,
            previous=change.previous,
            saved=change.saved,
            changed=change.changed,
        )
        states.append(encode_event(domain_event))
    return states
