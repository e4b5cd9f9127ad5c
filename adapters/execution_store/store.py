"""`ExecutionStore`: one store, as a program uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...engine.errors import FramelodeError
from ...engine.events.stores import PERSIST
from ...engine.stores.names import check_name
from .documents import KeyPolicy, policy_of
from .engine_repo import EngineStoreRepo
from .service import ExecutionStoreService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .history import KeyChange

_SHOWN_KEYS = 20


class ExecutionStore:
    """A store of keys and values.

    Parameters
    ----------
    store_name : str
        Its name; it exists once it has a key.
    store_service : ExecutionStoreService
        What it reads and writes through.
    default_policy : {"persist", "evict"}
        The policy of keys that are set without one.

    Raises
    ------
    ValueError
        The name is empty or the policy is none.
    """

    def __init__(
        self, store_name: str, store_service: ExecutionStoreService, default_policy: str = PERSIST
    ) -> None:
        self.store_name = check_name(store_name, "store_name")
        self._service = store_service
        self._default_policy = policy_of(default_policy)
        repo = store_service.repo
        # Without documents, which nobody looks at here.
        self._engine_repo = repo if isinstance(repo, EngineStoreRepo) else None

    @staticmethod
    def create(
        store_name: str,
        dataset_id: Any | None = None,
        default_policy: str = PERSIST,
        collection_name: str | None = None,
    ) -> ExecutionStore:
        """Return a store of the current engine.

        Parameters
        ----------
        store_name : str
            Its name; nothing is recorded yet.
        dataset_id : str, UUID or object id, optional
            The dataset that it belongs to.
        default_policy : {"persist", "evict"}
            The policy of keys that are set without one.
        collection_name : str, optional
            A key space of its own.

        Raises
        ------
        UsageError
            There is no current engine.
        """
        service = ExecutionStoreService(dataset_id=dataset_id, collection_name=collection_name)
        return ExecutionStore(store_name, service, default_policy)

    @property
    def default_policy(self) -> KeyPolicy:
        """The policy of keys that are set without one (extension)."""
        return self._default_policy

    @property
    def service(self) -> ExecutionStoreService:
        """What it reads and writes through (extension)."""
        return self._service

    def list_stores(self) -> list[str]:
        """Return the names of the stores of the context, sorted."""
        return self._service.list_stores()

    def get(self, key: str) -> Any | None:
        """Return the value of a key, None when it is missing."""
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
        """Set a key.

        Parameters
        ----------
        key : str
            Any Unicode except NUL.
        value : object
            Anything JSON-like, bytes, datetime and UUID included; at most 16 MB when encoded.
        ttl : float, optional
            Seconds from now until it does not exist any more.
        policy : {"persist", "evict"}, optional
            Whether it may be evicted; the store's default policy by default. With a `ttl` it may.
        """
        chosen = self._default_policy if policy is None else policy
        if self._engine_repo is not None:
            self._engine_repo.put(self.store_name, key, value, ttl, chosen)
        else:
            self._service.set_key(self.store_name, key, value, ttl, chosen)

    def set_cache(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Set a key that may be evicted."""
        self.set(key, value, ttl, KeyPolicy.EVICT)

    def set_many(
        self,
        values: Mapping[str, Any],
        ttl: float | None = None,
        policy: str | None = None,
        *,
        command_id: str | None = None,
    ) -> None:
        """Set many keys, none of them when one is refused (extension); see `ExecutionStoreService.set_many`."""
        chosen = self._default_policy if policy is None else policy
        self._service.set_many(self.store_name, values, ttl, chosen, command_id=command_id)

    def delete(self, key: str) -> bool:
        """Delete a key; False when it is missing."""
        return self._service.delete_key(self.store_name, key)

    def has(self, key: str) -> bool:
        """Say whether a key exists; one that holds None does."""
        return self._service.has_key(self.store_name, key)

    def clear(self) -> None:
        """Delete all keys; the store and its metadata stay."""
        self._service.clear(self.store_name)

    def clear_cache(self) -> None:
        """Remove the keys that may be evicted."""
        self._service.clear_cache(self.store_name)

    def update_ttl(self, key: str, new_ttl: float | None) -> None:
        """Change when a key expires, seconds from now; None for never."""
        self._service.update_ttl(self.store_name, key, new_ttl)

    def update_policy(self, key: str, policy: str) -> None:
        """Change whether a key may be evicted."""
        self._service.update_policy(self.store_name, key, policy)

    def get_metadata(self, key: str) -> dict[str, Any] | None:
        """Return when a key was created and last set, when it expires, and its policy; None when it is missing."""
        found = self._service.get_key(self.store_name, key)
        if found is None:
            return None
        return {
            "created_at": found.created_at,
            "updated_at": found.updated_at,
            "expires_at": found.expires_at,
            "policy": found.policy,
        }

    def list_keys(self) -> list[str]:
        """Return the keys, oldest first; those of one moment are sorted."""
        return self._service.list_keys(self.store_name)

    def history(self, key: str | None = None) -> Iterator[KeyChange]:
        """Yield each change of the store, or of one of its keys, oldest first (extension)."""
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
