"""`framelode status`: what an engine holds, and where its parts are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json, engine_of
from .output import counted, print_json, print_table, say

if TYPE_CHECKING:
    from ..maintenance.status import EngineStatus

overview = typer.Typer()


@overview.command()
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


def _print(found: EngineStatus) -> None:
    from .address import Address

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
