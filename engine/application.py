"""The eventsourcing application: loads aggregates, decides, and saves until no other writer gets in between."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from blake3 import blake3
from eventsourcing.application import Application, Repository
from eventsourcing.persistence import InfrastructureFactory, Mapper
from eventsourcing.utils import Environment

from .aggregate import Aggregate
from .batch import EVENTS_SCHEMA, AppendHeader
from .datasets import Dataset, check_name
from .errors import ConcurrencyError, ConflictError, NotFoundError, UsageError
from .event_batch import read_events
from .log import AppendExistsError, Clock, Log, StreamConflictError, patiently
from .mapper import EventMapper
from .state import VersionStates
from .versions import Version

_TRIES = 1000
_HELD_AGGREGATES = 64

Loaded = TypeVar("Loaded", bound=Aggregate)
Result = dict[str, Any]
NewId = Callable[[], str]


class LifecycleRepository(Repository[str]):
    """Loads aggregates from their lifecycle batches only, however many frames lie between.

    Those loaded last are held, so that a draft of ten thousand commits is not read from its first one each time.
    """

    def __init__(self, log: Log, event_store: Any) -> None:
        super().__init__(event_store)
        self._log = log
        self._held: OrderedDict[str, tuple[Aggregate, int]] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, kind: type[Loaded], aggregate_id: str) -> Loaded:
        """Return an aggregate; one without any event has version 0."""
        # The version is read first: events that come after it make the save conflict, never go unseen.
        version = self._log.stream_version(aggregate_id) or 0
        aggregate, position = self._begin(kind, aggregate_id, version)
        if aggregate.version < version:
            for header in self._log.headers(gt=position, stream_id=aggregate_id, schema=EVENTS_SCHEMA):
                for event in read_events(self._log, header):
                    aggregate.apply(event)
                position = header.last_position
            aggregate.version = max(version, aggregate.version)
            self._hold(aggregate.twin(), position)
        return aggregate

    def _begin(self, kind: type[Loaded], aggregate_id: str, version: int) -> tuple[Loaded, int]:
        """Return what is held of an aggregate, up to a version of it, and the position of its last event."""
        with self._lock:
            held, position = self._held.get(aggregate_id, (None, 0))
        if isinstance(held, kind) and held.version <= version:
            return held.twin(), position
        return kind(aggregate_id), 0

    def _hold(self, aggregate: Aggregate, position: int) -> None:
        with self._lock:
            self._held[aggregate.id] = aggregate, position
            self._held.move_to_end(aggregate.id)
            if len(self._held) > _HELD_AGGREGATES:
                self._held.popitem(last=False)


class LogApplication(Application[str]):
    """What the commands on datasets and versions stand on.

    Parameters
    ----------
    factory : InfrastructureFactory
        Makes the recorders over `log`.
    log : Log
        The log.
    states : VersionStates
        The states of versions.
    clock, new_id : callable
        UTC microseconds; new ids of 32 hex digits.
    """

    def __init__(
        self,
        factory: InfrastructureFactory[Any],
        log: Log,
        states: VersionStates,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._given_factory = factory
        self.record_log = log
        self.states = states
        self.clock = clock
        self.new_id = new_id
        super().__init__({})

    def __del__(self) -> None:
        # eventsourcing closes here. The collector may run in the middle of a write of this very thread, and
        # closing takes the lock that this write holds.
        pass

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:  # noqa: ARG002 - eventsourcing's signature
        """Return the factory given to the constructor; the environment has no say."""
        return self._given_factory

    def construct_mapper(self) -> Mapper[str]:
        """Return the mapper of our events."""
        return EventMapper(transcoder=self.construct_transcoder())

    def construct_repository(self) -> LifecycleRepository:
        """Return the repository that loads lifecycle events only."""
        return LifecycleRepository(self.record_log, self.events)

    @property
    def aggregates(self) -> LifecycleRepository:
        """The repository, as what it is."""
        repository = self.repository
        if not isinstance(repository, LifecycleRepository):
            raise UsageError("the repository was replaced by one that cannot load aggregates")
        return repository

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset; `NotFoundError` when there is none."""
        dataset = self.aggregates.load(Dataset, dataset_id)
        if not dataset.version:
            raise NotFoundError(f"there is no dataset with id {dataset_id!r}")
        return dataset

    def version(self, version_id: str) -> Version:
        """Return a version, removed ones included; `NotFoundError` when there is none."""
        version = self.aggregates.load(Version, version_id)
        if not version.dataset_id:
            raise NotFoundError(f"there is no version with id {version_id!r}")
        return version

    def run(
        self,
        request: list[Any],
        command_id: str | None,
        decide: Callable[[], tuple[Iterable[Aggregate], Result]],
    ) -> Result:
        """Decide and save until no other writer gets in between; a command seen before is not run again."""
        if command_id is not None:
            check_name(command_id, "command_id")
        digest = blake3(msgspec.msgpack.encode(request, order="deterministic")).digest(length=16)
        for number in range(_TRIES):
            recorded = self.record_log.find_append(command_id) if command_id else None
            if recorded is not None:
                return _recorded_result(recorded, digest)
            try:
                with patiently(self.record_log, number):
                    aggregates, result = decide()
                    self.save(
                        *aggregates,
                        command_id=command_id or self.new_id(),
                        request_digest=digest,
                        result=msgspec.msgpack.encode(result),
                    )
            except (StreamConflictError, AppendExistsError):
                continue
            return result
        raise ConcurrencyError(f"{request[0]} lost against other writers {_TRIES} times: call again")


def _recorded_result(recorded: AppendHeader, digest: bytes) -> Result:
    if recorded.request_digest != digest:
        raise ConflictError(f"command {recorded.command_id} was used for another request: give it another id")
    return msgspec.msgpack.decode(recorded.result)
