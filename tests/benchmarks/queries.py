"""Measures queries over the frames of a version, in processor time: ``python tests/benchmarks/queries.py [FRAMES]``."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable

import framelode
from framelode import DatasetVersion, F, Roi, SingleFrame

LABELS = ("car", "bus", "dog", "cat", "van")


def frame(number: int) -> SingleFrame:
    """Return a frame with two annotations and three metadata values."""
    made = SingleFrame(
        id=f"{number:032x}",
        source=f"s3://bucket/cam{number % 7}/{number}.jpg",
        width=640,
        height=480,
        metadata={"camera": f"cam{number % 7}", "speed": number % 100, "city": f"city{number % 50}"},
    )
    for place in range(2):
        label = LABELS[(number * (place + 1) // 3) % len(LABELS)]
        made.add_annotation(
            box2d_xywh=(1, 2, 30, 40), labels=[label], confidence=(number * 37 + place) % 1000 / 1000
        )
    return made


QUERIES = {
    "label and metadata and not label": Roi(label="car") & (F.meta.camera == "cam1") & ~Roi(label="bus"),
    "two of a label with confidence": Roi(label="car", confidence=(0.5, 1)).count(2),
    "count by label": Roi(label="car"),
    "wildcard of sources": F.sources.uri.like("*cam1/*7.jpg"),
}


def taken(run: Callable[[], object]) -> tuple[float, object]:
    """Return the processor time that a call takes, and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def main() -> None:
    """Write frames, and print the figures."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder, framelode.connect(folder):
        DatasetVersion.create_new_dataset("streets")
        draft = DatasetVersion.get_current(dataset_name="streets")
        draft.add_frames(map(frame, range(total)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, query in QUERIES.items():
            first, found = taken(lambda query=query: draft.count(query))
            again = min(taken(lambda query=query: draft.count(query))[0] for _ in range(5))
            print(f"{name:35} {found:>8,} frames  first {first:6.2f} s  again {again * 1000:7.1f} ms")
        hits, _ = taken(lambda: list(draft.query(QUERIES["count by label"], limit=100)))
        print(f"first 100 hits {hits * 1000:.1f} ms")
        print(f"memory grew {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MB")


if __name__ == "__main__":
    main()
