"""Temporary files on a local file system, and combined syncs of many files."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from . import modes
from .base import BackendError, Sink, SyncPoint

FEW_FILES = 32
"""Up to this many files are synced one by one. A sync of the file system also waits for the writes of other programs."""

START_BYTES = 8 * 1024 * 1024
"""Amount of a large file after which the system is told to start writing to disk."""

TEMPORARY_FOLDERS = 16

_WRITE_BYTES = 64 * 1024
"""Larger writes require contiguous kernel memory on Linux, which can take longer than the write."""

_RANGE_WRITE = 2
_HERE = -100
_NO_REPLACE = 1

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}

_numbers = itertools.count()
_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}-\d+-\d+")
_PERMANENT = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "its quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "it cannot be written: permission denied",
    errno.EPERM: "it cannot be written: not permitted",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EFBIG: "the file is too large for it",
    errno.ENAMETOOLONG: "the name is longer than its file system allows",
    errno.EILSEQ: "the name has characters that its file system does not allow",
}


class TranslateErrors:
    """Translates `OSError`s into `BackendError`. A class, because a generator would take longer than most calls inside.

    `FileNotFoundError` is not translated.

    Parameters
    ----------
    what : str
        Start of messages: the object of the operation.
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


def place_error(what: str, error: OSError) -> BackendError:
    """Return the `BackendError` for an `OSError`."""
    reason = _PERMANENT.get(error.errno or 0)
    message = f"{what}: {reason or error.strerror or error}"
    return BackendError(message, permanent=reason is not None)


class LocalTemporaryFiles:
    """Incomplete files in a folder that is created when needed.

    Parameters
    ----------
    folder : str
        The folder.
    what : str
        Start of messages.
    mode : int
        Mode of the files, before the umask is applied.
    """

    def __init__(self, folder: str, what: str, mode: int) -> None:
        self._folder = folder
        self._what = what
        self._mode = mode
        self._token = uuid.uuid4().hex

    def create(self) -> Sink:
        """Create a file."""
        name = self._name()
        with TranslateErrors(self._what):
            return _FileSink(name, _create(self.path(name), self._mode), self._what)

    def make_folder(self) -> str:
        """Create a folder and return its name."""
        name = self._name()
        path = self.path(name)
        with TranslateErrors(self._what):
            modes.make_folder(path.rpartition("/")[0])
            os.mkdir(path)  # noqa: PTH102
        return name

    def write(self, data: bytes, name: str = "", mode: int | None = None) -> str:
        """Write a file and return its name, by default a new one. If that fails, nothing remains of it."""
        name = name or self._name()
        try:
            with TranslateErrors(self._what):
                descriptor = _create(self.path(name), self._mode if mode is None else mode)
                try:
                    _write_all(descriptor, data)
                finally:
                    os.close(descriptor)
        except BaseException:
            self.discard(name)
            raise
        return name

    def _name(self) -> str:
        # Threads would wait for each other in a single folder.
        number = next(_numbers)
        return f"{number % TEMPORARY_FOLDERS:x}/{self._token}-{os.getpid()}-{number}"

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return f"{self._folder}/{name}"

    def discard(self, temporary: str) -> None:
        """Delete a file."""
        with suppress(OSError):
            os.unlink(self.path(temporary))  # noqa: PTH108 - a Path for each file costs more than the call

    def clean(self, older_than: float) -> int:
        """Delete files that were not written to for some seconds, and empty folders. Returns the number of files.

        Only names of the expected form are deleted, and symbolic links are not followed.
        """
        removed = 0
        for path, is_folder in self._left():
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime <= older_than:
                    continue
                if is_folder:
                    path.rmdir()
                else:
                    path.unlink()
                    removed += 1
        return removed

    def _left(self) -> Iterator[tuple[Path, bool]]:
        """Yield the temporary files and folders. The content of a folder comes before the folder."""
        for number in range(TEMPORARY_FOLDERS):
            above = Path(self._folder, f"{number:x}")
            if above.is_symlink() or above.parent.is_symlink():
                continue
            with suppress(OSError):
                for path in filter(lambda path: _TEMPORARY_NAME.fullmatch(path.name), above.iterdir()):
                    is_folder = not path.is_symlink() and path.is_dir()
                    for inner in path.iterdir() if is_folder else ():
                        yield inner, False
                    yield path, is_folder


