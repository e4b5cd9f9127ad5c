"""What happened to execution stores and their keys.

Each event carries all that its key comes to, and the position of the event that it replaces.
"""

from __future__ import annotations

from ..decoding import Position
from .base import Event, Streams

DEFAULT_COLLECTION = "execution_store"
PERSIST, EVICT = "persist", "evict"

STORE_KEY = "__store__"
"""The key whose value is a store's own metadata."""


class StoreEvent(Event, frozen=True, kw_only=True):
    """Base of the events of one store.

    Attributes
    ----------
    store : str
        Name of the store.
    dataset_id : str or None
        The dataset in whose context it is; None for none.
    collection : str
        The key space.
    """

    store: str
    dataset_id: str | None = None
    collection: str = DEFAULT_COLLECTION


class KeyEvent(StoreEvent, frozen=True, kw_only=True):
    """Base of the events of one key; `previous` is the position of the last event of the key, 0 where it was missing."""

    key: str
    previous: Position = 0


class StoreCreated(StoreEvent, frozen=True, kw_only=True):
    """A store was made with metadata of its own; `value` is their canonical msgpack."""

    value: bytes
    policy: str = PERSIST


class KeySet(KeyEvent, frozen=True, kw_only=True):
    """A key took a value.

    Attributes
    ----------
    value : bytes
        Canonical msgpack.
    policy : str
        ``persist`` or ``evict``.
    expires_at : int or None
        From when on it does not exist, UTC microseconds since 1970; None for never.
    created_at : int
        When the key came into being; 0 when that is now.
    """

    value: bytes
    policy: str = PERSIST
    expires_at: Position | None = None
    created_at: Position = 0


class KeyTtlChanged(KeyEvent, frozen=True, kw_only=True):
    """A key got another time to live, or none."""

    policy: str = PERSIST
    expires_at: Position | None = None


class KeyPolicyChanged(KeyEvent, frozen=True, kw_only=True):
    """A key got another eviction policy."""

    policy: str = PERSIST
    expires_at: Position | None = None


class KeyDeleted(KeyEvent, frozen=True, kw_only=True):
    """A key was deleted."""


class KeyEvicted(KeyEvent, frozen=True, kw_only=True):
    """A key had expired, or was cleared from the cache; `__store__` stands for the store's metadata."""


class StoreDeleted(StoreEvent, frozen=True, kw_only=True):
    """A store was deleted with all of its documents that were left, so many."""

    documents: int = 0


STORES = Streams(
    "store-",
    (StoreCreated, KeySet, KeyTtlChanged, KeyPolicyChanged, KeyDeleted, KeyEvicted, StoreDeleted),
    label="store",
)

STORE_TOPICS = STORES.topics
"""Topics of the events of stores."""
