"""Frame keys, their halves and mix, and key rows."""

from __future__ import annotations

import numpy as np
import pytest
import reader
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from framelode.engine.keys import (
    KeyRow,
    Operation,
    frame_key,
    frame_keys,
    is_plain_id,
    key_bytes,
    key_columns,
    make_rows,
    mix,
    mix_one,
    read_rows,
)

hex_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
near_misses = st.sampled_from(
    [
        "",
        "a" * 31,
        "a" * 33,
        "A" * 32,
        "a" * 31 + "A",
        "g" * 32,
        " " + "a" * 31,
        "a" * 31 + " ",
        "aa " * 10 + "aa",
        "aa aa" + "a" * 27,
        "0x" + "a" * 30,
        "\u0661" * 32,
        "\uff11" * 32,
        "-" + "1" * 31,
        "_".join(["1" * 15, "1" * 16]),
    ]
)
ids = st.one_of(hex_ids, near_misses, st.text(max_size=40), hex_ids.map(str.upper))


class TestKeys:
    @given(ids)
    def test_key_as_documented(self, frame_id):
        assert frame_key(frame_id) == reader.frame_key(frame_id)
        assert len(frame_key(frame_id)) == 16

    @given(ids)
    def test_plain_ids_are_their_own_keys(self, frame_id):
        assert is_plain_id(frame_id) == (len(frame_id) == 32 and set(frame_id) <= set("0123456789abcdef"))
        if is_plain_id(frame_id):
            assert frame_key(frame_id).hex() == frame_id
        else:
            assert frame_key(frame_id) == blake3(frame_id.encode()).digest(16)

    @given(st.lists(ids, max_size=8) | st.lists(hex_ids, max_size=8) | st.lists(near_misses, max_size=4))
    def test_many_at_once(self, frame_ids):
        keys, plain = frame_keys(frame_ids)
        assert keys == b"".join(map(frame_key, frame_ids))
        assert plain == all(map(is_plain_id, frame_ids))

    def test_ids_that_are_plain_only_together(self):
        # Joined they are 64 hex digits, of which white space must not count.
        for frame_ids in (
            ["a" * 33, "a" * 31],
            ["a" * 30 + "  ", "b" * 32],
            ["a" * 31 + "\n", "a" * 31 + "\n"],
        ):
            keys, plain = frame_keys(frame_ids)
            assert not plain
            assert keys == b"".join(map(frame_key, frame_ids))

    @given(st.lists(st.binary(min_size=16, max_size=16), max_size=8))
    def test_halves_are_big_endian_and_keep_zero_bytes(self, keys):
        hi, lo = key_columns(b"".join(keys))
        assert hi.dtype == lo.dtype == np.uint64
        assert [int(a) << 64 | int(b) for a, b in zip(hi, lo, strict=True)] == [
            int.from_bytes(k, "big") for k in keys
        ]

    @given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=8))
    def test_mix_as_documented(self, keys):
        before = key_columns(b"".join(keys))
        copies = [half.copy() for half in before]
        assert mix(*before).tolist() == [reader.mix(key) for key in keys]
        assert [mix_one(key) for key in keys] == mix(*before).tolist()
        assert all(np.array_equal(half, copy) for half, copy in zip(before, copies, strict=True))

    @given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 2**64 - 1), min_size=2, max_size=20))
    def test_mix_is_one_to_one_in_each_half(self, fixed, others):
        many = np.array(sorted(others), np.uint64)
        same = np.full(len(many), fixed, np.uint64)
        assert len(np.unique(mix(many, same))) == len(many)
        assert len(np.unique(mix(same, many))) == len(many)

    @pytest.mark.parametrize("step", [1, 256, 1 << 32, 1 << 64, 1 << 72, 1 << 120])
    def test_mix_spreads_sequential_keys(self, step):
        keys = b"".join(
            (number * step % (1 << 128)).to_bytes(16, "big")
            for number in range(min(1 << 14, (1 << 128) // step))
        )
        mixed = mix(*key_columns(keys))
        counts = np.bincount((mixed >> np.uint64(58)).astype(int), minlength=64)
        expected = len(mixed) / 64
        # Chi-square of 63 degrees of freedom: 120 is far beyond chance, and the keys are fixed.
        assert ((counts - expected) ** 2 / expected).sum() < 120


class TestRows:
    rows = st.lists(
        st.tuples(
            st.binary(min_size=16, max_size=16),
            st.sampled_from(Operation),
            st.binary(min_size=16, max_size=16),
        ),
        max_size=8,
    )

    @given(rows)
    def test_are_made_and_read_back(self, events):
        keys = b"".join(key for key, *_ in events)
        operations = np.array([op for _, op, _ in events], np.uint8)
        made = make_rows(keys, operations, b"".join(digest for *_, digest in events))
        data = made.tobytes()
        assert data == b"".join(key + bytes([op]) + digest for key, op, digest in events)
        assert KeyRow.itemsize == 33
        read = read_rows(data)
        assert read["op"].tolist() == operations.tolist()
        assert key_bytes(read) == keys
        digests = [(int(row["digest_hi"]) << 64 | int(row["digest_lo"])).to_bytes(16, "big") for row in read]
        assert digests == [digest for *_, digest in events]
