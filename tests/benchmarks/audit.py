"""Looking back in a log of a million events: history, blame and diff.

Run ``python tests/benchmarks/audit.py``. The log is built once, in batches of 1,000, with a published version and a
child that differs in 1,000 frames; ``--folder`` keeps it for the next run. Medians of warm calls are printed, with
ratios to what the same would cost without the means that the engine has: machines are noisy, ratios less so.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from main_job import records

import framelode
from framelode import BoundingBox2D, DatasetVersion, Engine, SingleFrame
from framelode.projections.states.fold import live_positions

CHANGES = 1000
UPDATES = 20
"""How often one frame is updated in the child."""


def frames(count: int) -> Iterator[SingleFrame]:
    for record in records(count):
        yield SingleFrame(
            id=record["id"],
            source=record["uri"],
            width=1920,
            height=1080,
            metadata=record["meta"],
            annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in record["boxes"]],
        )


def build(folder: Path, count: int) -> None:
    """Build the log: `count` frames published; then half the changes are updates, the rest adds and deletes."""
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("bench")
        draft = DatasetVersion.get_current(dataset_name="bench")
        with framelode.acting("importer"):
            draft.add_frames(frames(count), batch_size=1000, refresh_version_stats=False)
        child = DatasetVersion.create_snapshot(dataset_name="bench", publish_name="v1")
        picked = random.Random(3).sample([record["id"] for record in records(count)], CHANGES * 3 // 4)
        changed = child.get_frames_by_ids(picked[: CHANGES // 2])
        for frame in changed:
            frame.metadata = {**frame.metadata, "checked": True}
        with framelode.acting("annotator"):
            child.update_frames(changed, refresh_version_stats=False)
            child.delete_frames(picked[CHANGES // 2 :], refresh_version_stats=False)
            added = [SingleFrame(source=f"s3://bucket/new/{number}.jpg") for number in range(CHANGES // 4)]
            child.add_frames(added, refresh_version_stats=False)
            for number in range(UPDATES):
                changed[0].metadata = {**changed[0].metadata, "round": number}
                child.update_frames([changed[0]], refresh_version_stats=False)
        engine.catch_up()
        (folder / "picked.txt").write_text("\n".join(picked))
    engine.close()


class Cost(NamedTuple):
    """Medians in ms: by the clock, and of the processor alone, which other work on the machine hardly moves."""

    wall: float
    cpu: float

    def __truediv__(self, other: float) -> Cost:
        return Cost(self.wall / other, self.cpu / other)


def median_cost(work: Callable[[], Any], repeats: int = 15) -> Cost:
    work()
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.thread_time() - cpu)
    return Cost(1e3 * statistics.median(walls), 1e3 * statistics.median(cpus))


def show(name: str, cost: Cost, remark: str = "") -> None:
    print(f"{name:44} {cost.wall:10.3f} {cost.cpu:10.3f}  {remark}")


def measure(engine: Engine, picked: list[str]) -> None:
    versions = {version.version_name: version for version in engine.dataset("bench").versions()}
    old, new = versions.pop("v1"), next(iter(versions.values()))
    asked = random.Random(5).sample(picked[1 : CHANGES // 2], 200)

    def per_frame(work: Callable[[str], Any]) -> Cost:
        return median_cost(lambda: [work(frame_id) for frame_id in asked], 5) / len(asked)

    read = per_frame(new.get_single_frame)
    show("reading a frame", read)
    for name, work in (("history", new.history), ("blame", new.blame)):
        found = per_frame(work)
        show(
            f"{name} of a frame of 2 changes", found, f"ratio to reading the frame {found.cpu / read.cpu:.1f}"
        )
    untouched = [record["id"] for record in islice(records(200), 200)]
    found = median_cost(lambda: [new.history(frame_id) for frame_id in untouched], 5) / len(untouched)
    show("history of a frame of 1 change", found, f"ratio to reading the frame {found.cpu / read.cpu:.1f}")
    show(f"history of a frame of {UPDATES + 2} changes", median_cost(lambda: new.history(picked[0])))
    show("history of a deleted frame", median_cost(lambda: new.history(picked[CHANGES // 2])))

    def compare() -> tuple[int, ...]:
        diff = new.diff(old)
        assert diff
        return tuple(len(part.ids) for part in (diff.added, diff.removed, diff.changed))

    assert compare() == (CHANGES // 4, CHANGES // 4, CHANGES // 2)
    found = median_cost(compare)
    states = [engine.session.states.current(version.version_id) for version in (old, new)]
    whole = median_cost(lambda: [state.rows(np.sort(live_positions(state.settled()))) for state in states], 3)
    show(
        f"diff, {CHANGES} frames differ: counts and ids",
        found,
        f"reading all key rows: {whole.cpu / found.cpu:.0f}x",
    )
    opened = median_cost(lambda: [each.to_dict() for each in new.diff(old).changed], 3)
    show("the same with contents, labels and fields", opened)
    show("diff: statistics side by side", median_cost(lambda: new.diff(old).stats))
    show("the newest 20 changes", median_cost(lambda: list(engine.history(newest_first=True, limit=20))))
    of_actor = median_cost(lambda: list(engine.history(actor="annotator")), 5)
    show("all changes of an actor", of_actor, f"{CHANGES + UPDATES} of the log")
    whole_version = median_cost(lambda: deque(new.history(), maxlen=0), 1)
    count = 1e3 * sum(1 for _ in new.history()) / whole_version.cpu
    show("the whole history of a version", whole_version, f"{count:,.0f} changes a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Where the log is, or is made; else a temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "audit"
        if not (folder / "picked.txt").exists():
            build(folder, arguments.frames)
        picked = (folder / "picked.txt").read_text().split()
        engine = framelode.connect(folder)
        print(f"{engine.log.head().position:,} events; medians in ms:{'by the clock':>27} processor")
        measure(engine, picked)
        engine.close()


if __name__ == "__main__":
    main()
