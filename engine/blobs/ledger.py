"""Which blobs are condemned, and which were deleted: what the stream ``blobs`` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import ClassVar

import msgspec

from ..datasets.stream_view import StreamView
from ..events.base import Event
from ..events.domain import BLOBS, BlobsCollected, BlobsCondemned, BlobsRestored

GRACE = timedelta(days=7)
"""How long a blob stays after it was condemned."""

YOUNG = timedelta(days=1)
"""A blob written so lately may belong to an upload whose frames are not added yet."""

ON_ITS_WAY = timedelta(minutes=10)
"""Whoever stored a blob again so lately is about to name it, however young blobs are treated."""


class Condemned(msgspec.Struct, frozen=True, gc=False):
    """When a blob was condemned, deleted or restored: UTC microseconds, and the position of the event."""

    at: int
    position: int


class BlobLedger(StreamView):
    """What the stream ``blobs`` says, read as it grows.

    A blob that was condemned stays *banned*, also after it is deleted, until it is restored: frames must not name
    it. Restoring is recorded under the lock of the log after seeing that the content is there, and deleting happens
    under the same lock, so that what is not banned is not deleted.
    """

    stream_id: ClassVar[str] = BLOBS.id

    def _renew(self) -> None:
        super()._renew()
        self._condemned: dict[str, Condemned] = {}
        self._collected: dict[str, Condemned] = {}
        self._restored: dict[str, Condemned] = {}

    def banned(self, digests: Iterable[str]) -> tuple[int, set[str]]:
        """Return the version of the stream, and which of some digests are banned at it."""
        self._catch_up()
        with self._lock:
            return self._version, {digest for digest in digests if self.is_banned(digest)}

    def is_banned(self, digest: str) -> bool:
        """Say whether a blob was banned when the stream was last read."""
        return digest in self._condemned or digest in self._collected

    def condemned(self, among: Iterable[str] | None = None) -> Mapping[str, Condemned]:
        """Return the condemned blobs, or those among some; those that were deleted are left out."""
        self._catch_up()
        with self._lock:
            return dict(self._condemned) if among is None else _only(self._condemned, among)

    def restored(self, among: Iterable[str] | None = None) -> Mapping[str, Condemned]:
        """Return the blobs that were restored, or those among some, and not condemned since."""
        self._catch_up()
        with self._lock:
            return dict(self._restored) if among is None else _only(self._restored, among)

    def collected(self, digest: str) -> Condemned | None:
        """Return when a blob was deleted; None for one that was not, or is back."""
        self._catch_up()
        return self._collected.get(digest)

    def _apply(self, event: Event, recorded_at: int, position: int) -> None:
        when = Condemned(recorded_at, position)
        match event:
            case BlobsCondemned():
                self._condemned.update(dict.fromkeys(event.digests, when))
                for digest in event.digests:
                    self._restored.pop(digest, None)
            case BlobsRestored():
                self._restored.update(dict.fromkeys(event.digests, when))
                for digest in event.digests:
                    self._condemned.pop(digest, None)
                    self._collected.pop(digest, None)
            case BlobsCollected():
                for digest in event.digests:
                    self._condemned.pop(digest, None)
                self._collected.update(dict.fromkeys(event.digests, when))
            case _:
                pass


def _only(known: Mapping[str, Condemned], among: Iterable[str]) -> dict[str, Condemned]:
    return {digest: known[digest] for digest in among if digest in known}
