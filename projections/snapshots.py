"""Snapshots of folded states: derived data beside the other projections, checked when read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sqlalchemy as sa
import zstandard
from blake3 import blake3
from numpy.typing import NDArray

from ..engine.errors import NotFoundError
from ..engine.keys import U64
from ..engine.log import Log
from .columns import INT64
from .state import POSITION, TOMBSTONE, BatchIndex, ReadRows, Run, State
from .store import Store

MINIMUM_EVENTS = 65_536

_TOMBSTONE_BIT = np.uint64(63)
_ROTATED_AT_ONCE = 1 << 14

_tables = sa.MetaData()
_snapshot = sa.Table(
    "state_snapshot_v1",
    _tables,
    sa.Column("version_id", sa.Text, primary_key=True),
    sa.Column("log_uuid", sa.Text, nullable=False),
    sa.Column("position", INT64, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("version", INT64, nullable=False),
    sa.Column("total", INT64, nullable=False),
    sa.Column("entries", INT64, nullable=False),
    sa.Column("checksum", sa.LargeBinary, nullable=False),
    sa.Column("mixed", sa.LargeBinary, nullable=False),
    sa.Column("positions", sa.LargeBinary, nullable=False),
    sa.Column("batches", sa.LargeBinary, nullable=False),
)


class Snapshots:
    """Keeps one snapshot for each chain of versions, the newest.

    Parameters
    ----------
    store : Store
        The database of the projections.
    log : Log
        The log that the snapshots were folded from.
    """

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log
        with store.write() as connection:
            _tables.create_all(connection)

    def load(self, version_id: str, read_rows: ReadRows, *, lte: int | None = None) -> State | None:
        """Return the state that a snapshot up to position `lte` holds, or None when there is none that fits the log."""
        query = sa.select(_snapshot).where(_snapshot.c.version_id == version_id)
        if lte is not None:
            query = query.where(_snapshot.c.position <= lte)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not self._fits(row):
            return None
        if _checksum(row.mixed, row.positions, row.batches) != row.checksum:
            return None
        mixed = _unpack(row.mixed)
        np.cumsum(mixed, out=mixed)
        positions = _unpack(row.positions)
        # The lowest bit marks a delete, as the highest does in a state. Fresh memory costs more than the arithmetic.
        for start in range(0, len(positions), _ROTATED_AT_ONCE):
            some = positions[start : start + _ROTATED_AT_ONCE]
            some[:] = (some >> np.uint64(1)) | (some << _TOMBSTONE_BIT)
        first, counts = np.split(_unpack(row.batches), 2)
        batches = BatchIndex(np.cumsum(first, dtype=np.uint64), counts)
        # Position -1: whoever asks for the current state folds what has come since.
        return State([Run(mixed, positions)], batches, row.total, -1, row.version, read_rows)

    def _fits(self, row: Any) -> bool:
        """Say whether a snapshot is of this log; one that was restored or replaced is another."""
        if row.log_uuid != self._log.uuid:
            return False
        try:
            batch = self._log.batch_at(row.position)
        except NotFoundError:
            return False
        return batch.digest == row.digest and batch.last_position == row.position

    def may_be_due(self, events: int) -> bool:
        """Say whether so many events that no snapshot holds are enough to ask for one."""
        return events >= MINIMUM_EVENTS

    def positions(self) -> dict[str, int]:
        """Return the position of every snapshot of this log, by version."""
        column = _snapshot.c
        query = sa.select(column.version_id, column.log_uuid, column.position, column.digest)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return {row.version_id: row.position for row in rows if self._fits(row)}

    def drop(self) -> None:
        """Delete all snapshots; they come again."""
        with self._store.write() as connection:
            connection.execute(sa.delete(_snapshot))

    def save(self, version_id: str, state: State, parent_of: Callable[[str], str | None]) -> bool:
        """Write a snapshot if enough events have come since the chain's last one; says whether it did."""
        chain = _chain(version_id, parent_of)
        column = _snapshot.c
        with self._store.read() as connection:
            query = sa.select(column.version_id, column.entries, column.position).where(
                column.version_id.in_(chain)
            )
            known = connection.execute(query).all()
        newest = max(known, key=lambda row: row.position, default=None)
        since = int(
            state.batches.counts[state.batches.first_positions > (newest.position if newest else 0)].sum()
        )
        if since < MINIMUM_EVENTS or since < (newest.entries if newest else 0) // 2:
            return False
        values = self._values(version_id, state)
        with self._store.write() as connection:
            connection.execute(sa.delete(_snapshot).where(column.version_id.in_(chain)))
            connection.execute(_snapshot.insert(), values)
        return True

    def _values(self, version_id: str, state: State) -> dict[str, Any]:
        run = state.settled()
        deleted = (run.positions >= TOMBSTONE).astype(np.uint64)
        mixed = _pack(np.diff(run.mixed, prepend=np.uint64(0)))
        positions = _pack(((run.positions & POSITION) << np.uint64(1)) | deleted)
        first = np.diff(state.batches.first_positions, prepend=np.uint64(0))
        batches = _pack(np.concatenate((first, state.batches.counts)))
        last = self._log.batch_at(int(state.batches.first_positions[-1]))
        return {
            "version_id": version_id,
            "log_uuid": self._log.uuid,
            "position": last.last_position,
            "digest": last.digest,
            # A snapshot may be of a state in which an inherited batch is the last one.
            "version": last.last_version if last.stream_id == version_id else 0,
            "total": state.total,
            "entries": len(run),
            "checksum": _checksum(mixed, positions, batches),
            "mixed": mixed,
            "positions": positions,
            "batches": batches,
        }


def _chain(version_id: str, parent_of: Callable[[str], str | None]) -> list[str]:
    chain: list[str] = []
    current: str | None = version_id
    while current is not None:
        chain.append(current)
        current = parent_of(current)
    return chain


def _checksum(*parts: bytes) -> bytes:
    hasher = blake3()
    for part in parts:
        hasher.update(blake3(part).digest())
    return hasher.digest(length=16)


def _pack(numbers: U64) -> bytes:
    """Store numbers as byte planes of the width that the largest needs, compressed."""
    largest = int(numbers.max()) if len(numbers) else 0
    width = max(1, -(-largest.bit_length() // 8))
    planes = np.ascontiguousarray(numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T)
    return bytes([width]) + zstandard.ZstdCompressor(level=3).compress(planes.tobytes())


def _unpack(data: bytes) -> U64:
    width = data[0]
    planes: NDArray[np.uint8] = np.frombuffer(
        zstandard.ZstdDecompressor().decompress(memoryview(data)[1:]), np.uint8
    )
    numbers = np.zeros((len(planes) // width, 8), np.uint8)
    for place, plane in enumerate(planes.reshape(width, -1)):
        numbers[:, place] = plane
    return numbers.view("<u8").reshape(-1).astype(np.uint64, copy=False)
