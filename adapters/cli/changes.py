"""Commands that rename, move, tag, describe and remove datasets, versions and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import PublishedError
from ...engine.log.context import acting
from .options import Actor, DatasetText, Force, Json, Yes, confirm, engine_of
from .output import counted, print_json, say

if TYPE_CHECKING:
    from ..engine import Engine
    from ..hyperdatasets.dataset import Dataset
    from ..hyperdatasets.version import DatasetVersion

changing = typer.Typer()

Subject = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="Dataset, or version (project/dataset@version, or id: and its first digits)."
    ),
]


@changing.command(epilog="Example: framelode rename food meals")
def rename(
    context: typer.Context,
    address: Subject,
    name: Annotated[str, typer.Argument(metavar="NAME", help="New name.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Rename a dataset or a draft."""
    from ..hyperdatasets.address import Address, subject_at
    from .dataset_views import view_subject

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        subject = subject_at(engine, meant)
        subject.rename(name)
        shown = view_subject(engine, subject)
    print_json({"renamed": shown}) if json else say(f"renamed {address} to {shown.address}")


@changing.command("mv", epilog="Example: framelode mv food kitchen")
def move(
    context: typer.Context,
    dataset: DatasetText,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="New project.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Move a dataset to another project."""
    from ..hyperdatasets.address import Address, dataset_at
    from ..hyperdatasets.dataset import Dataset
    from .dataset_views import view_dataset

    meant = Address.parse_dataset(dataset)
    with engine_of(context) as engine, acting(actor):
        moved = Dataset(engine.session, dataset_at(engine, meant).dataset_id)
        moved.move(project)
        shown = view_dataset(engine, moved.id)
    print_json({"moved": shown}) if json else say(f"moved {dataset} to {shown.address}")


@changing.command(epilog="Example: framelode tag food@v1 checked --remove new")
def tag(
    context: typer.Context,
    address: Subject,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="TAG", help="Tags to add. Default: show the tags.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Remove this tag. Repeatable.")
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Add tags to a dataset or a version, remove tags, or show them."""
    from ..hyperdatasets.address import Address, subject_at

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        subject = subject_at(engine, meant)
        if tags:
            subject.add_tags(tags)
        if remove:
            subject.remove_tags(remove)
        shown = subject.tags
    if json:
        print_json({"address": address, "tags": shown})
    else:
        say(f"{address}: {', '.join(shown) or 'no tags'}")


@changing.command(epilog="Example: framelode describe food@v1 'Reviewed by Ada'")
def describe(
    context: typer.Context,
    address: Subject,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="New description.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Replace the description of a dataset or a version."""
    from ..hyperdatasets.address import Address, subject_at
    from .dataset_views import view_subject

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        subject = subject_at(engine, meant)
        subject.describe(text)
        shown = view_subject(engine, subject)
    print_json({"described": shown}) if json else say(f"described {shown.address}")


@changing.command("rm", epilog="Example: framelode rm food@v2 --yes")
def remove_all(
    context: typer.Context,
    address: Subject,
    frames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FRAME",
            help="Frames to delete: ids, or their first characters. Default: the whole version or dataset.",
        ),
    ] = None,
    force: Force = False,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Remove frames of a draft, a version, or a dataset; the history is kept."""
    from ..hyperdatasets.address import Address, subject_at, version_at
    from ..hyperdatasets.dataset import Dataset

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        if frames:
            version = engine.version(version_at(engine, meant).version_id)
            _remove_frames(engine, version, frames, yes=yes, json=json)
            return
        subject = subject_at(engine, meant)
        if isinstance(subject, Dataset):
            _remove_dataset(engine, subject, force=force, yes=yes, json=json)
        else:
            _remove_version(engine, subject, force=force, yes=yes, json=json)


def _remove_frames(
    engine: Engine, version: DatasetVersion, frames: list[str], *, yes: bool, json: bool
) -> None:
    from .dataset_views import view_version

    ids = list(dict.fromkeys(version.find_frame_id(each) for each in frames))
    shown = view_version(engine, version.version_id)
    what = f"frame {ids[0]}" if len(ids) == 1 else counted(len(ids), "frame")
    if shown.state != "draft":
        raise PublishedError(
            f"{shown.address} is published and cannot be changed: make a draft with `framelode draft`"
        )
    confirm(f"Delete {what} from {shown.address}? Earlier versions and the history keep it.", yes=yes)
    version.delete_frames(ids)
    if json:
        print_json({"version": view_version(engine, version.version_id), "deleted": ids})
    else:
        say(f"deleted {what} from {shown.address}; `framelode history {shown.address} FRAME` still shows it")


def _remove_version(engine: Engine, version: DatasetVersion, *, force: bool, yes: bool, json: bool) -> None:
    from .dataset_views import view_version

    shown = view_version(engine, version.version_id)
    if shown.state == "published" and not force:
        raise PublishedError(f"{shown.address} is published: add --force to remove it")
    confirm(
        f"Remove the {shown.state} version {shown.address} with {counted(shown.frames, 'frame')}? Its history is kept; "
        "blobs that only it references are deleted by `framelode gc`.",
        yes=yes,
    )
    version.remove_version(version_id=shown.id, force=force)
    if json:
        print_json({"removed": view_version(engine, shown.id)})
    else:
        say(
            f"removed {shown.address} (id:{shown.id[:12]}); `framelode log {shown.project}/{shown.dataset}` still shows its changes"
        )


def _remove_dataset(engine: Engine, dataset: Dataset, *, force: bool, yes: bool, json: bool) -> None:
    from .dataset_views import view_dataset

    shown = view_dataset(engine, dataset.id)
    published = sum(not version.draft for version in dataset.versions())
    if published and not force:
        raise PublishedError(
            f"{shown.address} has {counted(published, 'published version')}: add --force to remove them"
        )
    confirm(
        f"Remove {shown.address} with {counted(shown.versions, 'version')}? The history is kept; "
        "blobs that only it references are deleted by `framelode gc`.",
        yes=yes,
    )
    dataset.delete(dataset.id, delete_all_versions=True, force=force)
    if json:
        print_json({"removed": shown})
    else:
        say(
            f"removed {shown.address} with {counted(shown.versions, 'version')}; `framelode log` still shows its changes"
        )
