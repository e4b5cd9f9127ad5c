"""Sessions: an open log with its projections, which the public APIs use."""

from __future__ import annotations

import logging
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from ...engine import forks
from ...engine.datasets.repository import AggregateRepository
from ...engine.errors import UsageError
from ...engine.frames.record import MAX_FRAME_BYTES
from ...engine.keys import is_plain_id
from ...engine.log.contract import Clock, Head, Log
from ...engine.log.moments import Moment
from ...engine.times import system_clock
from ...engine.validation import shorten
from ...projections.projection import Projection
from ...projections.runner import Runner
from ...projections.states.cache import StateCache
from ...projections.states.fold import State
from ...projections.states.snapshots import Snapshots
from ...projections.tables.catalog import REMOVED, Catalog, VersionRow
from ..sql.database import read_only_error
from ..sql.log.log import SqlLog
from ..sql.open import open_database
from ..sql.projections import open_private_projections, open_projections
from . import current, location
from .open import complete, open_snapshots, save_settings

if TYPE_CHECKING:
    from ...engine.blobs.store import BlobStore
    from ...projections.history.table import BatchRow, HistoryQuery
    from ...projections.tables.stats import Counts
    from .blobs import BlobAccess
    from .past import SessionCache
    from .writes import Writes

logger = logging.getLogger("framelode.session")

Kind = TypeVar("Kind", bound=Projection)
Made = TypeVar("Made")


def random_id() -> str:
    """Return 32 random lowercase hex digits."""
    return uuid.uuid4().hex


class Session(ABC):
    """A log with its projections at one point in time, the present or the past.

    Attributes
    ----------
    log : Log
        The log, up to that point.
    states : StateCache
        The frames of versions.
    catalog : Catalog
        Datasets and versions; read it inside `read_catalog`.
    runner : Runner
        Keeps the projections up to date.
    location : Location
        The locations of the engine's parts.
    clock, new_id : callable
        UTC time in microseconds, and new ids.
    max_frame_bytes : int
        The size limit of one encoded frame.
    as_of : int or None
        The last position that is visible; None for the present.
    face : object
        The public `Engine` of this session, set by the `Engine` itself.
    """

    log: Log
    states: StateCache
    catalog: Catalog
    runner: Runner
    aggregates: AggregateRepository
    location: location.Location
    clock: Clock
    new_id: Callable[[], str]
    max_frame_bytes: int
    as_of: int | None = None
    face: Any = None

    def __init__(self) -> None:
        self._version_rows: dict[str, tuple[Head, VersionRow | None]] = {}
        self._parents: dict[str, str | None] = {}
        self._shared: dict[Callable[[Any], Any], Any] = {}

    @property
    def url(self) -> str:
        """URL to open this engine again with `connect`, without a password."""
        return self.location.url

    @property
    def name(self) -> str:
        """Name of this engine in messages: its URL without a password."""
        return self.location.name

    @property
    def when(self) -> str:
        """The point in time, for messages; empty for the present."""
        return ""

    def __repr__(self) -> str:
        return f"Engine({self.name!r}){self.when}"

    @property
    @abstractmethod
    def present(self) -> LiveSession:
        """The live session of the log."""

    @abstractmethod
    def at(self, moment: Moment | None) -> Session:
        """Return the session at a point in time; see `Engine.at`."""

    @abstractmethod
    def now(self) -> int:
        """Return the time in microseconds at which the time to live of keys is evaluated."""

    @abstractmethod
    def projection(self, kind: type[Kind]) -> Kind:
        """Return the projection of a class, one of `PROJECTIONS`. Only `read` brings it up to date."""

    @abstractmethod
    def read(self, kind: type[Kind]) -> AbstractContextManager[tuple[Kind, sa.Connection]]:
        """Yield a projection and a connection to its tables, up to date at this point in time.

        Parameters
        ----------
        kind : type
            Class of the projection, one of `PROJECTIONS`.
        """

    @abstractmethod
    def require_present(self) -> None:
        """Raise `UsageError` if this is a session of the past, which is read-only."""

    @property
    @abstractmethod
    def writes(self) -> Writes:
        """Commands, the frame writer and the blob store. Raises `UsageError` in the past."""

    @property
    @abstractmethod
    def blobs(self) -> BlobStore:
        """The store of file contents."""

    @abstractmethod
    def version_totals(self) -> dict[str, int]:
        """Return the number of frames of each version that holds any."""

    @abstractmethod
    def version_counts(self, version_id: str) -> Counts:
        """Return the label counts of a version."""

    @abstractmethod
    def close(self) -> None:
        """Close the databases; the session cannot be used any more."""

    def shared(self, make: Callable[[Session], Made]) -> Made:
        """Return the result of a function for this session, cached: the in-memory state of a public API."""
        if make not in self._shared:
            # If two threads create it, the first result is kept.
            self._shared.setdefault(make, make(self))
        return self._shared[make]

    def history_page(self, query: HistoryQuery, last: int | None, size: int) -> Sequence[BatchRow]:
        """Return the next record batches that may match a query, after the one at position `last`."""
        from ...projections.history.table import History

        with self.present.read(History) as (history, connection):
            return history.page(connection, query, last, size)

    @contextmanager
    def read_catalog(self) -> Generator[sa.Connection, None, None]:
        """Yield a connection to the tables of the catalog, up to date at this point in time."""
        with self.read(Catalog) as (_, connection):
            yield connection

    def version_row(self, version_id: str, head: Head | None = None) -> VersionRow | None:
        """Return the catalog row of a version, which may be removed. It is cached until the log grows.

        Parameters
        ----------
        version_id : str
            Id of the version.
        head : Head, optional
            The head of the log, if it is known.
        """
        head = self.log.head() if head is None else head
        known = self._version_rows.get(version_id)
        if known is not None and known[0] is head:
            return known[1]
        with self.read_catalog() as connection:
            found = self.catalog.versions(connection, version_id=version_id, removed=True)
        row = found[0] if found else None
        self._version_rows[version_id] = (head, row)
        return row

    def version_ids(self) -> list[str]:
        """Return the ids of all existing versions."""
        with self.read_catalog() as connection:
            return [row.version_id for row in self.catalog.versions(connection)]

    def parent_of(self, version_id: str) -> str | None:
        """Return the id of a version's parent, which may be removed, or None."""
        if version_id not in self._parents:
            self._parents[version_id] = self.aggregates.parent_of(version_id)
        return self._parents[version_id]


