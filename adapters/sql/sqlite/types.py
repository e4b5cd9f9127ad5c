"""How SQLite stores columns and tables, and checks of stored values, since its columns accept values of any type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteDDLCompiler, SQLiteTypeCompiler

from ....projections.columns import BadValueError, Bytes


def _checked(expected: type) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if value is None or type(value) is expected:
            return value
        raise BadValueError(f"a column of {expected.__name__} holds {str(value)[:40]!r}")

    return checked


class _Text(sa.Text):
    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return _checked(str)


class _Whole(sa.Integer):
    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002
        return _checked(int)


class _Bytes(Bytes):
    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002
        return _checked(bytes)


class _Types(SQLiteTypeCompiler):
    def visit_BIGINT(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802 - SQLAlchemy's signature
        """Return INTEGER, which has 64 bits; only this type makes a primary key the row id."""
        return "INTEGER"


class _Tables(SQLiteDDLCompiler):
    def post_create_table(self, table: sa.Table) -> Any:
        """Return the options of a table: rows in the order of the primary key, if the table is clustered."""
        return "\n WITHOUT ROWID" if table.info.get("clustered") else super().post_create_table(table)


def compile_tables(dialect: sa.Dialect) -> None:
    """Set up how a dialect compiles column types and tables, and how it finds tables."""
    dialect.type_compiler_instance = _Types(dialect)
    dialect.ddl_compiler = _Tables
    dialect.get_table_names = table_names


def table_names(connection: sa.Connection, schema: str | None = None, **kw: Any) -> list[str]:  # noqa: ARG001 - SQLAlchemy's signature
    """Return the names of the existing tables. Execution by SQLAlchemy would take ten times as long."""
    raw: Any = connection.connection.driver_connection
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    return [name for (name,) in raw.execute(query)]


def check_values(dialect: sa.Dialect) -> None:
    """Make a dialect raise `BadValueError` if a value is not of the type of its column."""
    types: dict[Any, Any] = {sa.LargeBinary: _Bytes, sa.Text: _Text, sa.Integer: _Whole}
    dialect.colspecs = {**types, **dialect.colspecs}
