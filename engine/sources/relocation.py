"""Finds the local files of frames, and replaces their URIs by those of the uploads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..errors import InvalidValueError
from ..events.domain import UploadedFile
from ..frames.single_frame import SingleFrame
from ..frames.source import Source, path_or_uri
from ..frames.yielded import AnyFrame
from .hashes import HASH_PREFIX, other_hasher

_LOCAL = "file:///"


def local_uris(frame: AnyFrame) -> tuple[str, ...]:
    """Return the ``file:///`` URIs of a frame: of its sources, their previews and masks, each once."""
    uris = [uri for source in sources_of(frame) for uri in _uris(source) if uri and uri.startswith(_LOCAL)]
    return tuple(dict.fromkeys(uris)) if len(uris) > 1 else tuple(uris)


def other_hashes(frame: AnyFrame) -> Iterable[tuple[str, str]]:
    """Return the URIs of a frame's sources with the hashes that it gives for them, where another than blake3 is to be compared."""
    found = [(source.uri, source.hash) for source in sources_of(frame) if source.hash and source.uri]
    return [(uri, given) for uri, given in found if not given.startswith(HASH_PREFIX) and other_hasher(given)]


def check_sources(
    frame: AnyFrame, placed: Mapping[str, UploadedFile], hashes: Mapping[tuple[str, str], str]
) -> None:
    """Compare the size and hash that a frame gives for its sources with what was uploaded.

    Parameters
    ----------
    placed : mapping of str to UploadedFile
        What was uploaded, by the URIs that the frame gives.
    hashes : mapping of tuple of str to str
        Hashes of these contents, by `other_hashes`.

    Raises
    ------
    InvalidValueError
        They contradict each other: the file is not the one that the frame means.
    """
    for source in sources_of(frame):
        found = placed.get(source.uri or "")
        if found is None:
            continue
        if source.size is not None and source.size != found.size:
            raise InvalidValueError(
                f"{path_or_uri(source.uri)} has {found.size} bytes, the frame says size={source.size}: "
                "the file changed, or the size is wrong"
            )
        given = source.hash or ""
        own = HASH_PREFIX + found.digest if given.lower().startswith(HASH_PREFIX) else given
        actual = hashes.get((source.uri or "", given), own)
        if actual.lower() != given.lower():
            raise InvalidValueError(
                f"{path_or_uri(source.uri)} has the hash {actual}, the frame says {given}: "
                "the file changed, or the hash is wrong"
            )


def relocate(frame: AnyFrame, placed: Mapping[str, UploadedFile]) -> None:
    """Make a frame name the uploaded contents instead of local files, with their sizes and hashes.

    Parameters
    ----------
    placed : mapping of str to UploadedFile
        What the ``file:///`` URIs became.
    """
    for single in _singles(frame):
        single.change_sources(lambda source: _relocated(source, placed))


def sources_of(frame: AnyFrame) -> tuple[Source, ...]:
    """Return the sources of a frame, those of a group one frame after the other."""
    if isinstance(frame, SingleFrame):
        return frame.sources
    return tuple(source for single in frame.values() for source in single.sources)


def put_back(frame: AnyFrame, sources: Iterable[Source]) -> None:
    """Give a frame the sources that it had before `relocate`."""
    before = iter(sources)
    for single in _singles(frame):
        single.change_sources(lambda _: next(before))


def _singles(frame: AnyFrame) -> Iterable[SingleFrame]:
    # `FrameGroup` is a mapping, and to ask whether something is one takes long.
    return (frame,) if isinstance(frame, SingleFrame) else frame.values()


def _uris(source: Source) -> tuple[str | None, ...]:
    if source.preview is None and not source.masks:
        return (source.uri,)
    preview = source.preview.uri if source.preview else None
    return (source.uri, preview, *(mask.uri for mask in source.masks))


def _relocated(source: Source, placed: Mapping[str, UploadedFile]) -> Source:
    def moved(uri: str) -> str:
        return placed[uri].uri if uri in placed else uri

    found = placed.get(source.uri or "")
    changes: dict[str, object] = {}
    if found is not None:
        changes = {"uri": found.uri, "size": found.size, "hash": source.hash or HASH_PREFIX + found.digest}
    if source.preview is not None and source.preview.uri is not None:
        changes["preview"] = msgspec.structs.replace(source.preview, uri=moved(source.preview.uri))
    if source.masks:
        changes["masks"] = tuple(msgspec.structs.replace(mask, uri=moved(mask.uri)) for mask in source.masks)
    return msgspec.structs.replace(source, **changes)
