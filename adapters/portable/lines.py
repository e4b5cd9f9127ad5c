"""What portable files say of a log, readable and yet exact: a batch, its append and its events as JSON.

A record is JSON made of its canonical payload and becomes that payload again: order of keys, integers and floats are kept.
What does not come back byte by byte is written in hex instead. `docs/format.md` writes the forms down.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from blake3 import blake3

from ...engine.batch import DIGEST_BYTES, FRAMES_SCHEMA, AppendHeader, BatchHeader
from ...engine.encoding import MAX_FRAME_BYTES
from ...engine.errors import IntegrityError, UsageError
from ...engine.events import FRAME_TOPICS, decode_event, is_known_topic
from ...engine.frame_batch import FrameChanges, decode_change, encode_changes
from ...engine.frames import decode_record
from ...engine.keys import DIGEST_SIZE, KEY_SIZE, ROW, Operation, frame_keys, make_rows, read_rows
from ...engine.times import iso_time

PORTABLE_VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATIONS = {topic: operation for operation, topic in FRAME_TOPICS.items()}
_NO_RECORD = msgspec.Raw()
_HEX_ROW = 2 * ROW.itemsize
_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode
_to_msgpack = msgspec.msgpack.Encoder().encode
_from_msgpack = msgspec.msgpack.Decoder().decode

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Place = Annotated[int, msgspec.Meta(ge=1, le=2**53)]

UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    RecursionError,
    IntegrityError,
)
"""What parts of a file raise that cannot be what they claim."""


class DatasetLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dataset that a partial file is about."""

    id: str
    project: str
    name: str


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a file begins with: the log it was made of, its head then, and the number of events in the file."""

    framelode: Literal["log"]
    version: int
    log: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    position: Count
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    events: Count
    dataset: DatasetLine | None = None


class Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file ends with; `digest` is blake3 of everything above it."""

    framelode: Literal["end"]
    batches: int
    events: int
    digest: str


class AppendLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An append; the first of its batches in the file carries it."""

    id: Place
    command: str
    part: Count
    last: bool
    positions: tuple[Place, Place]
    request: str
    result: str


class BatchLine(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False
):
    """A batch; `events` is a JSON array, empty where they are kept apart."""

    position: Place
    stream: str
    version: Place
    schema: str
    topics: list[str]
    time: str
    actor: str
    context: msgspec.Raw
    previous: str
    digest: str
    blocks: list[int]
    append: AppendLine | None = None
    events: msgspec.Raw = _NO_RECORD


class FrameLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """A change of a frame; `payload` in hex stands for a record that JSON does not give back."""

    topic: str
    id: str
    record: msgspec.Raw = _NO_RECORD
    payload: str | None = None
    previous: Count = 0
    saved: Count = 0
    changed: list[str] = []


class LifecycleLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """An event of a dataset, version or other stream; `state` in hex stands for fields that JSON does not give back."""

    topic: str
    schema: int | None = None
    fields: msgspec.Raw = _NO_RECORD
    state: str | None = None


Events = Sequence[FrameLine] | Sequence[LifecycleLine]

_frame_lines = msgspec.json.Decoder(list[FrameLine])
_lifecycle_lines = msgspec.json.Decoder(list[LifecycleLine])


class Recorded(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One batch, opened."""

    header: BatchHeader
    append: AppendHeader
    keys: bytes
    blocks: list[int]
    events: list[bytes]


def describe(recorded: Recorded, *, with_append: bool) -> BatchLine:
    """Say everything about a batch but its events."""
    header, append = recorded.header, recorded.append
    return BatchLine(
        position=header.first_position,
        stream=header.stream_id,
        version=header.first_version,
        schema=header.schema,
        topics=list(header.topics),
        time=iso_time(header.recorded_at),
        actor=header.actor,
        context=_context_line(header.context),
        previous=header.previous_digest.hex(),
        digest=header.digest.hex(),
        blocks=recorded.blocks,
        append=_append_line(append) if with_append else None,
    )


def _append_line(append: AppendHeader) -> AppendLine:
    return AppendLine(
        id=append.append_id,
        command=append.command_id,
        part=append.part,
        last=append.is_last,
        positions=(append.first_position, append.last_position),
        request=append.request_digest.hex(),
        result=append.result.hex(),
    )


def append_of(line: AppendLine) -> AppendHeader:
    """Return the append that a line describes."""
    return AppendHeader(
        append_id=line.id,
        command_id=line.command,
        part=line.part,
        is_last=line.last,
        request_digest=from_hex(line.request),
        first_position=line.positions[0],
        last_position=line.positions[1],
        result=from_hex(line.result),
    )


