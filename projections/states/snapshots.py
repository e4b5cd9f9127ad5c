"""Snapshots of states: derived data, stored with the projections and checked when read."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
import numpy as np
import zstandard
from blake3 import blake3
from numpy.typing import NDArray

from ...engine.errors import NotFoundError
from ...engine.keys import U64
from ...engine.log.contract import Log
from .fold import POSITION, TOMBSTONE, BatchIndex, ReadRows, Run, State

logger = logging.getLogger("framelode.states")

MINIMUM_EVENTS = 65_536

_TOMBSTONE_BIT = np.uint64(63)
_ROTATED_AT_ONCE = 1 << 14


class SnapshotKey(msgspec.Struct, frozen=True, gc=False):
    """A snapshot in a store.

    Attributes
    ----------
    version_id : str
        The version.
    position : int
        The last position of its last batch.
    digest : bytes
        Digest of the log at `position`.
    entries : int
        Number of frames and tombstones.
    """

    version_id: str
    position: int
    digest: bytes
    entries: int


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A stored state.

    Attributes
    ----------
    name : SnapshotKey
        Key of the snapshot.
    log_uuid : str
        Uuid of the log.
    version, total : int
        Version of the stream at the position, and number of frames.
    mixed, positions, batches : bytes
        Packed columns.
    """

    name: SnapshotKey
    log_uuid: str
    version: int
    total: int
    mixed: bytes
    positions: bytes
    batches: bytes

    def checksum(self) -> bytes:
        """Return a checksum of the columns."""
        hasher = blake3()
        for part in (self.mixed, self.positions, self.batches):
            hasher.update(blake3(part).digest())
        return hasher.digest(length=16)


class SnapshotStore(ABC):
    """Stores snapshots of the states of one log. They are disposable, and may be replaced while others read them."""

    @abstractmethod
    def kept(self, version_ids: Collection[str] | None = None, *, fresh: bool = True) -> list[SnapshotKey]:
        """Return the snapshots of some versions, by default of all.

        Parameters
        ----------
        fresh : bool
            Read the current list. Otherwise a cached one may be returned.
        """

    @abstractmethod
    def read(self, name: SnapshotKey) -> Snapshot | None:
        """Return a snapshot; None if it is gone or damaged."""

    @abstractmethod
    def write(self, snapshot: Snapshot, outdated: Sequence[SnapshotKey]) -> None:
        """Write a snapshot atomically, then remove those that it replaces."""

    @abstractmethod
    def drop(self) -> None:
        """Remove all snapshots."""


