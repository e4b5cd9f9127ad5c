"""The stored views that were not removed, by id and by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events.views import VIEWS, ViewRemoved, ViewStored
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


class _Changes(msgspec.Struct, frozen=True):
    """Rows of the views that were stored, and keys of those that were removed, with the positions."""

    stored: list[dict[str, Any]] = []
    removed: list[dict[str, Any]] = []


class Views(FoldedProjection[_Changes]):
    """A table of the stored views that were not removed."""

    name: ClassVar[str] = "views"
    code_version: ClassVar[int] = 2
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

    def fold(self, page: Page) -> _Changes:
        """Return a row for each view, and the key of each removed one."""
        found = _Changes()
        for header, position, event in page.lifecycle(*VIEWS.events):
            if isinstance(event, ViewStored):
                found.stored.append(_row(header, position, event))
            else:
                found.removed.append({"removed": _id_key(event), "at": position})
        return found

    def merge(self, earlier: _Changes, later: _Changes) -> _Changes:
        """Join the changes of two adjacent ranges."""
        return _Changes(earlier.stored + later.stored, earlier.removed + later.removed)

    def write(self, connection: sa.Connection, folded: _Changes) -> None:
        """Add rows to the table, and delete those of removed views."""
        if folded.stored:
            connection.execute(self.view.insert(), folded.stored)
        if folded.removed:
            column = self.view.c
            # By position, so that ranges of any size give the same rows.
            is_removed = (column.id_key == sa.bindparam("removed")) & (column.position < sa.bindparam("at"))
            connection.execute(sa.delete(self.view).where(is_removed), folded.removed)

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


def _id_key(event: ViewStored | ViewRemoved) -> bytes:
    return text_key(event.originator_id.removeprefix(VIEWS.id))


def _row(header: BatchHeader, position: int, event: ViewStored) -> dict[str, Any]:
    return {
        "position": position,
        "id": event.originator_id.removeprefix(VIEWS.id),
        "id_key": _id_key(event),
        "name_key": text_key(event.view),
        "recorded_at": header.recorded_at,
        "actor": header.actor,
        "definition": _encoder.encode(event).decode(),
    }


def _view(row: Any) -> StoredView:
    definition = from_json(row.definition, ViewStored)
    return StoredView(row.id, row.position, utc(row.recorded_at), row.actor, definition)
