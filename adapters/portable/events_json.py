"""The events of a batch as JSON that can be converted back without any difference.

A record is written as JSON that encodes to the same canonical payload, with the order of keys, integers and floats.
Anything else is written in hex.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from blake3 import blake3

from ...engine.decoding import guarded
from ...engine.errors import IntegrityError
from ...engine.events.registry import FRAME_TOPICS, decode_event, is_known_topic
from ...engine.frames.record import MAX_FRAME_BYTES
from ...engine.frames.single_frame import decode_record
from ...engine.keys import DIGEST_SIZE, KEY_SIZE, KeyRow, Operation, frame_keys, make_rows, read_rows
from ...engine.log.batch import FRAMES_SCHEMA, BatchHeader
from ...engine.log.frame_batch import FrameChanges, decode_change, encode_changes
from .schema import UNREADABLE, BatchLine, Count, Recorded, from_hex

_OPERATIONS = {topic: operation for operation, topic in FRAME_TOPICS.items()}
_NO_RECORD = msgspec.Raw()
_HEX_ROW = 2 * KeyRow.itemsize
_to_json = msgspec.json.Encoder().encode
_from_json = guarded(msgspec.json.Decoder().decode)
_to_msgpack = msgspec.msgpack.Encoder().encode
_from_msgpack = guarded(msgspec.msgpack.Decoder().decode)


class FrameLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """A change of a frame. `payload` is hex if the record cannot be converted to JSON and back."""

    topic: str
    id: str
    record: msgspec.Raw = _NO_RECORD
    payload: str | None = None
    previous: Count = 0
    saved: Count = 0
    changed: list[str] = []


class LifecycleLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """An event of a dataset, version or other stream. `state` is hex if its fields cannot be converted to JSON and back."""

    topic: str
    schema: int | None = None
    fields: msgspec.Raw = _NO_RECORD
    state: str | None = None


Events = Sequence[FrameLine] | Sequence[LifecycleLine]

_frame_lines = guarded(msgspec.json.Decoder(list[FrameLine]).decode)
_lifecycle_lines = guarded(msgspec.json.Decoder(list[LifecycleLine]).decode)


def event_lines(recorded: Recorded, *, readable: bool = True) -> Events:
    """Return the events of a batch as lines, after a check that they convert back without any difference.

    Parameters
    ----------
    readable : bool
        Use JSON if possible, otherwise hex.

    Raises
    ------
    IntegrityError
        They are not valid events of the batch's schema.
    """
    header = recorded.header
    make = _frame_lines_of if header.schema == FRAMES_SCHEMA else _lifecycle_lines_of
    try:
        for as_json in (True, False) if readable else (False,):
            lines = make(recorded, as_json)
            if lines is not None and rebuild(header.topics, lines) == (recorded.keys, recorded.events):
                return lines
    except UNREADABLE as error:
        raise _damaged(header, str(error)) from error
    raise _damaged(header, "their encoding is not that of framelode")


def _damaged(header: BatchHeader, reason: str) -> IntegrityError:
    position = header.first_position
    return IntegrityError(
        f"the events of the batch at position {position} are damaged: {reason}", position=position
    )


def _frame_lines_of(recorded: Recorded, readable: bool) -> list[FrameLine] | None:
    operations = read_rows(recorded.keys)["op"].tolist()
    hex_keys = recorded.keys.hex()
    lines: list[FrameLine] = []
    for index, event in enumerate(recorded.events):
        change = decode_change(event, recorded.header.first_position + index)
        line = FrameLine(
            topic=FRAME_TOPICS[operations[index]],
            id=hex_keys[index * _HEX_ROW : index * _HEX_ROW + 2 * KEY_SIZE]
            if change.id is None
            else change.id,
            previous=change.previous,
            saved=change.saved,
            changed=change.changed,
        )
        payload = change.payload
        if payload and readable:
            record = as_json(payload)
            if record is None:
                return None
            line.record = record
        elif payload:
            line.payload = payload.hex()
        lines.append(line)
    return lines


def _lifecycle_lines_of(recorded: Recorded, readable: bool) -> list[LifecycleLine] | None:
    lines: list[LifecycleLine] = []
    for event in recorded.events:
        number, state = msgspec.msgpack.decode(event, type=tuple[int, bytes])
        line = LifecycleLine(topic=recorded.header.topics[number])
        if readable:
            try:
                line.schema, fields = msgspec.msgpack.decode(state, type=tuple[int, msgspec.Raw])
            except UNREADABLE:
                return None
            record = as_json(bytes(fields))
            if record is None:
                return None
            line.fields = record
        else:
            line.state = state.hex()
        lines.append(line)
    return lines


def as_json(packed: bytes) -> msgspec.Raw | None:
    """Return msgpack as JSON, or None if JSON cannot represent all of it."""
    try:
        return msgspec.Raw(_to_json(_from_msgpack(packed)))
    except UNREADABLE:
        return None


def decode_events(line: BatchLine) -> Events:
    """Decode the events of a line."""
    return (_frame_lines if line.schema == FRAMES_SCHEMA else _lifecycle_lines)(line.events)


def rebuild(topics: Sequence[str], lines: Events) -> tuple[bytes, list[bytes]]:
    """Return the key rows and the encoded events of lines."""
    if lines and isinstance(lines[0], FrameLine):
        return _rebuild_frames(lines)  # type: ignore[arg-type]  # all lines have the same type
    numbers = {topic: number for number, topic in enumerate(topics)}
    return b"", [_to_msgpack((numbers[line.topic], _state_of(line))) for line in lines]  # type: ignore[arg-type]


def _rebuild_frames(lines: Sequence[FrameLine]) -> tuple[bytes, Sequence[bytes]]:
    keys, plain = frame_keys([line.id for line in lines])
    payloads = [_payload_of(line) for line in lines]
    nothing = bytes(DIGEST_SIZE)
    digests = b"".join(blake3(payload).digest(DIGEST_SIZE) if payload else nothing for payload in payloads)
    operations = np.array([_OPERATIONS[line.topic] for line in lines], np.uint8)
    changes = FrameChanges(
        ids=[line.id for line in lines],
        plain=plain,
        keys=keys,
        digests=digests,
        operations=operations,
        payloads=payloads,
        previous=np.array([line.previous for line in lines], np.uint64),
        saved=np.array([line.saved for line in lines], np.uint64),
        changed={index: line.changed for index, line in enumerate(lines) if line.changed},
    )
    return make_rows(keys, operations, digests).tobytes(), encode_changes(changes)


def _payload_of(line: FrameLine) -> bytes:
    if line.payload is not None:
        return from_hex(line.payload)
    if len(line.record) > MAX_FRAME_BYTES and bytes(line.record).count(b",") > MAX_FRAME_BYTES:
        raise ValueError(f"a frame has more values than fit in {MAX_FRAME_BYTES} bytes")
    return _to_msgpack(_from_json(line.record)) if len(line.record) else b""


def _state_of(line: LifecycleLine) -> bytes:
    if line.state is not None:
        return from_hex(line.state)
    return _to_msgpack((line.schema, _from_json(line.fields)))


def check_events(recorded: Recorded) -> None:
    """Raise an error for events that could not be read.

    Raises
    ------
    IntegrityError, ValueError
        A record is invalid, or an event has fields that its topic does not have.
    """
    header = recorded.header
    if header.schema == FRAMES_SCHEMA:
        operations = read_rows(recorded.keys)["op"].tolist()
        for position, (event, operation) in enumerate(
            zip(recorded.events, operations, strict=True), header.first_position
        ):
            _check_payload(decode_change(event, position).payload, operation)
        return
    for version, event in enumerate(recorded.events, header.first_version):
        number, state = msgspec.msgpack.decode(event, type=tuple[int, bytes])
        if is_known_topic(header.topics[number]):
            decode_event(header.topics[number], header.stream_id, version, state, header.position_of(version))


def _check_payload(payload: bytes, operation: int) -> None:
    if bool(payload) == (operation == Operation.DELETE):
        raise ValueError(f"a {FRAME_TOPICS[operation]} has a record that it must not have, or lacks one")
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame has {len(payload)} bytes, more than the limit of {MAX_FRAME_BYTES}")
    if payload:
        decode_record(payload)
