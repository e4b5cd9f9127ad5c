"""`framelode export` and `framelode import log`: a log as a file, and back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import UsageError
from ...engine.log.context import acting
from ..session import location
from .options import Actor, AsOf, Json, engine_of, moment_of
from .output import note, print_json, progress_bar, say
from .process import SOME_REFUSED


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Export this dataset alone, to be numbered anew by an import."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="jsonl or parquet; else what the name of FILE says."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the log, or one dataset of it, to a portable file that another engine imports."""
    from ..hyperdatasets.dataset import Dataset
    from .address import Address, dataset_at

    address = None if dataset is None else Address.parse_dataset(dataset)
    with engine_of(context) as engine, progress_bar(f"exporting {file}") as advance:
        chosen = None if address is None else Dataset(engine.session, dataset_at(engine, address).dataset_id)
        done = engine.export_log(file, dataset=chosen, format=form, callback=advance)
    if json:
        print_json(done)
    else:
        what = "the log" if dataset is None else dataset
        say(f"wrote {what} to {done.file}: {done.events:,} events, {done.bytes:,} bytes of {done.format}")


def import_log(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What framelode export wrote.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Take over an exported log, or dataset, into an engine that holds nothing yet."""
    with engine_of(context) as engine, acting(actor), progress_bar(f"importing {file}") as advance:
        done = engine.import_log(file, callback=advance)
        url = engine.name
    for digest in done.missing_blobs[:_SHOWN]:
        note(f"blob {digest} is missing")
    if len(done.missing_blobs) > _SHOWN:
        note(f"and {len(done.missing_blobs) - _SHOWN:,} more blobs")
    if json:
        print_json(done)
        return
    there = f" ({done.present:,} were there already)" if done.present else ""
    blobs = f"; {len(done.missing_blobs):,} blobs are missing" if done.missing_blobs else ""
    say(f"{url}: {done.events:,} events imported{there}, now at position {done.position:,}{blobs}")


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
    """Copy an engine, log and blobs, with equal positions and digests; a repeated copy adds what is new."""
    from ..engine import Engine
    from ..session.session import open_session

    if no_blobs and blobs is not None:
        raise UsageError("--no-blobs leaves the contents out: leave --blobs out, too")
    location.require(source)
    if target == location.IN_MEMORY:
        raise UsageError("an engine in memory would be gone when this command ends: name a folder or a URL")
    with closing(Engine(open_session(source))) as engine:
        moment = moment_of(as_of)
        with progress_bar(f"copying {engine.name}") as advance:
            done = engine.at(moment).copy_to(target, blobs=blobs or not no_blobs, callback=advance)
    if verify:
        with closing(Engine(open_session(target))) as made, progress_bar(f"verifying {made.name}") as advance:
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
            f"{location.locate(target).name}: {done.events:,} events copied{there}, now at position {done.position:,}; {done.blobs:,} blobs, "
            f"{done.blob_bytes:,} bytes"
        )
    if done.missing_blobs or done.damaged_blobs:
        raise typer.Exit(SOME_REFUSED)
