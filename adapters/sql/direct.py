"""Queries that are run past SQLAlchemy."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


class DirectQuery:
    """A hot query: compiled once by SQLAlchemy, whose execution would take longer than the database's.

    Parameters
    ----------
    statement : Select
        A query without type conversions.
    names : sequence of str
        Its bind parameters, in the order in which `rows` gets their values.
    """

    def __init__(self, statement: Any, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        columns = [column.name for column in statement.selected_columns]
        # The names come with the query.
        self._row: Any = namedtuple("_Row", columns)._make  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple]
        self._compiled: dict[str, tuple[str, tuple[int, ...] | None]] = {}

    def rows(self, connection: sa.Connection, values: Sequence[Any]) -> list[Any]:
        """Return the rows for some values, their columns by name."""
        dialect = connection.dialect.name
        if dialect not in self._compiled:
            self._compiled[dialect] = self._compile(connection.dialect)
        text, places = self._compiled[dialect]
        given: Any = (
            dict(zip(self._names, values, strict=True))
            if places is None
            else [values[place] for place in places]
        )
        raw: Any = connection.connection.driver_connection
        return list(map(self._row, raw.execute(text, given)))

    def _compile(self, dialect: sa.Dialect) -> tuple[str, tuple[int, ...] | None]:
        """Return the text, and which value stands at which place; None where values go by name."""
        compiled: Any = self._statement.compile(dialect=dialect)
        if not compiled.positional:
            return str(compiled), None
        return str(compiled), tuple(self._names.index(name) for name in compiled.positiontup)
