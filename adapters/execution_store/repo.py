"""The interface of storage backends for execution stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...engine.errors import UsageError
from ...engine.events.stores import EVICT
from .documents import KeyDocument, StoreDocument

if TYPE_CHECKING:
    from .subscriptions import MessageData


def missing_method(repo: object, method: str) -> UsageError:
    """Return the error for a method that a repo does not have."""
    return UsageError(f"{repo!r} has no method {method}: use a repo that has it, such as EngineStoreRepo")


class ExecutionStoreRepo(ABC):
    """Keeps the stores of one dataset id. The global methods access the stores of all dataset ids.

    The names and positions of the parameters are those of FiftyOne's repositories, so that its service can use a repo, too.

    `ExecutionStoreService` passes its arguments on without checks. A repo validates them, and raises `TypeError` or
    `ValueError`. Every read evaluates expiry at the time of the call.

    Attributes
    ----------
    dataset_id : object or None
        Dataset id of the stores.
    """

    dataset_id: Any

    @abstractmethod
    def create_store(
        self, store_name: str, metadata: dict[str, Any] | None, policy: str, *, command_id: str | None
    ) -> StoreDocument:
        """Create a store, or attach metadata to one that only has keys. Raises `ValueError` if it was created before."""

    @abstractmethod
    def get_store(self, store_name: str) -> StoreDocument | None:
        """Return a store, or None if it does not exist. A store that only has keys has empty metadata."""

    @abstractmethod
    def has_store(self, store_name: str) -> bool:
        """Whether a store exists."""

    @abstractmethod
    def list_stores(self) -> list[str]:
        """Return the names of the stores of this dataset id."""

    @abstractmethod
    def count_stores(self) -> int:
        """Return the number of stores of this dataset id."""

    @abstractmethod
    def delete_store(self, store_name: str, *, command_id: str | None) -> int:
        """Delete a store with its keys, and return the number of deleted documents."""

    @abstractmethod
    def cleanup(self) -> int:
        """Delete all stores of this dataset id, and return the number of deleted documents."""

    @abstractmethod
    def clear_cache(self, store_name: str | None) -> int:
        """Delete the documents of one store, or of all of this dataset id, that may be evicted. Return their number."""

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
        """Set a key. With a time to live it may be evicted, whatever the policy."""

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
        return self.set_key(store_name, key, value, ttl, EVICT, command_id=command_id)

    def set_key_if_absent(
        self,
        store_name: str,  # noqa: ARG002 - what implementations need
        key: str,  # noqa: ARG002
        value: Any,  # noqa: ARG002
        ttl: float | None,  # noqa: ARG002
        policy: str,  # noqa: ARG002
        *,
        command_id: str | None,  # noqa: ARG002
    ) -> bool:
        """Set a key unless it exists, atomically. Return whether it was set."""
        raise missing_method(self, "set_key_if_absent")

    def compare_and_set_key(
        self,
        store_name: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        expected: Any,  # noqa: ARG002
        value: Any,  # noqa: ARG002
        ttl: float | None,  # noqa: ARG002
        policy: str | None,  # noqa: ARG002
        *,
        command_id: str | None,  # noqa: ARG002
    ) -> bool:
        """Set a key if its value is `expected`, atomically. Without `ttl` and `policy`, its expiry and policy stay."""
        raise missing_method(self, "compare_and_set_key")

    def subscribe(self, store_name: str, callback: Callable[[MessageData], None]) -> str:  # noqa: ARG002
        """Call `callback` with each key of a store, then with each change. Return the id of the subscription."""
        raise missing_method(self, "subscribe")

    def unsubscribe(self, subscription_id: str) -> bool:  # noqa: ARG002
        """End a subscription. Return False if it does not exist."""
        raise missing_method(self, "unsubscribe")

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
        """Return a key, or None if it does not exist."""

    @abstractmethod
    def has_key(self, store_name: str, key: str) -> bool:
        """Whether a key exists."""

    @abstractmethod
    def delete_key(self, store_name: str, key: str, *, command_id: str | None) -> bool:
        """Delete a key. Return False if it does not exist."""

    @abstractmethod
    def update_ttl(
        self, store_name: str, key: str, ttl: float | None, *, command_id: str | None
    ) -> KeyDocument | None:
        """Set when a key expires, or None to remove the expiry. Return the key, or None if it does not exist."""

    @abstractmethod
    def update_policy(
        self, store_name: str, key: str, policy: str, *, command_id: str | None
    ) -> KeyDocument | None:
        """Set whether a key may be evicted. Return the key, or None if it does not exist."""

    @abstractmethod
    def list_keys(self, store_name: str) -> list[str]:
        """Return the keys of a store, oldest first."""

    @abstractmethod
    def count_keys(self, store_name: str) -> int:
        """Return the number of keys of a store."""

    @abstractmethod
    def clear(self, store_name: str, *, command_id: str | None) -> None:
        """Delete all keys of a store. The store and its metadata stay."""

    @abstractmethod
    def has_store_global(self, store_name: str) -> bool:
        """Whether a store of this name exists for any dataset id."""

    @abstractmethod
    def list_stores_global(self) -> list[StoreDocument]:
        """Return the stores of all dataset ids."""

    @abstractmethod
    def count_stores_global(self) -> int:
        """Return the number of stores of all dataset ids."""

    @abstractmethod
    def delete_store_global(self, store_name: str, *, command_id: str | None) -> int:
        """Delete the stores of this name of all dataset ids, and return the number of deleted documents."""
