"""Reads the encoded events of a state together, for readers that decode many at once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.keys import U64, key_bytes, read_rows
from ...engine.log.batch import Body
from ...engine.log.contract import Log
from .fold import BatchIndex

_BATCHES_AT_ONCE = 256
_POSITIONS_AT_ONCE = 1 << 16
_BYTES_AT_ONCE = 16 * 1024 * 1024
_EVENTS_AT_ONCE = 32_768
"""Batches are read together until they have so many bytes, or so many events are wanted."""


class RawEvents(msgspec.Struct, gc=False):
    """The encoded events of some frames, in one buffer.

    Attributes
    ----------
    data : bytes
        The buffer, which may have other events in between, and ends with some zeros.
    starts, ends : ndarray of int64, shape (n,)
        Where the events are in the buffer, ascending.
    positions : ndarray of int64, shape (n,)
        Their positions in the log.
    keys : bytes
        Joined keys of the frames.
    """

    data: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    positions: NDArray[np.int64]
    keys: bytes

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.starts)

    def event(self, index: int) -> bytes:
        """Return one encoded event."""
        return self.data[int(self.starts[index]) : int(self.ends[index])]


def raw_events(log: Log, index_of: BatchIndex, positions: U64, padding: int = 16) -> Iterator[RawEvents]:
    """Yield the events at ascending positions, some batches at a time.

    Parameters
    ----------
    log : Log
        The log.
    index_of : BatchIndex
        The record batches that have the events.
    positions : ndarray of uint64
        Positions of events.
    padding : int
        Zeros after the events.
    """
    for start in range(0, len(positions), _POSITIONS_AT_ONCE):
        batch, index = index_of.locate(positions[start : start + _POSITIONS_AT_ONCE])
        begin = np.flatnonzero(np.append(True, batch[1:] != batch[:-1]))
        groups = np.split(index, begin[1:])
        batches = index_of.first_positions[batch[begin]].tolist()
        for at in range(0, len(batches), _BATCHES_AT_ONCE):
            some = slice(at, at + _BATCHES_AT_ONCE)
            yield from _read(log, batches[some], groups[some], padding)


def _read(log: Log, batches: list[int], groups: list[NDArray[np.intp]], padding: int) -> Iterator[RawEvents]:
    rows = log.rows_at(batches)
    read = _Read()
    for body, indices in zip(log.bodies(batches), groups, strict=True):
        read.add(body, indices, key_bytes(read_rows(rows[body.first_position])[indices]))
        if read.size >= _BYTES_AT_ONCE or read.count >= _EVENTS_AT_ONCE:
            yield read.events(padding)
            read = _Read()
    if read.size:
        yield read.events(padding)


class _Read:
    """The events of some batches, while they are read."""

    def __init__(self) -> None:
        self.size = self.count = 0
        self._raw: list[bytes] = []
        self._keys: list[bytes] = []
        self._starts: list[NDArray[np.int64]] = []
        self._ends: list[NDArray[np.int64]] = []
        self._positions: list[NDArray[np.int64]] = []

    def add(self, body: Body, indices: NDArray[np.intp], keys: bytes) -> None:
        self.count += len(indices)
        self._keys.append(keys)
        self._positions.append(indices + body.first_position)
        at = 0
        while at < len(indices):
            number, first = body.block_of(int(indices[at]))
            block, stop = body.open_block(number), int(indices.searchsorted(body.bounds(number)[1]))
            within = indices[at:stop] - first
            self._starts.append(block.offsets[within] + self.size)
            self._ends.append(block.offsets[within + 1] + self.size)
            self._raw.append(block.raw)
            self.size += len(block.raw)
            at = stop

    def events(self, padding: int) -> RawEvents:
        return RawEvents(
            b"".join((*self._raw, bytes(padding))),
            np.concatenate(self._starts),
            np.concatenate(self._ends),
            np.concatenate(self._positions),
            b"".join(self._keys),
        )
