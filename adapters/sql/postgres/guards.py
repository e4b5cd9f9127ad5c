"""Triggers that make a log in PostgreSQL append-only."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ..database import Guards
from ..log.tables import LOG_TABLES
from .together import run_together

_IN_ORDER = {
    "log_info": ("EXISTS (SELECT 1 FROM {schema}.log_info)", "the log has its identity already"),
    "append": (
        """NEW.append_id <> (SELECT coalesce(max(append_id), 0) + 1 FROM {schema}.append)
        OR EXISTS (SELECT 1 FROM {schema}.append WHERE command_id = NEW.command_id AND part = NEW.part)""",
        "an append must be the next one, and each part of a command is recorded once",
    ),
    "record_batch": (
        """NEW.first_position <> coalesce(
            (SELECT first_position + count FROM {schema}.record_batch ORDER BY first_position DESC LIMIT 1), 1)
        OR NEW.first_version <> coalesce(
            (SELECT first_version + count FROM {schema}.record_batch
             WHERE stream_id = NEW.stream_id ORDER BY first_version DESC LIMIT 1), NEW.first_version)""",
        "a batch must follow the head of the log and the head of its stream",
    ),
    "record_body": (
        """NEW.first_position <= (SELECT max(first_position) FROM {schema}.record_body)
        OR NOT EXISTS (SELECT 1 FROM {schema}.record_batch WHERE first_position = NEW.first_position)""",
        "a body must belong to the batch just recorded",
    ),
}
_REFUSED = """BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END"""
_UNLESS_EMPTY = """BEGIN
    IF EXISTS (SELECT 1 FROM {schema}.record_batch) THEN
        RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END"""
_REFUSED_OUT_OF_ORDER = """BEGIN
    IF {condition} THEN
        RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END"""
_CHANGES = ("UPDATE", "DELETE", "TRUNCATE")
_TYPES = {"INSERT ON": 0b111, "UPDATE ON": 0b10010, "DELETE ON": 0b1010, "TRUNCATE ON": 0b100010}
"""`tgtype` of the triggers: 1 for each row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate."""


class PostgresGuards(Guards):
    """The triggers of a log in PostgreSQL, and their functions.

    They fire in all session modes, including replica mode.

    Parameters
    ----------
    schema : str
        The schema of the log.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._functions = {"refuse": _REFUSED, "refuse_unless_empty": _UNLESS_EMPTY.format(schema=schema)}
        self._triggers: dict[str, tuple[str, str, str]] = {}
        for table in LOG_TABLES:
            for change in _CHANGES:
                # An empty log can take over the identity of an imported one.
                function = "refuse_unless_empty" if (table, change) == ("log_info", "UPDATE") else "refuse"
                self._triggers[f"{table}_no_{change.lower()}"] = (table, f"{change} ON", function)
            condition, reason = _IN_ORDER[table]
            function = f"{table}_in_order"
            condition = condition.format(schema=schema)
            self._functions[function] = _REFUSED_OUT_OF_ORDER.format(condition=condition, reason=reason)
            self._triggers[function] = (table, "INSERT ON", function)

    def install(self, connection: sa.Connection) -> None:
        """Create the triggers, in one round trip."""
        statements = [
            # Plans are made while the tables are empty, and kept in the session while the tables grow.
            f"CREATE OR REPLACE FUNCTION {self._schema}.{name}() RETURNS trigger LANGUAGE plpgsql "
            f"SET enable_seqscan TO off AS $guard${source}$guard$"
            for name, source in self._functions.items()
        ]
        for name, (table, event, function) in self._triggers.items():
            place, each = f"{self._schema}.{table}", "ROW" if event == "INSERT ON" else "STATEMENT"
            statements.append(
                f"CREATE OR REPLACE TRIGGER {name} BEFORE {event} {place} FOR EACH {each} "
                f"EXECUTE FUNCTION {self._schema}.{function}()"
            )
            statements.append(f"ALTER TABLE {place} ENABLE ALWAYS TRIGGER {name}")
        raw: Any = connection.connection.driver_connection
        run_together(raw, "; ".join(statements))

    def missing(self, connection: sa.Connection) -> list[str]:
        """Return the names of triggers that are missing, not always enabled, or changed."""
        rows = connection.exec_driver_sql(
            """SELECT t.tgname, c.relname, t.tgtype::int4, p.proname, p.prosrc
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
            JOIN pg_language l ON l.oid = p.prolang
            WHERE c.relnamespace = %(schema)s::regnamespace AND p.pronamespace = c.relnamespace
            AND t.tgenabled = 'A' AND t.tgqual IS NULL AND t.tgattr::text = ''
            AND l.lanname = 'plpgsql' AND p.proconfig = ARRAY['enable_seqscan=off']""",
            {"schema": self._schema},
        )
        found = {tuple(row) for row in rows}
        expected = {
            (name, table, _TYPES[event], function, self._functions[function])
            for name, (table, event, function) in self._triggers.items()
        }
        return sorted(name for name, *_ in expected - found)

    @contextmanager
    def lifted(self, connection: sa.Connection) -> Generator[None, None, None]:  # noqa: ARG002 - the contract's signature
        """Do nothing: the trigger allows changing the identity of an empty log."""
        yield
