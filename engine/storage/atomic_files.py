"""Writes files atomically."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import ConflictError, NotFoundError, StorageError, UsageError
from ..validation import refuse_secret, shorten
from .held_files import open_file
from .local import sync, take_name
from .modes import create_file

_BAD_NAMES = {errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}

PathLike = str | os.PathLike[str]


def path_of(path: object, what: str) -> Path:
    """Return the path of a file. Raises `UsageError` if the value is not a path."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UsageError(f"{what} must be the path of a file, not {shorten(path)}")
    try:
        os.fsencode(path)
    except (ValueError, UnicodeEncodeError) as error:
        raise UsageError(f"{what} must be the path of a file, not {shorten(path)}") from error
    refuse_secret(os.fsdecode(path), what, "give the path of a file")
    return from_home(path)


def from_home(path: PathLike) -> Path:
    """Return a path with a leading ``~`` expanded. Raises `UsageError` if the home folder is unknown."""
    if "\0" in os.fsdecode(path):
        raise UsageError(f"{shorten(path)} contains a NUL character, which no path can")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{os.fspath(path)!r} starts with the home folder of a user who does not exist on this machine"
        ) from None


def cannot_read(path: object, error: OSError) -> UsageError | StorageError:
    """Return the framelode error for an `OSError` that was raised while reading a file."""
    message = f"{path} cannot be read: {error.strerror or error}"
    refused = isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError)
    if refused or error.errno in _BAD_NAMES:
        return UsageError(message)
    return StorageError(message)


@contextmanager
def reading(path: object) -> Generator[None, None, None]:
    """Translate `OSError`s of a block that reads a file into framelode errors."""
    try:
        yield
    except OSError as error:
        raise cannot_read(path, error) from error


def read_small(path: Path, limit: int) -> bytes:
    """Return the content of a small file.

    Raises
    ------
    NotFoundError
        The file does not exist.
    UsageError
        The file may not be read, or is larger than `limit`.
    StorageError
        The disk failed.
    """
    try:
        with open_file(path) as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes: pass another file")
    return data


def temporary_name(path: Path) -> str:
    """Return the name of a temporary file for `path`, unique across threads, processes and machines."""
    # A name has at most 255 bytes.
    return f".{os.fsdecode(os.fsencode(path.name)[:100])}.{uuid.uuid4().hex}"


@contextmanager
def new_file(path: Path) -> Generator[BinaryIO, None, None]:
    """Yield a file to write. It gets its name if the block succeeds, and is deleted otherwise.

    Its mode is 0600, or 0660 in a shared folder.

    Raises
    ------
    ConflictError
        A file of that name exists. Nothing is overwritten.
    UsageError
        The folder is missing or cannot be written.
    StorageError
        The disk failed or is full.
    """
    temporary = path.with_name(temporary_name(path))
    try:
        if path.exists():
            raise _taken(path)
        file = os.fdopen(create_file(temporary), "wb")
    except ConflictError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be written: {reason}; give a folder that can be written") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not take_name(os.fspath(temporary), os.fspath(path)):
            raise _taken(path)
        sync(os.fspath(path.parent))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, *, by_way_of: Path | None = None, mode: int | None = None) -> None:
    """Replace the content of a file atomically. Readers see either the old or the new content.

    Parameters
    ----------
    by_way_of : Path, optional
        Folder for the temporary file, on the same file system. By default the folder of the file.
    mode : int, optional
        Mode of a new file, by default given by the umask. An existing file keeps its mode.

    Raises
    ------
    UsageError
        The folder is missing or cannot be written.
    StorageError
        The disk failed or is full. The old content stays.
    """
    temporary = (by_way_of or path.parent) / temporary_name(path)
    try:
        file = temporary.open("xb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be written: {reason}; give a folder that can be written") from error
    try:
        with file:
            if path.exists():
                mode = stat.S_IMODE(path.stat().st_mode)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(os.fspath(path.parent))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _taken(path: Path) -> ConflictError:
    return ConflictError(f"{path} already exists: pass another name, or move it")
