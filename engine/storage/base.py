"""Interfaces and retry intervals that local and remote storage share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from ..errors import StorageError

CHUNK_BYTES = 1024 * 1024
"""How much of a file is in memory at once."""

TEMPORARY = "tmp"
"""Folder of files that are still being written."""


class BackendError(StorageError):
    """A place refused to do something.

    Attributes
    ----------
    permanent : bool
        Trying again cannot help: full, read-only, forbidden.
    """

    code = "storage"

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Sink(ABC):
    """A temporary file that is being written."""

    name: str

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; a view is not kept, since what it shows is overwritten."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file; it still has its temporary name."""


class TemporaryFiles(Protocol):
    """Where files are written under temporary names."""

    def create(self) -> Sink:
        """Begin a file."""
        ...

    def write(self, data: bytes) -> str:
        """Write a small file at once; returns its name. Nothing is left of it when that fails."""
        ...

    def discard(self, temporary: str) -> None:
        """Drop a file; nothing happens when that fails or it is gone."""
        ...


class SyncPoint:
    """The moment from which on what is written is to be made durable."""

    def close(self) -> None:
        """Forget it."""


_FIRST_WAIT_SECONDS = 0.1

_LONGEST_WAIT_SECONDS = 30.0


def growing_waits(retries: int) -> list[float]:
    """Return the seconds to wait before each of some tries: twice as long each time, half a minute at most."""
    return [min(_FIRST_WAIT_SECONDS * 2**number, _LONGEST_WAIT_SECONDS) for number in range(retries)]


WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait before a store that refuses is asked again."""
