"""Reads the encoded events of a state together, for readers that decode many at once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.keys import U64, key_bytes, read_rows
from ...engine.log.contract import Log
from .fold import BatchIndex

_BATCHES_AT_ONCE = 8
_POSITIONS_AT_ONCE = 1 << 16


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
            yield _read(log, batches[some], groups[some], padding)


def _read(log: Log, batches: list[int], groups: list[NDArray[np.intp]], padding: int) -> RawEvents:
    rows = log.rows_at(batches)
    raw: list[bytes] = []
    keys: list[bytes] = []
    starts: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    base = 0
    for body, indices in zip(log.bodies(batches), groups, strict=True):
        keys.append(key_bytes(read_rows(rows[body.first_position])[indices]))
        at = 0
        while at < len(indices):
            number, first = body.block_of(int(indices[at]))
            block, stop = body.open_block(number), int(indices.searchsorted(body.bounds(number)[1]))
            within = indices[at:stop] - first
            starts.append(block.offsets[within] + base)
            ends.append(block.offsets[within + 1] + base)
            raw.append(block.raw)
            base += len(block.raw)
            at = stop
    positions = [indices + first for indices, first in zip(groups, batches, strict=True)]
    return RawEvents(
        b"".join((*raw, bytes(padding))),
        np.concatenate(starts),
        np.concatenate(ends),
        np.concatenate(positions),
        b"".join(keys),
    )
