"""Proves that nothing was altered: the chain, what the batches hold, and everything derived against a fresh fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from ..engine.events import VersionCreated, VersionPublished
from ..engine.log import Log
from .chain import Chain, problem
from .examine import Examined, examine
from .fingerprint import fingerprint
from .folding import MOST_STRETCHES, run_ahead
from .projection import FoldedProjection, Projection
from .runner import Progress, Runner
from .snapshots import Snapshots
from .state import State
from .states import States
from .store import Store
from .tree_fold import FreshState, fold_tree

_EVENTS_AT_ONCE = 50_000
_EVENTS_AT_ONCE_ELSEWHERE = 100_000
_TRIES = 5


class Findings(msgspec.Struct):
    """What `verify` checked, and what is wrong.

    Attributes
    ----------
    events, batches : int
        What the log holds, each batch checked against the chain and its keys against their digest.
    contents : bool
        Whether bodies were opened, and each payload compared with its digest.
    versions, fingerprints, snapshots, projections : int
        Versions folded afresh, published fingerprints reproduced, snapshots and projections compared.
    blobs : int
        Blobs read, when that was asked for.
    problems : list of str
        Each says what is wrong and where; empty when all is well. What is derived from a damaged log is not looked at.
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
    states: States,
    snapshots: Snapshots,
    runner: Runner,
    scratch: Store,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Findings:
    """Check the log from the first batch to the head, then everything derived from it.

    Parameters
    ----------
    scratch : Store
        An empty database in which projections are folded afresh.
    progress : callable, optional
        Called for each phase in turn with what is done and how much there is: positions, then versions.
    executor : Executor, optional
        Where stretches of the log are examined; else in this thread.
    """
    findings = Findings(problems=log.check_tables(), contents=True)
    fresh = Runner(log, scratch, [type(projection)(log) for projection in runner.projections])
    walk = _Walk(log, fresh, findings)
    if walk.run(progress, executor):
        _check_states(log, states, snapshots, walk, findings, progress)
        _check_projections(runner, fresh, findings)
    return findings


def verify_chain(log: Log, progress: Progress | None = None, executor: Executor | None = None) -> Findings:
    """Check the database, the chain of digests and the keys; bodies stay closed, and what is derived is not looked at."""
    findings = Findings(problems=log.check_tables())
    _Walk(log, None, findings).run(progress, executor)
    return findings


