"""Events of execution stores and their keys.

Each event has the complete new state of its key, and the position of the event that it replaces.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ..canonical import encode_canonical
from ..decoding import UNDECODABLE, Position, guarded
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


_NEW_VALUES = (b"\xcb\x7f\xf8", b"\xcb\x7f\xf0", b"\xcb\xff\xf0", b"\xc7\x0c\x03")
"""What NaN, the infinities and ObjectIds begin with in msgpack."""


_decode = guarded(msgspec.msgpack.decode)


class ValueEvent(StoreEvent, frozen=True, kw_only=True):
    """Base class of events with a value.

    In schema version 1 the value is canonical msgpack: keys are sorted, numbers are finite, and there are no ObjectIds. In
    version 2 it is as it was given. A value that is the same in both is stored in version 1.
    """

    schema_version: ClassVar[int] = 2

    @property
    def stored_schema(self) -> int:
        """Schema version that the event is stored with: 1 if its value is canonical."""
        value: bytes = getattr(self, "value")  # noqa: B009 - a field of the classes below
        # Other bytes may look like a new value; version 2 can express any.
        if any(new in value for new in _NEW_VALUES):
            return 2
        try:
            return 1 if encode_canonical(_decode(value)) == value else 2
        except UNDECODABLE:
            return 2

    @staticmethod
    def upcast_v1_v2(fields: dict[str, object]) -> dict[str, object]:
        """Upgrade stored fields: version 2 reads them as they are."""
        return fields


class StoreCreated(ValueEvent, frozen=True, kw_only=True):
    """A store was created, or metadata was attached to one that had keys only. `value` is the msgpack of the metadata."""

    value: bytes
    policy: str = PERSIST


class KeySet(KeyEvent, ValueEvent, frozen=True, kw_only=True):
    """A key was set.

    Attributes
    ----------
    value : bytes
        The value as msgpack.
    policy : str
        ``persist`` or ``evict``, as it was set. A key that expires may be evicted, whatever its policy.
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
    """The time to live of a key was changed or removed. `policy` is that of the key without a time to live."""

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
