"""Commands on execution stores: decided on what is recorded, and appended until no other writer gets in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from .. import forks
from ..canonical import digest_of
from ..errors import ConflictError
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
from ..log.batch import BATCH_BYTES, BATCH_EVENTS, AppendHeader
from ..log.command import Command, run_decided
from ..log.contract import Clock, Log
from ..log.event_batch import batches_of
from .names import StoreId, expiry
from .state import Document, Key, StoreStates
from .values import canonical_value, is_equal

_NOTHING = b""

Recorded = tuple[Sequence[tuple[StoreId, Sequence[Event]]], Any]
"""The events of each store, and what the command answers."""


class StoreWriter:
    """Writes to execution stores.

    Parameters
    ----------
    log : Log
        Where events are appended.
    states : StoreStates
        What decisions are made on.
    clock : callable
        UTC microseconds: when keys expire.
    new_id : callable
        Makes ids of 32 hex digits.
    """

    def __init__(self, log: Log, states: StoreStates, clock: Clock, new_id: Callable[[], str]) -> None:
        self._log = log
        self._states = states
        self._clock = clock
        self._new_id = new_id
        forks.renewed(self._renew)

    def _renew(self) -> None:
        # Threads of one process take turns; they would only make each other decide again.
        self._lock = threading.Lock()

    def create(self, store: StoreId, value: bytes, policy: str, command_id: str | None = None) -> Document:
        """Create a store's own document; `ConflictError` when it has one."""

        def decide() -> Recorded:
            ((evictions, alive),) = self._swept([store])
            if any(key.key == STORE_KEY for key in alive):
                raise ConflictError(f"{store} exists already")
            return [(store, [*evictions, _event(StoreCreated, store, value=value, policy=policy)])], None

        request = [b"create", store.digest, canonical_value(value), policy.encode()]
        done = self._run([store], request, command_id, decide)
        at = done.recorded_at
        return Document(value, at, at, None, policy, done.header.last_position if done.header else 0)

    def set(
        self,
        store: StoreId,
        key: str,
        value: bytes,
        ttl: float | None,
        policy: str,
        command_id: str | None = None,
    ) -> Document:
        """Set a key."""

        def decide() -> Recorded:
            now = self._clock()
            held = self._states.find(store, (key,)).get(key)
            event, evicted = _setting(store, key, held, value, expiry(now, ttl), policy, now)
            return [(store, [*evicted, event])], [event.created_at, event.expires_at]

        request = [b"set", store.digest, key.encode(), value, *_lasting(ttl, policy)]
        if command_id is not None:
            request[3] = canonical_value(value)
        done = self._run([store], request, command_id, decide)
        created_at, expires_at = done.answer
        position = done.header.last_position if done.header else 0
        at = done.recorded_at
        return Document(value, created_at or at, at, expires_at, policy, position)

    def set_if_absent(
        self,
        store: StoreId,
        key: str,
        value: bytes,
        ttl: float | None,
        policy: str,
        command_id: str | None = None,
    ) -> bool:
        """Set a key that is missing; False when it is there."""

        def decide() -> Recorded:
            now = self._clock()
            held = self._states.find(store, (key,)).get(key)
            if held is not None and held.is_alive(now):
                return [], False
            event, evicted = _setting(store, key, held, value, expiry(now, ttl), policy, now)
            return [(store, [*evicted, event])], True

        request = [
            b"set if absent",
            store.digest,
            key.encode(),
            canonical_value(value),
            *_lasting(ttl, policy),
        ]
        return self._run([store], request, command_id, decide).answer

    def compare_and_set(
        self,
        store: StoreId,
        key: str,
        expected: bytes,
        value: bytes,
        ttl: float | None,
        policy: str | None,
        command_id: str | None = None,
    ) -> bool:
        """Set a key that has a value; False when it has another one. Without a time to live and a policy these stay."""

        def decide() -> Recorded:
            document, evicted = self._found(store, key)
            if document is None or not is_equal(document.value, expected):
                return [(store, evicted)], False
            now = self._clock()
            expires_at = document.expires_at if ttl is None else expiry(now, ttl)
            event, _ = _setting(store, key, document, value, expires_at, policy or document.policy, now)
            return [(store, [event])], True

        given = [canonical_value(expected), canonical_value(value), *_lasting(ttl, policy or "")]
        request = [b"compare and set", store.digest, key.encode(), *given]
        return self._run([store], request, command_id, decide).answer

    def set_many(
        self,
        store: StoreId,
        values: Iterable[tuple[str, bytes]],
        ttl: float | None,
        policy: str,
        command_id: str | None = None,
    ) -> None:
        """Set many keys, part by part; repeated with its id the command finishes what was left."""
        given = [store.digest, *_lasting(ttl, policy)]
        command = Command.begin(command_id, self._new_id)
        for number, (part, is_last) in enumerate(parts_of(values)):

            def decide(part: list[tuple[str, bytes]] = part) -> Recorded:
                now = self._clock()
                held = self._states.find(store, [key for key, _ in part])
                events: list[Event] = []
                for key, value in part:
                    event, evicted = _setting(store, key, held.get(key), value, expiry(now, ttl), policy, now)
                    events += evicted
                    events.append(event)
                return [(store, events)], None

            ending = b"last" if is_last else b"more"
            content: list[bytes] = []
            if command_id is not None:
                content = [item for key, value in part for item in (key.encode(), canonical_value(value))]
            command.part, command.is_last = number, is_last
            self._append([store], command, [b"set many", ending, *given, *content], decide)

    def delete(self, store: StoreId, key: str, command_id: str | None = None) -> bool:
        """Delete a key; False when it is missing."""

        def decide() -> Recorded:
            document, evicted = self._found(store, key)
            if document is None:
                return [(store, evicted)], False
            return [(store, [_event(KeyDeleted, store, key=key, previous=document.position)])], True

        return self._run([store], [b"delete", store.digest, key.encode()], command_id, decide).answer

    def update_ttl(
        self, store: StoreId, key: str, ttl: float | None, command_id: str | None = None
    ) -> Document | None:
        """Change when a key expires; None for never. Its policy stays. None when it is missing."""

        def change(document: Document) -> dict[str, Any]:
            return {"policy": document.policy, "expires_at": expiry(self._clock(), ttl)}

        request = [b"ttl", store.digest, key.encode(), repr(ttl).encode()]
        return self._change(store, key, KeyTtlChanged, change, request, command_id)

    def update_policy(
        self, store: StoreId, key: str, policy: str, command_id: str | None = None
    ) -> Document | None:
        """Change a key's policy; None when it is missing."""

        def change(document: Document) -> dict[str, Any]:
            return {"policy": policy, "expires_at": document.expires_at}

        request = [b"policy", store.digest, key.encode(), policy.encode()]
        return self._change(store, key, KeyPolicyChanged, change, request, command_id)

    def _change(
        self,
        store: StoreId,
        key: str,
        kind: type[KeyTtlChanged | KeyPolicyChanged],
        change: Callable[[Document], dict[str, Any]],
        request: list[bytes],
        command_id: str | None,
    ) -> Document | None:
        made: list[Document] = []

        def decide() -> Recorded:
            document, evicted = self._found(store, key)
            if document is None:
                return [(store, evicted)], False
            values = change(document)
            made.append(msgspec.structs.replace(document, **values))
            if (values["policy"], values["expires_at"]) == (document.policy, document.expires_at):
                return [], True
            event = _event(kind, store, key=key, previous=document.position, **values)
            return [(store, [event])], True

        if not self._run([store], request, command_id, decide).answer:
            return None
        # A command that is repeated decides nothing.
        return made[-1] if made else self._states.find(store, (key,)).get(key)

    def clear(self, store: StoreId, command_id: str | None = None) -> None:
        """Delete every key of a store; the store and its metadata stay."""

        def decide() -> Recorded:
            ((evictions, alive),) = self._swept([store])
            deleted = [
                _event(KeyDeleted, store, key=key.key, previous=key.position)
                for key in alive
                if key.key != STORE_KEY
            ]
            return [(store, [*evictions, *deleted])], None

        self._run([store], [b"clear", store.digest], command_id, decide)

    def clear_cache(self, stores: Sequence[StoreId], command_id: str | None = None) -> int:
        """Evict the documents of some stores that may be evicted, expired ones too; returns how many these were."""

        def decide() -> Recorded:
            found = self._states.keys(stores, cached=True)
            recorded = [
                (store, [_evicted(store, key) for key in found.get(store.digest, ())]) for store in stores
            ]
            return recorded, sum(map(len, found.values()))

        request = [b"clear cache", *(store.digest for store in stores)]
        return self._run(stores, request, command_id, decide).answer

    def drop(self, stores: Sequence[StoreId], command_id: str | None = None) -> int:
        """Delete stores with all their documents; returns how many these were."""

        def decide() -> Recorded:
            recorded: list[tuple[StoreId, list[Event]]] = []
            total = 0
            for store, (evictions, alive) in zip(stores, self._swept(stores), strict=True):
                if alive:
                    evictions.append(_event(StoreDeleted, store, documents=len(alive)))
                recorded.append((store, evictions))
                total += len(alive)
            return recorded, total

        request = [b"drop", *(store.digest for store in stores)]
        return self._run(stores, request, command_id, decide).answer

    def _found(self, store: StoreId, key: str) -> tuple[Document | None, list[Event]]:
        """Return a document that exists, or the eviction of one that has expired."""
        document = self._states.find(store, (key,)).get(key)
        if document is None or document.is_alive(self._clock()):
            return document, []
        return None, [_event(KeyEvicted, store, key=key, previous=document.position)]

    def _swept(self, stores: Sequence[StoreId]) -> list[tuple[list[Event], list[Key]]]:
        """Return of each store the evictions of what has expired, and the keys that are alive."""
        now = self._clock()
        found = self._states.keys(stores)
        swept: list[tuple[list[Event], list[Key]]] = []
        for store in stores:
            keys = found.get(store.digest, [])
            expired = [_evicted(store, key) for key in keys if not key.is_alive(now)]
            swept.append((expired, [key for key in keys if key.is_alive(now)]))
        return swept

    def _run(
        self,
        stores: Sequence[StoreId],
        request: list[bytes],
        command_id: str | None,
        decide: Callable[[], Recorded],
    ) -> _Done:
        return self._append(stores, Command.begin(command_id, self._new_id), request, decide)

    def _append(
        self,
        stores: Sequence[StoreId],
        command: Command,
        request: list[bytes],
        decide: Callable[[], Recorded],
    ) -> _Done:
        """Decide and append until no other writer gets in between."""
        if command.is_repeatable:
            command.digest = digest_of(command.digest, *request)
        return run_decided(
            self._log,
            command,
            ", ".join(map(str, stores[:3])),
            partial(self._try, stores, command, decide),
            self._repeated,
            on_conflict=self._states.forget,
            turn=self._lock,
        )

    def _try(self, stores: Sequence[StoreId], command: Command, decide: Callable[[], Recorded]) -> _Done:
        level = self._states.level([store.stream for store in stores])
        recorded, answer = decide()
        batches = [
            batch
            for store, events in recorded
            if events
            for batch in batches_of(store.stream, level.versions[store.stream] + 1, events)
        ]
        if not batches:
            return _Done(answer, 0, None)
        result = msgspec.msgpack.encode(answer) if command.is_repeatable else _NOTHING
        header = self._log.append(command.append_of(batches, result, decided_at=level.position))
        recorded_at = self._states.recorded([event for _, events in recorded for event in events], header)
        return _Done(answer, recorded_at, header)

    def _repeated(self, recorded: AppendHeader) -> _Done:
        recorded_at = self._log.batch_at(recorded.last_position).recorded_at
        return _Done(recorded.decode_result(), recorded_at, recorded)


