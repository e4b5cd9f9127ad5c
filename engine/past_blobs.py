"""The blob store as a moment of the past sees it: it is read, and what was deleted since says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .blob_ledger import BlobLedger
from .blobs import BlobStore, PutReport, StoredFile
from .errors import NotFoundError, UsageError
from .moments import describe_moment


class PastBlobs(BlobStore):
    """Reads the blobs of a store; nothing is stored or deleted.

    Parameters
    ----------
    store : BlobStore
        The store.
    ledger : BlobLedger
        Says when a blob was deleted.
    refusal : callable
        Makes the error of whoever wants to write.
    """

    def __init__(self, store: BlobStore, ledger: BlobLedger, refusal: Callable[[], UsageError]) -> None:
        super().__init__(store.place)
        self._ledger = ledger
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

    def _missing(self, digest: str) -> NotFoundError:
        when = self._ledger.collected(digest)
        if when is None:
            return super()._missing(digest)
        return NotFoundError(
            f"blob {digest} was deleted by garbage collection at {describe_moment(when.position, when.at)}: "
            "no frame named it any more"
        )