def _create(path: str, mode: int) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        modes.make_folder(path.rpartition("/")[0])
        return os.open(path, flags, mode)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    written = os.write(descriptor, data) if len(data) <= _WRITE_BYTES else 0
    if written == len(data):
        return
    left = memoryview(data)[written:]
    while left:
        left = left[os.write(descriptor, left[:_WRITE_BYTES]) :]


class _FileSink(Sink):
    def __init__(self, name: str, descriptor: int, what: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._what = what
        self._written = self._started = 0

    def write(self, data: bytes | memoryview) -> None:
        with TranslateErrors(self._what):
            _write_all(self._descriptor, data)
        self._written += len(data)
        if self._written - self._started >= START_BYTES:
            _start_writing(self._descriptor, self._started, self._written)
            self._started = self._written

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with TranslateErrors(self._what):
                os.close(descriptor)


def make_folder(folder: str) -> None:
    """Create a folder and its parents where missing, with modes given by the umask."""
    try:
        os.mkdir(folder)  # noqa: PTH102 - a Path for each file costs more than the call
    except FileExistsError:
        return
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)


class LocalSyncPoint(SyncPoint):
    """The start of the writes to a file system that a later sync must confirm.

    Linux reports a failed write once to each descriptor that was open at the time. A descriptor opened for the sync would
    miss errors already reported to another one, so it is opened before the first write.

    Parameters
    ----------
    folder : str
        The folder that is written to.
    """

    def __init__(self, folder: str) -> None:
        self.descriptor: int | None = None
        with suppress(OSError):  # the write raises the error
            make_folder(folder)
            self.descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the descriptor."""
        if self.descriptor is not None:
            descriptor, self.descriptor = self.descriptor, None
            os.close(descriptor)

    __del__ = close


def sync_together(root: str, paths: Iterable[str], files: int, since: SyncPoint | None = None) -> None:
    """Make files or folders durable. For many files, sync the file system of `root` once."""
    descriptor = since.descriptor if isinstance(since, LocalSyncPoint) else None
    if files > FEW_FILES and _sync_file_system(root, descriptor):
        return
    for path in paths:
        sync(path)


def sync(path: str) -> None:
    """Make a file or the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: str, descriptor: int | None = None) -> bool:
    """Sync the file system of a folder. Returns False if the system does not support that."""
    call = _system_call("syncfs", ctypes.c_int)
    if call is None:
        return False
    opened = os.open(folder, os.O_RDONLY) if descriptor is None else descriptor
    try:
        if call(opened) == 0:
            return True
        number = ctypes.get_errno()
        if number in {errno.ENOSYS, errno.EINVAL}:
            return False
        raise OSError(number, os.strerror(number), folder)
    finally:
        if descriptor is None:
            os.close(opened)


def _start_writing(descriptor: int, start: int, stop: int) -> None:
    """Tell the system to start writing a part of a file to disk, so that the sync takes less time."""
    call = _system_call("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    if call:
        call(descriptor, start, stop - start, _RANGE_WRITE)


def rename_to_new(source: str, target: str) -> bool:
    """Rename a file. Raises `FileExistsError` if the name is taken. Returns False if the system does not support that."""
    call = _system_call(
        "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
    )
    if call is None:
        return False
    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NO_REPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(number, os.strerror(number), target)


def take_name(temporary: str, path: str) -> bool:
    """Rename a temporary file. Returns False if the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _move(temporary, path)
    return True


def _move(temporary: str, path: str) -> bool:
    """Move a file where hard links are not supported. If a move could overwrite, an empty file reserves the name first."""
    try:
        if rename_to_new(temporary, path):
            return True
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
    except FileExistsError:
        return False
    try:
        os.rename(temporary, path)  # noqa: PTH104
    except OSError:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108
        raise
    return True


@cache
def _system_call(name: str, *types: Any) -> Callable[..., int] | None:
    """Return a Linux system call that Python lacks, such as syncfs, which reports failed writes since Linux 5.8."""
    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return None
    call.argtypes, call.restype = types, ctypes.c_int
    return call
