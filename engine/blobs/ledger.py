"""Which blobs are marked or deleted, from the stream ``blobs``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import ClassVar

import msgspec

from ..datasets.stream_view import StreamView
from ..events.base import Event
from ..events.domain import BLOBS, BlobsCollected, BlobsCondemned, BlobsRestored

GRACE = timedelta(days=7)
"""Default grace period between marking and deleting a blob."""

YOUNG = timedelta(days=1)
"""Age below which a blob is not marked, because its frames may not be added yet."""

ON_ITS_WAY = timedelta(minutes=10)
"""Minimum time for which a restored blob is not marked again, because a frame is about to refer to it."""


class Condemned(msgspec.Struct, frozen=True, gc=False):
    """When a blob was marked, deleted or restored: UTC microseconds, and the position of the event."""

    at: int
    position: int


class BlobLedger(StreamView):
    """The state of the stream ``blobs``, updated as it grows.

    A marked blob is *banned*, also after it is deleted, until it is restored: frames must not refer to it. A restore is
    recorded while the log is locked, after a check that the content is stored. Deletions need the same lock, so a blob that
    is not banned is never deleted.
    """

    stream_id: ClassVar[str] = BLOBS.id

    def _renew(self) -> None:
        super()._renew()
        self._condemned: dict[str, Condemned] = {}
        self._collected: dict[str, Condemned] = {}
        self._restored: dict[str, Condemned] = {}

    def banned(self, digests: Iterable[str]) -> tuple[int, set[str]]:
        """Return the version of the stream, and those of the digests that are banned at that version."""
        self._catch_up()
        with self._lock:
            return self._version, {digest for digest in digests if self.is_banned(digest)}

    def is_banned(self, digest: str) -> bool:
        """Whether a blob was banned when the stream was last read."""
        return digest in self._condemned or digest in self._collected

    def condemned(self, among: Iterable[str] | None = None) -> Mapping[str, Condemned]:
        """Return the marked blobs, optionally only those in `among`. Deleted blobs are not included."""
        self._catch_up()
        with self._lock:
            return dict(self._condemned) if among is None else _only(self._condemned, among)

    def restored(self, among: Iterable[str] | None = None) -> Mapping[str, Condemned]:
        """Return the restored blobs that were not marked since, optionally only those in `among`."""
        self._catch_up()
        with self._lock:
            return dict(self._restored) if among is None else _only(self._restored, among)

    def collected(self, digest: str) -> Condemned | None:
        """Return when a blob was deleted, or None if it was not or was restored."""
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
