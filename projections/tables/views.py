"""The stored views, by id and by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events.views import VIEWS, ViewStored
from ...engine.log.batch import BatchHeader
from ...engine.times import utc
from ..columns import from_json, text_key
from ..pages import Page
from ..projection import FoldedProjection

_encoder = msgspec.json.Encoder(order="deterministic")


class StoredView(msgspec.Struct, frozen=True):
    """A stored view.

    Attributes
    ----------
    id : str
        32 hex digits.
    position : int
        Position of its event.
    at : datetime
        UTC time when it was stored.
    actor : str
        Who stored it.
    definition : ViewStored
        What was stored.
    """

    id: str
    position: int
    at: datetime
    actor: str
    definition: ViewStored


class Views(FoldedProjection[list[dict[str, Any]]]):
    """A table of the stored views."""

    name: ClassVar[str] = "views"
    code_version: ClassVar[int] = 1
    topics: ClassVar[frozenset[str] | None] = VIEWS.topics

    def define_tables(self) -> None:
        """Define the table."""
        self.view = self.table(
            "view",
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("id", sa.Text, nullable=False),
            # Names may be longer than the index entries of a database.
            sa.Column("id_key", sa.LargeBinary, nullable=False),
            sa.Column("name_key", sa.LargeBinary, nullable=False),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("definition", sa.Text, nullable=False),
            sa.UniqueConstraint("id_key", "position"),
            sa.UniqueConstraint("name_key", "position"),
        )

    def fold(self, page: Page) -> list[dict[str, Any]]:
        """Return a row for each view."""
        return [_row(header, position, event) for header, position, event in page.lifecycle(*VIEWS.events)]

    def write(self, connection: sa.Connection, folded: list[dict[str, Any]]) -> None:
        """Add rows to the table."""
        if folded:
            connection.execute(self.view.insert(), folded)

    def find(
        self, connection: sa.Connection, view_id: str | None = None, name: str | None = None
    ) -> Sequence[StoredView]:
        """Return the views with an id or a name, or all of them, newest first."""
        column = self.view.c
        query = sa.select(self.view).order_by(column.position.desc())
        if view_id is not None:
            query = query.where(column.id_key == text_key(view_id))
        if name is not None:
            query = query.where(column.name_key == text_key(name))
        return [_view(row) for row in connection.execute(query)]


def _row(header: BatchHeader, position: int, event: ViewStored) -> dict[str, Any]:
    return {
        "position": position,
        "id": event.originator_id.removeprefix(VIEWS.id),
        "id_key": text_key(event.originator_id.removeprefix(VIEWS.id)),
        "name_key": text_key(event.view),
        "recorded_at": header.recorded_at,
        "actor": header.actor,
        "definition": _encoder.encode(event).decode(),
    }


def _view(row: Any) -> StoredView:
    definition = from_json(row.definition, ViewStored)
    return StoredView(row.id, row.position, utc(row.recorded_at), row.actor, definition)
