"""`connect`, and the `Engine` it returns."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from ..engine import forks
from ..engine.datasets.repository import AggregateRepository
from ..engine.errors import UsageError
from ..engine.log.contract import Clock, Head, Log
from ..engine.log.moments import Moment
from ..engine.times import system_clock
from ..engine.validation import shorten
from ..engine.writes.encoder import MAX_FRAME_BYTES
from ..projections.history.table import History
from ..projections.runner import Runner
from ..projections.states.cache import StateCache
from ..projections.states.snapshots import Snapshots
from ..projections.tables.blob_references import BlobNames
from ..projections.tables.catalog import Catalog, VersionRow
from ..projections.tables.frame_counts import Counts
from ..projections.tables.pins import Pins
from ..projections.tables.stats import Stats
from ..projections.tables.stores import Stores
from ..projections.tables.uploads import Uploads
from . import current, location
from .engine_care import EngineCare
from .engine_history import EngineHistory
from .engine_stores import EngineStores
from .remembering import checked_ids, completed, remember
from .snapshot_shelf import open_shelf
from .sql.log.log import SqlLog
from .sql.open import open_database
from .sql.projections import open_projections

if TYPE_CHECKING:
    from ..engine.commands import Commands
    from ..engine.writes.writer import FrameWriter
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.version import DatasetVersion
    from .moments import Moments
    from .uploads.service import UploadService
    from .write_side import WriteSide


def random_id() -> str:
    """Return 32 random lowercase hex digits."""
    return uuid.uuid4().hex


class Engine(EngineHistory, EngineCare, EngineStores):
    """A log with its projections: what `connect` returns.

    Used as a context manager it is the engine of the running context inside the block.

    Attributes
    ----------
    as_of : int or None
        The position that it shows; None for the present.

    Parameters
    ----------
    where : Location
        Where its databases are.
    clock : callable
        UTC time as integer microseconds; injected in tests.
    new_id : callable
        Makes ids of 32 hex digits; injected in tests.
    max_frame_bytes : int
        What one encoded frame may have.
    """

    as_of: int | None = None
    log: Log
    states: StateCache

    def __init__(
        self,
        where: location.Location,
        clock: Clock = system_clock,
        new_id: Callable[[], str] = random_id,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self._begin(where, clock, checked_ids(new_id), max_frame_bytes)
        self._parents: dict[str, str | None] = {}
        with ExitStack() as opened:
            must_exist = where.log_id is not None
            self._sql_log = SqlLog(open_database(where.log), clock, self.new_id, must_exist=must_exist)
            opened.callback(self._sql_log.close)
            self.log = self._sql_log
            where.check(self.log.uuid)
            self.location = completed(where, self._sql_log.database)
            self._store = open_projections(self.location.projections, is_ours=where.owns_projections)
            opened.callback(self._store.close)
            self._fold()
            # Not before everything that the settings name is known to belong to this engine.
            remember(where, self._sql_log)
            opened.pop_all()
        self.aggregates = AggregateRepository(self.log)
        self._snapshots = Snapshots(open_shelf(self.location, self._store, self.log), self.log)
        self.states = StateCache(self.log, self.parent_of, self._snapshots)
        self._write_side: WriteSide | None = None
        self._moments: Moments | None = None
        forks.renewed(self._renew)

    def _fold(self) -> None:
        """Make the projections and what keeps them level with the log."""
        self.catalog = Catalog(self.log)
        self.stats = Stats(self.log)
        self._names, self._uploads = BlobNames(self.log), Uploads(self.log)
        self._history, self._pins, self._stores = History(self.log), Pins(self.log), Stores(self.log)
        folds = (self._names, self._uploads, self._history, self._pins, self._stores)
        projections = (self.catalog, self.stats, *folds)
        self.runner = Runner(self.log, self._store, projections, self.location.log_place)

    def _renew(self) -> None:
        self._making = threading.Lock()

    def _begin(
        self, where: location.Location, clock: Clock, new_id: Callable[[], str], max_frame_bytes: int
    ) -> None:
        """Set what engines of the present and of the past have in common."""
        self.location = where
        self.clock = clock
        self.new_id = new_id
        self.max_frame_bytes = max_frame_bytes
        self._version_rows: dict[str, tuple[Head, VersionRow | None]] = {}
        self._previous: Engine | None = None

    @property
    def url(self) -> str:
        """What `connect` takes to find this engine again, without a password: another process finds its own."""
        return self.location.url

    @property
    def name(self) -> str:
        """What messages call this engine: its URL without a password."""
        return self.location.name

    def __repr__(self) -> str:
        return f"Engine({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.location.is_in_memory:
            raise UsageError("an engine in memory cannot be pickled: connect to a folder to share it")
        return _reopen, (self.url,)

    @property
    def when(self) -> str:
        """How messages tell the moment; empty for the present."""
        return ""

    def require_present(self) -> None:
        """Raise `UsageError` when this is an engine of the past, which is read only."""

    def at(self, moment: Moment | None) -> Engine:
        """Return the engine as it was at a moment: it reads like any other, and refuses to write.

        Parameters
        ----------
        moment : int, datetime or None
            A position, 0 for before the first event; an aware datetime, which stands for the last position recorded at
            or before it; None for the engine itself.

        Returns
        -------
        Engine
            The last few moments are held, so that the next read of one is as fast as of the present.

        Raises
        ------
        UsageError
            The position is none of the log, or the datetime has no time zone.
        """
        if moment is None:
            return self
        from .moments import Moments

        with self._making:
            moments = self._moments = self._moments or Moments(self)
        return moments.at(moment)

    def _writes(self) -> WriteSide:
        from .blob_sharing import joined, own_ref
        from .write_side import WriteSide

        self.require_present()
        with self._making:
            if self._write_side is None:
                self._write_side = WriteSide(
                    log=self._sql_log,
                    aggregates=self.aggregates,
                    states=self.states,
                    clock=self.clock,
                    new_id=self.new_id,
                    blobs_url=self.location.blobs,
                    runner=self.runner,
                    catalog=self.catalog,
                    names=self._names,
                    uploads=self._uploads,
                    join_blobs=lambda marker, place: joined(self, own_ref(self), marker, place),
                )
            return self._write_side

    @property
    def commands(self) -> Commands:
        """Commands on datasets, versions and blobs."""
        return self._writes().commands

    @property
    def writer(self) -> FrameWriter:
        """What writes frames into drafts."""
        return self._writes().writer

    @property
    def uploads(self) -> UploadService:
        """What sends local files of frames to destinations."""
        return self._writes().uploads

    def version(self, version_id: str) -> DatasetVersion:
        """Return a version by id; `NotFoundError` when there is none or it was removed."""
        from .hyperdatasets.version import DatasetVersion

        return DatasetVersion.of(self, version_id)

    def dataset(self, name: str, project: str | None = None) -> Dataset:
        """Return a dataset by name; `NotFoundError` when there is none, `ConflictError` when several projects have it."""
        from .hyperdatasets.dataset import Dataset
        from .hyperdatasets.selectors import find_dataset

        return Dataset(self, find_dataset(self, dataset_name=name, dataset_project=project).dataset_id)

    @contextmanager
    def read_catalog(self) -> Generator[sa.Connection, None, None]:
        """Give a connection to the catalog's tables, caught up with the log."""
        self.runner.catch_up(self.catalog)
        with self._store.read() as connection:
            yield connection

    def version_row(self, version_id: str) -> VersionRow | None:
        """Return what the catalog knows of a version, removed ones included; from memory while nothing is written."""
        head = self.log.head()
        known = self._version_rows.get(version_id)
        if known is not None and known[0] is head:
            return known[1]
        with self.read_catalog() as connection:
            found = self.catalog.versions(connection, version_id=version_id, removed=True)
        row = found[0] if found else None
        self._version_rows[version_id] = (head, row)
        return row

    def version_ids(self) -> list[str]:
        """Return the ids of all versions that exist."""
        with self.read_catalog() as connection:
            return [row.version_id for row in self.catalog.versions(connection)]

    def version_totals(self) -> dict[str, int]:
        """Return the number of frames of each version that holds any, caught up with the log."""
        self.runner.catch_up(self.stats)
        with self._store.read() as connection:
            return self.stats.totals(connection)

    def version_counts(self, version_id: str) -> Counts:
        """Return the counts of a version, caught up with the log."""
        self.runner.catch_up(self.stats)
        with self._store.read() as connection:
            return self.stats.version_counts(connection, version_id)

    def close(self) -> None:
        """Close the databases; the engine cannot be used any more."""
        self._leave()
        if self._moments is not None:
            self._moments.close()
        if self._write_side is not None:
            self._write_side.commands.close()
        self._sql_log.close()
        self._store.close()

    def _leave(self) -> None:
        """Stop being the process's current engine."""
        current.deactivate(self)

    def __enter__(self) -> Self:
        current.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.leave(self)

    def parent_of(self, version_id: str) -> str | None:
        """Return the id of a version's parent, None for a root; see `AggregateRepository.parent_of`."""
        if version_id not in self._parents:
            self._parents[version_id] = self.aggregates.parent_of(version_id)
        return self._parents[version_id]


