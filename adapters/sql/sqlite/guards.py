"""Triggers that make a log in SQLite append-only."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ..database import Guards
from ..log.tables import LOG_TABLES

_INSERT_RULES = {
    "log_info": ("EXISTS (SELECT 1 FROM log_info)", "the log has its identity already"),
    "append": (
        """NEW.append_id <> (SELECT coalesce(max(append_id), 0) + 1 FROM append)
        OR EXISTS (SELECT 1 FROM append WHERE command_id = NEW.command_id AND part = NEW.part)""",
        "an append must be the next one, and each part of a command is recorded once",
    ),
    "record_batch": (
        """NEW.first_position <> coalesce(
            (SELECT first_position + count FROM record_batch ORDER BY first_position DESC LIMIT 1), 1)
        OR NEW.first_version <> coalesce(
            (SELECT first_version + count FROM record_batch
             WHERE stream_id = NEW.stream_id ORDER BY first_version DESC LIMIT 1), NEW.first_version)""",
        "a batch must follow the head of the log and the head of its stream",
    ),
    "record_body": (
        """EXISTS (SELECT 1 FROM record_body WHERE first_position >= NEW.first_position)
        OR NOT EXISTS (SELECT 1 FROM record_batch WHERE first_position = NEW.first_position)""",
        "a body must belong to the batch just recorded",
    ),
}


class SqliteGuards(Guards):
    """The triggers of a log in SQLite."""

    def install(self, connection: sa.Connection) -> None:
        """Create the triggers."""
        raw: Any = connection.connection.driver_connection
        for statement in _statements():
            raw.execute(statement)

    def missing(self, connection: sa.Connection) -> list[str]:
        """Return the names of triggers that are missing or changed."""
        raw: Any = connection.connection.driver_connection
        found = set(raw.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"))
        # SQLite stores the statement unchanged, except for this.
        expected = (statement.replace("IF NOT EXISTS ", "", 1) for statement in _statements())
        triggers = {(words[2], words[6], text) for text in expected for words in [text.split()]}
        return sorted(name for name, *_ in triggers - found)

    @contextmanager
    def lifted(self, connection: sa.Connection) -> Generator[None, None, None]:
        """Drop the trigger that protects the identity, inside the transaction only."""
        name = "log_info_no_update"
        (guard,) = (statement for statement in _statements() if f" {name} " in statement)
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        yield
        connection.exec_driver_sql(guard)


def _statements() -> list[str]:
    statements: list[str] = []
    for table in LOG_TABLES:
        statements += [
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'the log is append-only: {change} on {table} is refused'); END"
            for change in ("UPDATE", "DELETE")
        ]
        condition, reason = _INSERT_RULES[table]
        statements.append(
            f"CREATE TRIGGER IF NOT EXISTS {table}_in_order BEFORE INSERT ON {table} WHEN {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{reason}'); END"
        )
    return statements
