"""`framelode completion`: completion scripts for shells."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .main import COMPLETION_VARIABLE

completing = typer.Typer()


class Shell(StrEnum):
    """The supported shells."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


@completing.command(epilog="Example: framelode completion bash")
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print the completion script for a shell."""
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="framelode", complete_var=COMPLETION_VARIABLE, shell=shell.value))
