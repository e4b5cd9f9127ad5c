"""The iterator over the frames of a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ....engine.errors import UsageError
from ....engine.validation import count
from .frames import Plan
from .order import Worker


class ViewIterator(Iterator[Any]):
    """An iterator over the frames of a view. The frames are found when it begins.

    When it has ended, a loop over it begins again.

    Parameters
    ----------
    plan : callable
        Returns the frames of the view and their order.
    shown : callable
        Returns frames, or dicts of fields, as the view yields them.
    projection : sequence of str or None
        Fields to read.
    window : int
        Number of frames that are read together.
    keeps : bool
        Whether to keep the frames for the next iteration.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        shown: Callable[[Iterator[Any]], Iterator[Any]],
        projection: Sequence[str] | None,
        window: int,
        *,
        keeps: bool,
    ) -> None:
        self._plan = plan
        self._shown = shown
        self._projection = projection
        self._window = window
        self._keeps = keeps
        self._kept: list[Any] = []
        self._is_complete = self._has_ended = False
        self._worker = Worker()
        self._node: int | None = None
        self._running: Iterator[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        if self._running is not None:
            raise UsageError("an iterator that has begun cannot be pickled: pass the view, and iterate there")
        return vars(self)

    @property
    def limit(self) -> int | None:
        """The most frames that it yields; None if there is no limit."""
        return self._worker.share(self._plan().order.limit)

    @property
    def node_id(self) -> int | None:
        """The node that `set_node` set."""
        return self._node

    def set_node(self, node_id: int | None = None) -> None:
        """Set the node, which is the worker index of `set_concurrency` by default."""
        self._require_start()
        self._node = None if node_id is None else count(node_id, "node_id")

    def set_concurrency(self, worker_index: int | None = None, num_workers: int | None = None) -> None:
        """Share the view among several iterators.

        Parameters
        ----------
        worker_index : int, optional
            Number of this one, modulo `num_workers`; by default the node, or 0.
        num_workers : int, optional
            Number of iterators.

        Raises
        ------
        InvalidValueError
            A value is not an integer of at least 0.
        UsageError
            The iteration has begun.
        """
        self._require_start()
        workers = 1 if num_workers is None else max(count(num_workers, "num_workers"), 1)
        index = (self._node or 0) if worker_index is None else count(worker_index, "worker_index")
        self._worker = Worker(index % workers, workers)

    def _require_start(self) -> None:
        if self._running is not None:
            raise UsageError("the iteration has begun: call this before it")

    def __len__(self) -> int:
        """Return the number of frames that it yields; if they have no end, that of one pass."""
        plan = self._plan()
        share = self._worker.share(plan.order.limit)
        if plan.order.infinite and share is not None and plan.one:
            return share
        own = len(range(self._worker.index, plan.one, self._worker.count))
        return own if share is None else min(own, share)

    def __iter__(self) -> Iterator[Any]:  # noqa: PYI034 - the generator itself is faster
        if self._is_complete:
            return iter(self._kept)
        self._has_ended = False
        if self._running is None:
            self._running = self._frames()
        return self._running

    def __next__(self) -> Any:
        if self._has_ended:
            raise StopIteration
        return next(iter(self))

    def _frames(self) -> Iterator[Any]:
        self._kept = []
        plan = self._plan()
        for places in plan.passes(self._worker):
            frames = self._shown(plan.selection.read(places, self._projection, self._window))
            yield from self._keep(frames) if self._keeps else frames
        self._is_complete, self._has_ended, self._running = self._keeps, True, None

    def _keep(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            self._kept.append(frame)
            yield frame
