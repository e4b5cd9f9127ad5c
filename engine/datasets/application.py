"""The eventsourcing application: decides on aggregates, and saves until no other writer gets in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from blake3 import blake3
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, Mapper
from eventsourcing.utils import Environment

from ..errors import ConcurrencyError, ConflictError
from ..log.batch import AppendHeader
from ..log.contract import AppendExistsError, Clock, Log, StreamConflictError, patiently
from ..log.mapper import EventMapper
from ..validation import check_name
from .aggregate import Aggregate
from .dataset import Dataset
from .repository import AggregateRepository
from .state import VersionStates
from .version import Version

_TRIES = 1000

Result = dict[str, Any]
NewId = Callable[[], str]
VersionsNamed = Callable[[str, str], Sequence[tuple[str, bool]]]
"""Takes a dataset's id and a name; returns ids, and whether each version is published, without removed ones."""


class LogApplication(Application[str]):
    """What the commands on datasets and versions stand on.

    Parameters
    ----------
    factory : InfrastructureFactory
        Makes the recorders over `log`.
    log : Log
        The log.
    aggregates : AggregateRepository
        Loads what is decided on.
    states : VersionStates
        The states of versions.
    clock, new_id : callable
        UTC microseconds; new ids of 32 hex digits.
    versions_named : callable
        Returns the versions that a dataset has under a name.
    """

    def __init__(
        self,
        factory: InfrastructureFactory[Any],
        log: Log,
        aggregates: AggregateRepository,
        states: VersionStates,
        clock: Clock,
        new_id: NewId,
        versions_named: VersionsNamed,
    ) -> None:
        self._given_factory = factory
        self.record_log = log
        self.aggregates = aggregates
        self.states = states
        self.clock = clock
        self.new_id = new_id
        self.versions_named = versions_named
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

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset; `NotFoundError` when there is none."""
        return self.aggregates.dataset(dataset_id)

    def version(self, version_id: str) -> Version:
        """Return a version, removed ones included; `NotFoundError` when there is none."""
        return self.aggregates.version(version_id)

    def run(
        self,
        request: list[Any],
        command_id: str | None,
        decide: Callable[[], tuple[Iterable[Aggregate], Result]],
        *,
        alone: bool = False,
    ) -> Result:
        """Decide and save until no other writer gets in between; a command seen before is not run again.

        Parameters
        ----------
        alone : bool
            Keep other writers out from the first try on: the decision depends on streams that it does not write to.
        """
        if command_id is not None:
            command_id = check_name(command_id, "command_id")
        digest = blake3(msgspec.msgpack.encode(request, order="deterministic")).digest(length=16)
        for number in range(_TRIES):
            recorded = self.record_log.find_append(command_id) if command_id else None
            if recorded is not None:
                return _recorded_result(recorded, digest)
            try:
                with patiently(self.record_log, _TRIES if alone else number):
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
    return recorded.decode_result()
