"""What all contestants share: the workload, folders, and how a step is measured."""

from __future__ import annotations

import gc
import itertools
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workload import PeakMemory, changes, records

Figure = dict[str, Any]
"""Seconds by the clock and of the processor, or one amount; or such by name."""

CHILDREN = 20


def processor_time() -> float:
    """Return the processor time of this process and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(work: Callable[[], Any], *, times: int = 1, seconds: float = 0.6) -> Figure:
    """Return the medians of several calls, fewer if they take long."""
    gc.collect()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < times and (time.perf_counter() < end or not taken):
        clock, processor = time.perf_counter(), processor_time()
        work()
        taken.append((time.perf_counter() - clock, processor_time() - processor))
    clocks, processors = zip(*taken, strict=True)
    return {"clock": statistics.median(clocks), "processor": statistics.median(processors)}


class Contestant:
    """One library with the workload. A step that it does not offer is a method that it does not have."""

    dicts: Callable[[Any], Figure]
    """Writes the plain dicts in the fastest way, into the store that is read later."""

    iterate: Callable[[Any], Figure]

    packages: tuple[str, ...]
    """Packages whose versions are shown."""

    open_anew: str
    """A program that opens the store named by its first argument and reads the frame with the id that is the second."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.rows = list(records(count))
        ids = [row["id"] for row in self.rows]
        self.child_changes, self.documented_changes, *self.children_changes = changes(
            self.rows, [0.01, 0.01] + CHILDREN * [0.001]
        )
        self.asked = itertools.cycle(random.Random(7).sample(ids, min(2000, count)))
        self.many = random.Random(9).sample(ids, min(1000, count))
        self.store: Any = None
        self._numbers = itertools.count()

    def new_folder(self) -> Path:
        return self.folder / f"store{next(self._numbers)}"

    def memory(self) -> Figure:
        with PeakMemory() as memory:
            self.dicts()
        return {"amount": memory.megabytes * 1e6}

    def iterate_frozen(self) -> Figure:
        gc.collect()
        gc.freeze()
        try:
            return self.iterate()
        finally:
            gc.unfreeze()

    def cold(self) -> Figure:
        command = [sys.executable, "-c", self.open_anew, str(self.store), next(self.asked)]
        work = lambda: subprocess.run(command, check=True)
        work()
        return measure(work, times=3, seconds=10)

    def keep(self, folder: Path, *, keep: bool) -> None:
        """Let the folder be the store that is read later in place of the one before, or remove it."""
        folder, self.store = (self.store, folder) if keep else (folder, self.store)
        if folder is not None:
            shutil.rmtree(folder)


def of_children(taken: list[Figure], stored: int) -> Figure:
    """Return the figures of many children: the first, the last, one of all by the median, and its bytes."""
    each = {kind: statistics.median(one[kind] for one in taken) for kind in taken[0]}
    return {"first": taken[0], "last": taken[-1], "each": each, "bytes": {"amount": stored / len(taken)}}
