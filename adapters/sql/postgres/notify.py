"""Waits for writes to a PostgreSQL database without polling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from ....engine import forks
from ....engine.errors import StorageError
from ....engine.log.contract import AppendWatch

_SLICE_SECONDS = 0.1
"""Time until a stop is noticed. The server is not queried for it."""

_FALLBACK_SECONDS = 5.0
"""Time until a lost notification is noticed."""

_PAUSE_SECONDS = 0.5
"""Time before connecting again."""


class PostgresWatch(AppendWatch):
    """Listens on a separate connection, which is opened at the first wait, and again after it was lost.

    Parameters
    ----------
    connect : callable
        Opens a connection.
    channel : str
        Channel on which writers announce their writes.
    is_over : callable
        Returns whether nobody needs to wait any more.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], channel: str, is_over: Callable[[], bool]
    ) -> None:
        self._connect = connect
        self._is_over = is_over
        self._channel = channel
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None

    def wait(self, stop: threading.Event, seconds: float) -> None:  # noqa: ARG002 - notifications replace polling
        """Return after an announcement, after a few seconds at most, or when `stop` is set or the watch is over."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.execute(f'LISTEN "{self._channel}"'.encode())
                # Return now, so that the caller looks for earlier writes.
                return
            self._listen(self._connection, stop)
        except (psycopg.Error, StorageError):
            # Without a connection the caller polls, and gets the error if it cannot.
            self.close()
            stop.wait(_PAUSE_SECONDS)

    def _listen(self, connection: psycopg.Connection[Any], stop: threading.Event) -> None:
        end = time.monotonic() + _FALLBACK_SECONDS
        while not (stop.is_set() or self._is_over()) and time.monotonic() < end:
            for _ in connection.notifies(timeout=_SLICE_SECONDS, stop_after=1):
                return

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
