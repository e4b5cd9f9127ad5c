"""Defers closing the descriptors of database files until SQLite has closed them.

POSIX locks belong to a process. When it closes any descriptor of a file, it loses all its locks on the file, including
those of SQLite. Another process would then consider itself the last user of the database, and delete the write-ahead log
that this process continues to write.
"""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from .. import forks

FileId = tuple[int, int]
"""Device and inode number of a file."""

_READ = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)

_users: Counter[FileId] = Counter()
_waiting: dict[FileId, list[int]] = {}
_lock = threading.RLock()


def hold(path: Path) -> FileId:
    """Keep descriptors of a file open from now on. Must be called before SQLite opens the file.

    Returns
    -------
    tuple of int
        Identity of the file, for `release`.
    """
    with _lock:
        file = _id_of(os.stat(path))  # noqa: PTH116
        _users[file] += 1
        return file


def release(file: FileId) -> None:
    """Undo one `hold`. Must be called after SQLite has closed the file. The last release closes deferred descriptors."""
    with _lock:
        _users[file] -= 1
        if _users[file] <= 0:
            del _users[file]
            for descriptor in _waiting.pop(file, ()):
                os.close(descriptor)


def close(descriptor: int, found: os.stat_result | None = None) -> None:
    """Close a descriptor of any file, or keep it open while SQLite uses the file.

    Parameters
    ----------
    descriptor : int
        The descriptor.
    found : os.stat_result, optional
        Its status, if known.
    """
    # Under the lock, so that SQLite does not open the file between the check and the close.
    with _lock:
        if _users and (file := _id_of(found or os.fstat(descriptor))) in _users:
            _waiting.setdefault(file, []).append(descriptor)
        else:
            os.close(descriptor)


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; empty if it is missing."""
    with _lock:
        try:
            kept = _waiting.get(_id_of(os.stat(path)))  # noqa: PTH116
            descriptor = kept[0] if kept else os.open(path, _READ)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, size, 0)
        finally:
            if not kept:
                close(descriptor)


class _HeldFile(io.FileIO):
    """A file for reading. Its descriptor is closed by `close` of this module."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, closefd=False)
        self._descriptor = descriptor

    def close(self) -> None:
        if not self.closed:
            super().close()
            close(self._descriptor)


def opened(descriptor: int) -> BinaryIO:
    """Return a binary file that reads from a descriptor, and closes it like `close`."""
    return io.BufferedReader(_HeldFile(descriptor))


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading. It may be a database in use."""
    return opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _id_of(found: os.stat_result) -> FileId:
    return found.st_dev, found.st_ino


def _renew() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it when this process was forked
    _lock = threading.RLock()


forks.in_child(_renew)
