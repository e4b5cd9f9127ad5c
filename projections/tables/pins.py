"""All changes of pinned datasets in order, for `framelode pin log` and the pins at a point in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ...engine.events.pins import PINS, PinEvent
from ...engine.events.registry import subject_and_kind
from ...engine.log.batch import BatchHeader
from ...engine.times import utc
from ..columns import from_json, from_row
from ..pages import Page
from ..projection import FoldedProjection

_encoder = msgspec.json.Encoder(order="deterministic")


class PinChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a pinned dataset. Times are UTC microseconds since 1970.

    Attributes
    ----------
    kind : str
        ``added``, ``updated``, ``locked``, ``invalidated`` or ``observed``.
    before, after : dict or None
        As in `PinEvent`.
    """

    position: int
    recorded_at: int
    actor: str
    kind: str
    project: str
    folder: str
    manifest: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def at(self) -> datetime:
        """UTC time when it was recorded."""
        return utc(self.recorded_at)


class PinQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query for changes. None means any."""

    project: str | None = None
    manifest: str | None = None
    name: str | None = None
    actor: str | None = None
    since: int | None = None
    until: int | None = None
    since_time: int | None = None
    until_time: int | None = None
    newest_first: bool = False
    limit: int | None = None


class Pins(FoldedProjection[list[dict[str, Any]]]):
    """A table of the changes of pinned datasets."""

    name: ClassVar[str] = "pins"
    code_version: ClassVar[int] = 1
    topics: ClassVar[frozenset[str] | None] = PINS.topics

    def define_tables(self) -> None:
        """Define the table."""
        self.pin = self.table(
            "change",
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("project", sa.Text, nullable=False),
            sa.Column("folder", sa.Text, nullable=False),
            sa.Column("manifest", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            # Names and manifests may be longer than the index entries of a database.
            sa.Column("pin_digest", sa.LargeBinary, nullable=False),
            sa.Column("before", sa.Text, nullable=False),
            sa.Column("after", sa.Text, nullable=False),
            sa.UniqueConstraint("project", "pin_digest", "position"),
        )

    def fold(self, page: Page) -> list[dict[str, Any]]:
        """Return a row for each change."""
        return [_row(header, position, event) for header, position, event in page.lifecycle(*PINS.events)]

    def write(self, connection: sa.Connection, folded: list[dict[str, Any]]) -> None:
        """Add rows to the table."""
        if folded:
            connection.execute(self.pin.insert(), folded)

    def changes(self, connection: sa.Connection, wanted: PinQuery) -> Sequence[PinChange]:
        """Return the changes that match."""
        position = self.pin.c.position
        order = position.desc() if wanted.newest_first else position
        query = sa.select(self.pin).where(*self._conditions(wanted)).order_by(order)
        if wanted.limit is not None:
            query = query.limit(wanted.limit)
        return [_change(row) for row in connection.execute(query)]

    def standing(self, connection: sa.Connection, wanted: PinQuery) -> Sequence[PinChange]:
        """Return the last change of each dataset up to `until`, without datasets that were removed by then."""
        column = self.pin.c
        last = (
            sa.select(sa.func.max(column.position))
            .where(*self._conditions(wanted))
            .group_by(column.project, column.pin_digest)
        )
        query = sa.select(self.pin).where(column.position.in_(last)).order_by(column.position)
        found = [_change(row) for row in connection.execute(query)]
        return sorted(
            (change for change in found if change.after is not None),
            key=lambda change: (change.project, change.manifest, change.name),
        )

    def _conditions(self, wanted: PinQuery) -> list[sa.ColumnElement[bool]]:
        column = self.pin.c
        conditions: list[sa.ColumnElement[bool]] = [
            column[name] == value
            for name in ("project", "manifest", "name", "actor")
            if (value := getattr(wanted, name)) is not None
        ]
        if wanted.since is not None:
            conditions.append(column.position >= wanted.since)
        if wanted.until is not None:
            conditions.append(column.position <= wanted.until)
        if wanted.since_time is not None:
            conditions.append(column.recorded_at >= wanted.since_time)
        if wanted.until_time is not None:
            conditions.append(column.recorded_at <= wanted.until_time)
        return conditions


def _row(header: BatchHeader, position: int, event: PinEvent) -> dict[str, Any]:
    return {
        "position": position,
        "recorded_at": header.recorded_at,
        "actor": header.actor,
        "kind": subject_and_kind(type(event).__name__)[1],
        "project": event.project,
        "folder": event.folder,
        "manifest": event.manifest,
        "name": event.name,
        "pin_digest": blake3(_encoder.encode([event.manifest, event.name])).digest(16),
        "before": _encoder.encode(event.before).decode(),
        "after": _encoder.encode(event.after).decode(),
    }


def _change(row: Any) -> PinChange:
    values = {name: row._mapping[name] for name in PinChange.__struct_fields__}  # noqa: SLF001 - SQLAlchemy's public name for it
    for name in ("before", "after"):
        values[name] = from_json(values[name])
    return from_row(values, PinChange)
