"""`framelode checkpoint`: export the head of the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ...engine.times import iso_time
from .options import Json, engine_of
from .output import print_json, say

if TYPE_CHECKING:
    from ...engine.log.checkpoint import Checkpoint

checkpoints = typer.Typer(no_args_is_help=True)


class CheckpointView(msgspec.Struct, frozen=True):
    """A checkpoint, as `--json` shows it."""

    log: str
    position: int
    digest: str
    time: str
    key: str | None
    signature: str | None


@checkpoints.command("export", epilog="Example: framelode checkpoint export food.checkpoint")
def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="New file to write. Default: print to stdout.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Private Ed25519 key to sign with: PEM, OpenSSH or hex."),
    ] = None,
    json: Json = False,
) -> None:
    """Export the position, digest and time of the log head, signed if a key is given."""
    with engine_of(context) as engine:
        made = engine.checkpoint(key)
    if file is not None:
        made.write(file)
    if json:
        print_json({"checkpoint": _view(made), "file": None if file is None else str(file)})
    elif file is None:
        say(made.line().decode().rstrip("\n"))
    else:
        signed = f", signed by key {made.key}" if made.key else ""
        say(f"wrote {file}: position {made.position:,} of log {made.log}{signed}")


def _view(checkpoint: Checkpoint) -> CheckpointView:
    return CheckpointView(
        log=checkpoint.log,
        position=checkpoint.position,
        digest=checkpoint.digest.hex(),
        time=iso_time(checkpoint.time),
        key=checkpoint.key,
        signature=checkpoint.signature.hex() if checkpoint.signature else None,
    )
