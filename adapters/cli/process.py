"""The process of the command line: its streams, and the conversion of errors to one line and an exit status."""

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
"""Environment variable that a shell sets to request completions."""

_OTHER_NAMES = {"pull": "checkout"}

_RESUMED = frozenset({"checkout", "copy", "gc", "import", "rebuild", "revert"})
"""Commands that go on where an interrupt has stopped them. All others read, or record all or nothing."""

_INTERRUPTED = "interrupted: recorded changes are kept; run the same command again to resume"

SOME_REFUSED = 1
INTERRUPTED = 130
BROKEN_PIPE = 141


class Commands(TyperGroup):
    """Runs commands; every expected error becomes one line on stderr and an exit status."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name or its other name."""
        return super().get_command(ctx, _OTHER_NAMES.get(cmd_name, cmd_name))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except FramelodeError as error:
            note(f"error: {error}")
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt:
            note(_INTERRUPTED if ctx.invoked_subcommand in _RESUMED else "interrupted")
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
        """Extend the error for a global option given after the command: typer has its own exception class for it."""
        option = getattr(error, "option_name", None)
        if any(option in parameter.opts for parameter in self.params):
            error.message = f"{option} must come before the command: framelode {option} ... COMMAND"


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run an app with the arguments of the process and exit with its status."""
    _prepare_streams()
    # No command multiplies matrices, and the threads that numpy would start for it busy-wait.
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
    """Make every string printable in any encoding, and replace a closed stdout or stderr."""
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
            note(f"error: the argument {argument!r} is not valid in the encoding of this terminal")
            sys.exit(UsageError.exit_status)


def _finish_stdout() -> int:
    """Flush stdout; return the exit status if that fails, else 0."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Exit silently, like a Unix command that SIGPIPE ends.
        _drop_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _drop_stdout()
        note(f"error: stdout cannot be written: {error.strerror}")
        return StorageError.exit_status
    return 0


def _drop_stdout() -> None:
    """Discard the rest of stdout, which the interpreter would otherwise flush at exit and report as an error."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = _nowhere()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")
