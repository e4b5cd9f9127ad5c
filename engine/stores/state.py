"""What stretches of the log do to the documents of execution stores: a fold that needs no tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from ..events.base import Event
from ..events.stores import (
    EVICT,
    STORE_KEY,
    KeyDeleted,
    KeyEvicted,
    KeyPolicyChanged,
    KeySet,
    KeyTtlChanged,
    StoreCreated,
    StoreDeleted,
)
from ..log.batch import AppendHeader
from .names import StoreId, store_id


class Document(msgspec.Struct, frozen=True, gc=False):
    """A document as it stands; times are UTC microseconds since 1970, `position` that of its last event.

    `policy` is the one that was set; while a document expires it may be evicted all the same.
    """

    value: bytes
    created_at: int
    updated_at: int
    expires_at: int | None
    policy: str
    position: int

    def is_alive(self, now: int) -> bool:
        """Say whether it exists at a time."""
        return self.expires_at is None or now < self.expires_at

    def patched(self, patch: Patch) -> Document:
        """Return the document after a change of all but its value."""
        if patch.position <= self.position:
            return self
        values = msgspec.structs.asdict(patch)
        return msgspec.structs.replace(self, **values)


class Patch(msgspec.Struct, frozen=True, gc=False):
    """A change of all but the value."""

    expires_at: int | None
    policy: str
    position: int


class Key(msgspec.Struct, frozen=True, gc=False):
    """A key with all that is known of it but the value."""

    key: str
    expires_at: int | None
    policy: str
    position: int

    def is_alive(self, now: int) -> bool:
        """Say whether it exists at a time."""
        return self.expires_at is None or now < self.expires_at


def is_cached(document: Document | Patch | Key) -> bool:
    """Say whether a document may be evicted."""
    return document.policy == EVICT or document.expires_at is not None


Change = Document | Patch | None
"""What a key comes to; None for a missing one."""


class StoreChange(msgspec.Struct):
    """What some stretch of the log does to one store.

    Attributes
    ----------
    store : StoreId
        The store.
    is_emptied : bool
        All that it held before is gone.
    keys : dict of str to Change
        What the keys come to that were changed since.
    replaced : set of str
        Those of them that were there before.
    """

    store: StoreId
    is_emptied: bool = False
    keys: dict[str, Change] = {}
    replaced: set[str] = set()

    def empty(self) -> None:
        """Forget all documents."""
        self.is_emptied = True
        self.keys.clear()
        self.replaced.clear()

    def put(self, key: str, change: Change, previous: int) -> None:
        """Take over what a key comes to."""
        if previous and key not in self.keys and not self.is_emptied:
            self.replaced.add(key)
        if isinstance(change, Patch):
            change = _patched(self.keys.get(key, change), change)
        self.keys[key] = change

    def follow(self, later: StoreChange) -> None:
        """Take over what comes after."""
        if later.is_emptied:
            self.empty()
        for key, change in later.keys.items():
            self.put(key, change, key in later.replaced)


def _patched(held: Change, patch: Patch) -> Change:
    return held.patched(patch) if isinstance(held, Document) else patch


class StoreChanges(msgspec.Struct):
    """What some stretch of the log does to all stores, by their digests."""

    stores: dict[bytes, StoreChange] = {}

    def of(self, store: StoreId) -> StoreChange:
        """Return the change of a store, a new one if there is none yet."""
        found = self.stores.get(store.digest)
        if found is None:
            found = self.stores[store.digest] = StoreChange(store)
        return found

    def add(self, event: Any, position: int, recorded_at: int) -> None:
        """Take over an event, or its fields as an object of a class of the same name."""
        change = self.of(store_id(event.collection, event.store, event.dataset_id))
        _TAKE_OVER[type(event).__name__](change, event, position, recorded_at)

    def follow(self, later: StoreChanges) -> None:
        """Take over what comes after."""
        for change in later.stores.values():
            self.of(change.store).follow(change)


def _create(change: StoreChange, event: Any, position: int, at: int) -> None:
    made = Document(event.value, at, at, None, event.policy, position)
    change.put(STORE_KEY, made, 0)


def _set(change: StoreChange, event: Any, position: int, at: int) -> None:
    created_at = event.created_at or at
    made = Document(event.value, created_at, at, event.expires_at, event.policy, position)
    change.put(event.key, made, event.previous)


def _patch(change: StoreChange, event: Any, position: int, at: int) -> None:  # noqa: ARG001 - as the others
    change.put(event.key, Patch(event.expires_at, event.policy, position), event.previous)


def _remove(change: StoreChange, event: Any, position: int, at: int) -> None:  # noqa: ARG001 - as the others
    change.put(event.key, None, event.previous)


def _delete(change: StoreChange, event: Any, position: int, at: int) -> None:  # noqa: ARG001 - as the others
    change.empty()


_TAKE_OVER = {
    StoreCreated.__name__: _create,
    KeySet.__name__: _set,
    KeyTtlChanged.__name__: _patch,
    KeyPolicyChanged.__name__: _patch,
    KeyDeleted.__name__: _remove,
    KeyEvicted.__name__: _remove,
    StoreDeleted.__name__: _delete,
}


class Level(msgspec.Struct, frozen=True):
    """Up to where the log is known: its end, and the versions of some streams there."""

    position: int
    versions: dict[str, int]


class StoreStates(Protocol):
    """The documents as they are: what commands are decided on."""

    def level(self, streams: Sequence[str]) -> Level:
        """Take over what was recorded; return up to where."""
        ...

    def forget(self, stream: str) -> None:
        """Forget the version of a stream, which has proved wrong."""
        ...

    def find(self, store: StoreId, keys: Iterable[str]) -> dict[str, Document]:
        """Return those of some documents that are there, expired ones too."""
        ...

    def keys(self, stores: Sequence[StoreId], *, cached: bool = False) -> dict[bytes, list[Key]]:
        """Return the keys of some stores by digest, expired ones and the stores' own too; if `cached`, those that may be evicted."""
        ...

    def recorded(self, events: Sequence[Event], header: AppendHeader) -> int:
        """Take over what was appended; return the time at which it was recorded."""
        ...
