"""The engine's own blob store as a destination."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.blobs.content import SourceError
from ...engine.blobs.reports import FileFailure, StoredFile
from ...engine.blobs.store import BlobStore
from ...engine.blobs.uris import SCHEME, parse_blob_uri
from ...engine.storage.base import BackendError
from .destination import Destination, UploadItem, Wanted


class BlobsDestination(Destination):
    """Stores contents under their hash. Contents that are known to be stored are not written again.

    Parameters
    ----------
    store : BlobStore
        The blob store.
    retries : int
        Number of retries after a failure.
    force : bool
        Write contents even if they are known to be stored.
    """

    root = SCHEME
    files_at_once = 10_000  # several batches of the store: one is read while another is synced
    batches_itself = True

    def __init__(self, store: BlobStore, retries: int, *, force: bool) -> None:
        self._store = store
        self._retries = retries
        self._known: tuple[()] | None = () if force else None

    def read(self, items: Sequence[UploadItem], wanted: Wanted | None = None) -> int:  # noqa: ARG002 - the store knows
        """Store files: reading them also sends them."""
        waiting = iter(items)

        def settle(outcome: StoredFile | FileFailure) -> None:
            item = next(waiting)
            if isinstance(outcome, StoredFile):
                item.digest, item.size = outcome.digest, outcome.size
                item.uri = f"{SCHEME}{outcome.digest}/{item.name}"  # a name is encoded as the URI of a blob
            elif outcome.kind == "source":
                item.error = SourceError(outcome.error)
            else:
                item.error = BackendError(outcome.error, permanent=True)  # the store has already retried

        paths = (item.path for item in items)
        self._store.put_files(paths, known=self._known, on_done=settle, retries=self._retries)
        return len(items)

    def send(self, items: Sequence[UploadItem]) -> None:
        """Do nothing: `read` has stored the files."""

    def discard(self, items: Sequence[UploadItem]) -> None:
        """Do nothing: there are no temporary files."""

    def holds(self, uri: str, size: int) -> bool:
        """Whether a blob is stored."""
        digest = parse_blob_uri(uri).digest
        return digest in self._store and self._store.size(digest) == size

    def delete(self, uris: Sequence[str]) -> None:
        """Delete blobs."""
        self._store.delete([parse_blob_uri(uri).digest for uri in uris])
