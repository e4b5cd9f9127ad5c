"""Label counts of a version at an earlier position."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from ...engine import forks
from ...engine.errors import StorageError
from ...engine.log.batch import FRAMES_SCHEMA, BatchHeader
from ...engine.log.contract import Log
from ...engine.log.prefix import LogPrefix
from ..pages import Page, gathered
from ..runner import Runner
from ..states.past import PastStates
from .frame_counts import Counts, require_readable
from .stats import Stats

_TRIES = 1000


class PastCounts:
    """The statistics of versions at an earlier position.

    They are computed from the current ones minus later changes, or from the parent's plus earlier changes, whichever are fewer.

    Parameters
    ----------
    log : LogPrefix
        The log up to the position.
    states : PastStates
        The states at the position.
    runner, stats : Runner, Stats
        The current statistics.
    """

    def __init__(self, log: LogPrefix, states: PastStates, runner: Runner, stats: Stats) -> None:
        self._log = log
        self._states = states
        self._runner = runner
        self._stats = stats
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._known: dict[str, Counts] = {}
        # The counts of a version may start from those of its parent.
        self._lock = threading.RLock()

    def of(self, version_id: str) -> Counts:
        """Return the counts of one version."""
        with self._lock:
            if version_id not in self._known:
                self._known[version_id] = self._count(version_id)
            return require_readable(self._known[version_id], version_id)

    def totals(self, version_ids: Iterable[str]) -> dict[str, int]:
        """Return the number of frames of some versions. Versions without frames are omitted."""
        self._runner.catch_up(self._stats)
        with self._runner.store.read() as connection:
            now = self._stats.totals(connection)
        totals = {
            version_id: self._states.current(version_id).total
            if self._has_changed(version_id)
            else now.get(version_id, 0)
            for version_id in version_ids
        }
        return {version_id: total for version_id, total in totals.items() if total}

    def _has_changed(self, version_id: str) -> bool:
        return self._log.whole.stream_version(version_id) != self._log.stream_version(version_id)

    def _count(self, version_id: str) -> Counts:
        version = self._log.stream_version(version_id) or 0
        later = (self._log.whole.stream_version(version_id) or 0) - version
        return self._count_on(version_id) if version < later else self._count_back(version_id)

    def _count_on(self, version_id: str) -> Counts:
        """Add the changes up to the position to the counts of the parent."""
        parent_id = self._states.parent_of(version_id)
        counts = Counter(self.of(parent_id)) if parent_id else Counter()
        for some in gathered(self._log.headers(stream_id=version_id, schema=FRAMES_SCHEMA)):
            counts.update(self._changes(self._log, some))
        return +counts

    def _count_back(self, version_id: str) -> Counts:
        """Subtract the changes after the position from the current counts."""
        at, counts = self._now(version_id)
        if not self._has_changed(version_id):
            return counts
        position = self._log.position
        whole = self._log.whole
        for some in gathered(whole.headers(gt=position, lte=at, stream_id=version_id, schema=FRAMES_SCHEMA)):
            counts.subtract(self._changes(whole, some))
            if some[0].first_position <= position:
                # The changes of a batch up to the position stay.
                counts.update(self._changes(self._log, [self._log.batch_at(position)]))
        return +counts

    def _changes(self, log: Log, headers: Sequence[BatchHeader]) -> Counts:
        (counts,) = self._stats.fold(Page(log, headers)).counts.values()
        return counts

    def _now(self, version_id: str) -> tuple[int, Counts]:
        """Return the counts at a position that is not before the requested one."""
        for _ in range(_TRIES):
            self._runner.catch_up(self._stats)
            at = self._runner.position(self._stats)
            with self._runner.store.read() as connection:
                counts = self._stats.all_counts(connection, version_id)
            # Another process may have advanced or reset the tables meanwhile.
            if self._runner.position(self._stats) == at >= self._log.position:
                return at, counts
        raise StorageError(f"{self._runner.store.name}: the statistics changed in every attempt: call again")
