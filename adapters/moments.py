"""Engines of the past: a whole engine as it was at a moment, read-only."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ..engine import forks
from ..engine.datasets.repository import AggregateRepository
from ..engine.log.moments import Moment, position_at
from ..engine.log.prefix import LogPrefix
from ..engine.times import microseconds, utc
from ..projections.runner import Runner
from ..projections.states.past import PastStates
from ..projections.tables.catalog import Catalog, fold_catalog
from ..projections.tables.frame_counts import Counts
from ..projections.tables.past_counts import PastCounts
from ..projections.tables.store_reader import PastStores
from .connection import Engine
from .sql.sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from ..engine.blobs.store import BlobStore
    from ..projections.history.table import BatchRow, HistoryQuery
    from ..projections.tables.pins import PinChange, PinQuery
    from ..projections.tables.store_reader import StoreReader

_HELD_MOMENTS = 8
_HELD_TIMES = 256


class EngineAt(Engine):
    """An engine as it was at a position of its log: it reads like any other, and refuses to write.

    Parameters
    ----------
    origin : Engine
        The engine of the present.
    position : int
        The last position that is seen.
    """

    def __init__(self, origin: Engine, position: int) -> None:
        self._begin(origin.location, origin.clock, origin.new_id, origin.max_frame_bytes)
        self.origin = origin
        self.owns_origin = False
        self.as_of = position
        self.prefix = LogPrefix(origin.log, position)
        self.log = self.prefix
        self._store = SqliteDatabase(None, durable=False)
        weakref.finalize(self, self._store.close)
        self.catalog = Catalog(self.log)
        self.runner = Runner(self.log, self._store, (self.catalog,))
        self._is_folded = False
        forks.renewed(self._renew)
        past = PastStates(self.prefix, origin.parent_of, origin.states)
        self.states = past
        self.stats = origin.stats
        self.aggregates = AggregateRepository(self.log)
        self._counts = PastCounts(self.prefix, past, origin.runner, origin.stats)
        self._past_stores = PastStores(self.prefix, self.runner)
        self._time = self.prefix.head().recorded_at
        self._whole: EngineAt | None = None

    def _renew(self) -> None:
        self._folding = threading.Lock()

    @property
    def when(self) -> str:
        """How messages tell the moment."""
        return f" at {self.prefix.moment}"

    def __repr__(self) -> str:
        return f"Engine({self.name!r}){self.when}"

    def __reduce__(self) -> tuple[Any, ...]:
        return open_at, (self.origin, self.as_of if self._whole is None else utc(self._time))

    def at(self, moment: Moment | None) -> Engine:
        """Return the engine as it was at a moment that is not later than this one."""
        if moment is None:
            return self
        position = position_at(self.log, moment)
        if position == self.as_of and not (
            isinstance(moment, datetime) and microseconds(moment) < self._time
        ):
            return self
        view = self.origin.at(position)
        return view.timed(moment) if isinstance(view, EngineAt) else view

    def timed(self, moment: Moment) -> EngineAt:
        """Return the same view at a time after its last event: keys may have expired in between."""
        if not isinstance(moment, datetime) or microseconds(moment) <= self._time:
            return self
        # What is folded is shared, and closed with the view that has folded it.
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        forks.in_child(twin._renew)
        twin._time, twin._whole = microseconds(moment), self
        return twin

    def now(self) -> int:
        """Return the time of the moment: the one asked for, or that of its last event."""
        return self._time

    @property
    def store_reader(self) -> StoreReader:
        """What reads the documents of execution stores."""
        return self._past_stores.reader

    def require_present(self) -> None:
        """Refuse: `UsageError`."""
        raise self.prefix.refusal()

    @contextmanager
    def read_catalog(self) -> Generator[sa.Connection, None, None]:
        """Give a connection to the tables of the catalog, folded at the first call."""
        with self._folding:
            if not self._is_folded:
                with self.origin.read_catalog() as connection:
                    now = self.origin.catalog.versions(connection, removed=True)
                fold_catalog(self.prefix, self._store, self.catalog, now)
                self._is_folded = True
        with super().read_catalog() as connection:
            yield connection

    def version_totals(self) -> dict[str, int]:
        """Return the number of frames of each version that held any."""
        with self.read_catalog() as connection:
            rows = self.catalog.versions(connection, removed=True)
        return self._counts.totals(row.version_id for row in rows)

    def history_page(self, wanted: HistoryQuery, last: int | None, size: int) -> Sequence[BatchRow]:
        """Return the next record batches that may hold what is wanted, as the present knows them."""
        return self.origin.history_page(wanted, last, size)

    def pin_changes(self, wanted: PinQuery) -> Sequence[PinChange]:
        """Return changes of pinned datasets up to the moment."""
        return self.origin.pin_changes(self._until_now(wanted))

    def standing_pins(self, wanted: PinQuery) -> Sequence[PinChange]:
        """Return the pinned datasets that stood at the moment."""
        return self.origin.standing_pins(self._until_now(wanted))

    def _until_now(self, wanted: PinQuery) -> PinQuery:
        position = self.prefix.position
        return msgspec.structs.replace(
            wanted, until=position if wanted.until is None else min(position, wanted.until)
        )

    def version_counts(self, version_id: str) -> Counts:
        """Return the counts of a version."""
        return self._counts.of(version_id)

    @property
    def blobs(self) -> BlobStore:
        """The store of file contents, to read from; what was deleted since the moment says so."""
        from ..engine.blobs.read_only import ReadOnlyBlobStore

        return ReadOnlyBlobStore(self.origin.blobs, self.prefix.refusal)

    def close(self) -> None:
        """Stop being the current engine; one that `connect` opened closes its databases."""
        self._leave()
        if self.owns_origin:
            self.origin.close()

    def drop(self) -> None:
        """Close what was folded; the engine cannot be used any more."""
        self.prefix.close()
        self._store.close()


class Moments:
    """The moments of an engine that were asked for last, so that the next read of one folds nothing.

    Parameters
    ----------
    engine : Engine
        The engine of the present.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._recent: OrderedDict[int, EngineAt] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[int, EngineAt] = weakref.WeakValueDictionary()
        self._times: dict[datetime, int] = {}
        self._lock = threading.Lock()

    def at(self, moment: Moment) -> EngineAt:
        """Return the engine as it was at a moment."""
        position = self._times.get(moment) if isinstance(moment, datetime) else None
        if position is None:
            position = self._resolve(moment)
        with self._lock:
            view = self._alive.get(position) or EngineAt(self._engine, position)
            self._alive[position] = self._recent[position] = view
            self._recent.move_to_end(position)
            if len(self._recent) > _HELD_MOMENTS:
                self._recent.popitem(last=False)
        return view.timed(moment)

    def _resolve(self, moment: Moment) -> int:
        """Return the position of a moment; that of a time is remembered when later events have come."""
        position = position_at(self._engine.log, moment)
        if isinstance(moment, datetime) and position < self._engine.log.head().position:
            with self._lock:
                if len(self._times) >= _HELD_TIMES:
                    self._times.clear()
                self._times[moment] = position
        return position

    def close(self) -> None:
        """Drop all moments."""
        with self._lock:
            for view in list(self._alive.values()):
                view.drop()
            self._recent.clear()


def open_at(engine: Engine, moment: Moment) -> Engine:
    """Return an engine at a moment; closing that closes the engine itself, too."""
    try:
        view = engine.at(moment)
    except BaseException:
        engine.close()
        raise
    if isinstance(view, EngineAt):
        view.owns_origin = True
    return view
