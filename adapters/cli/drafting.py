"""Commands that take versions through their life."""

from __future__ import annotations

from typing import Annotated

import typer

from ...engine.context import acting
from .options import Actor, AddressText, DatasetText, Json, engine_of
from .output import print_json

drafting = typer.Typer()


@drafting.command()
def draft(
    context: typer.Context,
    dataset: DatasetText,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the draft; no version may have it yet.")
    ],
    parent: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Published version to start from; else the draft is empty."),
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Description of the draft.")] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Create a draft: the child of a published version, or an empty one."""
    from ..hyperdatasets.version import DatasetVersion
    from .address import Address, dataset_at, version_at
    from .views import print_change, view_version

    place, start = Address.parse_dataset(dataset), Address.parse(parent) if parent is not None else None
    with engine_of(context) as engine, acting(actor):
        made = DatasetVersion.create_version(
            name,
            comment,
            dataset_id=dataset_at(engine, place).dataset_id,
            parent_version_ids=None if start is None else [version_at(engine, start).version_id],
            raise_if_exists=True,
        )
        shown = view_version(engine, made.version_id)
    print_json({"draft": shown}) if json else print_change("created", shown)


@drafting.command()
def publish(context: typer.Context, address: AddressText, actor: Actor = None, json: Json = False) -> None:
    """Publish a draft: it never changes again, and its content is committed to by fingerprint."""
    from .address import Address, version_at
    from .views import print_change, view_version

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        version_id = version_at(engine, meant).version_id
        changed = engine.version(version_id).publish_version()
        shown = view_version(engine, version_id)
    if json:
        print_json({"published": shown, "changed": changed})
    else:
        print_change("published" if changed else "published already", shown)


@drafting.command()
def snapshot(
    context: typer.Context,
    address: AddressText,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="New name of the version that is published.")
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Its description.")] = None,
    child_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the child; else the version's name until now.")
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Publish a draft, which keeps its id, and go on in a new draft that is its child."""
    from .address import Address, version_at
    from .views import print_change, view_version

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
