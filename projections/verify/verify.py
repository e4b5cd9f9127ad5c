"""Verifies the log and everything derived from it against a fresh replay."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from functools import partial
from itertools import zip_longest
from typing import Any

import msgspec
import sqlalchemy as sa

from ...engine.events.domain import VersionCreated, VersionPublished
from ...engine.log.contract import Log
from ...engine.log.worker_log import require_read, worker_log
from ...engine.parallel import ordered_map
from ..projection import FoldedProjection, Projection, ProjectionStore
from ..runner import Progress, Runner
from ..states.cache import StateCache
from ..states.snapshots import Snapshots
from ..stretches import MOST_STRETCHES
from .chain import BEFORE_ALL, Chain, ChainPart
from .states import check_states, lineage_problems
from .stretch import StretchFindings, examine

_EVENTS_AT_ONCE = 50_000
_EVENTS_AT_ONCE_ELSEWHERE = 100_000


class Findings(msgspec.Struct):
    """What `verify` checked, and the problems.

    Attributes
    ----------
    events, batches : int
        Size of the log. Each batch was checked against the chain, and its keys against their digest.
    contents : bool
        Whether bodies were read, and each payload compared with its digest.
    versions, fingerprints, snapshots, projections : int
        Versions replayed, published fingerprints reproduced, snapshots and projections compared.
    blobs : int
        Number of blobs read, if requested.
    problems : list of str
        The problems, each with its position; empty if there are none. Derived data of a damaged log is not checked.
    """

    events: int = 0
    batches: int = 0
    contents: bool = False
    versions: int = 0
    fingerprints: int = 0
    snapshots: int = 0
    projections: int = 0
    blobs: int = 0
    problems: list[str] = []


def verify(
    log: Log,
    states: StateCache,
    snapshots: Snapshots,
    runner: Runner,
    scratch: ProjectionStore,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Findings:
    """Check the log from the first batch to the head, then all derived data.

    Parameters
    ----------
    scratch : ProjectionStore
        An empty database into which projections are replayed.
    progress : callable, optional
        Called in each phase with the number done and the total: of positions, then of versions.
    executor : Executor, optional
        Where to check ranges of the log; by default in this thread.
    """
    findings = Findings(problems=log.check_tables(), contents=True)
    fresh = Runner(log, scratch, [type(projection)(log) for projection in runner.kept()])
    walk = _Walk(log, fresh, findings)
    if walk.run(progress, executor):
        _check_states(log, states, snapshots, walk, findings, progress, executor)
        _check_projections(runner, fresh, findings)
        with scratch.read() as connection:
            for folded in fresh.projections:
                findings.problems += folded.unreadable(connection)
    return findings


def verify_chain(log: Log, progress: Progress | None = None, executor: Executor | None = None) -> Findings:
    """Check the database, the digest chain and the keys. Bodies and derived data are not checked."""
    findings = Findings(problems=log.check_tables())
    _Walk(log, None, findings).run(progress, executor)
    return findings


class _Walk:
    """Checks the log from the first batch to the head, range by range. With a runner it also replays projections."""

    def __init__(self, log: Log, fresh: Runner | None, findings: Findings) -> None:
        self._log = log
        self._fresh = fresh
        self._findings = findings
        self._chain = Chain(log)
        self.created: list[VersionCreated] = []
        self.published: dict[str, tuple[int, VersionPublished]] = {}

    @property
    def position(self) -> int:
        """Position of the last event that was checked."""
        return self._chain.last.position

    def run(self, progress: Progress | None, executor: Executor | None) -> bool:
        """Check the log. Returns whether it is sound."""
        head = self._log.head().position
        problems: list[str] = []
        stretches = self._examined(head, executor)
        with closing(stretches):
            for examined in stretches:
                if executor is not None:
                    self._require_own(examined.chain)
                problems += self._chain.join(examined.chain)
                if examined.not_folded and not problems:
                    problems.append(examined.not_folded)
                self._take_over(examined, sound=not problems)
                if progress:
                    progress(min(self.position, head), head)
        problems += self._chain.finish()
        self._findings.problems += problems
        return not problems

    def _examined(self, head: int, executor: Executor | None) -> Generator[StretchFindings, None, None]:
        folded = self._folded()
        kinds = [type(projection) for projection in folded]
        events = _EVENTS_AT_ONCE if executor is None else _EVENTS_AT_ONCE_ELSEWHERE
        # A damaged position may be any number.
        cuts = range(0, max(head, 1), max(events, head // MOST_STRETCHES))[1:]
        # The first and the last range are open, so that rows before position 1 and after the head are checked as well.
        starts, stops = [BEFORE_ALL, *cuts], [*cuts, None]
        bounds = zip(starts, stops, strict=True)
        if executor is not None:
            work = partial(examine, worker_log(self._log), kinds, self._findings.contents)
            yield from ordered_map(executor, work, bounds)
            return
        work = partial(examine, lambda: nullcontext(self._log), kinds, self._findings.contents)
        for bound in bounds:
            yield work(*bound)

    def _require_own(self, part: ChainPart) -> None:
        """Check that a sound part, which a worker read, belongs to this log."""
        if part.last is not None and not part.problems:
            require_read(self._log, part.last.position, part.last.digest)

    def _folded(self) -> list[FoldedProjection[Any]]:
        projections = self._fresh.projections if self._fresh else ()
        return [projection for projection in projections if isinstance(projection, FoldedProjection)]

    def _take_over(self, examined: StretchFindings, *, sound: bool) -> None:
        self._findings.batches += examined.chain.batches
        self._findings.events += examined.chain.events
        self.created += examined.created
        self.published |= {event.originator_id: (at, event) for at, event in examined.published}
        if sound and self._fresh is not None and examined.stretch is not None:
            self._fresh.write_folded(self._folded(), examined.stretch)


def _check_states(
    log: Log,
    states: StateCache,
    snapshots: Snapshots,
    walk: _Walk,
    findings: Findings,
    progress: Progress | None,
    executor: Executor | None,
) -> None:
    """Replay every version, and compare the derived data."""
    findings.problems += lineage_problems(log, walk.created)
    checked = check_states(log, states, snapshots, walk.created, walk.published, walk.position, executor)
    with closing(checked):
        for folded, problems in checked:
            findings.problems += problems
            findings.versions += folded.complete
            findings.snapshots += not folded.complete
            findings.fingerprints += folded.fingerprint is not None
            if progress and folded.complete:
                progress(findings.versions, len(walk.created))


def _check_projections(runner: Runner, fresh: Runner, findings: Findings) -> None:
    """Compare the live tables in one snapshot with a replay up to the same positions."""
    findings.projections = len(fresh.projections)
    live = [kept for kept in runner.projections if type(kept) in map(type, fresh.projections)]
    # So that little is left to replay while the snapshot is open.
    fresh.catch_up_all()
    with runner.snapshot() as connection, fresh.store.read() as scratch:
        tracks = runner.tracks_in(connection, live)
        fresh.fold_to([track.position for track in tracks])
        expected = fresh.tracks_in(scratch, fresh.projections)
        for kept, track, folded, other in zip(live, tracks, fresh.projections, expected, strict=True):
            own = connection if track.has_tables else None
            beside = scratch if other.has_tables else None
            findings.problems += [
                f"projection {kept.name}: {difference}"
                for difference in _differences(own, beside, kept, folded)
            ]


def _differences(
    connection: sa.Connection | None, scratch: sa.Connection | None, kept: Projection, folded: Projection
) -> Iterator[str]:
    """Yield how tables differ from a replay. Without a connection there are no tables yet, which are like empty ones."""
    pairs = zip(kept.metadata.tables.values(), folded.metadata.tables.values(), strict=True)
    for one, other in pairs if connection or scratch else ():
        live = kept.rows(connection, one) if connection else ()
        replayed = folded.rows(scratch, other) if scratch else ()
        for row, expected in zip_longest(live, replayed):
            if row != expected:
                key = (row or expected)[: len(one.primary_key.columns)]
                shown = ", ".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
                yield f"table {one.name} differs from a fresh replay at {shown}: rebuild it"
                break
