"""`ExecutionStoreService`: stores and keys in one context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...engine.errors import InvalidValueError
from ...engine.events.stores import PERSIST
from ...engine.stores.names import check_dataset_id
from .documents import KeyDocument, KeyPolicy, StoreDocument
from .engine_repo import EngineStoreRepo
from .repo import ExecutionStoreRepo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .history import KeyChange


class ExecutionStoreService:
    """Stores and keys in one context: those of a dataset, or those of none; the global methods see all contexts.

    Parameters
    ----------
    repo : ExecutionStoreRepo, optional
        What keeps the documents; by default the current engine.
    dataset_id : str, UUID or object id, optional
        The context.
    collection_name : str, optional
        A key space of its own; without meaning where a repo is given.

    Raises
    ------
    UsageError
        There is no repo and no current engine.
    ValueError
        The repo has another dataset id.
    """

    def __init__(
        self,
        repo: ExecutionStoreRepo | None = None,
        dataset_id: Any | None = None,
        collection_name: str | None = None,
    ) -> None:
        if repo is None:
            repo = EngineStoreRepo(None, dataset_id, collection_name)
        elif dataset_id is not None and check_dataset_id(dataset_id) != check_dataset_id(repo.dataset_id):
            raise InvalidValueError(
                f"the repo is of dataset {repo.dataset_id!r}, not {dataset_id!r}: leave dataset_id out"
            )
        self._repo = repo

    def __repr__(self) -> str:
        return f"ExecutionStoreService({self._repo!r})"

    @property
    def repo(self) -> ExecutionStoreRepo:
        """What keeps the documents (extension)."""
        return self._repo

    @property
    def dataset_id(self) -> Any | None:
        """The dataset id of the context, as it was given (extension)."""
        return self._repo.dataset_id

    def create_store(
        self,
        store_name: str,
        metadata: dict[str, Any] | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> StoreDocument:
        """Create a store.

        Parameters
        ----------
        store_name : str
            Its name.
        metadata : dict, optional
            What is kept with it.
        policy : {"persist", "evict"}
            Whether `clear_cache` removes the store's own document.
        command_id : str, optional
            Repeated with it, the command does nothing and answers as before (extension).

        Raises
        ------
        ConflictError
            The store exists; also a `ValueError`.
        """
        return self._repo.create_store(store_name, metadata, policy, command_id=command_id)

    def clear_cache(self, store_name: str | None = None) -> None:
        """Remove what has the policy ``"evict"`` or a time to live, of one store or of all in the context."""
        self._repo.clear_cache(store_name)

    def get_store(self, store_name: str) -> StoreDocument | None:
        """Return a store, None when it is missing; one that was never created but has keys has empty metadata."""
        return self._repo.get_store(store_name)

    def list_stores(self) -> list[str]:
        """Return the names of the stores of the context, sorted."""
        return self._repo.list_stores()

    def count_stores(self) -> int:
        """Return the number of stores of the context."""
        return self._repo.count_stores()

    def has_store(self, store_name: str) -> bool:
        """Say whether a store exists in the context."""
        return self._repo.has_store(store_name)

    def delete_store(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete a store with all its keys.

        Returns
        -------
        int
            The number of documents removed, the store's own included; 0 when it is missing.
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
        """Set a key; the store need not be created first.

        Parameters
        ----------
        store_name : str
            The store.
        key : str
            Any Unicode except NUL.
        value : object
            Anything JSON-like, bytes, datetime and UUID included; at most 16 MB when encoded.
        ttl : float, optional
            Seconds from now until it does not exist any more; none clears an expiry that the key had.
        policy : {"persist", "evict"}
            Whether it may be evicted; with a `ttl` it may.
        command_id : str, optional
            Repeated with it, the command does nothing and answers as before (extension).

        Returns
        -------
        KeyDocument
            What was stored.

        Raises
        ------
        TypeError
            The value holds something of another type; the message names the place.
        ValueError
            The key, the time or the policy is refused, or the value is too large.
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
        """Set a key that may be evicted."""
        return self._repo.set_key(store_name, key, value, ttl, KeyPolicy.EVICT, command_id=command_id)

    def set_many(
        self,
        store_name: str,
        values: Mapping[str, Any],
        ttl: float | None = None,
        policy: str = PERSIST,
        *,
        command_id: str | None = None,
    ) -> None:
        """Set many keys, none of them when one is refused (extension).

        They are recorded in parts of up to 10,000. A command that was interrupted finishes what was left when it is
        called again with the same id, keys and values.
        """
        self._repo.set_many(store_name, values, ttl, policy, command_id=command_id)

    def has_key(self, store_name: str, key: str) -> bool:
        """Say whether a key exists."""
        return self._repo.has_key(store_name, key)

    def get_key(self, store_name: str, key: str) -> KeyDocument | None:
        """Return a key, None when it is missing."""
        return self._repo.get_key(store_name, key)

    def delete_key(self, store_name: str, key: str, *, command_id: str | None = None) -> bool:
        """Delete a key; False when it is missing."""
        return self._repo.delete_key(store_name, key, command_id=command_id)

    def update_ttl(
        self, store_name: str, key: str, new_ttl: float | None, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Change when a key expires, seconds from now; None clears the expiry and leaves the policy.

        Returns
        -------
        KeyDocument or None
            None when the key is missing.
        """
        return self._repo.update_ttl(store_name, key, new_ttl, command_id=command_id)

    def update_policy(
        self, store_name: str, key: str, policy: str, *, command_id: str | None = None
    ) -> KeyDocument | None:
        """Change whether a key may be evicted; its expiry stays (extension).

        Returns
        -------
        KeyDocument or None
            None when the key is missing.
        """
        return self._repo.update_policy(store_name, key, policy, command_id=command_id)

    def list_keys(self, store_name: str) -> list[str]:
        """Return the keys of a store, oldest first; those of one moment are sorted."""
        return self._repo.list_keys(store_name)

    def count_keys(self, store_name: str) -> int:
        """Return the number of keys of a store."""
        return self._repo.count_keys(store_name)

    def clear(self, store_name: str, *, command_id: str | None = None) -> None:
        """Delete all keys of a store; the store and its metadata stay (extension)."""
        self._repo.clear(store_name, command_id=command_id)

    def cleanup(self) -> None:
        """Delete all stores of the context."""
        self._repo.cleanup()

    def has_store_global(self, store_name: str) -> bool:
        """Say whether a store of the name exists in any context."""
        return self._repo.has_store_global(store_name)

    def list_stores_global(self) -> list[StoreDocument]:
        """Return the stores of all contexts, one for each name and dataset id."""
        return self._repo.list_stores_global()

    def count_stores_global(self) -> int:
        """Return the number of stores of all contexts."""
        return self._repo.count_stores_global()

    def delete_store_global(self, store_name: str, *, command_id: str | None = None) -> int:
        """Delete the stores of a name in all contexts; returns the number of documents removed."""
        return self._repo.delete_store_global(store_name, command_id=command_id)

    def history(self, store_name: str, key: str | None = None) -> Iterator[KeyChange]:
        """Yield each change of a store, or of one of its keys, oldest first (extension).

        What was deleted has its history, too.

        Raises
        ------
        UsageError
            The repo is not of an engine.
        """
        from .history import key_history

        return key_history(self._repo, store_name, key)
