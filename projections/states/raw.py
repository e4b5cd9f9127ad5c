"""Reads the encoded events of a state together, for readers that decode many at once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.keys import KEY_SIZE, U64, KeyRow
from ...engine.log.batch import Body
from ...engine.log.contract import Log
from .fold import BatchIndex

_BATCHES_AT_ONCE = 256
_POSITIONS_AT_ONCE = 1 << 16
_BYTES_AT_ONCE = 4 * 1024 * 1024
_EVENTS_AT_ONCE = 16_384
"""Batches are read together until they have so many bytes, or so many events are wanted."""
_KEY = np.dtype((np.void, KEY_SIZE))


class RawEvents(msgspec.Struct, gc=False):
    """The encoded events of some frames, in one buffer.

    Attributes
    ----------
    data : buffer
        The events, which may have others in between, and some zeros.
    starts, ends : ndarray of int64, shape (n,)
        Where the events are in the buffer, ascending.
    positions : ndarray of int64, shape (n,)
        Their positions in the log.
    keys : bytes
        Joined keys of the frames.
    """

    data: bytes | memoryview
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    positions: NDArray[np.int64]
    keys: bytes

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.starts)

    def event(self, index: int) -> bytes:
        """Return one encoded event."""
        return bytes(self.data[int(self.starts[index]) : int(self.ends[index])])


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
    return (some.events(padding) for some in stored_events(log, index_of, positions))


def stored_events(log: Log, index_of: BatchIndex, positions: U64) -> Iterator[StoredEvents]:
    """Yield what `raw_events` yields as it is stored. The parameters are the same."""
    for start in range(0, len(positions), _POSITIONS_AT_ONCE):
        batch, index = index_of.locate(positions[start : start + _POSITIONS_AT_ONCE])
        begin = np.flatnonzero(np.append(True, batch[1:] != batch[:-1]))
        groups = np.split(index, begin[1:])
        batches = index_of.first_positions[batch[begin]].tolist()
        for at in range(0, len(batches), _BATCHES_AT_ONCE):
            some = slice(at, at + _BATCHES_AT_ONCE)
            yield from _read(log, batches[some], groups[some])


def _read(log: Log, batches: list[int], groups: list[NDArray[np.intp]]) -> Iterator[StoredEvents]:
    rows = log.rows_at(batches)
    read = StoredEvents()
    for body, indices in zip(log.bodies(batches), groups, strict=True):
        read.add(body, indices, rows[body.first_position])
        if read.size >= _BYTES_AT_ONCE or len(read) >= _EVENTS_AT_ONCE:
            yield read
            read = StoredEvents()
    if read.size:
        yield read


class StoredEvents:
    """The events of some batches, still compressed: another thread may open them."""

    def __init__(self) -> None:
        self.size = 0
        self._bodies: list[tuple[Body, NDArray[np.intp]]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._wanted: list[NDArray[np.int64]] = []
        self._keys: list[bytes] = []
        self._positions: list[NDArray[np.int64]] = []
        self._opened = self._events = 0

    def __len__(self) -> int:
        """Return the number of events."""
        return self._events

    def add(self, body: Body, indices: NDArray[np.intp], rows: bytes) -> None:
        """Add events of a batch, which has some key rows."""
        blocks, within = body.blocks_of(indices)
        counts, sizes = body.sizes_of(blocks)
        keys = np.ndarray(len(rows) // KeyRow.itemsize, _KEY, rows, strides=(KeyRow.itemsize,))
        self._bodies.append((body, blocks))
        self._counts.append(counts)
        self._sizes.append(sizes)
        self._wanted.append(within + self._opened)
        self._keys.append(keys[indices].tobytes())
        self._positions.append(indices + body.first_position)
        self._opened += int(counts.sum())
        self._events += len(indices)
        self.size += int(sizes.sum())

    def events(self, padding: int, buffer: bytearray | None = None) -> RawEvents:
        """Decompress the events.

        Parameters
        ----------
        padding : int
            Zeros after the events.
        buffer : bytearray, optional
            Where to put the events, if there is room.

        Raises
        ------
        IntegrityError
            A block is damaged.
        """
        whole = self.size + padding
        data = memoryview(bytearray(whole) if buffer is None or len(buffer) < whole else buffer)[:whole]
        heads, at = list[NDArray[np.uint32]](), 0
        for (body, blocks), counts in zip(self._bodies, self._counts, strict=True):
            for block, count in zip(blocks.tolist(), counts.tolist(), strict=True):
                raw = body.raw_block(block)
                # What a block begins with: the number of its events, and their lengths.
                heads.append(np.frombuffer(raw, "<u4", count + 1))
                data[at : at + len(raw)] = raw
                at += len(raw)
        data[at:] = bytes(padding)
        offsets = self._offsets(np.concatenate(heads, dtype=np.int64))
        wanted = np.concatenate(self._wanted)
        counts = np.concatenate(self._counts)
        places = wanted + np.repeat(np.arange(len(counts)), counts)[wanted]
        return RawEvents(
            data, offsets[places], offsets[places + 1], np.concatenate(self._positions), b"".join(self._keys)
        )

    def _offsets(self, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the events of each block begin, and where the last one ends."""
        counts = np.concatenate(self._counts)
        first = np.cumsum(counts + 1) - counts - 1
        fit = np.array_equal(heads[first], counts)
        heads[first] = 4 * (counts + 1)
        offsets = np.cumsum(heads)
        if not (fit and np.array_equal(offsets[first + counts], np.cumsum(np.concatenate(self._sizes)))):
            for body, blocks in self._bodies:
                for block in blocks.tolist():
                    body.open_block(block)  # raises for the one that is damaged
        return offsets
