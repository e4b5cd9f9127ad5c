"""The read-only blob store of an engine of the past."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UsageError
from .reports import PutReport, StoredFile
from .store import BlobStore


class ReadOnlyBlobStore(BlobStore):
    """Reads the blobs of a store. Writing raises an error.

    Parameters
    ----------
    store : BlobStore
        The store.
    refusal : callable
        Creates the error for writes.
    """

    def __init__(self, store: BlobStore, refusal: Callable[[], UsageError]) -> None:
        super().__init__(store.place, presence=store.presence)
        self._refusal = refusal

    def put_files(self, *_: Any, **__: Any) -> PutReport:
        """Raise `UsageError`: the store is read-only."""
        raise self._refusal()

    def put_sources(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Raise `UsageError`: the store is read-only."""
        raise self._refusal()

    def put(self, *_: Any, **__: Any) -> StoredFile:
        """Raise `UsageError`: the store is read-only."""
        raise self._refusal()

    def delete(self, *_: Any, **__: Any) -> None:
        """Raise `UsageError`: the store is read-only."""
        raise self._refusal()

    def clean(self, *_: Any, **__: Any) -> int:
        """Raise `UsageError`: the store is read-only."""
        raise self._refusal()
