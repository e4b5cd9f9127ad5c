"""Compares two states by key rows: frames added, removed and changed."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.keys import U64, Operation, Rows, join_halves
from .fingerprint import Fingerprint, buckets_of
from .fold import POSITION, TOMBSTONE, BatchIndex, State, event_positions

ReadFingerprint = Callable[[], Fingerprint]


class Outcome(IntEnum):
    """The difference of a frame between two states."""

    ADDED = 1
    REMOVED = 2
    CHANGED = 3


class Difference(msgspec.Struct, frozen=True):
    """Frames that differ between two states, as columns, in log order.

    Attributes
    ----------
    hi, lo : ndarray of uint64
        Halves of the frame keys.
    outcomes : ndarray of uint8
        `Outcome` of each frame.
    positions : ndarray of uint64
        Position of an event of each frame in one of the two versions.
    """

    hi: U64
    lo: U64
    outcomes: NDArray[np.uint8]
    positions: U64

    def of(self, outcome: Outcome) -> Difference:
        """Return the frames with one outcome."""
        return self.take(np.flatnonzero(self.outcomes == outcome))

    def take(self, at: slice | NDArray[np.intp]) -> Difference:
        """Return the frames at some indexes."""
        return Difference(self.hi[at], self.lo[at], self.outcomes[at], self.positions[at])

    def keys(self) -> bytes:
        """Return the concatenated keys."""
        return join_halves(self.hi, self.lo)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.hi)


def compare(
    old: State, new: State, old_fingerprint: ReadFingerprint, new_fingerprint: ReadFingerprint
) -> Difference:
    """Compare two states of one log.

    Shared history is skipped, so the cost depends on the number of changes since then. States that share little or nothing
    are compared by the buckets of their fingerprints.
    """
    boundary = _last_shared(old.batches, new.batches)
    tails = [_positions_after(state.batches, boundary) for state in (old, new)]
    if boundary and sum(map(len, tails)) <= old.total + new.total:
        return _compare_tails(old, new, tails)
    return _compare_wholes(old, new, old_fingerprint, new_fingerprint)


def _last_shared(old: BatchIndex, new: BatchIndex) -> int:
    """Return the position of the last event that two lists of batches share; 0 if there is none."""
    length = min(len(old.counts), len(new.counts))
    same = old.first_positions[:length] == new.first_positions[:length]
    shared = length if same.all() else int(np.argmin(same))
    if not shared:
        return 0
    # An earlier state may end inside a batch.
    last = shared - 1
    return int(old.first_positions[last] + min(old.counts[last], new.counts[last])) - 1


def _positions_after(batches: BatchIndex, boundary: int) -> U64:
    start = max(0, int(np.searchsorted(batches.first_positions, boundary, side="right")) - 1)
    positions = event_positions(batches.first_positions[start:], batches.counts[start:])
    return positions[positions > boundary]


class _Side(msgspec.Struct, frozen=True):
    """The effect of the events of one side since the shared history, for each key. `count` is 0 if there are none."""

    count: NDArray[np.int64]
    first_op: NDArray[np.uint8]
    last_op: NDArray[np.uint8]
    digests: NDArray[np.uint64]
    positions: U64

    @property
    def touched(self) -> NDArray[np.bool_]:
        """Which keys have events."""
        return self.count > 0

    def live(self, before: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which keys exist, given which keys existed in the shared history."""
        return np.where(self.touched, self.last_op != Operation.DELETE, before)


def _compare_tails(old: State, new: State, tails: list[U64]) -> Difference:
    hi, lo, sides = _fold_sides((old, new), tails)
    one, other = sides
    # An add has a key that did not exist, so the first event of either side shows whether it existed before.
    before = np.where(one.touched, one.first_op, other.first_op) != Operation.ADD
    was, is_now = one.live(before), other.live(before)
    both = was & is_now
    both[both] = ~_same_content(old, new, sides, hi, lo, np.flatnonzero(both))
    return _difference(hi, lo, sides, is_now & ~was, was & ~is_now, both)


def _fold_sides(states: tuple[State, State], positions: list[U64]) -> tuple[U64, U64, list[_Side]]:
    """Return the distinct keys of the events of both sides, and the effect of each side on them."""
    rows = [state.rows(found) for state, found in zip(states, positions, strict=True)]
    hi, lo, numbers = _number_keys(rows)
    of_side = np.split(numbers, [len(rows[0])])
    return hi, lo, [_fold_side(*side, len(hi)) for side in zip(rows, positions, of_side, strict=True)]


