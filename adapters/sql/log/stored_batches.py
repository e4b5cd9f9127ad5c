"""Record batches in their stored form, with compressed bodies, for copies of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from ....engine.iterables import chunked
from ....engine.log.batch import Batch, BatchHeader
from . import tables as t
from .reads import PAGE_BYTES, PAGE_ROWS, ROWS_COLUMNS, SqlLogReads

_batch_and_body = sa.select(
    *ROWS_COLUMNS, t.record_body.c.codec, t.record_body.c.checksum, t.record_body.c.body
).join_from(
    t.record_batch,
    t.record_body,
    t.record_batch.c.first_position == t.record_body.c.first_position,
)
_sizes = sa.select(t.record_body.c.first_position, sa.func.length(t.record_body.c.body))


class SqlStoredBatches(SqlLogReads):
    """The methods of the log that return batches in their stored form."""

    def stored_batches(self, *, gt: int, lte: int) -> Iterator[tuple[BatchHeader, Batch]]:
        """Yield batches in their stored form, with their digests checked, in pages of a few megabytes."""
        for page in chunked(self.headers(gt=gt, lte=lte), PAGE_ROWS):
            start = 0
            for stop in self._page_ends(page):
                yield from self._stored(page[start:stop])
                start = stop

    def _page_ends(self, headers: Sequence[BatchHeader]) -> Iterator[int]:
        """Yield the indexes at which batches are split into pages, by the sizes of their bodies."""
        first, last = headers[0].first_position, headers[-1].first_position
        with self.database.read() as connection:
            query = _sizes.where(t.record_body.c.first_position.between(first, last))
            sizes = {row[0]: row[1] for row in connection.execute(query)}
        taken = 0
        for index, header in enumerate(headers):
            size = sizes.get(header.first_position)
            if not isinstance(size, int):
                raise self.damaged("record_body lacks a batch", header.first_position)
            if taken and taken + size > PAGE_BYTES:
                yield index
                taken = 0
            taken += size
        yield len(headers)

    def _stored(self, headers: Sequence[BatchHeader]) -> Iterator[tuple[BatchHeader, Batch]]:
        position = t.record_batch.c.first_position
        query = _batch_and_body.where(position.between(headers[0].first_position, headers[-1].first_position))
        with self.database.read() as connection:
            rows: Sequence[Any] = connection.execute(query.order_by(position)).all()
        if [row.first_position for row in rows] != [header.first_position for header in headers]:
            raise self.damaged(
                "the rows of batches and bodies changed while they were read", headers[0].first_position
            )
        for header, row in zip(headers, rows, strict=True):
            self._check_keys(row)
            hashed = self._check_body(row)
            yield (
                header,
                Batch(
                    stream_id=header.stream_id,
                    first_version=header.first_version,
                    count=header.count,
                    schema=header.schema,
                    topics=header.topics,
                    keys=row.keys,
                    keys_digest=header.keys_digest,
                    codec=row.codec,
                    body=row.body,
                    body_digest=header.body_digest,
                    stored_hash=hashed,
                ),
            )