class Snapshots:
    """Keeps one snapshot for each chain of versions: the newest.

    Parameters
    ----------
    store : SnapshotStore
        Where they are stored.
    log : Log
        The log of the snapshots.
    """

    def __init__(self, store: SnapshotStore, log: Log) -> None:
        self._store = store
        self._log = log
        self._useless: set[SnapshotKey] = set()

    def load(self, version_id: str, read_rows: ReadRows, *, lte: int | None = None) -> State | None:
        """Return the state of a snapshot up to position `lte`; None if no snapshot matches the log."""
        tried: list[SnapshotKey] = []
        # Another process may replace and remove a snapshot during the read. Then look for the new one.
        while (found := self._usable([version_id], lte)) and found != tried:
            for name in found:
                snapshot = self._store.read(name)
                if snapshot is not None:
                    try:
                        return _state_of(snapshot, read_rows)
                    except (ValueError, zstandard.ZstdError) as error:
                        logger.warning("a snapshot of version %s is not used: %s", name.version_id, error)
                self._useless.add(name)
            tried = found
        return None

    def _usable(self, version_ids: Collection[str] | None, lte: int | None = None) -> list[SnapshotKey]:
        """Return the usable snapshots, newest first."""
        kept = self._store.kept(version_ids, fresh=False)
        fitting = (name for name in kept if (lte is None or name.position <= lte) and self._fits(name))
        return sorted(fitting, key=lambda name: -name.position)

    def _fits(self, name: SnapshotKey) -> bool:
        """Whether a snapshot belongs to this log. The snapshots of a restored or replaced log do not."""
        if name in self._useless:
            return False
        try:
            batch = self._log.batch_at(name.position)
        except NotFoundError:
            return False
        return batch.digest == name.digest and batch.last_position == name.position

    def may_be_due(self, events: int) -> bool:
        """Whether this number of events without a snapshot is enough to consider a new one."""
        return events >= MINIMUM_EVENTS

    def positions(self) -> dict[str, int]:
        """Return the position of the newest snapshot of every version."""
        return {name.version_id: name.position for name in reversed(self._usable(None))}

    def drop(self) -> None:
        """Delete all snapshots. They are created again when needed."""
        self._store.drop()

    def save(self, version_id: str, state: State, parent_of: Callable[[str], str | None]) -> bool:
        """Write a snapshot if there are enough events since the last one of the chain. Returns whether it was written."""
        chain = ancestry(version_id, parent_of)
        # A cached list usually shows already that it is too early.
        if not self._is_due(state, self._store.kept(chain, fresh=False)):
            return False
        kept = self._store.kept(chain)
        if not self._is_due(state, kept):
            return False
        snapshot = self._snapshot_of(version_id, state)
        outdated = [
            name for name in kept if name != snapshot.name and name.position <= snapshot.name.position
        ]
        self._store.write(snapshot, outdated)
        self._useless.discard(snapshot.name)
        return True

    def _is_due(self, state: State, kept: Iterable[SnapshotKey]) -> bool:
        usable = (name for name in kept if name not in self._useless)
        newest = max(usable, key=lambda name: name.position, default=None)
        after = newest.position if newest else 0
        since = int(state.batches.counts[state.batches.first_positions > after].sum())
        return since >= MINIMUM_EVENTS and since >= (newest.entries if newest else 0) // 2

    def _snapshot_of(self, version_id: str, state: State) -> Snapshot:
        run = state.settled()
        deleted = (run.positions >= TOMBSTONE).astype(np.uint64)
        first = np.diff(state.batches.first_positions, prepend=np.uint64(0))
        last = self._log.batch_at(int(state.batches.first_positions[-1]))
        return Snapshot(
            SnapshotKey(version_id, last.last_position, last.digest, len(run)),
            self._log.uuid,
            # The state may end with an inherited batch.
            last.last_version if last.stream_id == version_id else 0,
            state.total,
            _pack(np.diff(run.mixed, prepend=np.uint64(0))),
            _pack(((run.positions & POSITION) << np.uint64(1)) | deleted),
            _pack(np.concatenate((first, state.batches.counts))),
        )


def _state_of(snapshot: Snapshot, read_rows: ReadRows) -> State:
    # Each event adds at most one entry and one batch.
    most = snapshot.name.position
    mixed = _unpack(snapshot.mixed, most)
    np.cumsum(mixed, out=mixed)
    positions = _unpack(snapshot.positions, most)
    # The lowest bit marks a delete here, and the highest one in a state. Allocating memory costs more than the arithmetic.
    for start in range(0, len(positions), _ROTATED_AT_ONCE):
        some = positions[start : start + _ROTATED_AT_ONCE]
        some[:] = (some >> np.uint64(1)) | (some << _TOMBSTONE_BIT)
    first, counts = np.split(_unpack(snapshot.batches, 2 * most), 2)
    batches = BatchIndex(np.cumsum(first, dtype=np.uint64), counts)
    # Position -1: reading the current state replays the later events.
    return State([Run(mixed, positions)], batches, snapshot.total, -1, snapshot.version, read_rows)


def ancestry(version_id: str, parent_of: Callable[[str], str | None]) -> list[str]:
    """Return a version and its ancestors, up to the root."""
    found = [version_id]
    while (parent := parent_of(found[-1])) is not None:
        found.append(parent)
    return found


def _pack(numbers: U64) -> bytes:
    """Pack numbers as compressed byte planes, in the width of the largest one."""
    largest = int(numbers.max()) if len(numbers) else 0
    width = max(1, -(-largest.bit_length() // 8))
    planes = np.ascontiguousarray(numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T)
    return bytes([width]) + zstandard.ZstdCompressor(level=3).compress(planes.tobytes())


def _unpack(data: bytes, most: int) -> U64:
    """Unpack numbers. More than `most` are not decompressed."""
    width, packed = data[0], memoryview(data)[1:]
    if not 0 <= zstandard.frame_content_size(packed) <= width * most:
        raise ValueError("a snapshot has more numbers than the log has events")
    planes: NDArray[np.uint8] = np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.uint8)
    numbers = np.zeros((len(planes) // width, 8), np.uint8)
    for place, plane in enumerate(planes.reshape(width, -1)):
        numbers[:, place] = plane
    return numbers.view("<u8").reshape(-1).astype(np.uint64, copy=False)
