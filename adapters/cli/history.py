"""Commands that look back: what happened, to what, by whom, and what differs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ...engine.errors import UsageError
from .options import AddressText, AsOf, By, Json, Kinds, Since, Until, engine_of, moment_of
from .output import print_json, say

looking_back = typer.Typer()

Limit = Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="At most so many.", min=0)]
Images = Annotated[
    bool, typer.Option("--images", help="With what stood before and after each change; with --json.")
]
FrameId = Annotated[str, typer.Argument(metavar="FRAME", help="Id of a frame.")]


@looking_back.command()
def log(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="A dataset or a version; else everything.")
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    kind: Kinds = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Oldest first.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is recorded from now on, until interrupted.")
    ] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Draw the tree of versions instead of listing changes.")
    ] = False,
    json: Json = False,
) -> None:
    """List what was recorded, newest first: a line for each run of changes of one thing by one actor."""
    from . import history_views as logbook
    from .graph import print_trees, print_trees_json, trees

    asked = logbook.Asked(
        by=by,
        since=moment_of(since),
        until=moment_of(until),
        kinds=kind,
        limit=limit,
        oldest_first=reverse,
    )
    if follow and until is not None:
        raise UsageError("--follow has no end: leave --until out")
    if graph and (follow or asked != logbook.Asked()):
        raise UsageError("--graph draws versions, not changes: it goes with an address and --json only")
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


@looking_back.command()
def history(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="A version; else all that was recorded.")
    ] = None,
    frame_id: Annotated[
        str | None, typer.Argument(metavar="FRAME", help="Id of a frame; else all of the version.")
    ] = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    kind: Kinds = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Newest first.")] = False,
    images: Images = False,
    json: Json = False,
) -> None:
    """List each change of a frame, of a version with inherited ones, or of the engine, stores and pins too; oldest first."""
    from .address import Address, version_at
    from .history_views import print_change

    if images and not json:
        raise UsageError("--images goes with --json")
    meant = None if address is None else Address.parse(address)
    with engine_of(context) as engine:
        filters: dict[str, Any] = {
            "actor": by,
            "since": moment_of(since),
            "until": moment_of(until),
            "kinds": kind,
            "newest_first": reverse,
            "limit": limit,
        }
        if meant is None:
            changes = engine.history(**filters)
        else:
            version = engine.version(version_at(engine, meant).version_id)
            changes = version.history(**filters) if frame_id is None else version.history(frame_id, **filters)
        for change in changes:
            print_change(change, json=json, images=images)


@looking_back.command()
def blame(
    context: typer.Context,
    address: AddressText,
    frame_id: FrameId,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Say since when each label, annotation and field of a frame is as it is, and by whom."""
    from .address import Address, version_at

    meant = Address.parse(address)
    with engine_of(context, as_of) as engine:
        found = engine.version(version_at(engine, meant).version_id).blame(frame_id)
        if json:
            print_json(found.to_dict())
            return
        for line in str(found).splitlines():
            say(line)


@looking_back.command()
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The version to come from, as an address.")],
    new: Annotated[
        str | None,
        typer.Argument(metavar="NEW", help="The version to go to; else OLD itself, with --since."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="OLD as it was at this position or time.")
    ] = None,
    as_of: AsOf = None,
    names: Annotated[
        bool, typer.Option("--names", help="List the ids of the frames: + added, - removed, ~ changed.")
    ] = False,
    frames: Annotated[
        bool, typer.Option("--frames", help="With the contents of the frames; with --json.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what leads from one version, or moment of it, to another: frames, labels, statistics."""
    from .address import Address, version_at

    if new is None and since is None:
        raise UsageError("name two versions, or one and --since MOMENT")
    if frames and not json:
        raise UsageError("--frames goes with --json")
    before, after = Address.parse(old), Address.parse(new or old)
    with engine_of(context, as_of) as engine:
        past = engine.at(moment_of(since))
        first = past.version(version_at(past, before).version_id)
        found = engine.version(version_at(engine, after).version_id).diff(first)
        if json:
            print_json(found.to_dict(frames=frames))
            return
        for line in str(found).splitlines():
            say(line)
        if names:
            for sign, part in (("+", found.added), ("-", found.removed), ("~", found.changed)):
                for frame_id in part.ids:
                    say(f"{sign} {frame_id}")
