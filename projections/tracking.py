"""How far each projection has come: a row in the transaction that writes the projection's own rows."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ..engine.errors import NotFoundError
from ..engine.log import Log
from .columns import INT64
from .projection import Projection

_metadata = sa.MetaData()
_tracking = sa.Table(
    "projection_tracking_v1",
    _metadata,
    sa.Column("projection", sa.Text, primary_key=True),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("log_uuid", sa.Text, nullable=False),
    sa.Column("position", INT64, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)
_column = _tracking.c


class Track(msgspec.Struct, frozen=True):
    """A position that a projection has reached, and the log's digest there."""

    position: int
    digest: bytes


class Tracking:
    """Reads and writes the tracking rows of the projections of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def create(self, connection: sa.Connection) -> None:
        """Make the table if it is missing."""
        _metadata.create_all(connection)

    def read(self, connection: sa.Connection, projection: Projection) -> Track | None:
        """Return how far a projection has come; None when its tables are of another log, or of another shape."""
        query = sa.select(_tracking).where(_column.projection == projection.full_name)
        row = connection.execute(query).one_or_none()
        ours = (projection.shape, self._log.uuid)
        if row is None or (row.shape, row.log_uuid) != ours or not self._fits(row.position, row.digest):
            return None
        return Track(row.position, row.digest)

    def _fits(self, position: int, digest: bytes) -> bool:
        """Say whether the log holds that digest at that position: one that was restored or replaced does not."""
        try:
            return position == 0 or self._log.batch_at(position).digest == digest
        except NotFoundError:
            return False

    def write(self, connection: sa.Connection, projection: Projection, track: Track) -> None:
        """Note how far a projection has come."""
        connection.execute(sa.delete(_tracking).where(_column.projection == projection.full_name))
        values = {
            "projection": projection.full_name,
            "shape": projection.shape,
            "log_uuid": self._log.uuid,
            "position": track.position,
            "digest": track.digest,
        }
        connection.execute(_tracking.insert(), values)

    def reset(self, connection: sa.Connection, projection: Projection) -> None:
        """Make a projection's tables anew, empty."""
        projection.metadata.drop_all(connection)
        projection.metadata.create_all(connection)
        connection.execute(sa.delete(_tracking).where(_column.projection == projection.full_name))

    def swap(self, connection: sa.Connection, live: Projection, fresh: Projection) -> None:
        """Put the tables of `fresh`, and how far they have come, in the place of the live ones."""
        live.metadata.drop_all(connection)
        pairs = zip(live.metadata.sorted_tables, fresh.metadata.sorted_tables, strict=True)
        for old, new in pairs:
            connection.execute(sa.DDL(f'ALTER TABLE "{new.name}" RENAME TO "{old.name}"'))  # type: ignore[no-untyped-call]
        connection.execute(sa.delete(_tracking).where(_column.projection == live.full_name))
        renamed = sa.update(_tracking).where(_column.projection == fresh.full_name)
        connection.execute(renamed.values(projection=live.full_name))
