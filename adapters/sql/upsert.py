"""Compiles `Upsert`. SQLite and PostgreSQL use the same syntax."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.compiler import compiles

from ...projections.statements import Upsert


@compiles(Upsert)
def _upsert(statement: Upsert, compiler: Any, **options: Any) -> str:
    table, quote = statement.table, compiler.preparer.quote
    keys = ", ".join(quote(column.name) for column in table.primary_key)
    others = [quote(column.name) for column in table.columns if not column.primary_key]
    values = ", ".join(f"{name} = excluded.{name}" for name in others)
    insert = compiler.visit_insert(statement, **options)
    return f"{insert} ON CONFLICT ({keys}) DO UPDATE SET {values}"
