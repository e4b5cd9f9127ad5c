"""Output of the command line: data on stdout; progress, notes and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ...engine.validation import printable
from ..display.progress import Advance, bar

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 10_000
"""Width in columns when stdout is not a terminal, so that lines are not wrapped in a pipe or file."""

Item = TypeVar("Item")
Cell = str | int | None


class Difference(int):
    """An integer that is printed with its sign."""


def counted(number: int, what: str) -> str:
    """Return a number followed by its unit, in the plural if needed."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say(line: str) -> None:
    """Print a line on stdout."""
    print(printable(line))


def note(line: str) -> None:
    """Print a line on stderr."""
    print(printable(line), file=sys.stderr, flush=True)


def limited(items: Iterable[Item], limit: int | None, what: str) -> Iterator[Item]:
    """Yield at most `limit` items, then print on stderr how many more there are.

    Parameters
    ----------
    what : str
        What the items are called, in the singular.
    """
    waiting = iter(items)
    yield from islice(waiting, limit)
    if next(waiting, None) is None:
        return
    with progress_bar(f"counting {what}s"):
        more = 1 + sum(1 for _ in waiting)
    note(f"and {counted(more, f'more {what}')}: give a larger --limit to see more")


def print_json(value: Any) -> None:
    """Print a value, Structs included, as JSON on stdout."""
    # Non-ASCII characters are escaped, so the output does not depend on the encoding of stdout.
    print(json.dumps(msgspec.to_builtins(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table on stdout. Numbers are right-aligned; None is an empty cell."""
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
    """Print a rich renderable on stdout."""
    out = _console()
    # Printed here, because rich would end the process when a pipe is closed.
    with out.capture() as captured:
        out.print(drawing)
    print(captured.get(), end="")


@contextmanager
def progress_bar(what: str) -> Generator[Advance, None, None]:
    """Show a progress bar on stderr while the block runs, if stderr is a terminal.

    Yields
    ------
    callable
        Takes the amount done and the total.
    """
    err = _console(error=True)
    with bar(what, err, shown=err.is_terminal) as advance:
        yield advance


def _console(*, error: bool = False) -> Console:
    """Return a console that prints text unchanged and uses colour on a terminal only."""
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
