"""Work that is cut into parts: an executor does some of them ahead, and the results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from .errors import StorageError

_AHEAD = 16
_AHEAD_OF_EACH = 3
_TRIES = 3

Result = TypeVar("Result")


class _Part(msgspec.Struct, Generic[Result]):
    """A part that was handed over, and how often."""

    bound: tuple[Any, ...]
    future: Future[Result]
    tries: int = 1


def run_ahead(
    executor: Executor, work: Callable[..., Result], bounds: Iterable[tuple[Any, ...]]
) -> Iterator[Result]:
    """Yield the results of some work for each part, in order; a few are done ahead.

    A part whose worker died is handed over again, a few times. What was begun when the caller stops is cancelled.

    Parameters
    ----------
    executor : Executor
        Where it is done. How many workers it has it may say by an attribute ``slots``.
    work : callable
        Called with the bounds of a part; with them and its result it can be pickled where the workers are processes.
    bounds : iterable of tuple
        The parts.

    Raises
    ------
    StorageError
        Workers died again and again.
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


def _result_of_first(
    executor: Executor, work: Callable[..., Result], running: deque[_Part[Result]]
) -> Result:
    """Wait for the first part and take it off."""
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
    """Hand over all parts that were lost together: only of the first it is certain that it was begun."""
    for number, part in enumerate(running):
        if part.future.done() and isinstance(part.future.exception(), BrokenExecutor):
            part.future = executor.submit(work, *part.bound)
            part.tries += number == 0
