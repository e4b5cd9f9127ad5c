"""Opens the files that frames refer to: local files, blobs of the current engine, and fsspec URLs."""

from __future__ import annotations

import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ...engine.blobs.store import BlobStore
from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.errors import FramelodeError, InvalidValueError, NotFoundError, StorageError, UsageError
from ...engine.frames.source import path_or_uri
from ...engine.secrets import find_secret
from ...engine.storage.object_errors import install_hint
from ...engine.storage.objects import open_filesystem, timeout_options
from ...engine.storage.urls import fsspec_url
from ...engine.validation import shorten
from ..session.current import current_session

IN_PROCESS = ("memory", "data")
"""Schemes of contents in this process."""

_GONE = {404, 410}
_SHOWN = 2000


@contextmanager
def open_source(uri: str) -> Generator[BinaryIO, None, None]:
    """Open the content of a URI.

    Raises
    ------
    NotFoundError
        The file does not exist.
    UsageError
        The scheme is unknown, or its library is not installed.
    InvalidValueError
        It is a folder or a special file.
    StorageError
        It cannot be read.
    """
    try:
        with _open(uri) as file:
            yield file
    except FileNotFoundError as error:
        raise missing(uri, error) from None
    except FramelodeError:
        raise
    except (ImportError, ValueError) as error:
        message = f"{shown(uri)} cannot be read: {_told(error)}{install_hint(uri, error)}"
        raise UsageError(message) from cause_of(uri, error)
    except Exception as error:  # noqa: BLE001 - it is raised again
        # Each filesystem raises its own errors.
        raise StorageError(f"{shown(uri)} cannot be read: {_told(error)}") from cause_of(uri, error)


def shown(uri: str) -> str:
    """Return a URI for messages, shortened if it contains the content itself, as ``data:`` does."""
    place = path_or_uri(uri) or uri
    return repr(place) if len(place) <= _SHOWN else shorten(place)


def cause_of(uri: str, error: Exception) -> Exception | None:
    """Return the error to chain as a cause, or None if it could show a secret of the URI."""
    return None if find_secret(uri) else error


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def missing(uri: str, error: FileNotFoundError) -> FramelodeError:
    """Return the error for a `FileNotFoundError`, which HTTP filesystems raise for every failure."""
    place, cause = shown(uri), error.__cause__
    status = getattr(cause, "status", None)
    if uri.partition(":")[0].lower() not in {"http", "https"} or cause is None or status in _GONE:
        return NotFoundError(f"there is no file {place}")
    reason = f"the server answered {status}" if status else type(cause).__name__
    return StorageError(f"{place} cannot be read: {reason}")


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URI and the path in it. Raises `UsageError` if it cannot be opened."""
    return open_filesystem(fsspec_url(uri), shown(uri), **timeout_options(uri.partition(":")[0].lower()))


def plain_file(uri: str) -> Path:
    """Return the path of a ``file:///`` URI. Raises an error if it is not a regular file."""
    path = Path(path_or_uri(uri) or "")
    if "\0" in str(path):
        raise InvalidValueError(f"{shown(uri)} is not a valid path: it contains a NUL character")
    # Opening a pipe or a device could block forever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidValueError(f"{shown(uri)} is not a regular file")
    return path


@contextmanager
def current_blobs() -> Generator[BlobStore, None, None]:
    """Yield the blob store of the current engine. If a blob is missing, the error gives the engine."""
    session = current_session()
    try:
        yield session.blobs
    except NotFoundError as error:
        raise NotFoundError(
            f"{error}; the current engine is {session.name}: to read files of another engine, use `with engine:`"
        ) from None


def _open(uri: str) -> Any:
    if uri.startswith("file:///"):
        return plain_file(uri).open("rb")
    if is_blob_uri(uri):
        with current_blobs() as blobs:
            return blobs.open(parse_blob_uri(uri).digest)
    from fsspec.core import OpenFile

    return OpenFile(*filesystem_of(uri))  # keeps the filesystem alive, which may close its files otherwise
