"""The rows of projections, which tests compare."""

from __future__ import annotations

import sqlalchemy as sa


def rows_by_table(store, projections):
    """Return the rows of all tables, by name, in no order. A table that nothing has needed so far is like an empty one."""
    with store.read() as connection:
        created = set(sa.inspect(connection).get_table_names())
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            if table.name in created
            else []
            for projection in projections
            for table in projection.metadata.sorted_tables
        }
