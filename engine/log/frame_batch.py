"""Encodes and decodes frame changes as record batches.

`docs/format.md` specifies the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise, starmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..decoding import UNDECODABLE, Position, array_of, guarded
from ..errors import UnreadableError
from ..events.registry import FRAME_TOPICS
from ..keys import DIGEST_SIZE, KEY_SIZE, U64, Rows, is_plain_id, make_rows
from .batch import BATCH_BYTES, FRAMES_SCHEMA, Batch, Body, pack_batch
from .contract import Log
from .joined import Joined, lengths_of

NIL = b"\xc0"
"""The record of a delete."""

SPARSE = 4
"""Events are read alone if fewer than one in so many is wanted."""

_DECODED_AT_ONCE = 1024
"""Events of several batches are decoded together, until they are so many."""

ARRAY_OF_ONE = b"\x91"
"""What an event begins with that has a payload only."""

_encoder = msgspec.msgpack.Encoder()


class FrameChange(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One event of a frame batch. Its record is not decoded."""

    record: msgspec.Raw
    id: str | None = None
    previous: Position = 0
    saved: Position = 0
    changed: list[str] = []

    @property
    def payload(self) -> bytes:
        """The canonical payload; empty for a delete."""
        data = bytes(self.record)
        return b"" if data == NIL else data


_decode_change = guarded(msgspec.msgpack.Decoder(FrameChange).decode)
_decode_changes = guarded(msgspec.msgpack.Decoder(list[FrameChange]).decode)


class FrameChanges(msgspec.Struct):
    """Changes of many frames as columns, in recording order.

    Attributes
    ----------
    ids : list of str
        Frame ids.
    plain : bool
        Every id is known to be 32 lowercase hex digits. Such ids are not stored besides their keys.
    keys, digests : bytes
        Concatenated keys and payload digests, 16 bytes per frame each.
    operations : ndarray of uint8, shape (n,)
        `Operation` of each change.
    payloads : sequence of bytes
        Canonical payloads; empty for deletes.
    previous, saved : ndarray of uint64, shape (n,)
        Positions, 0 for none.
    changed : dict of int to list of str
        Names of changed fields by index, if any.
    """

    ids: list[str]
    plain: bool
    keys: bytes
    digests: bytes
    operations: NDArray[np.uint8]
    payloads: Sequence[bytes]
    previous: U64
    saved: U64
    changed: dict[int, list[str]] = {}

    def __len__(self) -> int:
        """Return the number of changes."""
        return len(self.ids)

    def cut(self, size: int) -> Iterator[FrameChanges]:
        """Split the changes into the parts of record batches: after `size` events or 8 MB."""
        total, start = len(self), 0
        ends = np.cumsum(lengths_of(self.payloads))
        while start < total:
            before = int(ends[start - 1]) if start else 0
            by_bytes = int(np.searchsorted(ends, before + BATCH_BYTES, side="right"))
            stop = min(total, start + size, max(by_bytes, start + 1))
            yield self if stop - start == total else self._slice(start, stop)
            start = stop

    def _slice(self, start: int, stop: int) -> FrameChanges:
        return FrameChanges(
            ids=self.ids[start:stop],
            plain=self.plain,
            keys=self.keys[start * KEY_SIZE : stop * KEY_SIZE],
            digests=self.digests[start * DIGEST_SIZE : stop * DIGEST_SIZE],
            operations=self.operations[start:stop],
            payloads=self.payloads[start:stop],
            previous=self.previous[start:stop],
            saved=self.saved[start:stop],
            changed={index - start: names for index, names in self.changed.items() if start <= index < stop},
        )


def pack_frame_batch(stream_id: str, first_version: int, changes: FrameChanges) -> tuple[Batch, Rows]:
    """Pack changes into a record batch. Returns the batch and its key rows."""
    rows = make_rows(changes.keys, changes.operations, changes.digests)
    topics = [FRAME_TOPICS[operation] for operation in sorted(set(changes.operations.tolist()))]
    return pack_batch(
        stream_id, first_version, FRAMES_SCHEMA, topics, encode_changes(changes), rows.tobytes()
    ), rows


def joined_payloads(events: bytes, offsets: NDArray[np.int64]) -> Joined:
    """Return the payloads of events that are nothing but their payload, each after `ARRAY_OF_ONE`."""
    return Joined(events, offsets, len(ARRAY_OF_ONE))


def encode_changes(changes: FrameChanges) -> Sequence[bytes]:
    """Encode each change as an event of a body."""
    if changes.plain and not changes.previous.any():
        if isinstance(changes.payloads, Joined):
            return changes.payloads.with_skipped()
        return [ARRAY_OF_ONE + payload for payload in changes.payloads]
    previous, saved = changes.previous.tolist(), changes.saved.tolist()
    return [
        _encode_change(
            payload,
            None if changes.plain or is_plain_id(changes.ids[index]) else changes.ids[index],
            previous[index],
            saved[index],
            changes.changed.get(index, []),
        )
        for index, payload in enumerate(changes.payloads)
    ]


