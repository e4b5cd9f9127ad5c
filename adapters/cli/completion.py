"""`framelode completion`: what makes a shell complete commands, options and files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .process import COMPLETION_VARIABLE

completing = typer.Typer()


class Shell(StrEnum):
    """The shells that can be helped."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


@completing.command()
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print what makes a shell complete this command, to be read by its start-up file."""
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="framelode", complete_var=COMPLETION_VARIABLE, shell=shell.value))
