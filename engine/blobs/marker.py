"""The marker of a blob store: a file that identifies the store, and lists the logs that use it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ..errors import IntegrityError, UsageError
from .backend import MARKER, OWN_NAMES, BlobBackend, digest_from_name
from .scrub import read_blob

FORMAT = 1
_FOLDER = re.compile(r"[0-9a-f]{2}")
_SAMPLES = 3


class LogRef(msgspec.Struct, frozen=True, order=True):
    """A log that uses a blob store.

    Attributes
    ----------
    log : str
        Uuid of the log.
    engine : str
        URL for `connect` without a password; empty for an engine in memory.
    """

    log: str
    engine: str


class Marker(msgspec.Struct, frozen=True):
    """The content of a blob store's marker.

    Attributes
    ----------
    format : int
        Version of the format.
    logs : tuple of LogRef
        The logs whose frames refer to blobs of the store.
    """

    format: int = FORMAT
    logs: tuple[LogRef, ...] = ()


def read_marker(place: BlobBackend) -> Marker | None:
    """Return the marker of a store, or None if there is none.

    Raises
    ------
    IntegrityError
        The file cannot be decoded.
    UsageError
        A newer framelode wrote it.
    """
    data = place.read_note(MARKER)
    if data is None:
        return None
    path = f"{place.name}/{MARKER}"
    try:
        marker = msgspec.json.decode(data, type=Marker)
    except msgspec.DecodeError as error:
        raise IntegrityError(f"{path} is not a marker of a blob store: {error}", file=path) from error
    if marker.format > FORMAT:
        raise UsageError(
            f"{path} has format {marker.format}, but this framelode reads up to {FORMAT}: install a newer framelode"
        )
    return marker


def write_marker(place: BlobBackend, marker: Marker, *, replace: bool) -> bool:
    """Write the marker. Return False if it exists and `replace` is not set."""
    data = msgspec.json.format(msgspec.json.encode(marker)) + b"\n"
    return place.write_note(MARKER, data, replace=replace)


def join(place: BlobBackend, joined: Callable[[Marker], Marker]) -> Marker:
    """Return the marker of a store, after the log was added; see `BlobStore.join`.

    Parameters
    ----------
    joined : callable
        Returns the marker with the log, given the existing marker.
    """
    marker = read_marker(place)
    if marker is None:
        _require_ours(place)
        marker = joined(Marker())
        if write_marker(place, marker, replace=False):
            return marker
        marker = read_marker(place) or Marker()
    wanted = joined(marker)
    if wanted != marker:
        write_marker(place, wanted, replace=True)
    return wanted


def _require_ours(place: BlobBackend) -> None:
    """Raise `UsageError` unless a place without a marker is empty, or an older blob store without a marker."""
    names = [name for name in place.names() if name not in OWN_NAMES]
    foreign = [name for name in names if not _FOLDER.fullmatch(name)]
    if not foreign and (not names or _holds_blobs(place, names)):
        return
    message = (
        f"{place.name} is not a blob store: it contains {(foreign or names)[0]!r} and no file {MARKER}; pass an empty folder "
        f"or prefix as blobs=, or write {{}} to that file if framelode may add and delete files there"
    )
    raise UsageError(message)


def _holds_blobs(place: BlobBackend, folders: list[str]) -> bool:
    """Whether the first files of some folders are blobs: one of them matches its digest, and none is foreign."""
    digests: list[str] = []
    for folder in folders:
        found = [digest_from_name(f"{folder}/{name}") for name in place.names(folder)]
        digests += [digest for digest in found if digest]
        if None in found:
            return False
        if len(digests) >= _SAMPLES:
            break
    return not digests or any(read_blob(place, digest)[2] for digest in digests[:_SAMPLES])
