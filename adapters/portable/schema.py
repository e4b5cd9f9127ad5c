"""The structures of portable files: header, footer, and the lines of batches and appends.

`docs/format.md` specifies them.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from blake3 import blake3

from ...engine.decoding import guarded
from ...engine.errors import IntegrityError, UsageError
from ...engine.log.batch import DIGEST_BYTES, AppendHeader, BatchHeader
from ...engine.times import iso_time, microseconds

PORTABLE_VERSION = 1

_NO_EVENTS = msgspec.Raw()
_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode

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
"""Errors that damaged parts of a file raise."""


class DatasetLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dataset of a file that contains only one."""

    id: str
    project: str
    name: str


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Header of a file: the exported log, its head at that time, and the number of events in the file."""

    framelode: Literal["log"]
    version: int
    log: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    position: Count
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    events: Count
    dataset: DatasetLine | None = None


class Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Footer of a file. `digest` is blake3 of everything before it."""

    framelode: Literal["end"]
    batches: int
    events: int
    digest: str


class AppendLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An append, written with its first batch in the file."""

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
    """A batch. `events` is a JSON array, empty if they are stored separately."""

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
    events: msgspec.Raw = _NO_EVENTS


LARGEST_DESCRIPTION = 16 * 1024 * 1024
"""Maximum size of a line without its events."""

_MOST_EVENTS = 256 * 1024
_MOST_VALUES = 16 * 1024 * 1024
"""A frame of 16 MB has fewer values, however they are written."""


class _Events(msgspec.Struct):
    events: msgspec.Raw = _NO_EVENTS


_decode_line = guarded(msgspec.json.Decoder(BatchLine).decode)
_decode_events = guarded(msgspec.json.Decoder(_Events).decode)


def decode_line(line: bytes) -> BatchLine:
    """Decode the line of a batch, with its events still encoded.

    Raises
    ------
    ValueError, msgspec.DecodeError
        It is not such a line, or would need many times its size in memory.
    """
    if len(line) > LARGEST_DESCRIPTION:
        events = _decode_events(line).events
        if len(line) - len(events) > LARGEST_DESCRIPTION or is_costly(events):
            raise ValueError("it has more values than a batch can have")
    return _decode_line(line)


def is_costly(events: bytes | msgspec.Raw) -> bool:
    """Whether the events of a line may need many times its size in memory when they are decoded.

    Each event has a ``"topic"``, which may be written with escapes. Few lines have more of them than events; those are
    written in another form.
    """
    data = bytes(events)
    if len(data) <= LARGEST_DESCRIPTION:
        return False
    return data.count(b'"topic"') + data.count(b"\\u00") > _MOST_EVENTS or data.count(b",") > 2 * _MOST_VALUES


class Recorded(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A decoded batch."""

    header: BatchHeader
    append: AppendHeader
    keys: bytes
    blocks: list[int]
    events: list[bytes]


def describe(recorded: Recorded, *, with_append: bool) -> BatchLine:
    """Return the line of a batch without its events."""
    header, append = recorded.header, recorded.append
    return BatchLine(
        position=header.first_position,
        stream=header.stream_id,
        version=header.first_version,
        schema=header.schema,
        topics=list(header.topics),
        time=iso_time(header.recorded_at, header.first_position),
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
    """Return the append of a line."""
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
    """Return the batch header of a line, with digests of its content."""
    return BatchHeader(
        first_position=line.position,
        count=count,
        append_id=append.append_id,
        stream_id=line.stream,
        first_version=line.version,
        topics=tuple(line.topics),
        schema=line.schema,
        recorded_at=time_of(line.time),
        actor=line.actor,
        context=context_of(line.context),
        previous_digest=from_hex(line.previous, DIGEST_BYTES),
        keys_digest=blake3(keys).digest(),
        body_digest=body_digest,
        digest=from_hex(line.digest, DIGEST_BYTES),
    )


def from_hex(text: str, size: int | None = None) -> bytes:
    """Return the bytes of lowercase hex digits. Raises `ValueError` if they are invalid or not `size` bytes."""
    data = bytes.fromhex(text)
    if data.hex() != text or (size is not None and len(data) != size):
        raise ValueError(f"{text[:80]!r} is not the right number of hex digits")
    return data


def time_of(text: str) -> int:
    """Return a time of a file in microseconds. Raises `ValueError` for any other notation."""
    found = microseconds(datetime.fromisoformat(text))
    if iso_time(found) != text:
        raise ValueError(f"{text!r} is not a time in the notation of iso_time")
    return found


@lru_cache(maxsize=256)
def _context_line(context: str) -> msgspec.Raw:
    """Return a context as a JSON object, or as a string if it is none."""
    raw = msgspec.Raw(context.encode())
    try:
        (same,) = msgspec.json.decode(b"[" + raw + b"]", type=list[msgspec.Raw])
        if context.startswith("{") and same == raw and "\n" not in context:
            return raw
    except UNREADABLE:
        pass
    return msgspec.Raw(_to_json(context))


def context_of(raw: msgspec.Raw) -> str:
    """Return the stored form of a context."""
    text = bytes(raw).decode()
    return _from_json(raw) if text.startswith('"') else text


def check_version(found: Any, file: str) -> None:
    """Raise an error for a file that a newer framelode wrote."""
    if not isinstance(found, int) or found > PORTABLE_VERSION:
        raise UsageError(
            f"{file} has version {found} of the portable format, but this framelode reads up to {PORTABLE_VERSION}: "
            "install a newer framelode"
        )
