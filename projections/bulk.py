"""Many rows at once, past SQLAlchemy, whose care for each row takes longer than the database's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


class BulkInsert:
    """An insert of many rows, compiled once.

    Parameters
    ----------
    table : Table
        A table whose columns need no conversion of values.
    replace : bool
        A row takes the place of the one that has its primary key.
    """

    def __init__(self, table: sa.Table, *, replace: bool = False) -> None:
        self._names = [str(column.name) for column in table.columns]
        self._statement = table.insert().values({name: sa.bindparam(name) for name in self._names})
        self._replaced = table if replace else None

    def execute(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each with the values of all columns in their order."""
        compiled: Any = self._statement.compile(dialect=connection.dialect)
        ending = "" if self._replaced is None else _replacing(self._replaced, connection)
        given: Any = rows
        if not compiled.positional:
            given = [dict(zip(self._names, row, strict=True)) for row in rows]
        raw: Any = connection.connection.driver_connection
        cursor = raw.cursor()
        try:
            cursor.executemany(f"{compiled}{ending}", given)
        finally:
            cursor.close()


def _replacing(table: sa.Table, connection: sa.Connection) -> str:
    """Return the end of an insert that replaces rows: SQLite and PostgreSQL spell it alike."""
    quote = connection.dialect.identifier_preparer.quote
    keys = ", ".join(quote(column.name) for column in table.primary_key)
    others = [quote(column.name) for column in table.columns if not column.primary_key]
    values = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f" ON CONFLICT ({keys}) DO UPDATE SET {values}"
