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
    """

    def __init__(self, table: sa.Table) -> None:
        self._names = [str(column.name) for column in table.columns]
        self._statement = table.insert().values({name: sa.bindparam(name) for name in self._names})

    def execute(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each with the values of all columns in their order."""
        compiled: Any = self._statement.compile(dialect=connection.dialect)
        given: Any = rows
        if not compiled.positional:
            given = [dict(zip(self._names, row, strict=True)) for row in rows]
        raw: Any = connection.connection.driver_connection
        cursor = raw.cursor()
        try:
            cursor.executemany(str(compiled), given)
        finally:
            cursor.close()
