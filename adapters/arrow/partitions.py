"""A version as a Dask data frame: each partition is read from the log by the worker that needs it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ...engine.errors import UsageError
from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.log.worker_log import WorkerLog, worker_log
from ...engine.validation import at_least
from ...projections.states.fold import BatchIndex, State
from .reader import read_batches
from .schema import Columns


class Partition(msgspec.Struct, frozen=True):
    """Some frames of a version.

    Attributes
    ----------
    log : WorkerLog
        Opens the log.
    batches : BatchIndex
        The record batches that have the events.
    positions : ndarray of uint64
        Positions of the events, ascending.
    columns : Columns
        The columns.
    """

    log: WorkerLog
    batches: BatchIndex
    positions: U64
    columns: Columns


def dask_frame(log: Log, state: State, positions: U64, columns: Columns, rows: int) -> Any:
    """Return the frames at ascending positions as a Dask data frame with partitions of so many rows."""
    try:
        from dask import dataframe
    except ImportError as error:
        raise UsageError(
            "to_dask needs the libraries dask and pandas: pip install 'framelode[arrow,dask]' pandas"
        ) from error
    size, opened = at_least(rows, "partition_rows", 1), worker_log(log)
    starts = range(0, max(1, len(positions)), size)
    partitions = [
        Partition(opened, _batches_of(state.batches, some), some, columns)
        for some in (positions[start : start + size] for start in starts)
    ]
    meta = _pandas(columns.schema.empty_table())
    return dataframe.from_map(read_partition, partitions, meta=meta, label="framelode")  # type: ignore[attr-defined]


def read_partition(partition: Partition) -> Any:
    """Return a partition as a data frame of pandas."""
    columns = partition.columns
    with partition.log() as log:
        batches = list(read_batches(log, partition.batches, partition.positions, columns))
    return _pandas(pa.Table.from_batches(batches, columns.schema))


def _batches_of(batches: BatchIndex, positions: U64) -> BatchIndex:
    """Return the batches that have positions."""
    if not len(positions):
        return BatchIndex(batches.first_positions[:0], batches.counts[:0])
    held, _ = batches.locate(positions)
    some = np.unique(held)
    return BatchIndex(batches.first_positions[some], batches.counts[some])


def _pandas(table: pa.Table) -> Any:
    """Return a table as a data frame whose columns have the types of Arrow, whatever is missing in them."""
    import pandas as pd

    return table.to_pandas(types_mapper=pd.ArrowDtype)
