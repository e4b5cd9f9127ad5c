"""`framelode store`: keys and values of execution stores."""

from __future__ import annotations

import json as json_text
import sys
from typing import Annotated, Any

import typer

from ...engine.errors import InvalidValueError, NotFoundError
from ...engine.log.context import acting
from .options import Actor, AsOf, Json, Limit, engine_of, span_of
from .output import limited, print_json, say

stores = typer.Typer()

StoreText = Annotated[str, typer.Argument(metavar="STORE", help="Name of the store.")]
KeyText = Annotated[str, typer.Argument(metavar="KEY", help="Key.")]
DatasetId = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="ID", help="Dataset id of the store. Default: stores without a dataset."
    ),
]
Collection = Annotated[str | None, typer.Option(metavar="NAME", help="Collection, a separate key space.")]


@stores.command("ls", epilog="Example: framelode store ls")
def list_stores(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Argument(metavar="STORE", help="Store whose keys are listed. Default: list the stores."),
    ] = None,
    dataset: DatasetId = None,
    collection: Collection = None,
    limit: Limit = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the stores, or the keys of one store."""
    from . import store_views as views

    with engine_of(context, as_of) as engine:
        repo = views.repo_of(engine, dataset, collection)
        if store is not None:
            keys = list(limited(views.list_keys(repo, store), limit, "key"))
            print_json({"keys": keys}) if json else views.print_keys(keys)
            return
        found = list(limited(views.list_stores(repo, everywhere=dataset is None), limit, "store"))
        print_json({"stores": found}) if json else views.print_stores(found)


@stores.command("get", epilog="Example: framelode store get settings rate")
def get(
    context: typer.Context,
    store: StoreText,
    key: KeyText,
    dataset: DatasetId = None,
    collection: Collection = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Print the value of a key as JSON."""
    from . import store_views as views

    with engine_of(context, as_of) as engine:
        found = views.repo_of(engine, dataset, collection).get_key(store, key)
        if found is None:
            raise NotFoundError(f"store {store!r} has no key {key!r}{engine.session.when}")
    shown = views.key_view(found)
    print_json({"key": shown}) if json else say(json_text.dumps(shown.value, ensure_ascii=False))


@stores.command("set", epilog="Example: framelode store set settings rate 0.5")
def set_key(
    context: typer.Context,
    store: StoreText,
    key: KeyText,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Value as JSON, or - to read it from stdin.")],
    text: Annotated[
        bool, typer.Option("--text", help="Store VALUE as a string instead of parsing it as JSON.")
    ] = False,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time to live: a number followed by s, m, h, d or w.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(metavar="POLICY", help="persist or evict. Clearing the cache removes keys with evict."),
    ] = "persist",
    dataset: DatasetId = None,
    collection: Collection = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Set a key, and create the store if it does not exist."""
    from . import store_views as views

    given = sys.stdin.read() if value == "-" else value
    parsed = given if text else _parse(given)
    seconds = None if ttl is None else span_of(ttl, "--ttl").total_seconds()
    with engine_of(context) as engine, acting(actor):
        made = views.repo_of(engine, dataset, collection).set_key(store, key, parsed, seconds, policy)
    shown = views.key_view(made)
    print_json({"key": shown}) if json else say(f"set {key} of {store}")


@stores.command("rm", epilog="Example: framelode store rm settings rate")
def remove(
    context: typer.Context,
    store: StoreText,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Key. Default: the whole store.")] = None,
    dataset: DatasetId = None,
    collection: Collection = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Delete a key, or a store with all its keys; the history is kept."""
    from . import store_views as views

    with engine_of(context) as engine, acting(actor):
        repo = views.repo_of(engine, dataset, collection)
        documents = repo.delete_store(store) if key is None else int(repo.delete_key(store, key))
    if not documents:
        raise NotFoundError(
            f"store not found: {store!r}" if key is None else f"store {store!r} has no key {key!r}"
        )
    if json:
        print_json({"store": store, "key": key, "documents": documents})
    else:
        say(f"deleted store {store}: {documents:,} documents" if key is None else f"deleted {key} of {store}")


@stores.command("history", epilog="Example: framelode store history settings")
def history(
    context: typer.Context,
    store: StoreText,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Key. Default: all keys of the store.")
    ] = None,
    dataset: DatasetId = None,
    collection: Collection = None,
    limit: Limit = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show every change of a store or key with the values before and after, oldest first."""
    from ..execution_store.history import key_history
    from . import store_views as views

    with engine_of(context, as_of) as engine:
        found = limit == 0
        changes = key_history(views.repo_of(engine, dataset, collection), store, key)
        for change in limited(changes, limit, "change"):
            found = True
            views.print_change(change, json=json)
        if not found:
            what = f"store {store!r}" if key is None else f"key {key!r} of store {store!r}"
            raise NotFoundError(f"no history of {what}{engine.session.when}")


def _parse(text: str) -> Any:
    from ...engine.stores.values import from_json_form

    try:
        value = json_text.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"VALUE is not JSON ({error}): quote a string as '\"text\"', or add --text"
        ) from error
    return from_json_form(value)
