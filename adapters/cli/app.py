"""The `framelode` command. Each command lives in its own module and imports the library lazily."""

from __future__ import annotations

from typing import Annotated

import typer

from ..session import location
from . import transfer
from .changes import changing
from .checkpoint import checkpoints
from .completion import completing
from .exchange import exports, imports
from .history import looking_back
from .init import starting
from .lakes import lakes
from .ls import listing
from .main import VERSION
from .maintenance import upkeep
from .one import folders
from .output import say
from .pins import pins
from .process import Commands, read_later
from .sql import asking
from .status import overview
from .stores import stores
from .versions import drafting

SUMMARY = (
    "Version frames and their annotations. Every change is recorded as an event in an append-only log; "
    "state is computed by replaying the log."
)

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(starting)
app.add_typer(imports, name="import", help="Import a dataset in another format, or an exported log.")
app.add_typer(exports, name="export", help="Export a version in another format, or the log.")
carrying = typer.Typer()
carrying.command("copy", epilog="Example: framelode copy food backup/food")(transfer.copy)
for commands in (listing, asking, overview, drafting, changing, looking_back, upkeep, carrying, completing):
    app.add_typer(commands)
imports.command("log", epilog="Example: framelode import log food.jsonl.zst")(transfer.import_log)
exports.command("log", epilog="Example: framelode export log food.jsonl.zst")(transfer.export_log)
app.add_typer(stores, name="store", help="Read and write the keys and values of execution stores.")
app.add_typer(lakes, name="lake", help="Upload, find, tag and download pictures and videos of datalakes.")
app.add_typer(pins, name="pin", help="Pin external datasets: git repositories, catalogs and URLs.")
app.add_typer(folders, name="one", help="Record, search and load folders of neuroscience data.")
app.add_typer(checkpoints, name="checkpoint", help="Export checkpoints to verify the log against later.")
read_later(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(VERSION)
        raise typer.Exit


@app.callback(help=SUMMARY)
def _options(
    context: typer.Context,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=location.ENVIRONMENT_URL,
            help="Folder or URL of the engine. Default: the nearest one in the working directory or its parents.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    del version
    context.obj = engine
