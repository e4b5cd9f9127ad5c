"""Logs with well-formed chains whose batches hold what no engine writes."""

from __future__ import annotations

import struct
import uuid

import msgspec
import numpy as np
import zstandard
from blake3 import blake3
from raw_logs import insert, unguarded

from framelode.engine.events.registry import encode_event
from framelode.engine.keys import frame_keys
from framelode.engine.log.batch import (
    CODEC,
    EVENTS_SCHEMA,
    FRAMES_SCHEMA,
    AppendHeader,
    Batch,
    BatchHeader,
    body_checksum,
    chain_digest,
    genesis_digest,
    pack_batch,
    stored_hash,
)
from framelode.engine.log.frame_batch import FrameChanges, pack_frame_batch

encode = msgspec.msgpack.encode


def nested(levels, kind="list"):
    """Return msgpack of containers within each other; built as bytes, since no encoder goes so deep."""
    opener = b"\x91" if kind == "list" else b"\x81\xa1a"
    return opener * levels + b"\xc0"


def record(**fields):
    """Return a payload whose fields are msgpack already."""
    packed = b"".join(encode(name) + value for name, value in sorted(fields.items()))
    return bytes([0x80 + len(fields)]) + packed


def frames(stream, payloads, *, operation=1, previous=0, saved=0):
    """Return a batch of frame changes; `payloads` is a dict of frame id to payload."""
    ids = list(payloads)
    keys, plain = frame_keys(ids)
    bodies = list(payloads.values())
    digests = b"".join(blake3(body).digest(16) if body else bytes(16) for body in bodies)
    changes = FrameChanges(
        ids=ids,
        plain=plain,
        keys=keys,
        digests=digests,
        operations=np.full(len(ids), operation, np.uint8),
        payloads=bodies,
        previous=np.full(len(ids), previous, np.uint64),
        saved=np.full(len(ids), saved, np.uint64),
    )
    return pack_frame_batch(stream, 0, changes)[0]


def events(stream, *given):
    """Return a batch of lifecycle events, given as events or as ``(topic, state)``."""
    encoded = [event if isinstance(event, tuple) else encode_event(event) for event in given]
    topics = list(dict.fromkeys(topic for topic, _ in encoded))
    packed = [encode((topics.index(topic), state)) for topic, state in encoded]
    return pack_batch(stream, 0, EVENTS_SCHEMA, topics, packed)


def state(**fields):
    """Return the stored state of an event whose fields are msgpack already."""
    return b"\x92\x01" + record(**fields)


def swollen(stream, blocks, size):
    """Return a frame batch whose blocks are small, and large when they are opened."""
    length = size - 8
    raw = struct.pack("<II", 1, length) + bytes(length)
    stored = zstandard.ZstdCompressor(level=1).compress(raw)
    directory = struct.pack("<III", 1, len(stored), size) * blocks
    body = struct.pack("<I", blocks) + directory + stored * blocks
    batch = frames(stream, {f"{number:032x}": b"\x80" for number in range(blocks)})
    return msgspec.structs.replace(batch, body=body, stored_hash=stored_hash(CODEC, body))


def append(folder, *batches: Batch, **changed):
    """Append batches to a log, each in an append of its own, with the digests that prove them.

    Parameters
    ----------
    **changed
        Fields of the batch headers that are not those of the batch.
    """
    with unguarded(folder) as connection:
        for batch in batches:
            _append(connection, batch, changed)


def _append(connection, batch, changed):
    (log,) = connection.execute("SELECT uuid FROM log_info").fetchone()
    last = connection.execute(
        "SELECT first_position + count - 1, digest, recorded_at, append_id FROM record_batch ORDER BY 1 DESC"
    ).fetchone() or (0, genesis_digest(log), 1, 0)
    (version,) = connection.execute(
        "SELECT coalesce(max(first_version + count), 1) FROM record_batch WHERE stream_id = ?",
        (batch.stream_id,),
    ).fetchone()
    first, count = last[0] + 1, changed.get("count", batch.count)
    made = AppendHeader(
        append_id=last[3] + 1,
        command_id=uuid.uuid4().hex,
        part=0,
        is_last=True,
        request_digest=b"",
        first_position=first,
        last_position=first + count - 1,
        result=b"",
    )
    values = {
        "first_position": first,
        "count": count,
        "append_id": made.append_id,
        "stream_id": batch.stream_id,
        "first_version": version,
        "topics": batch.topics,
        "schema": batch.schema,
        "recorded_at": last[2],
        "actor": "stranger",
        "context": "{}",
        "previous_digest": last[1],
        "keys_digest": batch.keys_digest,
        "body_digest": batch.body_digest,
        **changed,
    }
    digest = chain_digest(BatchHeader(**values), made)
    insert(connection, "append", msgspec.structs.asdict(made))
    row = values | {
        "topics": msgspec.json.encode(batch.topics).decode(),
        "digest": digest,
        "keys": batch.keys,
    }
    insert(connection, "record_batch", row)
    checksum = body_checksum(first, batch.stored_hash)
    body = {"first_position": first, "codec": batch.codec, "checksum": checksum, "body": batch.body}
    insert(connection, "record_body", body)


__all__ = ["FRAMES_SCHEMA", "append", "events", "frames", "nested", "record", "state", "swollen"]
