"""Verifies the digest of a blob while it is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

from blake3 import blake3

from ..errors import IntegrityError


class VerifyingReader(io.RawIOBase):
    """Hashes a blob while it is read. The last read raises an error if the digest does not match.

    Parameters
    ----------
    file : binary file
        The open blob, closed with the reader.
    digest : str
        The expected digest.
    path : str
        Path of the blob, for messages.
    on_damage : callable
        Called with the digest before the error is raised.
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
        """Read and hash bytes. At the end, compare the digest.

        Raises
        ------
        IntegrityError
            The content does not match the digest.
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
    """Raise `IntegrityError` if the content of a blob does not match its digest."""
    if found != digest:
        message = f"blob {digest} is damaged: {path} has the digest {found}; store the content again"
        raise IntegrityError(message, file=path)
