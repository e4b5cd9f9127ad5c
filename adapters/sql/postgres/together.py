"""Runs several statements in one round trip."""

from __future__ import annotations

from typing import Any

import psycopg


def run_together(raw: psycopg.Connection[Any], statements: str) -> Any:
    """Run statements, separated by semicolons, in one round trip. Returns the first row of the last one, if it has any."""
    with psycopg.Cursor(raw) as cursor:
        cursor.execute(statements.encode())
        while cursor.nextset():
            pass
        return cursor.fetchone() if cursor.description else None
