"""Logs as they lie on the disk, without the engine that guards them."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def raw(folder, name="log.db"):
    with closing(sqlite3.connect(Path(folder) / name, isolation_level=None)) as connection:
        yield connection


@contextmanager
def unguarded(folder):
    """Give the database without its triggers, as somebody would who rewrites the file, and put them back."""
    with raw(folder) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.execute("BEGIN")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, statement in triggers:
            connection.execute(statement)
        connection.execute("COMMIT")
