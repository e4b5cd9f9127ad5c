"""`framelode export` and `framelode import log`: a log as a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...engine.log.context import acting
from .options import Actor, Json, engine_of
from .output import note, print_json, progress_bar, say

_SHOWN = 5


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
        chosen = None if address is None else Dataset(engine, dataset_at(engine, address).dataset_id)
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
