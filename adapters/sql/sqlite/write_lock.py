"""A lock file between processes, held during a commit."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from contextlib import suppress

from ....engine import forks
from ....engine.errors import UsageError
from ....engine.storage.modes import create_file

_POLL_SECONDS = 0.001


class WriteLock:
    """An exclusive lock between processes. Within a process it can be acquired again.

    A waiting process holds a second lock, the turn, which everyone must acquire first. A process that releases the lock
    and wants it again therefore queues behind those that wait.

    Parameters
    ----------
    path : str
        The lock file. It is created if missing.
    turn : str
        The lock file of the turn.
    """

    def __init__(self, path: str, turn: str) -> None:
        self._lock = _LockFile(path)
        self._turn = _LockFile(turn)
        forks.renewed(self._renew)

    def _renew(self) -> None:
        """Reset the lock. A forked child closes the inherited files, because the lock is held until all copies are closed."""
        self._guard = threading.Lock()
        self._holders = 0
        self._lock.close()
        self._turn.close()

    @property
    def is_locked(self) -> bool:
        """Whether this process holds the lock."""
        return self._holders > 0

    def acquire(self, timeout: float) -> None:
        """Acquire the lock. Raises `TimeoutError` if another process holds it for `timeout` seconds."""
        with self._guard:
            if self._holders == 0:
                self._take(time.monotonic() + timeout)
            self._holders += 1

    def release(self) -> None:
        """Release the lock."""
        with self._guard:
            # A child that was forked while the lock was held does not hold it.
            self._holders = max(self._holders - 1, 0)
            if self._holders == 0:
                self._lock.give()

    def close(self) -> None:
        """Close the files."""
        with self._guard:
            self._lock.close()
            self._turn.close()

    def __del__(self) -> None:
        self.close()

    def _take(self, deadline: float) -> None:
        try:
            self._turn.take(deadline)
            self._lock.take(deadline)
        finally:
            self._turn.give()


class _LockFile:
    """A locked file. It stays open, because opening a file takes almost as long as a commit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._is_held = False

    def take(self, deadline: float) -> None:
        while True:
            if self._descriptor < 0:
                self._descriptor = self._open()
            self._is_held = _lock(self._descriptor)
            if not self._is_held:
                if time.monotonic() >= deadline:
                    raise TimeoutError(self._path)
                time.sleep(_POLL_SECONDS)
            elif os.fstat(self._descriptor).st_nlink:
                return
            else:
                # The file was deleted, and others lock a new one.
                self.close()

    def give(self) -> None:
        if self._is_held:
            self._is_held = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._is_held = -1, False

    def _existing(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                raise self._not_regular() from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._not_regular()
        return descriptor

    def _not_regular(self) -> UsageError:
        return UsageError(f"{self._path} must be a regular file, because writers lock it: delete it")

    def _open(self) -> int:
        while True:
            with suppress(FileNotFoundError):
                return self._existing()
            with suppress(FileExistsError):
                return create_file(self._path)


def _lock(descriptor: int) -> bool:
    """Lock a file like `filelock`, whose import takes longer than to open the database; False if another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
