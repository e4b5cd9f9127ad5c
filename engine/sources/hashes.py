"""Hashes of files as frames give them: blake3, or any algorithm that Python has."""

from __future__ import annotations

import hashlib
from typing import Any

from blake3 import blake3

from ..blobs.content import FileSource

HASH_PREFIX = "blake3:"
"""What our own hashes begin with."""


def other_hasher(given: str | None) -> Any:
    """Return what makes a hash as one given with its prefix; None for blake3, no hash, and what Python does not have."""
    name = (given or "").partition(":")[0].lower().replace("-", "")
    if name not in hashlib.algorithms_available or name.startswith("shake"):
        return None
    return hashlib.new(name, usedforsecurity=False)


def hash_file(path: str, given: str) -> tuple[str, str]:
    """Return the blake3 of a local file in hex digits, and its hash in the form of the one given.

    Raises
    ------
    SourceError
        It cannot be read, or changed meanwhile.
    """
    own, other = blake3(), other_hasher(given)
    with FileSource(path).open() as content:
        while data := content.read():
            own.update(data)
            other.update(data)
        content.check()
    return own.hexdigest(), f"{given.partition(':')[0]}:{other.hexdigest()}"
