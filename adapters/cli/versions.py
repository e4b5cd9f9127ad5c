"""Commands that create and publish versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import UsageError
from ...engine.log.context import acting
from ...engine.validation import shorten
from .options import Actor, AddressText, DatasetText, Json, engine_of
from .output import print_json

if TYPE_CHECKING:
    from ..engine import Engine
    from .address import Address

drafting = typer.Typer()


@drafting.command()
def draft(
    context: typer.Context,
    dataset: DatasetText,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the draft. Must be unique in the dataset.")
    ],
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Published version to start from. Default: the current version."
        ),
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="Create the draft without a parent and without frames.")
    ] = False,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Description of the draft.")] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Create a draft as a child of the current version, with all its frames."""
    from ..hyperdatasets.version import DatasetVersion
    from .address import Address, dataset_at
    from .dataset_views import print_change, view_version

    if empty and parent is not None:
        raise UsageError("--empty and --parent exclude each other: give one of them")
    place = Address.parse_dataset(dataset)
    start = place if parent is None else Address.parse(parent)
    with engine_of(context) as engine, acting(actor):
        made = DatasetVersion.create_version(
            name,
            comment,
            dataset_id=dataset_at(engine, place).dataset_id,
            parent_version_ids=None if empty else [_parent_at(engine, start)],
            raise_if_exists=True,
        )
        shown = view_version(engine, made.version_id)
    print_json({"draft": shown}) if json else print_change("created", shown)


def _parent_at(engine: Engine, start: Address) -> str:
    """Return the id of the version to start from; raises `UsageError` if the current version is a draft."""
    from ...projections.tables.catalog import DRAFT
    from .address import version_at

    row = version_at(engine, start)
    if start.version is None and start.version_id is None and row.state == DRAFT:
        raise UsageError(
            f"the current version of {start} is the draft {shorten(row.name)} (id:{row.version_id[:12]}), and a parent must be published: "
            "publish it first, or give --parent ADDRESS or --empty"
        )
    return row.version_id


@drafting.command()
def publish(context: typer.Context, address: AddressText, actor: Actor = None, json: Json = False) -> None:
    """Publish a draft, which makes it immutable and records its fingerprint."""
    from .address import Address, version_at
    from .dataset_views import print_change, view_version

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        version_id = version_at(engine, meant).version_id
        changed = engine.version(version_id).publish_version()
        shown = view_version(engine, version_id)
    if json:
        print_json({"published": shown, "changed": changed})
    else:
        print_change("published" if changed else "already published", shown)


@drafting.command()
def snapshot(
    context: typer.Context,
    address: AddressText,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="New name of the published version.")
    ] = None,
    comment: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Description of the published version.")
    ] = None,
    child_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the new draft. Default: the previous name of the published version."
        ),
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Publish a draft and create a new draft as its child."""
    from .address import Address, version_at
    from .dataset_views import print_change, view_version

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        version = engine.version(version_at(engine, meant).version_id)
        child = version.create_snapshot(publish_name=name, publish_comment=comment, child_name=child_name)
        shown, new = (view_version(engine, each.version_id) for each in (version, child))
    if json:
        print_json({"published": shown, "draft": new})
    else:
        print_change("published", shown)
        print_change("created", new)
