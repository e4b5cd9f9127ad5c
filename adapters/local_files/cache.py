"""Contents fetched from afar: one file each under its digest; those not used for longest are dropped."""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

from ...engine.blob_place import CHUNK_BYTES
from ...engine.errors import InvalidValueError, StorageError, UsageError
from ...engine.files import from_home
from .expectation import Expectation

FOLDER_VARIABLE = "FRAMELODE_CACHE"
BYTES_VARIABLE = "FRAMELODE_CACHE_BYTES"
DEFAULT_BYTES = 10 * 1000**3

LEFTOVER_SECONDS = 24 * 3600.0
"""A temporary file that nothing was written to for so long belongs to nobody."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
_CONTENTS, _KNOWN, _TEMPORARY = "contents", "known", "tmp"


class Known(msgspec.Struct, frozen=True):
    """What was found at a URI when it was last fetched.

    Attributes
    ----------
    digest : str
        blake3 of the content.
    token : str
        What its filesystem said of it: another one means that it may have changed.
    """

    digest: str
    token: str


class LocalCache:
    """A folder of fetched contents; processes share it.

    Parameters
    ----------
    folder : path
        Made when something is first fetched.
    max_bytes : int
        What its contents may have together; the content fetched last stays, whatever its size.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int = DEFAULT_BYTES) -> None:
        self.folder = from_home(folder).absolute()
        self.max_bytes = max_bytes

    @classmethod
    def of_user(cls) -> LocalCache:
        """Return the cache of the user: `FRAMELODE_CACHE` and `FRAMELODE_CACHE_BYTES`, else 10 GB where caches are."""
        folder = os.environ.get(FOLDER_VARIABLE)
        given = os.environ.get(BYTES_VARIABLE) or str(DEFAULT_BYTES)
        if not given.isdecimal():
            raise InvalidValueError(f"{BYTES_VARIABLE} must be a whole number of bytes, not {given!r}")
        return cls(folder or _default_folder(), int(given))

    def find(self, digest: str, suffix: str) -> Path | None:
        """Return the file of a content that is here, and count it as used; None when it is not."""
        path = self._path(digest, suffix)
        try:
            # The time of change stays: it tells whether somebody wrote to it since it was verified.
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except OSError:  # most often it is not there; what belongs to somebody else can be read all the same
            return path if path.is_file() else None
        return path

    def known(self, uri: str) -> Known | None:
        """Return what was found at a URI when it was last fetched."""
        try:
            return msgspec.json.decode(self._note(uri).read_bytes(), type=Known)
        except (OSError, msgspec.DecodeError):
            return None

    def note(self, uri: str, known: Known) -> None:
        """Remember what was found at a URI."""
        with self._translated():
            self._replace(self._note(uri), lambda file: file.write(msgspec.json.encode(known)))

    def fetch(self, source: BinaryIO, expected: Expectation, suffix: str) -> tuple[str, Path]:
        """Copy a content into the cache while it is hashed; it appears whole, and only if it is what is expected.

        Returns
        -------
        (str, Path)
            Its digest, and its file.

        Raises
        ------
        IntegrityError
            It is another content.
        """
        with self._translated():
            temporary = self._temporary()
            try:
                with FileIO(temporary, "xb") as copy:
                    digest, size = self._copy(source, copy, expected)
                path = self._path(digest, suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            self._make_room(path, size)
        return digest, path

    def _copy(self, source: BinaryIO, copy: FileIO, expected: Expectation) -> tuple[str, int]:
        check = expected.begin()
        while data := source.read(CHUNK_BYTES):
            check.update(data)
            self._write(copy, memoryview(data))
        check.finish()
        return check.digest, check.size

    def _write(self, copy: FileIO, data: memoryview) -> None:
        """Write all of some data; where the disk is full, contents make room that were not used for longest."""
        while data:
            try:
                written = copy.write(data)
            except OSError as error:
                oldest = min(self._held(), default=None)
                if error.errno not in _FULL or oldest is None:
                    raise
                oldest[2].unlink(missing_ok=True)
            else:
                data = data[written or 0 :]

    def _held(self) -> list[tuple[float, int, Path]]:
        """Return the contents that are here: when each was used last, its size, and its file."""
        found: list[tuple[float, int, Path]] = []
        for path in (self.folder / _CONTENTS).glob("*/*"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_atime, stat.st_size, path))
        return found

    def _make_room(self, newest: Path, size: int) -> None:
        """Drop what killed processes left, and contents that were not used for longest until what is here fits."""
        for path in (self.folder / _TEMPORARY).glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
        found = [held for held in self._held() if held[2] != newest]
        total = size + sum(size for _, size, _ in found)
        for _, dropped, path in sorted(found):
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= dropped

    def _path(self, digest: str, suffix: str) -> Path:
        return self.folder / _CONTENTS / digest[:2] / f"{digest}{suffix}"

    def _note(self, uri: str) -> Path:
        name = blake3(uri.encode(errors="surrogateescape")).hexdigest(length=16)
        return self.folder / _KNOWN / name[:2] / name

    def _temporary(self) -> Path:
        folder = self.folder / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex

    def _replace(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        temporary = self._temporary()
        try:
            with temporary.open("xb") as file:
                write(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _translated(self) -> _Translated:
        return _Translated(self.folder)


def _default_folder() -> Path:
    """Return the folder for caches of the user; one without a home, as in some containers, has to name one."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "framelode")
    except RuntimeError:
        raise UsageError(
            f"there is no home folder to keep fetched files in: set {FOLDER_VARIABLE} to a folder"
        ) from None


def suffix_of(uri: str) -> str:
    """Return the suffix of a URI's file name, which readers of images go by; empty for none."""
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
