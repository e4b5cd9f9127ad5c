"""The fingerprint of a version: a tree of digests of its content, independent of its history.

`docs/format.md` specifies the tree.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from ...engine.keys import DIGEST_SIZE, KEY_SIZE, U64, Rows
from .fold import EMPTY, TOMBSTONE, Run, State, settle_onto

BUCKET_FRAMES = 256
FAN_OUT = 256
_DIGEST_BYTES = 32
_ENTRY = np.dtype([("key", np.void, KEY_SIZE), ("digest", np.void, DIGEST_SIZE)])
_ROW = np.dtype([("key", np.void, KEY_SIZE), ("op", np.uint8), ("digest", np.void, DIGEST_SIZE)])
"""A `KeyRow` with bytes, which numpy copies several times as fast as numbers that are not aligned."""

_BUCKETS_AT_ONCE = 64
"""So many buckets are digested at a time: their entries take 0.5 MB."""

_ROOT = struct.Struct("<QB")


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """The fingerprint of one state.

    Attributes
    ----------
    root : str
        64 hex digits.
    total : int
        Number of frames.
    sizes : ndarray of int64, shape (2**bits,)
        Number of frames in each bucket.
    buckets : ndarray of uint8, shape (2**bits, 32)
        Digest of each bucket.
    position : int
        Position of the last event that it covers.
    """

    root: str
    total: int
    bits: int
    sizes: NDArray[np.int64]
    buckets: NDArray[np.uint8]
    position: int


def bucket_bits(total: int) -> int:
    """Return k, the number of bits of the mixed key that select a bucket. It depends only on the number of frames."""
    return max(0, -(-total // BUCKET_FRAMES) - 1).bit_length()


def fingerprint(state: State, known: Fingerprint | None = None) -> Fingerprint:
    """Compute the fingerprint of a state. With an earlier fingerprint, only changed buckets are computed."""
    if known is not None and known.bits == bucket_bits(state.total) and known.position <= state.last_position:
        parts = state.parts()
        changed = [run.mixed[_newer(run.positions, known.position)] for run in parts]
        touched = np.unique(buckets_of(np.concatenate(changed), known.bits))
        found = _digested(state, parts, known.bits, touched, known.sizes.copy(), known.buckets.copy())
        # The operations of a log that others wrote may not add up.
        if bucket_bits(found.total) == known.bits:
            return found
    run = state.settled()
    bits = bucket_bits(int(np.count_nonzero(run.positions < TOMBSTONE)))
    sizes, buckets = np.empty(1 << bits, np.int64), np.empty((1 << bits, _DIGEST_BYTES), np.uint8)
    return _digested(state, (run, EMPTY), bits, np.arange(1 << bits), sizes, buckets)


def _bucket_starts(bits: int) -> U64:
    return np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.zeros(1, np.uint64)


def buckets_of(mixed: U64, bits: int) -> NDArray[Any]:
    """Return the bucket of each mixed key."""
    return (mixed >> np.uint64(64 - bits)).astype(np.intp) if bits else np.zeros(len(mixed), np.intp)


def _newer(marked: U64, position: int) -> NDArray[np.bool_]:
    """Return which events come after a position, without a copy of all positions: large ones cost more than the comparisons."""
    earlier_delete = (marked >= TOMBSTONE) & (marked <= (TOMBSTONE | np.uint64(position)))
    return (marked > np.uint64(position)) & ~earlier_delete


def _digested(
    state: State,
    parts: tuple[Run, Run],
    bits: int,
    touched: NDArray[Any],
    sizes: NDArray[np.int64],
    buckets: NDArray[np.uint8],
) -> Fingerprint:
    """Return the fingerprint of a state, with the sizes and digests of some buckets computed anew."""
    starts = _bucket_starts(bits)
    bounds = [np.append(np.searchsorted(run.mixed, starts), len(run)) for run in parts]
    lookups = sum(int((bound[touched + 1] - bound[touched]).sum()) for bound in bounds)
    read_rows = state.row_reader(lookups)
    for start in range(0, len(touched), _BUCKETS_AT_ONCE):
        some = touched[start : start + _BUCKETS_AT_ONCE]
        first, later = (_within(run, bound, some) for run, bound in zip(parts, bounds, strict=True))
        run = settle_onto(first, later, read_rows)
        live = run.positions < TOMBSTONE
        entries = _entries(read_rows(run.positions[live]))
        ends = np.searchsorted(run.mixed[live], starts[some][1:])
        ends = np.concatenate(([0], ends, [np.count_nonzero(live)]))
        sizes[some] = np.diff(ends)
        digests = [
            blake3(entries[begin:end]).digest() for begin, end in pairwise((ends * _ENTRY.itemsize).tolist())
        ]
        buckets[some] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES)
    total = int(sizes.sum())
    return Fingerprint(_root(buckets, total, bits), total, bits, sizes, buckets, state.last_position)


def _within(run: Run, bounds: NDArray[Any], buckets: NDArray[Any]) -> Run:
    """Return the entries of a run in some buckets."""
    if not len(run):
        return run
    starts, counts = bounds[buckets], bounds[buckets + 1] - bounds[buckets]
    ends = np.cumsum(counts)
    at = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1])
    return Run(run.mixed[at], run.positions[at])


def _entries(rows: Rows) -> memoryview:
    """Return the key and the digest of each frame, joined."""
    rows = rows.view(_ROW)
    entries = np.empty(len(rows), _ENTRY)
    for part in ("key", "digest"):
        entries[part] = rows[part]
    return entries.view(np.uint8).data


def _root(buckets: NDArray[np.uint8], total: int, bits: int) -> str:
    level = buckets.tobytes()
    step = FAN_OUT * _DIGEST_BYTES
    while len(level) > _DIGEST_BYTES:
        level = b"".join(blake3(level[start : start + step]).digest() for start in range(0, len(level), step))
    return blake3(b"framelode fingerprint 1" + _ROOT.pack(total, bits) + level).hexdigest()
