"""Options and arguments that several commands share, and the engine they are about."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .. import location

if TYPE_CHECKING:
    from ..connection import Engine

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


@contextmanager
def engine_of(context: typer.Context) -> Generator[Engine, None, None]:
    """Give the engine meant, as the current one of the block; closed afterwards if it was opened here."""
    from ..connection import current_engine

    url = location.find(context.obj)
    if url is None:
        yield current_engine()
        return
    with closing(current_engine(url)) as engine, engine:
        yield engine
