"""Hashes of files as given in frames: blake3, or any algorithm of `hashlib`."""

from __future__ import annotations

import hashlib
from typing import Any

from blake3 import blake3

from ..blobs.content import FileSource

HASH_PREFIX = "blake3:"
"""Prefix of the hashes that framelode computes."""


def other_hasher(given: str | None) -> Any:
    """Return a hash object for the prefix of a given hash; None for blake3, an unknown algorithm or no hash."""
    name = (given or "").partition(":")[0].lower().replace("-", "")
    if name not in hashlib.algorithms_available or name.startswith("shake"):
        return None
    return hashlib.new(name, usedforsecurity=False)


def hash_file(path: str, given: str) -> tuple[str, str]:
    """Return the blake3 digest of a local file in hex digits, and its hash with the algorithm of a given hash.

    Raises
    ------
    SourceError
        The file cannot be read, or was changed meanwhile.
    """
    own, other = blake3(), other_hasher(given)
    with FileSource(path).open() as content:
        while data := content.read():
            own.update(data)
            other.update(data)
        content.check()
    return own.hexdigest(), f"{given.partition(':')[0]}:{other.hexdigest()}"
