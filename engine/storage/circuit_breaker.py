"""Stops sending requests to a store that fails every time, so that calls end if the store does not respond."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from .. import forks
from .base import BackendError

REFUSALS_IN_A_ROW = 32
"""After this many failures in a row the store counts as down, and only one request at a time is sent."""


class CircuitBreaker:
    """Counts the failures of requests from all threads to one store.

    While the store counts as down, requests that arrive during another request fail immediately. The first success
    resets the state.
    """

    def __init__(self) -> None:
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._refused = self._asking = 0
        self._last = ""

    @contextmanager
    def asking(self) -> Generator[None, None, None]:
        """Send a request inside the block, which raises `BackendError` on failure."""
        with self._lock:
            if self._refused >= REFUSALS_IN_A_ROW and self._asking:
                raise BackendError(
                    f"{self._last}; {self._refused} requests in a row failed, so no further request was sent"
                )
            self._asking += 1
        try:
            yield
            self._refused = 0
        except BackendError as error:
            self.note(error)
            raise
        finally:
            with self._lock:
                self._asking -= 1

    def note(self, error: BackendError) -> None:
        """Count a failure. A permanent failure counts as an answer."""
        with self._lock:
            self._refused = 0 if error.permanent else self._refused + 1
            self._last = str(error)
