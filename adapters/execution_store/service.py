"""`ExecutionStoreService`: the stores and keys of one dataset id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.stores import PERSIST
from ...engine.stores.names import check_dataset_id
from ...engine.validation import KnownAttributes, shorten
from .documents import KeyDocument, KeyPolicy, StoreDocument
from .engine_repo import EngineStoreRepo
from .foreign_repo import ForeignRepo
from .repo import ExecutionStoreRepo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .history import KeyChange
    from .subscriptions import MessageData


class ExecutionStoreService(KnownAttributes):
    """The stores and keys of one dataset, or of no dataset. The global methods access all of them.

    Methods and parameters that are marked (extension) are not part of FiftyOne's API.

    Parameters
    ----------
    repo : ExecutionStoreRepo, optional
        Storage backend, by default the current engine. It may be an object with the methods of an `ExecutionStoreRepo`, such
        as a repository of FiftyOne: keyword arguments that it does not know are not sent to it.
    dataset_id : str, UUID or object id, optional
        Dataset id of the stores.
    collection_name : str, optional
        A separate key space. Ignored if `repo` is given.

    Raises
    ------
    UsageError
        There is no repo and no current engine.
    TypeError
        `repo` lacks the methods of an `ExecutionStoreRepo`.
    ValueError
        The repo has a different dataset id.
    """

    def __init__(
        self,
        repo: ExecutionStoreRepo | None = None,
        dataset_id: Any | None = None,
        collection_name: str | None = None,
    ) -> None:
        if repo is None:
            repo = EngineStoreRepo(None, dataset_id, collection_name)
        elif not hasattr(repo, "set_key"):
            raise InvalidTypeError(
                f"repo must be an ExecutionStoreRepo, not {shorten(repo)}; for an engine pass EngineStoreRepo(engine)"
            )
        elif not isinstance(repo, ExecutionStoreRepo):
            repo = cast("ExecutionStoreRepo", ForeignRepo(repo))
        if dataset_id is not None and check_dataset_id(dataset_id) != check_dataset_id(repo.dataset_id):
            raise InvalidValueError(
                f"the repo has the dataset id {repo.dataset_id!r}, not {dataset_id!r}: do not pass dataset_id"
            )
        self._repo = repo

    def __repr__(self) -> str:
        return f"ExecutionStoreService({self._repo!r})"

    @property
    def repo(self) -> ExecutionStoreRepo:
        """The storage backend (extension)."""
        return self._repo.repo if isinstance(self._repo, ForeignRepo) else self._repo

    @property
    def dataset_id(self) -> Any | None:
        """The dataset id, as it was passed (extension)."""
        return self._repo.dataset_id

    def create_store(
        self,
        store_name: str,
        metadata: dict[str, Any] | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> StoreDocument:
        """Create a store, or attach metadata to one that only has keys.

        Parameters
        ----------
        store_name : str
            Name of the store.
        metadata : dict, optional
            Metadata of the store.
        policy : {"persist", "evict"}
            Whether `clear_cache` deletes the store's own document.
        command_id : str, optional
            Idempotency key: repeated with it, the call does nothing and returns the same (extension).

        Returns
        -------
        StoreDocument
            The store.

        Raises
        ------
        ConflictError
            The store was created before. This is also a `ValueError`.
        TypeError, ValueError
            An argument is invalid.
        """
        return self._repo.create_store(store_name, metadata, policy, command_id=command_id)

    def clear_cache(self, store_name: str | None = None) -> None:
        """Delete the documents with the policy ``"evict"`` or a time to live.

        Parameters
        ----------
        store_name : str, optional
            Only in this store. By default in all stores of this dataset id.
        """
        self._repo.clear_cache(store_name)

    def get_store(self, store_name: str) -> StoreDocument | None:
        """Return a store, or None if it does not exist. A store that only has keys has empty metadata."""
        return self._repo.get_store(store_name)

    def list_stores(self) -> list[str]:
        """Return the names of the stores of this dataset id, sorted."""
        return self._repo.list_stores()

    def count_stores(self) -> int:
        """Return the number of stores of this dataset id."""
        return self._repo.count_stores()

    def has_store(self, store_name: str) -> bool:
        """Whether a store exists for this dataset id."""
        return self._repo.has_store(store_name)

    def delete_store(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete a store with all its keys.

        Parameters
        ----------
        store_name : str
            Name of the store.
        command_id : str, optional
            Idempotency key: repeated with it, the call does nothing and returns the same (extension).

        Returns
        -------
        int
            Number of deleted documents, including the store's own; 0 if the store does not exist.
        """
        return self._repo.delete_store(store_name, command_id=command_id)

    def set_key(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> KeyDocument:
        """Set a key. The store does not have to be created first.

        Parameters
        ----------
        store_name : str
            Name of the store.
        key : str
            The key, any string without NUL.
        value : object
            A JSON-like value, which may contain bytes, datetimes, UUIDs and ObjectIds; at most 16 MB when encoded.
        ttl : float, optional
            Seconds until the key expires. None removes an existing expiry.
        policy : {"persist", "evict"}
            Whether the key may be evicted. With a `ttl` it always may.
        command_id : str, optional
            Idempotency key: repeated with it, the call does nothing and returns the same (extension).

        Returns
        -------
        KeyDocument
            The stored key.

        Raises
        ------
        TypeError
            The value contains an unsupported type. The message gives its path.
        ValueError
            The key, `ttl` or policy is invalid, or the value is too large.
        ConflictError
            `command_id` was used before with other arguments.
        """
        return self._repo.set_key(store_name, key, value, ttl, policy, command_id=command_id)

    def set_cache_key(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        command_id: str | None = None,
    ) -> KeyDocument:
        """Set a key that may be evicted; the parameters are those of `set_key`."""
        return self._repo.set_key(store_name, key, value, ttl, KeyPolicy.EVICT, command_id=command_id)

    def set_key_if_absent(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> bool:
        """Set a key unless it exists, atomically between processes. The parameters are those of `set_key`.

        Returns
        -------
        bool
            Whether the key was set.
        """
        return self._repo.set_key_if_absent(store_name, key, value, ttl, policy, command_id=command_id)

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
        """Set a key if it has an expected value, atomically between processes.

        The other parameters are those of `set_key`. Without `ttl` and `policy`, the expiry and the policy of the key stay.

        Parameters
        ----------
        expected : object
            The value to replace. Values are compared with ``==``, as they are read; NaN equals NaN.

        Returns
        -------
        bool
            Whether the key was set; False if it does not exist.
        """
        return self._repo.compare_and_set_key(
            store_name, key, expected, value, ttl, policy, command_id=command_id
        )

    def set_many(
        self,
        store_name: str,
        values: Mapping[str, Any],
        ttl: float | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> None:
        """Set many keys. If one is invalid, none is set (extension).

        They are recorded in parts of up to 10,000. Repeated with the same command id, keys and values, the call records
        nothing twice and completes what was left. The parameters are those of `set_key`, except for `values`.

        Parameters
        ----------
        values : mapping of str to object
            Values by key.
        """
        self._repo.set_many(store_name, values, ttl, policy, command_id=command_id)

    def has_key(self, store_name: str, key: str) -> bool:
        """Whether a key exists."""
        return self._repo.has_key(store_name, key)

    def get_key(self, store_name: str, key: str) -> KeyDocument | None:
        """Return a key, or None if it does not exist."""
        return self._repo.get_key(store_name, key)

    def delete_key(self, store_name: str, key: str, *, command_id: str | None = None) -> bool:
        """Delete a key. Return False if it does not exist."""
        return self._repo.delete_key(store_name, key, command_id=command_id)

    def update_ttl(
        self, store_name: str, key: str, new_ttl: float | None, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Set in how many seconds a key expires. None removes the expiry. The policy that was set stays.

        Returns
        -------
        KeyDocument or None
            The key, or None if it does not exist.
        """
        return self._repo.update_ttl(store_name, key, new_ttl, command_id=command_id)

    def update_policy(
        self, store_name: str, key: str, policy: str, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Set whether a key may be evicted. Its expiry stays (extension).

        Returns
        -------
        KeyDocument or None
            The key, or None if it does not exist.
        """
        return self._repo.update_policy(store_name, key, policy, command_id=command_id)

    def list_keys(self, store_name: str) -> list[str]:
        """Return the keys of a store, oldest first. Keys created at the same time are sorted."""
        return self._repo.list_keys(store_name)

    def count_keys(self, store_name: str) -> int:
        """Return the number of keys of a store."""
        return self._repo.count_keys(store_name)

    def clear(self, store_name: str, *, command_id: str | None = None) -> None:
        """Delete all keys of a store. The store and its metadata stay (extension)."""
        self._repo.clear(store_name, command_id=command_id)

    def cleanup(self) -> None:
        """Delete all stores of this dataset id."""
        self._repo.cleanup()

    def has_store_global(self, store_name: str) -> bool:
        """Whether a store of this name exists for any dataset id."""
        return self._repo.has_store_global(store_name)

    def list_stores_global(self) -> list[StoreDocument]:
        """Return the stores of all dataset ids.

        Each `dataset_id` is text that equals the id that was given; those of 24 hex digits are an ObjectId if `bson` is
        installed.
        """
        return self._repo.list_stores_global()

    def count_stores_global(self) -> int:
        """Return the number of stores of all dataset ids."""
        return self._repo.count_stores_global()

    def delete_store_global(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete the stores of this name of all dataset ids, and return the number of deleted documents."""
        return self._repo.delete_store_global(store_name, command_id=command_id)

    def subscribe(self, store_name: str, callback: Callable[[MessageData], None]) -> str:
        """Call a function with each key of a store, then with each change by any process.

        It is called in a thread of the subscription. An error that it raises is logged and ends the subscription.

        Parameters
        ----------
        store_name : str
            Name of the store. It need not exist.
        callback : callable
            Takes a `MessageData`.

        Returns
        -------
        str
            Id of the subscription, for `unsubscribe`.
        """
        return self._repo.subscribe(store_name, callback)

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription. Return False if it does not exist."""
        return self._repo.unsubscribe(subscription_id)

    def history(self, store_name: str, key: str | None = None) -> Iterator[KeyChange]:
        """Yield the changes of a store, or of one of its keys, oldest first (extension).

        Parameters
        ----------
        store_name : str
            Name of the store. It may be deleted.
        key : str, optional
            Only changes of this key, which may be deleted.

        Raises
        ------
        UsageError
            The storage backend is not an engine.
        """
        from .history import key_history

        return key_history(self._repo, store_name, key)
