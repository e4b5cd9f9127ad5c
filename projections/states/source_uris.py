"""Finds the URIs that frames of versions refer to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

import numpy as np

from ...engine.frames.single_frame import SingleFrame, decode_record
from ...engine.keys import frame_keys, key_columns
from ...engine.log.batch import FRAMES_SCHEMA
from ...engine.log.contract import Log
from ...engine.log.frame_batch import decode_change
from ...engine.sources.relocation import uris_of_source
from ...engine.storage.urls import object_key
from .cache import StateCache
from .fold import TOMBSTONE, State, live_positions
from .frames import read_records


def uris_of(record: SingleFrame) -> Iterator[str]:
    """Yield the URIs of a record's sources, previews and masks."""
    return filter(None, chain.from_iterable(map(uris_of_source, record.sources)))


def uris_named_by(
    log: Log, states: StateCache, version_id: str, frame_ids: Collection[str]
) -> dict[str, list[str]]:
    """Return the URIs in some frames of a version, by frame id in log order. Unknown frames are skipped."""
    if not frame_ids:
        return {}
    state = states.current(version_id)
    positions = state.find(*key_columns(frame_keys(list(frame_ids))[0]))
    positions = np.unique(positions[(positions > 0) & (positions < TOMBSTONE)])
    return {record.id or "": list(uris_of(record)) for record in read_records(log, state, positions)}


def uris_in(log: Log, states: Iterable[State]) -> Iterator[str]:
    """Yield the URIs in the frames of some states, in part repeatedly."""
    for state in states:
        for record in read_records(log, state, np.unique(live_positions(state.settled()))):
            yield from uris_of(record)


def named_among(log: Log, states: Iterable[State], keys: Collection[str]) -> set[str]:
    """Return the object keys, of those given, that frames of some states refer to."""
    return {key for key in map(object_key, uris_in(log, states)) if key in keys}


def uris_after(log: Log, position: int) -> set[str]:
    """Return the URIs in frame events after a position, of all versions."""
    named: set[str] = set()
    for header in log.headers(gt=position, schema=FRAMES_SCHEMA):
        (body,) = log.bodies([header.first_position])
        for place, event in enumerate(body.events(), header.first_position):
            payload = decode_change(event, place).payload
            if payload:
                named.update(uris_of(decode_record(payload, place)))
    return named
