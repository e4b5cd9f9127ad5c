"""Repositories of other systems, such as those of FiftyOne, under our service."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .documents import KeyDocument, policy_of
from .repo import missing_method


class ForeignRepo:
    """Passes calls on to an object with the methods of an `ExecutionStoreRepo`.

    Keyword arguments that its methods do not know are left out. `set_many` and `clear`, if it lacks them, are done key by
    key. Other missing methods raise `UsageError`.

    Parameters
    ----------
    repo : object
        The repository.
    """

    def __init__(self, repo: Any) -> None:
        self.repo = repo
        # FiftyOne keeps it in a private attribute.
        self.dataset_id = getattr(repo, "dataset_id", getattr(repo, "_dataset_id", None))

    def __repr__(self) -> str:
        return repr(self.repo)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        function = getattr(self.repo, name, None)
        if function is None:
            raise missing_method(self.repo, name)
        return partial(_call, function)

    def set_many(
        self, store_name: str, values: Mapping[str, Any], ttl: float | None, policy: str, **options: Any
    ) -> None:
        """Set many keys."""
        if hasattr(self.repo, "set_many"):
            _call(self.repo.set_many, store_name, values, ttl, policy, **options)
            return
        for key, value in values.items():
            _call(self.repo.set_key, store_name, key, value, ttl, policy)

    def clear(self, store_name: str, **options: Any) -> None:
        """Delete all keys of a store."""
        if hasattr(self.repo, "clear"):
            _call(self.repo.clear, store_name, **options)
            return
        for key in self.repo.list_keys(store_name):
            self.repo.delete_key(store_name, key)

    def update_ttl(self, store_name: str, key: str, *values: Any, **options: Any) -> KeyDocument | None:
        """Set when a key expires. Return the key, or None if it does not exist."""
        return self._updated("update_ttl", store_name, key, *values, **options)

    def update_policy(self, store_name: str, key: str, *values: Any, **options: Any) -> KeyDocument | None:
        """Set whether a key may be evicted. Return the key, or None if it does not exist."""
        return self._updated("update_policy", store_name, key, *values, **options)

    def _updated(self, method: str, store_name: str, key: str, *values: Any, **options: Any) -> Any:
        answer = self.__getattr__(method)(store_name, key, *values, **options)
        # Other repositories say whether there was one to update.
        return self.repo.get_key(store_name, key) if isinstance(answer, bool) else answer


def _call(function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """Call a method with those of some keyword arguments that it knows; policies are checked, and passed as strings."""
    signature = inspect.signature(function)
    known = signature.parameters
    if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        options = {name: value for name, value in options.items() if name in known}
    bound = signature.bind(*values, **options)
    if bound.arguments.get("policy") is not None:
        bound.arguments["policy"] = policy_of(bound.arguments["policy"]).value
    return function(*bound.args, **bound.kwargs)
