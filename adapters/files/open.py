"""Opens what frames name: local files, blobs of the current engine, and whatever fsspec knows."""

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
"""Schemes of contents that are on no machine but this."""

_GONE = {404, 410}
_SHOWN = 2000


@contextmanager
def open_source(uri: str) -> Generator[BinaryIO, None, None]:
    """Open the content of a URI for reading.

    Raises
    ------
    NotFoundError
        There is nothing there.
    UsageError
        The scheme is unknown, or the library that fetches it is missing.
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
        # Each filesystem has errors of its own.
        raise StorageError(f"{shown(uri)} cannot be read: {_told(error)}") from cause_of(uri, error)


def shown(uri: str) -> str:
    """Return how messages name what is at a URI: whole, unless it holds its content itself, as ``data:`` does."""
    place = path_or_uri(uri) or uri
    return repr(place) if len(place) <= _SHOWN else shorten(place)


def cause_of(uri: str, error: Exception) -> Exception | None:
    """Return what a message about a URI may name as its cause: nothing that could quote a secret of the URI."""
    return None if find_secret(uri) else error


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def missing(uri: str, error: FileNotFoundError) -> FramelodeError:
    """Return the error for what a filesystem calls missing; that of the web calls whatever fails so."""
    place, cause = shown(uri), error.__cause__
    status = getattr(cause, "status", None)
    if uri.partition(":")[0].lower() not in {"http", "https"} or cause is None or status in _GONE:
        return NotFoundError(f"there is no file {place}")
    reason = f"the server answered {status}" if status else type(cause).__name__
    return StorageError(f"{place} cannot be read: {reason}")


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URI and the path on it; `UsageError` when it cannot or may not be opened."""
    return open_filesystem(fsspec_url(uri), shown(uri), **timeout_options(uri.partition(":")[0].lower()))


def plain_file(uri: str) -> Path:
    """Return the path of a ``file:///`` URI; anything but a regular file is refused."""
    path = Path(path_or_uri(uri) or "")
    if "\0" in str(path):
        raise InvalidValueError(f"{shown(uri)} is no path of this machine: it holds a NUL")
    # A pipe or a device could block for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidValueError(f"{shown(uri)} is no plain file")
    return path


@contextmanager
def current_blobs() -> Generator[BlobStore, None, None]:
    """Give the blob store of the current engine; where a blob is missing, the error says which engine that is."""
    session = current_session()
    try:
        yield session.blobs
    except NotFoundError as error:
        raise NotFoundError(
            f"{error}; the current engine is {session.name}: files of frames of another one are read inside `with` that one"
        ) from None


def _open(uri: str) -> Any:
    if uri.startswith("file:///"):
        return plain_file(uri).open("rb")
    if is_blob_uri(uri):
        with current_blobs() as blobs:
            return blobs.open(parse_blob_uri(uri).digest)
    from fsspec.core import OpenFile

    return OpenFile(*filesystem_of(uri))  # it keeps the filesystem, which may close its files when it goes
