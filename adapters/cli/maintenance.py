"""Commands that maintain the log, the projections and the blobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import IntegrityError
from ...engine.log.context import acting
from ..executors.resolve import executor_of
from .options import Actor, Json, On, Workers, engine_of, span_of
from .output import counted, note, print_json, print_table, progress_bar, say

upkeep = typer.Typer()


@upkeep.command(epilog="Example: framelode verify --quick")
def verify(
    context: typer.Context,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare the log with this checkpoint."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY", help="Public Ed25519 key to verify the signature of the checkpoint with."
        ),
    ] = None,
    blobs: Annotated[
        bool, typer.Option("--blobs", help="Also read and verify the blobs that frames reference.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Check only the database, the digest chain and the keys; skip payloads and projections.",
        ),
    ] = False,
    on: On = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Verify the log, and compare all projections with a fresh replay."""
    with engine_of(context) as engine:
        url = engine.name
        try:
            with executor_of(on, workers) as executor, progress_bar("verifying") as advance:
                found = engine.verify(
                    advance,
                    blobs=blobs,
                    against=against,
                    public_key=public_key,
                    quick=quick,
                    executor=executor,
                )
        except IntegrityError as error:
            if json:
                print_json({"engine": url, "problems": list(error.problems)})
            for problem in error.problems[1:] if not json else ():
                note(problem)
            raise
    if json:
        print_json({"engine": url, "verified": found})
        return
    say(f"verified {url}: no problems found{'' if against is None else f'; matches checkpoint {against}'}")
    rows = [("events", found.events), ("batches in the digest chain", found.batches)]
    if found.contents:
        rows += [
            ("versions replayed", found.versions),
            ("published fingerprints reproduced", found.fingerprints),
            ("snapshots equal to a fresh replay", found.snapshots),
            ("projections equal to a fresh replay", found.projections),
        ]
    if blobs:
        rows.append(("blobs equal to their digests", found.blobs))
    print_table(("checked", "number"), rows)


@upkeep.command(epilog="Example: framelode rebuild")
def rebuild(context: typer.Context, on: On = None, workers: Workers = None, json: Json = False) -> None:
    """Rebuild all projections by replaying the log."""
    with (
        engine_of(context) as engine,
        executor_of(on, workers) as executor,
        progress_bar("rebuilding") as advance,
    ):
        engine.rebuild(advance, executor)
        url, events = engine.name, engine.log.head().position
        names = [projection.name for projection in engine.session.runner.kept()]
    if json:
        print_json({"engine": url, "projections": names, "events": events})
    else:
        say(f"rebuilt {', '.join(names)} from {events:,} events in {url}")


@upkeep.command(epilog="Example: framelode gc --grace 30d")
def gc(
    context: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Apply the changes. Without it, the command is a dry run.")
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Grace period: delete blobs that were marked at least this long ago, such as 7d or 12h.",
        ),
    ] = "7d",
    young: Annotated[
        str, typer.Option(metavar="TIME", help="Skip blobs written within this time, such as 1d, 30m or 0s.")
    ] = "1d",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Mark unreferenced blobs and delete those past the grace period (dry run unless --delete)."""
    spans = span_of(grace, "--grace"), span_of(young, "--young")
    with engine_of(context) as engine, acting(actor), progress_bar("looking for unreferenced blobs"):
        report = engine.gc(spans[0], young=spans[1], dry_run=not delete)
    if json:
        print_json({"engine": engine.name, "gc": report})
        return
    for line in str(report).splitlines():
        say(line)
    if not delete:
        note("dry run: nothing changed; add --delete to apply")


@upkeep.command(epilog="Example: framelode share")
def share(
    context: typer.Context,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE", help="Remove an engine that no longer uses the store. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Share the blob store of this engine with other engines that use it."""
    with engine_of(context) as engine:
        engine.share_blobs(forget or ())
        used_by = [ref.engine for ref in engine.blobs.join().logs]
        place = engine.blobs.name
    if json:
        print_json({"engine": engine.name, "place": place, "used_by": used_by})
        return
    say(
        f"{place} is used by {len(used_by)} engines:"
        if len(used_by) > 1
        else f"{place} is used by one engine:"
    )
    for url in used_by:
        say(url)


@upkeep.command(epilog="Example: framelode scrub")
def scrub(
    context: typer.Context,
    repair: Annotated[
        str | None,
        typer.Option(
            metavar="FROM",
            help="Restore altered and missing blobs from an engine, a blob store or a folder of files.",
        ),
    ] = None,
    on: On = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Read and verify every blob, and report missing blobs, altered blobs and stray files."""
    with (
        engine_of(context) as engine,
        executor_of(on, workers) as executor,
        progress_bar("reading blobs") as advance,
    ):
        found = engine.scrub(lambda done, _: advance(done, None), executor, repair=repair)
    if json:
        print_json({"engine": engine.name, "scrub": found})
    else:
        for line in str(found).splitlines():
            say(line)
    if not found.is_sound:
        wrong = f"{counted(len(found.missing), 'blob')} missing, {len(found.altered):,} altered"
        raise IntegrityError(
            f"{found.place}: {wrong}; upload the files again, or run `framelode scrub --repair FROM`",
            file=found.place,
        )
