"""Keeps projections level with the log: catch up, exactly once, and rebuild."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ..engine.batch import BatchHeader
from ..engine.errors import NotFoundError
from ..engine.log import Head, Log
from .store import Store

_PAGE_EVENTS = 50_000
_REBUILD = "_rebuild"

_tracking_metadata = sa.MetaData()
_tracking = sa.Table(
    "projection_tracking_v1",
    _tracking_metadata,
    sa.Column("projection", sa.Text, primary_key=True),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("log_uuid", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)

Progress = Callable[[int, int], None]
"""Called with the position reached and the position to reach."""


class Projection(ABC):
    """A read model: a name, a code version, tables, and a fold of record batches into them.

    A change of tables or fold raises `code_version`: the tables of old and new code then stand side by side
    and two releases of the program never fight over one table.

    Parameters
    ----------
    log : Log
        Where the fold opens bodies and reads before-images.
    suffix : str
        Ends the table names; a rebuild fills tables beside the live ones.
    """

    name: ClassVar[str]
    code_version: ClassVar[int]

    def __init__(self, log: Log, suffix: str = "") -> None:
        self.log = log
        self.suffix = suffix
        self.metadata = sa.MetaData()
        self.define_tables()

    @property
    def full_name(self) -> str:
        """Name, code version and suffix: what the tables and the tracking row carry."""
        return f"{self.name}_v{self.code_version}{self.suffix}"

    @cached_property
    def shape(self) -> str:
        """Digest of the definitions of the tables, suffix aside: tables of another shape are folded afresh."""
        columns = [
            (table.name.removesuffix(self.suffix), column.name, str(column.type), column.primary_key)
            for table in self.metadata.sorted_tables
            for column in table.columns
        ]
        return blake3(repr(columns).encode()).hexdigest(length=16)

    def table(self, name: str, *columns: Any) -> sa.Table:
        """Define one of the projection's tables."""
        return sa.Table(f"{self.name}_{name}_v{self.code_version}{self.suffix}", self.metadata, *columns)

    @abstractmethod
    def define_tables(self) -> None:
        """Define the tables through `table`."""

    @abstractmethod
    def apply(self, connection: sa.Connection, batches: Sequence[BatchHeader]) -> None:
        """Fold the next batches of the log into the tables."""

    def beside(self) -> Self:
        """Return the same projection over tables beside the live ones."""
        return type(self)(self.log, _REBUILD)


class _Track(msgspec.Struct, frozen=True):
    position: int
    digest: bytes


class Runner:
    """Catches projections up with the log and rebuilds them.

    The tracking row (log, position, digest at that position) is written in the transaction that writes the
    projection's rows, so each event counts exactly once. When the log does not hold that digest at that
    position it was restored or replaced, and the projection starts afresh.
    """

    def __init__(self, log: Log, store: Store, projections: Iterable[Projection]) -> None:
        self._log = log
        self.store = store
        self.projections = tuple(projections)
        self._tracks: dict[str, _Track] = {}
        self._lock = threading.RLock()
        with store.write() as connection:
            _tracking_metadata.create_all(connection)

    def catch_up(self, projection: Projection, progress: Progress | None = None) -> None:
        """Fold what the log holds beyond the projection; microseconds when there is nothing new."""
        with self._lock:
            head = self._log.head()
            track = self._tracks.get(projection.full_name)
            if track is not None and track.position == head.position and track.digest == head.digest:
                return
            more = True
            while more:
                more = self._step(projection, head)
                if progress:
                    progress(min(self._tracks[projection.full_name].position, head.position), head.position)

    def catch_up_all(self, progress: Progress | None = None) -> None:
        """Catch up every projection."""
        for projection in self.projections:
            self.catch_up(projection, progress)

    def rebuild(self, projection: Projection, progress: Progress | None = None) -> None:
        """Replay the log into fresh tables beside the live ones, then swap them in one transaction."""
        fresh = projection.beside()
        with self._lock:
            with self.store.write() as connection:
                self._reset(connection, fresh)
            # A rebuild that failed may have left a trace of tables that are gone now.
            self._tracks.pop(fresh.full_name, None)
            self.catch_up(fresh, progress)
            with self.store.write() as connection:
                self._swap(connection, projection, fresh)
            self._tracks.clear()

    def position(self, projection: Projection) -> int:
        """Return the position that a projection has reached."""
        with self.store.read() as connection:
            track = self._read_track(connection, projection)
        return track.position if track else 0

    def _step(self, projection: Projection, head: Head) -> bool:
        """Fold one page in one transaction; says whether there may be more."""
        with self.store.write() as connection:
            track = self._read_track(connection, projection)
            if track is None:
                self._reset(connection, projection)
                track = _Track(0, b"")
            batches = self._page(track.position, head.position)
            if batches:
                projection.apply(connection, batches)
                track = _Track(batches[-1].last_position, batches[-1].digest)
                self._write_track(connection, projection, track)
        if track.position == head.position:
            track = _Track(head.position, head.digest)
        self._tracks[projection.full_name] = track
        return track.position < head.position

    def _page(self, position: int, head: int) -> list[BatchHeader]:
        if position >= head:
            return []
        batches: list[BatchHeader] = []
        for header in self._log.headers(gt=position, lte=head):
            batches.append(header)
            if header.last_position - position >= _PAGE_EVENTS:
                break
        return batches

    def _read_track(self, connection: sa.Connection, projection: Projection) -> _Track | None:
        query = sa.select(_tracking).where(_tracking.c.projection == projection.full_name)
        row = connection.execute(query).one_or_none()
        ours = (projection.shape, self._log.uuid)
        if row is None or (row.shape, row.log_uuid) != ours or not self._fits(row.position, row.digest):
            return None
        return _Track(row.position, row.digest)

    def _fits(self, position: int, digest: bytes) -> bool:
        try:
            return position == 0 or self._log.batch_at(position).digest == digest
        except NotFoundError:
            return False

    def _write_track(self, connection: sa.Connection, projection: Projection, track: _Track) -> None:
        column = _tracking.c
        connection.execute(sa.delete(_tracking).where(column.projection == projection.full_name))
        values = {
            "shape": projection.shape,
            "log_uuid": self._log.uuid,
            "position": track.position,
            "digest": track.digest,
        }
        connection.execute(_tracking.insert(), values | {"projection": projection.full_name})

    def _reset(self, connection: sa.Connection, projection: Projection) -> None:
        projection.metadata.drop_all(connection)
        projection.metadata.create_all(connection)
        connection.execute(sa.delete(_tracking).where(_tracking.c.projection == projection.full_name))

    def _swap(self, connection: sa.Connection, live: Projection, fresh: Projection) -> None:
        live.metadata.drop_all(connection)
        pairs = zip(live.metadata.sorted_tables, fresh.metadata.sorted_tables, strict=True)
        for old, new in pairs:
            connection.execute(sa.DDL(f'ALTER TABLE "{new.name}" RENAME TO "{old.name}"'))  # type: ignore[no-untyped-call]
        column = _tracking.c
        connection.execute(sa.delete(_tracking).where(column.projection == live.full_name))
        renamed = sa.update(_tracking).where(column.projection == fresh.full_name)
        connection.execute(renamed.values(projection=live.full_name))
