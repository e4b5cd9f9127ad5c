"""The contract of whatever keeps the documents of execution stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from .documents import KeyDocument, StoreDocument


class ExecutionStoreRepo(ABC):
    """Keeps the documents of stores in one context, and sees those of all others for the global methods.

    `ExecutionStoreService` hands its arguments on as they were given: a repo checks them, and raises `TypeError`
    or `ValueError`. Every read judges expiry at the time of the call.

    Attributes
    ----------
    dataset_id : object or None
        The context: the dataset that stores belong to.
    """

    dataset_id: Any

    @abstractmethod
    def create_store(
        self, store_name: str, metadata: dict[str, Any] | None, policy: str, *, command_id: str | None
    ) -> StoreDocument:
        """Create a store; a `ValueError` when it exists."""

    @abstractmethod
    def get_store(self, store_name: str) -> StoreDocument | None:
        """Return a store, None when it is missing; one that only has keys has empty metadata."""

    @abstractmethod
    def has_store(self, store_name: str) -> bool:
        """Say whether a store exists."""

    @abstractmethod
    def list_stores(self) -> list[str]:
        """Return the names of the stores of the context."""

    @abstractmethod
    def count_stores(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def delete_store(self, store_name: str, *, command_id: str | None) -> int:
        """Delete a store with its documents; returns their number."""

    @abstractmethod
    def cleanup(self) -> int:
        """Delete all stores of the context; returns the number of their documents."""

    @abstractmethod
    def clear_cache(self, store_name: str | None) -> None:
        """Evict the documents of one store, or of all of the context, that may be evicted."""

    @abstractmethod
    def set_key(
        self,
        store_name: str,
        key: str,
        value: Any,
        ttl: float | None,
        policy: str,
        *,
        command_id: str | None,
    ) -> KeyDocument:
        """Set a key; with a time to live it may be evicted, whatever the policy."""

    @abstractmethod
    def set_many(
        self,
        store_name: str,
        values: Mapping[str, Any],
        ttl: float | None,
        policy: str,
        *,
        command_id: str | None,
    ) -> None:
        """Set many keys."""

    @abstractmethod
    def get_key(self, store_name: str, key: str) -> KeyDocument | None:
        """Return a key, None when it is missing."""

    @abstractmethod
    def has_key(self, store_name: str, key: str) -> bool:
        """Say whether a key exists."""

    @abstractmethod
    def delete_key(self, store_name: str, key: str, *, command_id: str | None) -> bool:
        """Delete a key; False when it is missing."""

    @abstractmethod
    def update_ttl(
        self, store_name: str, key: str, ttl: float | None, *, command_id: str | None
    ) -> KeyDocument | None:
        """Change when a key expires; None for never. Returns the key, None when it is missing."""

    @abstractmethod
    def update_policy(
        self, store_name: str, key: str, policy: str, *, command_id: str | None
    ) -> KeyDocument | None:
        """Change whether a key may be evicted. Returns the key, None when it is missing."""

    @abstractmethod
    def list_keys(self, store_name: str) -> list[str]:
        """Return the keys of a store, oldest first."""

    @abstractmethod
    def count_keys(self, store_name: str) -> int:
        """Return how many there are."""

    @abstractmethod
    def clear(self, store_name: str, *, command_id: str | None) -> None:
        """Delete all keys of a store; the store and its metadata stay."""

    @abstractmethod
    def has_store_global(self, store_name: str) -> bool:
        """Say whether a store of the name exists in any context."""

    @abstractmethod
    def list_stores_global(self) -> list[StoreDocument]:
        """Return the stores of all contexts, one for each name and dataset."""

    @abstractmethod
    def count_stores_global(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def delete_store_global(self, store_name: str, *, command_id: str | None) -> int:
        """Delete the stores of a name in all contexts; returns the number of their documents."""
