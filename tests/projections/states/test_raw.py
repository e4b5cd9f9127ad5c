"""Events of a state that are read together: the same as one by one, wherever they are, and damage is named."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from framelode.engine.errors import IntegrityError
from framelode.engine.keys import KEY_SIZE, make_rows
from framelode.engine.log.batch import Body, pack_batch
from framelode.projections.states.raw import StoredEvents

PAD = 3


def rows_of(count, first):
    keys = b"".join((first + number).to_bytes(KEY_SIZE, "big") for number in range(count))
    return keys, make_rows(keys, np.ones(count, np.uint8), bytes(KEY_SIZE * count)).tobytes()


@given(
    st.lists(st.tuples(st.integers(1, 500), st.sampled_from([1, 2, 130])), min_size=1, max_size=3),
    st.booleans(),
    st.data(),
)
def test_some_events_of_some_blocks(sizes, has_buffer, data):
    stored, first, events, keys = StoredEvents(), 1, {}, []
    for count, every in sizes:
        encoded = [bytes([number % 251]) * (number % 7) for number in range(count)]
        body = Body(first, "zstd", pack_batch("stream", 1, "frames.1", ["Topic"], encoded).body)
        start = data.draw(st.integers(0, count - 1))
        indices = np.arange(start, count, every)
        own, rows = rows_of(count, first)
        stored.add(body, indices, rows)
        events |= {first + index: encoded[index] for index in indices.tolist()}
        keys += [own[KEY_SIZE * index : KEY_SIZE * (index + 1)] for index in indices.tolist()]
        first += count
    buffer = bytearray(b"x" * (stored.size + 50)) if has_buffer else None
    found = stored.events(PAD, buffer)
    assert len(found) == len(stored) == len(events)
    assert dict(zip(found.positions.tolist(), map(found.event, range(len(found))), strict=True)) == events
    assert found.keys == b"".join(keys)
    assert bytes(found.data[stored.size :]) == bytes(PAD)


@pytest.mark.parametrize(
    ("head", "message"),
    [((2, 1, 1), "do not add up"), ((2, 1, 3), "do not add up"), ((1, 1, 2), "does not match the directory")],
)
def test_lengths_that_do_not_match(head, message):
    """Those of the block before are fine."""
    blocks = [struct.pack("<3I", *one) + b"abc" for one in ((2, 1, 2), head)]
    compressed = [zstandard.compress(raw) for raw in blocks]
    directory = [(2, len(some), len(raw)) for some, raw in zip(compressed, blocks, strict=True)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<3I", *entry) for entry in directory)
    stored = StoredEvents()
    stored.add(Body(7, "zstd", data + b"".join(compressed)), np.arange(4), rows_of(4, 7)[1])
    with pytest.raises(
        IntegrityError, match=f"position 7 is damaged: .*block 1.*{message}|block 1 {message}"
    ):
        stored.events(PAD)


def test_a_body_with_too_few_events():
    body = Body(7, "zstd", pack_batch("stream", 1, "frames.1", ["Topic"], [b"a", b"b"]).body)
    with pytest.raises(IntegrityError, match="position 7 is damaged: it has 2 events"):
        StoredEvents().add(body, np.array([0, 2]), rows_of(3, 7)[1])
