"""The local cache of fetched files, named by digest. The least recently used files are deleted."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

from ...engine.errors import IntegrityError, InvalidValueError, StorageError, UsageError
from ...engine.storage.atomic_files import from_home, temporary_name
from ...engine.storage.base import CHUNK_BYTES
from ...engine.storage.modes import create_file, make_folder
from ...engine.storage.regular_files import open_regular
from .expectation import Expectation
from .running_total import change_total

FOLDER_VARIABLE = "FRAMELODE_CACHE"
BYTES_VARIABLE = "FRAMELODE_CACHE_BYTES"
DEFAULT_BYTES = 10 * 1000**3

LEFTOVER_SECONDS = 24 * 3600.0
"""Age after which a temporary file is abandoned, counted from the last write to it."""

MARKER = "CACHEDIR.TAG"
"""File that marks a folder as a cache. Backup programs skip folders with this file."""

_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of framelode: the files in it may be deleted.
"""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
_CONTENT = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9]{1,16})?")
_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}")
_CONTENTS, _KNOWN, _TEMPORARY, _TOTAL = "contents", "known", "tmp", "total"
_READ_ONLY = 0o444
_MADE_ROOM = 0.9
"""Share of the limit that is kept on eviction, so that not every fetch has to list all files."""

_cleaned: set[Path] = set()
"""Caches in which this process has deleted leftovers."""


class Known(msgspec.Struct, frozen=True):
    """What was found at a URI when it was last fetched.

    Attributes
    ----------
    digest : str
        blake3 of the content.
    token : str
        Version of the file according to its filesystem. If it changes, the content may have changed.
    """

    digest: str
    token: str


