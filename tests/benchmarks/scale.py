"""What a million events cost: bytes on disk, memory and snapshot of a version's state, seconds to fold and to verify.

Run ``python tests/benchmarks/scale.py --folder FOLDER`` on a log that ``rebuild.py`` or ``workers.py`` has made there; without
one it is made. Each step is done a few times, and the least is printed: what disturbs a machine only ever adds. Processor
seconds stand beside those of the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from rebuild import make_log

import framelode
from framelode.adapters.engine import Engine
from framelode.projections.states.cache import StateCache
from framelode.projections.states.fingerprint import fingerprint
from framelode.projections.states.fold import State
from framelode.projections.states.snapshots import Snapshots

MILLION = 1_000_000


def least(rounds: int, work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the least seconds by the clock and of the processor, and what the last round came to."""
    clock, processor, result = [], [], None
    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        result = work()
        clock.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return min(clock), min(processor), result


def fresh_state(engine: Engine, version_id: str) -> State:
    state = StateCache(engine.log, {version_id: None}.__getitem__).at(version_id, engine.log.head().position)
    state.settled()
    return state


def save_snapshot(engine: Engine, version_id: str, state: State) -> int:
    """Write a snapshot; returns its bytes."""
    snapshots = Snapshots(engine.session.runner.store, engine.log)
    snapshots.drop()
    assert snapshots.save(version_id, state, {version_id: None}.__getitem__)
    values = snapshots._values(version_id, state)
    return sum(len(values[name]) for name in ("mixed", "positions", "batches"))


def measure(folder: Path, rounds: int) -> None:
    with closing(framelode.connect(folder)) as engine:
        events = engine.log.head().position
        with engine.session.read_catalog() as connection:
            (row,) = engine.session.catalog.versions(connection)
        frames = engine.session.version_totals()[row.version_id]
        print(f"{events:,} events, {frames:,} frames")

        def say(what: str, number: float, unit: str, of: int = events) -> None:
            print(f"{what:34} {number * MILLION / of:16,.2f} {unit}", flush=True)

        def time_of(what: str, work: Callable[[], Any], of: int = events) -> Any:
            clock, processor, result = least(rounds, work)
            say(what, clock, f"s  ({processor * MILLION / of:.2f} processor s)", of)
            return result

        log_bytes = (folder / "log.db").stat().st_size
        say("log", log_bytes / 1e6, "MB")
        say("rows of the log", engine.log.batch_at(events).append_id, "appends")
        state = time_of("state folded from the log", lambda: fresh_state(engine, row.version_id))
        run = state.settled()
        say("state in memory", (run.mixed.nbytes + run.positions.nbytes) / 1e6, "MB", frames)
        time_of("fingerprint, cold", lambda: fingerprint(state), frames)
        size = time_of("snapshot written", lambda: save_snapshot(engine, row.version_id, state), frames)
        say("snapshot", size / 1e6, "MB", frames)
        loaded = Snapshots(engine.session.runner.store, engine.log)
        time_of("snapshot loaded", lambda: loaded.load(row.version_id, engine.session.states.rows), frames)
        time_of("all projections rebuilt", engine.rebuild)
        time_of("verified: chain and keys", lambda: engine.verify(quick=True))
        time_of("verified: everything", engine.verify)
    say("projections", (folder / "projections.db").stat().st_size / 1e6, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="Where the log is, or is made and kept.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "log.db").exists():
            make_log(folder, arguments.events)
        measure(folder, arguments.rounds)


if __name__ == "__main__":
    main()
