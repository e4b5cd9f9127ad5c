"""Keeps projections up to date with the log: catch-up, exactly-once processing, following, and rebuild."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..engine import forks
from ..engine.errors import FramelodeError, IntegrityError, UsageError
from ..engine.log.batch import EVENTS_SCHEMA
from ..engine.log.contract import Head, Log
from ..engine.log.worker_log import require_read, worker_log
from ..engine.tracing import POSITION, span
from .pages import Page, cut_pages, read_pages
from .projection import FoldedProjection, Projection, ProjectionStore
from .tracking import UNTRACKED, Track, Tracking

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .stretches import Stretch

__all__ = ["FoldedProjection", "Page", "Progress", "Projection", "Runner"]

logger = logging.getLogger("framelode.projections")

_PAGE_EVENTS = 50_000
_STRETCH_EVENTS = 100_000
_PENDING_EVENTS = 1000
"""A writer leaves fewer events than this to the next reader, so that small commits do not wait for all projections."""
_POLL_SECONDS = 0.1

Progress = Callable[[int, int], None]
"""Called with the position reached and the last position."""


class Runner:
    """Keeps projections up to date with the log and rebuilds them.

    The tracking row (log, position, and digest at that position) is written in the same transaction as the rows of the
    projection, so each event is applied exactly once. If the log has another digest at that position, it was restored
    to an earlier state, and the projection is replayed from the start.

    Parameters
    ----------
    log : Log
        The log.
    store : ProjectionStore
        The database of the tables. They belong to this log only.
    projections : iterable of Projection
        The projections, read when they are first needed together: one that is read alone does without the others.
    place : str
        Location of the log relative to the store; see `Tracking`.

    Raises
    ------
    UsageError
        The store belongs to another engine.
    IntegrityError
        The log was replaced by another one.
    """

    def __init__(
        self, log: Log, store: ProjectionStore, projections: Iterable[Projection], place: str = ""
    ) -> None:
        self._log = log
        self.store = store
        self._given = projections
        self._all: tuple[Projection, ...] | None = None
        self._tracking = Tracking(log, store.name, place)
        forks.renewed(self._renew)
        self._tracking.create(store)

    def _renew(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._has_pending = False
        self._lock = threading.RLock()

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All projections."""
        with self._lock:
            if self._all is None:
                self._all = tuple(self._given)
            return self._all

    @property
    def _eager(self) -> list[Projection]:
        return [each for each in self.projections if not each.on_demand]

    def catch_up(self, projection: Projection, progress: Progress | None = None) -> None:
        """Replay the events that the projection lacks. Takes microseconds if there are none."""
        with self._lock:
            head, track = self._log.head(), self._tracks.get(projection.full_name, UNTRACKED)
            if projection.topics is not None and not track.has_tables:
                self._create_tables(projection)
            if not self._is_at(projection, head):
                self._catch_up((projection,), head, progress)

    def needed(self, projections: Sequence[Projection]) -> list[Projection]:
        """Bring projections up to date, and return those that have tables: no event concerns the others."""
        with self._lock:
            self._catch_up(projections, self._log.head())
            return [each for each in projections if self._tracks[each.full_name].has_tables]

    def _is_at(self, projection: Projection, head: Head) -> bool:
        track = self._tracks.get(projection.full_name)
        return track is not None and (track.position, track.digest) == (head.position, head.digest)

    def _create_tables(self, projection: Projection) -> None:
        """Create the tables of a projection for a reader, unless another process has."""
        with self.store.write() as connection:
            tracks = self._tracking.ensure(connection, (projection,))
            self._add_tables(connection, projection, tracks)
        self._tracks |= tracks

    def _add_tables(
        self, connection: sa.Connection, projection: Projection, tracks: dict[str, Track]
    ) -> None:
        track = tracks[projection.full_name]
        if not track.has_tables:
            self._tracking.reset(connection, projection)
            tracks[projection.full_name] = Track(track.position, track.digest)
            self._tracking.write(connection, (projection,), tracks)

    def catch_up_all(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Bring all projections up to date, also those on demand. Events that several of them read are read once.

        Parameters
        ----------
        executor : Executor, optional
            Where to replay; by default in this thread.
        """
        with self._lock:
            self._catch_up(self.projections, self._log.head(), progress, executor)

    def kept(self) -> tuple[Projection, ...]:
        """Return the projections without those that no reader has needed so far."""
        with self._lock:
            known = self._tracks.keys()
            if any(each.on_demand and each.full_name not in known for each in self.projections):
                with self.store.read() as connection:
                    known = known | self._tracking.read(connection, self.projections).keys()
            return tuple(each for each in self.projections if not each.on_demand or each.full_name in known)

    def catch_up_after_writing(self) -> None:
        """Bring all projections up to date if many events are pending. A few are left to the next reader, or to `finish`."""
        with self._lock:
            head = self._log.head()
            self._has_pending = head.position - min(self._reached(), default=0) < _PENDING_EVENTS
            if not self._has_pending:
                self._catch_up(self._eager, head)

    def finish(self) -> None:
        """Replay what `catch_up_after_writing` left. Nothing is lost if that fails: the next reader replays it."""
        if self._has_pending:
            try:
                with self._lock:
                    self._catch_up(self._eager, self._log.head())
            except FramelodeError as error:
                logger.info("the projections were not brought up to date: %s", error)

    def _reached(self) -> Iterator[int]:
        tracks = (self._tracks.get(each.full_name) for each in self._eager)
        return (track.position if track else 0 for track in tracks)

    def fold_alone(self, projection: Projection) -> None:
        """Replay a projection from the start to the head of a log that does not grow. Batches of other topics are not read."""
        head = self._log.head()
        headers = self._log.headers(lte=head.position, schema=EVENTS_SCHEMA, topics=projection.topics)
        with self.store.write() as connection:
            self._tracking.reset(connection, projection)
            for page in cut_pages(self._log, headers):
                projection.apply(connection, page)
            self._tracking.write(
                connection, (projection,), {projection.full_name: Track(head.position, head.digest)}
            )

    def follow(self, stop: threading.Event, poll_seconds: float = _POLL_SECONDS) -> Iterator[int]:
        """Keep the projections that are `kept` up to date, and yield the position after each change.

        It ends when the log is closed.

        Parameters
        ----------
        stop : threading.Event
            Ends the iteration when set, between two transactions.
        poll_seconds : float
            Seconds between checks for new events, if the database does not send notifications.
        """
        position = -1
        with self._log.watch() as watch:
            while not stop.is_set():
                try:
                    kept = self.kept()
                    with self._lock:
                        self._catch_up(kept, self._log.head())
                except UsageError:
                    if self._log.is_closed:
                        return
                    raise
                reached = min((self._tracks[each.full_name].position for each in kept), default=0)
                if reached != position:
                    position = reached
                    yield position
                else:
                    watch.wait(stop, poll_seconds)

    def rebuild(
        self,
        projections: Projection | Iterable[Projection] | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Replay the log into new tables next to the live ones, then swap them in one transaction.

        An interrupted rebuild continues where it stopped.

        Parameters
        ----------
        projections : Projection or iterable of Projection, optional
            The projections to rebuild, by default those that are `kept`.
        executor : Executor, optional
            Where to replay; by default in this thread.
        """
        if isinstance(projections, Projection):
            projections = (projections,)
        live = self.kept() if projections is None else tuple(projections)
        fresh = [projection.beside() for projection in live]
        with self._lock:
            swapped = False
            while not swapped:
                # Another process may have swapped or filled the tables whose positions are cached.
                self._tracks.clear()
                self._catch_up(fresh, self._log.head(), progress, executor)
                swapped = self._swap(live, fresh)
            self._tracks.clear()

    def _swap(self, live: Sequence[Projection], fresh: Sequence[Projection]) -> bool:
        """Swap the tables if few events are left to replay, so that the live ones are never seen at an earlier position."""
        with self.store.write() as connection:
            near = self._log.head().position - _PAGE_EVENTS
            if any(track.position < near for track in self._tracking.ensure(connection, fresh).values()):
                return False
            self._catch_up_in(connection, fresh)
            tracks, before = self._tracking.ensure(connection, fresh), self.tracks_in(connection, live)
            for old, track, new in zip(live, before, fresh, strict=True):
                if track.has_tables:
                    # Whoever reads them relies on them.
                    self._add_tables(connection, new, tracks)
                self._tracking.swap(connection, old, new, has_tables=tracks[new.full_name].has_tables)
        return True

    def write_folded(self, projections: Sequence[FoldedProjection[Any]], stretch: Stretch) -> bool:
        """Write changes that were computed elsewhere. Returns False if another process has advanced the projections."""
        with self.store.write() as connection:
            tracks = self._tracking.ensure(connection, projections)
            if {track.position for track in tracks.values()} != {stretch.after}:
                return False
            for each, folded in zip(projections, stretch.folded, strict=True):
                has_tables = self._prepare(connection, each, tracks, stretch.topics)
                if has_tables:
                    each.write(connection, folded)
                tracks[each.full_name] = Track(stretch.position, stretch.digest, has_tables)
            self._tracking.write(connection, projections, tracks)
        self._tracks |= tracks
        return True

    def _prepare(
        self, connection: sa.Connection, each: Projection, tracks: dict[str, Track], topics: frozenset[str]
    ) -> bool:
        """Create the tables of a projection if the next events have one of its topics. Returns whether it has tables."""
        if tracks[each.full_name].has_tables:
            return True
        if not _concern(each, topics):
            return False
        self._tracking.reset(connection, each)
        return True

    @contextmanager
    def snapshot(self) -> Generator[sa.Connection, None, None]:
        """Bring the tables up to date, and yield a connection that keeps reading them in this state."""
        with self._lock:
            # Another process may have swapped or reset the tables whose positions are cached.
            self._tracks.clear()
            kept = self.kept()
            self._catch_up(kept, self._log.head())
            with_tables = [each for each in kept if self._tracks[each.full_name].has_tables]
        tables = [name for each in with_tables for name in each.metadata.tables]
        with self.store.snapshot(tables) as connection:
            yield connection

    def fold_to(self, positions: Sequence[int]) -> None:
        """Replay each projection up to its own position, the end of a batch. A projection beyond it is not changed."""
        with self._lock:
            for position in sorted(set(positions)):
                pairs = zip(self.projections, positions, strict=True)
                behind = [
                    each
                    for each, own in pairs
                    if own >= position > self._tracks.get(each.full_name, UNTRACKED).position
                ]
                self._catch_up(behind, Head(position, b"", 0))

    def position(self, projection: Projection) -> int:
        """Return the position that a projection has reached."""
        with self.store.read() as connection:
            return self.tracks_in(connection, (projection,))[0].position

    def tracks_in(self, connection: sa.Connection, projections: Sequence[Projection]) -> list[Track]:
        """Return the positions that projections have reached, as seen by a connection."""
        tracks = self._tracking.read(connection, projections)
        return [tracks.get(each.full_name, UNTRACKED) for each in projections]

    def _catch_up(
        self,
        projections: Sequence[Projection],
        head: Head,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Bring projections up to date page by page. Projections at the same position share a page."""
        behind = [each for each in projections if not self._is_at(each, head)]
        if not behind and executor is None:
            return
        names = {"framelode.projections": [each.name for each in behind], POSITION: head.position}
        with span("catch_up", self._log, names):
            if executor is not None:
                self._catch_up_on(executor, projections, head, progress)
                behind = [each for each in projections if not self._is_at(each, head)]
            while behind:
                self._step(behind, head)
                behind = [each for each in behind if self._tracks[each.full_name].position < head.position]
                if progress:
                    progress(min(head.position, *self._positions(projections)), head.position)

    def _catch_up_on(
        self, executor: Executor, projections: Sequence[Projection], head: Head, progress: Progress | None
    ) -> None:
        """Replay ranges on an executor and write the results in order, for projections whose replay needs no tables."""
        from .stretches import fold_stretches

        together = [each for each in projections if isinstance(each, FoldedProjection)]
        with self.store.write() as connection:
            tracks = self._tracking.ensure(connection, together)
        start = min((track.position for track in tracks.values()), default=head.position)
        together = [each for each in together if tracks[each.full_name].position == start]
        kinds = [type(each) for each in together]
        stretches = fold_stretches(
            executor, worker_log(self._log), kinds, start, head.position, _STRETCH_EVENTS
        )
        # After an interrupt no parts may keep running while its traceback is alive.
        with closing(stretches):
            for stretch in stretches:
                require_read(self._log, stretch.position, stretch.digest)
                if not self.write_folded(together, stretch):
                    return
                if progress:
                    progress(stretch.position, head.position)

    def _positions(self, projections: Iterable[Projection]) -> list[int]:
        return [self._tracks[each.full_name].position for each in projections]

    def _step(self, projections: Sequence[Projection], head: Head) -> None:
        """Replay one page in one transaction, for the projections that are farthest behind."""
        with self.store.write() as connection:
            tracks = self._step_in(connection, projections, head)
        self._remember(tracks, head)

    def _step_in(
        self, connection: sa.Connection, projections: Sequence[Projection], head: Head
    ) -> dict[str, Track]:
        """Replay one page in an open transaction. Returns the positions of the projections."""
        tracks = self._tracking.ensure(connection, projections)
        positions = {track.position for track in tracks.values()}
        position = min(positions)
        page = self._page(position, min([head.position, *(positions - {position})]))
        if page is not None:
            behind = [each for each in projections if tracks[each.full_name].position == position]
            for each in behind:
                has_tables = self._prepare(connection, each, tracks, page.topics)
                if _concern(each, page.topics):
                    each.apply(connection, page)
                tracks[each.full_name] = Track(page[-1].last_position, page[-1].digest, has_tables)
            self._tracking.write(connection, behind, tracks)
        return tracks

    def _catch_up_in(self, connection: sa.Connection, projections: Sequence[Projection]) -> None:
        """Bring projections up to date in an open transaction."""
        head, behind = self._log.head(), bool(projections)
        while behind:
            tracks = self._step_in(connection, projections, head)
            behind = any(track.position < head.position for track in tracks.values())

    def _page(self, position: int, lte: int) -> Page | None:
        """Return the page after a position; None at the end."""
        if position >= lte:
            return None
        page = next(read_pages(self._log, position, lte, _PAGE_EVENTS), None)
        if page is None or page[0].first_position != position + 1:
            raise IntegrityError(
                f"{self._log.name} lacks the batch at position {position + 1}",
                position=position + 1,
                file=self._log.name,
            )
        return page

    def _remember(self, tracks: dict[str, Track], head: Head) -> None:
        for name, track in tracks.items():
            at_head = track.position == head.position
            self._tracks[name] = Track(head.position, head.digest, track.has_tables) if at_head else track


def _concern(projection: Projection, topics: frozenset[str]) -> bool:
    """Whether a projection replays events of some topics, or all events."""
    return projection.topics is None or not projection.topics.isdisjoint(topics)
