"""The eventsourcing application: decides on aggregates, and saves until no other writer gets in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from blake3 import blake3
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, Mapper
from eventsourcing.utils import Environment

from ..canonical import encode_canonical
from ..log.batch import AppendHeader
from ..log.command import Command, run_decided
from ..log.contract import Clock, Log
from ..log.mapper import EventMapper
from ..tracing import span
from .aggregate import Aggregate
from .dataset import Dataset
from .repository import AggregateRepository
from .state import VersionStates
from .version import Version

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
        command = Command.begin(command_id, str)
        command.digest = blake3(encode_canonical(request)).digest(length=16)

        def decide_and_save() -> Result:
            aggregates, result = decide()
            if not command.is_repeatable:
                # After the ids that the decision makes, the order in which they were always made.
                command.id = self.new_id()
            encoded = msgspec.msgpack.encode(result)
            saved = self.save(
                *aggregates, command_id=command.id, request_digest=command.digest, result=encoded
            )
            streams: dict[str, list[Any]] = {}
            for each in saved:
                streams.setdefault(each.domain_event.originator_id, []).append(each.domain_event)
            for stream_id, events in streams.items():
                # All events of a stream at once: they are one batch, and an aggregate never stands inside a batch.
                topics = sorted({type(event).__name__ for event in events})
                before, version = events[0].originator_version - 1, events[-1].originator_version
                self.aggregates.advance(stream_id, topics, before, version)
            return result

        with span(request[0], self.record_log):
            return run_decided(
                self.record_log, command, request[0], decide_and_save, AppendHeader.decode_result, alone=alone
            )