def _encode_change(
    payload: bytes, frame_id: str | None, previous: int, saved: int, changed: list[str]
) -> bytes:
    fields: list[Any] = [msgspec.Raw(payload or NIL), frame_id, previous, saved, changed]
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    return _encoder.encode(fields)


def decode_change(event: bytes, position: int) -> FrameChange:
    """Decode one event of a frame batch, but not its record.

    Raises
    ------
    UnreadableError
        The event is invalid, or replaces one that is not before it. Following `previous` therefore always ends.
    """
    try:
        change = _decode_change(event)
    except UNDECODABLE as error:
        message = f"the frame event at position {position} is damaged: {error}"
        raise UnreadableError(message, position=position) from error
    if change.previous >= position:
        raise not_before(position, change.previous)
    return change


def decode_changes(events: Sequence[bytes], positions: Sequence[int]) -> list[FrameChange]:
    """Decode events like `decode_change`, together where that is possible."""
    try:
        changes = _decode_changes(array_of(events))
    except UNDECODABLE:
        return list(map(decode_change, events, positions))
    for change, position in zip(changes, positions, strict=True):
        if change.previous >= position:
            raise not_before(position, change.previous)
    return changes


def not_before(position: int, previous: int) -> UnreadableError:
    """Return the error for an event that does not come after the event that it replaces."""
    message = (
        f"the frame event at position {position} replaces position {previous}, which does not come before it"
    )
    return UnreadableError(message, position=position)


def events_at(log: Log, positions: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(position, encoded event)`` for distinct positions, ascending. Only the necessary blocks are decompressed."""
    return chain.from_iterable(starmap(zip, event_lists_at(log, positions)))


def event_lists_at(log: Log, positions: Sequence[int]) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield positions and encoded events like `events_at`, in one pair of lists for each batch."""
    batches = log.first_positions(sorted(set(positions)))
    return _event_lists_of(log, positions, np.array([first for first, _ in batches], np.uint64))


def _event_lists_of(
    log: Log, positions: Sequence[int], first_positions: U64
) -> Iterator[tuple[list[int], list[bytes]]]:
    wanted = np.unique(np.array(positions, np.int64))
    starts = first_positions.astype(np.int64)
    of_batch = np.searchsorted(starts, wanted, side="right") - 1
    begins = np.flatnonzero(np.diff(of_batch, prepend=-2)).tolist()
    groups = [wanted[start:stop] for start, stop in pairwise([*begins, len(wanted)])]
    bodies = bodies_for(log, starts[of_batch[begins]].tolist(), groups)
    for body, group in zip(bodies, groups, strict=len(wanted) > 0):
        yield group.tolist(), _events_in(body, group)


def bodies_for(log: Log, first_positions: Sequence[int], wanted: Sequence[NDArray[Any]]) -> Iterator[Body]:
    """Return the bodies that hold some ascending positions or indices, by batch; cached ones if few events are wanted."""
    return log.recent_bodies(first_positions) if is_sparse(wanted) else log.bodies(first_positions)


def is_sparse(wanted: Sequence[NDArray[Any]]) -> bool:
    """Whether few events are wanted of those between the first and the last of each batch."""
    spans = sum(int(some[-1]) - int(some[0]) + 1 for some in wanted if len(some))
    return len(wanted) == 1 or SPARSE * sum(map(len, wanted)) < spans


def _events_in(body: Body, positions: NDArray[np.int64]) -> list[bytes]:
    indices = positions - body.first_position
    if indices[-1] >= len(body):
        position = int(positions[-1])
        message = (
            f"the body of the batch at position {body.first_position} has no event at position {position}"
        )
        raise UnreadableError(message, position=position)
    return body.events_at(indices)


def changes_at(log: Log, positions: Sequence[int]) -> dict[int, FrameChange]:
    """Return the changes at some positions, without decoding their records."""
    return _decoded(event_lists_at(log, positions))


def changes_of(log: Log, positions: Sequence[int], first_positions: U64) -> dict[int, FrameChange]:
    """Like `changes_at`, if the first positions of the batches (and maybe of others) are known. Positions may be repeated."""
    return _decoded(_event_lists_of(log, positions, first_positions))


def _decoded(lists: Iterator[tuple[list[int], list[bytes]]]) -> dict[int, FrameChange]:
    found: dict[int, FrameChange] = {}
    positions, events = list[int](), list[bytes]()
    # The empty lists at the end make the last events be decoded.
    for some, read in chain(lists, [([], [])]):
        positions += some
        events += read
        if len(events) >= _DECODED_AT_ONCE or not some:
            found.update(zip(positions, decode_changes(events, positions), strict=True))
            positions, events = [], []
    return found


def row_id(change: FrameChange, rows: Rows, index: int) -> str:
    """Return the frame id of a change: the stored one, or its key in hex."""
    if change.id is not None:
        return change.id
    return rows[index : index + 1].tobytes()[:KEY_SIZE].hex()
