"""A reader of framelode logs written from `docs/format.md` alone; it imports nothing of framelode.

`python reader.py log.db` verifies a log and prints what it holds as JSON.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zstandard
from blake3 import blake3

FORMAT = 1
ADD, UPDATE, DELETE = 1, 2, 3
TOPICS = {ADD: "FrameAdded", UPDATE: "FrameUpdated", DELETE: "FrameDeleted"}
HEADER = [
    "first_position",
    "count",
    "stream_id",
    "first_version",
    "topics",
    "schema",
    "recorded_at",
    "actor",
    "context",
    "append_id",
    "command_id",
    "part",
    "is_last",
    "request_digest",
    "append_first",
    "append_last",
    "result",
]
MASK = (1 << 64) - 1


class Unsound(Exception):
    """The log is not what the format says."""


def require(condition: bool, what: str, position: int) -> None:
    if not condition:
        raise Unsound(f"{what} (position {position})")


def pack(value: Any) -> bytes:
    """Encode a header as msgpack, by hand."""
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for limit, code, form in (
            (128, b"", "B"),
            (256, b"\xcc", "B"),
            (65536, b"\xcd", ">H"),
            (2**32, b"\xce", ">I"),
        ):
            if 0 <= value < limit:
                return code + struct.pack(form, value)
        require(value >= 0, "a negative number in a header", 0)
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, list):
        return _length(len(value), (16, 0x90), None, b"\xdc", b"\xdd") + b"".join(map(pack, value))
    if isinstance(value, bytes):
        return _length(len(value), None, b"\xc4", b"\xc5", b"\xc6") + value
    data = value.encode()
    return _length(len(data), (32, 0xA0), b"\xd9", b"\xda", b"\xdb") + data


def pack_array(items: list[str | None]) -> bytes:
    """Encode texts, and None, as a msgpack array."""
    return bytes([0x90 | len(items)]) + b"".join(b"\xc0" if i is None else pack(i) for i in items)


def _length(n: int, fix: tuple[int, int] | None, short: bytes | None, middle: bytes, long: bytes) -> bytes:
    if fix and n < fix[0]:
        return bytes([fix[1] | n])
    if short and n < 256:
        return short + struct.pack("B", n)
    return middle + struct.pack(">H", n) if n < 65536 else long + struct.pack(">I", n)


def frame_key(frame_id: str) -> bytes:
    if len(frame_id) == 32 and set(frame_id) <= set("0123456789abcdef"):
        return bytes.fromhex(frame_id)
    return blake3(frame_id.encode()).digest()[:16]


def mix(key: bytes) -> int:
    hi, lo = struct.unpack(">QQ", key)
    x = hi ^ (lo * 0x9E3779B97F4A7C15 & MASK)
    for _ in range(2):
        x ^= x >> 32
        x = x * 0xD6E8FEB86659FD93 & MASK
    return x ^ (x >> 32)


def fingerprint(entries: dict[bytes, bytes]) -> str:
    """Return the fingerprint of a state given as payload digests by key."""
    n, k = len(entries), 0
    while (1 << k) * 256 < n:
        k += 1
    buckets: list[list[tuple[int, bytes]]] = [[] for _ in range(1 << k)]
    for key in entries:
        mixed = mix(key)
        buckets[mixed >> (64 - k) if k else 0].append((mixed, key))
    level = [blake3(b"".join(key + entries[key] for _, key in sorted(bucket))).digest() for bucket in buckets]
    while len(level) > 1:
        level = [blake3(b"".join(level[at : at + 256])).digest() for at in range(0, len(level), 256)]
    return blake3(b"framelode fingerprint 1" + struct.pack("<QB", n, k) + level[0]).hexdigest()


def open_body(body: bytes) -> tuple[list[bytes], bytes]:
    """Return the events of a body, and its digest."""
    (blocks,) = struct.unpack_from("<I", body)
    events: list[bytes] = []
    hasher = blake3()
    at = 4 + 12 * blocks
    for number in range(blocks):
        count, stored, size = struct.unpack_from("<III", body, 4 + 12 * number)
        raw = zstandard.ZstdDecompressor().decompress(body[at : at + stored], max_output_size=size)
        at += stored
        hasher.update(raw)
        counted, *lengths = struct.unpack_from(f"<{count + 1}I", raw)
        require(counted == count and len(raw) == size, "a block contradicts the directory", 0)
        start = 4 * (count + 1)
        for length in lengths:
            events.append(raw[start : start + length])
            start += length
        require(start == size, "the events do not fill their block", 0)
    require(at == len(body), "the blocks do not fill the body", 0)
    return events, hasher.digest()


@dataclass
class Change:
    """One frame event."""

    position: int
    operation: int
    key: bytes
    digest: bytes
    id: str
    payload: bytes
    previous: int
    saved: int
    changed: list[str]


@dataclass
class Version:
    dataset_id: str
    name: str
    parent_id: str | None = None
    description: str = ""
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    state: str = "draft"
    fingerprint: str | None = None
    committed: list[dict[str, int]] = field(default_factory=list)
    frames: dict[bytes, Change] = field(default_factory=dict)
    last: dict[bytes, Change] = field(default_factory=dict)


@dataclass
class Dataset:
    name: str
    project: str
    description: str = ""
    tags: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


class Reader:
    """Verifies a log and folds it.

    Parameters
    ----------
    connection : sqlite3.Connection
        To the log's database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.connection.row_factory = sqlite3.Row
        self.datasets: dict[str, Dataset] = {}
        self.versions: dict[str, Version] = {}
        self.names: dict[str, str] = {}
        self.banned_blobs: set[str] = set()
        self.uploads: dict[tuple[str, str], str] = {}
        self.pins: dict[str, Any] = {}
        self.stores: dict[str, dict[str, list[Any]]] = {}
        self.written: dict[tuple[str, str], int] = {}

        self.condemned_sources: set[str] = set()
        self.batches: list[dict[str, Any]] = []
        self.uuid = ""
        self.head = 0

    def read(self) -> Reader:
        """Verify and fold the whole log."""
        ((self.uuid, number),) = self.connection.execute("SELECT uuid, format FROM log_info").fetchall()
        if number > FORMAT:
            raise Unsound(f"format {number} is newer than {FORMAT}")
        appends = {row["append_id"]: row for row in self.connection.execute("SELECT * FROM append")}
        require(sorted(appends) == list(range(1, len(appends) + 1)), "append ids are not contiguous", 0)
        previous, recorded_at, stream_versions = (
            blake3(f"framelode log 1 {self.uuid}".encode()).digest(),
            0,
            {},
        )
        spans: dict[int, list[int]] = {}
        for row in self.connection.execute("SELECT * FROM record_batch ORDER BY first_position").fetchall():
            first, count, stream = row["first_position"], row["count"], row["stream_id"]
            require(first == self.head + 1 and 1 <= count <= 10_000, "positions are not contiguous", first)
            require(row["append_id"] in appends, "the append is missing", first)
            require(row["recorded_at"] >= recorded_at, "time runs backwards", first)
            known = stream_versions.get(stream, row["first_version"] - 1)
            require(row["first_version"] == known + 1, "stream versions are not contiguous", first)
            require(row["previous_digest"] == previous, "the chain is broken", first)
            require(
                self._digest(row, appends[row["append_id"]]) == row["digest"], "the digest is wrong", first
            )
            self._contents(row)
            self.head, recorded_at, previous = first + count - 1, row["recorded_at"], row["digest"]
            stream_versions[stream] = row["first_version"] + count - 1
            spans.setdefault(row["append_id"], [first, self.head])[1] = self.head
            self.batches.append(
                {name: row[name] for name in ("first_position", "count", "stream_id", "schema")}
            )
            self.batches[-1]["digest"] = row["digest"].hex()
        for append_id, row in appends.items():
            span = [row["first_position"], row["last_position"]]
            require(spans.get(append_id) == span, f"append {append_id} is not whole", span[0])
        (bodies,) = self.connection.execute("SELECT count(*) FROM record_body").fetchone()
        require(bodies == len(self.batches), "bodies without batches", 0)
        return self

    def _digest(self, row: sqlite3.Row, append: sqlite3.Row) -> bytes:
        values = dict(row) | {
            name: append[name] for name in ("command_id", "part", "request_digest", "result")
        }
        values |= {"append_first": append["first_position"], "append_last": append["last_position"]}
        values |= {"is_last": bool(append["is_last"]), "topics": json.loads(row["topics"])}
        header = pack([values[name] for name in HEADER])
        contents = row["previous_digest"] + row["keys_digest"] + row["body_digest"]
        return blake3(struct.pack("<I", len(header)) + header + contents).digest()

    def _contents(self, row: sqlite3.Row) -> None:
        first = row["first_position"]
        query = "SELECT codec, checksum, body FROM record_body WHERE first_position = ?"
        ((codec, checksum, body),) = self.connection.execute(query, (first,)).fetchall()
        require(codec == "zstd", "the codec is unknown", first)
        require(
            blake3(struct.pack("<Q", first) + blake3(codec.encode() + b"\0" + body).digest()).digest()[:16]
            == checksum,
            "the checksum is wrong",
            first,
        )
        events, digest = open_body(body)
        require(digest == row["body_digest"], "the body is not the one recorded", first)
        require(len(events) == row["count"], "the body holds another number of events", first)
        require(blake3(row["keys"]).digest() == row["keys_digest"], "the keys are not those recorded", first)
        if row["schema"] == "frames.1":
            require(len(row["keys"]) == 33 * row["count"], "the keys are not 33 bytes an event", first)
            self._fold_frames(row, events)
        else:
            require(row["schema"] == "events.1" and row["keys"] == b"", "the schema is unknown", first)
            topics = json.loads(row["topics"])
            for position, event in enumerate(events, first):
                number, state = msgspec.msgpack.decode(event)
                schema_version, fields = msgspec.msgpack.decode(state)
                newest = 2 if topics[number] in {"StoreCreated", "KeySet"} else 1
                require(1 <= schema_version <= newest, "the schema version is newer", first)
                if topics[number].startswith(("Store", "Key")):
                    self._fold_store(row["stream_id"], topics[number], fields, position, row["recorded_at"])
                else:
                    self._fold_event(row["stream_id"], topics[number], fields)

    def _fold_frames(self, row: sqlite3.Row, events: list[bytes]) -> None:
        version = self.versions[row["stream_id"]]
        first, keys = row["first_position"], row["keys"]
        require(version.state == "draft", "frames came after the publish", first)
        operations = set()
        for index, event in enumerate(events):
            row_at = keys[33 * index : 33 * index + 33]
            change = decode_change(event, first + index, row_at[:16], row_at[16], row_at[17:])
            check_meaning(change, version.last.get(change.key))
            operations.add(change.operation)
            version.last[change.key] = change
            if change.operation == DELETE:
                del version.frames[change.key]
            else:
                version.frames[change.key] = change
        named = [TOPICS[operation] for operation in sorted(operations)]
        require(json.loads(row["topics"]) == named, "the topics are not those of the events", first)

    def _fold_event(self, stream: str, topic: str, fields: dict[str, Any]) -> None:
        match topic:
            case "NameClaimed":
                self.names[stream] = fields["dataset_id"]
            case "DatasetCreated":
                self.datasets[stream] = Dataset(**fields)
                claim = blake3(f"{fields['project']}\0{fields['name']}".encode()).hexdigest()[:32]
                require(self.names.get(f"name-{claim}") == stream, "a dataset without its name", 0)
            case "NameReleased":
                del self.names[stream]
            case "DatasetRenamed" | "DatasetDescribed" | "DatasetTagged":
                vars(self.datasets[stream]).update(fields)
            case "VersionAttached":
                self.datasets[stream].versions.append(fields["version_id"])
            case "VersionDetached":
                self.datasets[stream].versions.remove(fields["version_id"])
            case "VersionCreated":
                version = self.versions[stream] = Version(**fields)
                if version.parent_id:
                    parent = self.versions[version.parent_id]
                    require(parent.state == "published", "the parent is not published", 0)
                    version.frames, version.last = dict(parent.frames), dict(parent.last)
            case "VersionPublished":
                version = self.versions[stream]
                version.state, version.fingerprint = "published", fields["fingerprint"]
                require(fields["total"] == len(version.frames), "the total is wrong", 0)
                require(self.fingerprint(stream) == fields["fingerprint"], "the fingerprint is wrong", 0)
            case "BlobsCondemned" | "BlobsCollected":
                self.banned_blobs.update(fields["digests"])
            case "BlobsRestored":
                self.banned_blobs.difference_update(fields["digests"])
            case "FilesUploaded":
                for file in fields["files"]:
                    self.uploads[fields["destination"], file["digest"]] = file["uri"]
            case "SourcesCondemned" | "SourcesRestored" | "SourcesDeleted":
                self._fold_sources(topic, set(fields["uris"]))
            case "LogImported":
                pass
            case _ if topic.startswith("Pin"):
                require(stream == f"pins-{fields['project']}", "a pin is in the wrong stream", 0)
                key = f"{fields['project']}/{fields['manifest']}/{fields['name']}"
                require(self.pins.get(key) == fields.get("before"), "a pin was something else", 0)
                self.pins[key] = fields.get("after")
                self.pins = {key: state for key, state in self.pins.items() if state is not None}
            case _:
                self._fold_small(self.versions[stream], topic, fields)

    def _fold_store(self, stream: str, topic: str, fields: dict[str, Any], position: int, at: int) -> None:
        names = [fields.get("collection", "execution_store"), fields["store"], fields.get("dataset_id")]
        named = pack_array(names)
        require(stream == "store-" + blake3(named).hexdigest()[:32], "a key is in the wrong stream", position)
        documents = self.stores.setdefault(stream, {})
        key = fields.get("key", "__store__")
        if topic == "StoreDeleted":
            require(len(documents) == fields["documents"], "a store had other documents", position)
            documents.clear()
            return
        document = documents.get(key)
        held = self.written.get((stream, key), 0) if document else 0
        if topic != "StoreCreated":
            require(fields.get("previous", 0) == held, "a change follows another one", position)
        self.written[stream, key] = position
        policy, expires_at = fields.get("policy", "persist"), fields.get("expires_at")
        match topic:
            case "StoreCreated" | "KeySet":
                created_at = fields.get("created_at") or at
                require(created_at == (document[1] if document else at), "a key has another age", position)
                documents[key] = [fields["value"].hex(), created_at, at, expires_at, policy]
            case "KeyTtlChanged" | "KeyPolicyChanged":
                documents[key] = [*document[:3], expires_at, policy]
            case "KeyDeleted" | "KeyEvicted":
                del documents[key]
            case _:
                raise Unsound(f"the topic {topic} is unknown")

    def _fold_sources(self, topic: str, uris: set[str]) -> None:
        if topic == "SourcesCondemned":
            self.condemned_sources |= uris
        else:
            self.condemned_sources -= uris
        if topic != "SourcesRestored":
            self.uploads = {key: uri for key, uri in self.uploads.items() if uri not in uris}

    def _fold_small(self, version: Version, topic: str, fields: dict[str, Any]) -> None:
        match topic:
            case "VersionRenamed":
                version.name = fields["name"]
            case "VersionDescribed":
                version.description = fields["description"]
            case "VersionTagged":
                version.tags = fields["tags"]
            case "VersionMetadataSet":
                version.metadata = fields["metadata"]
            case "VersionCommitted":
                version.committed.append({"added": 0, "updated": 0, "deleted": 0, "total": 0} | fields)
                require(version.committed[-1]["total"] == len(version.frames), "a commit counts wrong", 0)
            case "VersionRemoved":
                version.state = "removed"
            case _:
                raise Unsound(f"the topic {topic} is unknown")

    def fingerprint(self, version_id: str) -> str:
        frames = self.versions[version_id].frames
        return fingerprint({key: change.digest for key, change in frames.items()})

    def summary(self) -> dict[str, Any]:
        """Return what the log holds as plain values."""
        return {
            "uuid": self.uuid,
            "head": self.head,
            "batches": self.batches,
            "banned_blobs": sorted(self.banned_blobs),
            "uploads": sorted(self.uploads.values()),
            "pins": self.pins,
            "stores": {stream: documents for stream, documents in self.stores.items() if documents},
            "condemned_sources": sorted(self.condemned_sources),
            "datasets": {key: vars(dataset) for key, dataset in self.datasets.items()},
            "versions": {
                key: {
                    "name": version.name,
                    "parent_id": version.parent_id,
                    "description": version.description,
                    "tags": version.tags,
                    "metadata": version.metadata,
                    "state": version.state,
                    "fingerprint": self.fingerprint(key),
                    "committed": version.committed,
                    "frames": {
                        change.id: [change.position, change.saved or change.position, change.digest.hex()]
                        for change in sorted(version.frames.values(), key=lambda change: change.position)
                    },
                }
                for key, version in self.versions.items()
            },
        }


