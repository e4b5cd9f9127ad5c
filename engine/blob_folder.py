"""Blobs in a local folder: durable with one sync for many files."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from .blob_place import TEMPORARY, BlobPlace, Entry, PlaceError, Sink, blob_name, digest_of

FEW_FILES = 32
"""Up to so many files are synced one by one: a sync of the whole file system waits for what others wrote too."""

TEMPORARY_FOLDERS = 16

_THREADS = 4
_numbers = itertools.count()
_PERMANENT = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "its quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "it cannot be written: permission denied",
    errno.EPERM: "it cannot be written: not permitted",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EFBIG: "the file is too large for it",
}


class LocalFolder(BlobPlace):
    """A folder of a local file system, made when something is first written.

    Parameters
    ----------
    folder : Path
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.name = str(self.folder)
        self.threads = _THREADS
        self._root = os.fspath(self.folder)
        self._temporary = f"{self._root}/{TEMPORARY}"

    def create(self) -> Sink:
        """Begin a temporary file."""
        # In one folder, threads would wait for each other.
        name = f"{next(_numbers) % TEMPORARY_FOLDERS:x}/{uuid.uuid4().hex}"
        with self._translated():
            return _FileSink(name, self._create(f"{self._temporary}/{name}"), self._translated)

    def _create(self, path: str) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o666)

    def discard(self, temporary: str) -> None:
        """Drop a temporary file."""
        with suppress(OSError):
            os.unlink(f"{self._temporary}/{temporary}")  # noqa: PTH108 - a Path for each file costs more than the call

    def sync_written(self, temporaries: Sequence[str]) -> None:
        """Wait until the contents of temporary files are durable."""
        with self._translated():
            if len(temporaries) > FEW_FILES and _sync_file_system(self._root):
                return
            for name in temporaries:
                _sync(f"{self._temporary}/{name}")

    def move(self, temporary: str, digest: str) -> None:
        """Give a temporary file its final name."""
        source, target = f"{self._temporary}/{temporary}", self.path(digest)
        with self._translated():
            try:
                os.rename(source, target)  # noqa: PTH104 - as above
            except FileNotFoundError:
                _make_folder(target.rpartition("/")[0])
                os.rename(source, target)  # noqa: PTH104

    def sync_moved(self, digests: Sequence[str]) -> None:
        """Wait until final names are durable: those of the files and of the folders that lead to them."""
        with self._translated():
            if len(digests) > FEW_FILES and _sync_file_system(self._root):
                return
            folders = {f"{self._root}/{digest[:2]}" for digest in digests}
            for folder in (*folders, self._root, os.fspath(self.folder.parent)):
                _sync(folder)

    def size(self, digest: str) -> int | None:
        """Return the bytes of a blob, None when it is not here."""
        with self._translated():
            try:
                found = os.stat(self.path(digest))  # noqa: PTH116 - as above
            except FileNotFoundError:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a range of a blob's bytes."""
        with self.open(digest) as file, self._translated():
            file.seek(start)
            return file.read(-1 if stop is None else max(0, stop - start))

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading."""
        with self._translated():
            return Path(self.path(digest)).open("rb")

    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs; the folders stay, since a blob may be on its way into them."""
        with self._translated():
            for digest in digests:
                with suppress(FileNotFoundError):
                    os.unlink(self.path(digest))  # noqa: PTH108

    def entries(self) -> Iterator[Entry]:
        """Yield every file, folder by folder."""
        with self._translated():
            if not self.folder.is_dir():
                return
            for folder, folders, files in os.walk(self._root):
                if folder == self._root and TEMPORARY in folders:
                    folders.remove(TEMPORARY)
                folders.sort()
                yield from self._entries_of(folder, sorted(files))

    def _entries_of(self, folder: str, files: list[str]) -> Iterator[Entry]:
        for file in files:
            path = f"{folder}/{file}"
            name = os.path.relpath(path, self._root)
            with suppress(FileNotFoundError):
                found = os.lstat(path)
                digest = digest_of(name) if stat.S_ISREG(found.st_mode) else None
                yield Entry(name, digest, found.st_size, found.st_mtime)

    def clean(self, older_than: float) -> int:
        """Drop temporary files that nothing was written to for some seconds."""
        removed = 0
        for folder, _, files in os.walk(self._temporary):
            for file in files:
                with suppress(OSError):
                    path = Path(folder, file)
                    if time.time() - path.stat().st_mtime > older_than:
                        path.unlink()
                        removed += 1
        return removed

    def path(self, digest: str) -> str:
        """Return the path of a blob."""
        return f"{self._root}/{blob_name(digest)}"

    def _translated(self) -> _Translated:
        return _Translated(self.name)


class _Translated:
    """Turns what the system refuses into a `PlaceError`; a generator would cost more than most calls inside."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
            return
        reason = _PERMANENT.get(error.errno or 0)
        message = f"blob store {self._name}: {reason or error.strerror or error}"
        raise PlaceError(message, permanent=reason is not None) from error


class _FileSink(Sink):
    def __init__(self, name: str, descriptor: int, translated: Callable[[], _Translated]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._translated = translated

    def write(self, data: bytes) -> None:
        with self._translated():
            written = os.write(self._descriptor, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self._descriptor, data)

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with self._translated():
                os.close(descriptor)


def _make_folder(folder: str) -> None:
    try:
        os.mkdir(folder)  # noqa: PTH102 - as above
    except FileExistsError:
        return
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)


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
