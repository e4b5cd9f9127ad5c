"""Reads the frames that a state points at: streamed in log order, blocks opened once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..engine.batch import Block, Body
from ..engine.collector import collector_paused
from ..engine.frame_batch import decode_change
from ..engine.frames import SingleFrame, decode_record
from ..engine.keys import KEY_SIZE, U64, key_bytes, read_rows
from ..engine.log import Log
from ..engine.wire import put_id
from .state import State

_BATCHES_AT_ONCE = 8
_POSITIONS_AT_ONCE = 1 << 16
_HEX = 2 * KEY_SIZE
_WHOLE_BLOCK = 4
"""A block is decoded whole when at least one in this many of its events is wanted."""


class StoredFrame(msgspec.Struct, array_like=True, gc=False):
    """One event of a frame batch, its record decoded; the record of a delete is None."""

    frame: SingleFrame | None
    id: str | None = None
    previous: int = 0
    saved: int = 0
    changed: list[str] = []


_block_decoder = msgspec.msgpack.Decoder(list[StoredFrame])
_event_decoder = msgspec.msgpack.Decoder(StoredFrame)


def read_records(log: Log, state: State, positions: U64) -> Iterator[SingleFrame]:
    """Yield the records at ascending positions, ids set; nothing but a few batches is held in memory."""
    for _, stored, ids in _read_blocks(log, state, positions):
        for event, frame_id in zip(stored, ids, strict=True):
            record = event.frame
            put_id(record, event.id or frame_id)
            yield record  # type: ignore[misc]  # a state points at no delete


def read_stored(log: Log, state: State, positions: U64) -> Iterator[tuple[int, StoredFrame]]:
    """Yield ``(position, event)`` at ascending positions, the records' ids set."""
    for block_positions, stored, ids in _read_blocks(log, state, positions):
        for position, event, frame_id in zip(block_positions, stored, ids, strict=True):
            put_id(event.frame, event.id or frame_id)
            yield position, event


def _read_blocks(
    log: Log, state: State, positions: U64
) -> Iterator[tuple[list[int], list[StoredFrame], list[str]]]:
    """Yield, block by block, the wanted positions, their events, and the hex of their keys."""
    for start in range(0, len(positions), _POSITIONS_AT_ONCE):
        first, index = state.batches.locate(positions[start : start + _POSITIONS_AT_ONCE])
        starts = np.flatnonzero(np.append(True, first[1:] != first[:-1]))
        yield from _read_batches(log, state, first[starts].tolist(), np.split(index, starts[1:]))


def _read_batches(
    log: Log, state: State, first_positions: list[int], groups: list[NDArray[np.intp]]
) -> Iterator[tuple[list[int], list[StoredFrame], list[str]]]:
    for at in range(0, len(first_positions), _BATCHES_AT_ONCE):
        chunk = first_positions[at : at + _BATCHES_AT_ONCE]
        # A single batch is most often asked for again, by other point reads; a stream is not kept.
        rows = log.rows_at(chunk) if len(chunk) > 1 else {}
        for body, indices in zip(log.bodies(chunk), groups[at : at + _BATCHES_AT_ONCE], strict=True):
            first = body.first_position
            wanted = read_rows(rows[first])[indices] if rows else state.rows(_positions(first, indices))
            yield from _read_body(body, indices, key_bytes(wanted).hex())


def _positions(first: int, indices: NDArray[np.intp]) -> U64:
    return indices.astype(np.uint64) + np.uint64(first)


def _read_body(
    body: Body, indices: NDArray[np.intp], hex_keys: str
) -> Iterator[tuple[list[int], list[StoredFrame], list[str]]]:
    at = 0
    while at < len(indices):
        number, first = body.block_of(int(indices[at]))
        stop = int(np.searchsorted(indices, body.bounds(number)[1], side="left"))
        within = indices[at:stop].tolist()
        stored = _decode_events(
            body.open_block(number), [i - first for i in within], body.first_position + first
        )
        ids = [hex_keys[i : i + _HEX] for i in range(at * _HEX, stop * _HEX, _HEX)]
        yield [body.first_position + i for i in within], stored, ids
        at = stop


def _decode_events(block: Block, indices: Sequence[int], position: int) -> list[StoredFrame]:
    if len(indices) * _WHOLE_BLOCK >= block.count:
        try:
            with collector_paused():
                events = _block_decoder.decode(block.as_array())
        except (msgspec.MsgspecError, UnicodeDecodeError):
            events = [_decode_event(event, position + i) for i, event in enumerate(block.events())]
        return events if len(indices) == block.count else [events[i] for i in indices]
    return [_decode_event(block.event(i), position + i) for i in indices]


def _decode_event(event: bytes, position: int) -> StoredFrame:
    try:
        return _event_decoder.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # An annotation type that is registered or unknown takes the slow way; damage is reported by it.
        change = decode_change(event, position)
        record = decode_record(change.payload) if change.payload else None
        return StoredFrame(record, change.id, change.previous, change.saved, change.changed)
