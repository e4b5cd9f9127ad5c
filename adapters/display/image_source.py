"""Reads the source of a picture, up to a size limit. Remote sources are read only on request."""

from __future__ import annotations

from ...engine.blobs.uris import is_blob_uri
from ...engine.errors import InvalidValueError, UsageError
from ..files.open import IN_PROCESS, open_source
from ..session.current import current_session

MOST_BYTES = 50 * 1000 * 1000
"""Larger sources are not read."""


def read_source(uri: str | None, *, remote: bool) -> bytes:
    """Return the content of a source.

    Parameters
    ----------
    uri : str or None
        URI of the source.
    remote : bool
        Fetch the source from any fsspec filesystem. Otherwise, only local files, `memory:`, `data:` and local blobs of the
        current engine are read.

    Raises
    ------
    UsageError
        There is no source, it must not be fetched, or the library that fetches it is not installed.
    NotFoundError
        There is no such file.
    InvalidValueError
        It is not a regular file, or is larger than `MOST_BYTES`.
    StorageError
        It cannot be read.
    """
    if uri is None:
        raise UsageError("the frame has no source")
    if not remote and not _is_near(uri):
        raise UsageError("the source is not on this machine: framelode.draw(frame) fetches it")
    with open_source(uri) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidValueError(
            f"the source has more than {MOST_BYTES // 10**6} MB and is not read for a picture"
        )
    return data


def _is_near(uri: str) -> bool:
    if is_blob_uri(uri):
        place = current_session().location.blobs
        return "://" not in place or place.startswith(("file://", "memory://"))
    return uri.startswith("file:///") or uri.partition(":")[0].lower() in IN_PROCESS
