"""The bytes of a source that is to be looked at: never more than a limit, and from afar only when asked to."""

from __future__ import annotations

from ...engine.blobs.uris import is_blob_uri
from ...engine.errors import InvalidValueError, UsageError
from ..files.open import IN_PROCESS, open_source
from ..session.current import current_session

MOST_BYTES = 50 * 1000 * 1000
"""A source of more bytes is not read for a picture."""


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
    if not remote and not _is_near(uri):
        raise UsageError("the source is not on this machine; framelode.draw(frame) fetches it")
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
