"""The interface of storage backends for blobs, and their errors."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from ..storage.base import TEMPORARY, Sink, SyncPoint

DERIVED = "snapshots"
"""Folder for derived data that is kept with the blobs."""

DAMAGED = "damaged"
"""Folder with an empty file for each damaged blob, named by digest."""

MARKER = "framelode-blobs.json"
"""File that identifies a blob store, and lists the logs that use it."""

OWN_NAMES = frozenset({TEMPORARY, DERIVED, DAMAGED, MARKER})
"""Names at the root of a store that are not blobs."""

BLOB_MODE = 0o444
"""Blobs are read-only."""

_LAYOUT = re.compile(r"([0-9a-f]{2})/(?=\1)([0-9a-f]{64})")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A file of the store.

    Attributes
    ----------
    name : str
        Path relative to the store.
    digest : str or None
        Digest of the blob, or None for a foreign file.
    size : int
        Size in bytes.
    modified : float
        Modification time in seconds since 1970, or 0 if unknown.
    """

    name: str
    digest: str | None
    size: int
    modified: float


class BlobBackend(ABC):
    """Stores files by the digest of their content, as ``ab/<digest>``. They are written to ``tmp/<name>`` first.

    Storage errors are raised as `BackendError`, except that a missing blob raises `FileNotFoundError`, and a FIFO, socket or
    device in place of a blob raises `IntegrityError`.

    Attributes
    ----------
    name : str
        Name of the store in messages: its folder or URL.
    threads : int
        Recommended number of files to write at the same time.
    """

    name: str
    threads: int

    @abstractmethod
    def opener(self) -> Callable[[], BlobBackend]:
        """Return a function that opens this store in another process. It can be pickled if possible."""

    @abstractmethod
    def create(self) -> Sink:
        """Open a temporary file for writing."""

    def write(self, data: bytes) -> str:
        """Write a small content to a temporary file and return its name. On failure nothing is left of it."""
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
        """Write a small content directly under its final name. Return False if readers could see a partial file."""
        return False

    @abstractmethod
    def discard(self, temporary: str) -> None:
        """Delete a temporary file. Failures and missing files are ignored."""

    def begin(self) -> SyncPoint:
        """Start writing files. Their syncs report write errors from now on."""
        return SyncPoint()

    @abstractmethod
    def sync_written(self, temporaries: Sequence[str], since: SyncPoint) -> None:
        """Wait until the contents of temporary files are durable."""

    @abstractmethod
    def move(self, temporary: str, digest: str) -> None:
        """Move a temporary file to its final name. An existing file is replaced atomically."""

    @abstractmethod
    def sync_moved(self, digests: Sequence[str], since: SyncPoint) -> None:
        """Wait until final names are durable."""

    @abstractmethod
    def size(self, digest: str) -> int | None:
        """Return the size of a blob, or None if it is not stored."""

    @abstractmethod
    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a range of a blob's bytes. It is shorter if the blob ends before."""

    @abstractmethod
    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading. The file can seek."""

    @abstractmethod
    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs. Missing blobs are ignored."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Return the names directly in the store or in one of its folders; empty if it is missing."""

    @abstractmethod
    def read_note(self, name: str) -> bytes | None:
        """Return the content of a small file that is not a blob, or None if it is missing."""

    @abstractmethod
    def write_note(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Write a small file that is not a blob, durably. Return False if it exists and `replace` is not set."""

    @abstractmethod
    def drop_note(self, name: str) -> None:
        """Delete a small file that is not a blob. A missing file is ignored."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield every file except those in `OWN_NAMES`."""

    @abstractmethod
    def clean(self, older_than: float) -> int:
        """Delete temporary files that were not written to for some seconds, and return their number."""

    def is_same(self, name: str) -> bool:
        """Whether another name refers to this store."""
        return self.name == name

    def path(self, digest: str) -> str:
        """Return the path of a blob, for messages."""
        return f"{self.name}/{blob_name(digest)}"


def blob_name(digest: str) -> str:
    """Return the name of a blob, relative to its store."""
    return f"{digest[:2]}/{digest}"


def digest_from_name(name: str) -> str | None:
    """Return the digest of a relative name, or None if it is not the name of a blob."""
    match = _LAYOUT.fullmatch(name)
    return match[2] if match else None
