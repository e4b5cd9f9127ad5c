"""Reads a blob and finds out at its end whether it is what its name says."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

from blake3 import blake3

from ..errors import IntegrityError


class VerifyingReader(io.RawIOBase):
    """Hashes what it reads; the last read fails when the bytes are not those of the digest.

    Parameters
    ----------
    file : binary file
        The blob; closed with the reader.
    digest : str
        What it should be.
    path : str
        What a message calls it.
    on_damage : callable
        Called with the digest before the read fails.
    """

    def __init__(self, file: BinaryIO, digest: str, path: str, on_damage: Callable[[str], None]) -> None:
        self._file = file
        self._digest = digest
        self._path = path
        self._on_damage = on_damage
        self._hasher = blake3()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read and hash bytes; at the end, compare.

        Raises
        ------
        IntegrityError
            The blob has other bytes than its digest names.
        """
        view = memoryview(buffer).cast("B")
        data = self._file.read(len(view))
        if not data:
            self._compare()
        self._hasher.update(data)
        view[: len(data)] = data
        return len(data)

    def _compare(self) -> None:
        found = self._hasher.hexdigest()
        if found != self._digest:
            self._on_damage(self._digest)
        check_hash(self._digest, found, self._path)

    def close(self) -> None:
        """Close the blob."""
        if not self.closed:
            self._file.close()
        super().close()


def check_hash(digest: str, found: str, path: str) -> None:
    """Raise `IntegrityError` when a blob's bytes have another hash than its name."""
    if found != digest:
        message = f"blob {digest} is damaged: {path} hashes to {found}; store the content again"
        raise IntegrityError(message, file=path)
