"""The frames of a version as a stream of batches of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.log.shred import PADDING
from ...engine.parallel import ahead
from ...projections.states.fold import BatchIndex, State
from ...projections.states.raw import RawEvents, StoredEvents, stored_events
from .decoder import columns_of
from .schema import Columns

_THREADS = 2
"""Both wait for the lock of the interpreter about half of the time, so that more would wait longer."""

Decoded = TypeVar("Decoded")


def decoded(
    log: Log, index: BatchIndex, positions: U64, decode: Callable[[RawEvents], Decoded]
) -> Iterator[Decoded]:
    """Yield what is decoded of the events at ascending positions, some batches of the log at a time.

    Parameters
    ----------
    log : Log
        The log.
    index : BatchIndex
        The record batches that have the events.
    positions : ndarray of uint64
        Positions of events.
    decode : callable
        Called with some events, in a thread. It must not keep them: their buffer is used again, since fresh memory takes longer
        than what is done with it.
    """
    spare: list[bytearray] = []

    def work(stored: StoredEvents) -> Decoded:
        buffer = spare.pop() if spare else bytearray()
        size = stored.size + PADDING
        if len(buffer) < size:
            buffer = bytearray(size + size // 8)
        result = decode(stored.events(PADDING, buffer))
        spare.append(buffer)
        return result

    return ahead(work, stored_events(log, index, positions), _THREADS)


def read_batches(log: Log, index: BatchIndex, positions: U64, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yield the frames at ascending positions as batches of columns."""
    return decoded(log, index, positions, lambda events: columns_of(events, columns))


def table_reader(log: Log, state: State, positions: U64, columns: Columns) -> Any:
    """Return the frames at ascending positions as a `pyarrow.RecordBatchReader`."""
    return pa.RecordBatchReader.from_batches(
        columns.schema, read_batches(log, state.batches, positions, columns)
    )
