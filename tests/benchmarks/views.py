"""Measures views and datasets of torch in processor time: ``python tests/benchmarks/views.py [FRAMES]``."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from queries import frame, taken

import framelode
from framelode import DatasetVersion, DataView

ROUNDS = 3
BATCH = 64


def view_of(version: DatasetVersion, **arguments: object) -> DataView:
    """Return a view of all frames of a version."""
    view = DataView(**arguments)
    view.add_query(version_id=version.version_id)
    return view


def consumed(frames: Iterable[object]) -> int:
    """Return the number of frames."""
    return sum(1 for _ in frames)


def best(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least processor time of each, measured in turn."""
    times = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(taken(run)[0])
    return {name: min(each) for name, each in times.items()}


def peak(frames: Iterable[object]) -> float:
    """Return the most megabytes of Python objects while frames are read."""
    tracemalloc.start()
    consumed(frames)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def main() -> None:
    """Write frames, and print the figures."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, framelode.connect(folder):
        DatasetVersion.create_new_dataset("streets")
        draft = DatasetVersion.get_current(dataset_name="streets")
        draft.add_frames(map(frame, range(total)))
        plain = view_of(draft)
        random = view_of(draft, iteration_order="random")
        labelled = view_of(draft)
        labelled.add_mapping_rule(["car"], "vehicle")
        labelled.set_labels({"vehicle": 1, "bus": 2})
        dataset = plain.to_torch()
        shuffled = [place for places in random.plan().passes() for place in places.tolist()]
        batches = [shuffled[at : at + BATCH] for at in range(0, min(total, 20_000), BATCH)]
        for view in (plain, random, labelled):
            len(view)
        runs: dict[str, Callable[[], object]] = {
            "version": lambda: consumed(draft.get_iterator()),
            "view": lambda: consumed(plain),
            "view, labels mapped": lambda: consumed(labelled),
            "view, random": lambda: consumed(random),
            "torch, iterable": lambda: consumed(plain.to_torch(iterable=True)),
        }
        figures = best(runs)
        for name, seconds in figures.items():
            print(
                f"{name:22} {total / seconds:>10,.0f} frames/s  {seconds / figures['version']:5.2f} of the version"
            )
        seconds = best({"": lambda: [dataset.__getitems__(batch) for batch in batches]})[""]
        print(
            f"{f'torch, batches of {BATCH}':22} {sum(map(len, batches)) / seconds:>10,.0f} frames/s, random"
        )
        one, _ = taken(lambda: [dataset[place] for place in shuffled[:1000]])
        print(f"{'torch, one by one':22} {1000 / one:>10,.0f} frames/s, random")
        start = time.process_time()
        permuted = [random.plan().passes() for _ in range(1)]
        consumed(permuted[0])
        print(f"permutation {(time.process_time() - start) * 1000:.1f} ms")
        print(
            f"peak: version {peak(draft.get_iterator()):.1f} MB, view {peak(plain):.1f} MB, random {peak(random):.1f} MB"
        )
        print(f"memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
