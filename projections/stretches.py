"""Replays ranges of the log on an executor, in other threads, processes or machines, ahead of the writer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec

from ..engine.log.contract import Log
from ..engine.parallel import ordered_map
from .pages import Page, read_pages
from .projection import FoldedProjection

MOST_STRETCHES = 512
"""Maximum number of parts of a log, however many events its head claims."""

OpenLog = Callable[[], AbstractContextManager[Log]]
"""Opens the log in the process that does the work. Must be picklable."""


class Stretch(msgspec.Struct):
    """The replay of the batches that begin after one position, up to another.

    Attributes
    ----------
    after : int
        Position that the first batch follows.
    position : int
        Position of the last event.
    digest : bytes
        Digest of the log at `position`.
    folded : list
        The result of each projection.
    topics : frozenset of str
        Topics of the events that are no frames.
    """

    after: int
    position: int
    digest: bytes
    folded: list[Any]
    topics: frozenset[str]


def fold_stretch(
    open_log: OpenLog, kinds: Sequence[type[FoldedProjection[Any]]], gt: int, lte: int
) -> Stretch | None:
    """Replay the batches that begin after `gt`, up to `lte`; None if there are none."""
    with open_log() as log:
        projections = [kind(log) for kind in kinds]
        stretch: Stretch | None = None
        for page in read_pages(log, gt, lte):
            stretch = fold_page(projections, page, stretch)
    return stretch


def fold_page(
    projections: Sequence[FoldedProjection[Any]], page: Page, before: Stretch | None = None
) -> Stretch:
    """Replay a page, and merge the result with that of the previous page."""
    folded = [projection.fold(page) for projection in projections]
    if before is not None:
        pairs = zip(projections, before.folded, folded, strict=True)
        folded = [projection.merge(earlier, later) for projection, earlier, later in pairs]
    after = before.after if before else page[0].first_position - 1
    topics = page.topics | before.topics if before else page.topics
    return Stretch(after, page[-1].last_position, page[-1].digest, folded, topics)


def fold_stretches(
    executor: Executor,
    open_log: OpenLog,
    kinds: Sequence[type[FoldedProjection[Any]]],
    gt: int,
    lte: int,
    events: int,
) -> Generator[Stretch, None, None]:
    """Yield the results of all parts of about equal size, in order. A few parts are computed ahead."""
    starts = range(gt, lte, max(events, (lte - gt) // MOST_STRETCHES))
    bounds = pairwise([*starts, lte])
    for stretch in ordered_map(executor, partial(fold_stretch, open_log, kinds), bounds):
        if stretch is not None:
            yield stretch
