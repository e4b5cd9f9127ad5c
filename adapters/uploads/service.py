"""Creates an uploader for each call that uploads files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...engine.blobs.store import BlobStore
from ...engine.blobs.uris import SCHEME
from .blobs import BlobsDestination
from .destination import Destination
from .index import UploadIndex
from .open import open_destination
from .target import UploadTarget, names_below, routes_of
from .uploader import MappedUploader, Uploader


class UploadService:
    """Creates uploaders.

    Parameters
    ----------
    ledger : UploadIndex
        Finds and records uploads in the log.
    blobs : callable
        Returns the blob store of the engine.
    """

    def __init__(self, ledger: UploadIndex, blobs: Callable[[], BlobStore]) -> None:
        self._ledger = ledger
        self._blobs = blobs

    def to_target(self, target: UploadTarget, folder: str, *, force: bool, retries: int) -> Uploader:
        """Return an uploader for all local files below a root, into a folder of a destination."""
        destination = self._open(target.destination, retries, force=force)
        below = "" if destination.root == SCHEME else folder
        name_of = names_below(target.root, below)
        return Uploader(destination, name_of, self._ledger, force=force, retries=retries)

    def by_mapping(self, mapping: Mapping[str, str], *, force: bool, retries: int) -> MappedUploader:
        """Return an uploader for the files in a mapping, each to its own URL."""
        uploaders: dict[str, Uploader] = {}
        for route in routes_of(mapping):
            uploader = Uploader(
                self._open(route.destination, retries, force=force),
                route.names.__getitem__,
                self._ledger,
                force=force,
                retries=retries,
                exact=True,
            )
            uploaders |= dict.fromkeys(route.names, uploader)
        return MappedUploader(uploaders)

    def _open(self, destination: str, retries: int, *, force: bool) -> Destination:
        if destination == SCHEME:
            return BlobsDestination(self._blobs(), retries, force=force)
        return open_destination(destination)
