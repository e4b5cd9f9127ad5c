"""Reads the frames of a state, streamed in log order. Each block is decompressed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter
from types import GenericAlias
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.decoding import UNDECODABLE, Position, array_of, guarded
from ...engine.errors import IntegrityError, UnreadableError
from ...engine.frames.record import Record, partial_record, put_id
from ...engine.frames.single_frame import SingleFrame, decode_record
from ...engine.keys import KEY_SIZE, U64, Rows, key_bytes, read_rows
from ...engine.log.batch import Block, Body
from ...engine.log.contract import Log
from ...engine.log.decoding import gc_paused
from ...engine.log.frame_batch import SPARSE, decode_change, is_sparse
from .fold import State

_BATCHES_AT_ONCE = 8
_POSITIONS_AT_ONCE = 1 << 16
_SPARSE_AT_ONCE = 256
_EVENTS_AT_ONCE = 48
"""A small number, so that decoding does not trigger the garbage collector: objects are freed soon after."""

Kept = TypeVar("Kept", bound=Record)


class StoredFrame(msgspec.Struct, Generic[Kept], array_like=True, gc=False):
    """The fields of a frame event that readers need, with the record decoded. The record of a delete is None."""

    frame: Kept | None
    id: str | None = None
    previous: Position = 0
    saved: Position = 0


class _Decoders(NamedTuple):
    """Decoders for the events of a block, and for a single event."""

    block: Callable[[bytes], list[StoredFrame[Any]]]
    one: Callable[[bytes], StoredFrame[Any]]


@lru_cache(maxsize=64)
def _decoders(record: type[Record]) -> _Decoders:
    stored = StoredFrame[record]
    # A type checker takes a subscript of list for an annotation, in which no variable may be.
    block, one = msgspec.msgpack.Decoder(GenericAlias(list, (stored,))), msgspec.msgpack.Decoder(stored)
    return _Decoders(guarded(block.decode), guarded(one.decode))


_WHOLE = _decoders(SingleFrame)
_frame = attrgetter("frame")
_own_id = attrgetter("id")


class _Part(msgspec.Struct, gc=False):
    """The requested events of a part of a block: positions, events, and the hex of their keys."""

    positions: NDArray[np.int64]
    events: list[StoredFrame[Any]]
    keys: list[str]

    def ids(self) -> list[str]:
        """Return the ids of the frames, without Python code per frame."""
        own = list(map(_own_id, self.events))
        return [mine or key for mine, key in zip(own, self.keys, strict=True)] if any(own) else self.keys

    def records(self) -> list[SingleFrame]:
        """Return the records with their ids set, without Python code per frame."""
        records = list(map(_frame, self.events))
        deque(map(put_id, records, self.ids()), maxlen=0)
        return records


def read_records(log: Log, state: State, positions: U64) -> Iterator[SingleFrame]:
    """Yield the records at ascending positions, with their ids set. Only a few batches are in memory at a time."""
    return chain.from_iterable(record_blocks(log, state, positions))


def record_blocks(log: Log, state: State, positions: U64) -> Iterator[list[SingleFrame]]:
    """Like `read_records`, in short lists."""
    for part in _read_blocks(log, state, positions):
        yield part.records()


def read_record(log: Log, first_position: int, place: int, key: bytes) -> SingleFrame:
    """Return the record of one event, with its id set.

    Parameters
    ----------
    log : Log
        The log.
    first_position : int
        First position of its batch.
    place : int
        Index of the event in the batch.
    key : bytes
        Key of the frame.
    """
    (body,) = log.recent_bodies([first_position])
    stored = _decode_event(body.event(place), first_position + place)
    put_id(stored.frame, stored.id or key.hex())
    return stored.frame  # type: ignore[return-value]  # a state does not refer to deletes


def read_stored(
    log: Log, state: State, positions: U64, record: type[Record] = SingleFrame
) -> Iterator[tuple[int, str, StoredFrame[Any]]]:
    """Yield ``(position, frame id, event)`` at ascending positions.

    Parameters
    ----------
    log : Log
        The log.
    state : State
        The state that has the frames.
    positions : ndarray of uint64
        Positions of events.
    record : type
        `SingleFrame`, or a `partial_record`. If an event cannot be decoded as one, it has a whole `SingleFrame`.
    """
    for part in _read_blocks(log, state, positions, _decoders(record)):
        yield from zip(part.positions.tolist(), part.ids(), part.events, strict=True)


def read_ids(log: Log, state: State, positions: U64) -> Iterator[str]:
    """Yield the ids of the frames at ascending positions. The positions may be those of deletes."""
    decoders = _decoders(partial_record(frozenset({"id"})))
    return chain.from_iterable(part.ids() for part in _read_blocks(log, state, positions, decoders))


def _read_blocks(log: Log, state: State, positions: U64, decoders: _Decoders = _WHOLE) -> Iterator[_Part]:
    for start in range(0, len(positions), _POSITIONS_AT_ONCE):
        batch, index = state.batches.locate(positions[start : start + _POSITIONS_AT_ONCE])
        starts = np.flatnonzero(np.append(True, batch[1:] != batch[:-1]))
        groups = np.split(index, starts[1:])
        first_positions = state.batches.first_positions[batch[starts]].tolist()
        yield from _read_batches(log, state, first_positions, groups, decoders)


def _read_batches(
    log: Log,
    state: State,
    first_positions: list[int],
    groups: list[NDArray[np.intp]],
    decoders: _Decoders,
) -> Iterator[_Part]:
    if is_sparse(groups):
        yield from _read_sparse(log, state, first_positions, groups, decoders)
        return
    for at in range(0, len(first_positions), _BATCHES_AT_ONCE):
        chunk, wanted = first_positions[at : at + _BATCHES_AT_ONCE], groups[at : at + _BATCHES_AT_ONCE]
        if is_sparse(wanted):
            yield from _read_sparse(log, state, chunk, wanted, decoders)
            continue
        stored = log.rows_at(chunk)
        for body, indices in zip(log.bodies(chunk), wanted, strict=True):
            rows = read_rows(stored[body.first_position])[indices]
            yield from _read_body(body, indices, _hex_keys(rows), decoders)


def _hex_keys(rows: Rows) -> list[str]:
    return key_bytes(rows).hex(" ", KEY_SIZE).split(" ")


def _read_sparse(
    log: Log,
    state: State,
    first_positions: list[int],
    groups: list[NDArray[np.intp]],
    decoders: _Decoders,
) -> Iterator[_Part]:
    """Read single events. Other reads are likely to need the same batches, so they are cached; a stream is not."""
    firsts = np.repeat(np.array(first_positions, np.int64), list(map(len, groups)))
    positions = firsts + np.concatenate(groups)
    keys = _hex_keys(state.rows(positions.astype(np.uint64)))
    bodies = zip(log.recent_bodies(first_positions), groups, strict=True)
    events = chain.from_iterable(body.events_at(indices) for body, indices in bodies)
    for start in range(0, len(positions), _SPARSE_AT_ONCE):
        some = slice(start, start + _SPARSE_AT_ONCE)
        decoded = _decode_some(list(islice(events, _SPARSE_AT_ONCE)), positions[some], decoders)
        yield _Part(positions[some], decoded, keys[some])


def _decode_some(
    events: list[bytes], positions: NDArray[np.int64], decoders: _Decoders
) -> list[StoredFrame[Any]]:
    """Decode some events together, or one by one where that fails."""
    try:
        with gc_paused():
            return decoders.block(array_of(events))
    except UNDECODABLE:
        return [
            _decode_event(event, position, decoders)
            for event, position in zip(events, positions.tolist(), strict=True)
        ]


def _read_body(
    body: Body, indices: NDArray[np.intp], keys: list[str], decoders: _Decoders
) -> Iterator[_Part]:
    at = 0
    while at < len(indices):
        number, first = body.block_of(int(indices[at]))
        block = body.open_block(number)
        end = body.bounds(number)[1]
        while at < len(indices) and (start := int(indices[at])) < end:
            stop = at + int(
                indices[at : at + _EVENTS_AT_ONCE].searchsorted(min(start + _EVENTS_AT_ONCE, end))
            )
            within = indices[at:stop]
            events = _decode_events(block, within - first, body.first_position + first, decoders)
            yield _Part(within + body.first_position, events, keys[at:stop])
            at = stop


def _decode_events(
    block: Block, indices: NDArray[np.intp], position: int, decoders: _Decoders
) -> list[StoredFrame[Any]]:
    """Decode some events of a block, in ascending order: together with those between them, or one by one."""
    wanted = indices.tolist()
    start, stop = wanted[0], wanted[-1] + 1
    if len(wanted) * SPARSE < stop - start:
        events = zip(wanted, block.events_at(wanted), strict=True)
        return [_decode_event(event, position + index, decoders) for index, event in events]
    try:
        with gc_paused():
            decoded = decoders.block(block.as_array(start, stop))
    except UNDECODABLE:
        between = enumerate(block.events_at(range(start, stop)), position + start)
        decoded = [_decode_event(event, at, decoders) for at, event in between]
    return decoded if len(wanted) == stop - start else [decoded[index - start] for index in wanted]


def unreadable(block: Block, position: int) -> Iterator[tuple[str, int]]:
    """Yield the reason and index of each event of a block that readers cannot decode.

    Such events are valid except for their records.
    """
    try:
        with gc_paused():
            _WHOLE.block(block.as_array())
    except UNDECODABLE:
        for index, event in enumerate(block.events()):
            try:
                _decode_event(event, position + index)
            except IntegrityError as error:
                yield f"a payload cannot be read: {error.__cause__ or error}", index


def _decode_event(event: bytes, position: int, decoders: _Decoders = _WHOLE) -> StoredFrame[Any]:
    try:
        return decoders.one(event)
    except UNDECODABLE:
        # Events with registered or unknown annotation types take the slow path, which also reports damage.
        change = decode_change(event, position)
        try:
            record = decode_record(change.payload) if change.payload else None
        except IntegrityError as error:
            message = f"the frame at position {position} cannot be read: {error.__cause__ or error}"
            raise UnreadableError(message, position=position) from error.__cause__
        return StoredFrame(record, change.id, change.previous, change.saved)
