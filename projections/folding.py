"""Folds of stretches of the log on an executor: in other threads, processes or machines, some ahead of the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from ..engine.errors import StorageError
from ..engine.log import Log
from .pages import read_pages
from .projection import FoldedProjection

_STRETCHES_AHEAD = 16

OpenLog = Callable[[], AbstractContextManager[Log]]
"""Opens the log where the work is done; it can be pickled."""


class Stretch(msgspec.Struct):
    """What the batches that begin after one position, up to another, come to.

    Attributes
    ----------
    after : int
        Position that the first batch follows.
    position : int
        Position of the last event.
    digest : bytes
        The log's digest there.
    folded : list
        What each projection made of it.
    """

    after: int
    position: int
    digest: bytes
    folded: list[Any]


def fold_stretch(
    open_log: OpenLog, kinds: Sequence[type[FoldedProjection[Any]]], gt: int, lte: int
) -> Stretch | None:
    """Fold the batches that begin after `gt`, up to `lte`; None when there are none."""
    with open_log() as log:
        projections = [kind(log) for kind in kinds]
        stretch: Stretch | None = None
        for page in read_pages(log, gt, lte):
            folded = [projection.fold(page) for projection in projections]
            if stretch is not None:
                pairs = zip(projections, stretch.folded, folded, strict=True)
                folded = [projection.merge(earlier, later) for projection, earlier, later in pairs]
            after = stretch.after if stretch else page[0].first_position - 1
            stretch = Stretch(after, page[-1].last_position, page[-1].digest, folded)
    return stretch


def fold_stretches(
    executor: Executor,
    open_log: OpenLog,
    kinds: Sequence[type[FoldedProjection[Any]]],
    gt: int,
    lte: int,
    events: int,
) -> Iterator[Stretch]:
    """Yield the folds of all stretches of about so many events, in order; a few are folded ahead."""
    starts = iter(range(gt, lte, events))
    running: deque[Future[Stretch | None]] = deque()
    try:
        while True:
            for start in starts:
                running.append(
                    executor.submit(fold_stretch, open_log, kinds, start, min(start + events, lte))
                )
                if len(running) >= _STRETCHES_AHEAD:
                    break
            if not running:
                return
            stretch = _result_of(running.popleft())
            if stretch is not None:
                yield stretch
    finally:
        for future in running:
            future.cancel()


def _result_of(future: Future[Stretch | None]) -> Stretch | None:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise StorageError(f"a worker that folded the log has died: {error}: call again") from error
