"""Record batches: many events in one physical record; codec and digests.

`docs/format.md` specifies the layout.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
import zstandard
from blake3 import blake3
from numpy.typing import NDArray

from ..decoding import UNDECODABLE, Decoded, guarded
from ..errors import IntegrityError, InvalidValueError, UnreadableError
from .joined import Joined, lengths_of

CODEC = "zstd"
FRAMES_SCHEMA = "frames.1"
EVENTS_SCHEMA = "events.1"
BLOCK_EVENTS = 128
BLOCK_BYTES = 256 * 1024
BATCH_EVENTS = 10_000
BATCH_BYTES = 8 * 1024 * 1024
DIGEST_BYTES = 32
CHECKSUM_BYTES = 16

_COMPRESSION_LEVEL = 1
_FEW_BYTES, _FEW_LEVEL = 64 * 1024, 6
"""The blocks of a small body are compressed better: they take less time than the rest of the transaction."""
_SHORT_BLOCK, _SHORT_LEVEL = 512, -1
"""Negative levels code no single bytes: for a short block this saves little, and to read it takes ten times as long."""
_FEW_EVENTS = 40
"""To look for fewer events one by one takes less time than a few calls of numpy."""
_SMALL_BODY = 16 * 1024
"""Copying less than this costs less than a second call of the hash function."""
# One event of 16 MB with its id fits. A larger size is damage, and no memory must be allocated for it.
_LARGEST_BLOCK = 64 * 1024 * 1024
# A batch of frames has 16 MB plus their ids. Only the lifecycle events of one append may take more.
_LARGEST_BODY = 128 * 1024 * 1024
_DIRECTORY_ENTRY = np.dtype([("events", "<u4"), ("stored", "<u4"), ("raw", "<u4")])
_U32 = struct.Struct("<I")
_ONE_BLOCK = struct.Struct("<IIII")
"""What a body of one block begins with: the number of blocks, and the entry of the block in the directory."""
_FIRST_BLOCK = _ONE_BLOCK.size
_LENGTHS = tuple(struct.Struct(f"<{count + 1}I") for count in range(BLOCK_EVENTS + 1))
"""What a block of so many events begins with: their number, and their lengths."""
_NO_KEYS = blake3(b"").digest()
_header_encoder = msgspec.msgpack.Encoder()
_decode_any: Callable[[bytes], Any] = guarded(msgspec.msgpack.decode)
_local = threading.local()

Positive = Annotated[int, msgspec.Meta(ge=1)]
"""Positions and append ids start at 1. A smaller stored value is damage."""


class Batch(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A record batch before it is appended: it has no position, time or chain digest yet.

    Neither `keys` nor the body contain a version, so after a conflict a batch can be renumbered by replacing only
    `first_version`.
    """

    stream_id: str
    first_version: int
    count: int
    schema: str
    topics: tuple[str, ...]
    keys: bytes
    keys_digest: bytes
    codec: str
    body: bytes
    body_digest: bytes
    stored_hash: bytes


