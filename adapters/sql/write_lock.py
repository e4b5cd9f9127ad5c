"""A lock on a file that keeps other processes out, held for the time of one commit."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

_POLL_SECONDS = 0.001


class WriteLock:
    """An exclusive lock between processes; within one, whoever takes it again has it.

    The file stays open, since a commit takes little longer than opening one.

    Parameters
    ----------
    path : str
        The file, made if missing, as its folder is.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._descriptor = -1
        self._holders = 0

    @property
    def is_locked(self) -> bool:
        """Whether this process holds it."""
        return self._holders > 0

    def acquire(self, timeout: float) -> None:
        """Take the lock; `TimeoutError` when another process holds it for so many seconds."""
        with self._guard:
            if self._holders == 0:
                self._take(timeout)
            self._holders += 1

    def release(self) -> None:
        """Give the lock back."""
        with self._guard:
            self._holders -= 1
            if self._holders == 0:
                unlock_descriptor(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __del__(self) -> None:
        self.close()

    def _take(self, timeout: float) -> None:
        deadline = None
        while not self._try():
            now = time.monotonic()
            deadline = now + timeout if deadline is None else deadline
            if now >= deadline:
                raise TimeoutError(self._path)
            time.sleep(_POLL_SECONDS)

    def _try(self) -> bool:
        if self._descriptor < 0:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        if not lock_descriptor(self._descriptor, blocking=False):
            return False
        if os.fstat(self._descriptor).st_nlink:
            return True
        # The file was deleted: others lock a new one.
        os.close(self._descriptor)
        self._descriptor = -1
        return self._try()