class LiveSession(Session):
    """The present of a log, to read and to write.

    Parameters
    ----------
    where : Location
        The locations of its databases.
    clock : callable
        UTC time as integer microseconds; replaced in tests.
    new_id : callable
        Returns new ids of 32 hex digits; replaced in tests.
    max_frame_bytes : int
        The size limit of one encoded frame.

    Raises
    ------
    UsageError
        A database cannot be opened or was written by a newer framelode.
    IntegrityError
        The log is damaged.
    """

    def __init__(
        self,
        where: location.Location,
        clock: Clock = system_clock,
        new_id: Callable[[], str] = random_id,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.new_id = _checked(new_id)
        self.max_frame_bytes = max_frame_bytes
        with ExitStack() as opened:
            must_exist = where.log_id is not None or bool(where.read_only)
            database = open_database(where.log, read_only=where.read_only)
            self.sql_log = SqlLog(database, clock, self.new_id, must_exist=must_exist)
            opened.callback(self.sql_log.close)
            self.log = self.sql_log
            where.check(self.log.uuid)
            self.location = complete(where, self.sql_log.database)
            self.database = (
                open_private_projections(self.location.projections)
                if where.read_only
                else open_projections(self.location.projections, is_ours=where.owns_projections)
            )
            opened.callback(self.database.close)
            self._projections: dict[type[Projection], Projection] = {}
            self.catalog = self.projection(Catalog)
            self.runner = Runner(
                self.log, self.database, map(self.projection, _all_kinds()), self.location.log_place
            )
            if not where.read_only:
                # Written last, after everything in them is known to belong to this engine.
                save_settings(where, self.sql_log)
            opened.pop_all()
        if where.read_only:
            logger.warning("%s is open read-only, because %s", self.name, where.read_only)
        self.aggregates = AggregateRepository(self.log)
        self.snapshots = Snapshots(open_snapshots(self.location, self.database, self.log), self.log)
        self.states = StateCache(self.log, self.parent_of, self.snapshots)
        self._cache: SessionCache | None = None
        forks.renewed(self._renew)

    def _renew(self) -> None:
        # Creating one part may need another.
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.location.is_in_memory:
            raise UsageError("an engine in memory cannot be pickled: connect to a folder to share it")
        return open_session, (self.url, bool(self.location.read_only))

    @property
    def present(self) -> LiveSession:
        """The session itself."""
        return self

    def require_present(self) -> None:
        """Do nothing: this is the present."""

    def require_writable(self) -> None:
        """Raise `UsageError` if the engine is open read-only."""
        if self.location.read_only:
            raise self._refusal()

    def _refusal(self) -> UsageError:
        return read_only_error(self.name, self.location.read_only)

    def at(self, moment: Moment | None) -> Session:
        """Return the session at a point in time. The most recently used ones are cached."""
        if moment is None:
            return self
        from .past import SessionCache

        with self._lock:
            cache = self._cache = self._cache or SessionCache(self)
        return cache.at(moment)

    def now(self) -> int:
        """Return the time of the clock."""
        return self.clock()

    def projection(self, kind: type[Kind]) -> Kind:
        """Return the projection of a class."""
        made = self._projections.get(kind)
        if made is None:
            # If two threads create it, the first one is kept.
            made = self._projections.setdefault(kind, kind(self.log))
        return made  # pyright: ignore[reportReturnType] - the key is its type

    @contextmanager
    def read(self, kind: type[Kind]) -> Generator[tuple[Kind, sa.Connection], None, None]:
        """Yield a projection and a connection to its tables, up to date with the log."""
        projection = self.projection(kind)
        self.runner.catch_up(projection)
        with self.database.read() as connection:
            yield projection, connection

    @property
    def writes(self) -> Writes:
        """Commands, the frame writer and the blob store, created on first use, because reading needs none of them.

        Raises `UsageError` if the engine is open read-only.
        """
        self.require_writable()
        return self._parts()

    def _parts(self) -> Writes:
        with self._lock:
            return self._writes

    @cached_property
    def _writes(self) -> Writes:
        from .writes import Writes

        return Writes(self)

    @property
    def blobs(self) -> BlobStore:
        """The store of file contents, opened when first used."""
        store = self.blob_access.store
        if not self.location.read_only:
            return store
        from ...engine.blobs.read_only import ReadOnlyBlobStore

        return ReadOnlyBlobStore(store, self._refusal)

    @property
    def blob_access(self) -> BlobAccess:
        """Finds the blobs that frames refer to, and whether they are stored."""
        return self._parts().blobs

    def viewed_states(self) -> Iterator[State]:
        """Yield what stored views read of existing versions that have changed since, or may have."""
        from ...engine.log.prefix import LogPrefix
        from ...projections.states.past import PastStates
        from ...projections.tables.views import Views

        with self.read(Views) as (views, connection):
            found = {
                (each.position, each.version)
                for view in views.find(connection)
                for each in view.definition.versions
            }
        head = self.log.head().position
        for position, version_id in sorted(found):
            row = self.version_row(version_id)
            if row is None or row.state == REMOVED or position > head:
                continue
            # A published version stays what it was then.
            if row.published_position is None or row.published_position > position:
                yield PastStates(LogPrefix(self.log, position), self.parent_of, self.states).read(version_id)

    def version_totals(self) -> dict[str, int]:
        """Return the number of frames of each version that holds any."""
        from ...projections.tables.stats import Stats

        with self.read(Stats) as (stats, connection):
            return stats.totals(connection)

    def version_counts(self, version_id: str) -> Counts:
        """Return the label counts of a version."""
        from ...projections.tables.stats import Stats

        with self.read(Stats) as (stats, connection):
            return stats.version_counts(connection, version_id)

    def close(self) -> None:
        """Close the databases; the session cannot be used any more."""
        current.deactivate(self)
        self.runner.finish()
        if self._cache is not None:
            self._cache.close()
        if "_writes" in vars(self):
            self._writes.close()
        self.sql_log.close()
        self.database.close()


def _all_kinds() -> Iterator[type[Projection]]:
    # A reader of frames needs only one of them.
    from .projections import PROJECTIONS

    yield from PROJECTIONS


def open_session(url: str, read_only: bool = False) -> LiveSession:
    """Open the engine at a URL or folder, without making it the current one."""
    return LiveSession(location.locate(url, read_only=read_only))


def _checked(new_id: Callable[[], str]) -> Callable[[], str]:
    """Return a function that checks the ids of `new_id`, and raises `UsageError` for an invalid one."""

    def checked() -> str:
        made = new_id()
        if type(made) is str and is_plain_id(made):
            return made
        raise UsageError(f"new_id must return 32 lowercase hex digits, not {shorten(made)}")

    return checked
