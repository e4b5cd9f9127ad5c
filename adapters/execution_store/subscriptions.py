"""Subscriptions to the changes of a store."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ...engine.errors import UsageError
from ...engine.events.stores import (
    STORE_KEY,
    KeyEvent,
    KeyPolicyChanged,
    KeySet,
    KeyTtlChanged,
    StoreDeleted,
    StoreEvent,
)
from ...engine.stores.names import StoreId
from ...engine.stores.values import decode_value, json_form
from ...engine.times import utc
from ...projections.tables.store_reader import StoreReader
from ..session.session import Session
from .events import store_events

logger = logging.getLogger("framelode.stores")

_POLL_SECONDS = 0.05


@dataclass
class MessageMetadata:
    """The change that a message reports.

    Attributes
    ----------
    operation_type : str
        ``initial`` for a key that existed before the subscription, ``insert``, ``update`` or ``delete``.
    dataset_id : str or None
        Dataset id of the store.
    timestamp : str
        UTC time of the change in ISO 8601. For an initial key, when it was last set.
    """

    operation_type: str
    dataset_id: str | None
    timestamp: str


@dataclass
class MessageData:
    """A key of a store and its value, which is None if the key was deleted."""

    key: str
    value: Any
    metadata: MessageMetadata

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a dict."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the message as JSON. Values of types that JSON lacks are encoded as objects such as ``{"$uuid": ...}``."""
        return json.dumps({**self.to_dict(), "value": json_form(self.value)})


class Subscriptions:
    """The subscriptions of a session.

    Parameters
    ----------
    session : Session
        The session whose log is followed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running: dict[str, _Subscription] = {}

    def add(self, store: StoreId, reader: StoreReader, callback: Callable[[MessageData], None]) -> str:
        """Follow a store in a thread of its own, and return the id of the subscription."""
        subscription_id = self._session.present.new_id()
        follower = _Subscription(self._session, store, reader, callback)
        self._running[subscription_id] = follower
        threading.Thread(
            target=follower.run, name=f"framelode subscription to {store.name}", daemon=True
        ).start()
        return subscription_id

    def remove(self, subscription_id: str) -> bool:
        """End a subscription. Return False if it does not exist."""
        follower = self._running.pop(subscription_id, None)
        if follower is None:
            return False
        follower.stopped.set()
        return True


class _Subscription:
    """Sends the existing keys to the callback, then each change, exactly once and in order.

    It ends when it is stopped, when the log is closed, or when the callback raises an error.
    """

    def __init__(
        self, session: Session, store: StoreId, reader: StoreReader, callback: Callable[[MessageData], None]
    ) -> None:
        self.stopped = threading.Event()
        self._session, self._store, self._reader, self._callback = session, store, reader, callback
        # The version is read first: an event recorded in between is read, and skipped because of its position.
        self._version = session.log.stream_version(store.stream) or 0
        self._position = session.log.head().position
        self._keys: dict[str, int] = {}
        """The keys that were sent, each with the position of the last event that was sent."""

    def run(self) -> None:
        log = self._session.log
        try:
            with log.watch() as watch:
                self._send_existing()
                while not self.stopped.is_set():
                    head = log.head().position
                    if head > self._position:
                        self._send_news(head)
                        self._position = head
                    else:
                        watch.wait(self.stopped, _POLL_SECONDS)
        except UsageError:
            if not log.is_closed:
                logger.exception("a subscription to %s has ended", self._store)
        except Exception:
            logger.exception("a subscription to %s has ended", self._store)

    def _send_existing(self) -> None:
        """Send the existing keys. `_send_news` skips the changes that these already include."""
        now = self._session.now()
        with self._reader.listing() as connection:
            keys = self._reader.tables.listed(connection, self._store, now)
        for key in keys:
            found = self._reader.get(self._store, key)
            if key == STORE_KEY or found is None:
                continue
            self._keys[key] = found.position
            self._send("initial", key, decode_value(found.value, found.position), utc(found.updated_at))

    def _send_news(self, head: int) -> None:
        events = store_events(self._session.log, self._store, after=self._version, lte=head)
        for header, position, event in events:
            if self._position < position <= head:
                self._send_event(event, position, utc(header.recorded_at))
                self._version = event.originator_version

    def _send_event(self, event: StoreEvent, position: int, at: datetime) -> None:
        if isinstance(event, StoreDeleted):
            for key in [key for key, sent in self._keys.items() if sent < position]:
                del self._keys[key]
                self._send("delete", key, None, at)
        if (
            not isinstance(event, KeyEvent)
            or event.key == STORE_KEY
            or position <= self._keys.get(event.key, 0)
        ):
            return
        if isinstance(event, KeySet):
            operation = "update" if event.key in self._keys else "insert"
            self._keys[event.key] = position
            self._send(operation, event.key, decode_value(event.value, position), at)
        elif event.key in self._keys:
            self._send_change(event, position, at)

    def _send_change(self, event: KeyEvent, position: int, at: datetime) -> None:
        """Send an event without a value, of a key that was sent before."""
        if not isinstance(event, KeyTtlChanged | KeyPolicyChanged):
            del self._keys[event.key]
            self._send("delete", event.key, None, at)
            return
        # The value may be newer than the event. If the key was deleted, that is sent next.
        found = self._reader.get(self._store, event.key)
        if found is not None:
            self._keys[event.key] = position
            self._send("update", event.key, decode_value(found.value, found.position), at)

    def _send(self, operation: str, key: str, value: Any, at: datetime) -> None:
        if not self.stopped.is_set():
            metadata = MessageMetadata(operation, self._store.dataset_id, at.isoformat())
            self._callback(MessageData(key, value, metadata))
