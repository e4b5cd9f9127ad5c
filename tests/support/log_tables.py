"""What a log holds, row by row, in any database."""

from __future__ import annotations

from raw_logs import TABLES


def rows(engine, *tables):
    """Return every stored value of the tables of a log, or of some."""
    with engine.log.database.read() as connection:
        return {
            table: [
                tuple(row)
                for row in connection.exec_driver_sql(
                    f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY 1"
                )
            ]
            for table in tables or TABLES
        }
