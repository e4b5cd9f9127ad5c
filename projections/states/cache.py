"""The cache of version states, which are replayed from the log with the help of snapshots."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from ...engine import forks
from ...engine.errors import NotFoundError, StorageError, UsageError
from ...engine.keys import Rows, read_rows
from ...engine.log.contract import Head, Log, StreamRows
from ..pages import gathered
from .fingerprint import Fingerprint, fingerprint
from .fold import NO_BATCHES, State
from .key_rows import KeyRows
from .snapshots import Snapshots, ancestry

logger = logging.getLogger("framelode.states")

_CACHED_STATES = 32
_MARKED_STATES = 64
_FOLD_EVENTS = 1 << 20

ParentOf = Callable[[str], "str | None"]


class StateCache:
    """Returns the state of any version, up to date with the log.

    Parameters
    ----------
    log : Log
        The log.
    parent_of : callable
        Returns the parent id of a version, or None. Raises `NotFoundError` for an unknown version.
    snapshots : Snapshots, optional
        Where states are kept between processes.
    """

    def __init__(self, log: Log, parent_of: ParentOf, snapshots: Snapshots | None = None) -> None:
        self._log = log
        self.parent_of = parent_of
        self._snapshots = snapshots
        self.rows = KeyRows(log)
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()
        self._marks: dict[str, State] = {}
        self._fingerprints: dict[str, Fingerprint] = {}
        self._lock = threading.RLock()

    def current(self, version_id: str) -> State:
        """Return the state of a version at the head of the log.

        Raises
        ------
        NotFoundError
            The version was never created.
        """
        with self._lock:
            state = self._states.get(version_id)
            if state is None:
                state = self._build(version_id)
            self._keep(version_id, state)
            return state

    def read(self, version_id: str, head: Head | None = None) -> State:
        """Return the current state for reading. A replay that took long is saved as a snapshot for other processes.

        Appends use `current`, so they never wait until derived data is written.

        Parameters
        ----------
        version_id : str
            Id of the version.
        head : Head, optional
            The end of the log, if known.
        """
        with self._lock:
            state = self._states.get(version_id)
            if state is None or head is None or state.position != head.position:
                state = self.current(version_id)
            if self._snapshots is not None and self._snapshots.may_be_due(state.unsaved):
                state.unsaved = 0
                self._save(self._snapshots, version_id, state)
            return state

    def at(self, version_id: str, position: int) -> State:
        """Return the state of a version at a position, replayed from the start."""
        state = self._empty(position)
        for ancestor in reversed(ancestry(version_id, self.parent_of)):
            state = state.branch(position)
            for pages in gathered(self._log.stream_rows(ancestor, lte=position), _FOLD_EVENTS):
                _fold(state, pages, position)
        return state

    def parts(self, version_ids: Iterable[str]) -> Iterator[State]:
        """Yield states that together contain the frames of some versions. The cost depends on the events, not on the frames.

        If the parent of a version is among them, only the version's own events are replayed, because it shares all
        others with its parent.
        """
        among = dict.fromkeys(version_ids)
        for version_id in among:
            if self.parent_of(version_id) in among:
                state = self._empty(-1)
                self._catch_up(version_id, state)
                yield state
            else:
                yield self.current(version_id)

    def before(self, version_id: str, position: int, version: int) -> State | None:
        """Return a cached state from which the one at a position can be computed, or which is equal to it.

        Parameters
        ----------
        version_id : str
            The version.
        position : int
            The position.
        version : int
            Version of the stream at that position.
        """
        with self._lock:
            if not self._has_frames_after(version_id, version):
                now = self.read(version_id)
                if now.last_position <= position:
                    state = now.branch(position)
                    state.version = version
                    return state
            return self._snapshots.load(version_id, self.rows, lte=position) if self._snapshots else None

    def fingerprint_before(self, version_id: str, position: int, version: int) -> Fingerprint | None:
        """Return the current fingerprint if it is the same at a position; see `before`."""
        with self._lock:
            if self._has_frames_after(version_id, version):
                return None
            computed = self.fingerprint(version_id)
            return computed if computed.position <= position else None

    def _has_frames_after(self, version_id: str, version: int) -> bool:
        if self._log.stream_version(version_id) == version:
            return False
        return next(self._log.stream_rows(version_id, after=version), None) is not None

    def recorded(self, version_id: str, rows: Rows, first_position: int, first_version: int) -> None:
        """Apply a batch that this process has just appended, if the cached state is right before it."""
        with self._lock:
            state = self._states.get(version_id)
            if state is None or state.version != first_version - 1:
                return
            count = len(rows)
            with self._dropped_when_interrupted(version_id):
                state.advance(rows, np.array([first_position], np.uint64), np.array([count], np.uint64))
                state.version += count
                if state.position == first_position - 1:
                    state.position += count

    def held(self, version_id: str) -> State | None:
        """Return a copy of a cached state that is up to date; None if there is none."""
        with self._lock:
            # Other threads continue to advance the cached state itself.
            return self.current(version_id).branch(-1) if version_id in self._states else None

    def held_ids(self) -> set[str]:
        """Return the versions with a cached state."""
        with self._lock:
            return set(self._states)

    def fingerprint(self, version_id: str) -> Fingerprint:
        """Return the fingerprint of a version. Only what changed since the last one is recomputed."""
        with self._lock:
            state = self.current(version_id)
            known = self._fingerprints.get(version_id)
            parent = self.parent_of(version_id) if known is None else None
            computed = fingerprint(state, known or (self._fingerprints.get(parent) if parent else None))
            self._fingerprints[version_id] = computed
            return computed

    def save_snapshot(self, version_id: str) -> bool:
        """Write a snapshot of the state of a version if there are enough new events since the last one."""
        if self._snapshots is None:
            return False
        with self._lock:
            held = self._states.get(version_id)
            if held is not None and not self._snapshots.may_be_due(held.unsaved):
                return False
            state = self.current(version_id)
            state.unsaved = 0
            return self._save(self._snapshots, version_id, state)

    def _save(self, snapshots: Snapshots, version_id: str, state: State) -> bool:
        try:
            return snapshots.save(version_id, state, self.parent_of)
        except (StorageError, UsageError) as error:
            # A snapshot is derived data: reading and committing must not depend on writing it.
            logger.info("no snapshot of version %s was saved: %s", version_id, error)
            return False

    def forget(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._marks.clear()
            for version_id in list(self._states):
                self._forget(version_id)

    def _forget(self, version_id: str) -> None:
        self._states.pop(version_id, None)
        self._fingerprints.pop(version_id, None)

    @contextmanager
    def _dropped_when_interrupted(self, version_id: str) -> Generator[None, None, None]:
        """Drop a state that an interrupt may have left half advanced. It can be replayed from the log."""
        try:
            yield
        except BaseException:
            self._forget(version_id)
            raise

    def _empty(self, position: int) -> State:
        return State((), NO_BATCHES, 0, position, 0, self.rows)

    def _load(self, version_id: str) -> State | None:
        return self._snapshots.load(version_id, self.rows) if self._snapshots else None

    def _build(self, version_id: str) -> State:
        """Return a state to bring up to date: from a snapshot, or a branch of the nearest cached ancestor.

        A chain of versions may be longer than the recursion limit. In a long chain, the states at the distances 1, 2, 4,
        8, ... are cached, so that reading the versions one by one, newest first, does not replay the chain from the start
        each time.
        """
        line = [version_id]
        state = self._load(version_id)
        while state is None and (parent := self.parent_of(line[-1])) is not None:
            line.append(parent)
            state = self._states.get(parent) or self._marks.get(parent) or self._load(parent)
        state, marks = state or self._empty(-1), dict[str, State]()
        for distance in range(len(line) - 1, 0, -1):
            self._keep(line[distance], state)
            if distance & (distance - 1) == 0 or distance == len(line) - 1:
                marks[line[distance]] = state
            state = state.branch(-1)
        if len(line) > _CACHED_STATES:
            self._marks |= marks
            while len(self._marks) > _MARKED_STATES:
                del self._marks[next(iter(self._marks))]
        return state

    def _keep(self, version_id: str, state: State) -> None:
        """Cache a state that is up to date."""
        head = self._log.head().position
        self._states[version_id] = state
        self._states.move_to_end(version_id)
        while len(self._states) > _CACHED_STATES:
            self._forget(next(iter(self._states)))
        if state.position != head:
            with self._dropped_when_interrupted(version_id):
                self._catch_up(version_id, state)
                state.position = max(state.position, head)

    def _catch_up(self, version_id: str, state: State) -> None:
        version = self._log.stream_version(version_id)
        if version is None:
            raise NotFoundError(f"there is no version {version_id}")
        if version > state.version:
            for pages in gathered(self._log.stream_rows(version_id, after=state.version), _FOLD_EVENTS):
                _fold(state, pages, None)
                state.version = pages[-1].first_version + pages[-1].count - 1
        state.version = max(state.version, version)


def advance(log: Log, version_id: str, state: State, lte: int) -> None:
    """Replay the events of a version's own stream up to a position that its state lacks."""
    for pages in gathered(log.stream_rows(version_id, after=state.version, lte=lte), _FOLD_EVENTS):
        _fold(state, pages, lte)
        state.version = pages[-1].first_version + pages[-1].count - 1


def _fold(state: State, pages: list[StreamRows], lte: int | None) -> None:
    first = np.fromiter((page.first_position for page in pages), np.uint64, len(pages))
    counts = np.fromiter((page.count for page in pages), np.uint64, len(pages))
    rows = read_rows(b"".join([page.keys for page in pages]))
    if lte is not None and int(first[-1] + counts[-1]) - 1 > lte:
        counts[-1] = lte + 1 - int(first[-1])
        rows = rows[: int(counts.sum())]
    state.advance(rows, first, counts)
