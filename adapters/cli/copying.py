"""`framelode copy`: an engine, log and blobs, into another place."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ...engine.errors import UsageError
from .. import location
from .options import AsOf, Json, moment_of
from .output import note, print_json, progress_bar, say
from .process import SOME_REFUSED

_SHOWN = 5


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Folder or URL of the engine to copy.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO", help="Folder or URL of a new engine, or of an earlier copy to bring up to date."
        ),
    ],
    blobs: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the copy keeps file contents; remembered in its settings."),
    ] = None,
    no_blobs: Annotated[bool, typer.Option("--no-blobs", help="Copy the log alone.")] = False,
    as_of: AsOf = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the whole copy afterwards, its blobs, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy an engine to equal positions and digests, from and to any place; run again it goes on from what is there."""
    from ..connection import Engine

    if no_blobs and blobs is not None:
        raise UsageError("--no-blobs leaves the contents out: leave --blobs out, too")
    location.require(source)
    if target == location.IN_MEMORY:
        raise UsageError("an engine in memory would be gone when this command ends: name a folder or a URL")
    with closing(Engine(location.locate(source))) as engine:
        moment = moment_of(as_of)
        with progress_bar(f"copying {engine.name}") as advance:
            done = engine.at(moment).copy_to(target, blobs=blobs or not no_blobs, callback=advance)
    where = location.locate(target)
    if verify:
        with closing(Engine(where)) as made, progress_bar(f"verifying {made.name}") as advance:
            made.verify(advance, blobs=not no_blobs)
    for what, digests in (("missing", done.missing_blobs), ("damaged", done.damaged_blobs)):
        for digest in digests[:_SHOWN]:
            note(f"blob {digest} is {what} and was not copied")
        if len(digests) > _SHOWN:
            note(f"and {len(digests) - _SHOWN:,} more that are {what}")
    if json:
        print_json(done)
    else:
        there = f" ({done.present:,} were there already)" if done.present else ""
        say(
            f"{where.name}: {done.events:,} events copied{there}, now at position {done.position:,}; {done.blobs:,} blobs, "
            f"{done.blob_bytes:,} bytes"
        )
    if done.missing_blobs or done.damaged_blobs:
        raise typer.Exit(SOME_REFUSED)
