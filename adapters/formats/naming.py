"""Names of exported image files."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.frames.content_types import content_type_of
from .files import IMAGE_SUFFIXES

_DIGITS = 8
_ODD = frozenset('<>:"|?*\\/\0')
"""Characters that file names of other systems cannot have."""

_PLAIN = re.compile(r"\w[\w-]*(?:\.\w[\w-]*)*", re.ASCII)
"""A name that needs no decoding, with letters and digits around its dots."""

# Of several suffixes of a type the last is the usual one: .jpg, .tif.
_SUFFIXES = {content_type_of(f"x{suffix}"): suffix for suffix in sorted(IMAGE_SUFFIXES)}

IMAGE_TYPES = frozenset(_SUFFIXES)
"""The content types of these suffixes."""


class ImageNames:
    """Gives each URI a file name of its own, which stays the same for the same frames in the same order."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name_of(self, uri: str, content_type: str | None) -> str:
        """Return the last part of a URI; with a part of a digest of the URI if another one has that name.

        A name without the suffix of an image gets that of the content type.

        Two files whose names differ only in their suffix or in case count as the same, since their annotation files would be.
        """
        name = _last_part(uri)
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - no path
        if suffix.lower() not in IMAGE_SUFFIXES:
            stem, suffix = name, _SUFFIXES.get(content_type or "", "")
        if stem.lower() in self._taken:
            stem = f"{stem}-{blake3(uri.encode()).hexdigest()[:_DIGITS]}"
            while stem.lower() in self._taken:
                stem += "-"
        self._taken.add(stem.lower())
        return stem + suffix


def is_image(uri: str) -> bool:
    """Whether a source has the suffix of an image."""
    return os.path.splitext(_last_part(uri))[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - no path


def _last_part(uri: str) -> str:
    plain = uri.rpartition("/")[2]
    if _PLAIN.fullmatch(plain):
        return plain
    if is_blob_uri(uri):
        blob = parse_blob_uri(uri)
        path = blob.path or blob.digest
    else:
        split = urlsplit(uri)
        # Only these encode their paths; a key of an object is what it is.
        path = unquote(split.path) if split.scheme in {"file", "http", "https"} else uri.partition("://")[2]
    name = "".join(
        "_" if char in _ODD or not char.isprintable() else char for char in path.rpartition("/")[2]
    )
    return name.strip(". ") or blake3(uri.encode()).hexdigest()[:16]