class _Walk:
    """The walk from the first batch to the head, stretch by stretch; with a runner projections are folded on the way."""

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
        """Walk; says whether the log is sound."""
        head = self._log.head().position
        problems: list[str] = []
        for examined in self._examined(head, executor):
            problems += self._chain.join(examined.chain)
            if examined.not_folded and not problems:
                problems.append(examined.not_folded)
            self._take_over(examined, sound=not problems)
            if progress:
                progress(min(self.position, head), head)
        problems += self._chain.finish()
        self._findings.problems += problems
        return not problems

    def _examined(self, head: int, executor: Executor | None) -> Iterator[Examined]:
        folded = self._folded()
        kinds = [type(projection) for projection in folded]
        events = _EVENTS_AT_ONCE if executor is None else _EVENTS_AT_ONCE_ELSEWHERE
        # A damaged position may be any number.
        starts = range(0, max(head, 1), max(events, head // MOST_STRETCHES))
        # The last stretch is open: whatever lies beyond the head must be looked at, too.
        stops = [*starts[1:], None]
        bounds = zip(starts, stops, strict=True)
        if executor is not None:
            work = partial(examine, self._log.opener(), kinds, self._findings.contents)
            return run_ahead(executor, work, bounds)
        work = partial(examine, lambda: nullcontext(self._log), kinds, self._findings.contents)
        return (work(*bound) for bound in bounds)

    def _folded(self) -> list[FoldedProjection[Any]]:
        projections = self._fresh.projections if self._fresh else ()
        return [projection for projection in projections if isinstance(projection, FoldedProjection)]

    def _take_over(self, examined: Examined, *, sound: bool) -> None:
        self._findings.batches += examined.chain.batches
        self._findings.events += examined.chain.events
        self.created += examined.created
        self.published |= {event.originator_id: (at, event) for at, event in examined.published}
        if sound and self._fresh is not None and examined.stretch is not None:
            self._fresh.write_folded(self._folded(), examined.stretch)


def _check_states(
    log: Log,
    states: States,
    snapshots: Snapshots,
    walk: _Walk,
    findings: Findings,
    progress: Progress | None,
) -> None:
    """Fold every version afresh, and compare what is kept of it: in memory, in snapshots, and as a fingerprint."""
    stops = snapshots.positions()
    for fresh in fold_tree(log, walk.created, walk.position, stops):
        if not fresh.complete:
            _check_snapshot(snapshots, states, fresh, findings)
            continue
        held = states.held(fresh.version_id)
        if (
            held is not None
            and held.last_position == fresh.state.last_position
            and _differ(held, fresh.state)
        ):
            findings.problems.append(f"the state of version {fresh.version_id} differs from a fresh fold")
        if fresh.version_id in walk.published:
            _check_fingerprint(log, fresh, *walk.published[fresh.version_id], findings)
        findings.versions += 1
        if progress:
            progress(findings.versions, len(walk.created))


def _check_snapshot(snapshots: Snapshots, states: States, fresh: FreshState, findings: Findings) -> None:
    kept = snapshots.load(fresh.version_id, states.rows)
    if kept is None:
        # Its checksum is wrong: nobody begins with it.
        return
    findings.snapshots += 1
    if _differ(kept, fresh.state):
        findings.problems.append(
            f"the snapshot of the state of version {fresh.version_id} differs from a fresh fold: rebuild it"
        )


def _differ(kept: State, fresh: State) -> bool:
    one, other = kept.settled(), fresh.settled()
    same = np.array_equal(one.mixed, other.mixed) and np.array_equal(one.positions, other.positions)
    return not same or kept.total != fresh.total


def _check_fingerprint(
    log: Log, fresh: FreshState, position: int, event: VersionPublished, findings: Findings
) -> None:
    fresh.fingerprint = fingerprint(fresh.state, fresh.fingerprint)
    findings.fingerprints += 1
    found, recorded = fresh.fingerprint.root, event.fingerprint
    if found != recorded:
        what = f"version {fresh.version_id} has fingerprint {found}, published as {recorded}"
        findings.problems.append(problem(log, what, position))
    if fresh.state.total != event.total:
        what = f"version {fresh.version_id} has {fresh.state.total} frames, published as {event.total}"
        findings.problems.append(problem(log, what, position))


def _check_projections(runner: Runner, fresh: Runner, findings: Findings) -> None:
    findings.projections = len(runner.projections)
    for _ in range(_TRIES):
        runner.catch_up_all()
        with runner.store.read() as connection:
            problems, moved = _compare(connection, runner, fresh)
        if not problems or not moved:
            break
    else:
        # Others keep writing: they are kept out for once.
        with runner.exclusive() as connection:
            problems, _ = _compare(connection, runner, fresh)
    findings.problems += problems


def _compare(connection: sa.Connection, runner: Runner, fresh: Runner) -> tuple[list[str], bool]:
    """Compare live tables with fresh ones; also says whether either have moved meanwhile."""
    fresh.catch_up_all()
    pairs = list(zip(runner.projections, fresh.projections, strict=True))
    with fresh.store.read() as scratch:
        problems = [
            f"projection {kept.name}: {difference}"
            for kept, folded in pairs
            for difference in _differences(connection, scratch, kept, folded)
        ]
        moved = any(
            runner.position_in(connection, kept) != fresh.position_in(scratch, folded)
            for kept, folded in pairs
        )
    return problems, moved


def _differences(
    connection: sa.Connection, scratch: sa.Connection, kept: Projection, folded: Projection
) -> Iterator[str]:
    pairs = zip(kept.metadata.sorted_tables, folded.metadata.sorted_tables, strict=True)
    for one, other in pairs:
        for row, expected in zip_longest(_rows(connection, one), _rows(scratch, other)):
            if row != expected:
                key = (row or expected)[: len(one.primary_key.columns)]
                yield f"table {one.name} differs from a fresh fold at {', '.join(map(str, key))}: rebuild it"
                break


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Any]]:
    """Yield the rows of a table in order of its key, which comes first in each."""
    key = list(table.primary_key.columns)
    others = [column for column in table.columns if column not in key]
    for row in connection.execute(sa.select(*key, *others).order_by(*key)):
        yield tuple(row)
