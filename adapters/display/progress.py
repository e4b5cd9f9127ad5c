"""Progress bars: on a terminal for commands, and in notebooks for calls that take long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...engine.validation import printable

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[int, int | None], None]
"""Takes the amount done and the total, None if it is unknown."""


@contextmanager
def bar(what: str, console: Console | None = None, *, shown: bool = True) -> Generator[Advance, None, None]:
    """Show a progress bar while the block runs.

    Parameters
    ----------
    what : str
        What is done.
    console : rich.console.Console, optional
        Where to show it, by default stdout or the notebook.
    shown : bool
        Whether to show it at all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Rich's own default is a console of the process, which may be older than the notebook.
    with Progress(*columns, console=console or Console(), transient=True, disable=not shown) as progress:
        task = progress.add_task(printable(what), total=None)

        def advance(done: int, of: int | None) -> None:
            progress.update(task, completed=done, total=of, refresh=done == of)

        yield advance


@contextmanager
def notebook_bar(
    what: str, given: Callable[[int, int], None] | None
) -> Generator[Callable[[int, int], None] | None, None, None]:
    """Yield the callback that was given. Without one, show a progress bar if this is a notebook."""
    if given is not None or not in_notebook():
        yield given
        return
    with bar(what) as advance:
        yield advance


def in_notebook() -> bool:
    """Whether this runs in a notebook that can show a progress bar, for which rich needs ipywidgets."""
    if "IPython" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter
