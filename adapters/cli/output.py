"""What the command line prints: data on stdout, everything said about it on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from ...engine.validation import printable

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 10_000
"""Columns where nobody looks at a screen: lines are not folded for a pipe or a file."""

Cell = str | int | None
Advance = Callable[[int, int | None], None]
"""Takes what is done, and of how much; None where nobody knows."""


class Difference(int):
    """A number that is printed with its sign."""


def counted(number: int, what: str) -> str:
    """Return a number with the word for what is counted."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say(line: str) -> None:
    """Print a line on stdout."""
    print(printable(line))


def note(line: str) -> None:
    """Print a line on stderr."""
    print(printable(line), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a value, Structs included, as JSON on stdout."""
    # Escaped beyond ASCII it is the same whatever the encoding of stdout.
    print(json.dumps(msgspec.to_builtins(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table on stdout; numbers are set to the right, and None is left empty."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    listed = list(rows)
    out = _console()
    table = Table(box=SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        numbers = any(isinstance(row[place], int) for row in listed)
        table.add_column(printable(name), justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*map(_text_of, row))
    print_renderable(table)


def print_renderable(drawing: Any) -> None:
    """Print what rich draws on stdout."""
    out = _console()
    # Printed by ourselves: rich would end the process when a pipe is closed.
    with out.capture() as captured:
        out.print(drawing)
    print(captured.get(), end="")


@contextmanager
def progress_bar(what: str) -> Generator[Advance, None, None]:
    """Show a progress bar on stderr while the block runs, if that is a terminal.

    Yields
    ------
    callable
        Takes what is done and of how much.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    err = _console(error=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(printable(what), total=None)

        def advance(done: int, of: int | None) -> None:
            progress.update(task, completed=done, total=of)

        yield advance


def _console(*, error: bool = False) -> Console:
    """Return a console that takes text as it is and uses colour on a terminal only."""
    from rich.console import Console

    console = Console(stderr=error, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def _text_of(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Difference):
        return f"{cell:+,}"
    return f"{cell:,}" if isinstance(cell, int) else printable(cell)
