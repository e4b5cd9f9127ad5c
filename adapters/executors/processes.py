"""Worker processes of this machine, replaced when they die."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import ParamSpec, TypeVar

from ...engine import forks
from ...engine.errors import UsageError
from ...engine.validation import shorten

_MOST_WORKERS = 1000

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Processes(Executor):
    """Worker processes, as an executor for `Engine.rebuild`, `verify`, `scrub` and `catch_up`.

    If a worker dies, new workers are started and its tasks are repeated, where a `ProcessPoolExecutor` would be broken. Each
    worker is a new process that imports the calling script, so the script needs ``if __name__ == "__main__":``.

    Parameters
    ----------
    workers : int
        Number of workers, by default one per core.

    Attributes
    ----------
    slots : int
        Number of workers.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is None:
            workers = os.cpu_count() or 1
        if not isinstance(workers, int) or not 1 <= workers <= _MOST_WORKERS:
            raise UsageError(
                f"workers must be an integer between 1 and {_MOST_WORKERS:,}, not {shorten(workers)}"
            )
        self.slots = workers
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def _new_pool(self) -> ProcessPoolExecutor:
        # What was opened before is not inherited: SQLite's locks do not survive a fork.
        return ProcessPoolExecutor(self.slots, get_context("forkserver"), _begin)

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Hand over a call; new workers are started if they have died."""
        with self._lock:
            self._pool = self._pool or self._new_pool()
            try:
                return self._pool.submit(fn, *args, **kwargs)
            except BrokenExecutor:
                self._pool.shutdown()
                self._pool = self._new_pool()
                return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once they have done what they have begun."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(self, *raised: object) -> None:
        """End the workers; after an error what they have not begun is not done any more."""
        self.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a worker: Ctrl-C, which a terminal sends to all, is dealt with by who called; it ends when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
