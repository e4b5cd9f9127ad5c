"""Reads the events of a store from the log."""

from __future__ import annotations

from collections.abc import Iterator

from ...engine.events.registry import decode_event
from ...engine.events.stores import STORE_TOPICS, StoreCreated, StoreDeleted, StoreEvent
from ...engine.iterables import chunked
from ...engine.log.batch import EVENTS_SCHEMA, BatchHeader, Body
from ...engine.log.contract import Log
from ...engine.log.event_batch import unpack_states
from ...engine.stores.names import StoreId

_BATCHES_AT_ONCE = 8


def store_events(
    log: Log, store: StoreId, *, key: str | None = None, after: int = 0, lte: int | None = None
) -> Iterator[tuple[BatchHeader, int, StoreEvent]]:
    """Yield the events of a store in order, each with its batch and position.

    Parameters
    ----------
    key : str, optional
        Leave out batches that do not affect this key.
    after, lte : int
        Only events after version `after` of the store's stream, and batches that begin at or before position `lte`.
    """
    headers = log.headers(stream_id=store.stream, schema=EVENTS_SCHEMA, after=after, lte=lte)
    for some in chunked(headers, _BATCHES_AT_ONCE):
        yield from _opened(log, some, key)


def _opened(
    log: Log, headers: list[BatchHeader], key: str | None
) -> Iterator[tuple[BatchHeader, int, StoreEvent]]:
    bodies = log.bodies([header.first_position for header in headers])
    for header, body in zip(headers, bodies, strict=True):
        if not _may_hold(header, body, key):
            continue
        for index, (topic, state) in enumerate(unpack_states(header, body)):
            if topic in STORE_TOPICS:
                event = decode_event(
                    topic,
                    header.stream_id,
                    header.first_version + index,
                    state,
                    header.first_position + index,
                )
                if isinstance(event, StoreEvent):
                    yield header, header.first_position + index, event


def _may_hold(header: BatchHeader, body: Body, key: str | None) -> bool:
    """Whether a batch may have events of a key, without decoding them."""
    if key is None or not {StoreCreated.__name__, StoreDeleted.__name__}.isdisjoint(header.topics):
        return True
    searched = key.encode()
    return any(searched in body.open_block(number).raw for number in range(body.blocks))
