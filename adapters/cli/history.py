"""Commands that show history: log, history, blame and diff."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ...engine.errors import UsageError
from .options import (
    AddressText,
    AsOf,
    By,
    FrameId,
    Json,
    Kinds,
    Limit,
    Since,
    Until,
    engine_of,
    moment_of,
    start_of,
)
from .output import limited, print_json, say

looking_back = typer.Typer()

Images = Annotated[
    bool, typer.Option("--images", help="Include the values before and after each change. Requires --json.")
]


@looking_back.command(epilog="Example: framelode log food --since yesterday")
def log(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Dataset or version. Default: everything.")
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    kind: Kinds = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Show the oldest first.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep printing new entries until interrupted.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Include bookkeeping: names taken, changes of version trees, uploaded files."
        ),
    ] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Draw the version tree instead of listing changes.")
    ] = False,
    json: Json = False,
) -> None:
    """List log entries, newest first, with consecutive changes by one actor grouped in one line."""
    from . import history_views as logbook
    from .graph import print_trees, print_trees_json, trees

    asked = logbook.Asked(
        by=by,
        since=start_of(since),
        until=moment_of(until),
        kinds=kind,
        limit=limit,
        oldest_first=reverse,
        bookkeeping=everything,
    )
    if follow and until is not None:
        raise UsageError("--follow and --until exclude each other: give one of them")
    if graph and (follow or asked != logbook.Asked()):
        raise UsageError("--graph can only be combined with an address and --json")
    with engine_of(context) as engine:
        scope = logbook.scope_of(engine, address)
        if graph:
            found = trees(engine, scope)
            print_trees_json(found) if json else print_trees(found)
            return
        for entry in (
            logbook.follow(engine, scope, asked) if follow else logbook.entries(engine, scope, asked)
        ):
            logbook.print_entry(entry, json=json)
            if follow:
                sys.stdout.flush()


@looking_back.command(epilog="Example: framelode history food@v1 apple")
def history(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Version. Default: everything.")
    ] = None,
    frame_id: Annotated[
        str | None,
        typer.Argument(
            metavar="FRAME", help="Frame id, or its first characters. Default: all changes of the version."
        ),
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    kind: Kinds = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Show the newest first.")] = False,
    images: Images = False,
    json: Json = False,
) -> None:
    """List every change of a frame, a version or the whole engine, oldest first."""
    from ..hyperdatasets.address import Address, version_at
    from .history_views import print_change

    if images and not json:
        raise UsageError("--images requires --json")
    meant = None if address is None else Address.parse(address)
    with engine_of(context) as engine:
        filters: dict[str, Any] = {
            "actor": by,
            "since": start_of(since),
            "until": moment_of(until),
            "kinds": kind,
            "newest_first": reverse,
        }
        if meant is None:
            changes = engine.history(**filters)
        else:
            version = engine.version(version_at(engine, meant).version_id)
            changes = (
                version.history(**filters)
                if frame_id is None
                else version.history(version.find_frame_id(frame_id, deleted=True), **filters)
            )
        for change in limited(changes, limit, "change"):
            print_change(change, json=json, images=images)


@looking_back.command(epilog="Example: framelode blame food@v1 apple")
def blame(
    context: typer.Context,
    address: AddressText,
    frame_id: FrameId,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show who last changed each label, annotation and field of a frame, and when."""
    from ..hyperdatasets.address import Address, version_at

    meant = Address.parse(address)
    with engine_of(context, as_of) as engine:
        version = engine.version(version_at(engine, meant).version_id)
        found = version.blame(version.find_frame_id(frame_id))
        if json:
            print_json(found.to_dict())
            return
        for line in str(found).splitlines():
            say(line)


@looking_back.command(epilog="Example: framelode diff food@v1 food@v2 --names")
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Address of the old version.")],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="NEW", help="Address of the new version. Default: OLD, which requires --since."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION|TIME", help="Compare with OLD as it was at this log position or time."
        ),
    ] = None,
    as_of: AsOf = None,
    names: Annotated[
        bool, typer.Option("--names", help="List the frame ids: + added, - removed, ~ changed.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", metavar="N", help="List at most N frame ids.", min=0)
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Include the contents of the frames. Requires --json.")
    ] = False,
    json: Json = False,
) -> None:
    """Show changes between two versions, or between two points in time."""
    from ..hyperdatasets.address import Address, version_at

    if new is None and since is None:
        raise UsageError("give two versions, or one version and --since")
    if frames and not json:
        raise UsageError("--frames requires --json")
    before, after = Address.parse(old), Address.parse(new or old)
    if limit is not None and not names:
        raise UsageError("--limit requires --names")
    with engine_of(context, as_of) as engine:
        past = engine.at(start_of(since))
        first = past.version(version_at(past, before).version_id)
        found = engine.version(version_at(engine, after).version_id).diff(first)
        if json:
            print_json(found.to_dict(frames=frames))
            return
        for line in str(found).splitlines():
            say(line)
        if names:
            parts = (("+", found.added), ("-", found.removed), ("~", found.changed))
            lines = (f"{sign} {frame_id}" for sign, part in parts for frame_id in part.ids)
            for line in limited(lines, limit, "frame"):
                say(line)
