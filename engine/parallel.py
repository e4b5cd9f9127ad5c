"""Runs tasks on an executor, some ahead of time, and yields the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from . import forks
from .errors import StorageError, UsageError

_AHEAD = 16

_AHEAD_OF_EACH = 3

_TRIES = 3

Result = TypeVar("Result")


class _Part(msgspec.Struct, Generic[Result]):
    """A submitted task, and how often it was submitted."""

    bound: tuple[Any, ...]
    future: Future[Result]
    tries: int = 1


def ordered_map(
    executor: Executor, work: Callable[..., Result], bounds: Iterable[tuple[Any, ...]]
) -> Iterator[Result]:
    """Yield the results of tasks in order. A few run ahead.

    A task whose worker died is submitted again, a few times. If the caller stops, running tasks are cancelled.

    Parameters
    ----------
    executor : Executor
        Runs the tasks. Its attribute ``slots``, if any, is the number of workers.
    work : callable
        Called with the bounds of a task. The function, the bounds and the result must be picklable if workers are processes.
    bounds : iterable of tuple
        The bounds of each task.

    Raises
    ------
    StorageError
        Workers died repeatedly.
    """
    ahead = max(_AHEAD, _AHEAD_OF_EACH * getattr(executor, "slots", 1))
    waiting = iter(bounds)
    running: deque[_Part[Result]] = deque()
    try:
        while True:
            for bound in islice(waiting, ahead - len(running)):
                running.append(_Part(bound, executor.submit(work, *bound)))
            if not running:
                return
            yield _result_of_first(executor, work, running)
    except BrokenExecutor as error:
        raise StorageError(f"the workers have died: {error}: call again, with a new executor") from error
    finally:
        for part in running:
            part.future.cancel()


def ahead(
    work: Callable[[Any], Result], items: Iterable[Any], threads: int = 1
) -> Generator[Result, None, None]:
    """Yield the result of each item in order, while threads work on the next ones. The items are taken by the caller's thread.

    Parameters
    ----------
    work : callable
        Called with each item.
    items : iterable
        The items.
    threads : int
        Number of threads, and of items that are worked on ahead.

    Raises
    ------
    UsageError
        The iteration goes on in a forked process, which has no such threads.
    """
    process, waiting = os.getpid(), iter(items)
    coming: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in islice(waiting, threads):
            coming.append(pool.submit(work, item))
        while coming:
            try:
                for item in islice(waiting, 1):
                    coming.append(pool.submit(work, item))
            except BaseException:
                # What came before the error.
                while coming:
                    yield coming.popleft().result()
                raise
            yield coming.popleft().result()
            if os.getpid() != process:
                raise UsageError("a stream of tables cannot go on in a forked process: read it again there")


def _result_of_first(
    executor: Executor, work: Callable[..., Result], running: deque[_Part[Result]]
) -> Result:
    """Wait for the first task, and remove it from the queue."""
    while True:
        first = running[0]
        try:
            result = first.future.result()
        except BrokenExecutor as error:
            if first.tries == _TRIES:
                raise StorageError(
                    f"workers died {_TRIES} times at the same part of the work ({str(error).rstrip('.')}): has each enough "
                    'memory, and does a script that starts them do so below `if __name__ == "__main__":`?'
                ) from error
            _hand_over_again(executor, work, running)
        else:
            running.popleft()
            return result


def _hand_over_again(
    executor: Executor, work: Callable[..., Result], running: Iterable[_Part[Result]]
) -> None:
    """Submit all lost tasks again. Only the first is known to have started, so only its attempts are counted."""
    for number, part in enumerate(running):
        if part.future.done() and isinstance(part.future.exception(), BrokenExecutor):
            part.future = executor.submit(work, *part.bound)
            part.tries += number == 0


DISK_THREADS = max(2, min(4, os.cpu_count() or 2))
"""Number of threads for work on local files. More threads than processors wait for each other."""

Item = TypeVar("Item")


class ByteBudget:
    """Counts the bytes read. Threads count without a lock, so slightly more may be read.

    Parameters
    ----------
    most : int
        Number of bytes after which it is full.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count a file."""
        self._bytes += size

    def is_full(self) -> bool:
        """Whether no more should be read."""
        return self._bytes >= self._most


class ThreadWorkers:
    """A pool of threads, started on first use. A forked process starts its own.

    Parameters
    ----------
    threads : int
        Number of threads.
    name : str
        Name of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    def map(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        enough: Callable[[], bool] = lambda: False,
    ) -> list[Result]:
        """Call a function for each item, and return the results in order.

        An error, or an interrupt of this thread, is raised after running calls have ended. No new calls are started.

        Parameters
        ----------
        work : callable
            Called with each item.
        items : sequence
            The items.
        enough : callable, optional
            Called before each item. If it returns True, no more items are started, and fewer results are returned.
        """
        if len(items) < 2:
            return [work(item) for item in items]
        numbers = iter(range(len(items)))
        results: list[Any] = [None] * len(items)
        done = [0] * min(self._threads, len(items))
        stopped: list[bool] = []

        def pull(thread: int) -> None:
            # Submitting each item, or slices that may contain all large items, would take longer.
            try:
                while not (stopped or self._is_closed or enough()):
                    if (number := next(numbers, None)) is None:
                        break
                    results[number] = work(items[number])
                    done[thread] = number + 1
            except BaseException:
                stopped.append(True)
                raise

        futures = [self.begin(lambda thread=thread: pull(thread)) for thread in range(len(done))]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stopped.append(True)
            wait(futures)
            raise
        return results[: max(done)]

    def begin(self, work: Callable[[], Result]) -> Future[Result]:
        """Run a function in another thread. The function may call `map`."""
        if self._pool is None:
            # Room for two maps at a time and their callers.
            self._pool = ThreadPoolExecutor(2 * self._threads + 1, self._name)
        return self._pool.submit(work)

    def close(self) -> None:
        """Stop the threads. Pending calls are cancelled."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._is_closed = False
