"""Streaming: what stays in memory while frames are read."""

from __future__ import annotations

import gc
import tracemalloc

import framelode
from framelode import DatasetVersion, SingleFrame

COUNT = 24_000
BYTES_A_FRAME = 64
FIXED_BYTES = 3_000_000
"""A few batches that are open, whatever the version holds."""


def frames():
    for number in range(COUNT):
        yield SingleFrame(
            source=f"s3://bucket/{number:08d}.jpg", metadata={"text": f"{number} " * 20, "number": number}
        )


def test_payloads_stream_and_little_of_each_frame_stays_in_memory(tmp_path):
    with framelode.connect(tmp_path / "e") as engine:
        DatasetVersion.create_new_dataset("big")
        version = DatasetVersion.get_current(dataset_name="big")
        version.add_frames(frames())
        engine.close()
    with framelode.connect(tmp_path / "e") as engine:
        version = engine.version(version.version_id)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held, seen = [], 0
        for seen, _ in enumerate(version.get_iterator(), 1):
            if seen % (COUNT // 6) == 0:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()
        engine.close()
    assert seen == COUNT
    assert max(held) <= BYTES_A_FRAME * COUNT + FIXED_BYTES
