"""Reads local files and folders. Each file is opened only once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from ...engine.errors import InvalidValueError, StorageError
from ...engine.validation import shorten
from .records import FileInfo, Meta
from .timeouts import Beat

_CHUNK = 1 << 20
_FOLDERS = 200


def local_meta(path: str, beat: Beat, *, times: bool = False) -> Meta:
    """Return the size, digest and mode of a file, and the modification time if `times` is set.

    Raises
    ------
    InvalidValueError
        It is not a regular file.
    StorageError
        It cannot be read.
    """
    try:
        # Opening a pipe could block forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidValueError(
                    f"{shorten(path)} is not a regular file: only files and folders can be pinned"
                )
            digest, size = hashlib.md5(usedforsecurity=False), 0
            while data := os.read(descriptor, _CHUNK):
                beat()
                digest.update(data)
                size += len(data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{shorten(path)} cannot be read: {error.strerror or error}") from error
    is_program = bool(found.st_mode & stat.S_IXUSR)
    mtime = found.st_mtime if times else None
    return Meta(size=size, isexec=is_program, md5=digest.hexdigest(), mtime=mtime)


def local_files(folder: str, beat: Beat, *, times: bool = False) -> Iterator[FileInfo]:
    """Yield the files below a folder. Symbolic links are followed, but not in cycles."""
    yield from _below(folder, "", (), beat, times)


def _below(
    folder: str, prefix: str, within: tuple[tuple[int, int], ...], beat: Beat, times: bool
) -> Iterator[FileInfo]:
    beat()
    try:
        found = os.stat(folder)  # noqa: PTH116 - paths are text here, hundreds of thousands of them
        here = (found.st_dev, found.st_ino)
        with os.scandir(folder) as listed:
            entries = [(entry.name, entry.is_dir()) for entry in listed]
    except OSError as error:
        raise StorageError(f"{shorten(folder)} cannot be read: {error.strerror or error}") from error
    if here in within:
        raise InvalidValueError(f"{shorten(folder)} is a link to a folder that contains it")
    if len(within) >= _FOLDERS:
        raise InvalidValueError(f"{shorten(folder)} is nested more than {_FOLDERS} folders deep")
    for name, is_folder in entries:
        path = f"{folder}/{name}"
        if is_folder:
            yield from _below(path, f"{prefix}{name}/", (*within, here), beat, times)
        else:
            yield FileInfo(relpath=_storable(f"{prefix}{name}"), meta=local_meta(path, beat, times=times))


def _storable(relpath: str) -> str:
    try:
        relpath.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"the file name {relpath!r} is not valid UTF-8, as a lock file requires"
        ) from error
    return relpath
