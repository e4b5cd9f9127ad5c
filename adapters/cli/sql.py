"""`framelode sql`: a SELECT over versions."""

from __future__ import annotations

import json as json_text
import math
import sys
from datetime import date, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.errors import UsageError
from .options import AsOf, engine_of
from .output import Cell, counted, note, print_table, say

if TYPE_CHECKING:
    from ..queries.sql import SqlResult

asking = typer.Typer()

_LONGEST = 80
"""Characters of a value in a table; the annotations of a frame are thousands."""


@asking.command(
    "sql",
    epilog="Example: framelode sql \"select label, count(*) from annotations('food@v1') group by label\"",
)
def sql(
    context: typer.Context,
    statement: Annotated[
        str, typer.Argument(metavar="STATEMENT", help="A SELECT, or - to read it from stdin.")
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--limit",
            metavar="N",
            help="Show at most N rows. Default: 100 in a table, else all.",
            min=0,
        ),
    ] = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV on stdout, with the names of the columns first.")
    ] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows into a Parquet file.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Fail after this many seconds.")
    ] = None,
    memory_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory that DuckDB may use, such as 4GB.")
    ] = "1GB",
    as_of: AsOf = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each row on stdout.")] = False,
) -> None:
    """Run a SELECT over the frames, annotations and sources of versions, their changes, and the log."""
    if csv + json + (parquet is not None) > 1:
        raise UsageError("--csv, --json and --parquet exclude each other: pass one of them")
    if parquet is not None and limit is not None:
        raise UsageError("--limit does not apply to --parquet: write LIMIT in the statement")
    text = sys.stdin.read() if statement == "-" else statement
    with engine_of(context, as_of) as engine:
        result = engine.sql(text, timeout=timeout, memory_limit=memory_limit)
        if parquet is not None:
            say(f"{parquet}: {counted(result.to_parquet(parquet), 'row')} written")
        elif csv or json:
            _print_rows(result, limit, as_csv=csv)
        else:
            _print_table(result, 100 if limit is None else limit)


def _print_rows(result: SqlResult, limit: int | None, *, as_csv: bool) -> None:
    """Print rows as they come, each on a line."""
    rows = islice(result, limit)
    if as_csv:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(map(_cell, row) for row in rows)
        return
    of_json = [kind == "JSON" for kind in result.types]
    for row in rows:
        values = (
            json_text.loads(value) if is_json and value is not None else _plain(value)
            for is_json, value in zip(of_json, row, strict=True)
        )
        print(json_text.dumps(dict(zip(result.columns, values, strict=True))))


def _print_table(result: SqlResult, limit: int) -> None:
    rows = [list(map(_cell, row)) for row in islice(result, limit + 1)]
    print_table(result.columns, [list(map(_cut, row)) for row in rows[:limit]])
    if any(isinstance(cell, str) and len(cell) > _LONGEST for row in rows[:limit] for cell in row):
        note(f"values of more than {_LONGEST} characters are cut: --csv and --json print them whole")
    if len(rows) > limit:
        note(f"only {counted(limit, 'row')} shown: give a larger --limit to see more")


def _cell(value: Any) -> Cell:
    """Return a value as it is shown in a table or in CSV: lists and structs as JSON."""
    found = _plain(value)
    if found is None or isinstance(found, str) or type(found) is int:
        return found
    return json_text.dumps(found, ensure_ascii=False)


def _cut(cell: Cell) -> Cell:
    return f"{cell[:_LONGEST]}..." if isinstance(cell, str) and len(cell) > _LONGEST else cell


def _plain(value: Any) -> Any:
    """Return a value of DuckDB as one of JSON."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case bytes() | date() | time():
            return value.hex() if isinstance(value, bytes) else value.isoformat()
        case list() | tuple():
            return list(map(_plain, value))
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case _:
            return str(value)
