"""The frames of a version: the vectorized replay of their events, and lookups in the result.

A state consists of sorted mixed keys and positions, 16 bytes per frame. A mixed key is the upper 48 bits of the mix of a
key, so that two frames may have the same one. Such collisions are resolved with the full keys from the log. More bits
would only make snapshots larger: of a million frames two share a mixed key in one of 560 versions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine import forks
from ...engine.errors import IntegrityError
from ...engine.keys import U64, Operation, Rows, key_columns, mix, mix_one

TOMBSTONE = np.uint64(1 << 63)
"""Bit that marks the position of a delete."""

POSITION = np.uint64((1 << 63) - 1)

MIXED_BITS = np.uint64(0xFFFF_FFFF_FFFF_0000)
"""The bits of a mix that a state keeps."""

_FEW_EQUAL = 4

_SEARCHED = 16
"""Positions are searched one by one if they are fewer than one in so many."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """The replay of some events: sorted mixed keys, each with the marked position of its last event.

    In a run made by `merge`, older events of a key may precede its newest one.
    """

    mixed: U64
    positions: U64

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.mixed)


EMPTY = Run(np.empty(0, np.uint64), np.empty(0, np.uint64))


def fold_rows(rows: Rows, positions: U64) -> Run:
    """Replay key rows at ascending positions, vectorized."""
    hi, lo = rows["hi"].astype(np.uint64), rows["lo"].astype(np.uint64)
    marked = np.where(rows["op"] == Operation.DELETE, positions | TOMBSTONE, positions)
    mixed = mix(hi, lo)
    order = stable_order(mixed)
    mixed = mixed[order]
    same = mixed[1:] == mixed[:-1]
    if not same.any():
        mixed &= MIXED_BITS
        return Run(mixed, marked[order])
    hi, lo = hi[order], lo[order]
    if ((hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]))[same].any():
        again = np.lexsort((positions[order], lo, hi, mixed))
        order, mixed, hi, lo = order[again], mixed[again], hi[again], lo[again]
    last = np.append((mixed[1:] != mixed[:-1]) | (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]), True)
    return Run(mixed[last] & MIXED_BITS, marked[order][last])


def stable_order(numbers: U64) -> NDArray[np.intp]:
    """Return the indexes that sort numbers, with equal ones in their order. Fast if few are equal.

    An unstable sort is several times faster than a stable one.
    """
    order = np.argsort(numbers)
    ordered = numbers[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return order
    meeting = np.append(same, False)
    meeting[1:] |= same
    at = np.flatnonzero(meeting)
    if _FEW_EQUAL * len(at) > len(numbers):
        return np.argsort(numbers, kind="stable")
    order[at] = order[at][np.lexsort((order[at], ordered[at]))]
    return order


def merge(runs: Sequence[Run]) -> Run:
    """Merge runs by mixed key, then position, without dropping entries."""
    runs = [run for run in runs if len(run)]
    if len(runs) < 2:
        return runs[0] if runs else EMPTY
    mixed = np.concatenate([run.mixed for run in runs])
    positions = np.concatenate([run.positions for run in runs])
    # Runs are in order of position, so a stable sort keeps older entries before newer ones.
    order = np.argsort(mixed, kind="stable")
    return Run(mixed[order], positions[order])


def settle(run: Run, read_rows: Callable[[U64], Rows]) -> Run:
    """Keep the newest event of each key of a merged run, in key order. Full keys are read only for equal mixed keys."""
    same = run.mixed[1:] == run.mixed[:-1]
    if not same.any():
        return run
    meeting = np.zeros(len(run), bool)
    meeting[1:] |= same
    meeting[:-1] |= same
    at = np.flatnonzero(meeting)
    rows = read_rows(run.positions[at] & POSITION)
    hi, lo = rows["hi"].astype(np.uint64), rows["lo"].astype(np.uint64)
    order = np.lexsort((run.positions[at] & POSITION, lo, hi, mix(hi, lo)))
    hi, lo, mixed = hi[order], lo[order], run.mixed[at][order]
    keep = np.ones(len(run), bool)
    keep[at] = np.append((mixed[1:] != mixed[:-1]) | (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]), True)
    positions = run.positions.copy()
    positions[at] = positions[at][order]
    return Run(run.mixed[keep], positions[keep])


def settle_onto(run: Run, later: Run, read_rows: Callable[[U64], Rows]) -> Run:
    """Return the same as `settle` of both merged, for settled runs. If `later` is short, this is faster than to sort both."""
    if not (len(run) and len(later)):
        return later if len(later) else run
    at = np.searchsorted(run.mixed, later.mixed)
    is_known = run.mixed[np.minimum(at, len(run) - 1)] == later.mixed
    if not _same_keys(run, at[is_known], later, is_known, read_rows):
        return settle(merge([run, later]), read_rows)
    is_new = ~is_known
    mixed = np.insert(run.mixed, at[is_new], later.mixed[is_new])
    positions = np.insert(run.positions, at[is_new], later.positions[is_new])
    positions[(at + np.cumsum(is_new))[is_known]] = later.positions[is_known]
    return Run(mixed, positions)


def _same_keys(
    run: Run, at: NDArray[np.intp], later: Run, is_known: NDArray[np.bool_], read_rows: Callable[[U64], Rows]
) -> bool:
    """Whether the entries of two runs with the same mixed keys have the same keys, which no other entry has."""
    beside = np.minimum(at + 1, len(run) - 1)
    if (run.mixed[beside] == run.mixed[at])[beside > at].any() or (later.mixed[1:] == later.mixed[:-1]).any():
        return False
    rows = read_rows(np.concatenate((run.positions[at], later.positions[is_known])) & POSITION)
    before, after = rows[: len(at)], rows[len(at) :]
    return bool(((before["hi"] == after["hi"]) & (before["lo"] == after["lo"])).all())


def live_positions(run: Run) -> U64:
    """Return the positions of the frames of a settled run, without deletes, in key order."""
    return run.positions[run.positions < TOMBSTONE]


class State:
    """The state of one version, extended batch by batch.

    Parameters
    ----------
    runs : sequence of Run
        Replayed events, oldest first. Runs of a parent are shared and never changed.
    batches : BatchIndex
        The record batches of the version and its ancestors.
    total : int
        Number of frames.
    position, version : int
        The log position and stream version that the state has reached.
    unsaved : int
        Number of events since a snapshot was loaded or requested.
    read_keys : callable
        Function that reads full keys from the log.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        batches: BatchIndex,
        total: int,
        position: int,
        version: int,
        read_rows: ReadRows,
    ) -> None:
        self._runs = tuple(run for run in runs if len(run))
        self.batches = batches
        self.total = total
        self.position = position
        self.version = version
        self._read_rows = read_rows
        self.unsaved = 0
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._parts: tuple[Run, Run] | None = None
        # One thread may settle the state for reading while another one advances it.
        self._lock = threading.Lock()

    @property
    def entries(self) -> int:
        """Number of entries in all runs."""
        return sum(map(len, self._runs))

    @property
    def last_position(self) -> int:
        """Position of the last event; 0 if there is none."""
        batches = self.batches
        return int(batches.first_positions[-1] + batches.counts[-1]) - 1 if len(batches.counts) else 0

    def advance(self, rows: Rows, first_positions: U64, counts: U64) -> None:
        """Apply the next batches of the version's stream to the state."""
        newest = fold_rows(rows, event_positions(first_positions, counts))
        with self._lock:
            # Before the runs, so that readers who find an event can locate it.
            self.batches = self.batches.extended(first_positions, counts)
            runs = [*self._runs, newest]
            # Adjacent runs of equal size are merged, so there are at most log2(n) runs, and each event is moved as often.
            while len(runs) > 1 and 2 * len(runs[-1]) > len(runs[-2]):
                runs[-2:] = [merge(runs[-2:])]
            self._runs = tuple(runs)
            self._parts = None
            self.total += _balance(rows)
            self.unsaved += len(rows)

    def find(self, hi: U64, lo: U64) -> U64:
        """Return the marked position of the last event of each key; 0 for an unknown key."""
        mixed = mix(hi, lo) & MIXED_BITS
        found = np.zeros(len(mixed), np.uint64)
        for run in self._runs:
            at = np.searchsorted(run.mixed, mixed, side="right") - 1
            hit = np.flatnonzero((run.mixed[np.maximum(at, 0)] == mixed) & (at >= 0))
            # Later runs have later events, so the last hit wins.
            found[hit] = run.positions[at[hit]]
        self._verify(found, mixed, hi, lo)
        return found

    def locate(self, key: bytes) -> tuple[int, int, int]:
        """Return the result of `find` for one key, with the first position of its batch and its index there; zeros if unknown.

        It is faster than arrays of length one.
        """
        mixed = mix_one(key) & int(MIXED_BITS)
        for run in reversed(self._runs):
            at = int(run.mixed.searchsorted(np.uint64(mixed), side="right")) - 1
            if at >= 0 and int(run.mixed[at]) == mixed:
                marked = int(run.positions[at])
                first, place = self.batches.locate_one(marked & int(POSITION))
                if self._read_rows.key_at(first, place) != key:
                    # Several frames share the mixed key.
                    marked = int(self.find(*key_columns(key))[0])
                    first, place = self.batches.locate_one(marked & int(POSITION)) if marked else (0, 0)
                return marked, first, place
        return 0, 0, 0

    def _verify(self, found: U64, mixed: U64, hi: U64, lo: U64) -> None:
        hits = np.flatnonzero(found)
        if not len(hits):
            return
        stored = self.rows(found[hits] & POSITION)
        for index in hits[(stored["hi"] != hi[hits]) | (stored["lo"] != lo[hits])].tolist():
            found[index] = self._find_among_equal(mixed[index], hi[index], lo[index])

    def _find_among_equal(self, mixed: Any, hi: Any, lo: Any) -> np.uint64:
        """Search all entries of one mixed key that several frames share."""
        spans: list[U64] = []
        for run in self._runs:
            start, stop = (np.searchsorted(run.mixed, mixed, side) for side in ("left", "right"))
            spans.append(run.positions[int(start) : int(stop)])
        candidates = np.concatenate(spans)
        stored = self.rows(candidates & POSITION)
        own = candidates[(stored["hi"] == hi) & (stored["lo"] == lo)]
        return own[np.argmax(own & POSITION)] if len(own) else np.uint64(0)

    def rows(self, positions: U64) -> Rows:
        """Return the key rows of the events at some positions of the version or its ancestors."""
        return self._read_rows(self.batches, positions)

    def row_reader(self, lookups: int) -> Callable[[U64], Rows]:
        """Return a function that does what `rows` does, for so many positions in all."""
        return partial(self._read_rows, self.batches.prepared(lookups))

    def settled(self) -> Run:
        """Return the state as one run with one entry per key, including deletes."""
        with self._lock:
            first, later = self._settled_parts()
            if len(later):
                first = settle_onto(first, later, self.rows)
                self._runs, self._parts = (first,), (first, EMPTY)
            return first

    def parts(self) -> tuple[Run, Run]:
        """Return the state as two settled runs, a usually long one and what came after it. `settle_onto` joins them."""
        with self._lock:
            return self._settled_parts()

    def _settled_parts(self) -> tuple[Run, Run]:
        if self._parts is None:
            first, later = (settle(merge(runs), self.rows) for runs in (self._runs[:1], self._runs[1:]))
            self._parts = first, later
            self._runs = tuple(run for run in self._parts if len(run))
        return self._parts

    def branch(self, position: int) -> State:
        """Return the state of a new child, which shares the content of this one."""
        with self._lock:
            child = State(self._runs, self.batches, self.total, position, 0, self._read_rows)
            child._parts, child.unsaved = self._parts, self.unsaved
        return child


