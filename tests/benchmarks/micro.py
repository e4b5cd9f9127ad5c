"""The steps of writing and reading frames, one by one: build, convert, encode, pack, fold, unpack.

Run ``pytest tests/benchmarks/micro.py --benchmark-timer=time.process_time`` (extras ``test`` and ``bench``). The default test
run does not collect this file. To compare two commits, add ``--benchmark-save=NAME`` on the first and
``--benchmark-compare`` on the second.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from contestants.framelode_here import frame, wire
from workload import records

from framelode.engine.frames.wire_batch import read_plain
from framelode.engine.keys import DIGEST_SIZE, KEY_SIZE, Operation, frame_keys, make_rows
from framelode.engine.log.batch import read_events
from framelode.engine.log.frame_batch import FrameChanges, decode_change, pack_frame_batch
from framelode.engine.writes.encoder import FrameEncoder
from framelode.projections.states.fold import fold_rows

FRAMES, EVENTS = 1000, 100_000


@pytest.fixture(scope="module")
def rows():
    return list(records(FRAMES))


@pytest.fixture(scope="module")
def changes(rows):
    """The frames as a batch of adds."""
    encoded, _ = FrameEncoder(str).encode([frame(row) for row in rows])
    none = np.zeros(FRAMES, np.uint64)
    return FrameChanges(
        encoded.ids,
        encoded.plain,
        encoded.keys,
        encoded.digests,
        np.full(FRAMES, Operation.ADD, np.uint8),
        encoded.payloads,
        none,
        none,
    )


def test_build(benchmark, rows):
    assert len(benchmark(lambda: [frame(row) for row in rows])) == FRAMES


def test_convert(benchmark, rows):
    wires = [wire(row) for row in rows]
    assert len(benchmark(read_plain, wires)) == FRAMES


def test_encode(benchmark, rows):
    frames = [frame(row) for row in rows]
    encoded, refused = benchmark(FrameEncoder(str).encode, frames)
    assert len(encoded) == FRAMES
    assert not refused


def test_pack(benchmark, changes):
    batch, _ = benchmark(pack_frame_batch, "version", 1, changes)
    assert batch.count == FRAMES


def test_unpack(benchmark, changes):
    batch, _ = pack_frame_batch("version", 1, changes)

    def unpack():
        return [
            decode_change(event, 1 + n) for n, event in enumerate(read_events(1, batch.codec, batch.body))
        ]

    assert [change.payload for change in benchmark(unpack)] == changes.payloads


def test_fold(benchmark):
    keys, _ = frame_keys([row["id"] for row in records(EVENTS)])
    assert len(keys) == KEY_SIZE * EVENTS
    made = make_rows(keys, np.full(EVENTS, Operation.ADD, np.uint8), bytes(DIGEST_SIZE * EVENTS))
    assert len(benchmark(fold_rows, made, np.arange(1, EVENTS + 1, dtype=np.uint64))) == EVENTS
