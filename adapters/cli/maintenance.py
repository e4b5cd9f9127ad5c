"""Commands that look after the log, what is derived from it, and the blobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import IntegrityError
from ...engine.log.context import acting
from ..executors.resolve import executor_of
from .options import Actor, Json, On, Workers, engine_of, span_of
from .output import note, print_json, print_table, progress_bar, say

upkeep = typer.Typer()


@upkeep.command()
def verify(
    context: typer.Context,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint: is the log up to it still as it was then?"),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Public Ed25519 key that must have signed the checkpoint."),
    ] = None,
    blobs: Annotated[bool, typer.Option("--blobs", help="Read the blobs that frames name, too.")] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="The database, the chain and the keys alone; no payloads, nothing derived."
        ),
    ] = False,
    on: On = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Check the whole log, and everything derived from it against a fresh fold."""
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
    say(f"verified {url}: nothing is wrong{'' if against is None else f', and it continues {against}'}")
    rows = [("events", found.events), ("batches, an unbroken chain", found.batches)]
    if found.contents:
        rows += [
            ("versions folded afresh", found.versions),
            ("published fingerprints reproduced", found.fingerprints),
            ("snapshots equal to a fresh fold", found.snapshots),
            ("projections equal to a fresh fold", found.projections),
        ]
    if blobs:
        rows.append(("blobs equal to their names", found.blobs))
    print_table(("checked", "number"), rows)


@upkeep.command()
def rebuild(context: typer.Context, on: On = None, workers: Workers = None, json: Json = False) -> None:
    """Throw away everything derived from the log and fold it afresh."""
    with (
        engine_of(context) as engine,
        executor_of(on, workers) as executor,
        progress_bar("rebuilding") as advance,
    ):
        engine.rebuild(advance, executor)
        url, events = engine.name, engine.log.head().position
        names = [projection.name for projection in engine.session.runner.projections]
    if json:
        print_json({"engine": url, "projections": names, "events": events})
    else:
        say(f"rebuilt {', '.join(names)} from {events:,} events in {url}")


@upkeep.command()
def gc(
    context: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Do it; else it is only said what would be done.")
    ] = False,
    grace: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long ago a blob must have been condemned, such as 7d or 12h."),
    ] = "7d",
    young: Annotated[
        str, typer.Option(metavar="TIME", help="Blobs written so lately are left alone: 1d, 30m, 0s.")
    ] = "1d",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Condemn blobs that no frame names, and delete those condemned long ago; without --delete only say so."""
    spans = span_of(grace, "--grace"), span_of(young, "--young")
    with engine_of(context) as engine, acting(actor):
        report = engine.gc(spans[0], young=spans[1], dry_run=not delete)
    if json:
        print_json({"engine": engine.name, "gc": report})
        return
    for line in str(report).splitlines():
        say(line)
    if not delete:
        note("nothing was done: add --delete to do it")


@upkeep.command()
def share(
    context: typer.Context,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE", help="An engine that does not use the store any more; may be repeated."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Use the blob store of this engine together with the engines that use it already."""
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


@upkeep.command()
def scrub(
    context: typer.Context,
    repair: Annotated[
        str | None,
        typer.Option(
            metavar="FROM",
            help="Store what is altered or missing again, from an engine, a blob store, or a folder of files.",
        ),
    ] = None,
    on: On = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Read every blob again: which are altered, which that frames name are missing, which files are not blobs."""
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
        wrong = f"{len(found.missing):,} blobs are missing, {len(found.altered):,} altered"
        raise IntegrityError(
            f"{found.place}: {wrong}; store them again: upload their files, or run `framelode scrub --repair FROM`",
            file=found.place,
        )