def header_of(
    line: BatchLine, append: AppendHeader, count: int, keys: bytes, body_digest: bytes
) -> BatchHeader:
    """Return the header of the batch that a line describes, with digests of what the batch holds."""
    return BatchHeader(
        first_position=line.position,
        count=count,
        append_id=append.append_id,
        stream_id=line.stream,
        first_version=line.version,
        topics=tuple(line.topics),
        schema=line.schema,
        recorded_at=microseconds(line.time),
        actor=line.actor,
        context=context_of(line.context),
        previous_digest=from_hex(line.previous, DIGEST_BYTES),
        keys_digest=blake3(keys).digest(),
        body_digest=body_digest,
        digest=from_hex(line.digest, DIGEST_BYTES),
    )


def event_lines(recorded: Recorded) -> Events:
    """Return the events of a batch as lines that are proven to come back as they were.

    Raises
    ------
    IntegrityError
        They cannot be what a batch of its schema holds.
    """
    header = recorded.header
    make = _frame_lines_of if header.schema == FRAMES_SCHEMA else _lifecycle_lines_of
    try:
        for readable in (True, False):
            lines = make(recorded, readable)
            if lines is not None and rebuild(header.topics, lines) == (recorded.keys, recorded.events):
                return lines
    except UNREADABLE as error:
        raise _damaged(header, str(error)) from error
    raise _damaged(header, "they are not written as framelode writes them")


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
    """Return msgpack as JSON, None when JSON has no place for all of it."""
    try:
        return msgspec.Raw(_to_json(_from_msgpack(packed)))
    except UNREADABLE:
        return None


def decode_events(line: BatchLine) -> Events:
    """Read the events that a line carries."""
    return (_frame_lines if line.schema == FRAMES_SCHEMA else _lifecycle_lines).decode(line.events)


def rebuild(topics: Sequence[str], lines: Events) -> tuple[bytes, list[bytes]]:
    """Return the key rows and the encoded events that lines stand for."""
    if lines and isinstance(lines[0], FrameLine):
        return _rebuild_frames(lines)  # type: ignore[arg-type]  # lines are of one kind
    numbers = {topic: number for number, topic in enumerate(topics)}
    return b"", [_to_msgpack((numbers[line.topic], _state_of(line))) for line in lines]  # type: ignore[arg-type]


def _rebuild_frames(lines: Sequence[FrameLine]) -> tuple[bytes, list[bytes]]:
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
    return _to_msgpack(_from_json(line.record)) if len(line.record) else b""


def _state_of(line: LifecycleLine) -> bytes:
    if line.state is not None:
        return from_hex(line.state)
    return _to_msgpack((line.schema, _from_json(line.fields)))


def check_events(recorded: Recorded) -> None:
    """Refuse events that nobody could read back.

    Raises
    ------
    IntegrityError, ValueError
        A record that is none, or fields that no event of the topic has.
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
            decode_event(header.topics[number], header.stream_id, version, state)


def _check_payload(payload: bytes, operation: int) -> None:
    if bool(payload) == (operation == Operation.DELETE):
        raise ValueError(f"a {FRAME_TOPICS[operation]} has a record too many or none")
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame has {len(payload)} bytes, the limit is {MAX_FRAME_BYTES}")
    if payload:
        decode_record(payload)


def from_hex(text: str, size: int | None = None) -> bytes:
    """Return what lowercase hex digits spell; `ValueError` when they are none, or not of `size` bytes."""
    data = bytes.fromhex(text)
    if data.hex() != text or (size is not None and len(data) != size):
        raise ValueError(f"{text[:80]!r} is not hex digits of the right number")
    return data


def microseconds(text: str) -> int:
    """Return a time of a file; `ValueError` when it is written otherwise than files have it."""
    found = (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    if iso_time(found) != text:
        raise ValueError(f"{text!r} is not a time as iso_time writes it")
    return found


@lru_cache(maxsize=256)
def _context_line(context: str) -> msgspec.Raw:
    """Return a context as the JSON object that it is, or as text when it is none."""
    raw = msgspec.Raw(context.encode())
    try:
        (same,) = msgspec.json.decode(b"[" + raw + b"]", type=list[msgspec.Raw])
        if context.startswith("{") and same == raw and "\n" not in context:
            return raw
    except UNREADABLE:
        pass
    return msgspec.Raw(_to_json(context))


def context_of(raw: msgspec.Raw) -> str:
    """Return the stored text of a context."""
    text = bytes(raw).decode()
    return _from_json(raw) if text.startswith('"') else text


def check_version(found: Any, file: str) -> None:
    """Refuse a file that a newer framelode wrote."""
    if not isinstance(found, int) or found > PORTABLE_VERSION:
        raise UsageError(
            f"{file} has version {found} of the portable form, this framelode reads up to {PORTABLE_VERSION}: "
            "install a newer framelode"
        )
