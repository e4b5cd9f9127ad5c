"""`DatasetVersion`: one version of a dataset, the main public API.

Names, arguments and defaults follow ClearML's hyper-datasets; what its text leaves open is decided in
`docs/explanation/hyperdatasets.md`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from fsspec.callbacks import Callback

from ...engine.errors import ConflictError, PublishedError, UsageError
from ...engine.frames import SingleFrame
from ...engine.groups import FrameGroup
from ...engine.times import utc
from ...projections.catalog import DRAFT, PUBLISHED, DatasetRow, VersionRow
from ..connection import Engine, current_engine
from .bulk import BulkContext
from .dataset import Dataset
from .instance_or_class import instance_or_class
from .reading import FrameReader
from .selection import exclusive, find_dataset, find_version
from .statistics import Statistics
from .writing import Failure, VersionWriter, failures_of, logger, raise_if_refused

Frames = Iterable[SingleFrame | FrameGroup]


class DatasetVersion:
    """One version of a dataset. Get one from the class methods or from `Engine.version`; its properties are live."""

    Frame: ClassVar[Any] = SingleFrame | FrameGroup

    def __init__(self) -> None:
        raise UsageError(
            "get a version from DatasetVersion.get_version(...) or DatasetVersion.get_current(...)"
        )

    @classmethod
    def of(cls, engine: Engine, version_id: str) -> DatasetVersion:
        """Return the version of an engine by id; `NotFoundError` when there is none or it was removed."""
        return cls._make(engine, find_version(engine, version_id=version_id).version_id)

    @classmethod
    def _make(cls, engine: Engine, version_id: str) -> DatasetVersion:
        version = object.__new__(cls)
        version._engine = engine
        version._id = version_id
        version._writer = VersionWriter(engine, version_id)
        version._bulk = None
        return version

    _engine: Engine
    _id: str
    _writer: VersionWriter
    _bulk: BulkContext | None

    # Datasets and versions

    @classmethod
    def create_new_dataset(
        cls,
        dataset_name: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        raise_if_exists: bool = False,
        dataset_project: str | None = None,
    ) -> Dataset:
        """Create a dataset with an empty draft named ``Current``; an existing one gets the tags and is returned.

        Raises
        ------
        ValueError
            The name is taken within its project and `raise_if_exists` is set (`ConflictError`), or no name is given.
        """
        engine = current_engine()
        if dataset_name is None:
            raise UsageError("give dataset_name")
        dataset_id = engine.commands.create_dataset(
            dataset_name,
            project=dataset_project,
            description=description,
            tags=tags,
            raise_if_exists=raise_if_exists,
        )
        return Dataset(engine, dataset_id)

    @classmethod
    def get_current(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        *,
        dataset_project: str | None = None,
    ) -> DatasetVersion:
        """Return the draft farthest from the root (ties: the newest); without drafts the version published last."""
        return cls.get_version(dataset_id, dataset_name, dataset_project=dataset_project)

    @classmethod
    def get_version(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        *,
        raise_on_multiple: bool = False,
        dataset_project: str | None = None,
    ) -> DatasetVersion:
        """Return a version by id or name; without either the current one. Of several with one name the newest.

        Raises
        ------
        UsageError
            Selectors exclude each other or none is given.
        NotFoundError
            There is no such dataset or version.
        ValueError
            Several versions have the name and `raise_on_multiple` is set.
        """
        engine = current_engine()
        row = find_version(
            engine,
            dataset_id,
            dataset_name,
            version_id,
            version_name,
            dataset_project,
            raise_on_multiple=raise_on_multiple,
        )
        return cls._make(engine, row.version_id)

    @classmethod
    def create_version(
        cls,
        version_name: str,
        description: str | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        parent_version_ids: list[str] | None = None,
        parent_version_names: list[str] | None = None,
        raise_if_exists: bool = False,
        *,
        dataset_project: str | None = None,
    ) -> DatasetVersion:
        """Create a draft: the child of a published version, or an empty root without a parent.

        An existing draft of that name is returned instead.

        Raises
        ------
        UsageError
            The parent is a draft, there are several parents, or both ids and names are given.
        ValueError
            A published version has that name, or any version and `raise_if_exists` is set.
        """
        engine = current_engine()
        dataset = find_dataset(engine, dataset_id, dataset_name, dataset_project)
        parent_id = _parent_id(engine, dataset, parent_version_ids, parent_version_names)

        def existing() -> str | None:
            return _existing_draft(engine, dataset, version_name, raise_if_exists=raise_if_exists)

        version_id = engine.commands.create_version(
            dataset.dataset_id, version_name, parent_id=parent_id, description=description, existing=existing
        )
        return cls._make(engine, version_id)

    @instance_or_class
    def create_snapshot(
        self: DatasetVersion | type[DatasetVersion],  # type: ignore[misc]
        version_name: str | None = None,
        version_id: str | None = None,
        dataset_name: str | None = None,
        dataset_id: str | None = None,
        publish_name: str | None = None,
        publish_comment: str | None = None,
        publish_metadata: dict[str, Any] | None = None,
        child_name: str | None = None,
        child_comment: str | None = None,
        child_metadata: dict[str, Any] | None = None,
        dataset_project: str | None = None,
    ) -> DatasetVersion:
        """Publish a draft, which keeps its id, and return its new draft child; both in one append.

        Called on an instance without selectors it means that version; on the class, without a version selector,
        the dataset's current one.
        """
        engine, row = _meant(self, dataset_id, dataset_name, version_id, version_name, dataset_project)
        child_id = engine.commands.create_snapshot(
            row.version_id,
            publish_name=publish_name,
            publish_comment=publish_comment,
            publish_metadata=publish_metadata,
            child_name=child_name,
            child_comment=child_comment,
            child_metadata=child_metadata,
        )
        engine.states.save_snapshot(row.version_id)
        return DatasetVersion.of(engine, child_id)

    @classmethod
    def remove_version(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        force: bool = False,
        dataset_project: str | None = None,
    ) -> None:
        """Remove a version; its history stays readable.

        Raises
        ------
        UsageError
            No version selector is given.
        PublishedError
            It is published and `force` is not set.
        ConflictError
            It has children; they are named.
        """
        if version_id is None and version_name is None:
            raise UsageError("remove_version needs version_id or version_name")
        engine = current_engine()
        row = find_version(engine, dataset_id, dataset_name, version_id, version_name, dataset_project)
        engine.commands.remove_version(row.version_id, force=force)

    @classmethod
    def get_versions(
        cls,
        dataset_name: str | None = None,
        dataset_id: str | None = None,
        only_published: bool = False,
        only_draft: bool = False,
        dataset_project: str | None = None,
    ) -> list[DatasetVersion]:
        """Return the versions of a dataset, latest updated first."""
        exclusive(only_published=only_published, only_draft=only_draft)
        engine = current_engine()
        dataset = find_dataset(engine, dataset_id, dataset_name, dataset_project)
        state = PUBLISHED if only_published else DRAFT if only_draft else None
        return versions_of(engine, dataset, state)

    # Reading

    @instance_or_class
    def get_single_frame(
        self: DatasetVersion | type[DatasetVersion],  # type: ignore[misc]
        frame_id: str,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
    ) -> SingleFrame | FrameGroup:
        """Return one frame by id; `NotFoundError` when the version does not hold it."""
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project)
        return reader.one(frame_id)

    @instance_or_class
    def get_frames_by_ids(
        self: DatasetVersion | type[DatasetVersion],  # type: ignore[misc]
        frame_ids: Collection[str],
        projection: Collection[str] | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
    ) -> list[Any]:
        """Return the frames found, in the order asked, and warn with the count missing.

        Parameters
        ----------
        projection : collection of str, optional
            Dot paths of the parts wanted; the result then holds dicts.
        """
        if isinstance(self, type):
            warnings.warn(
                "calling get_frames_by_ids on the class is deprecated: call it on a version",
                DeprecationWarning,
                stacklevel=3,
            )
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project)
        return reader.by_ids(frame_ids, projection)

    @instance_or_class
    def get_frames_by_source(
        self: DatasetVersion | type[DatasetVersion],  # type: ignore[misc]
        source_uri: str,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
    ) -> list[SingleFrame | FrameGroup]:
        """Return the frames with a source that fits a pattern, in log order.

        ``*`` is the only wildcard and crosses ``/``; without one the URI must be equal, or begin with a pattern
        that ends in ``/``. A path means its ``file://`` URI.
        """
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project)
        return reader.by_source(source_uri)

    def get_iterator(self, projection: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield all frames in log order: the order of their last changes, the same on every machine.

        Frames are streamed; at most 64 bytes of each stay in memory.

        Parameters
        ----------
        projection : sequence of str, optional
            Dot paths of the parts wanted (a number is an array index, ``*`` every element); yields dicts then.

        Raises
        ------
        ValueError
            A path is one that no frame can have.
        """
        return FrameReader(self._engine, self._row()).iterate(projection)

    def __iter__(self) -> Iterator[SingleFrame | FrameGroup]:
        return self.get_iterator()

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._engine.states.current(self._row().version_id).total

    # Writing

    def add_frames(
        self,
        frames: Frames,
        warn_on_duplicate_frames: bool = False,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames; an id that the version holds is overwritten, and `frame.id` is set where there was none.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Consumed batch by batch; a generator will do.
        warn_on_duplicate_frames : bool
            Warn of ids that were already added through this object.
        batch_size : int
            Frames in one record batch, at most 10,000; an append takes eight.
        refresh_version_stats : bool
            Commit once at the end.
        local_dataset_root_path : path, optional
            Folder that ids derived from local sources are relative to, so that machines agree.
        progress_report : int
            Log after every that many batches.
        callback : fsspec.callbacks.Callback, optional
            Told of the frames done (ours).
        command_id : str, optional
            Repeated with the same frames the call does nothing twice and finishes what was left (ours).

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each frame that was not added; all others were.

        Raises
        ------
        PublishedError
            The version takes no changes.
        """
        report = self._writer.add(
            frames,
            batch_size=batch_size,
            warn_on_duplicates=warn_on_duplicate_frames,
            root=local_dataset_root_path,
            command_id=command_id,
            on_part=_Progress(callback, progress_report),
        )
        self._refresh(refresh_version_stats)
        return failures_of(report)

    def update_frames(
        self,
        frames: Frames,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        without_fields: Collection[str] | bool | None = None,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> None:
        """Replace frames by id, or merge into them; frames without an id or with an unknown one are created.

        Parameters
        ----------
        without_fields : list of str, optional
            None replaces the whole frame. Anything else merges: the fields named are not sent, ``meta`` is merged
            key by key and deep, others are replaced as a whole; nothing can be removed.

        Raises
        ------
        FramesRejected
            Some frames were refused; all others were written.
        PublishedError
            The version takes no changes.
        """
        report = self._writer.update(
            frames,
            batch_size=batch_size,
            without_fields=without_fields,
            command_id=command_id,
            on_part=_Progress(callback),
        )
        self._refresh(refresh_version_stats)
        raise_if_refused(report)

    def delete_frames(
        self,
        frames: Iterable[Any],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> None:
        """Delete frames given by id, frame or dict; one warning counts the ids that are not there.

        Raises
        ------
        FramesRejected
            Some entries name no frame; all others were deleted.
        PublishedError
            The version takes no changes.
        """
        report = self._writer.delete(
            frames, batch_size=batch_size, command_id=command_id, on_part=_Progress(callback)
        )
        self._refresh(refresh_version_stats)
        raise_if_refused(report)

    def get_bulk_context(
        self,
        flush_threshold: int | None = None,
        log: Any = None,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        allow_update: bool = False,
    ) -> BulkContext:
        """Return the context that gathers changes made one at a time; there is one for each object.

        A second call returns the same context, and warns when its arguments differ.
        """
        arguments = (flush_threshold, log, refresh_version_stats, local_dataset_root_path, allow_update)
        if self._bulk is None:
            self._bulk = BulkContext(self, self._writer, *arguments)
        elif self._bulk.arguments != arguments:
            warnings.warn(
                "this version has a bulk context already; its arguments stay", UserWarning, stacklevel=2
            )
        return self._bulk

    def flush(self, refresh_version_stats: bool = True) -> None:
        """Record what the bulk context has gathered, if there is one."""
        if self._bulk is not None:
            self._bulk.flush()
            self._refresh(refresh_version_stats)

    def commit_version(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - the API that is followed takes any
        """Bring the statistics up to date and record the counts of the changes since the last commit.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, ``total``, ``failed`` (0 here) and ``errors`` (empty).
        """
        counts = self._engine.commands.commit_version(self._id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return {**counts, "failed": 0, "errors": []}

    def publish_version(self) -> bool:
        """Commit what is left and freeze the version; False when it is published already."""
        published = self._engine.commands.publish_version(self._id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return published

    def _refresh(self, wanted: bool) -> None:
        if wanted:
            self.commit_version()

    # What is known of the version

    def _row(self) -> VersionRow:
        return find_version(self._engine, version_id=self._id)

    def _dataset(self) -> DatasetRow:
        return find_dataset(self._engine, dataset_id=self._row().dataset_id)

    @property
    def version_id(self) -> str:
        """Id of the version, 32 hex digits."""
        return self._id

    @property
    def version_name(self) -> str:
        """Name, not necessarily unique."""
        return self._row().name

    @property
    def dataset_id(self) -> str:
        """Id of the dataset."""
        return self._row().dataset_id

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return self._dataset().name

    @property
    def draft(self) -> bool:
        """Whether the version takes changes."""
        return self._row().state == DRAFT

    @property
    def last_updated(self) -> datetime:
        """UTC time of the last frame change, else of creation."""
        return utc(self._row().updated_at)

    @property
    def comment(self) -> str:
        """Description."""
        return self._row().description

    @property
    def fingerprint(self) -> str:
        """64 hex digits that commit to the content, the same for the same frames whatever their history (ours)."""
        row = self._row()
        return row.fingerprint or self._engine.states.fingerprint(row.version_id).root

    def get_stats(self) -> Statistics:
        """Return the statistics, right for uncommitted changes too."""
        return Statistics.from_counts(self._engine.version_counts(self._row().version_id))

    def get_parent(self) -> str | None:
        """Return the id of the parent version; None for a root."""
        return self._row().parent_id

    def get_metadata(self) -> dict[str, Any]:
        """Return the metadata."""
        return self._row().metadata

    def set_metadata(self, metadata: dict[str, Any]) -> bool:
        """Replace the metadata as a whole; False for a published version.

        Raises
        ------
        ValueError
            A key holds ``$`` or ``.``, or the metadata is not JSON-like.
        """
        try:
            self._engine.commands.set_metadata(self._id, metadata)
        except PublishedError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetVersion) and (self._engine.url, self._id) == (
            other._engine.url,
            other._id,
        )

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Any, ...]:
        return DatasetVersion.of, (self._engine, self._id)

    def __repr__(self) -> str:
        row = self._row()
        return f"DatasetVersion({self.dataset_name!r}, {row.name!r}, {row.state}, id={self._id!r})"


class _Progress:
    """Tells a callback and the log how far a call has come."""

    def __init__(self, callback: Callback | None, every: int = 0) -> None:
        self._callback = callback
        self._every = every
        self._batches = 0
        self._done = 0

    def __call__(self, report: Any) -> None:
        done = report.events + report.unchanged + report.unknown + report.duplicates + len(report.refusals)
        if self._callback is not None:
            self._callback.relative_update(done - self._done)
        self._done = done
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            logger.info("%d frames registered", done)


def versions_of(engine: Engine, dataset: DatasetRow, state: str | None = None) -> list[DatasetVersion]:
    """Return the versions of a dataset, latest updated first."""
    with engine.read_catalog() as connection:
        rows = engine.catalog.versions(connection, dataset_id=dataset.dataset_id, state=state)
    rows.sort(key=lambda row: (row.updated_at, row.updated_position), reverse=True)
    return [DatasetVersion._make(engine, row.version_id) for row in rows]


def _meant(
    target: DatasetVersion | type[DatasetVersion],
    dataset_id: str | None,
    dataset_name: str | None,
    version_id: str | None,
    version_name: str | None,
    dataset_project: str | None,
) -> tuple[Engine, VersionRow]:
    """Return the engine and version meant: an instance's own unless there are selectors."""
    selectors = (dataset_id, dataset_name, version_id, version_name, dataset_project)
    if isinstance(target, DatasetVersion):
        if all(selector is None for selector in selectors):
            return target._engine, target._row()  # noqa: SLF001 - of this module
        return target._engine, find_version(target._engine, *selectors)  # noqa: SLF001
    engine = current_engine()
    return engine, find_version(engine, *selectors)


def _reader(target: DatasetVersion | type[DatasetVersion], *selectors: str | None) -> FrameReader:
    return FrameReader(*_meant(target, *selectors))


def _parent_id(
    engine: Engine, dataset: DatasetRow, ids: list[str] | None, names: list[str] | None
) -> str | None:
    exclusive(parent_version_ids=ids or None, parent_version_names=names or None)
    given = ids or names or []
    if isinstance(given, str) or len(given) > 1:
        raise UsageError(f"a version has at most one parent, given in a list: {given!r}")
    if not given:
        return None
    version_id, version_name = (given[0], None) if ids else (None, given[0])
    return find_version(engine, dataset.dataset_id, None, version_id, version_name).version_id


def _existing_draft(engine: Engine, dataset: DatasetRow, name: str, *, raise_if_exists: bool) -> str | None:
    with engine.read_catalog() as connection:
        found = engine.catalog.versions(connection, dataset_id=dataset.dataset_id, name=name)
    drafts = [row for row in found if row.state == DRAFT]
    if found and (raise_if_exists or not drafts):
        state = "exists already" if raise_if_exists else "is published already"
        raise ConflictError(f"version {name!r} of dataset {dataset.name!r} {state}: choose another name")
    return drafts[0].version_id if drafts else None
