"""Results of storing files in a blob store."""

from __future__ import annotations

import msgspec


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is durable in the store.

    Attributes
    ----------
    source : str
        The source file.
    digest : str
        blake3 of its bytes, 64 hex digits.
    size : int
        Size in bytes.
    is_new : bool
        Whether this call wrote the blob. False if it was already stored, or came twice.
    """

    source: str
    digest: str
    size: int
    is_new: bool


class FileFailure(msgspec.Struct, frozen=True, gc=False):
    """A file that was not stored.

    Attributes
    ----------
    source : str
        The file.
    error : str
        The reason.
    kind : str
        ``source``: the file could not be read, or changed while it was read; ``storage``: the store failed.
    """

    source: str
    error: str
    kind: str


class PutReport(msgspec.Struct):
    """The files that `BlobStore.put_files` stored, and those it could not store, both in order."""

    stored: list[StoredFile] = []
    failures: list[FileFailure] = []
