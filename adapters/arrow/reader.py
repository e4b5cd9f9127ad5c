"""The frames of a version as a stream of batches of columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pyarrow as pa

from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.log.shred import PADDING
from ...engine.parallel import one_ahead
from ...projections.states.fold import BatchIndex, State
from ...projections.states.raw import RawEvents, raw_events
from .decoder import columns_of
from .schema import Columns


def read_events(log: Log, index: BatchIndex, positions: U64) -> Iterator[RawEvents]:
    """Yield the events at ascending positions; a few batches of the log are in memory at a time."""
    raw = raw_events(log, index, positions, PADDING)
    for events in one_ahead(lambda source: next(source, None), repeat(raw)):
        if events is None:
            return
        yield events


def read_batches(log: Log, index: BatchIndex, positions: U64, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yield the frames at ascending positions as batches of columns."""
    return (columns_of(events, columns) for events in read_events(log, index, positions))


def table_reader(log: Log, state: State, positions: U64, columns: Columns) -> Any:
    """Return the frames at ascending positions as a `pyarrow.RecordBatchReader`."""
    return pa.RecordBatchReader.from_batches(
        columns.schema, read_batches(log, state.batches, positions, columns)
    )
