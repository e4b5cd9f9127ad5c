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
"""How soon an end is noticed; the server is not asked for that."""

_FALLBACK_SECONDS = 5.0
"""How long a message that was lost on its way may stay unnoticed."""

_PAUSE_SECONDS = 0.5
"""How long to wait before connecting again."""


class PostgresWatch(AppendWatch):
    """Listens on a connection of its own, which is opened at the first wait and again when it was lost.

    Parameters
    ----------
    connect : callable
        Opens a connection.
    channel : str
        Where writers announce that they wrote.
    is_over : callable
        Says that nobody is to wait any more.
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

    def wait(self, stop: threading.Event, seconds: float) -> None:  # noqa: ARG002 - somebody tells of appends
        """Return when something was announced, after a few seconds in any case, when `stop` is set or it is over."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.execute(f'LISTEN "{self._channel}"'.encode())
                # What was written before that is to be looked for now.
                return
            self._listen(self._connection, stop)
        except (psycopg.Error, StorageError):
            # Whoever waits looks for himself meanwhile, and is told if he cannot.
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