class _Done(msgspec.Struct, frozen=True):
    """What a command has come to; the header is None when it left nothing to record."""

    answer: Any
    recorded_at: int
    header: AppendHeader | None


def _event(kind: type[Any], store: StoreId, **values: Any) -> Any:
    # Stream and version are those of the batch.
    return kind(
        originator_id=store.stream,
        originator_version=0,
        store=store.name,
        dataset_id=store.dataset_id,
        collection=store.collection,
        **values,
    )


def _setting(
    store: StoreId,
    key: str,
    held: Document | None,
    value: bytes,
    expires_at: int | None,
    policy: str,
    now: int,
) -> tuple[KeySet, list[Event]]:
    """Return what sets a key, and the eviction of what it held when that has expired."""
    evicted: list[Event] = []
    if held is not None and not held.is_alive(now):
        evicted.append(_event(KeyEvicted, store, key=key, previous=held.position))
        held = None
    event = _event(
        KeySet,
        store,
        key=key,
        value=value,
        policy=policy,
        expires_at=expires_at,
        created_at=held.created_at if held else 0,
        previous=held.position if held else 0,
    )
    return event, evicted


def _lasting(ttl: float | None, policy: str) -> list[bytes]:
    """Return how long a key lives as a request has it: a time to live stands for its policy."""
    return [repr(ttl).encode(), (policy if ttl is None else EVICT).encode()]


def _evicted(store: StoreId, key: Key) -> Event:
    return _event(KeyEvicted, store, key=key.key, previous=key.position)


def parts_of(values: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[tuple[str, bytes]], bool]]:
    """Cut what is set into parts of one record batch each; says of each whether it is the last."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for key, value in values:
        length = len(key) + len(value)
        if part and (len(part) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield part, False
            part, size = [], 0
        part.append((key, value))
        size += length
    if part:
        yield part, True
