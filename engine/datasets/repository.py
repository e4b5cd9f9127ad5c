"""Loads aggregates from their lifecycle batches, however many frames lie between."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from .. import forks
from ..errors import NotFoundError, UnreadableError
from ..log.batch import EVENTS_SCHEMA
from ..log.contract import Log
from ..log.event_batch import read_events
from .aggregate import Aggregate
from .dataset import Dataset
from .version import Version

_HELD_AGGREGATES = 64

Loaded = TypeVar("Loaded", bound=Aggregate)


class AggregateRepository:
    """Loads aggregates from the log.

    Those loaded last are held, so that a draft of ten thousand commits is not read from its first one each time.

    Parameters
    ----------
    log : Log
        The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._held: OrderedDict[str, Aggregate] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, kind: type[Loaded], aggregate_id: str) -> Loaded:
        """Return an aggregate; one without any event has version 0."""
        # The version is read first: events that come after it make the save conflict, never go unseen.
        version = self._log.stream_version(aggregate_id) or 0
        aggregate = self._begin(kind, aggregate_id, version)
        if aggregate.version < version:
            for header in self._log.headers(
                stream_id=aggregate_id, after=aggregate.version, schema=EVENTS_SCHEMA
            ):
                if not aggregate.apply_unopened(header.topics, header.last_version):
                    for event in read_events(self._log, header):
                        aggregate.apply(event)
                aggregate.first_position = aggregate.first_position or header.first_position
            aggregate.version = max(version, aggregate.version)
            self._hold(aggregate.twin())
        return aggregate

    def _begin(self, kind: type[Loaded], aggregate_id: str, version: int) -> Loaded:
        """Return what is held of an aggregate, up to a version of it."""
        with self._lock:
            held = self._held.get(aggregate_id)
        if isinstance(held, kind) and held.version <= version:
            return held.twin()
        return kind(aggregate_id)

    def _hold(self, aggregate: Aggregate) -> None:
        with self._lock:
            self._held[aggregate.id] = aggregate
            self._held.move_to_end(aggregate.id)
            if len(self._held) > _HELD_AGGREGATES:
                self._held.popitem(last=False)

    def advance(self, aggregate_id: str, topics: Sequence[str], before: int, version: int) -> None:
        """Take over what this process has appended to a stream, where that needs no look at the events.

        Parameters
        ----------
        aggregate_id : str
            The stream.
        topics : sequence of str
            Topics of the events; none for frame changes.
        before, version : int
            Versions of the stream before and after them.
        """
        with self._lock:
            held = self._held.get(aggregate_id)
            if held is None or held.version != before:
                return
            if topics and not held.apply_unopened(topics, version):
                return
            held.version = version

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset; `NotFoundError` when there is none, or it was removed."""
        dataset = self.load(Dataset, dataset_id)
        if not dataset.version or dataset.removed:
            raise NotFoundError(f"there is no dataset with id {dataset_id!r}")
        return dataset

    def version(self, version_id: str) -> Version:
        """Return a version, removed ones included; `NotFoundError` when there is none."""
        version = self.load(Version, version_id)
        if not version.dataset_id:
            raise NotFoundError(f"there is no version with id {version_id!r}")
        return version

    def parent_of(self, version_id: str) -> str | None:
        """Return the id of a version's parent, None for a root; removed ones included.

        Raises
        ------
        NotFoundError
            There is no such version.
        UnreadableError
            The parent was not created before it: whoever goes from parent to parent comes to an end.
        """
        version = self.version(version_id)
        if version.parent_id is None:
            return None
        parent = self.load(Version, version.parent_id)
        if not 0 < parent.first_position < version.first_position:
            raise UnreadableError(
                f"version {version_id} at position {version.first_position} has the parent {parent.id}, "
                "which was not created before it",
                position=version.first_position,
            )
        return version.parent_id
