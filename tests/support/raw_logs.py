"""Logs as they lie on the disk, without the engine that guards them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

from framelode.engine.log.batch import (
    AppendHeader,
    BatchHeader,
    Body,
    body_checksum,
    chain_digest,
    genesis_digest,
    pack_batch,
)

TABLES = {
    "log_info": ("uuid", "format"),
    "append": (
        "append_id",
        "command_id",
        "part",
        "is_last",
        "request_digest",
        "first_position",
        "last_position",
        "result",
    ),
    "record_batch": (
        "first_position",
        "count",
        "append_id",
        "stream_id",
        "first_version",
        "topics",
        "schema",
        "recorded_at",
        "actor",
        "context",
        "previous_digest",
        "keys_digest",
        "body_digest",
        "digest",
        "keys",
    ),
    "record_body": ("first_position", "codec", "checksum", "body"),
}
"""Tables of a log with their columns, the key first."""


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


def forge(folder, edit):
    """Rewrite a log as somebody would who knows the format: what `edit` changes, then every digest that follows.

    `edit` takes dicts of batches and appends in order, and the events of each body, by first position.
    """
    with unguarded(folder) as connection:
        connection.row_factory = sqlite3.Row
        (uuid,) = connection.execute("SELECT uuid FROM log_info").fetchone()
        batches = [dict(row) for row in connection.execute("SELECT * FROM record_batch ORDER BY 1")]
        appends = [dict(row) for row in connection.execute("SELECT * FROM append ORDER BY 1")]
        bodies = {
            row["first_position"]: list(Body(row["first_position"], row["codec"], row["body"]).events())
            for row in connection.execute("SELECT * FROM record_body")
        }
        edit(batches, appends, bodies)
        for table in ("append", "record_batch", "record_body"):
            connection.execute(f"DELETE FROM {table}")
        for append in appends:
            insert(connection, "append", append)
        headers = {append["append_id"]: append | {"is_last": bool(append["is_last"])} for append in appends}
        previous = genesis_digest(uuid)
        for batch in batches:
            first = batch["first_position"]
            packed = pack_batch(batch["stream_id"], 0, batch["schema"], (), bodies[first], batch["keys"])
            batch |= {
                "previous_digest": previous,
                "keys_digest": packed.keys_digest,
                "body_digest": packed.body_digest,
            }
            header = {
                name: value for name, value in batch.items() if name in BatchHeader.__struct_fields__
            } | {"topics": tuple(json.loads(batch["topics"])), "digest": b""}
            previous = chain_digest(BatchHeader(**header), AppendHeader(**headers[batch["append_id"]]))
            insert(connection, "record_batch", batch | {"digest": previous})
            checksum = body_checksum(first, packed.stored_hash)
            body = {"first_position": first, "codec": packed.codec, "checksum": checksum, "body": packed.body}
            insert(connection, "record_body", body)


def insert(connection, table, values):
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))
