"""Options and arguments that several commands share, and the engine they are about."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import UsageError
from ..session import location

if TYPE_CHECKING:
    from ...engine.log.moments import Moment
    from ..engine import Engine

_SPAN = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Actor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who acts; else FRAMELODE_ACTOR, else the user name."),
]
Project = Annotated[
    str | None, typer.Option(metavar="NAME", help="Project of the dataset; needed where several have it.")
]
AddressText = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="project/dataset@version or id:<first digits>; project and version may be left out.",
    ),
]
DatasetText = Annotated[
    str, typer.Argument(metavar="DATASET", help="project/dataset; the project may be left out.")
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="MOMENT",
        help="As it was then: a position, or a time such as 2026-03-01T12:00:00Z.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="MOMENT", help="From this position or time on, such as 2026-03-01T12:00:00Z."),
]
Until = Annotated[str | None, typer.Option(metavar="MOMENT", help="Up to this position or time.")]
By = Annotated[str | None, typer.Option("--by", metavar="ACTOR", help="Only what this actor did.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only such changes, as deleted or published; may be repeated."
    ),
]

On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="ADDRESS", help="A Dask scheduler whose workers do it, such as tcp://scheduler:8786."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Do it in so many processes of this machine.")
]


@contextmanager
def engine_of(context: typer.Context, as_of: str | None = None) -> Generator[Engine, None, None]:
    """Give the engine meant, or a view of its past, as the current one of the block; closed afterwards if opened here."""
    from ..connect import current_engine

    moment = moment_of(as_of)
    url = location.find(context.obj)
    if url is None:
        yield current_engine().at(moment)
        return
    with closing(current_engine(url)) as engine, engine.at(moment) as view:
        yield view


def moment_of(text: str | None) -> Moment | None:
    """Return the moment that an option gives."""
    if text is None:
        return None
    from ...engine.log.moments import parse_moment

    return parse_moment(text)


def span_of(text: str, option: str) -> timedelta:
    """Return the time that an option gives: a number and s, m, h, d or w."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text!r} is no time: write a number and s, m, h, d or w, such as 7d")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})
