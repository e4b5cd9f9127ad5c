"""Which contents are at which destination, so that they are linked and not sent again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import ClassVar, TypeVar

import sqlalchemy as sa

from ..engine.batch import EVENTS_SCHEMA, BatchHeader
from ..engine.event_batch import read_events
from ..engine.events import FilesUploaded, SourcesDeleted, UploadedFile
from .runner import Projection

_ROWS_AT_ONCE = 500
_TOPICS = {FilesUploaded.__name__, SourcesDeleted.__name__}

Item = TypeVar("Item")


class Uploads(Projection):
    """A table of the contents at each destination, each with the URI that it was given last."""

    name: ClassVar[str] = "uploads"
    code_version: ClassVar[int] = 1

    def define_tables(self) -> None:
        """Define the table."""
        self.upload = self.table(
            "upload",
            sa.Column("destination", sa.Text, primary_key=True),
            sa.Column("digest", sa.Text, primary_key=True),
            sa.Column("uri", sa.Text, nullable=False),
            sa.Column("size", sa.BigInteger, nullable=False),
        )

    def apply(self, connection: sa.Connection, batches: Sequence[BatchHeader]) -> None:
        """Fold batches."""
        for header in batches:
            if header.schema != EVENTS_SCHEMA or not _TOPICS & set(header.topics):
                continue
            for event in read_events(self.log, header):
                match event:
                    case FilesUploaded():
                        self._insert(connection, event)
                    case SourcesDeleted():
                        self._delete(connection, event)
                    case _:
                        pass

    def _insert(self, connection: sa.Connection, event: FilesUploaded) -> None:
        last = {file.digest: file for file in event.files}
        column = self.upload.c
        for part in _parts(last.values()):
            digests = [file.digest for file in part]
            known = (column.destination == event.destination) & column.digest.in_(digests)
            connection.execute(sa.delete(self.upload).where(known))
            rows = [{"digest": file.digest, "uri": file.uri, "size": file.size} for file in part]
            connection.execute(
                self.upload.insert(), [row | {"destination": event.destination} for row in rows]
            )

    def _delete(self, connection: sa.Connection, event: SourcesDeleted) -> None:
        for part in _parts(event.uris):
            connection.execute(sa.delete(self.upload).where(self.upload.c.uri.in_(part)))

    def find(
        self, connection: sa.Connection, destination: str, digests: Iterable[str]
    ) -> dict[str, UploadedFile]:
        """Return those of some contents that are at a destination, by digest."""
        column = self.upload.c
        query = sa.select(column.uri, column.digest, column.size).where(column.destination == destination)
        found: dict[str, UploadedFile] = {}
        for part in _parts(digests):
            for uri, digest, size in connection.execute(query.where(column.digest.in_(part))):
                found[digest] = UploadedFile(uri, digest, size)
        return found


def _parts(items: Iterable[Item]) -> Iterable[list[Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, _ROWS_AT_ONCE)):
        yield part
