"""Options and arguments that several commands share, and the engine they act on."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import UsageError
from ..session import location
from .output import note

if TYPE_CHECKING:
    from ...engine.log.moments import Moment
    from ..engine import Engine

_SPAN = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Actor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Actor to record. Default: FRAMELODE_ACTOR, then the user name."),
]
Project = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Project of the dataset. Required if several projects have the dataset."
    ),
]
AddressText = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="project/dataset@version (project and version are optional), or id:<first digits of a version id>.",
    ),
]
DatasetText = Annotated[
    str, typer.Argument(metavar="DATASET", help="project/dataset (the project is optional).")
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="POSITION|TIME",
        help="Read the state at this point in time: a log position, or a time such as 2026-03-01T12:00:00Z, yesterday or '2 days ago'.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="POSITION|TIME",
        help="Start at this log position or time, such as 2026-03-01T12:00:00Z, yesterday or '2 days ago'.",
    ),
]
Until = Annotated[
    str | None, typer.Option(metavar="POSITION|TIME", help="End at this log position or time, inclusive.")
]
By = Annotated[str | None, typer.Option("--by", metavar="ACTOR", help="Show only changes by this actor.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Show only changes of this kind, such as deleted or published. Repeatable.",
    ),
]
Limit = Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="Show at most N.", min=0)]
FrameId = Annotated[
    str,
    typer.Argument(
        metavar="FRAME", help="Frame id, or its first characters if no other id begins with them."
    ),
]

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ADDRESS",
        help="Run on the workers of this Dask scheduler, such as tcp://scheduler:8786.",
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Run in N processes on this machine.")
]


Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Also remove published versions.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal whether to go on, unless `yes`; end the command if not.

    Raises
    ------
    UsageError
        There is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on: add --yes")
    if not typer.confirm(question, err=True):
        note("nothing changed")
        raise typer.Exit(UsageError.exit_status)


@contextmanager
def engine_of(context: typer.Context, as_of: str | None = None) -> Generator[Engine, None, None]:
    """Yield the selected engine, or a view of its past, as the current engine of the block; close it if opened here."""
    from ..connect import current_engine

    moment = moment_of(as_of)
    url = location.find(context.obj)
    if url is None:
        yield current_engine().at(moment)
        return
    with closing(current_engine(url)) as engine, engine.at(moment) as view:
        yield view


def moment_of(text: str | None, *, day_ends: bool = True) -> Moment | None:
    """Parse the point in time given to an option. A day stands for its end, or for its start."""
    if text is None:
        return None
    from ...engine.log.moments import parse_moment

    return parse_moment(text, day_ends=day_ends)


def start_of(text: str | None) -> Moment | None:
    """Parse the point in time given to `--since`: a day stands for its start."""
    return moment_of(text, day_ends=False)


def span_of(text: str, option: str) -> timedelta:
    """Parse a duration given to an option: a number followed by s, m, h, d or w."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{option} {text!r} is not a duration: write a number followed by s, m, h, d or w, such as 7d"
        )
    return timedelta(**{_UNITS[found[2]]: float(found[1])})
