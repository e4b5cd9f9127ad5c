"""Lifecycle commands in, events out: datasets and versions, as an eventsourcing application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from blake3 import blake3
from eventsourcing.application import Application, Repository
from eventsourcing.persistence import InfrastructureFactory, Mapper
from eventsourcing.utils import Environment

from .aggregate import Aggregate
from .batch import EVENTS_SCHEMA, AppendHeader
from .context import current_context
from .datasets import DEFAULT_PROJECT, Dataset, DatasetName, check_name, check_tags, name_stream
from .errors import ConcurrencyError, ConflictError, NotFoundError, PublishedError, UsageError
from .event_batch import read_events
from .keys import Operation
from .log import AppendExistsError, Clock, Log, StreamConflictError
from .mapper import EventMapper
from .state import VersionStates
from .versions import Version, check_metadata

FIRST_VERSION_NAME = "Current"
_TRIES = 100

Loaded = TypeVar("Loaded", bound=Aggregate)
Result = dict[str, Any]
NewId = Callable[[], str]


def system_clock() -> int:
    """Return the UTC time as integer microseconds since 1970."""
    return time.time_ns() // 1000


def iso_time(microseconds: int) -> str:
    """Return a UTC time as ISO 8601 text with microseconds."""
    return (
        datetime.fromtimestamp(microseconds // 1_000_000, UTC)
        .replace(microsecond=microseconds % 1_000_000)
        .isoformat(timespec="microseconds")
    )


class LifecycleRepository(Repository[str]):
    """Loads aggregates from their lifecycle batches only, however many frames lie between."""

    def __init__(self, log: Log, event_store: Any) -> None:
        super().__init__(event_store)
        self._log = log

    def load(self, kind: type[Loaded], aggregate_id: str) -> Loaded:
        """Return an aggregate; one without any event has version 0."""
        aggregate = kind(aggregate_id)
        # The version is read first: events that come after it make the save conflict, never go unseen.
        version = self._log.stream_version(aggregate_id) or 0
        for header in self._log.headers(stream_id=aggregate_id, schema=EVENTS_SCHEMA):
            for event in read_events(self._log, header):
                aggregate.apply(event)
        aggregate.version = max(version, aggregate.version)
        return aggregate


class Commands(Application[str]):
    """Commands on datasets and versions.

    Each command may carry a `command_id`: repeated with the same request it does nothing and returns what it
    returned before, with another request it is a `ConflictError`.

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

    def create_dataset(
        self,
        name: str,
        *,
        project: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        raise_if_exists: bool = False,
        command_id: str | None = None,
    ) -> str:
        """Create a dataset with an empty draft named ``Current``, or add tags to the one of that name.

        Returns
        -------
        str
            The dataset's id.

        Raises
        ------
        InvalidValueError
            A name or tag is no string or empty.
        ConflictError
            The name is taken and `raise_if_exists` is set.
        """
        check_name(name, "dataset name")
        project = check_name(DEFAULT_PROJECT if project is None else project, "dataset project")
        checked_tags = check_tags(tags)

        def decide() -> tuple[list[Aggregate], Result]:
            held = self.aggregates.load(DatasetName, name_stream(project, name))
            if held.dataset_id is not None:
                if raise_if_exists:
                    raise ConflictError(f"dataset {name!r} exists already in project {project!r}")
                dataset = self.dataset(held.dataset_id)
                dataset.add_tags(checked_tags)
                return [dataset], {"dataset_id": dataset.id}
            dataset, version = Dataset(self.new_id()), Version(self.new_id())
            held.claim(dataset.id)
            dataset.create(name, project, description or "", list(dict.fromkeys(checked_tags)))
            dataset.attach(version.id, None)
            version.create(dataset.id, FIRST_VERSION_NAME, None, "", {})
            return [held, dataset, version], {"dataset_id": dataset.id}

        request = ["create_dataset", name, project, description, checked_tags, raise_if_exists]
        return self._run(request, command_id, decide)["dataset_id"]

    def create_version(
        self,
        dataset_id: str,
        name: str,
        *,
        parent_id: str | None = None,
        description: str | None = None,
        existing: Callable[[], str | None] = lambda: None,
        command_id: str | None = None,
    ) -> str:
        """Create a draft: an empty root, or the child of a published version.

        Parameters
        ----------
        existing : callable
            Looks for a version to return instead; asked again whenever the dataset's tree has changed.

        Raises
        ------
        UsageError
            The parent is a draft or belongs to another dataset.
        """
        check_name(name, "version name")

        def decide() -> tuple[list[Aggregate], Result]:
            dataset = self.dataset(dataset_id)
            found = existing()
            if found is not None:
                return [], {"version_id": found}
            metadata = self._parent(dataset, parent_id).metadata if parent_id else {}
            version = Version(self.new_id())
            dataset.attach(version.id, parent_id)
            version.create(dataset.id, name, parent_id, description or "", metadata)
            return [dataset, version], {"version_id": version.id}

        request = ["create_version", dataset_id, name, parent_id, description]
        return self._run(request, command_id, decide)["version_id"]

    def _parent(self, dataset: Dataset, parent_id: str) -> Version:
        parent = self.version(parent_id)
        parent.require_present()
        if parent_id not in dataset.parents:
            raise UsageError(
                f"version {parent_id} belongs to another dataset than {dataset.name!r}: a child needs a parent of its own dataset"
            )
        if not parent.published:
            raise UsageError(
                f"the parent version {parent.name!r} ({parent_id}) is a draft: publish it first, "
                "so that what the child inherits cannot move"
            )
        return parent

    def commit_version(self, version_id: str, *, command_id: str | None = None) -> dict[str, int]:
        """Record the counts of the changes since the last commit; nothing to commit leaves no event.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, and ``total`` frames now.
        """

        def decide() -> tuple[list[Aggregate], Result]:
            version = self.version(version_id)
            version.require_draft()
            counts = self._commit(version)
            return [version], counts

        return self._run(["commit_version", version_id], command_id, decide)

    def _commit(self, version: Version) -> dict[str, int]:
        """Trigger the commit event of what has changed, if anything has."""
        counts = {Operation.ADD: 0, Operation.UPDATE: 0, Operation.DELETE: 0}
        for page in self.record_log.stream_rows(version.id, after=version.committed_version):
            for operation in counts:
                counts[operation] += page.count_of(operation)
        result = {
            "added": counts[Operation.ADD],
            "updated": counts[Operation.UPDATE],
            "deleted": counts[Operation.DELETE],
            "total": self.states.current(version.id).total,
        }
        if any(counts.values()):
            version.commit(**result)
        return result

    def publish_version(self, version_id: str, *, command_id: str | None = None) -> bool:
        """Freeze a version, its content committed to by fingerprint; False when it is published already."""

        def decide() -> tuple[list[Aggregate], Result]:
            version = self.version(version_id)
            version.require_present()
            if version.published:
                return [], {"published": False}
            self._publish(version)
            return [version], {"published": True}

        return self._run(["publish_version", version_id], command_id, decide)["published"]

    def _publish(self, version: Version) -> None:
        self._commit(version)
        fingerprint = self.states.fingerprint(version.id)
        version.publish(fingerprint.root, fingerprint.total)

    def create_snapshot(
        self,
        version_id: str,
        *,
        publish_name: str | None = None,
        publish_comment: str | None = None,
        publish_metadata: dict[str, Any] | None = None,
        child_name: str | None = None,
        child_comment: str | None = None,
        child_metadata: dict[str, Any] | None = None,
        command_id: str | None = None,
    ) -> str:
        """Publish a draft, which keeps its id, and create its draft child, both in one append.

        Returns
        -------
        str
            The child's id.
        """
        for_publish = None if publish_metadata is None else check_metadata(publish_metadata)
        for_child = None if child_metadata is None else check_metadata(child_metadata)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self.version(version_id)
            version.require_draft()
            dataset, child = self.dataset(version.dataset_id), Version(self.new_id())
            now = iso_time(self.clock())
            name = child_name or version.name
            version.rename(check_name(publish_name or f"snapshot {now}", "publish name"))
            version.describe(publish_comment or f"published at {now} by {current_context().actor}")
            if for_publish is not None:
                version.set_metadata(for_publish)
            self._publish(version)
            dataset.attach(child.id, version.id)
            metadata = version.metadata if for_child is None else for_child
            child.create(
                dataset.id, check_name(name, "child name"), version.id, child_comment or "", metadata
            )
            return [version, dataset, child], {"version_id": child.id}

        request = ["create_snapshot", version_id, publish_name, publish_comment, for_publish]
        return self._run([*request, child_name, child_comment, for_child], command_id, decide)["version_id"]

    def remove_version(self, version_id: str, *, force: bool = False, command_id: str | None = None) -> None:
        """Remove a version without children; a published one only with `force`. Its history stays readable.

        Raises
        ------
        PublishedError
            The version is published and `force` is not set.
        ConflictError
            The version has children; they are named.
        """

        def decide() -> tuple[list[Aggregate], Result]:
            version = self.version(version_id)
            version.require_present()
            if version.published and not force:
                raise PublishedError(
                    f"version {version.name!r} ({version_id}) is published: remove it with force=True"
                )
            dataset = self.dataset(version.dataset_id)
            children = [self.version(child) for child in dataset.children(version_id)]
            if children:
                names = ", ".join(f"{child.name!r} ({child.id})" for child in children)
                raise ConflictError(f"version {version.name!r} has children: {names}; remove them first")
            version.remove()
            dataset.detach(version_id)
            return [version, dataset], {}

        self._run(["remove_version", version_id, force], command_id, decide)

    def set_metadata(
        self, version_id: str, metadata: dict[str, Any], *, command_id: str | None = None
    ) -> None:
        """Replace the metadata of a draft as a whole."""
        checked = check_metadata(metadata)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self.version(version_id)
            version.set_metadata(checked)
            return [version], {}

        self._run(["set_metadata", version_id, checked], command_id, decide)

    def _run(
        self,
        request: list[Any],
        command_id: str | None,
        decide: Callable[[], tuple[Iterable[Aggregate], Result]],
    ) -> Result:
        """Decide and save until no other writer gets in between; a command seen before is not run again."""
        digest = blake3(msgspec.msgpack.encode(request, order="deterministic")).digest(length=16)
        for _ in range(_TRIES):
            recorded = self.record_log.find_append(command_id) if command_id else None
            if recorded is not None:
                return _recorded_result(recorded, digest)
            aggregates, result = decide()
            try:
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
