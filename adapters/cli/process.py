"""The group of all commands: the conversion of errors to one line and an exit status. Options are read when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

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


class LateCommand(TyperCommand):
    """A command that reads its parameters from its function when they are first needed: for all commands that takes long."""

    def __init__(self, name: str | None, *, callback: Any = None, **settings: Any) -> None:
        self._function = callback.function
        super().__init__(name, callback=callback, **settings)

    @property
    def params(self) -> list[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The parameters."""
        if self._function is not None:
            info = CommandInfo(name=self.name, callback=self._function)
            full = get_command_from_info(
                info, pretty_exceptions_short=False, rich_markup_mode=self.rich_markup_mode
            )
            self._function = None
            self._params, self.callback = full.params, full.callback
        return self._params

    @params.setter
    def params(self, value: list[Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._params = value


def read_later(group: typer.Typer) -> None:
    """Let all commands of a group, and of the groups in it, read their parameters when they are needed."""
    for command in group.registered_commands:
        command.cls, command.callback = LateCommand, _without_parameters(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            read_later(inner.typer_instance)


def _without_parameters(function: Any) -> Callable[[], None]:
    def later() -> None: ...

    later.__name__, later.__doc__ = function.__name__, function.__doc__
    vars(later)["function"] = function
    return later
