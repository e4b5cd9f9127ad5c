"""Record batches: blocks, digests, and bodies that are damaged."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
import reader
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from framelode.engine.errors import IntegrityError
from framelode.engine.events.domain import BlobsCondemned
from framelode.engine.keys import Operation, frame_keys
from framelode.engine.log import event_batch
from framelode.engine.log.batch import (
    BLOCK_BYTES,
    BLOCK_EVENTS,
    AppendHeader,
    BatchHeader,
    Body,
    body_checksum,
    chain_digest,
    genesis_digest,
    pack_batch,
    stored_hash,
)
from framelode.engine.log.frame_batch import FrameChanges, decode_change, pack_frame_batch

events = st.lists(st.binary(max_size=20), min_size=1, max_size=20) | st.lists(
    st.sampled_from([b"", b"\xc0", b"x" * 1000, bytes(range(256)) * 300]), min_size=1, max_size=300
)


def packed(encoded, keys=b""):
    return pack_batch("stream", 1, "events.1", ["Topic"], encoded, keys)


def body_of(batch):
    return Body(7, batch.codec, batch.body)


def header(**values):
    defaults = {
        "first_position": 1,
        "count": 2,
        "append_id": 1,
        "stream_id": "s",
        "first_version": 1,
        "topics": ("FrameAdded",),
        "schema": "frames.1",
        "recorded_at": 5,
        "actor": "a",
        "context": "{}",
        "previous_digest": b"\1" * 32,
        "keys_digest": b"\2" * 32,
        "body_digest": b"\3" * 32,
    }
    return BatchHeader(**defaults | values)


def append(**values):
    defaults = {
        "append_id": 1,
        "command_id": "c",
        "part": 0,
        "is_last": True,
        "request_digest": b"r",
        "first_position": 1,
        "last_position": 2,
        "result": b"",
    }
    return AppendHeader(**defaults | values)


class TestBody:
    @given(events)
    def test_gives_back_every_event(self, encoded):
        batch = packed(encoded)
        body = body_of(batch)
        assert len(body) == batch.count == len(encoded)
        assert list(body.events()) == encoded
        assert body.digest() == batch.body_digest
        assert batch.stored_hash == stored_hash("zstd", batch.body)
        assert body_checksum(1, batch.stored_hash) != body_checksum(2, batch.stored_hash)

    @given(events)
    def test_is_as_documented(self, encoded):
        batch = packed(encoded)
        assert reader.open_body(batch.body) == (encoded, batch.body_digest)

    def test_bytes_of_short_blocks_are_not_coded(self):
        # Reading them would take ten times as long.
        event = b'{"amount":"12.50","timestamp":"2026-03-01T12:00:00"}'
        assert event in packed([event]).body
        assert event not in packed([event] * 100).body[50:]

    @given(events, st.data())
    def test_finds_one_event_in_its_block(self, encoded, data):
        body = body_of(packed(encoded))
        index = data.draw(st.integers(0, len(encoded) - 1))
        block, first = body.block_of(index)
        start, stop = body.bounds(block)
        assert start == first <= index < stop
        assert body.open_block(block).event(index - first) == encoded[index]
        assert body.open_block(block).events() == encoded[start:stop]

    @given(st.lists(st.integers(), min_size=1, max_size=300))
    def test_gives_blocks_as_one_array(self, values):
        values = [value % 2**63 for value in values]
        body = body_of(packed([msgspec.msgpack.encode(value) for value in values]))
        decoded = [
            msgspec.msgpack.decode(body.open_block(number).as_array()) for number in range(body.blocks)
        ]
        assert [value for block in decoded for value in block] == values

    @given(st.lists(st.integers(0, BLOCK_BYTES + 10), min_size=1, max_size=6), st.integers(1, 300))
    def test_blocks_close_where_the_document_says(self, sizes, small):
        encoded = [b"x" * size for size in sizes] + [b"y"] * small
        body = body_of(packed(encoded))
        start = 0
        for number in range(body.blocks):
            first, stop = body.bounds(number)
            assert first == start
            size = sum(map(len, encoded[first:stop]))
            assert stop - first <= BLOCK_EVENTS
            assert size <= BLOCK_BYTES or stop - first == 1
            if stop < len(encoded):
                assert stop - first == BLOCK_EVENTS or size + len(encoded[stop]) > BLOCK_BYTES
            start = stop
        assert start == len(encoded)

    def test_does_not_depend_on_where_it_stands(self):
        one = pack_batch("stream", 1, "events.1", ["Topic"], [b"a", b"b"])
        other = pack_batch("other", 99, "events.1", ["Topic"], [b"a", b"b"])
        assert (one.body, one.body_digest, one.keys_digest) == (
            other.body,
            other.body_digest,
            other.keys_digest,
        )

    @given(events, st.data())
    def test_damage_is_named_or_leaves_the_events_alone(self, encoded, data):
        batch = packed(encoded)
        damaged = bytearray(batch.body)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        damaged = bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))])
        assert damaged == batch.body or stored_hash("zstd", damaged) != batch.stored_hash
        digest, found = self.read_damaged(damaged)
        assert digest, "the error says where"
        assert found is None or (digest == batch.body_digest) == (found == encoded)

    def read_damaged(self, damaged):
        try:
            body = Body(7, "zstd", damaged)
            return body.digest(), list(body.events())
        except IntegrityError as error:
            return error.position == 7 and "position 7" in str(error), None

    @pytest.mark.parametrize(
        ("codec", "data", "reason"),
        [
            ("lz4", b"", "codec 'lz4' is unknown"),
            ("zstd", b"", "it is empty"),
            ("zstd", b"\1\0\0\0", "directory is truncated"),
            ("zstd", b"\xff\xff\xff\xff", "directory is truncated"),
            ("zstd", b"\0\0\0\0x", "do not add up to its size"),
            ("zstd", struct.pack("<IIII", 1, 1, 3, 8) + b"abc", "cannot be decompressed"),
        ],
    )
    def test_what_is_wrong_is_said(self, codec, data, reason):
        with pytest.raises(IntegrityError, match=reason):
            Body(7, codec, data).digest()

    def test_a_block_that_contradicts_the_directory(self):
        batch = packed([b"ab", b"c"])
        for index, value in ((4, 3), (12, 9), (12, 16), (12, 2**32 - 1)):
            wrong = batch.body[:index] + struct.pack("<I", value) + batch.body[index + 4 :]
            with pytest.raises(IntegrityError, match="block 0"):
                list(Body(7, "zstd", wrong).events())

    def test_lengths_that_do_not_fill_a_block(self):
        import zstandard

        raw = struct.pack("<III", 2, 1, 1) + b"abc"
        block = zstandard.ZstdCompressor().compress(raw)
        body = Body(7, "zstd", struct.pack("<IIII", 1, 2, len(block), len(raw)) + block)
        with pytest.raises(IntegrityError, match="block 0"):
            list(body.events())


class TestChain:
    def test_every_field_enters_the_digest(self):
        base = chain_digest(header(), append())
        other = {int: 3, str: "z", bytes: b"z" * 32, bool: False, tuple: ("FrameAdded", "x")}
        seen = {base}
        for name in BatchHeader.__struct_fields__:
            if name not in {"digest", "append_id"}:
                seen.add(chain_digest(header(**{name: other[type(getattr(header(), name))]}), append()))
        for name in AppendHeader.__struct_fields__:
            seen.add(chain_digest(header(), append(**{name: other[type(getattr(append(), name))]})))
        assert len(seen) == 1 + len(BatchHeader.__struct_fields__) - 2 + len(AppendHeader.__struct_fields__)

    def test_neighbouring_fields_do_not_run_into_each_other(self):
        assert chain_digest(header(actor="ab", context="c"), append()) != chain_digest(
            header(actor="a", context="bc"), append()
        )
        assert chain_digest(header(topics=("a", "b")), append()) != chain_digest(
            header(topics=("a,b",)), append()
        )

    @given(
        st.integers(1, 2**63 - 1),
        st.integers(1, 10_000),
        st.text(max_size=300),
        st.lists(st.text(max_size=40), max_size=20),
        st.binary(max_size=70_000) | st.binary(max_size=20),
        st.booleans(),
    )
    def test_header_as_documented(self, position, count, text, topics, result, is_last):
        made = header(
            first_position=position, count=count, actor=text, topics=tuple(topics), recorded_at=position
        )
        by = append(result=result, is_last=is_last, last_position=position)
        values = msgspec.structs.asdict(made) | msgspec.structs.asdict(by)
        values |= {
            "first_position": position,
            "append_first": by.first_position,
            "append_last": by.last_position,
        }
        values["topics"] = list(topics)
        canonical = reader.pack([values[name] for name in reader.HEADER])
        content = made.previous_digest + made.keys_digest + made.body_digest
        expected = blake3(struct.pack("<I", len(canonical)) + canonical + content).digest()
        assert chain_digest(made, by) == expected

    def test_genesis_commits_to_the_log(self):
        assert genesis_digest("a") != genesis_digest("b")
        assert genesis_digest("a") == blake3(b"framelode log 1 a").digest()


@pytest.mark.parametrize(
    ("limit", "value", "counts"), [("BATCH_EVENTS", 3, [3, 3, 1]), ("BATCH_BYTES", 1, [1] * 7)]
)
def test_events_are_packed_into_as_many_batches_as_either_limit_asks_for(monkeypatch, limit, value, counts):
    monkeypatch.setattr(event_batch, limit, value)
    told = [BlobsCondemned(originator_id="blobs", originator_version=0, digests=["0" * 64])] * 7
    batches = list(event_batch.batches_of("blobs", 5, told))
    assert [batch.count for batch in batches] == counts
    assert [batch.first_version for batch in batches] == [5 + sum(counts[:n]) for n in range(len(counts))]


class TestFrameEvents:
    changes = st.lists(
        st.tuples(
            st.sampled_from(["ab" * 16, "0" * 32, "pizza", "é", "AB" * 16]),
            st.sampled_from(Operation),
            st.just(0) | st.integers(0, 2**62),
            st.just(0) | st.integers(0, 2**62),
            st.lists(st.sampled_from(["meta", "rois"]), max_size=2),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda change: change[0],
    ).map(
        lambda changes: [
            (name, op, previous if op == Operation.ADD else previous + 1, *rest)
            for name, op, previous, *rest in changes
        ]
    )

    @given(changes)
    def test_are_read_back(self, changes):
        ids = [frame_id for frame_id, *_ in changes]
        keys, plain = frame_keys(ids)
        payloads = [b"" if op == Operation.DELETE else b"\x80" for _, op, *_ in changes]
        made = FrameChanges(
            ids=ids,
            plain=plain,
            keys=keys,
            digests=b"".join(blake3(payload).digest(16) if payload else bytes(16) for payload in payloads),
            operations=np.array([op for _, op, *_ in changes], np.uint8),
            payloads=payloads,
            previous=np.array([previous for *_, previous, _, _ in changes], np.uint64),
            saved=np.array([saved if previous else 0 for *_, previous, saved, _ in changes], np.uint64),
            changed={i: names for i, (*_, previous, _, names) in enumerate(changes) if names and previous},
        )
        batch, rows = pack_frame_batch("v", 1, made)
        assert batch.keys == rows.tobytes()
        assert batch.topics == tuple(
            name
            for op, name in ((1, "FrameAdded"), (2, "FrameUpdated"), (3, "FrameDeleted"))
            if op in made.operations.tolist()
        )
        for index, event in enumerate(Body(1, batch.codec, batch.body).events()):
            frame_id, _, previous, saved, names = changes[index]
            row = batch.keys[33 * index : 33 * index + 33]
            documented = reader.decode_change(event, index, row[:16], row[16], row[17:])
            read = decode_change(event, 2**63 - 1)
            expected = (previous, saved if previous else 0, names if previous else [])
            assert (read.previous, read.saved, read.changed) == expected
            assert (documented.previous, documented.saved, documented.changed) == expected
            assert documented.id == frame_id
            assert read.payload == documented.payload == payloads[index]

    @given(st.binary(max_size=30))
    def test_damage_is_named(self, event):
        position = None
        try:
            assert isinstance(decode_change(event, 9).previous, int)
        except IntegrityError as error:
            position = error.position
        assert position in {None, 9}
