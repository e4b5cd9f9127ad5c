"""Commands that create and publish versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import UsageError
from ...engine.log.context import acting
from ...engine.validation import shorten
from .options import Actor, AddressText, AsOf, DatasetText, Json, engine_of
from .output import counted, note, print_json, progress_bar, say
from .process import SOME_REFUSED

if TYPE_CHECKING:
    from ..engine import Engine
    from ..hyperdatasets.address import Address

_SHOWN = 20

drafting = typer.Typer()


@drafting.command(epilog="Example: framelode draft food v3 --parent food@v1")
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
    from ..hyperdatasets.address import Address, dataset_at
    from ..hyperdatasets.version import DatasetVersion
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
    from ..hyperdatasets.address import version_at

    row = version_at(engine, start)
    if start.version is None and start.version_id is None and row.state == DRAFT:
        raise UsageError(
            f"the current version of {start} is the draft {shorten(row.name)} (id:{row.version_id[:12]}), and a parent must be published: "
            "publish it first, or give --parent ADDRESS or --empty"
        )
    return row.version_id


@drafting.command(epilog="Example: framelode publish food@v2")
def publish(context: typer.Context, address: AddressText, actor: Actor = None, json: Json = False) -> None:
    """Publish a draft, which makes it immutable and records its fingerprint."""
    from ..hyperdatasets.address import Address, version_at
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


@drafting.command(epilog="Example: framelode snapshot food --name v2 --child-name v3")
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
    from ..hyperdatasets.address import Address, version_at
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


@drafting.command(epilog="Example: framelode revert food --as-of '2 days ago'")
def revert(
    context: typer.Context,
    address: AddressText,
    as_of: Annotated[
        str,
        typer.Option(
            "--as-of",
            metavar="POSITION|TIME",
            help="Revert to the state at this point in time: a log position, or a time such as yesterday or '2 days ago'.",
        ),
    ],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Revert the frames and metadata of a draft to an earlier state, as new changes; nothing is lost."""
    from ...engine.log.moments import parse_moment
    from ..hyperdatasets.address import Address, version_at
    from .dataset_views import view_version

    meant = Address.parse(address)
    moment = parse_moment(as_of)
    with engine_of(context) as engine, acting(actor):
        version = engine.version(version_at(engine, meant).version_id)
        before = engine.log.head().position
        done = version.revert(moment)
        shown = view_version(engine, version.version_id)
    if json:
        print_json({"version": shown, "reverted": done, "before": before})
        return
    say(
        f"{shown.address}: {counted(done.added, 'frame')} added, {done.updated:,} updated, {done.deleted:,} deleted"
        f"{', metadata replaced' if done.metadata else ''}; to undo this: framelode revert {shown.address} --as-of {before}"
    )


@drafting.command(epilog="Example: framelode checkout food@v1 photos")
def checkout(
    context: typer.Context,
    address: AddressText,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the files, created if missing.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace other files of the same names.")] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy all files instead of making hard links.")
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Write the files of a version into a folder."""
    from ..hyperdatasets.address import Address, version_at
    from .dataset_views import view_version

    meant = Address.parse(address)
    with engine_of(context, as_of) as engine:
        version = engine.version(version_at(engine, meant).version_id)
        with progress_bar(f"checking out {address}") as advance:
            done = version.checkout(folder, force=force, link=not copy, callback=advance)
        shown = view_version(engine, version.version_id)
    for failure in done.failures[:_SHOWN]:
        note(failure.error)
    if len(done.failures) > _SHOWN:
        note(f"and {len(done.failures) - _SHOWN:,} more problems: --json lists them all")
    if json:
        print_json({"version": shown, "checkout": done})
    else:
        wrong = f"; {counted(len(done.failures), 'problem')}" if done.failures else ""
        say(
            f"{done.folder}: {counted(done.written, 'file')} of {shown.address} written, {done.present:,} already there{wrong}"
        )
    if done.failures:
        raise typer.Exit(SOME_REFUSED)
