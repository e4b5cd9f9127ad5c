"""Calls with a timeout that starts again on each sign of progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

from ...engine.errors import StorageError

Result = TypeVar("Result")

Beat = Callable[[], None]
"""Reports progress of a call."""


class _GivenUpError(Exception):
    """The caller no longer waits for the call."""


class _Work(Generic[Result]):
    """A call in its own thread, which is abandoned if it hangs."""

    def __init__(self, call: Callable[[Beat], Result]) -> None:
        self._call = call
        self._given_up = False
        self.done = threading.Event()
        self.beat_at = time.monotonic()
        self.result: list[Result] = []
        self.error: BaseException | None = None

    def beat(self) -> None:
        if self._given_up:
            raise _GivenUpError
        self.beat_at = time.monotonic()

    def give_up(self) -> None:
        self._given_up = True

    def run(self) -> None:
        try:
            self.result.append(self._call(self.beat))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            self.error = error
        finally:
            self.done.set()


def call_with_timeout(call: Callable[[Beat], Result], what: str, timeout: float) -> Result:
    """Return the result of a call. Give up if it reports no progress for `timeout` seconds.

    Raises
    ------
    StorageError
        It did not answer in time.
    """
    work = _Work(call)
    context = copy_context()
    threading.Thread(target=context.run, args=(work.run,), daemon=True, name="framelode pin").start()
    try:
        while not work.done.wait(max(0.0, work.beat_at + timeout - time.monotonic())):
            if time.monotonic() - work.beat_at >= timeout:
                raise StorageError(
                    f"{what} did not answer within {timeout:g} seconds: try again, or use a longer timeout"
                )
    finally:
        work.give_up()
    if work.error is not None:
        raise work.error
    return work.result[0]
