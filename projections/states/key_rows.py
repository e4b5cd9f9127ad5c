"""Reads the key rows of events by position."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...engine import forks
from ...engine.keys import KEY_SIZE, U64, KeyRow, Rows
from ...engine.log.contract import Log
from .fold import BatchIndex

_RAW_ROW = np.dtype((np.void, KeyRow.itemsize))
"""numpy copies plain bytes ten times as fast as fields."""

_MOST_ROWS = 64 * 1024 * 1024 // KeyRow.itemsize
_ROWS_AT_ONCE = 1 << 20


class _Kept(NamedTuple):
    """Rows of some batches, one after the other, and where those of each batch begin, by first position."""

    rows: NDArray[Any]
    offsets: dict[int, int]


class KeyRows:
    """Reads key rows by position. Those of batches that were read are kept, side by side, until they are too many.

    Parameters
    ----------
    log : Log
        The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        forks.renewed(self.forget)

    def forget(self) -> None:
        """Read everything anew."""
        self._kept = _Kept(np.empty(0, _RAW_ROW), {})
        self._used = 0
        self._lock = threading.Lock()

    def __call__(self, batches: BatchIndex, positions: U64) -> Rows:
        """Return the rows of the events at `positions`, in that order."""
        if not len(positions):
            return np.empty(0, KeyRow)
        batch, index = batches.locate(positions)
        wanted = np.flatnonzero(np.bincount(batch))
        found = np.empty(len(positions), _RAW_ROW)
        ends = np.cumsum(batches.counts[wanted]) // np.uint64(_ROWS_AT_ONCE)
        for some in np.split(wanted, np.flatnonzero(np.diff(ends)) + 1):
            firsts = batches.first_positions[some].tolist()
            kept = self._keep(firsts)
            begins = np.zeros(int(some[-1] - some[0]) + 1, np.intp)
            begins[some - some[0]] = [kept.offsets[first] for first in firsts]
            if len(some) == len(wanted):
                # Into the result itself, without another copy; an index beyond its batch was refused above.
                kept.rows.take(begins[batch - some[0]] + index, out=found, mode="clip")
            else:
                asked = (batch >= some[0]) & (batch <= some[-1])
                found[asked] = kept.rows.take(begins[batch[asked] - some[0]] + index[asked])
        return found.view(KeyRow)

    def key_at(self, first_position: int, place: int) -> bytes:
        """Return the key of one event of a batch."""
        kept = self._kept
        if first_position not in kept.offsets:
            kept = self._keep([first_position])
        at = kept.offsets[first_position] + place
        return kept.rows[at : at + 1].tobytes()[:KEY_SIZE]

    def _keep(self, first_positions: Sequence[int]) -> _Kept:
        """Return rows with those of some batches among them."""
        kept = self._kept
        while missing := [first for first in first_positions if first not in kept.offsets]:
            # Not under the lock, because another thread may hold the database and wait for it.
            read = self._log.rows_at(missing)
            with self._lock:
                kept = self._add(read)
        return kept

    def _add(self, read: dict[int, bytes]) -> _Kept:
        """Keep what was read, alone if it is too much. What other threads use meanwhile does not change."""
        rows, offsets = self._kept
        new = {first: np.frombuffer(keys, _RAW_ROW) for first, keys in read.items() if first not in offsets}
        total = self._used + sum(map(len, new.values()))
        if total > len(rows):
            if total > _MOST_ROWS:
                offsets, self._used = dict[int, int](), 0
            grown = np.empty(max(total, min(2 * total, _MOST_ROWS)), _RAW_ROW)
            grown[: self._used] = rows[: self._used]
            rows, offsets = grown, dict(offsets)
        for first, some in new.items():
            rows[self._used : self._used + len(some)] = some
            offsets[first] = self._used
            self._used += len(some)
        self._kept = _Kept(rows, offsets)
        return self._kept
