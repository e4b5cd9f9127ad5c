"""The contract of a place that holds blobs, and what goes wrong with one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from ..storage.base import TEMPORARY, Sink, SyncPoint

DERIVED = "snapshots"
"""Folder of what is derived from the log and kept beside the blobs."""

DAMAGED = "damaged"
"""Folder of empty files named by the digests of blobs that were read with other bytes."""

MARKER = "framelode-blobs.json"
"""The file that makes a folder or prefix a blob store, and names the logs that use it."""

OWN_NAMES = frozenset({TEMPORARY, DERIVED, DAMAGED, MARKER})
"""Names at the root of a place that are not blobs."""

BLOB_MODE = 0o444
"""Blobs are never written to again."""

_LAYOUT = re.compile(r"([0-9a-f]{2})/(?=\1)([0-9a-f]{64})")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A file of the place.

    Attributes
    ----------
    name : str
        Relative to the place.
    digest : str or None
        The blob that it is, by its name; None for a file that does not belong here.
    size : int
        Bytes.
    modified : float
        Seconds since 1970; 0 when the place does not say.
    """

    name: str
    digest: str | None
    size: int
    modified: float


class BlobBackend(ABC):
    """Keeps files under the digest of their content: ``ab/<digest>``, written as ``tmp/<name>`` first.

    Whatever the storage raises comes out as `BackendError`, except for a missing blob, which is a `FileNotFoundError`,
    and for a FIFO, socket or device in place of a blob, which is an `IntegrityError`.

    Attributes
    ----------
    name : str
        What messages call the place: its folder or URL.
    threads : int
        How many files are best written at once.
    """

    name: str
    threads: int

    @abstractmethod
    def opener(self) -> Callable[[], BlobBackend]:
        """Return what opens this place in another process, and can be pickled if that can be."""

    @abstractmethod
    def create(self) -> Sink:
        """Begin a temporary file."""

    def write(self, data: bytes) -> str:
        """Write a small content to a temporary file; returns its name. Nothing is left of it when that fails."""
        sink = self.create()
        try:
            try:
                sink.write(data)
            finally:
                sink.close()
        except BaseException:
            self.discard(sink.name)
            raise
        return sink.name

    def put_whole(self, data: bytes, digest: str) -> bool:  # noqa: ARG002 - the signature of all places
        """Write a small content under its final name at once; False where readers could see half of it."""
        return False

    @abstractmethod
    def discard(self, temporary: str) -> None:
        """Drop a temporary file; nothing happens when that fails or it is gone."""

    def begin(self) -> SyncPoint:
        """Tell that files will be written: the syncs of these files tell of writes that failed from now on."""
        return SyncPoint()

    @abstractmethod
    def sync_written(self, temporaries: Sequence[str], since: SyncPoint) -> None:
        """Wait until the contents of temporary files are durable."""

    @abstractmethod
    def move(self, temporary: str, digest: str) -> None:
        """Give a temporary file its final name, replacing what is there; readers see the old or the new one."""

    @abstractmethod
    def sync_moved(self, digests: Sequence[str], since: SyncPoint) -> None:
        """Wait until final names are durable."""

    @abstractmethod
    def size(self, digest: str) -> int | None:
        """Return the bytes of a blob, None when it is not here."""

    @abstractmethod
    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a range of a blob's bytes; fewer when it ends before."""

    @abstractmethod
    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading, with seek."""

    @abstractmethod
    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs; those that are gone already do not matter."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Return the names directly in the place or in a folder of it; empty when that is missing."""

    @abstractmethod
    def read_note(self, name: str) -> bytes | None:
        """Return a small file that is not a blob, None when it is missing."""

    @abstractmethod
    def write_note(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Write a small file that is not a blob, durable; False when it exists and is not to be replaced."""

    @abstractmethod
    def drop_note(self, name: str) -> None:
        """Delete a small file that is not a blob; nothing happens when it is missing."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield every file except those that `OWN_NAMES` stands for."""

    @abstractmethod
    def clean(self, older_than: float) -> int:
        """Drop temporary files that nothing was written to for some seconds; returns how many."""

    def is_same(self, name: str) -> bool:
        """Say whether the place of another name is this one."""
        return self.name == name

    def path(self, digest: str) -> str:
        """Return what messages call a blob."""
        return f"{self.name}/{blob_name(digest)}"


def blob_name(digest: str) -> str:
    """Return the name of a blob, relative to its place."""
    return f"{digest[:2]}/{digest}"


def digest_from_name(name: str) -> str | None:
    """Return the digest that a relative name stands for, None when it fits the layout of no blob."""
    match = _LAYOUT.fullmatch(name)
    return match[2] if match else None
