"""Which URIs the frames of versions name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from ..engine.frames import SingleFrame
from ..engine.keys import U64, frame_keys, key_columns
from ..engine.log import Log
from .frames import read_records
from .state import TOMBSTONE, live_positions
from .states import States


def uris_of(record: SingleFrame) -> Iterator[str]:
    """Yield the URIs of a record's sources, previews and masks."""
    for source in record.sources:
        preview = source.preview.uri if source.preview else None
        yield from (uri for uri in (source.uri, preview, *(mask.uri for mask in source.masks)) if uri)


def uris_named_by(log: Log, states: States, version_id: str, frame_ids: Collection[str]) -> dict[str, None]:
    """Return the URIs that some frames of a version name, in log order; ids that it does not hold are passed over."""
    if not frame_ids:
        return {}
    state = states.current(version_id)
    positions = state.find(*key_columns(frame_keys(list(frame_ids))[0]))
    positions = np.unique(positions[(positions > 0) & (positions < TOMBSTONE)])
    return {uri: None for record in read_records(log, state, positions) for uri in uris_of(record)}


def named_among(
    log: Log, states: States, version_ids: Iterable[str], uris: Collection[str], after: int = 0
) -> set[str]:
    """Return those of some URIs that any frame of some versions names; what versions share is read once.

    Parameters
    ----------
    after : int
        Only frames that were last changed after this position are looked at.
    """
    seen: U64 = np.empty(0, np.uint64)
    found: set[str] = set()
    for version_id in version_ids:
        state = states.current(version_id)
        live = np.unique(live_positions(state.settled()))
        positions = np.setdiff1d(live[live > after], seen, assume_unique=True)
        for record in read_records(log, state, positions):
            found.update(uri for uri in uris_of(record) if uri in uris)
        seen = np.union1d(seen, positions)
    return found
