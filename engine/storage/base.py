"""Interfaces and retry intervals that local and remote storage share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from ..errors import StorageError

CHUNK_BYTES = 1024 * 1024
"""Size of the parts in which files are read into memory."""

TEMPORARY = "tmp"
"""Name of the folder for incomplete files."""


class BackendError(StorageError):
    """An operation of a storage backend failed.

    Attributes
    ----------
    permanent : bool
        Whether a retry is pointless: the backend is full, read-only or forbids access.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Sink(ABC):
    """A temporary file that is being written."""

    name: str

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. A memoryview is not kept, because its buffer is reused."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file. It keeps its temporary name."""


class TemporaryFiles(Protocol):
    """Creates files under temporary names."""

    def create(self) -> Sink:
        """Create a file."""
        ...

    def write(self, data: bytes) -> str:
        """Write a small file and return its name. If that fails, nothing remains of it."""
        ...

    def discard(self, temporary: str) -> None:
        """Delete a file. Errors are ignored."""
        ...


class SyncPoint:
    """The start of the writes that a later sync must make durable."""

    def close(self) -> None:
        """Release the sync point."""


_FIRST_WAIT_SECONDS = 0.1

_LONGEST_WAIT_SECONDS = 30.0


def growing_waits(retries: int) -> list[float]:
    """Return the seconds to wait before each retry. They double each time, up to 30 seconds."""
    return [min(_FIRST_WAIT_SECONDS * 2**number, _LONGEST_WAIT_SECONDS) for number in range(retries)]


WAITS = growing_waits(5)
"""Seconds to wait before each retry of a request."""
