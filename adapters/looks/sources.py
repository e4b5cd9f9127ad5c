"""The bytes of a source that is to be looked at: never more than a limit, and from afar only when asked to."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ...engine.blob_uris import is_blob_uri, parse_blob_uri
from ...engine.errors import FramelodeError, InvalidValueError, NotFoundError, StorageError, UsageError
from ...engine.validation import shorten
from ...engine.wire import path_or_uri
from ..connection import current_engine

MOST_BYTES = 50 * 1000 * 1000
"""A source of more bytes is not read for a picture."""

_IN_PROCESS = ("memory", "data")


def read_source(uri: str | None, *, remote: bool) -> bytes:
    """Return the content of a source.

    Parameters
    ----------
    uri : str or None
        URI of the source.
    remote : bool
        Fetch it whatever fsspec filesystem it is on; otherwise only local files, `memory:`, `data:` and the blobs of
        the current engine are read, if these are local.

    Raises
    ------
    UsageError
        There is no source, it may not be fetched, or the library that fetches it is missing.
    NotFoundError
        There is no such file.
    InvalidValueError
        It is no plain file, or has more than `MOST_BYTES`.
    StorageError
        It cannot be read.
    """
    if uri is None:
        raise UsageError("the frame has no source")
    scheme = uri.partition(":")[0].lower()
    try:
        data = _read(uri, scheme, remote=remote)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {shorten(path_or_uri(uri))}") from None
    except FramelodeError:
        raise
    except (ImportError, ValueError) as error:
        raise UsageError(f"{shorten(uri)} cannot be read: {error}") from error
    except Exception as error:
        # Each filesystem has errors of its own.
        raise StorageError(f"{shorten(path_or_uri(uri))} cannot be read: {error}") from error
    if len(data) > MOST_BYTES:
        raise InvalidValueError(
            f"the source has more than {MOST_BYTES // 10**6} MB and is not read for a picture"
        )
    return data


def _read(uri: str, scheme: str, *, remote: bool) -> bytes:
    if uri.startswith("file:///"):
        return _read_file(uri)
    if is_blob_uri(uri):
        return _read_blob(uri, remote=remote)
    if remote or scheme in _IN_PROCESS:
        return _read_filesystem(uri, scheme)
    raise _far()


def _far() -> UsageError:
    return UsageError("the source is not on this machine; framelode.draw(frame) fetches it")


def _read_blob(uri: str, *, remote: bool) -> bytes:
    engine, digest = current_engine(), parse_blob_uri(uri).digest
    place = engine.location.blobs
    if not remote and "://" in place and not place.startswith(("file://", "memory://")):
        raise _far()
    return engine.blobs.read(digest, 0, MOST_BYTES + 1)


def _read_file(uri: str) -> bytes:
    path = Path(path_or_uri(uri) or "")
    # A pipe or a device could block for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidValueError(f"{shorten(str(path))} is no plain file")
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _read_filesystem(uri: str, scheme: str) -> bytes:
    import fsspec

    # Asked by its name a filesystem takes no URI that goes on to another one behind "::".
    opened: Any = fsspec.filesystem(scheme).open(uri) if scheme in _IN_PROCESS else fsspec.open(uri)
    with opened as file:
        return file.read(MOST_BYTES + 1)
