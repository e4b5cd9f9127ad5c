"""Frame keys: the 16 bytes that identify a frame in the log, and the key rows.

`docs/format.md` specifies the layout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

KEY_SIZE = 16
DIGEST_SIZE = 16

KeyRow = np.dtype(
    [("hi", ">u8"), ("lo", ">u8"), ("op", "u1"), ("digest_hi", ">u8"), ("digest_lo", ">u8")],
    align=False,
)
"""An event of a frame batch: key, operation, payload digest; 33 bytes."""


U64 = NDArray[np.uint64]
Rows = NDArray[np.void]

_MULTIPLIER_LO = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_ALL_BITS = (1 << 64) - 1
_HALVES = struct.Struct(">QQ")


class Operation(IntEnum):
    """Effect of an event on its frame."""

    ADD = 1
    UPDATE = 2
    DELETE = 3


def is_plain_id(frame_id: str) -> bool:
    """Whether an id is exactly 32 lowercase hex digits. Such an id is its own key."""
    try:
        return len(frame_id) == 2 * KEY_SIZE and bytes.fromhex(frame_id).hex() == frame_id
    except ValueError:
        return False


def frame_key(frame_id: str) -> bytes:
    """Return the 16-byte key of a frame id."""
    if is_plain_id(frame_id):
        return bytes.fromhex(frame_id)
    return blake3(frame_id.encode()).digest(length=KEY_SIZE)


def frame_keys(frame_ids: Sequence[str]) -> tuple[bytes, bool]:
    """Return the joined keys of many ids, and whether every id is plain.

    The common case, in which all ids are 32 hex digits, is checked for the whole batch at once.
    """
    joined = "".join(frame_ids)
    if set(map(len, frame_ids)) == {2 * KEY_SIZE}:
        try:
            keys = bytes.fromhex(joined)
        except ValueError:
            pass
        else:
            if keys.hex() == joined:
                return keys, True
    return b"".join(map(frame_key, frame_ids)), all(map(is_plain_id, frame_ids))


def payload_digests(payloads: Iterable[bytes]) -> list[bytes]:
    """Return the digest of each payload."""
    hasher = blake3()  # used again: to make a new one takes as long as to hash a payload
    digests: list[bytes] = []
    for payload in payloads:
        hasher.update(payload)
        digests.append(hasher.digest(DIGEST_SIZE))
        hasher.reset()
    return digests


def last_places(frame_ids: Sequence[str], found: tuple[bytes, bool] | None = None) -> Sequence[int]:
    """Return the last index of each key among ids, ascending. Different ids may have the same key.

    Parameters
    ----------
    frame_ids : sequence of str
        The ids.
    found : tuple of (bytes, bool), optional
        The result of `frame_keys`, if it is known.
    """
    keys, plain = found or frame_keys(frame_ids)
    # Plain ids are their own keys in hex.
    names = frame_ids if plain else [keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)]
    if len(set(names)) == len(names):
        return range(len(names))
    return sorted({name: place for place, name in enumerate(names)}.values())


def key_columns(keys: bytes) -> tuple[U64, U64]:
    """Split joined keys into their two big-endian 64-bit halves."""
    halves = np.frombuffer(keys, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0], halves[:, 1]


def mix(hi: U64, lo: U64) -> U64:
    """Mix the halves of keys into the 64 bits by which frames are sorted and bucketed."""
    mixed = hi ^ (lo * _MULTIPLIER_LO)
    mixed ^= mixed >> _SHIFT
    mixed *= _MULTIPLIER
    mixed ^= mixed >> _SHIFT
    mixed *= _MULTIPLIER
    mixed ^= mixed >> _SHIFT
    return mixed


def mix_one(key: bytes) -> int:
    """Return the result of `mix` for one key, faster than with arrays of length one."""
    hi, lo = _HALVES.unpack(key)
    mixed = (hi ^ (lo * int(_MULTIPLIER_LO))) & _ALL_BITS
    mixed ^= mixed >> 32
    mixed = (mixed * int(_MULTIPLIER)) & _ALL_BITS
    mixed ^= mixed >> 32
    mixed = (mixed * int(_MULTIPLIER)) & _ALL_BITS
    return mixed ^ (mixed >> 32)


def make_rows(keys: bytes, operations: NDArray[np.uint8], digests: bytes) -> Rows:
    """Build the key rows of a batch from joined keys, operations and joined payload digests."""
    rows = np.empty((len(operations), KeyRow.itemsize), np.uint8)
    rows[:, :KEY_SIZE] = np.frombuffer(keys, np.uint8).reshape(-1, KEY_SIZE)
    rows[:, KEY_SIZE] = operations
    rows[:, KEY_SIZE + 1 :] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_SIZE)
    return rows.view(KeyRow).reshape(-1)


def read_rows(keys: bytes) -> Rows:
    """Return a view of the `keys` column of a frame batch as rows."""
    return np.frombuffer(keys, KeyRow)


def key_bytes(rows: Rows) -> bytes:
    """Return the joined keys of rows of any dtype with the fields ``hi`` and ``lo``."""
    return join_halves(rows["hi"], rows["lo"])


def join_halves(hi: NDArray[Any], lo: NDArray[Any]) -> bytes:
    """Return the joined keys of their halves: the inverse of `key_columns`."""
    halves = np.empty((len(hi), 2), ">u8")
    halves[:, 0], halves[:, 1] = hi, lo
    return halves.tobytes()
