"""Verifies the contents of batches against their digests: keys, bodies, and each payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from blake3 import blake3

from ...engine.decoding import UNDECODABLE, guarded
from ...engine.errors import IntegrityError
from ...engine.events.domain import DatasetCreated, VersionCreated
from ...engine.keys import DIGEST_SIZE, KEY_SIZE, KeyRow, Operation, Rows, frame_key, read_rows
from ...engine.log.batch import EVENTS_SCHEMA, FRAMES_SCHEMA, BatchHeader, Block
from ...engine.log.contract import Log
from ...engine.log.decoding import gc_paused
from ...engine.log.frame_batch import NIL, FrameChange, decode_change
from ..pages import Page
from ..states.frames import unreadable
from .chain import problem

_NIL_DIGEST = np.frombuffer(blake3(NIL).digest(DIGEST_SIZE), np.uint8)
_decode_changes = guarded(msgspec.msgpack.Decoder(list[FrameChange]).decode)


def key_problems(log: Log, headers: Sequence[BatchHeader]) -> tuple[dict[int, bytes], list[str]]:
    """Return the keys that match their digests, by first position of their batches, and the problems of the others."""
    positions = [header.first_position for header in headers]
    found: dict[int, bytes] = {}
    problems: list[str] = []
    try:
        found = log.rows_at(positions)
    except IntegrityError:
        for position in positions:
            try:
                found |= log.rows_at([position])
            except IntegrityError as error:
                problems.append(str(error))
    for header in headers:
        size = header.count * KeyRow.itemsize if header.schema == FRAMES_SCHEMA else 0
        if len(found.get(header.first_position, b"")) != size and header.first_position in found:
            what = f"the batch has {len(found.pop(header.first_position))} bytes of keys instead of {size}"
            problems.append(problem(log, what, header.first_position))
    return found, problems


def content_problems(log: Log, page: Page, keys: dict[int, bytes]) -> Iterator[str]:
    """Yield the problems of the bodies of a page."""
    for header in page:
        try:
            if header.schema == FRAMES_SCHEMA:
                yield from _frame_problems(log, page, header, keys.get(header.first_position))
            elif header.schema == EVENTS_SCHEMA:
                yield from _event_problems(log, page, header)
            else:
                yield problem(
                    log, f"the batch has the unknown schema {header.schema!r}", header.first_position
                )
        except IntegrityError as error:
            yield str(error) if log.name in str(error) else f"{log.name}: {error}"


def _event_problems(log: Log, page: Page, header: BatchHeader) -> Iterator[str]:
    body = page.event_body(header)
    yield from _body_problems(log, header, body.digest(), len(body))
    for position, event in page.events(header):
        if isinstance(event, DatasetCreated | VersionCreated) and event.originator_version != 1:
            yield problem(log, f"stream {header.stream_id} is created twice", position)


def _body_problems(log: Log, header: BatchHeader, digest: bytes, count: int) -> Iterator[str]:
    if digest != header.body_digest:
        yield problem(log, "the body does not match its digest: it was altered", header.first_position)
    if count != header.count:
        yield problem(log, f"the body has {count} events instead of {header.count}", header.first_position)


def _frame_problems(log: Log, page: Page, header: BatchHeader, keys: bytes | None) -> Iterator[str]:
    hasher, count = blake3(), 0
    rows = read_rows(keys) if keys is not None else None
    for position, block in page.blocks(header):
        hasher.update(block.raw)
        if rows is not None and count + block.count <= len(rows):
            for what, index in _block_problems(block, rows[count : count + block.count], position):
                yield problem(log, what, position + index)
        count += block.count
    yield from _body_problems(log, header, hasher.digest(), count)


def _block_problems(block: Block, rows: Rows, position: int) -> Iterator[tuple[str, int]]:
    """Yield the problems of the events of a block, each with the index of the event."""
    with gc_paused():
        changes = _decode(block, position)
        digests = b"".join([blake3(change.record).digest(DIGEST_SIZE) for change in changes])
    operations = rows["op"]
    for index in np.flatnonzero((operations < Operation.ADD) | (operations > Operation.DELETE)).tolist():
        yield f"the operation {operations[index]} is unknown", index
    expected = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_SIZE)
    deleted = operations == Operation.DELETE
    if deleted.any():
        expected = np.where(deleted[:, None], np.uint8(0), expected)
        for index in np.flatnonzero(deleted).tolist():
            if bytes(changes[index].record) != NIL:
                yield "a delete has a payload", index
    stored = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, KeyRow.itemsize)
    for index in np.flatnonzero((expected == _NIL_DIGEST).all(axis=1)).tolist():
        yield "an added or updated frame has no payload", index
    for index in np.flatnonzero((stored[:, -DIGEST_SIZE:] != expected).any(axis=1)).tolist():
        yield "a payload does not match its key row", index
    for index, change in enumerate(changes):
        if not 0 <= change.previous < position + index:
            yield f"the event replaces position {change.previous}, which is not before it", index
        if change.id is not None and frame_key(change.id) != stored[index, :KEY_SIZE].tobytes():
            yield f"the id {change.id!r} does not match its key row", index
    yield from unreadable(block, position)


def _decode(block: Block, position: int) -> list[FrameChange]:
    try:
        return _decode_changes(block.as_array())
    except UNDECODABLE:
        # One by one, to find the damaged event.
        return [decode_change(event, position + index) for index, event in enumerate(block.events())]
