"""Sessions of the past: a log with its projections at an earlier position, read-only."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa

from ...engine import forks
from ...engine.blobs.read_only import ReadOnlyBlobStore
from ...engine.datasets.repository import AggregateRepository
from ...engine.log.moments import Moment, position_at
from ...engine.log.prefix import LogPrefix
from ...engine.times import microseconds, utc
from ...projections.projection import Projection
from ...projections.runner import Runner
from ...projections.states.past import PastStates
from ...projections.tables.catalog import Catalog, fold_catalog
from ...projections.tables.past_counts import PastCounts
from ...projections.tables.stats import Counts, Stats
from ..sql.sqlite.database import SqliteDatabase
from . import current
from .session import Kind, LiveSession, Session

if TYPE_CHECKING:
    from ...engine.blobs.store import BlobStore
    from .writes import Writes

_CACHED_POSITIONS = 8
_CACHED_TIMES = 256


class PastView:
    """The projections replayed up to a position. Sessions at several times after that position share them.

    Parameters
    ----------
    origin : LiveSession
        The present.
    position : int
        The last position that is visible.
    """

    def __init__(self, origin: LiveSession, position: int) -> None:
        self.origin = origin
        self.log = LogPrefix(origin.log, position)
        self.database = SqliteDatabase(None, durable=False)
        weakref.finalize(self, self.database.close)
        self.catalog = Catalog(self.log)
        self._folded: dict[type[Projection], Projection] = {}
        self.runner = Runner(self.log, self.database, (self.catalog,))
        forks.renewed(self._renew)
        self.states = PastStates(self.log, origin.parent_of, origin.states)
        self.aggregates = AggregateRepository(self.log)
        self.counts = PastCounts(self.log, self.states, origin.runner, origin.projection(Stats))
        self.recorded_at = self.log.head().recorded_at

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def folded(self, kind: type[Kind]) -> Kind:
        """Return a projection whose tables are replayed up to the position on the first call."""
        with self._lock:
            if kind not in self._folded:
                self._folded[kind] = self._fold(kind)
        return self._folded[kind]  # pyright: ignore[reportReturnType] - the key is its type

    def _fold(self, kind: type[Projection]) -> Projection:
        if kind is not Catalog:
            projection = kind(self.log)
            fold = self.runner.catch_up if kind.topics is None else self.runner.fold_alone
            fold(projection)
            return projection
        with self.origin.read_catalog() as connection:
            now = self.origin.catalog.versions(connection, removed=True)
        fold_catalog(self.log, self.database, self.catalog, now)
        return self.catalog

    def close(self) -> None:
        """Close the replayed projections."""
        self.log.close()
        self.database.close()


class PastSession(Session):
    """The past of a log, read-only.

    Parameters
    ----------
    view : PastView
        The projections at the position.
    time : int, optional
        The time to show in microseconds, not before the last event; keys may have expired in between. By default that
        of the last event.
    owns_origin : bool
        Close the session of the present together with this one.
    """

    def __init__(self, view: PastView, time: int | None = None, *, owns_origin: bool = False) -> None:
        super().__init__()
        origin = view.origin
        self._view = view
        self._time = view.recorded_at if time is None else time
        self._owns_origin = owns_origin
        self.as_of = view.log.position
        self.log = view.log
        self.states = view.states
        self.catalog = view.catalog
        self.runner = view.runner
        self.aggregates = view.aggregates
        self.location = origin.location
        self.clock = origin.clock
        self.new_id = origin.new_id
        self.max_frame_bytes = origin.max_frame_bytes

    @property
    def present(self) -> LiveSession:
        """The live session of the same log."""
        return self._view.origin

    @property
    def when(self) -> str:
        """The point in time, for messages."""
        return f" at {self._view.log.moment}"

    def __reduce__(self) -> tuple[Any, ...]:
        return open_at, (
            self.present,
            self.as_of if self._time == self._view.recorded_at else utc(self._time),
        )

    def require_present(self) -> NoReturn:
        """Raise `UsageError`: the past is read-only."""
        raise self._view.log.refusal()

    def at(self, moment: Moment | None) -> Session:
        """Return the session at a point in time that is not later than this one."""
        if moment is None:
            return self
        position = position_at(self.log, moment)
        if position == self.as_of and not (
            isinstance(moment, datetime) and microseconds(moment) < self._time
        ):
            return self
        return self.present.at(moment if isinstance(moment, datetime) else position)

    def now(self) -> int:
        """Return the requested time, or that of the last event."""
        return self._time

    def projection(self, kind: type[Kind]) -> Kind:
        """Return the projection of a class, replayed up to the position on the first call."""
        return self._view.folded(kind)

    @contextmanager
    def read(self, kind: type[Kind]) -> Generator[tuple[Kind, sa.Connection], None, None]:
        """Yield a projection and a connection to its tables, replayed up to the position."""
        projection = self.projection(kind)
        with self._view.database.read() as connection:
            yield projection, connection

    @property
    def writes(self) -> Writes:
        """Raise `UsageError`: the past is read-only."""
        self.require_present()

    @property
    def blobs(self) -> BlobStore:
        """The read-only store of file contents. Reading a blob that was deleted since raises `NotFoundError`."""
        return ReadOnlyBlobStore(self.present.blobs, self.require_present)

    def version_totals(self) -> dict[str, int]:
        """Return the number of frames of each version that had any."""
        with self.read_catalog() as connection:
            rows = self.catalog.versions(connection, removed=True)
        return self._view.counts.totals(row.version_id for row in rows)

    def version_counts(self, version_id: str) -> Counts:
        """Return the label counts of a version."""
        return self._view.counts.of(version_id)

    def close(self) -> None:
        """Stop being the current session. If `connect` opened it, also close the databases."""
        current.deactivate(self)
        if self._owns_origin:
            self.present.close()


class SessionCache:
    """Cache of the most recently used sessions of the past, so that the next read needs no replay.

    Parameters
    ----------
    session : LiveSession
        The present.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._recent: OrderedDict[int, PastSession] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[int, PastSession] = weakref.WeakValueDictionary()
        self._views: weakref.WeakValueDictionary[int, PastView] = weakref.WeakValueDictionary()
        self._times: dict[datetime, int] = {}
        self._lock = threading.Lock()

    def at(self, moment: Moment) -> PastSession:
        """Return the session at a point in time."""
        position = self._times.get(moment) if isinstance(moment, datetime) else None
        if position is None:
            position = self._resolve(moment)
        with self._lock:
            found = self._alive.get(position) or PastSession(self._view(position))
            self._alive[position] = self._recent[position] = found
            self._recent.move_to_end(position)
            if len(self._recent) > _CACHED_POSITIONS:
                self._recent.popitem(last=False)
        return _at_time(found, moment)

    def _view(self, position: int) -> PastView:
        view = self._views.get(position) or PastView(self._session, position)
        self._views[position] = view
        return view

    def _resolve(self, moment: Moment) -> int:
        """Return the position of a point in time. For a time before the last event, it is cached."""
        position = position_at(self._session.log, moment)
        if isinstance(moment, datetime) and position < self._session.log.head().position:
            with self._lock:
                if len(self._times) >= _CACHED_TIMES:
                    self._times.clear()
                self._times[moment] = position
        return position

    def close(self) -> None:
        """Close all views."""
        with self._lock:
            for view in list(self._views.values()):
                view.close()
            self._recent.clear()


def _at_time(session: PastSession, moment: Moment) -> PastSession:
    """Return a session at a time after its last event: keys may have expired in between."""
    if not isinstance(moment, datetime) or microseconds(moment) <= session.now():
        return session
    return PastSession(session._view, microseconds(moment))  # noqa: SLF001 - of this module


def open_at(session: Session, moment: Moment) -> Session:
    """Return a session at a point in time. Closing it also closes the live session."""
    try:
        found = session.at(moment)
    except BaseException:
        session.close()
        raise
    if not isinstance(found, PastSession):
        return found
    return PastSession(found._view, found.now(), owns_origin=True)  # noqa: SLF001 - of this module
