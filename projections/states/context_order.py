"""Orders frames for video: by context, then timestamp, then id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import numpy as np

from ...engine.decoding import LARGEST_INTEGER, UNDECODABLE, guarded
from ...engine.errors import UnreadableError
from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.log.frame_batch import FrameChange, decode_change, events_at, row_id
from .fold import State

_POSITIONS_AT_ONCE = 1 << 14
_WINDOW = 4096


class _Source(msgspec.Struct, gc=False):
    timestamp: Annotated[int, msgspec.Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] = 0
    uri: str = ""


class _Record(msgspec.Struct, gc=False):
    context_id: str = ""
    sources: list[_Source] = []


_decode = guarded(msgspec.msgpack.Decoder(_Record).decode)


def context_order(log: Log, parts: Iterable[tuple[State, U64]]) -> Iterator[U64]:
    """Yield the positions of frames in windows, ordered by context id, then timestamp, then id, then position.

    The context id of a frame is the URI of its first source unless it is set. Sorting uses a temporary database that spills
    to disk, so memory use is bounded for any number of contexts.

    Parameters
    ----------
    log : Log
        The log.
    parts : iterable of (State, ndarray)
        States, each with the ascending positions of some of its frames.
    """
    scratch = sqlite3.connect("", check_same_thread=False)
    try:
        scratch.execute("CREATE TABLE frame (context TEXT, timestamp INTEGER, id TEXT, position INTEGER)")
        for state, positions in parts:
            for start in range(0, len(positions), _POSITIONS_AT_ONCE):
                rows = _sort_keys(log, state, positions[start : start + _POSITIONS_AT_ONCE])
                scratch.executemany("INSERT INTO frame VALUES (?, ?, ?, ?)", rows)
        ordered = scratch.execute("SELECT position FROM frame ORDER BY context, timestamp, id, position")
        while window := ordered.fetchmany(_WINDOW):
            yield np.array(window, np.uint64).reshape(-1)
    finally:
        scratch.close()


def _sort_keys(log: Log, state: State, positions: U64) -> Iterator[tuple[str, int, str, int]]:
    rows = state.rows(positions)
    for index, (position, event) in enumerate(events_at(log, positions.tolist())):
        change = decode_change(event, position)
        record = _read(change, position)
        source = record.sources[0] if record.sources else _Source()
        yield record.context_id or source.uri, source.timestamp, row_id(change, rows, index), position


def _read(change: FrameChange, position: int) -> _Record:
    try:
        return _decode(change.record)
    except UNDECODABLE as error:
        message = f"the frame at position {position} cannot be sorted: {error}"
        raise UnreadableError(message, position=position) from error
