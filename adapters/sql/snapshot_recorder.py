"""The recorder of aggregate snapshots for the eventsourcing library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import AggregateRecorder, IntegrityError, StoredEvent

from ...engine.log.stored_events import Originators
from .database import Database


class SqlSnapshotRecorder(AggregateRecorder):
    """Aggregate snapshots of the eventsourcing library in a plain table. They are derived data, outside the log."""

    def __init__(self, database: Database, purpose: str, originators: Originators) -> None:
        self.database = database
        self._originators = originators
        self._table = sa.Table(
            f"stored_{purpose}",
            sa.MetaData(),
            sa.Column("originator_id", sa.Text, primary_key=True),
            sa.Column("originator_version", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("topic", sa.Text, nullable=False),
            sa.Column("state", sa.LargeBinary, nullable=False),
        )
        with database.write() as connection:
            self._table.create(connection, checkfirst=True)

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **kwargs: Any,  # noqa: ARG002 - eventsourcing's signature
    ) -> Sequence[int] | None:
        """Write snapshots."""
        rows = [
            {
                "originator_id": self._originators.stream_id(event.originator_id),
                "originator_version": event.originator_version,
                "topic": event.topic,
                "state": event.state,
            }
            for event in stored_events
        ]
        keys = {(row["originator_id"], row["originator_version"]) for row in rows}
        if len(keys) < len(rows):
            raise IntegrityError("the same snapshot was passed twice in one call")
        with self.database.write() as connection:
            for row in rows:
                self._refuse_known(connection, row)
            if rows:
                connection.execute(self._table.insert(), rows)
        return None

    def _refuse_known(self, connection: sa.Connection, row: dict[str, Any]) -> None:
        column = self._table.c
        known = sa.select(sa.literal(1)).where(
            column.originator_id == row["originator_id"],
            column.originator_version == row["originator_version"],
        )
        if connection.execute(known).first():
            raise IntegrityError(
                f"snapshot {row['originator_version']} of {row['originator_id']} already exists"
            )

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the snapshots of one aggregate."""
        column = self._table.c
        stream_id = self._originators.stream_id(originator_id)
        query = sa.select(self._table).where(column.originator_id == stream_id)
        if gt is not None:
            query = query.where(column.originator_version > gt)
        if lte is not None:
            query = query.where(column.originator_version <= lte)
        order = column.originator_version.desc() if desc else column.originator_version
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(order).limit(limit)).all()
        return [StoredEvent(originator_id, row.originator_version, row.topic, row.state) for row in rows]