class BatchIndex(msgspec.Struct, frozen=True, gc=False):
    """First positions and counts of record batches, in ascending order.

    Attributes
    ----------
    numbers : ndarray of int32, optional
        The index of the batch of each position from the first one on.
    """

    first_positions: U64
    counts: U64
    numbers: NDArray[np.int32] | None = None

    def prepared(self, lookups: int) -> BatchIndex:
        """Return the index for so many lookups. A look into a table of all positions takes a tenth of a search."""
        firsts = self.first_positions
        span = int(firsts[-1] - firsts[0]) + 1 if len(firsts) else 0
        if self.numbers is not None or not 0 < span < _SEARCHED * lookups:
            return self
        lengths = np.diff(firsts.astype(np.int64), append=int(firsts[-1]) + 1)
        if (lengths < 0).any():
            return self  # A damaged table returns the batches out of order.
        return BatchIndex(firsts, self.counts, np.repeat(np.arange(len(firsts), dtype=np.int32), lengths))

    def extended(self, first_positions: U64, counts: U64) -> BatchIndex:
        """Return the index with later batches added."""
        return BatchIndex(
            np.concatenate((self.first_positions, first_positions)), np.concatenate((self.counts, counts))
        )

    def locate_one(self, position: int) -> tuple[int, int]:
        """Return the result of `locate` for one position."""
        at = int(self.first_positions.searchsorted(np.uint64(position), side="right")) - 1
        if at < 0 or position - int(self.first_positions[at]) >= int(self.counts[at]):
            raise _not_in_a_batch(position)
        first = int(self.first_positions[at])
        return first, position - first

    def locate(self, positions: U64) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Return the index of the batch of each position, and the index of the event in the batch.

        Raises
        ------
        IntegrityError
            A position is in none of the batches.
        """
        firsts, numbers = self.first_positions, self.prepared(len(positions)).numbers
        if len(positions) and not len(firsts):
            raise _not_in_a_batch(int(positions[0]))
        if numbers is None:
            at = np.searchsorted(firsts, positions, side="right") - 1
        else:
            at = numbers[np.minimum(positions - firsts[0], len(numbers) - 1).astype(np.intp)]
        # Before the first batch the difference wraps around, to more than any count.
        index = positions - firsts[at]
        outside = index >= self.counts[at]
        if outside.any():
            raise _not_in_a_batch(int(positions[outside][0]))
        return at, index.astype(np.intp)


def _not_in_a_batch(position: int) -> IntegrityError:
    return IntegrityError(f"no batch contains position {position}", position=position)


NO_BATCHES = BatchIndex(np.empty(0, np.uint64), np.empty(0, np.uint64))


class ReadRows(Protocol):
    """Reads key rows from the log."""

    def __call__(self, batches: BatchIndex, positions: U64) -> Rows:
        """Return the rows of the events at some positions."""
        ...

    def key_at(self, first_position: int, place: int) -> bytes:
        """Return the key of one event of a batch."""
        ...


def event_positions(first_positions: U64, counts: U64) -> U64:
    """Return the position of every event of some batches."""
    ends = np.cumsum(counts)
    offsets = np.repeat(first_positions - (ends - counts), counts.astype(np.intp))
    return offsets + np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.uint64)


def _balance(rows: Rows) -> int:
    counts = count_operations(rows)
    return int(counts[Operation.ADD] - counts[Operation.DELETE])


def count_operations(rows: Rows) -> NDArray[Any]:
    """Return the number of adds, updates and deletes in key rows, indexed by `Operation`."""
    return np.bincount(rows["op"], minlength=Operation.DELETE + 1)
