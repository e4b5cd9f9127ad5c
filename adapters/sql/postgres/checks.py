"""Checks that the indexes of a PostgreSQL schema match its tables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from .together import run_together

_INDEXES = """SELECT i.indexrelid::int8 AS oid, quote_ident(c.relname) AS index, quote_ident(t.relname) AS table,
    i.indisvalid AS valid, coalesce(pg_get_expr(i.indpred, i.indrelid), 'true') AS predicate,
    array_to_string(array(SELECT quote_ident(a.attname) FROM unnest(i.indkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place), ', ') AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_am m ON m.oid = c.relam
WHERE c.relnamespace = %(schema)s::regnamespace AND m.amname = 'btree' ORDER BY c.relname"""
# By OID: a lookup by name could search schemas that this role cannot access.
_AMCHECK = """SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_proc p ON p.pronamespace = n.oid
WHERE e.extname = 'amcheck' AND p.proname = 'bt_index_check' AND p.pronargs = 2
AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')"""
_TABLE_ALONE = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
_INDEX_ALONE = ("enable_seqscan", "enable_bitmapscan")


def index_problems(connection: sa.Connection, schema: str) -> list[str]:
    """Return what is wrong with the indexes of a schema.

    The extension amcheck checks them if it is available. Otherwise the contents of indexes and tables are compared.

    Parameters
    ----------
    connection : Connection
        A connection without an open transaction.
    schema : str
        The schema.
    """
    indexes = connection.exec_driver_sql(_INDEXES, {"schema": schema}).all()
    amcheck = connection.exec_driver_sql(_AMCHECK).scalar()
    problems: list[str] = []
    for index in indexes:
        problem = "it is not valid" if not index.valid else _problem(connection, index, amcheck)
        if problem:
            problems.append(f"the index {index.index} of table {index.table} is damaged: {problem}")
    return problems


def _problem(connection: sa.Connection, index: Any, amcheck: str | None) -> str:
    if amcheck is None:
        return _difference(connection, index)
    check = f"SELECT {amcheck}.bt_index_check(%(oid)s::int8::oid::regclass, true)"
    try:
        connection.exec_driver_sql(check, {"oid": index.oid})
    except exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "XX002":
            return str(error.orig)
        raise
    return ""


def _difference(connection: sa.Connection, index: Any) -> str:
    query = (
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({index.columns})::text, 0)), 0) "  # noqa: S608 - names of ours, quoted
        f"FROM {index.table} WHERE {index.predicate}"
    )
    with _same_moment(connection):
        found = [
            _run_without(connection, switched_off, query) for switched_off in (_TABLE_ALONE, _INDEX_ALONE)
        ]
    (table, _), (entries, _) = found
    return "" if found[0] == found[1] else f"it has {entries} entries for {table} rows, or different values"


def _run_without(connection: sa.Connection, switched_off: tuple[str, ...], query: str) -> tuple[int, int]:
    """Run a query without some ways to read, in one round trip."""
    names = sorted({*_TABLE_ALONE, *_INDEX_ALONE})
    settings = (f"SET LOCAL {name} TO {'off' if name in switched_off else 'on'}" for name in names)
    raw: Any = connection.connection.driver_connection
    count, digest = run_together(raw, "; ".join([*settings, query]))
    return count, digest


@contextmanager
def _same_moment(connection: sa.Connection) -> Generator[None, None, None]:
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")
