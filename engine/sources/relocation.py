"""Finds the local files of frames, and replaces their URIs after an upload."""

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
    """Return the distinct ``file:///`` URIs of a frame: of sources, previews and masks."""
    uris = [
        uri
        for source in sources_of(frame)
        for uri in uris_of_source(source)
        if uri and uri.startswith(_LOCAL)
    ]
    return tuple(dict.fromkeys(uris)) if len(uris) > 1 else tuple(uris)


def other_hashes(frame: AnyFrame) -> Iterable[tuple[str, str]]:
    """Return the URIs and hashes of the sources of a frame whose hash is not blake3."""
    found = [(source.uri, source.hash) for source in sources_of(frame) if source.hash and source.uri]
    return [(uri, given) for uri, given in found if not given.startswith(HASH_PREFIX) and other_hasher(given)]


def check_sources(
    frame: AnyFrame, placed: Mapping[str, UploadedFile], hashes: Mapping[tuple[str, str], str]
) -> None:
    """Compare the sizes and hashes in a frame with the uploaded files.

    Parameters
    ----------
    placed : mapping of str to UploadedFile
        The uploaded files, by the URIs in the frame.
    hashes : mapping of tuple of str to str
        Hashes of the files, for the pairs of `other_hashes`.

    Raises
    ------
    InvalidValueError
        A size or hash differs, so the file is not the one that the frame describes.
    """
    for source in sources_of(frame):
        found = placed.get(source.uri or "")
        if found is None:
            continue
        if source.size is not None and source.size != found.size:
            raise InvalidValueError(
                f"{path_or_uri(source.uri)} has {found.size} bytes, but the frame has size={source.size}: "
                "the file changed, or the size is wrong"
            )
        given = source.hash or ""
        own = HASH_PREFIX + found.digest if given.lower().startswith(HASH_PREFIX) else given
        actual = hashes.get((source.uri or "", given), own)
        if actual.lower() != given.lower():
            raise InvalidValueError(
                f"{path_or_uri(source.uri)} has the hash {actual}, but the frame has {given}: "
                "the file changed, or the hash is wrong"
            )


def relocate(frame: AnyFrame, placed: Mapping[str, UploadedFile]) -> None:
    """Replace the local files in a frame by uploaded files, with their sizes and hashes.

    Parameters
    ----------
    placed : mapping of str to UploadedFile
        The uploaded files, by ``file:///`` URI.
    """
    for single in _singles(frame):
        single.change_sources(lambda source: _relocated(source, placed))


def sources_of(frame: AnyFrame) -> tuple[Source, ...]:
    """Return the sources of a frame, or of all frames of a group in order."""
    if isinstance(frame, SingleFrame):
        return frame.sources
    return tuple(source for single in frame.values() for source in single.sources)


def put_back(frame: AnyFrame, sources: Iterable[Source]) -> None:
    """Restore the sources that a frame had before `relocate`."""
    before = iter(sources)
    for single in _singles(frame):
        single.change_sources(lambda _: next(before))


def _singles(frame: AnyFrame) -> Iterable[SingleFrame]:
    # `isinstance` is slow for `FrameGroup`, which is a mapping.
    return (frame,) if isinstance(frame, SingleFrame) else frame.values()


def uris_of_source(source: Source) -> tuple[str | None, ...]:
    """Return the URIs of a source, its preview and its masks. Some may be None."""
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
