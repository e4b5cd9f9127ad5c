"""The contents at each upload destination, so that they are linked instead of uploaded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import sqlalchemy as sa

from ...engine.events.domain import (
    FilesUploaded,
    SourcesCondemned,
    SourcesDeleted,
    SourcesRestored,
    UploadedFile,
)
from ...engine.iterables import chunked
from ...engine.storage.urls import spellings
from ..columns import text_key
from ..pages import Page
from ..projection import FoldedProjection
from ..statements import ROWS_AT_ONCE, DirectInsert

Change = FilesUploaded | SourcesCondemned | SourcesRestored | SourcesDeleted
_EVENTS = (FilesUploaded, SourcesCondemned, SourcesRestored, SourcesDeleted)


class Uploads(FoldedProjection[list[Change]]):
    """A table of the contents at each destination, each with its last URI.

    Condemned files are not found, unless they are restored.
    """

    name: ClassVar[str] = "uploads"
    code_version: ClassVar[int] = 5
    topics: ClassVar[frozenset[str] | None] = frozenset(event.__name__ for event in _EVENTS)

    def define_tables(self) -> None:
        """Define the table."""
        self.upload = self.table(
            "upload",
            sa.Column("destination_key", sa.LargeBinary, primary_key=True),
            sa.Column("digest", sa.Text, primary_key=True),
            sa.Column("destination", sa.Text, nullable=False),
            sa.Column("uri", sa.Text, nullable=False),
            sa.Column("size", sa.BigInteger, nullable=False),
            sa.Column("condemned", sa.Boolean, nullable=False),
        )
        self._put = DirectInsert(self.upload, replace=True)

    def fold(self, page: Page) -> list[Change]:
        """Return the relevant events."""
        return [event for _, _, event in page.lifecycle(*_EVENTS)]

    def write(self, connection: sa.Connection, folded: list[Change]) -> None:
        """Apply events to the table, in order."""
        for event in folded:
            match event:
                case FilesUploaded():
                    self._insert(connection, event)
                case SourcesDeleted():
                    self._apply(connection, sa.delete(self.upload), event.uris)
                case _:
                    condemned = isinstance(event, SourcesCondemned)
                    self._apply(connection, sa.update(self.upload).values(condemned=condemned), event.uris)

    def _insert(self, connection: sa.Connection, event: FilesUploaded) -> None:
        key, where = text_key(event.destination), event.destination
        rows = [(key, file.digest, where, file.uri, file.size, False) for file in event.files]
        self._put.execute_many(connection, rows)

    def _apply(self, connection: sa.Connection, change: sa.Update | sa.Delete, uris: Iterable[str]) -> None:
        for part in chunked((other for uri in uris for other in spellings(uri)), ROWS_AT_ONCE):
            connection.execute(change.where(self.upload.c.uri.in_(part)))

    def is_empty(self, connection: sa.Connection, destination: str) -> bool:
        """Whether no content is at a destination, not even a condemned one."""
        column = self.upload.c
        query = sa.select(column.digest).where(column.destination_key == text_key(destination)).limit(1)
        return connection.execute(query).first() is None

    def find(
        self, connection: sa.Connection, destination: str, digests: Iterable[str]
    ) -> dict[str, UploadedFile]:
        """Return the given contents that are at a destination, by digest."""
        column = self.upload.c
        query = sa.select(column.uri, column.digest, column.size).where(
            column.destination_key == text_key(destination), column.condemned.is_(False)
        )
        found: dict[str, UploadedFile] = {}
        for part in chunked(digests, ROWS_AT_ONCE):
            for uri, digest, size in connection.execute(query.where(column.digest.in_(part))):
                found[digest] = UploadedFile(uri, digest, size)
        return found
