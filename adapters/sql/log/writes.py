"""Inserts the rows of appends, batches and bodies into a SQL database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from ....engine.log.batch import AppendHeader, Batch, BatchHeader, body_checksum, chain_digest
from ....engine.log.contract import Append, StreamConflictError
from ....projections.statements import DirectInsert
from . import tables as t
from .reads import encode_topics

_insert_append = DirectInsert(t.append)
_insert_header = DirectInsert(t.record_batch)
_insert_body = DirectInsert(t.record_body)
_FEW_ROWS = 8

_Rows = tuple[list[Any], tuple[Any, ...]]
"""The row of a batch, and that of its body."""

_HEADER_COLUMNS = [str(column.name) for column in t.record_batch.c]


def insert_append(connection: sa.Connection, header: AppendHeader) -> None:
    """Insert the row of an append."""
    _insert_append.execute(connection, msgspec.structs.astuple(header))


def sealed_rows(append: Append, header: AppendHeader, recorded_at: int, previous: bytes) -> list[_Rows]:
    """Return the rows of the batches of an append, which follow the batch of a digest."""
    rows: list[_Rows] = []
    position = header.first_position
    for batch in append.batches:
        unsealed = BatchHeader(
            first_position=position,
            count=batch.count,
            append_id=header.append_id,
            stream_id=batch.stream_id,
            first_version=batch.first_version,
            topics=batch.topics,
            schema=batch.schema,
            recorded_at=recorded_at,
            actor=append.actor,
            context=append.context,
            previous_digest=previous,
            keys_digest=batch.keys_digest,
            body_digest=batch.body_digest,
        )
        previous = chain_digest(unsealed, header)
        rows.append((_header_values(unsealed, batch.keys, previous), _body_values(unsealed, batch)))
        position += batch.count
    return rows


def insert_rows(connection: sa.Connection, rows: Sequence[_Rows]) -> None:
    """Insert the rows of batches: each alone if they are few, because servers get all in one round trip then."""
    if len(rows) > _FEW_ROWS:
        _insert_header.execute_many(connection, map(itemgetter(0), rows))
        _insert_body.execute_many(connection, map(itemgetter(1), rows))
        return
    for batch, body in rows:
        _insert_header.execute(connection, batch)
        _insert_body.execute(connection, body)


def insert_appends(connection: sa.Connection, headers: Sequence[AppendHeader]) -> None:
    """Insert the rows of many appends."""
    _insert_append.execute_many(connection, map(msgspec.structs.astuple, headers))


def insert_batches(connection: sa.Connection, batches: Sequence[tuple[BatchHeader, Batch]]) -> None:
    """Insert many batches with known digests, table by table, because each separate insert waits for an answer."""
    _insert_header.execute_many(
        connection, (_header_values(sealed, batch.keys, sealed.digest) for sealed, batch in batches)
    )
    _insert_body.execute_many(connection, (_body_values(*each) for each in batches))


def _header_values(header: BatchHeader, keys: bytes, digest: bytes) -> list[Any]:
    """Return the row of a batch header."""
    values = msgspec.structs.asdict(header)
    values |= {"topics": encode_topics(header.topics), "digest": digest, "keys": keys}
    return [values[name] for name in _HEADER_COLUMNS]


def _body_values(header: BatchHeader, batch: Batch) -> tuple[Any, ...]:
    """Return the row of a batch body."""
    position = header.first_position
    return position, batch.codec, body_checksum(position, batch.stored_hash), batch.body


def check_guards(append: Append, heads: Mapping[str, int | None]) -> None:
    """Raise an error unless the guarded streams have the versions that an append expects."""
    for stream_id, version in append.guards.items():
        found = heads[stream_id] or 0
        if found != version:
            raise StreamConflictError(stream_id, version, found)


def check_follows(batches: Sequence[Batch], heads: Mapping[str, int | None]) -> None:
    """Raise an error unless each batch follows the head of its stream, including the batches before it."""
    reached = dict(heads)
    for batch in batches:
        found = reached[batch.stream_id]
        if found is not None and batch.first_version != found + 1:
            raise StreamConflictError(batch.stream_id, batch.first_version - 1, found)
        reached[batch.stream_id] = batch.first_version + batch.count - 1
