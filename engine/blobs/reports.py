"""What became of files that were to be stored in a blob store."""

from __future__ import annotations

import msgspec


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A content that is in the store, durable.

    Attributes
    ----------
    source : str
        The file it came from.
    digest : str
        blake3 of its bytes, 64 hex digits.
    size : int
        Bytes.
    is_new : bool
        It was written by this call; False for a content that was there or came twice.
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
        Why.
    kind : str
        ``source``: it could not be read or changed meanwhile; ``storage``: the store refused it.
    """

    source: str
    error: str
    kind: str


class PutReport(msgspec.Struct):
    """What `BlobStore.put_files` stored, and what it could not; both in the order of the files."""

    stored: list[StoredFile] = []
    failures: list[FileFailure] = []
