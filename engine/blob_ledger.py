"""Which blobs are condemned, and which were deleted: what the stream ``blobs`` says."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from .aggregate import Aggregate
from .batch import EVENTS_SCHEMA
from .event_batch import read_events
from .events import BlobsCollected, BlobsCondemned, BlobsRestored, Event
from .log import Log

BLOBS_STREAM = "blobs"

GRACE = timedelta(days=7)
"""How long a blob stays after it was condemned."""

YOUNG = timedelta(days=1)
"""A blob written so lately may belong to an upload whose frames are not added yet."""


class Condemned(msgspec.Struct, frozen=True, gc=False):
    """When a blob was condemned or deleted: UTC microseconds, and the position of the event."""

    at: int
    position: int


class BlobStream(Aggregate):
    """Makes the next event of the stream ``blobs``; what its events say is in the ledger."""


class BlobLedger:
    """What the stream ``blobs`` says, read as it grows.

    A blob that was condemned stays *banned*, also after it is deleted, until it is restored: frames must not name
    it. Restoring is recorded under the lock of the log after seeing that the content is there, and deleting happens
    under the same lock, so that what is not banned is not deleted.

    Parameters
    ----------
    log : Log
        The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._version = 0
        self._position = 0
        self._condemned: dict[str, Condemned] = {}
        self._collected: dict[str, Condemned] = {}

    def version(self) -> int:
        """Return the version of the stream, 0 when it is empty."""
        self._catch_up()
        return self._version

    def banned(self, digests: Iterable[str]) -> tuple[int, set[str]]:
        """Return the version of the stream, and which of some digests are banned at it."""
        self._catch_up()
        with self._lock:
            return self._version, {digest for digest in digests if self.is_banned(digest)}

    def is_banned(self, digest: str) -> bool:
        """Say whether a blob was banned when the stream was last read."""
        return digest in self._condemned or digest in self._collected

    def condemned(self) -> Mapping[str, Condemned]:
        """Return the condemned blobs, those that were deleted left out."""
        self._catch_up()
        with self._lock:
            return dict(self._condemned)

    def collected(self, digest: str) -> Condemned | None:
        """Return when a blob was deleted; None for one that was not, or is back."""
        self._catch_up()
        return self._collected.get(digest)

    def stream(self) -> BlobStream:
        """Return the stream at its present version, to append to."""
        stream = BlobStream(BLOBS_STREAM)
        stream.version = self.version()
        return stream

    def _catch_up(self) -> None:
        if (self._log.stream_version(BLOBS_STREAM) or 0) <= self._version:
            return
        # Whoever holds the log may wait for the ledger, so the log is read before the ledger is locked.
        headers = self._log.headers(gt=self._position, stream_id=BLOBS_STREAM, schema=EVENTS_SCHEMA)
        batches = [(header, read_events(self._log, header)) for header in headers]
        with self._lock:
            for header, events in batches:
                if header.first_position > self._position:
                    for position, event in enumerate(events, header.first_position):
                        self._apply(event, Condemned(header.recorded_at, position))
                    self._version, self._position = header.last_version, header.last_position

    def _apply(self, event: Event, when: Condemned) -> None:
        match event:
            case BlobsCondemned():
                self._condemned.update(dict.fromkeys(event.digests, when))
            case BlobsRestored():
                for digest in event.digests:
                    self._condemned.pop(digest, None)
                    self._collected.pop(digest, None)
            case BlobsCollected():
                for digest in event.digests:
                    self._condemned.pop(digest, None)
                self._collected.update(dict.fromkeys(event.digests, when))
            case _:
                pass
