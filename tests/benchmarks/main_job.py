"""The main job, measured beside Lance: ingest, size on disk, fold, point read, iteration, a child version.

A new process that opens the log and reads one frame is measured, too, with a warm page cache and compiled modules: in all,
and the processor time of it alone.

Run ``python tests/benchmarks/main_job.py`` (extra ``bench``). Each contestant runs in processes of its own, in turn,
and the medians of several rounds are printed with their ratios: machines are noisy, ratios less so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.callbacks import Callback
from workload import PeakMemory, records, size_of


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


class Marks(Callback):
    """Notes when how many frames were done; passed as a callback."""

    def __init__(self) -> None:
        super().__init__()
        self.marks = [(time.perf_counter(), 0)]

    def relative_update(self, inc: int = 1) -> None:
        self.marks.append((time.perf_counter(), self.marks[-1][1] + inc))

    def last_to_first_fifth(self) -> float:
        """Return the rate of the last fifth over that of the first."""
        fifth = max(1, (len(self.marks) - 1) // 5)
        rates = []
        for (start, before), (stop, after) in (
            (self.marks[0], self.marks[fifth]),
            (self.marks[-1 - fifth], self.marks[-1]),
        ):
            rates.append((after - before) / (stop - start))
        return rates[1] / rates[0]


def run_framelode(folder: Path, count: int) -> dict[str, float]:
    import framelode
    from framelode import BoundingBox2D, DatasetVersion, SingleFrame

    frames = [
        SingleFrame(
            id=record["id"],
            source=record["uri"],
            width=record["width"],
            height=record["height"],
            metadata=record["meta"],
            annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in record["boxes"]],
        )
        for record in records(count)
    ]
    engine = framelode.connect(folder)
    DatasetVersion.create_new_dataset("bench")
    draft = DatasetVersion.get_current(dataset_name="bench")
    with PeakMemory() as memory:
        marks = Marks()
        seconds, failures = timed(
            lambda: draft.add_frames(frames, refresh_version_stats=False, callback=marks)
        )
    assert not failures
    figures = {
        "ingest_per_s": count / seconds,
        "ingest_last_to_first": marks.last_to_first_fifth(),
        "ingest_memory_mb": memory.megabytes,
    }
    with PeakMemory() as memory:
        seconds, _ = timed(draft.commit_version)
    figures |= {"commit_s": seconds, "commit_memory_mb": memory.megabytes}
    figures["publish_s"], _ = timed(draft.publish_version)
    head = engine.log.head().position
    seconds, state = timed(lambda: engine.session.states.at(draft.version_id, head))
    figures["fold_per_s"] = count / seconds
    assert state.total == count
    asked = [frame.id for frame in random.Random(7).sample(frames, 2000)]
    touched = sorted(random.Random(8).sample(range(count), 3 * count // 100))
    some = [frames[number] for number in touched[: 2 * len(touched) // 3]]
    frames.clear()
    seconds, _ = timed(lambda: [draft.get_single_frame(frame_id) for frame_id in asked])
    figures["point_read_ms"] = 1e3 * seconds / len(asked)
    with PeakMemory() as memory:
        seconds, read = timed(lambda: sum(1 for _ in draft.get_iterator()))
    assert read == count
    figures |= {"iterate_per_s": count / seconds, "iterate_bytes_per_frame": 1e6 * memory.megabytes / count}
    figures["label_stats_ms"] = 1e3 * min(timed(draft.get_stats)[0] for _ in range(5))
    engine.close()
    figures["bytes_per_frame"] = size_of(folder) / count
    figures |= open_anew(folder, asked[0])
    engine = framelode.connect(folder)
    # As it happens in use: the state of the version has been read before.
    engine.version(draft.version_id).get_single_frame(asked[0])
    changed, deleted = some[::2], some[1::2]
    for frame in changed:
        frame.metadata["exposure"] = -1.0
    new = [frame.copy() for frame in deleted]
    figures["child_s"], child = timed(lambda: make_child(draft.version_id, changed, deleted, new))
    assert len(engine.version(child)) == count
    engine.close()
    return figures


def make_child(parent_id: str, changed: list[Any], deleted: list[Any], new: list[Any]) -> str:
    """Make a child version in which some frames are changed, some deleted, and some new."""
    from framelode import DatasetVersion

    child = DatasetVersion.create_version("child", dataset_name="bench", parent_version_ids=[parent_id])
    child.update_frames(changed, refresh_version_stats=False)
    child.delete_frames([frame.id for frame in deleted], refresh_version_stats=False)
    child.add_frames(new, refresh_version_stats=False)
    return child.version_id


OPEN_ANEW = """import sys, framelode
framelode.connect(sys.argv[1])
version = framelode.DatasetVersion.get_version(dataset_name="bench")
assert version.get_single_frame(sys.argv[2]).id == sys.argv[2]
"""


def open_anew(folder: Path, frame_id: str) -> dict[str, float]:
    """Measure new processes that open the log and read one frame; the first finds neither compiled modules nor checks."""
    wall, processor = [], []
    with tempfile.TemporaryDirectory() as compiled:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", OPEN_ANEW, str(folder), frame_id]
        for _ in range(6):
            before = os.times()
            seconds, _ = timed(lambda: subprocess.run(command, check=True, env=environment))
            after = os.times()
            wall.append(seconds)
            processor.append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
    return {
        "open_and_read_ms": 1e3 * statistics.median(wall[1:]),
        "open_and_read_cpu_ms": 1e3 * statistics.median(processor[1:]),
    }


def run_lance(folder: Path, count: int) -> dict[str, float]:
    import lance
    import pyarrow as pa

    rows = list(records(count))
    with PeakMemory() as memory:
        seconds, dataset = timed(
            lambda: lance.write_dataset(pa.Table.from_pylist(rows), folder / "bench.lance")
        )
    figures = {"ingest_per_s": count / seconds, "ingest_memory_mb": memory.megabytes}
    asked = [row["id"] for row in random.Random(7).sample(rows, 100)]
    rows.clear()
    dataset.create_scalar_index("id", "BTREE")
    seconds, _ = timed(
        lambda: [dataset.to_table(filter=f"id = '{frame_id}'").to_pylist() for frame_id in asked]
    )
    figures["point_read_ms"] = 1e3 * seconds / len(asked)

    def iterate() -> int:
        return sum(1 for batch in dataset.to_batches() for _ in batch.to_pylist())

    seconds, read = timed(iterate)
    assert read == count
    figures["iterate_per_s"] = count / seconds
    shutil.rmtree(folder / "bench.lance" / "_indices", ignore_errors=True)
    figures["bytes_per_frame"] = size_of(folder) / count
    return figures


CONTESTANTS = {"framelode": run_framelode, "lance": run_lance}


def run_apart(name: str, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--frames", str(count), "--only", name, "--folder", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-lance", action="store_true")
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(CONTESTANTS[arguments.only](arguments.folder, arguments.frames)))
        return
    names = ["framelode"] if arguments.without_lance else list(CONTESTANTS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            found[name].append(run_apart(name, arguments.frames))
    print(f"{arguments.frames} frames, medians of {arguments.rounds} rounds")
    for figure in found["framelode"][0]:
        medians = {
            name: statistics.median(run[figure] for run in runs)
            for name, runs in found.items()
            if figure in runs[0]
        }
        line = "  ".join(f"{name} {value:12,.3f}" for name, value in medians.items())
        ratio = ""
        if len(medians) == 2:
            ratios = [a[figure] / b[figure] for a, b in zip(found["framelode"], found["lance"], strict=True)]
            ratio = f"  ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{figure:24} {line}{ratio}")


if __name__ == "__main__":
    main()
