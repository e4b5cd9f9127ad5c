"""Verifies the states of versions against a fresh replay, tree by tree, locally or on an executor."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise

import msgspec
import numpy as np
from blake3 import blake3

from ...engine.events.domain import VersionCreated, VersionPublished
from ...engine.log.contract import Log
from ...engine.log.worker_log import worker_log
from ...engine.parallel import ordered_map
from ..states.cache import StateCache
from ..states.fingerprint import fingerprint
from ..states.fold import State
from ..states.snapshots import Snapshots
from ..states.tree import FreshState, fold_tree
from ..stretches import OpenLog
from .chain import problem

_MOST_PARTS = 512


class Versions(msgspec.Struct):
    """Versions to replay: whole trees of parents and children.

    Attributes
    ----------
    created : list of VersionCreated
        The versions, in order of creation.
    stops : dict of str to int
        Positions at which the state of a version is also needed.
    published, held : set of str
        Versions whose fingerprint, or whose digest of the state, is needed.
    """

    created: list[VersionCreated]
    stops: dict[str, int]
    published: set[str]
    held: set[str]

    def of(self, created: list[VersionCreated]) -> Versions:
        """Return some of the versions."""
        ids = {event.originator_id for event in created}
        stops = {version_id: stop for version_id, stop in self.stops.items() if version_id in ids}
        return Versions(created, stops, self.published & ids, self.held & ids)


class FoldedVersion(msgspec.Struct, frozen=True):
    """The replayed state of a version.

    Attributes
    ----------
    version_id : str
        The version.
    complete : bool
        Whether it contains all events, or those up to a stop.
    last_position : int
        Position of the last event.
    total : int
        Number of frames.
    fingerprint : str or None
        Fingerprint of a published version.
    digest : bytes or None
        `state_digest`, if needed.
    """

    version_id: str
    complete: bool
    last_position: int
    total: int
    fingerprint: str | None
    digest: bytes | None


def state_digest(state: State) -> bytes:
    """Return a digest of the content of a state. Equal states have equal digests."""
    run = state.settled()
    hasher = blake3(state.total.to_bytes(8, "little"))
    for column in (run.mixed, run.positions):
        hasher.update(column.astype("<u8", copy=False).view(np.uint8).data)
    return hasher.digest()


def fold_versions(log: Log, versions: Versions, position: int) -> Iterator[FoldedVersion]:
    """Replay every version up to a position."""
    for fresh in fold_tree(log, versions.created, position, versions.stops):
        yield _folded(fresh, versions)


def _folded(fresh: FreshState, versions: Versions) -> FoldedVersion:
    version_id, state, root = fresh.version_id, fresh.state, None
    if fresh.complete and version_id in versions.published:
        fresh.fingerprint = fingerprint(state, fresh.fingerprint)
        root = fresh.fingerprint.root
    wanted = version_id in versions.held or not fresh.complete
    digest = state_digest(state) if wanted else None
    return FoldedVersion(version_id, fresh.complete, state.last_position, state.total, root, digest)


def fold_versions_elsewhere(open_log: OpenLog, position: int, versions: Versions) -> list[FoldedVersion]:
    """Like `fold_versions`, with a log that is opened for it."""
    with open_log() as log:
        return list(fold_versions(log, versions, position))


def check_states(
    log: Log,
    states: StateCache,
    snapshots: Snapshots,
    created: list[VersionCreated],
    published: Mapping[str, tuple[int, VersionPublished]],
    position: int,
    executor: Executor | None,
) -> Generator[tuple[FoldedVersion, list[str]], None, None]:
    """Replay every version, and compare the result with the state in memory, the snapshots and the published fingerprint.

    Yields
    ------
    FoldedVersion, list of str
        A version, and its problems.
    """
    versions = Versions(created, snapshots.positions(), set(published), states.held_ids())
    folded = (
        fold_versions(log, versions, position)
        if executor is None
        else _fold_on(executor, log, versions, position)
    )
    for one in folded:
        if not one.complete:
            kept = snapshots.load(one.version_id, states.rows)
            # A snapshot with a wrong checksum is never used. A writer may have replaced the listed one.
            if kept is not None and kept.last_position == one.last_position:
                yield one, _snapshot_problems(kept, one)
        else:
            problems = _held_problems(states, one)
            if one.version_id in published:
                problems += _published_problems(log, one, *published[one.version_id])
            yield one, problems


def _fold_on(executor: Executor, log: Log, versions: Versions, position: int) -> Iterator[FoldedVersion]:
    trees = _trees(versions.created)
    starts = range(0, len(trees), max(1, len(trees) // _MOST_PARTS))
    parts = [
        versions.of([event for tree in trees[start:stop] for event in tree])
        for start, stop in pairwise([*starts, len(trees)])
    ]
    work = partial(fold_versions_elsewhere, worker_log(log), position)
    for folded in ordered_map(executor, work, ((part,) for part in parts)):
        yield from folded


def _trees(created: Sequence[VersionCreated]) -> list[list[VersionCreated]]:
    """Group versions by their oldest ancestor. The versions of a dataset form one tree or several."""
    roots: dict[str, str] = {}
    trees: dict[str, list[VersionCreated]] = {}
    for event in created:
        version_id = event.originator_id
        roots[version_id] = roots.get(event.parent_id or "", version_id)
        trees.setdefault(roots[version_id], []).append(event)
    return list(trees.values())


def _snapshot_problems(kept: State, folded: FoldedVersion) -> list[str]:
    if state_digest(kept) == folded.digest:
        return []
    return [
        f"the snapshot of the state of version {folded.version_id} differs from a fresh replay: rebuild it"
    ]


def _held_problems(states: StateCache, folded: FoldedVersion) -> list[str]:
    held = states.held(folded.version_id) if folded.digest is not None else None
    same_time = held is not None and held.last_position == folded.last_position
    if held is None or not same_time or state_digest(held) == folded.digest:
        return []
    return [f"the state of version {folded.version_id} differs from a fresh replay"]


def _published_problems(log: Log, folded: FoldedVersion, position: int, event: VersionPublished) -> list[str]:
    problems: list[str] = []
    if folded.fingerprint != event.fingerprint:
        what = f"version {folded.version_id} has fingerprint {folded.fingerprint}, but was published as {event.fingerprint}"
        problems.append(problem(log, what, position))
    if folded.total != event.total:
        what = f"version {folded.version_id} has {folded.total} frames, but was published with {event.total}"
        problems.append(problem(log, what, position))
    return problems


def lineage_problems(log: Log, created: Sequence[VersionCreated]) -> Iterator[str]:
    """Yield the problems of the datasets and parents of versions. `created` is in order of creation."""
    known = set[str]()
    datasets = {event.dataset_id for event in created}
    unknown = {dataset_id for dataset_id in datasets if log.stream_version(dataset_id) is None}
    for event in created:
        what = f"version {event.originator_id} "
        if event.dataset_id in unknown:
            yield problem(log, f"{what}belongs to the unknown dataset {event.dataset_id}", _begin(log, event))
        if event.parent_id is not None and event.parent_id not in known:
            what += f"has the parent {event.parent_id}, which was not created before it"
            yield problem(log, what, _begin(log, event))
        known.add(event.originator_id)


def _begin(log: Log, event: VersionCreated) -> int:
    return next(header.first_position for header in log.headers(stream_id=event.originator_id))
