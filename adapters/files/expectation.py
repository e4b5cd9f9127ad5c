"""The expected size and hash of a file, as set on a frame."""

from __future__ import annotations

import re

import msgspec
from blake3 import blake3

from ...engine.errors import IntegrityError
from ...engine.frames.source import path_or_uri
from ...engine.sources.hashes import HASH_PREFIX, other_hasher
from .open import shown

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Expectation(msgspec.Struct, frozen=True):
    """The expected size and hash of a file.

    Attributes
    ----------
    uri : str
        URI of the file.
    size : int or None
        Size in bytes, if known.
    hash : str or None
        Hash with a prefix, such as ``blake3:<hex>`` or ``md5:<hex>``, if known. Hashes with algorithms that Python lacks
        are not compared.
    """

    uri: str
    size: int | None = None
    hash: str | None = None

    @property
    def digest(self) -> str | None:
        """The expected blake3 digest, or None if there is no valid one."""
        given = (self.hash or "").lower()
        # It becomes a file name: anything but a digest could lead out of the cache.
        is_digest = given.startswith(HASH_PREFIX) and _DIGEST.fullmatch(given, len(HASH_PREFIX))
        return given.removeprefix(HASH_PREFIX) if is_digest else None

    def begin(self) -> Check:
        """Return an object that compares the content chunk by chunk."""
        return Check(self)

    def differs(self, what: str, found: object, expected: object) -> IntegrityError:
        """Return the error for a different content."""
        place = path_or_uri(self.uri) or self.uri
        message = f"{shown(self.uri)} has the {what} {found}, but the frame has {expected}: it changed after it was registered"
        return IntegrityError(message, file=place)


class Check:
    """Compares a content with the expectation while it is read."""

    def __init__(self, expected: Expectation) -> None:
        self._expected = expected
        self._hasher = blake3()
        self._other = other_hasher(expected.hash)
        self.size = 0

    def update(self, data: bytes) -> None:
        """Add the next chunk."""
        self._hasher.update(data)
        if self._other is not None:
            self._other.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """The blake3 digest of the content."""
        return self._hasher.hexdigest()

    def finish(self) -> None:
        """Raise `IntegrityError` if the content differs."""
        expected = self._expected
        if expected.size is not None and self.size != expected.size:
            raise expected.differs("size", self.size, expected.size)
        if (expected.hash or "").lower().startswith(HASH_PREFIX) and self.digest != expected.digest:
            raise expected.differs("hash", HASH_PREFIX + self.digest, expected.hash)
        if self._other is not None and expected.hash is not None:
            prefix, _, given = expected.hash.partition(":")
            if self._other.hexdigest() != given.lower():
                raise expected.differs("hash", f"{prefix}:{self._other.hexdigest()}", expected.hash)
