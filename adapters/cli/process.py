"""The command line as a process: its streams, and how errors become one line and an exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from ...engine.errors import FramelodeError, StorageError, UsageError
from .output import note

COMPLETION_VARIABLE = "_FRAMELODE_COMPLETE"
"""Set by a shell that asks for completions."""

SOME_REFUSED = 1
INTERRUPTED = 130
BROKEN_PIPE = 141


class Commands(TyperGroup):
    """Runs commands; what is no bug ends in an exit status, errors with one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except FramelodeError as error:
            note(f"error: {error}")
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt:
            note(
                "interrupted: what was recorded stays; run the same command again and it carries on from there"
            )
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _drop_stdout()
            raise typer.Exit(BROKEN_PIPE) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            note(f"error: {place}{error.strerror or error}")
            raise typer.Exit(StorageError.exit_status) from None
        except Exception as error:
            self._say_where_it_stands(error)
            raise

    def _say_where_it_stands(self, error: Any) -> None:
        """Add to the error of an unknown option where it is known: typer has an exception class of its own for it."""
        option = getattr(error, "option_name", None)
        if any(option in parameter.opts for parameter in self.params):
            error.message = f"{option} stands before the command: framelode {option} ... COMMAND"


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run an app on the process's arguments and exit with its status."""
    _prepare_streams()
    # No command multiplies matrices, and the threads that numpy would start for it spin for a while.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        _check_arguments()
        if COMPLETION_VARIABLE in os.environ:
            from typer._completion_classes import completion_init

            completion_init()
        app(prog_name=name)
        status: int | str | None = 0
    except SystemExit as done:
        status = done.code
    sys.exit(_finish_stdout() or status)


def _prepare_streams() -> None:
    """Let every name be printed in any encoding, and do without a stdout or stderr that was closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere())
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _check_arguments() -> None:
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            note(f"error: the argument {argument!r} is not valid text in this encoding")
            sys.exit(UsageError.exit_status)


def _finish_stdout() -> int:
    """Write out what is buffered; returns the status of a failure to do so, else 0."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # As a Unix command that SIGPIPE ends: without a word.
        _drop_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _drop_stdout()
        note(f"error: stdout cannot be written: {error.strerror}")
        return StorageError.exit_status
    return 0


def _drop_stdout() -> None:
    """Send the rest of stdout nowhere: the interpreter would write it at its end, and complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = _nowhere()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")