def decode_change(event: bytes, position: int, key: bytes, operation: int, digest: bytes) -> Change:
    items = msgspec.msgpack.decode(event, type=list[msgspec.Raw])
    require(1 <= len(items) <= 5, "an event of another length", position)
    rest = [msgspec.msgpack.decode(item) for item in items[1:]]
    require(not rest or bool(rest[-1]), "an event that ends in an empty item", position)
    frame_id, previous, saved, changed = rest + [None, 0, 0, []][len(rest) :]
    payload = b"" if bytes(items[0]) == b"\xc0" else bytes(items[0])
    expected = bytes(16) if operation == DELETE else blake3(payload).digest()[:16]
    require(
        digest == expected and (operation == DELETE) == (payload == b""),
        "a payload is not that of its key row",
        position,
    )
    require(frame_id is None or frame_key(frame_id) == key, "an id is not that of its key", position)
    require(frame_id != key.hex(), "an id is stored though it is its key", position)
    return Change(
        position, operation, key, digest, frame_id or key.hex(), payload, previous, saved, changed or []
    )


def check_meaning(change: Change, before: Change | None) -> None:
    """Check an event against the last event of its key."""
    position = change.position
    held = before is not None and before.operation != DELETE
    require(
        change.operation in TOPICS and (change.operation == ADD) != held,
        "an operation that cannot be",
        position,
    )
    require(change.previous == (before.position if before else 0), "previous points elsewhere", position)
    saved = (before.saved or before.position) if held and before else 0
    require(change.saved == saved, "saved points elsewhere", position)
    changed: list[str] = []
    if change.operation == UPDATE and before:
        old, new = (msgspec.msgpack.decode(c.payload, type=dict[str, msgspec.Raw]) for c in (before, change))
        changed = sorted(name for name in old | new if bytes(old.get(name, b"")) != bytes(new.get(name, b"")))
        require(bool(changed), "an update that changes nothing", position)
    require(change.changed == changed, "changed names other fields", position)


def read_log(path: str) -> Reader:
    """Verify and fold the log in a file."""
    connection = sqlite3.connect(path)
    try:
        return Reader(connection).read()
    finally:
        connection.close()


if __name__ == "__main__":
    print(json.dumps(read_log(sys.argv[1]).summary(), indent=1))
