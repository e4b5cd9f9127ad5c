"""`framelode status` and `framelode config`: what an engine holds, where its parts are, and its settings."""

from __future__ import annotations

import json as json_text
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.errors import UsageError
from ...engine.validation import shorten
from ..session import location
from .options import Json, engine_of
from .output import counted, print_json, print_table, say

if TYPE_CHECKING:
    from ..maintenance.status import EngineStatus

overview = typer.Typer()


class Setting(StrEnum):
    """The settings that can be changed."""

    blobs = "blobs"
    projections = "projections"
    shared = "shared"


@overview.command(epilog="Example: framelode status --blobs")
def status(
    context: typer.Context,
    blobs: Annotated[
        bool,
        typer.Option("--blobs", help="Also count the blobs and their bytes, which lists the whole store."),
    ] = False,
    json: Json = False,
) -> None:
    """Show what the engine holds: log, datasets, drafts, projections and blob store."""
    with engine_of(context) as engine:
        found = engine.status(blobs=blobs)
    print_json(found) if json else _print(found)


@overview.command(epilog="Example: framelode config blobs s3://bucket/blobs")
def config(
    context: typer.Context,
    name: Annotated[
        Setting | None,
        typer.Argument(metavar="NAME", help="blobs, projections or shared. Default: show all settings."),
    ] = None,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="New value. Default: show the setting.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the settings of the engine, or change one."""
    from ..connect import connect

    if name is not None and value is not None:
        url = location.find(context.obj)
        if url is None:
            raise UsageError(location.not_found())
        location.require(url)
        given: dict[str, Any] = {name.value: _truth(value) if name is Setting.shared else value}
        with closing(connect(url, **given)) as engine:
            engine.session.present.require_writable()
    with engine_of(context) as engine:
        found = engine.settings
    if name is not None:
        if name.value not in found:
            raise UsageError(f"an engine in PostgreSQL has no setting {name.value}: it is for folders")
        found = {name.value: found[name.value]}
    if json:
        print_json({"settings": found})
        return
    for key, setting in found.items():
        say(f"{key} = {json_text.dumps(setting)}")


def _truth(value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise UsageError(f"shared must be true or false, not {shorten(value)}")
    return value.lower() == "true"


def _print(found: EngineStatus) -> None:
    from ..hyperdatasets.address import Address

    last = f", last written {found.recorded_at:%Y-%m-%d %H:%M:%S} UTC" if found.recorded_at else ""
    behind = {each.name: found.position - each.position for each in found.projections}
    late = ", ".join(f"{name} {counted(n, 'event')} behind" for name, n in behind.items() if n)
    counts = (
        ""
        if found.blobs.count is None
        else f": {counted(found.blobs.count, 'blob')}, {_bytes(found.blobs.size)}"
    )
    facts = {
        "engine": found.engine,
        "log": f"position {found.position:,}{last}{_bytes(found.log_bytes, ', ')} (id {found.log_id})",
        "datasets": f"{found.datasets:,} with {counted(found.versions, 'version')}",
        "projections": f"{len(behind)}, {late or 'up to date'}{_bytes(found.projections_bytes, ', ')}",
        "blob store": (found.blobs.place or "none") + counts,
    }
    for name, fact in facts.items():
        say(f"{name:<11}  {fact}")
    if found.drafts:
        say("")
        rows = (
            (str(Address(each.dataset, each.project, each.name)), each.frames, each.uncommitted)
            for each in found.drafts
        )
        print_table(("draft", "frames", "uncommitted changes"), rows)


def _bytes(size: int | None, before: str = "") -> str:
    from rich.filesize import decimal

    return "" if size is None else before + decimal(size)
