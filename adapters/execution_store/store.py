"""`ExecutionStore`: one key-value store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...engine.errors import FramelodeError
from ...engine.events.stores import PERSIST
from ...engine.stores.names import check_name
from ...engine.validation import KnownAttributes
from .documents import KeyPolicy, policy_of
from .engine_repo import EngineStoreRepo
from .service import ExecutionStoreService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .history import KeyChange
    from .subscriptions import MessageData

_SHOWN_KEYS = 20


def _aware(time: datetime | None) -> datetime | None:
    """Return a time in UTC. Repositories of other systems have naive ones."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


class ExecutionStore(KnownAttributes):
    """A key-value store.

    Methods and parameters that are marked (extension) are not part of FiftyOne's API.

    Parameters
    ----------
    store_name : str
        Name of the store. It exists once it has a key.
    store_service : ExecutionStoreService
        The service that it reads and writes through.
    default_policy : {"persist", "evict"}
        Policy of keys that are set without one.

    Raises
    ------
    ValueError
        The name is empty or the policy is invalid.
    """

    store_name: str

    def __init__(
        self, store_name: str, store_service: ExecutionStoreService, default_policy: str = PERSIST
    ) -> None:
        self.store_name = check_name(store_name, "store_name")
        self._service = store_service
        self._default_policy = policy_of(default_policy)
        repo = store_service.repo
        # No documents are returned here, so none are created.
        self._engine_repo = repo if isinstance(repo, EngineStoreRepo) else None

    @staticmethod
    def create(
        store_name: str,
        dataset_id: Any | None = None,
        default_policy: str = PERSIST,
        collection_name: str | None = None,
    ) -> ExecutionStore:
        """Return a store of the current engine. Nothing is recorded until a key is set.

        Parameters
        ----------
        store_name : str
            Name of the store.
        dataset_id : str, UUID or object id, optional
            Dataset id of the store.
        default_policy : {"persist", "evict"}
            Policy of keys that are set without one.
        collection_name : str, optional
            A separate key space.

        Raises
        ------
        UsageError
            There is no current engine.
        TypeError, ValueError
            An argument is invalid.
        """
        service = ExecutionStoreService(dataset_id=dataset_id, collection_name=collection_name)
        return ExecutionStore(store_name, service, default_policy)

    @property
    def default_policy(self) -> KeyPolicy:
        """Policy of keys that are set without one (extension)."""
        return self._default_policy

    @property
    def service(self) -> ExecutionStoreService:
        """The service that it reads and writes through (extension)."""
        return self._service

    def list_stores(self) -> list[str]:
        """Return the names of the stores of this dataset id, sorted."""
        return self._service.list_stores()

    def get(self, key: str) -> Any:
        """Return the value of a key, or None if it does not exist."""
        if self._engine_repo is not None:
            return self._engine_repo.get_value(self.store_name, key)
        found = self._service.get_key(self.store_name, key)
        return None if found is None else found.value

    def set(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        policy: str | None = None,
    ) -> None:
        """Set a key. The errors are those of `ExecutionStoreService.set_key`.

        Parameters
        ----------
        key : str
            The key, any string without NUL.
        value : object
            A JSON-like value, which may contain bytes, datetimes, UUIDs and ObjectIds; at most 16 MB when encoded.
        ttl : float, optional
            Seconds until the key expires. None removes an existing expiry.
        policy : {"persist", "evict"}, optional
            Whether the key may be evicted, by default `default_policy`. With a `ttl` it always may.
        """
        chosen = self._default_policy if policy is None else policy
        if self._engine_repo is not None:
            self._engine_repo.put(self.store_name, key, value, ttl, chosen)
        else:
            self._service.set_key(self.store_name, key, value, ttl, chosen)

    def set_cache(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Set a key that may be evicted; the parameters are those of `set`."""
        self.set(key, value, ttl, KeyPolicy.EVICT)

    def set_if_absent(
        self, key: str, value: Any, ttl: float | None = None, policy: str | None = None
    ) -> bool:
        """Set a key unless it exists, atomically between processes; the parameters are those of `set`.

        Returns whether the key was set.
        """
        chosen = self._default_policy if policy is None else policy
        return self._service.set_key_if_absent(self.store_name, key, value, ttl, chosen)

    def compare_and_set(
        self,
        key: str,
        expected: Any,
        value: Any,
        ttl: float | None = None,
        policy: str | None = None,
    ) -> bool:
        """Set a key if its value equals `expected`, atomically between processes.

        Without `ttl` and `policy`, the expiry and the policy of the key stay. Returns whether the key was set.
        """
        return self._service.compare_and_set_key(self.store_name, key, expected, value, ttl, policy)

    def set_many(
        self,
        values: Mapping[str, Any],
        ttl: float | None = None,
        policy: str | None = None,
        *,
        command_id: str | None = None,
    ) -> None:
        """Set many keys. If one is invalid, none is set (extension); see `ExecutionStoreService.set_many`."""
        chosen = self._default_policy if policy is None else policy
        self._service.set_many(self.store_name, values, ttl, chosen, command_id=command_id)

    def delete(self, key: str) -> bool:
        """Delete a key. Return False if it does not exist."""
        return self._service.delete_key(self.store_name, key)

    def has(self, key: str) -> bool:
        """Whether a key exists, even if its value is None."""
        return self._service.has_key(self.store_name, key)

    def clear(self) -> None:
        """Delete all keys. The store and its metadata stay."""
        self._service.clear(self.store_name)

    def clear_cache(self) -> None:
        """Delete the keys that may be evicted."""
        self._service.clear_cache(self.store_name)

    def update_ttl(self, key: str, new_ttl: float | None) -> None:
        """Set in how many seconds a key expires. None removes the expiry."""
        self._service.update_ttl(self.store_name, key, new_ttl)

    def update_policy(self, key: str, policy: str) -> None:
        """Set whether a key may be evicted."""
        self._service.update_policy(self.store_name, key, policy)

    def get_metadata(self, key: str) -> dict[str, Any] | None:
        """Return when a key was created, last set and expires, and its policy; None if it does not exist."""
        found = self._service.get_key(self.store_name, key)
        if found is None:
            return None
        return {
            "created_at": _aware(found.created_at),
            "updated_at": _aware(found.updated_at),
            "expires_at": _aware(found.expires_at),
            "policy": found.policy,
        }

    def list_keys(self) -> list[str]:
        """Return the keys, oldest first. Keys created at the same time are sorted."""
        return self._service.list_keys(self.store_name)

    def subscribe(self, callback: Callable[[MessageData], None]) -> str:
        """Call a function with each key, then with each change by any process; see `ExecutionStoreService.subscribe`."""
        return self._service.subscribe(self.store_name, callback)

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription. Return False if it does not exist."""
        return self._service.unsubscribe(subscription_id)

    def history(self, key: str | None = None) -> Iterator[KeyChange]:
        """Yield the changes of the store, or of one of its keys, oldest first (extension)."""
        return self._service.history(self.store_name, key)

    def __repr__(self) -> str:
        context = self._service.dataset_id
        shown = "" if context is None else f", dataset_id={str(context)!r}"
        return f"ExecutionStore({self.store_name!r}{shown}, default_policy={self._default_policy.value!r})"

    def _repr_html_(self) -> str:
        from ..display.html import card, pairs, plain, remark, table, title

        try:
            names = self.list_keys()
            shown = [self._service.get_key(self.store_name, name) for name in names[:_SHOWN_KEYS]]
        except FramelodeError as error:
            return card(title(repr(self)), remark(error))
        rows = [
            (
                one.key,
                one.policy.value,
                f"{one.expires_at:%Y-%m-%d %H:%M:%S}" if one.expires_at else "",
                plain(one.value),
            )
            for one in shown
            if one is not None
        ]
        context = self._service.dataset_id
        facts = pairs([("dataset", None if context is None else str(context)), ("keys", f"{len(names):,}")])
        listed = table(("key", "policy", "expires", "value"), rows, len(names))
        return card(title(self.store_name, "store"), facts, listed)
