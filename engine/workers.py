"""Threads that work through many small items."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

_SLICE = 16
"""Items that a thread takes at a time: handing over each one costs as much as reading a small file."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads, started when they are first needed and again after a fork.

    Parameters
    ----------
    threads : int
        How many.
    name : str
        What the threads are called.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do some work for each item, a slice of them in each thread at a time; results in order."""
        if len(items) < 2:
            return [work(item) for item in items]
        size = max(1, min(_SLICE, len(items) // self._threads))
        slices = [items[at : at + size] for at in range(0, len(items), size)]
        done = self._executor().map(lambda part: [work(item) for item in part], slices)
        return list(chain.from_iterable(done))

    def close(self) -> None:
        """Stop the threads; what was not begun is not done any more."""
        if self._pool is not None:
            self._pool[1].shutdown(cancel_futures=True)
            self._pool = None

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(self._threads, self._name)
        return self._pool[1]
