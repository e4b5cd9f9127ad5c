"""Tables of the log."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from ....projections.statements import SchemaStatements

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
    sa.Column("append_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("command_id", sa.Text, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("is_last", sa.Integer, nullable=False),
    sa.Column("request_digest", sa.LargeBinary, nullable=False),
    sa.Column("first_position", sa.BigInteger, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("command_id", "part"),
)

record_batch = sa.Table(
    "record_batch",
    metadata,
    sa.Column("first_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("append_id", sa.BigInteger, nullable=False),
    sa.Column("stream_id", sa.Text, nullable=False),
    sa.Column("first_version", sa.BigInteger, nullable=False),
    sa.Column("topics", sa.Text, nullable=False),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("context", sa.Text, nullable=False),
    sa.Column("previous_digest", sa.LargeBinary, nullable=False),
    sa.Column("keys_digest", sa.LargeBinary, nullable=False),
    sa.Column("body_digest", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("stream_id", "first_version"),
)

# A version is loaded from its lifecycle batches, which are few compared with frame batches. The statement is SQL that
# all databases accept: an `sa.Index` would import the dialects of all of them.
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
    sa.Column("first_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("codec", sa.Text, nullable=False),
    sa.Column("checksum", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

# The values are compressed or random. Compression by PostgreSQL would be useless and take longer than the insert.
for _table, _column in ((record_batch, "keys"), (record_body, "body")):
    event.listen(
        _table,
        "after_create",
        sa.DDL(f"ALTER TABLE {_table.name} ALTER COLUMN {_column} SET STORAGE EXTERNAL").execute_if(
            dialect="postgresql"
        ),
    )

tracking = sa.Table(
    "tracking",
    metadata,
    sa.Column("application_name", sa.Text, primary_key=True),
    sa.Column("notification_id", sa.BigInteger, nullable=False),
)

schema = SchemaStatements(metadata)

LOG_TABLES = ("log_info", "append", "record_batch", "record_body")
