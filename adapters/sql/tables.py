"""Tables of the log, and the triggers by which it refuses to be rewritten."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

FORMAT_VERSION = 1

metadata = sa.MetaData()

log_info = sa.Table(
    "log_info",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    sa.Column("format", sa.Integer, nullable=False),
)

append = sa.Table(
    "append",
    metadata,
    sa.Column("append_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("command_id", sa.Text, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("is_last", sa.Integer, nullable=False),
    sa.Column("request_digest", sa.LargeBinary, nullable=False),
    sa.Column("first_position", sa.Integer, nullable=False),
    sa.Column("last_position", sa.Integer, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("command_id", "part"),
)

record_batch = sa.Table(
    "record_batch",
    metadata,
    sa.Column("first_position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("append_id", sa.Integer, nullable=False),
    sa.Column("stream_id", sa.Text, nullable=False),
    sa.Column("first_version", sa.Integer, nullable=False),
    sa.Column("topics", sa.Text, nullable=False),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("context", sa.Text, nullable=False),
    sa.Column("previous_digest", sa.LargeBinary, nullable=False),
    sa.Column("keys_digest", sa.LargeBinary, nullable=False),
    sa.Column("body_digest", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("stream_id", "first_version"),
)

# A version is loaded from its few lifecycle batches, however many frame batches lie between them. In plain SQL, which
# both databases understand: an `sa.Index` would load the dialect of the one that is not used.
event.listen(
    record_batch,
    "after_create",
    sa.DDL(
        "CREATE INDEX record_batch_lifecycle ON record_batch (stream_id, first_version) WHERE schema = 'events.1'"
    ),
)

record_body = sa.Table(
    "record_body",
    metadata,
    sa.Column("first_position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("codec", sa.Text, nullable=False),
    sa.Column("checksum", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

tracking = sa.Table(
    "tracking",
    metadata,
    sa.Column("application_name", sa.Text, primary_key=True),
    sa.Column("notification_id", sa.Integer, nullable=False),
)

LOG_TABLES = ("log_info", "append", "record_batch", "record_body")

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

TRIGGERS = frozenset(
    f"{table}_{rule}" for table in LOG_TABLES for rule in ("no_update", "no_delete", "in_order")
)
"""Names of the triggers that make the log append-only."""


def sqlite_triggers() -> list[str]:
    """Return the statements that make the log's tables append-only on SQLite."""
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
