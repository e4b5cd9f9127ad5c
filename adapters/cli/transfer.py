"""`framelode export log`, `framelode import log` and `framelode copy`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import UsageError
from ...engine.log.context import acting
from ..session import location
from .options import Actor, AsOf, Json, engine_of, moment_of
from .output import counted, note, print_json, progress_bar, say
from .process import SOME_REFUSED


def export_log(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New file to write.")],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Export only this dataset. An import gives it new positions."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="jsonl or parquet. Default: from the suffix of FILE."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Export the log, or one dataset, to a portable file."""
    from ..hyperdatasets.address import Address, dataset_at
    from ..hyperdatasets.dataset import Dataset

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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by framelode export log.")],
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Import an exported log or dataset into an empty engine."""
    with engine_of(context) as engine, acting(actor), progress_bar(f"importing {file}") as advance:
        done = engine.import_log(file, callback=advance)
        url = engine.name
    for digest in done.missing_blobs[:_SHOWN]:
        note(f"blob {digest} is missing")
    if len(done.missing_blobs) > _SHOWN:
        note(f"and {len(done.missing_blobs) - _SHOWN:,} more missing blobs")
    if json:
        print_json(done)
        return
    there = f" ({done.present:,} already present)" if done.present else ""
    blobs = f"; {counted(len(done.missing_blobs), 'blob')} missing" if done.missing_blobs else ""
    say(f"{url}: {done.events:,} events imported{there}, now at position {done.position:,}{blobs}")


_SHOWN = 5


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Folder or URL of the engine to copy.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help="Folder or URL of a new engine, or of an earlier copy to update."),
    ],
    blobs: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Blob store of the copy. Saved in its settings."),
    ] = None,
    no_blobs: Annotated[bool, typer.Option("--no-blobs", help="Copy only the log.")] = False,
    as_of: AsOf = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the copy afterwards, including its blobs.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy an engine with its log and blobs, or update an earlier copy."""
    from ..engine import Engine
    from ..session.session import open_session

    if no_blobs and blobs is not None:
        raise UsageError("--no-blobs and --blobs exclude each other: give one of them")
    location.require(source)
    if target == location.IN_MEMORY:
        raise UsageError("an in-memory engine would be lost when this command ends: give a folder or a URL")
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
            note(f"and {len(digests) - _SHOWN:,} more {what} blobs")
    if json:
        print_json(done)
    else:
        there = f" ({done.present:,} already present)" if done.present else ""
        say(
            f"{location.locate(target).name}: {done.events:,} events copied{there}, now at position {done.position:,}; {done.blobs:,} blobs, "
            f"{done.blob_bytes:,} bytes"
        )
    if done.missing_blobs or done.damaged_blobs:
        raise typer.Exit(SOME_REFUSED)
