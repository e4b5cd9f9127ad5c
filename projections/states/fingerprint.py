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

from ...engine.keys import DIGEST_SIZE, KEY_SIZE, U64, KeyRow
from .fold import TOMBSTONE, State

BUCKET_FRAMES = 256
FAN_OUT = 256
_DIGEST_BYTES = 32
_ENTRY_BYTES = KEY_SIZE + DIGEST_SIZE

_BUCKETS_AT_ONCE = 128
"""So many buckets are digested at a time: their entries take 1 MB."""

_ROOT = struct.Struct("<QB")


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """The fingerprint of one state.

    Attributes
    ----------
    root : str
        64 hex digits.
    total : int
        Number of frames.
    buckets : ndarray of uint8, shape (2**bits, 32)
        Digest of each bucket.
    position : int
        Position of the last event that it covers.
    """

    root: str
    total: int
    bits: int
    buckets: NDArray[np.uint8]
    position: int


def bucket_bits(total: int) -> int:
    """Return k, the number of bits of the mixed key that select a bucket. It depends only on the number of frames."""
    return max(0, -(-total // BUCKET_FRAMES) - 1).bit_length()


def fingerprint(state: State, known: Fingerprint | None = None) -> Fingerprint:
    """Compute the fingerprint of a state. With an earlier fingerprint, only changed buckets are computed."""
    run = state.settled()
    total = int(np.count_nonzero(run.positions < TOMBSTONE))
    bits = bucket_bits(total)
    bounds = np.append(np.searchsorted(run.mixed, _bucket_starts(bits), side="left"), len(run))
    if known is not None and known.bits == bits and known.position <= state.last_position:
        buckets = known.buckets.copy()
        touched = np.unique(buckets_of(run.mixed[_newer(run.positions, known.position)], bits))
    else:
        buckets = np.empty((1 << bits, _DIGEST_BYTES), np.uint8)
        touched = np.arange(1 << bits)
    _digest_buckets(state, run.positions, bounds, touched, buckets)
    return Fingerprint(_root(buckets, total, bits), total, bits, buckets, state.last_position)


def _bucket_starts(bits: int) -> U64:
    return np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.zeros(1, np.uint64)


def buckets_of(mixed: U64, bits: int) -> NDArray[Any]:
    """Return the bucket of each mixed key."""
    return (mixed >> np.uint64(64 - bits)).astype(np.intp) if bits else np.zeros(len(mixed), np.intp)


def _newer(marked: U64, position: int) -> NDArray[np.bool_]:
    """Return which events come after a position, without a copy of all positions: large ones cost more than the comparisons."""
    earlier_delete = (marked >= TOMBSTONE) & (marked <= (TOMBSTONE | np.uint64(position)))
    return (marked > np.uint64(position)) & ~earlier_delete


def _digest_buckets(
    state: State,
    marked: U64,
    bounds: NDArray[Any],
    touched: NDArray[Any],
    buckets: NDArray[np.uint8],
) -> None:
    for some in np.split(touched, range(_BUCKETS_AT_ONCE, len(touched), _BUCKETS_AT_ONCE)):
        starts, stops = bounds[some], bounds[some + 1]
        sizes = stops - starts
        ends = np.cumsum(sizes)
        at = np.repeat(starts - (ends - sizes), sizes) + np.arange(int(ends[-1]) if len(ends) else 0)
        positions = marked[at]
        live = positions < TOMBSTONE
        entries = _entries(state, positions[live]).reshape(-1).data
        stops = np.append(0, np.cumsum(live))[np.append(0, ends)] * _ENTRY_BYTES
        digests = [blake3(entries[start:stop]).digest() for start, stop in pairwise(stops.tolist())]
        buckets[some] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES)


def _entries(state: State, positions: U64) -> NDArray[np.uint8]:
    """Return the key and the digest of each frame; shape (n, 32)."""
    rows = state.rows(positions).view(np.uint8).reshape(-1, KeyRow.itemsize)
    return np.concatenate((rows[:, :KEY_SIZE], rows[:, -DIGEST_SIZE:]), axis=1)


def _root(buckets: NDArray[np.uint8], total: int, bits: int) -> str:
    level = buckets.tobytes()
    step = FAN_OUT * _DIGEST_BYTES
    while len(level) > _DIGEST_BYTES:
        level = b"".join(blake3(level[start : start + step]).digest() for start in range(0, len(level), step))
    return blake3(b"framelode fingerprint 1" + _ROOT.pack(total, bits) + level).hexdigest()