class AppendHeader(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The header of an append, which is one transaction of one command."""

    append_id: Positive
    command_id: str
    part: int
    is_last: bool
    request_digest: bytes
    first_position: Positive
    last_position: Positive
    result: bytes

    def decode_result(self, decode: Callable[[bytes], Decoded] = _decode_any) -> Decoded:
        """Return the result of the command. Raises `UnreadableError` if it is not one that framelode writes."""
        try:
            return decode(self.result)
        except UNDECODABLE as error:
            message = f"the result of command {self.command_id!r} cannot be read ({error})"
            raise UnreadableError(message, position=self.first_position) from error


class BatchHeader(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The header of a recorded batch. `digest` covers it and everything before."""

    first_position: Positive
    count: Positive
    append_id: Positive
    stream_id: str
    first_version: int
    topics: tuple[str, ...]
    schema: str
    recorded_at: int
    actor: str
    context: str
    previous_digest: bytes
    keys_digest: bytes
    body_digest: bytes
    digest: bytes = b""

    @property
    def last_position(self) -> int:
        """Position of the last event of the batch."""
        return self.first_position + self.count - 1

    @property
    def last_version(self) -> int:
        """Stream version of the last event of the batch."""
        return self.first_version + self.count - 1

    def position_of(self, version: int) -> int:
        """Return the position of the event at a stream version."""
        return self.first_position + version - self.first_version

    def version_at(self, position: int) -> int:
        """Return the stream version of the event at a position."""
        return self.first_version + position - self.first_position


class OpenedBatch(msgspec.Struct, frozen=True, gc=False):
    """What is read of a batch for its events alone, and its encoded events."""

    first_position: int
    count: int
    stream_id: str
    first_version: int
    topics: tuple[str, ...]
    schema: str
    events: Sequence[bytes]


def chain_digest(header: BatchHeader, append: AppendHeader) -> bytes:
    """Return the 32-byte chain digest of a batch, over its header, the previous digest, the keys and the body."""
    canonical = _header_encoder.encode(
        [
            header.first_position,
            header.count,
            header.stream_id,
            header.first_version,
            header.topics,
            header.schema,
            header.recorded_at,
            header.actor,
            header.context,
            append.append_id,
            append.command_id,
            append.part,
            append.is_last,
            append.request_digest,
            append.first_position,
            append.last_position,
            append.result,
        ]
    )
    hasher = blake3(_U32.pack(len(canonical)))
    hasher.update(canonical)
    hasher.update(header.previous_digest)
    hasher.update(header.keys_digest)
    hasher.update(header.body_digest)
    return hasher.digest()


def genesis_digest(log_uuid: str) -> bytes:
    """Return the `previous_digest` of the first batch of a log."""
    return blake3(b"framelode log 1 " + log_uuid.encode()).digest()


def pack_batch(
    stream_id: str,
    first_version: int,
    schema: str,
    topics: Sequence[str],
    events: Sequence[bytes],
    keys: bytes = b"",
    blocks: Sequence[int] | None = None,
) -> Batch:
    """Pack encoded events into a batch: blocks, compression and digests.

    Parameters
    ----------
    blocks : sequence of int, optional
        Number of events in each block, if known. Block limits are part of the digest.
    """
    body, body_digest = _pack_body(events, blocks)
    return Batch(
        stream_id=stream_id,
        first_version=first_version,
        count=len(events),
        schema=schema,
        topics=tuple(topics),
        keys=keys,
        keys_digest=blake3(keys).digest() if keys else _NO_KEYS,
        codec=CODEC,
        body=body,
        body_digest=body_digest,
        stored_hash=stored_hash(CODEC, body),
    )


def stored_hash(codec: str, body: bytes) -> bytes:
    """Return the 32-byte hash of a stored body. It is computed before the log is locked."""
    if len(body) < _SMALL_BODY:
        return blake3(codec.encode() + b"\0" + body).digest()
    hasher = blake3(codec.encode() + b"\0")
    hasher.update(body)
    return hasher.digest()


def body_checksum(first_position: int, hashed: bytes) -> bytes:
    """Return the 16-byte checksum of a stored body, which includes its position."""
    return blake3(first_position.to_bytes(8, "little") + hashed).digest(length=CHECKSUM_BYTES)


def _pack_body(events: Sequence[bytes], blocks: Sequence[int] | None) -> tuple[bytes, bytes]:
    if len(events) == 1:
        # Most lifecycle events are recorded alone.
        raw = _LENGTHS[1].pack(1, len(events[0])) + events[0]
        block = _compressed(raw, len(raw), len(raw))
        return _ONE_BLOCK.pack(1, 1, len(block), len(raw)) + block, blake3(raw).digest()
    lengths = lengths_of(events).astype("<u4")
    hasher = blake3()
    stored: list[bytes] = []
    entries: list[tuple[int, int, int]] = []
    total, size = 0, int(lengths.sum(dtype=np.int64))
    ends = None if blocks is None else np.cumsum([0, *blocks]).tolist()
    for start, stop in _block_bounds(lengths) if ends is None else pairwise(ends):
        some = (events.buffer(start, stop),) if isinstance(events, Joined) else events[start:stop]
        raw = b"".join((_U32.pack(stop - start), lengths[start:stop].tobytes(), *some))
        total += len(raw)
        hasher.update(raw)
        block = _compressed(raw, total, size)
        stored.append(block)
        entries.append((stop - start, len(block), len(raw)))
    directory = np.array(entries, _DIRECTORY_ENTRY).tobytes()
    return b"".join((_U32.pack(len(entries)), directory, *stored)), hasher.digest()


def _compressed(raw: bytes, total: int, size: int) -> bytes:
    """Compress a block. `total` is the size of the body up to its end, `size` the size of all events of the body."""
    if len(raw) > _LARGEST_BLOCK or total > _LARGEST_BODY:
        raise InvalidValueError(
            f"an event can have at most {_LARGEST_BLOCK >> 20} MB, and all events of a batch {_LARGEST_BODY >> 20} MB: "
            "record less at a time"
        )
    level = (
        _COMPRESSION_LEVEL if size > _FEW_BYTES else _FEW_LEVEL if len(raw) >= _SHORT_BLOCK else _SHORT_LEVEL
    )
    return _compressor(level).compress(raw)


def _block_bounds(lengths: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    ends = np.cumsum(lengths, dtype=np.int64)
    start, count = 0, len(lengths)
    while start < count:
        before = int(ends[start - 1]) if start else 0
        by_bytes = int(np.searchsorted(ends, before + BLOCK_BYTES, side="right"))
        stop = min(count, start + BLOCK_EVENTS, max(by_bytes, start + 1))
        yield start, stop
        start = stop


def read_events(first_position: int, codec: str, data: bytes) -> Sequence[bytes]:
    """Return every encoded event of a stored body; faster than `Body` where these are few.

    Raises
    ------
    IntegrityError
        A block cannot be opened or contradicts the directory.
    """
    if codec == CODEC and len(data) > _FIRST_BLOCK:
        blocks, count, stored, size = _ONE_BLOCK.unpack_from(data)
        if (
            blocks == 1
            and count <= BLOCK_EVENTS
            and size <= BLOCK_BYTES
            and stored == len(data) - _FIRST_BLOCK
        ):
            found = _read_block(data[_FIRST_BLOCK:], count, size)
            if found:
                return found
    return list(Body(first_position, codec, data).events())


def _read_block(block: bytes, count: int, size: int) -> list[bytes]:
    """Return the events of a small block; none if it is damaged, which `Body` explains."""
    start = _U32.size * (count + 1)
    try:
        if zstandard.frame_content_size(block) != size or size < start:
            return []
        raw = _decompressor().decompress(block)
    except zstandard.ZstdError:
        return []
    if count == 1:
        return [raw[start:]] if _LENGTHS[1].unpack_from(raw) == (1, size - start) else []
    held, *lengths = _LENGTHS[count].unpack_from(raw)
    if held != count or start + sum(lengths) != size:
        return []
    ends = list(accumulate(lengths, initial=start))
    return [raw[a:b] for a, b in pairwise(ends)]


class Body:
    """A stored body. It finds blocks and events without decompressing other blocks.

    Parameters
    ----------
    first_position : int
        Position of the first event.
    codec : str
        Codec of the blocks.
    data : bytes
        The stored body.
    keeps_blocks : bool
        Keep the blocks that were opened.

    Raises
    ------
    IntegrityError
        A block cannot be decompressed or does not match the directory.
    """

    __slots__ = (
        "_codec",
        "_data",
        "_ends",
        "_offsets",
        "_opened",
        "_plain_ends",
        "_raw",
        "first_position",
        "raw_bytes",
    )

    def __init__(self, first_position: int, codec: str, data: bytes, *, keeps_blocks: bool = False) -> None:
        self.first_position = first_position
        self._opened: dict[int, Block] | None = {} if keeps_blocks else None
        self._codec = codec
        self._data = memoryview(data)
        directory = self._read_directory(data)
        self._ends = np.cumsum(directory["events"], dtype=np.int64)
        self._plain_ends: list[int] = self._ends.tolist()
        stored = directory["stored"].astype(np.int64)
        first_block = _U32.size + directory.nbytes
        self._offsets = np.concatenate(([first_block], first_block + np.cumsum(stored)))
        self._raw = directory["raw"]
        self.raw_bytes = int(self._raw.sum(dtype=np.int64))
        if self._offsets[-1] != len(data):
            raise self._damaged("the sizes of its blocks do not add up to its size")

    def _read_directory(self, data: bytes) -> np.ndarray[Any, Any]:
        if self._codec != CODEC:
            raise self._damaged(f"its codec {self._codec!r} is unknown")
        if len(data) < _U32.size:
            raise self._damaged("it is empty")
        (blocks,) = _U32.unpack_from(data)
        if len(data) < _U32.size + blocks * _DIRECTORY_ENTRY.itemsize:
            raise self._damaged("its directory is truncated")
        return np.frombuffer(data, _DIRECTORY_ENTRY, blocks, _U32.size)

    def _damaged(self, reason: str) -> IntegrityError:
        message = f"the body of the batch at position {self.first_position} is damaged: {reason}"
        return UnreadableError(message, position=self.first_position)

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def most_bytes(self) -> int:
        """Bytes that the body takes when all its blocks are open."""
        return len(self._data) + self.raw_bytes

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self._ends)

    @property
    def block_events(self) -> list[int]:
        """Number of events of each block."""
        return np.diff(self._ends, prepend=0).tolist()

    def block_of(self, index: int) -> tuple[int, int]:
        """Return the block that contains event `index`, and the index of the first event of the block."""
        block = int(np.searchsorted(self._ends, index, side="right"))
        return block, int(self._ends[block - 1]) if block else 0

    def blocks_of(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the blocks that contain events at ascending indices, and the indices as if there were no other blocks."""
        if int(indices[-1]) >= len(self):
            raise self._damaged(f"it has {len(self)} events, and none with the index {indices[-1]}")
        if len(indices) == len(self):
            return np.arange(self.blocks), indices
        numbers = np.searchsorted(self._ends, indices, side="right")
        begins = np.append(True, numbers[1:] != numbers[:-1])
        some = numbers[begins]
        counts = np.diff(self._ends, prepend=0)[some]
        left_out = self._ends[some] - np.cumsum(counts)
        return some, indices - left_out[np.cumsum(begins) - 1]

    def sizes_of(self, blocks: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many events are in some blocks, and how many bytes when they are decompressed."""
        return np.diff(self._ends, prepend=0)[blocks], self._raw[blocks].astype(np.int64)

    def bounds(self, block: int) -> tuple[int, int]:
        """Return the range of event indexes in a block."""
        return (int(self._ends[block - 1]) if block else 0), int(self._ends[block])

    def open_block(self, block: int) -> Block:
        """Return one block, decompressed."""
        if self._opened is None:
            return self._open_block(block)
        opened = self._opened.get(block)
        if opened is None:
            opened = self._opened[block] = self._open_block(block)
        return opened

    def _open_block(self, block: int) -> Block:
        raw = self.raw_block(block)
        start, stop = self.bounds(block)
        count = stop - start
        if _U32.unpack_from(raw)[0] != count:
            raise self._damaged(f"block {block} does not match the directory")
        opened = Block(raw, count)
        if opened.end != len(raw):
            raise self._damaged(f"the lengths of the events of block {block} do not add up to its size")
        return opened

    def raw_block(self, block: int) -> bytes:
        """Return one block decompressed, of the size in the directory. The total size of the body is checked first."""
        stored = self._data[int(self._offsets[block]) : int(self._offsets[block + 1])]
        size = int(self._raw[block])
        try:
            if size > _LARGEST_BLOCK or zstandard.frame_content_size(stored) != size:
                raise self._damaged(f"the size of block {block} does not match the directory")
            if self.raw_bytes > _LARGEST_BODY:
                raise self._damaged(
                    f"it has {self.raw_bytes} bytes according to its directory, but the limit is {_LARGEST_BODY}"
                )
            raw = _decompressor().decompress(stored, max_output_size=size)
        except zstandard.ZstdError as error:
            raise self._damaged(f"block {block} cannot be decompressed ({error})") from error
        start, stop = self.bounds(block)
        if len(raw) != size or size < _U32.size * (stop - start + 1):
            raise self._damaged(f"block {block} does not match the directory")
        return raw

    def event(self, index: int) -> bytes:
        """Return one encoded event."""
        return self._few_events([index])[0]

    def _few_events(self, indices: list[int]) -> list[bytes]:
        found: list[bytes] = []
        block, first, end = None, 0, 0
        for index in indices:
            if block is None or index >= end:
                number = bisect_right(self._plain_ends, index)
                block = self.open_block(number)
                first, end = self._plain_ends[number - 1] if number else 0, self._plain_ends[number]
            found.append(block.event(index - first))
        return found

    def events_at(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return some encoded events, at ascending indices. Each of their blocks is opened once."""
        if len(indices) < _FEW_EVENTS:
            return self._few_events(indices.tolist())
        numbers = np.searchsorted(self._ends, indices, side="right")
        within = (indices - np.where(numbers > 0, self._ends[numbers - 1], 0)).tolist()
        starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(within)]
        blocks = map(self.open_block, numbers[starts[:-1]].tolist())
        found = [block.events_at(within[a:b]) for block, (a, b) in zip(blocks, pairwise(starts), strict=True)]
        return list(chain.from_iterable(found))

    def events(self) -> Iterator[bytes]:
        """Yield every encoded event in order."""
        for block in range(self.blocks):
            yield from self.open_block(block).events()

    def digest(self) -> bytes:
        """Return the digest of the uncompressed body."""
        hasher = blake3()
        for block in range(self.blocks):
            hasher.update(self.open_block(block).raw)
        return hasher.digest()


class Block:
    """A decompressed block: event lengths, then the events.

    Attributes
    ----------
    offsets : ndarray of int64, shape (count + 1,)
        Where each event begins in `raw`, and where the last one ends.
    """

    __slots__ = ("_at", "count", "offsets", "raw")

    def __init__(self, raw: bytes, count: int) -> None:
        self.raw = raw
        self.count = count
        # The count and the lengths precede the events; their sums are the offsets of the events.
        self.offsets = np.frombuffer(raw, "<u4", count + 1).astype(np.int64)
        self.offsets[0] = _U32.size * (count + 1)
        np.add.accumulate(self.offsets, out=self.offsets)
        # The same numbers: a view gives plain integers, which takes a third of the time.
        self._at = self.offsets.data

    @property
    def end(self) -> int:
        """Offset of the end of the last event."""
        return self._at[self.count]

    def event(self, index: int) -> bytes:
        """Return one encoded event of the block."""
        return self.raw[self._at[index] : self._at[index + 1]]

    def events_at(self, indices: Sequence[int]) -> list[bytes]:
        """Return some encoded events of the block."""
        raw, at = self.raw, self._at
        return [raw[at[index] : at[index + 1]] for index in indices]

    def events(self) -> list[bytes]:
        """Return every encoded event of the block."""
        offsets = self.offsets.tolist()
        return [self.raw[a:b] for a, b in pairwise(offsets)]

    def as_array(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the events from `start` to `stop` as one msgpack array, which can be decoded in a single call."""
        end = self.count if stop is None else stop
        return b"\xdd" + (end - start).to_bytes(4, "big") + self.raw[self._at[start] : self._at[end]]


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """Return the compressor of a level."""
    try:
        compressors = _local.compressors
    except AttributeError:
        compressors = _local.compressors = {}
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        return _local.decompressor
    except AttributeError:
        _local.decompressor = zstandard.ZstdDecompressor()
        return _local.decompressor
