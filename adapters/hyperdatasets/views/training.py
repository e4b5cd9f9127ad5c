"""Views as datasets of torch, map style and iterable style (extra `torch`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....engine.errors import InvalidTypeError, InvalidValueError, UsageError
from ....engine.validation import at_least, count
from ...session.current import entered
from .frames import WINDOW
from .order import Places
from .samples import Sample

if TYPE_CHECKING:
    from .data_view import DataView

try:
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError as _error:
    raise UsageError("to_torch needs the library torch: pip install 'framelode[torch]'") from _error

from torch.utils.data._utils.collate import default_collate_fn_map

Transform = Callable[[Sample], Any]


def _collate(samples: Sequence[Sample], *, collate_fn_map: object = None) -> list[Sample]:  # noqa: ARG001 - torch's signature
    return list(samples)


# A batch of samples is a list, since pictures differ in size.
default_collate_fn_map[Sample] = _collate


class _Samples:
    """What both styles share: a view and a transformation."""

    def __init__(self, view: DataView, transform: Transform | None, *, repeats: bool) -> None:
        if transform is not None and not callable(transform):
            raise InvalidTypeError("transform must be a function of a sample")
        self.view = view
        self.transform = transform
        self._plan = view.plan(repeats=repeats)

    def _read(self, places: Places, window: int = WINDOW) -> Iterator[Any]:
        session, transform = self.view.session, self.transform
        for frame in self._plan.selection.read(places, window=window):
            sample = Sample(frame, session)
            if transform is None:
                yield sample
            else:
                # A worker process has no current engine.
                with entered(session):
                    changed = transform(sample)
                yield changed


class FrameDataset(_Samples, Dataset[Any]):
    """The samples of one pass over a view, by index (map-style). A sampler of torch can shuffle them.

    The samples of a batch are read together. Forked and spawned workers of a `DataLoader` open the log themselves.

    Attributes
    ----------
    view : DataView
        The view.
    transform : callable or None
        Called with each `Sample`; its result is the item.
    """

    def __init__(self, view: DataView, transform: Transform | None, *, repeats: bool) -> None:
        super().__init__(view, transform, repeats=repeats)
        view.require_end()
        self._places = np.concatenate([np.empty(0, np.int64), *self._plan.passes()])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at some indices, in this order. `DataLoader` calls it with each batch."""
        return list(self._read(self._places[np.asarray(indices, np.int64)], max(len(indices), 1)))


class FrameIterableDataset(_Samples, IterableDataset[Any]):
    """The samples of a view in its order (iterable-style). Each sample goes to one worker of a `DataLoader`.

    Attributes
    ----------
    view : DataView
        The view.
    transform : callable or None
        Called with each `Sample`; its result is the item.
    """

    def __init__(
        self, view: DataView, transform: Transform | None, *, repeats: bool, rank: int, world_size: int
    ) -> None:
        super().__init__(view, transform, repeats=repeats)
        self._world_size = at_least(world_size, "world_size", 1)
        self._rank = count(rank, "rank")
        if self._rank >= self._world_size:
            raise InvalidValueError(f"rank must be below world_size, which is {world_size}, not {rank}")
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the pass, from 0. Each pass over a random view has another order.

        Call it before each epoch. It has no effect on persistent workers that are already running.
        """
        self._epoch = count(epoch, "epoch")

    def __len__(self) -> int:
        """Return the number of samples of this rank. Raises `InvalidTypeError`, a `TypeError`, if they have no end."""
        total = self._plan.length
        if total is None:
            raise InvalidTypeError("an infinite view without a limit has no length")
        return len(range(self._rank, total, self._world_size))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        workers, index = (1, 0) if worker is None else (worker.num_workers, worker.id)
        step, start = self._world_size * workers, self._rank + index * self._world_size
        done = 0
        for places in self._plan.passes(first=self._epoch):
            yield from self._read(places[(start - done) % step :: step])
            done += len(places)
