"""The history of a store: each change of its keys, with the state before and after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from ...engine.errors import UsageError
from ...engine.events.base import Event
from ...engine.events.registry import subject_and_kind
from ...engine.events.stores import STORE_KEY, StoreCreated, StoreDeleted
from ...engine.log.contract import Log
from ...engine.stores.names import StoreId, check_name, check_text, store_id
from ...engine.stores.state import Document, StoreChanges
from ...engine.stores.values import decode_value
from ...engine.times import utc
from .documents import KeyPolicy
from .engine_repo import EngineStoreRepo, shown_policy
from .events import store_events
from .repo import ExecutionStoreRepo


class KeyState(msgspec.Struct, frozen=True):
    """The state of a key. An expired key has the state from before it expired."""

    value: Any
    policy: KeyPolicy
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, document: Document) -> KeyState:
        """Return the state of a document."""
        return cls(
            decode_value(document.value, document.position),
            shown_policy(document),
            utc(document.created_at),
            utc(document.updated_at),
            None if document.expires_at is None else utc(document.expires_at),
        )


class KeyChange(msgspec.Struct, frozen=True):
    """A change of a store.

    Attributes
    ----------
    position : int
        Position in the log.
    at : datetime
        UTC time of recording.
    actor : str
        Who made the change.
    kind : str
        ``set``, ``ttl_changed``, ``policy_changed``, ``deleted`` or ``evicted``; ``store_created`` or ``store_deleted``
        for the store itself.
    key : str or None
        The key, or None for a change of the store itself.
    before, after : KeyState or None
        State of the key, or of the store's own document; None if it did not exist.
    """

    position: int
    at: datetime
    actor: str
    kind: str
    key: str | None
    before: KeyState | None
    after: KeyState | None


def key_history(repo: ExecutionStoreRepo, store_name: str, key: str | None) -> Iterator[KeyChange]:
    """Yield the changes of a store, or of one of its keys, oldest first."""
    if not isinstance(repo, EngineStoreRepo):
        raise UsageError(f"{repo!r} keeps no history: only stores in an engine do")
    name = check_name(store_name, "store_name")
    wanted = None if key is None else check_text(key, "key")
    store = store_id(repo.collection_name, name, repo.context)
    return _changes(repo.session.log, store, wanted)


def _changes(log: Log, store: StoreId, key: str | None) -> Iterator[KeyChange]:
    changes = StoreChanges()
    held = changes.of(store).keys
    for header, position, event in store_events(log, store, key=key):
        which = (
            STORE_KEY if isinstance(event, StoreCreated | StoreDeleted) else getattr(event, "key", STORE_KEY)
        )
        concerned = which if key is None or not isinstance(event, StoreDeleted) else key
        before = held.get(concerned)
        changes.add(event, position, header.recorded_at)
        after = held.get(concerned)
        if key is None or (concerned == key and (before or after)):
            yield KeyChange(
                position=position,
                at=utc(header.recorded_at),
                actor=header.actor,
                kind=_kind(event),
                key=None if concerned == STORE_KEY else concerned,
                before=KeyState.of(before) if isinstance(before, Document) else None,
                after=KeyState.of(after) if isinstance(after, Document) else None,
            )


def _kind(event: Event) -> str:
    subject, kind = subject_and_kind(type(event).__name__)
    return kind if subject == "key" else f"{subject}_{kind}"
