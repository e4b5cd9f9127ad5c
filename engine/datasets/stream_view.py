"""What one stream of the log says, kept in memory and read on as the stream grows."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import ClassVar

from .. import forks
from ..events.base import Event
from ..log.batch import EVENTS_SCHEMA, BatchHeader
from ..log.contract import Log
from ..log.event_batch import read_events
from .aggregate import Aggregate


class LedgerStream(Aggregate):
    """Makes the next event of a stream; what its events say is in a ledger or a projection."""


class StreamView(ABC):
    """Reads a stream as it grows.

    Parameters
    ----------
    log : Log
        The log.
    """

    stream_id: ClassVar[str]

    def __init__(self, log: Log) -> None:
        self._log = log
        forks.renewed(self._renew)

    def _renew(self) -> None:
        """Begin with an empty ledger."""
        self._lock = threading.Lock()
        self._version = 0

    def version(self) -> int:
        """Return the version of the stream, 0 when it is empty."""
        self._catch_up()
        return self._version

    def stream(self) -> LedgerStream:
        """Return the stream at its present version, to append to."""
        stream = LedgerStream(self.stream_id)
        stream.version = self.version()
        return stream

    @abstractmethod
    def _apply(self, event: Event, recorded_at: int, position: int) -> None:
        """Take over what an event says; the ledger is locked."""

    def _catch_up(self) -> None:
        if (self._log.stream_version(self.stream_id) or 0) <= self._version:
            return
        # Whoever holds the log may wait for the ledger, so the log is read before the ledger is locked.
        batches = self._read_after(self._version)
        with self._lock:
            for header, events in batches:
                if header.last_version > self._version:
                    for position, event in enumerate(events, header.first_position):
                        self._apply(event, header.recorded_at, position)
                    self._version = header.last_version

    def _read_after(self, version: int) -> list[tuple[BatchHeader, list[Event]]]:
        headers = self._log.headers(stream_id=self.stream_id, after=version, schema=EVENTS_SCHEMA)
        return [(header, read_events(self._log, header)) for header in headers]
