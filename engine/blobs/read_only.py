"""The blob store of an engine of the past: it is read only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .reports import PutReport, StoredFile
from .store import BlobStore


class ReadOnlyBlobStore(BlobStore):
    """Reads the blobs of a store; nothing is stored or deleted.

    Parameters
    ----------
    store : BlobStore
        The store.
    refusal : callable
        Makes the error of whoever wants to write.
    """

    def __init__(self, store: BlobStore, refusal: Callable[[], UsageError]) -> None:
        super().__init__(store.place, presence=store.presence)
        self._refusal = refusal

    def put_files(self, *_: Any, **__: Any) -> PutReport:
        """Refuse: `UsageError`."""
        raise self._refusal()

    def put(self, *_: Any, **__: Any) -> StoredFile:
        """Refuse: `UsageError`."""
        raise self._refusal()

    def delete(self, *_: Any, **__: Any) -> None:
        """Refuse: `UsageError`."""
        raise self._refusal()

    def clean(self, *_: Any, **__: Any) -> int:
        """Refuse: `UsageError`."""
        raise self._refusal()