def connect(
    url: str | os.PathLike[str],
    *,
    projections: str | os.PathLike[str] | None = None,
    blobs: str | os.PathLike[str] | None = None,
    clock: Clock = system_clock,
    new_id: Callable[[], str] = random_id,
    shared: bool | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    as_of: Moment | None = None,
) -> Engine:
    """Open the engine of a folder, made if missing, and make it the process's current engine.

    Parameters
    ----------
    url : str or path
        A folder; ``sqlite:///path/log.db`` (the folder of that file); ``sqlite://`` for one in memory; or
        ``postgresql+psycopg://user@host/database`` (extra `postgres`).
    projections : str or path, optional
        Another place for the projections database, a file or a PostgreSQL URL; remembered.
    blobs : str or path, optional
        Another place for file contents: a folder, or an fsspec URL such as ``s3://bucket/blobs``; remembered. It is new
        or empty, or a blob store of this engine or one that it joins by `share_blobs`. An engine in PostgreSQL has none
        until it is told.
    shared : bool, optional
        True lets the group of the folder read and write everything that the engine makes in folders of this machine;
        remembered. Without it only the owner can: folders have the mode 0700 and files 0600.
    clock : callable
        UTC microseconds; for exact tests.
    new_id : callable
        Makes ids of 32 hex digits; for exact tests.
    max_frame_bytes : int
        What one encoded frame may have, at most 16 MB.
    as_of : int or datetime, optional
        Open it read-only as it was at a moment, a position or an aware datetime; it must be there already.

    Returns
    -------
    Engine
        Also a context manager that restores the previous current engine.

    Raises
    ------
    UsageError
        The place cannot be used, belongs to another engine, or was written by a newer framelode.
    IntegrityError
        The log is damaged, or is not the one that the folder belongs to.
    """
    if shared is not None and not isinstance(shared, bool):
        raise UsageError(f"shared must be True or False, not {shorten(shared)}")
    if not isinstance(max_frame_bytes, int) or not 0 < max_frame_bytes <= MAX_FRAME_BYTES:
        raise UsageError(
            f"max_frame_bytes must be a whole number between 1 and {MAX_FRAME_BYTES}, not {max_frame_bytes!r}"
        )
    if as_of is not None:
        location.require(url)
        if projections is not None or blobs is not None or shared is not None:
            raise UsageError("as_of opens an engine read-only: leave projections=, blobs= and shared= out")
    where = location.locate(url, projections, blobs, shared=shared)
    engine = Engine(where, clock, new_id, max_frame_bytes)
    if as_of is not None:
        from .moments import open_at

        engine = open_at(engine, as_of)
    current.activate(engine)
    return engine


def current_engine(explicit: str | None = None) -> Engine:
    """Return the engine meant: explicit, the current one, `FRAMELODE_URL`, or the nearest settings file upwards.

    Raises
    ------
    UsageError
        There is none; nothing is created by accident.
    """
    if explicit is None and (engine := current.connected_engine()) is not None:
        return engine
    url = location.find(explicit)
    if url is None:
        raise UsageError(location.not_found())
    if url == location.IN_MEMORY:
        raise UsageError(
            "an engine in memory ends with its process: name a folder, or use connect() in Python"
        )
    location.require(url)
    return connect(url)


def _reopen(url: str) -> Engine:
    return Engine(location.locate(url))
