"""Execution stores as the command line shows them; the fields are the keys of `--json`."""

from __future__ import annotations

import json as json_text
from datetime import datetime
from typing import Any

import msgspec

from ...engine.errors import NotFoundError
from ...engine.stores.values import json_form
from ..engine import Engine
from ..execution_store.documents import KeyDocument, StoreDocument
from ..execution_store.engine_repo import EngineStoreRepo
from ..execution_store.history import KeyChange, KeyState
from .output import print_table, say

_VALUE_WIDTH = 60


class StoreView(msgspec.Struct, frozen=True):
    """A store; `keys` is the number of its keys."""

    store: str
    dataset: str | None
    keys: int
    policy: str
    metadata: dict[str, Any]
    created: str


class KeyView(msgspec.Struct, frozen=True):
    """A key; bytes, times and UUIDs in its value are written as tagged objects."""

    key: str
    value: Any
    policy: str
    created: str
    updated: str
    expires: str | None


class ChangeView(msgspec.Struct, frozen=True):
    """A change; `before` and `after` have the fields of `KeyView` except `key`."""

    position: int
    at: str
    actor: str
    kind: str
    key: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def repo_of(engine: Engine, dataset: str | None, collection: str | None) -> EngineStoreRepo:
    """Return the repository of a dataset and collection."""
    return EngineStoreRepo(engine.session, dataset, collection)


def list_stores(repo: EngineStoreRepo, *, everywhere: bool) -> list[StoreView]:
    """Return the stores of all datasets, or those of the dataset of `repo`."""
    found = repo.list_stores_global()
    wanted = [store for store in found if everywhere or _text(store.dataset_id) == repo.dataset_id]
    return [_store_view(repo, store) for store in wanted]


def _store_view(repo: EngineStoreRepo, store: StoreDocument) -> StoreView:
    of_dataset = EngineStoreRepo(repo.session, store.dataset_id, repo.collection_name)
    return StoreView(
        store=store.store_name,
        dataset=_text(store.dataset_id),
        keys=of_dataset.count_keys(store.store_name),
        policy=store.policy.value,
        metadata=json_form(store.metadata),
        created=_time(store.created_at),
    )


def _text(dataset_id: Any) -> str | None:
    return None if dataset_id is None else str(dataset_id)


def list_keys(repo: EngineStoreRepo, store: str) -> list[KeyView]:
    """Return the keys of a store; raises `NotFoundError` if the store does not exist."""
    if not repo.has_store(store):
        raise NotFoundError(f"store not found: {store!r}{repo.session.when}")
    found = (repo.get_key(store, key) for key in repo.list_keys(store))
    return [key_view(document) for document in found if document is not None]


def key_view(document: KeyDocument) -> KeyView:
    """Return the view of a key."""
    return KeyView(
        key=document.key,
        value=json_form(document.value),
        policy=document.policy.value,
        created=_time(document.created_at),
        updated=_time(document.updated_at or document.created_at),
        expires=None if document.expires_at is None else _time(document.expires_at),
    )


def print_stores(found: list[StoreView]) -> None:
    """Print stores as a table."""
    rows = ((view.store, view.dataset, view.keys, _short(view.created)) for view in found)
    print_table(("store", "dataset", "keys", "created (UTC)"), rows)


def print_keys(found: list[KeyView]) -> None:
    """Print keys as a table."""
    rows = ((view.key, view.policy, _short(view.expires or ""), _cut(view.value)) for view in found)
    print_table(("key", "policy", "expires (UTC)", "value"), rows)


def print_change(change: KeyChange, *, json: bool) -> None:
    """Print a change as a line."""
    view = ChangeView(
        position=change.position,
        at=_time(change.at),
        actor=change.actor,
        kind=change.kind,
        key=change.key,
        before=_state(change.before),
        after=_state(change.after),
    )
    if json:
        print(json_text.dumps(msgspec.to_builtins(view)))
        return
    what = " ".join(filter(None, (change.key, change.kind.replace("_", " "))))
    say(f"{view.position:>10}  {_short(view.at)}  {view.actor}  {what}{_difference(view)}")


def _difference(view: ChangeView) -> str:
    """Describe a change: the fields that differ, with old and new values."""
    if view.before is None or view.after is None:
        made = view.after or view.before
        return "" if made is None else f": {'' if view.after else 'was '}{_cut(made['value'])}"
    before, after = view.before, view.after
    names = [name for name in ("value", "policy", "expires") if before[name] != after[name]]
    return ": " + ", ".join(f"{name} {_cut(before[name])} -> {_cut(after[name])}" for name in names)


def _state(state: KeyState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "value": json_form(state.value),
        "policy": state.policy.value,
        "created": _time(state.created_at),
        "updated": _time(state.updated_at),
        "expires": None if state.expires_at is None else _time(state.expires_at),
    }


def _time(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def _short(time: str) -> str:
    return time[:19].replace("T", " ")


def _cut(value: Any) -> str:
    text = json_text.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"
