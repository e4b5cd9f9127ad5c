"""The `framelode` command. It loads the commands unless only the version is asked for."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from ... import __version__
from .streams import run

COMPLETION_VARIABLE = "_FRAMELODE_COMPLETE"
"""Environment variable that a shell sets to request completions."""

VERSION = f"framelode {__version__}"


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    run(_work)


def _work() -> None:
    if COMPLETION_VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    elif sys.argv[1:] == ["--version"]:
        print(VERSION)
        return
    from .app import app

    app(prog_name="framelode")
