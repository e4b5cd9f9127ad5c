"""What a content is expected to be: its size and hash, as frames give them."""

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
    """What a content is expected to be.

    Attributes
    ----------
    uri : str
        Where it is.
    size : int or None
        Bytes, if known.
    hash : str or None
        Hash with its prefix, such as ``blake3:<hex>`` or ``md5:<hex>``, if known; algorithms that Python does not
        have cannot be compared.
    """

    uri: str
    size: int | None = None
    hash: str | None = None

    @property
    def digest(self) -> str | None:
        """The blake3 that is expected, None when another hash is given or none, or it is no digest."""
        given = (self.hash or "").lower()
        # It becomes the name of a file: anything but a digest could lead out of the cache.
        is_digest = given.startswith(HASH_PREFIX) and _DIGEST.fullmatch(given, len(HASH_PREFIX))
        return given.removeprefix(HASH_PREFIX) if is_digest else None

    def begin(self) -> Check:
        """Return what compares a content chunk by chunk."""
        return Check(self)

    def differs(self, what: str, found: object, expected: object) -> IntegrityError:
        """Return the error for a content that is another one."""
        place = path_or_uri(self.uri) or self.uri
        message = f"{shown(self.uri)} has the {what} {found}, the frame says {expected}: it changed after it was registered"
        return IntegrityError(message, file=place)


class Check:
    """Compares a content with what is expected, while it is read."""

    def __init__(self, expected: Expectation) -> None:
        self._expected = expected
        self._hasher = blake3()
        self._other = other_hasher(expected.hash)
        self.size = 0

    def update(self, data: bytes) -> None:
        """Take the next chunk."""
        self._hasher.update(data)
        if self._other is not None:
            self._other.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """The blake3 of what was read."""
        return self._hasher.hexdigest()

    def finish(self) -> None:
        """Raise `IntegrityError` when the content is another one."""
        expected = self._expected
        if expected.size is not None and self.size != expected.size:
            raise expected.differs("size", self.size, expected.size)
        if (expected.hash or "").lower().startswith(HASH_PREFIX) and self.digest != expected.digest:
            raise expected.differs("hash", HASH_PREFIX + self.digest, expected.hash)
        if self._other is not None and expected.hash is not None:
            prefix, _, given = expected.hash.partition(":")
            if self._other.hexdigest() != given.lower():
                raise expected.differs("hash", f"{prefix}:{self._other.hexdigest()}", expected.hash)
