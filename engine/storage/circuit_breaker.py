"""Stops sending requests to a store that fails every time, so that calls end if the store does not respond."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from .. import forks
from .base import BackendError

REFUSALS_IN_A_ROW = 32
"""After so many a store is taken for down: from then on only one asks at a time."""


class CircuitBreaker:
    """Counts refusals for the threads that ask one store.

    While the store is taken for down whoever comes as another one is asking is refused at once; the first answer
    ends that.
    """

    def __init__(self) -> None:
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._refused = self._asking = 0
        self._last = ""

    @contextmanager
    def asking(self) -> Generator[None, None, None]:
        """Ask the store inside the block, which raises `BackendError` where it refuses."""
        with self._lock:
            if self._refused >= REFUSALS_IN_A_ROW and self._asking:
                raise BackendError(
                    f"{self._last}; it refused {self._refused} times in a row: no more was asked for now"
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
        """Count a refusal; one for good is an answer."""
        with self._lock:
            self._refused = 0 if error.permanent else self._refused + 1
            self._last = str(error)
