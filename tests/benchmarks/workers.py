"""A rebuild of all projections on worker processes beside one in this process, in turn.

Run ``python tests/benchmarks/workers.py`` (the log is made once; ``--folder`` keeps it, ``--dask`` has a local Dask cluster do
it as well). A round does each way once; ratios of the medians are printed. On a machine that others use, too, what they took
of the processors meanwhile is printed beside each time: a ratio says something only where that is little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from rebuild import make_log

import framelode
from framelode.adapters.engine import Engine
from framelode.adapters.executors.processes import Processes

AIM = 1.6
TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Return the processor time that the whole machine has spent since it started."""
    user, nice, system, _, _, irq, softirq, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + stolen) / TICK


def seconds_of(pid: str) -> float:
    """Return the processor time of a process and of those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def family(pid: int) -> list[str]:
    """Return a process and all that come from it."""
    parents: dict[str, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(entry.name)
    found = [str(pid)]
    for member in found:
        found += parents.get(member, [])
    return found


class Timing:
    """Seconds by the clock, processor seconds of this process and of all its family, and of everybody else."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), busy_seconds(), self._own(), time.process_time()

    def _own(self) -> float:
        return sum(map(seconds_of, family(os.getpid())))

    def stop(self) -> None:
        clock, busy, own, here = self._start
        self.clock = time.perf_counter() - clock
        self.own = self._own() - own
        self.here = time.process_time() - here
        self.others = max(0.0, busy_seconds() - busy - self.own)


@contextmanager
def dask_cluster(workers: int) -> Generator[Any, None, None]:
    from distributed import LocalCluster

    from framelode.adapters.executors.dask import connected

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        connected(cluster.scheduler_address) as executor,
    ):
        yield executor


def rebuild_on_new(workers: int) -> Callable[[Engine], None]:
    """Return a rebuild on processes that are started for it: what a user waits for."""

    def work(engine: Engine) -> None:
        with Processes(workers) as pool:
            engine.rebuild(executor=pool)

    return work


def measure(folder: Path, rounds: int, workers: int, *, dask: bool) -> None:
    ways: dict[str, Callable[[Engine], None]] = {
        "one process": lambda engine: engine.rebuild(),
        f"{workers} processes": rebuild_on_new(workers),
    }
    timings: dict[str, list[Timing]] = {}
    with ExitStack() as stack:
        if dask:
            cluster = stack.enter_context(dask_cluster(workers))
            ways[f"Dask, {workers} workers"] = lambda engine: engine.rebuild(executor=cluster)
        engine = stack.enter_context(closing(framelode.connect(folder)))
        events = engine.log.head().position
        print(
            f"{events:,} events, {os.cpu_count()} cores; processor seconds: all of ours, the parent's, other people's"
        )
        for _ in range(rounds):
            for name, work in ways.items():
                timing = Timing()
                work(engine)
                timing.stop()
                timings.setdefault(name, []).append(timing)
                print(
                    f"{name:18} {timing.clock:7.2f} s  {events / timing.clock:10,.0f} events/s   "
                    f"{timing.own:6.2f} {timing.here:6.2f} {timing.others:6.2f}",
                    flush=True,
                )
    report(timings)


def report(timings: dict[str, list[Timing]]) -> None:
    """Print how much faster each way is than the first: by the medians, and by the times that were disturbed least."""
    medians = {name: statistics.median(one.clock for one in found) for name, found in timings.items()}
    calm = {name: min(found, key=lambda one: one.others / one.clock) for name, found in timings.items()}
    first, *more = timings
    for name in more:
        shares = [
            f"{calm[way].others / calm[way].clock / (os.cpu_count() or 1):.0%}" for way in (first, name)
        ]
        print(
            f"{name}: {medians[first] / medians[name]:.2f} times as fast by the medians; "
            f"{calm[first].clock / calm[name].clock:.2f} by the least disturbed times, when others took "
            f"{' and '.join(shares)} of the processors  aim {AIM}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dask", action="store_true", help="Also on a local Dask cluster.")
    parser.add_argument("--folder", type=Path, help="Where the log is, or is made and kept.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "log.db").exists():
            make_log(folder, arguments.events)
        measure(folder, arguments.rounds, arguments.workers, dask=arguments.dask)


if __name__ == "__main__":
    main()
