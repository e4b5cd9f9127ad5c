"""Execution stores in the log of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blake3 import blake3

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.stores import DEFAULT_COLLECTION, STORE_KEY
from ...engine.stores.names import (
    StoreId,
    check_dataset_id,
    check_name,
    check_policy,
    check_text,
    check_ttl,
    check_user_key,
    store_id,
)
from ...engine.stores.state import Document
from ...engine.stores.values import decode_value, encode_value
from ...engine.stores.writer import StoreWriter
from ...engine.times import utc
from ...engine.validation import shorten
from ...projections.tables.store_reader import StoreReader
from ...projections.tables.stores import Stores
from ..session.current import HasSession, session_of
from ..session.session import Session
from .documents import KeyDocument, KeyPolicy, StoreDocument, dataset_id_of, policy_of
from .repo import ExecutionStoreRepo
from .subscriptions import MessageData, Subscriptions

_NO_METADATA = encode_value({})


def store_reader(session: Session) -> StoreReader:
    """Return the reader of the documents of all stores, which is cached in the session."""
    return StoreReader(session.log, session.runner, session.projection(Stores))


def _store_writer(session: Session) -> StoreWriter:
    return StoreWriter(session.log, session.shared(store_reader), session.clock, session.new_id)


class EngineStoreRepo(ExecutionStoreRepo):
    """Keeps execution stores in an engine. Every change is an event in its log.

    Parameters
    ----------
    engine : Engine or Session, optional
        The engine, by default the current one. An engine of the past is read-only.
    dataset_id : str, UUID or object id, optional
        Dataset id of its stores.
    collection_name : str, optional
        A separate key space.

    Raises
    ------
    UsageError
        There is no current engine.
    TypeError, ValueError
        The dataset id or the name is invalid.
    """

    def __init__(
        self,
        engine: HasSession | Session | None = None,
        dataset_id: Any = None,
        collection_name: str | None = None,
    ) -> None:
        self.context = check_dataset_id(dataset_id)
        self.dataset_id = dataset_id
        self.collection_name = (
            DEFAULT_COLLECTION if collection_name is None else check_name(collection_name, "collection_name")
        )
        self.session = session_of(engine)
        self._reader = self.session.shared(store_reader)

    @property
    def _writer(self) -> StoreWriter:
        """The writer of stores. Raises `UsageError` in the past."""
        self.session.require_present()
        return self.session.shared(_store_writer)

    def __reduce__(self) -> tuple[Any, ...]:
        return EngineStoreRepo, (self.session, self.dataset_id, self.collection_name)

    def __repr__(self) -> str:
        context = "" if self.dataset_id is None else f", dataset_id={self.dataset_id!r}"
        return f"EngineStoreRepo({self.session!r}{context}, collection_name={self.collection_name!r})"

    def create_store(
        self,
        store_name: str,
        metadata: dict[str, Any] | None = None,
        policy: str = KeyPolicy.PERSIST,
        *,
        command_id: str | None = None,
    ) -> StoreDocument:
        """Create a store, or attach metadata to one that only has keys.

        Raises `ConflictError`, which is a `ValueError`, if it was created before.
        """
        store, policy = self._store(store_name), check_policy(policy)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise InvalidTypeError(f"metadata must be a dict, not {shorten(metadata)}")
        value = encode_value({} if metadata is None else metadata)
        made = self._writer.create(store, value, policy, command_id)
        return self._store_document(store, made, self.dataset_id)

    def get_store(self, store_name: str) -> StoreDocument | None:
        """Return a store, or None if it does not exist. A store that only has keys has empty metadata."""
        return self._find_store(self._store(store_name))

    def has_store(self, store_name: str) -> bool:
        """Whether a store exists."""
        return self._count(self._store(store_name)) > 0

    def list_stores(self) -> list[str]:
        """Return the names of the stores of this dataset id, sorted."""
        return [store.name for store in self._stores()]

    def count_stores(self) -> int:
        """Return the number of stores of this dataset id."""
        return len(self._stores())

    def delete_store(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete a store with its keys, and return the number of deleted documents; 0 if it does not exist."""
        return self._writer.drop([self._store(store_name)], command_id)

    def cleanup(self) -> int:
        """Delete all stores of this dataset id, and return the number of deleted documents."""
        return self._writer.drop(self._known())

    def clear_cache(self, store_name: str | None = None) -> int:
        """Delete the documents of one store, or of all of this dataset id, that may be evicted or have a time to live.

        Returns their number.
        """
        writer = self._writer
        stores = self._known(cached=True) if store_name is None else [self._store(store_name)]
        return writer.clear_cache(stores) if stores else 0

    def set_key(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        policy: str = KeyPolicy.PERSIST,
        *,
        command_id: str | None = None,
    ) -> KeyDocument:
        """Set a key. With a time to live it may be evicted, whatever the policy."""
        store, key = self._store(store_name), check_user_key(key)
        ttl, policy = check_ttl(ttl), check_policy(policy)
        encoded = encode_value(value)
        made = self._writer.set(store, key, encoded, ttl, policy, command_id)
        return self._key_document(store, key, made)

    def put(self, store_name: str, key: str, value: Any, ttl: float | None, policy: str) -> None:
        """Set a key without returning its document."""
        store, key = self._store(store_name), check_user_key(key)
        ttl, policy = check_ttl(ttl), check_policy(policy)
        self._writer.set(store, key, encode_value(value), ttl, policy)

    def set_key_if_absent(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        policy: str = KeyPolicy.PERSIST,
        *,
        command_id: str | None = None,
    ) -> bool:
        """Set a key unless it exists. Return whether it was set."""
        store, key = self._store(store_name), check_user_key(key)
        ttl, policy = check_ttl(ttl), check_policy(policy)
        return self._writer.set_if_absent(store, key, encode_value(value), ttl, policy, command_id)

    def compare_and_set_key(
        self,
        store_name: str,
        key: str,
        expected: Any,
        value: Any,
        ttl: float | None = None,
        policy: str | None = None,
        *,
        command_id: str | None = None,
    ) -> bool:
        """Set a key if its value is `expected`. Without `ttl` and `policy`, its expiry and policy stay."""
        store, key, ttl = self._store(store_name), check_user_key(key), check_ttl(ttl)
        policy = None if policy is None else check_policy(policy)
        values = _encoded("expected", expected), encode_value(value)
        return self._writer.compare_and_set(store, key, *values, ttl, policy, command_id)

    def set_many(
        self,
        store_name: str,
        values: Mapping[str, Any],
        ttl: float | None = None,
        policy: str = KeyPolicy.PERSIST,
        *,
        command_id: str | None = None,
    ) -> None:
        """Set many keys. If one is invalid, none is set.

        They are recorded in parts of up to 10,000. Repeated with the same command id, keys, values and order, the call
        records nothing twice and completes what was left.
        """
        store, ttl, policy = self._store(store_name), check_ttl(ttl), check_policy(policy)
        if not isinstance(values, Mapping):
            raise InvalidTypeError(f"set_many takes a mapping of keys to values, not {shorten(values)}")
        encoded = [
            (check_user_key(key), _encoded(f"key {shorten(key)}", value)) for key, value in values.items()
        ]
        self._writer.set_many(store, encoded, ttl, policy, command_id)

    def get_key(self, store_name: str, key: str) -> KeyDocument | None:
        """Return a key, or None if it does not exist."""
        store, key = self._store(store_name), check_text(key, "key")
        found = self._alive(store, key)
        return None if found is None else self._key_document(store, key, found)

    def get_value(self, store_name: str, key: str) -> Any:
        """Return the value of a key, or None if it does not exist."""
        found = self._alive(self._store(store_name), check_text(key, "key"))
        return None if found is None else decode_value(found.value, found.position)

    def has_key(self, store_name: str, key: str) -> bool:
        """Whether a key exists."""
        return self._alive(self._store(store_name), check_text(key, "key")) is not None

    def delete_key(self, store_name: str, key: str, *, command_id: str | None = None) -> bool:
        """Delete a key. Return False if it does not exist."""
        return self._writer.delete(self._store(store_name), check_user_key(key), command_id)

    def update_ttl(
        self, store_name: str, key: str, ttl: float | None, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Set when a key expires, or None to remove the expiry. Its policy stays. Return the key, or None if missing."""
        store, key, ttl = self._store(store_name), check_user_key(key), check_ttl(ttl)
        made = self._writer.update_ttl(store, key, ttl, command_id)
        return None if made is None else self._key_document(store, key, made)

    def update_policy(
        self, store_name: str, key: str, policy: str, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Set whether a key may be evicted. Return the key, or None if it does not exist."""
        store, key, policy = self._store(store_name), check_user_key(key), check_policy(policy)
        made = self._writer.update_policy(store, key, policy, command_id)
        return None if made is None else self._key_document(store, key, made)

    def list_keys(self, store_name: str) -> list[str]:
        """Return the keys of a store, oldest first. Keys created at the same time are sorted."""
        store = self._store(store_name)
        with self._reader.listing() as connection:
            found = self._reader.tables.listed(connection, store, self.session.now())
        return [key for key in found if key != STORE_KEY]

    def count_keys(self, store_name: str) -> int:
        """Return the number of keys of a store."""
        return self._count(self._store(store_name), own=False)

    def clear(self, store_name: str, *, command_id: str | None = None) -> None:
        """Delete all keys of a store. The store and its metadata stay."""
        self._writer.clear(self._store(store_name), command_id)

    def subscribe(self, store_name: str, callback: Callable[[MessageData], None]) -> str:
        """Call `callback` with each key of a store, then with each change. Return the id of the subscription."""
        store = self._store(store_name)
        self.session.require_present()
        return self.session.shared(Subscriptions).add(store, self._reader, callback)

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription. Return False if it does not exist."""
        return self.session.shared(Subscriptions).remove(subscription_id)

    def has_store_global(self, store_name: str) -> bool:
        """Whether a store of this name exists for any dataset id."""
        return bool(self._stores(everywhere=True, name=check_name(store_name, "store_name")))

    def list_stores_global(self) -> list[StoreDocument]:
        """Return the stores of all dataset ids.

        Their dataset ids are text that equals the id that was given; those of 24 hex digits are an ObjectId if `bson` is
        installed.
        """
        found = self._reader.described(self.collection_name, self.session.now())
        return [
            self._store_document(
                store,
                _implied(document) if isinstance(document, int) else document,
                dataset_id_of(store.dataset_id),
            )
            for store, document in found
        ]

    def count_stores_global(self) -> int:
        """Return the number of stores of all dataset ids."""
        return len(self._stores(everywhere=True))

    def delete_store_global(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete the stores of this name of all dataset ids, and return the number of deleted documents."""
        return self._writer.drop(
            self._known(everywhere=True, name=check_name(store_name, "store_name")), command_id
        )

    def _store(self, store_name: object) -> StoreId:
        return store_id(self.collection_name, check_name(store_name, "store_name"), self.context)

    def _alive(self, store: StoreId, key: str) -> Document | None:
        found = self._reader.get(store, key)
        return found if found is not None and found.is_alive(self.session.now()) else None

    def _count(self, store: StoreId, *, own: bool = True) -> int:
        with self._reader.listing() as connection:
            return self._reader.tables.count(connection, store, self.session.now(), own=own)

    def _stores(self, *, everywhere: bool = False, name: str | None = None) -> list[StoreId]:
        """Return the existing stores."""
        return self._known(everywhere=everywhere, name=name, now=self.session.now())

    def _known(
        self,
        *,
        everywhere: bool = False,
        name: str | None = None,
        now: int | None = None,
        cached: bool = False,
    ) -> list[StoreId]:
        """Return the stores that ever existed. `now`: those that exist then. `cached`: those with documents to evict."""
        return self._reader.stores(
            self.collection_name,
            dataset_id=self.context,
            everywhere=everywhere,
            name=name,
            now=now,
            cached=cached,
        )

    def _find_store(self, store: StoreId) -> StoreDocument | None:
        document = self._alive(store, STORE_KEY)
        if document is not None:
            return self._store_document(store, document, self.dataset_id)
        with self._reader.listing() as connection:
            since = self._reader.tables.since(connection, store, self.session.now())
        return None if since is None else self._store_document(store, _implied(since), self.dataset_id)

    def _key_document(self, store: StoreId, key: str, document: Document) -> KeyDocument:
        return KeyDocument(
            store.name,
            key,
            decode_value(document.value, document.position),
            **_facts(store, key, document),
            dataset_id=self.dataset_id,
        )

    @staticmethod
    def _store_document(store: StoreId, document: Document, dataset_id: Any) -> StoreDocument:
        value = decode_value(document.value, document.position)
        return StoreDocument(
            store.name, value=value, **_facts(store, STORE_KEY, document), dataset_id=dataset_id
        )


def _facts(store: StoreId, key: str, document: Document) -> dict[str, Any]:
    expires_at = document.expires_at
    return {
        "_id": document_id(store, key),
        "created_at": utc(document.created_at),
        "updated_at": utc(document.updated_at),
        "expires_at": None if expires_at is None else utc(expires_at),
        "policy": shown_policy(document),
    }


def shown_policy(document: Document) -> KeyPolicy:
    """Return the policy of a document: while it expires, it may be evicted."""
    return policy_of(document.policy) if document.expires_at is None else KeyPolicy.EVICT


def _implied(since: int) -> Document:
    """Return the document of a store that only has keys."""
    return Document(_NO_METADATA, since, since, None, KeyPolicy.PERSIST.value, 0)


def document_id(store: StoreId, key: str) -> str:
    """Return the stable id of a document, 32 hex digits."""
    return blake3(store.digest + key.encode()).hexdigest(length=16)


def _encoded(what: str, value: Any) -> bytes:
    try:
        return encode_value(value)
    except (InvalidTypeError, InvalidValueError) as error:
        raise type(error)(f"{what}: {error}") from None