class LocalCache:
    """A cache folder for fetched files. Several processes can share it.

    Parameters
    ----------
    folder : path
        The cache folder, created on the first fetch.
    max_bytes : int
        Maximum total size. The file fetched last is kept, whatever its size.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int = DEFAULT_BYTES) -> None:
        self.folder = from_home(folder).absolute()
        self.max_bytes = max_bytes

    @classmethod
    def of_user(cls) -> LocalCache:
        """Return the cache of the user, from `FRAMELODE_CACHE` and `FRAMELODE_CACHE_BYTES`; by default 10 GB.

        Raises
        ------
        InvalidValueError
            `FRAMELODE_CACHE_BYTES` is not an integer of at least 0.
        UsageError
            There is no home folder, and `FRAMELODE_CACHE` is not set.
        """
        folder = os.environ.get(FOLDER_VARIABLE)
        given = os.environ.get(BYTES_VARIABLE) or str(DEFAULT_BYTES)
        if not given.isdecimal():
            raise InvalidValueError(f"{BYTES_VARIABLE} must be an integer number of bytes, not {given!r}")
        return cls(folder or _default_folder(), int(given))

    def find(self, digest: str, suffix: str) -> Path | None:
        """Return the cached file of a digest and mark it as used, or None if it is not cached."""
        path = self._path(digest, suffix)
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                return None
            # The modification time is kept: it shows whether the file was written to since it was verified.
            os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))
        except FileNotFoundError:
            return None
        except OSError:  # a file of another user can still be read
            return path
        return path

    def known(self, uri: str) -> Known | None:
        """Return what was found at a URI when it was last fetched, or None."""
        try:
            with open_regular(str(self._note(uri))) as file:
                return msgspec.json.decode(file.read(), type=Known)
        except (OSError, IntegrityError, msgspec.DecodeError):
            return None

    def note(self, uri: str, known: Known) -> None:
        """Store what was found at a URI."""
        with self._translated():
            self._replace(self._note(uri), lambda file: file.write(msgspec.json.encode(known)))

    def fetch(self, source: BinaryIO, expected: Expectation, suffix: str) -> tuple[str, Path]:
        """Copy a file into the cache and hash it. It is added atomically, and only if it is as expected.

        Returns
        -------
        (str, Path)
            The digest, and the path in the cache.

        Raises
        ------
        IntegrityError
            The content is not as expected.
        UsageError
            The folder is not empty and not a cache of framelode.
        """
        with self._translated():
            temporary = self._temporary()
            try:
                with FileIO(temporary, "xb", opener=_create) as copy:
                    digest, size = self._copy(source, copy, expected)
                path = self._path(digest, suffix)
                make_folder(path.parent)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            change_total(self.folder / _TOTAL, lambda total: self._grown(total, size, path))
        return digest, path

    def _copy(self, source: BinaryIO, copy: FileIO, expected: Expectation) -> tuple[str, int]:
        check = expected.begin()
        while data := source.read(CHUNK_BYTES):
            check.update(data)
            self._write(copy, memoryview(data))
        check.finish()
        return check.digest, check.size

    def _write(self, copy: FileIO, data: memoryview) -> None:
        """Write all data. If the disk is full, evict the least recently used files."""
        oldest = None
        while data:
            try:
                written = copy.write(data)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                oldest = oldest or iter(sorted(self._held()))
                _, _, path = next(oldest, (0, 0, None))
                if path is None:
                    raise
                path.unlink(missing_ok=True)
            else:
                data = data[written or 0 :]

    def _held(self) -> list[tuple[float, int, Path]]:
        """Return the cached files: last use, size and path."""
        found: list[tuple[float, int, Path]] = []
        for path in (self.folder / _CONTENTS).glob("[0-9a-f][0-9a-f]/*"):
            if _CONTENT.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    held = path.lstat()
                    if stat.S_ISREG(held.st_mode):
                        found.append((held.st_atime, held.st_size, path))
        return found

    def _grown(self, total: int | None, size: int, newest: Path) -> int:
        """Return the total size after a file was added, and evict files if it is above the limit.

        The stored total may be too large if others replaced or deleted files. It is then counted again.
        """
        if total is not None and total + size <= self.max_bytes:
            return total + size
        found = [held for held in self._held() if held[2] != newest]
        total = size + sum(size for _, size, _ in found)
        if total <= self.max_bytes:
            return total
        for _, dropped, path in sorted(found):
            if total <= self.max_bytes * _MADE_ROOM:
                break
            path.unlink(missing_ok=True)
            total -= dropped
        return total

    def _require_ours(self) -> None:
        """Mark an empty folder as a cache. Raises `UsageError` if it has other files."""
        marker = self.folder / MARKER
        try:
            with open_regular(str(marker)) as file:
                is_ours = b"framelode" in file.read(1000)
        except (FileNotFoundError, NotADirectoryError):
            make_folder(self.folder)
            names = {name for name in os.listdir(self.folder) if not name.startswith(f".{MARKER}.")}  # noqa: PTH208
            is_ours = names <= {_CONTENTS, _KNOWN, _TEMPORARY, _TOTAL}
            if is_ours:
                self._write_marker(marker)
        if not is_ours:
            raise UsageError(
                f"{self.folder} is not empty and not a cache of framelode: set {FOLDER_VARIABLE} to an empty or new folder"
            )
        if self.folder not in _cleaned:
            _cleaned.add(self.folder)
            self._clean()

    def _write_marker(self, marker: Path) -> None:
        temporary = marker.with_name(temporary_name(marker))
        try:
            with FileIO(temporary, "xb", opener=_create) as file:
                file.write(_TAG)
            temporary.replace(marker)
        finally:
            temporary.unlink(missing_ok=True)

    def _clean(self) -> None:
        """Delete leftovers of killed processes."""
        for path in (self.folder / _TEMPORARY).glob("*"):
            if _TEMPORARY_NAME.fullmatch(path.name):
                with suppress(OSError):
                    if time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS:
                        path.unlink()

    def _path(self, digest: str, suffix: str) -> Path:
        return self.folder / _CONTENTS / digest[:2] / f"{digest}{suffix}"

    def _note(self, uri: str) -> Path:
        name = blake3(uri.encode(errors="surrogateescape")).hexdigest(length=16)
        return self.folder / _KNOWN / name[:2] / name

    def _temporary(self) -> Path:
        self._require_ours()
        folder = self.folder / _TEMPORARY
        make_folder(folder)
        return folder / uuid.uuid4().hex

    def _replace(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        temporary = self._temporary()
        try:
            with os.fdopen(create_file(temporary), "wb") as file:
                write(file)
            make_folder(path.parent)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _translated(self) -> _Translated:
        return _Translated(self.folder)


def _create(path: str, flags: int) -> int:
    """Create a read-only file."""
    return os.open(path, flags, _READ_ONLY)


def _default_folder() -> Path:
    """Return the user's cache folder. Without a home folder, as in some containers, the caller has to set one."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "framelode")
    except RuntimeError:
        raise UsageError(
            f"there is no home folder to keep fetched files in: set {FOLDER_VARIABLE} to a folder"
        ) from None


def suffix_of(uri: str) -> str:
    """Return the suffix of a URI's file name, which image libraries use; empty if there is none."""
    name = uri.partition("?")[0].partition("#")[0].rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    found = f"{dot}{suffix}" if stem else ""
    return found if _SUFFIX.fullmatch(found) else ""


class _Translated:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            message = (
                f"the cache {self._folder} cannot be used: {reason}: set {FOLDER_VARIABLE} to another folder"
            )
            raise StorageError(message) from error
