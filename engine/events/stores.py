"""Events of execution stores and their keys.

Each event has the complete new state of its key, and the position of the event that it replaces.
"""

from __future__ import annotations

from ..decoding import Position
from .base import Event, Streams

DEFAULT_COLLECTION = "execution_store"
PERSIST, EVICT = "persist", "evict"

STORE_KEY = "__store__"
"""The key whose value is the metadata of the store."""


class StoreEvent(Event, frozen=True, kw_only=True):
    """Base class of the events of a store.

    Attributes
    ----------
    store : str
        Name of the store.
    dataset_id : str or None
        Dataset id of the store, or None.
    collection : str
        The key space.
    """

    store: str
    dataset_id: str | None = None
    collection: str = DEFAULT_COLLECTION


class KeyEvent(StoreEvent, frozen=True, kw_only=True):
    """Base class of the events of a key. `previous` is the position of the key's last event, or 0 if it was missing."""

    key: str
    previous: Position = 0


class StoreCreated(StoreEvent, frozen=True, kw_only=True):
    """A store was created. `value` is the canonical msgpack of its metadata."""

    value: bytes
    policy: str = PERSIST


class KeySet(KeyEvent, frozen=True, kw_only=True):
    """A key was set.

    Attributes
    ----------
    value : bytes
        The value as canonical msgpack.
    policy : str
        ``persist`` or ``evict``.
    expires_at : int or None
        When the key expires, in UTC microseconds since 1970, or None.
    created_at : int
        When the key was created; 0 if this event created it.
    """

    value: bytes
    policy: str = PERSIST
    expires_at: Position | None = None
    created_at: Position = 0


class KeyTtlChanged(KeyEvent, frozen=True, kw_only=True):
    """The time to live of a key was changed or removed."""

    policy: str = PERSIST
    expires_at: Position | None = None


class KeyPolicyChanged(KeyEvent, frozen=True, kw_only=True):
    """The eviction policy of a key was changed."""

    policy: str = PERSIST
    expires_at: Position | None = None


class KeyDeleted(KeyEvent, frozen=True, kw_only=True):
    """A key was deleted."""


class KeyEvicted(KeyEvent, frozen=True, kw_only=True):
    """A key had expired or was evicted. The key `__store__` is the metadata of the store."""


class StoreDeleted(StoreEvent, frozen=True, kw_only=True):
    """A store was deleted with its remaining documents, whose number is recorded."""

    documents: int = 0


STORES = Streams(
    "store-",
    (StoreCreated, KeySet, KeyTtlChanged, KeyPolicyChanged, KeyDeleted, KeyEvicted, StoreDeleted),
    label="store",
)

STORE_TOPICS = STORES.topics
"""Topics of the events of stores."""
