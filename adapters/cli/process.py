"""The group of all commands: the conversion of errors to one line and an exit status."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ...engine.errors import FramelodeError, StorageError
from .output import note
from .streams import BROKEN_PIPE, drop_stdout

_OTHER_NAMES = {"pull": "checkout"}

_RESUMED = frozenset({"checkout", "copy", "gc", "import", "rebuild", "revert"})
"""Commands that go on where an interrupt has stopped them. All others read, or record all or nothing."""

_INTERRUPTED = "interrupted: recorded changes are kept; run the same command again to resume"

SOME_REFUSED = 1
INTERRUPTED = 130


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
            drop_stdout()
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
