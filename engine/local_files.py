"""Files of a local file system: temporary ones, and one sync for many of them."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

from .blob_place import PlaceError, Sink

FEW_FILES = 32
"""Up to so many files are synced one by one: a sync of the whole file system waits for what others wrote too."""

TEMPORARY_FOLDERS = 16

_numbers = itertools.count()
_PERMANENT = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "its quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "it cannot be written: permission denied",
    errno.EPERM: "it cannot be written: not permitted",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EFBIG: "the file is too large for it",
    errno.ENAMETOOLONG: "the name is longer than its file system takes",
    errno.EILSEQ: "the name has characters that its file system does not take",
}


class Translated:
    """Turns what the system refuses into a `PlaceError`; a generator would cost more than most calls inside.

    A file that is not there stays a `FileNotFoundError`.

    Parameters
    ----------
    what : str
        How messages begin: what was worked on.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
            return
        raise place_error(self._what, error) from error


def place_error(what: str, error: OSError) -> PlaceError:
    """Return what the system refused as an error of a place."""
    reason = _PERMANENT.get(error.errno or 0)
    message = f"{what}: {reason or error.strerror or error}"
    return PlaceError(message, permanent=reason is not None)


class TemporaryFiles:
    """Files that are still being written, in a folder made when it is needed.

    Parameters
    ----------
    folder : str
        The folder.
    what : str
        How messages begin.
    """

    def __init__(self, folder: str, what: str) -> None:
        self._folder = folder
        self._what = what

    def create(self) -> Sink:
        """Begin a file."""
        # In one folder, threads would wait for each other.
        name = f"{next(_numbers) % TEMPORARY_FOLDERS:x}/{uuid.uuid4().hex}"
        with Translated(self._what):
            return _FileSink(name, _create(self.path(name)), self._what)

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return f"{self._folder}/{name}"

    def discard(self, name: str) -> None:
        """Drop a file."""
        with suppress(OSError):
            os.unlink(self.path(name))  # noqa: PTH108 - a Path for each file costs more than the call

    def clean(self, older_than: float) -> int:
        """Drop files that nothing was written to for some seconds; returns how many."""
        removed = 0
        for folder, _, files in os.walk(self._folder):
            for file in files:
                with suppress(OSError):
                    path = Path(folder, file)
                    if time.time() - path.stat().st_mtime > older_than:
                        path.unlink()
                        removed += 1
        return removed


def _create(path: str) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


class _FileSink(Sink):
    def __init__(self, name: str, descriptor: int, what: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._what = what

    def write(self, data: bytes) -> None:
        with Translated(self._what):
            written = os.write(self._descriptor, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self._descriptor, data)

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with Translated(self._what):
                os.close(descriptor)


def make_folder(folder: str) -> None:
    """Make a folder and those above it, where they are missing."""
    try:
        os.mkdir(folder)  # noqa: PTH102 - a Path for each file costs more than the call
    except FileExistsError:
        return
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)


def sync_together(root: str, paths: Collection[str], files: int) -> None:
    """Make files or folders durable: with one sync of the file system of `root` when many files are concerned."""
    if files > FEW_FILES and _sync_file_system(root):
        return
    for path in paths:
        _sync(path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: str) -> bool:
    """Make everything written to a folder's file system durable; False where the system cannot."""
    call = _syncfs()
    if call is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if call(descriptor) == 0:
            return True
        number = ctypes.get_errno()
        if number in {errno.ENOSYS, errno.EINVAL}:
            return False
        raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """Return Linux's syncfs, which since 5.8 reports failed writes; Python does not offer it."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return None
    call.argtypes, call.restype = [ctypes.c_int], ctypes.c_int
    return call