def _number_keys(rows: list[Rows]) -> tuple[U64, U64, NDArray[np.intp]]:
    """Return the distinct keys of the events of both sides, and the index of each event's key."""
    hi = np.concatenate([part["hi"].astype(np.uint64) for part in rows])
    lo = np.concatenate([part["lo"].astype(np.uint64) for part in rows])
    order = np.lexsort((lo, hi))
    hi, lo = hi[order], lo[order]
    is_new = np.append(np.ones(min(1, len(hi)), bool), (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]))
    numbers = np.empty(len(order), np.intp)
    numbers[order] = np.cumsum(is_new) - 1
    return hi[is_new], lo[is_new], numbers


def _fold_side(rows: Rows, positions: U64, numbers: NDArray[np.intp], keys: int) -> _Side:
    first_op, last_op = np.zeros(keys, np.uint8), np.zeros(keys, np.uint8)
    last_positions = np.zeros(keys, np.uint64)
    digests = np.zeros((keys, 2), np.uint64)
    # Events are in order, and of several assignments to one index the last one wins.
    last_op[numbers], last_positions[numbers] = rows["op"], positions
    first_op[numbers[::-1]] = rows["op"][::-1]
    digests[numbers, 0], digests[numbers, 1] = rows["digest_hi"], rows["digest_lo"]
    return _Side(np.bincount(numbers, minlength=keys), first_op, last_op, digests, last_positions)


def _same_content(
    old: State, new: State, sides: list[_Side], hi: U64, lo: U64, at: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Return which of the keys at some indexes, live in both states, have the same payload."""
    digests = [side.digests[at] for side in sides]
    for state, side, found in zip((old, new), sides, digests, strict=True):
        # A single event that keeps the frame changes it; otherwise it would not have been recorded.
        unknown = ~side.touched[at]
        others = sides[1] if side is sides[0] else sides[0]
        wanted = np.flatnonzero(unknown & (others.count[at] > 1))
        found[wanted] = _digests(state, hi[at[wanted]], lo[at[wanted]])
    return (digests[0] == digests[1]).all(axis=1)


def _digests(state: State, hi: U64, lo: U64) -> NDArray[np.uint64]:
    rows = state.rows(state.find(hi, lo) & POSITION)
    return np.column_stack((rows["digest_hi"].astype(np.uint64), rows["digest_lo"].astype(np.uint64)))


def _compare_wholes(
    old: State, new: State, old_fingerprint: ReadFingerprint, new_fingerprint: ReadFingerprint
) -> Difference:
    """Compare the frames of the buckets that differ, or of all buckets if the trees have different sizes."""
    trees = old_fingerprint(), new_fingerprint()
    differing = None
    if trees[0].bits == trees[1].bits:
        differing = (trees[0].buckets != trees[1].buckets).any(axis=1)
    positions = [_live_in(state, trees[0].bits, differing) for state in (old, new)]
    hi, lo, sides = _fold_sides((old, new), positions)
    one, other = sides
    both = one.touched & other.touched & (one.digests != other.digests).any(axis=1)
    return _difference(hi, lo, sides, ~one.touched, ~other.touched, both)


def _live_in(state: State, bits: int, buckets: NDArray[np.bool_] | None) -> U64:
    """Return the positions of the frames in some buckets, or of all frames."""
    run = state.settled()
    keep = run.positions < TOMBSTONE
    if buckets is not None:
        keep &= buckets[buckets_of(run.mixed, bits)]
    return run.positions[keep]


def _difference(
    hi: U64,
    lo: U64,
    sides: list[_Side],
    added: NDArray[np.bool_],
    removed: NDArray[np.bool_],
    changed: NDArray[np.bool_],
) -> Difference:
    """Return the keys that differ, in log order."""
    one, other = sides
    kinds = [Outcome.ADDED, Outcome.REMOVED, Outcome.CHANGED]
    outcomes = np.select([added, removed, changed], kinds, 0).astype(np.uint8)
    difference = Difference(hi, lo, outcomes, np.where(other.touched, other.positions, one.positions))
    differs = np.flatnonzero(outcomes)
    return difference.take(differs[np.argsort(difference.positions[differs], kind="stable")])
