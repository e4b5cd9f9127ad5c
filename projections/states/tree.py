"""Replays the states of all versions, each from the state of its parent, with only a few in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ...engine.events.domain import VersionCreated
from ...engine.log.contract import Log
from .cache import advance
from .fingerprint import Fingerprint
from .fold import NO_BATCHES, State
from .key_rows import KeyRows


class FreshState(msgspec.Struct):
    """The replayed state of a version.

    Attributes
    ----------
    version_id : str
        The version.
    state : State
        Its state.
    complete : bool
        Whether it contains all events, or only those up to a stop.
    fingerprint : Fingerprint or None
        Fingerprint of an ancestor. The consumer may set the version's own, for use by the children.
    """

    version_id: str
    state: State
    complete: bool
    fingerprint: Fingerprint | None


def fold_tree(
    log: Log, created: Sequence[VersionCreated], position: int, stops: Mapping[str, int]
) -> Iterator[FreshState]:
    """Replay every version up to a position, parents first. A version with a stop is yielded twice.

    A state is dropped after its last child, and the child with the most descendants comes last, so at most
    log2(versions) states are in memory for any tree.

    Parameters
    ----------
    created : sequence of VersionCreated
        The versions, in order of creation.
    stops : mapping of str to int
        Positions at which the state of a version is also yielded.
    """
    children = _children(created)
    rows = KeyRows(log)
    waiting: list[tuple[str, State | None, Fingerprint | None]] = [
        (root, None, None) for root in children.get(None, [])
    ]
    while waiting:
        version_id, parent, known = waiting.pop()
        state = parent.branch(position) if parent else State((), NO_BATCHES, 0, position, 0, rows)
        del parent
        fresh = FreshState(version_id, state, complete=False, fingerprint=known)
        stop = stops.get(version_id)
        if stop is not None and stop <= position:
            advance(log, version_id, state, stop)
            yield fresh
        advance(log, version_id, state, position)
        fresh.complete = True
        yield fresh
        waiting += [(child, state, fresh.fingerprint) for child in children.get(version_id, [])]


def _children(created: Sequence[VersionCreated]) -> dict[str | None, list[str]]:
    """Return the children of each version, those with the most descendants first. None has the roots."""
    sizes = dict.fromkeys((event.originator_id for event in created), 1)
    children: dict[str | None, list[str]] = {}
    # Children are created after their parents.
    for event in reversed(created):
        parent = event.parent_id if event.parent_id in sizes else None
        if parent is not None:
            sizes[parent] += sizes[event.originator_id]
        children.setdefault(parent, []).append(event.originator_id)
    for siblings in children.values():
        siblings.sort(key=sizes.__getitem__, reverse=True)
    return children
