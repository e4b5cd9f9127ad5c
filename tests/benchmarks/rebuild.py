"""Rebuild and verify, measured: a version's state, each projection, all together, the chain, and everything.

Run ``python tests/benchmarks/rebuild.py``. The log is made once (``--folder`` keeps it): frames as in the main job in
batches of 1,000, of which 4% are updated and 1% deleted. Both the clock's time and the processor's are printed, since
on a busy machine only the second says what the work costs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import main_job

import framelode
from framelode import BoundingBox2D, DatasetVersion, SingleFrame
from framelode.adapters.engine import Engine
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.projections.projection import Projection
from framelode.projections.runner import Runner
from framelode.projections.states.cache import StateCache

AIMS = {"state": 3e6, "all projections": 3e5, "rebuild": 3e5, "verify the chain": 2e6}
BATCH = 1000


def frames(records: Iterator[dict[str, Any]]) -> Iterator[SingleFrame]:
    for record in records:
        yield SingleFrame(
            id=record["id"],
            source=record["uri"],
            width=record["width"],
            height=record["height"],
            metadata=record["meta"],
            annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in record["boxes"]],
        )


def make_log(folder: Path, events: int) -> None:
    """Write a log of so many frame events: 95% adds, 4% updates, 1% deletes, spread over all frames."""
    added, updated, deleted = events * 95 // 100, events * 4 // 100, events // 100
    with closing(framelode.connect(folder)):
        DatasetVersion.create_new_dataset("bench")
        draft = DatasetVersion.get_current(dataset_name="bench")
        arguments = {"batch_size": BATCH, "refresh_version_stats": False}
        draft.add_frames(frames(main_job.records(added)), **arguments)
        changed = [r for n, r in enumerate(main_job.records(added)) if n % (added // updated) == 0][:updated]
        for record in changed:
            record["meta"]["iso"] += 1
        draft.add_frames(frames(iter(changed)), **arguments)
        draft.delete_frames([record["id"] for record in changed[:deleted]], **arguments)
        draft.publish_version()


def fold(engine: Engine, kinds: list[type[Projection]]) -> None:
    """Fold projections into an empty database in memory."""
    with closing(SqliteDatabase(None, durable=False)) as scratch:
        Runner(engine.log, scratch, [kind(engine.log) for kind in kinds]).catch_up_all()


def state(engine: Engine) -> None:
    """Fold the state of the version from the log."""
    with engine.session.read_catalog() as connection:
        (row,) = engine.session.catalog.versions(connection)
    fresh = StateCache(engine.log, {row.version_id: None}.__getitem__)
    assert fresh.at(row.version_id, engine.log.head().position).total > 0


def steps(engine: Engine, pool: ProcessPoolExecutor | None) -> dict[str, Callable[[], Any]]:
    kinds = [type(projection) for projection in engine.session.runner.projections]
    made: dict[str, Callable[[], Any]] = {"state": lambda: state(engine)}
    for kind in kinds:
        made[f"projection {kind.name}"] = lambda kind=kind: fold(engine, [kind])
    made |= {
        "all projections": lambda: fold(engine, kinds),
        "rebuild": engine.rebuild,
        "verify the chain": lambda: engine.verify(quick=True),
        "verify everything": engine.verify,
    }
    if pool is not None:
        made |= {
            "rebuild, in processes": lambda: engine.rebuild(executor=pool),
            "verify, in processes": lambda: engine.verify(executor=pool),
        }
    return made


def measure(folder: Path, rounds: int, workers: int) -> None:
    pool = ProcessPoolExecutor(workers) if workers else None
    with closing(framelode.connect(folder)) as engine:
        events = engine.log.head().position
        print(f"{events:,} events; events/s, medians of {rounds} rounds")
        for name, work in steps(engine, pool).items():
            clock, processor = [], []
            for _ in range(rounds):
                start = time.perf_counter(), time.process_time()
                work()
                clock.append(events / (time.perf_counter() - start[0]))
                processor.append(events / (time.process_time() - start[1]))
            aim = f"  aim {AIMS[name]:,.0f}" if name in AIMS else ""
            # Other processes' time is not counted.
            cost = "" if "processes" in name else f"  {statistics.median(processor):12,.0f} by processor time"
            print(f"{name:24} {statistics.median(clock):12,.0f}{cost}{aim}", flush=True)
    if pool is not None:
        pool.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="Also measure with so many processes.")
    parser.add_argument("--folder", type=Path, help="Where the log is, or is made and kept.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "log.db").exists():
            make_log(folder, arguments.events)
        measure(folder, arguments.rounds, arguments.workers)


if __name__ == "__main__":
    main()
