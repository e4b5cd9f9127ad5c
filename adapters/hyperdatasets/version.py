"""`DatasetVersion`: one version of a dataset, the main public API. Its methods call the modules beside this one.

Names, parameters and defaults follow the hyper-datasets API of ClearML. `docs/explanation/hyperdatasets.md` describes the
behaviour that its documentation leaves open.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, KeysView, Mapping, Sequence
from datetime import datetime
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from ...engine.errors import PublishedError, UsageError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ...engine.frames.source import check_root
from ...engine.log.contract import Head
from ...engine.log.moments import Moment
from ...engine.times import system_clock, utc
from ...engine.validation import KnownAttributes, at_least, check_flags, shorten, text
from ...projections.tables.catalog import DRAFT, PUBLISHED, VersionRow
from ..session.current import HasSession, current_session, session_of
from ..session.session import Session
from .api_helpers import UPLOAD_RETRIES, instance_or_class, warn_caller, warn_of_ignored
from .reading import FrameIds, FrameReader, check_frame_id, log_order
from .selectors import (
    NO_SELECTOR,
    VersionSelector,
    exclusive,
    find_dataset,
    find_parent,
    find_version,
    latest_updated,
    version_by_id,
)

if TYPE_CHECKING:
    import dask.dataframe as dd
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from fsspec.callbacks import Callback

    from ...engine.query.tree import Query
    from ...projections.history.changes import Change
    from ..uploads.target import PathLike, UploadTarget
    from .blame import Blame
    from .bulk import BulkContext
    from .checkout import Checkout
    from .dataset import Dataset
    from .diff import Diff, VersionState
    from .exchange.croissant import CroissantExport
    from .exchange.exporting import Exported
    from .exchange.importing import Imported
    from .mask_labels import MasksLabels
    from .revert import Reverted
    from .source_deletion import SourceDeletion
    from .statistics import Statistics
    from .version_writer import Failure, VersionWriter
    from .views.samples import Sample

Default = TypeVar("Default")


class DatasetVersion(KnownAttributes):
    """A version of a dataset. Every property reads the current state.

    Get a version from one of the class methods or from `Engine.version`. Methods and parameters that are marked
    (extension) are not part of ClearML's API.

    Parameters that many methods share:

    - `dataset_id`, `dataset_name`, `dataset_project`: the dataset, by id or by name, and its project. The project is
      required if several projects have a dataset of that name.
    - `version_id`, `version_name`: the version, by id or by name. Without either, the current version of the dataset.
      `create_snapshot` and the methods that read frames use the object's own version if none of these five is given.
    - `as_of`: the point in time to read at, as a position or an aware datetime (extension). A position that the log does not
      have, and a datetime without a time zone, raise `UsageError`.

    If the version was removed, or did not exist at `as_of`, every method except `history` raises `NotFoundError`.

    Methods that return frames return a `FrameGroup` for each group. Their type is ``SingleFrame | Any``, so that a type checker
    accepts code for single frames; narrow it with ``isinstance(frame, FrameGroup)`` where a dataset has groups.
    """

    Frame: ClassVar[Any] = SingleFrame | FrameGroup

    _session: Session
    _id: str
    _target: UploadTarget | None
    _root: str | None
    _bulk: BulkContext | None = None

    def __init__(self, *_: object, **__: object) -> None:
        raise UsageError(
            "get a version from DatasetVersion.get_version(...) or DatasetVersion.get_current(...)"
        )

    @classmethod
    def of(
        cls,
        engine: HasSession | Session,
        version_id: str,
        target: UploadTarget | None = None,
        root: str | None = None,
    ) -> Self:
        """Return a version by its id.

        Parameters
        ----------
        engine : Engine or Session
            The engine.
        version_id : str
            32 hex digits.
        target : UploadTarget, optional
            Where to upload the local files of frames that are written through this object.
        root : str, optional
            Absolute path of a folder. Ids derived from local sources use paths relative to it.

        Raises
        ------
        NotFoundError
            The version does not exist or was removed.
        """
        version = object.__new__(cls)
        session = session_of(engine)
        version._session = session
        version._id = version_by_id(session, text(version_id, "version_id")).version_id
        version._target, version._root = target, root
        return version

    @property
    def _writer(self) -> VersionWriter:
        """Writes to the version, made on first use, because reading needs none."""
        made = vars(self).get("_made_writer")
        if made is None:
            from .version_writer import VersionWriter

            made = VersionWriter(self._session, self._id, self._root, self._target)
            # If two threads make one, the first is kept.
            made = vars(self).setdefault("_made_writer", made)
        return made

    def at(self, moment: Moment | None) -> Self:
        """Return the version, read-only, as it was at a point in time (extension).

        Parameters
        ----------
        moment : int, datetime or None
            A position or an aware datetime; None for the version itself.

        Raises
        ------
        UsageError
            The log does not have the position, or the datetime has no time zone.
        NotFoundError
            The version did not exist then.
        """
        return self if moment is None else type(self).of(self._session.at(moment), self._id)

    def _row(self) -> VersionRow:
        return self._row_in(self._session)

    def _row_in(self, session: Session, head: Head | None = None) -> VersionRow:
        return version_by_id(session, self._id, head)

    @classmethod
    def create_new_dataset(
        cls,
        dataset_name: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        raise_if_exists: bool = False,
        dataset_project: str | None = None,
    ) -> Dataset:
        """Create a dataset with an empty draft named ``Current``. If the dataset exists, add the tags and return it.

        Parameters
        ----------
        dataset_name : str
            Name of the dataset, unique within the project.
        description : str, optional
            Free text. Ignored if the dataset exists.
        tags : list of str, optional
            Tags of the dataset.
        raise_if_exists : bool
            Raise `ConflictError` if the dataset exists.
        dataset_project : str, optional
            Project of the dataset, by default ``default``.

        Raises
        ------
        ValueError
            The dataset exists and `raise_if_exists` is set (`ConflictError`), or a name is missing or invalid.
        """
        from .dataset import Dataset

        session = current_session()
        if dataset_name is None:
            raise UsageError("give dataset_name")
        dataset_id = session.writes.datasets.create_dataset(
            dataset_name,
            project=dataset_project,
            description=description,
            tags=tags,
            raise_if_exists=raise_if_exists,
        )
        return Dataset(session, dataset_id)

    @classmethod
    def get_datasets(cls, tags: list[str] | None = None, *, as_of: Moment | None = None) -> list[Dataset]:
        """Return the datasets whose tags match a filter, oldest first.

        Parameters
        ----------
        tags : list of str, optional
            Tags to match; all datasets if not given. ``-tag`` or ``"__$not", "tag"`` excludes a tag; ``__$all``/``__$and``
            and ``__$any``/``__$or`` open a group. See `TagFilter`.
        as_of : int or datetime, optional
            List the datasets that existed at a position or an aware datetime (extension).

        Raises
        ------
        ValueError
            The filter is malformed.
        """
        from ..display.html import CardList
        from .dataset import Dataset
        from .html import datasets_card
        from .tag_filter import TagFilter

        session = current_session().at(as_of)
        fits = TagFilter([] if tags is None else tags)
        with session.read_catalog() as connection:
            rows = session.catalog.datasets(connection)
        found = (Dataset(session, row.dataset_id) for row in rows if fits(row.tags))
        return CardList(found, datasets_card)

    @classmethod
    def get_current(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> Self:
        """Return the current version: the deepest draft (the newest of several), or the version published last.

        Local files of frames that are written through the object are uploaded to `auto_upload_destination`; see
        `DatasetVersion.add_frames` for it and for `local_dataset_root_path`. The other parameters are described at
        `DatasetVersion`.

        Raises
        ------
        UsageError
            Not exactly one of `dataset_id` and `dataset_name` is given, or the upload destination cannot be used.
        NotFoundError
            There is no such dataset, or it has no version left.
        """
        return cls.get_version(
            dataset_id,
            dataset_name,
            auto_upload_destination=auto_upload_destination,
            local_dataset_root_path=local_dataset_root_path,
            dataset_project=dataset_project,
            as_of=as_of,
        )

    @classmethod
    def get_version(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        raise_on_multiple: bool = False,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> Self:
        """Return a version by id or name, or the current version if neither is given.

        If several versions have the name, the newest is returned. Local files of frames that are written through the
        object are uploaded to `auto_upload_destination`; see `DatasetVersion.add_frames` for it and for
        `local_dataset_root_path`. The other parameters are described at `DatasetVersion`.

        Parameters
        ----------
        raise_on_multiple : bool
            Raise an error if several versions have the name.
        as_of : int or datetime, optional
            Return the version, read-only, as it was at a position or an aware datetime (extension).

        Raises
        ------
        UsageError
            Selectors are missing or exclude each other, or the log does not have the position.
        NotFoundError
            There is no such dataset or version.
        ValueError
            Several versions have the name and `raise_on_multiple` is set (`ConflictError`).
        """
        target = _upload_target(auto_upload_destination, local_dataset_root_path)
        root = check_root(local_dataset_root_path)
        session = current_session().at(as_of)
        selector = VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        row = find_version(session, selector, raise_on_multiple=raise_on_multiple)
        return cls.of(session, row.version_id, target, root)

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
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        dataset_project: str | None = None,
    ) -> Self:
        """Create a draft: a child of a published version, or an empty root version.

        If a draft of that name exists, it is returned instead. Local files of frames that are written through the object
        are uploaded to `auto_upload_destination`; see `DatasetVersion.add_frames` for it and for
        `local_dataset_root_path`. The dataset is selected as described at `DatasetVersion`.

        Parameters
        ----------
        version_name : str
            Name of the version.
        description : str, optional
            Free text, the `comment` of the version.
        parent_version_ids, parent_version_names : list of str, optional
            List with the id or the name of the parent. A child inherits frames, metadata and mask labels.
        raise_if_exists : bool
            Raise an error if any version of the dataset has the name.

        Raises
        ------
        UsageError
            The parent is a draft, several parents are given, or both ids and names are given.
        ValueError
            A published version has the name, or any version has it and `raise_if_exists` is set.
        """
        target = _upload_target(auto_upload_destination, local_dataset_root_path)
        root = check_root(local_dataset_root_path)
        session = current_session()
        dataset = find_dataset(session, dataset_id, dataset_name, dataset_project)
        parent_id = find_parent(session, dataset, parent_version_ids, parent_version_names)

        version_id = session.writes.versions.create_version(
            dataset.dataset_id,
            version_name,
            parent_id=parent_id,
            description=description,
            raise_if_exists=raise_if_exists,
        )
        return cls.of(session, version_id, target, root)

    @instance_or_class
    def create_snapshot(
        self: DatasetVersion | type[DatasetVersion],
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
        """Publish a draft, which keeps its id, and return a new draft child. Both happen in one transaction.

        On an instance without selectors, the instance is published, after its bulk context is flushed. On the class,
        without a version selector, the current version of the dataset is published. The selectors are described at
        `DatasetVersion`.

        Parameters
        ----------
        publish_name, publish_comment : str, optional
            Name and description of the published version. By default ``snapshot <time>`` and ``published at <time> by
            <actor>``, with the time in ISO 8601.
        publish_metadata : dict, optional
            Metadata of the published version. By default the metadata of the draft.
        child_name : str, optional
            Name of the child. By default the name of the draft.
        child_comment : str, optional
            Description of the child. By default empty.
        child_metadata : dict, optional
            Metadata of the child. By default the metadata of the published version.

        Raises
        ------
        PublishedError
            The version is already published.
        FramesRejected
            Some frames in the bulk context were rejected. All others are recorded; nothing is published.
        ConflictError
            Another version of the dataset has one of the names, or both names are equal. Nothing is published.
        ValueError
            A name is empty, or metadata is not JSON-like or has keys with ``$`` or ``.``.
        """
        from .lineage import record_published

        session, row, _ = _resolve(
            self, VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        )
        if isinstance(self, DatasetVersion) and row.version_id == self.version_id:
            self.flush(refresh_version_stats=False)
        began = system_clock()
        child_id = session.writes.versions.create_snapshot(
            row.version_id,
            publish_name=publish_name,
            publish_comment=publish_comment,
            publish_metadata=publish_metadata,
            child_name=child_name,
            child_comment=child_comment,
            child_metadata=child_metadata,
        )
        session.states.save_snapshot(row.version_id)
        record_published(session, row.version_id, began)
        kind = self if isinstance(self, type) else type(self)
        return kind.of(session, child_id)

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
        """Remove a version. Its history stays readable.

        The selectors are described at `DatasetVersion`.

        Parameters
        ----------
        force : bool
            Also remove a published version.

        Raises
        ------
        UsageError
            Neither `version_id` nor `version_name` is given, or selectors exclude each other.
        NotFoundError
            There is no such dataset or version.
        PublishedError
            The version is published and `force` is not set.
        ConflictError
            The version has children. The message lists them.
        """
        if version_id is None and version_name is None:
            raise UsageError("remove_version needs version_id or version_name")
        session = current_session()
        row = find_version(
            session, VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        )
        session.writes.versions.remove_version(row.version_id, force=force)

    @classmethod
    def get_versions(
        cls,
        dataset_name: str | None = None,
        dataset_id: str | None = None,
        only_published: bool = False,
        only_draft: bool = False,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> list[Self]:
        """Return the versions of a dataset, most recently updated first.

        Parameters that are not listed are described at `DatasetVersion`.

        Parameters
        ----------
        only_published, only_draft : bool
            Return only published versions, or only drafts. They exclude each other.
        as_of : int or datetime, optional
            List the versions that existed at a position or an aware datetime (extension).

        Raises
        ------
        UsageError
            Both `only_published` and `only_draft` are set, or not exactly one of `dataset_id` and `dataset_name` is given.
        NotFoundError
            There is no such dataset.
        """
        from ..display.html import CardList
        from .html import versions_card

        check_flags(only_published=only_published, only_draft=only_draft)
        exclusive(only_published=only_published, only_draft=only_draft)
        session = current_session().at(as_of)
        dataset = find_dataset(session, dataset_id, dataset_name, dataset_project)
        state = PUBLISHED if only_published else DRAFT if only_draft else None
        found = (cls.of(session, row.version_id) for row in latest_updated(session, dataset, state))
        return CardList(found, versions_card)

    @property
    def version_id(self) -> str:
        """Id of the version, 32 hex digits."""
        return self._id

    @property
    def version_name(self) -> str:
        """Name. It is unique within the dataset, except in logs of earlier releases."""
        return self._row().name

    @property
    def dataset_id(self) -> str:
        """Id of the dataset."""
        return self._row().dataset_id

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return find_dataset(self._session, dataset_id=self._row().dataset_id).name

    @property
    def draft(self) -> bool:
        """Whether the version is a draft and can be changed."""
        return self._row().state == DRAFT

    @property
    def last_updated(self) -> datetime:
        """UTC time of the last frame change, or of creation if there was none."""
        return utc(self._row().updated_at)

    @property
    def comment(self) -> str:
        """Description."""
        return self._row().description

    @property
    def fingerprint(self) -> str:
        """Digest of the frames as 64 hex digits. It depends on the frames only, not on their history (extension)."""
        row = self._row()
        return row.fingerprint or self._session.states.fingerprint(row.version_id).root

    def get_stats(self, *, as_of: Moment | None = None) -> Statistics:
        """Return the statistics, including uncommitted changes."""
        from .statistics import Statistics

        session = self._session.at(as_of)
        return Statistics.from_counts(session.version_counts(self._row_in(session).version_id))

    def get_parent(self, *, as_of: Moment | None = None) -> str | None:
        """Return the id of the parent version, or None if there is no parent."""
        return self._row_in(self._session.at(as_of)).parent_id

    def get_metadata(self, *, as_of: Moment | None = None) -> dict[str, Any]:
        """Return the metadata."""
        return copy.deepcopy(self._row_in(self._session.at(as_of)).metadata)

    def set_metadata(self, metadata: dict[str, Any]) -> bool:
        """Replace the metadata.

        Parameters
        ----------
        metadata : dict
            The new metadata, JSON-like.

        Returns
        -------
        bool
            False, with a `NotRecordedWarning`, if the version is published.

        Raises
        ------
        ValueError
            A key contains ``$`` or ``.``, or the metadata is not JSON-like.
        """
        return self._change_metadata(self._session.writes.versions.set_metadata, metadata)

    def _change_metadata(self, change: Callable[[str, dict[str, Any]], None], values: dict[str, Any]) -> bool:
        from .version_writer import NotRecordedWarning

        try:
            change(self._id, values)
        except PublishedError as error:
            warn_caller(f"the metadata was not changed: {error}", NotRecordedWarning)
            return False
        return True

    def set_masks_labels(self, mask_value_label_mapping: MasksLabels) -> bool:
        """Store the labels of mask pixel values in the metadata.

        Parameters
        ----------
        mask_value_label_mapping : dict
            Labels by pixel value, a tuple of integers from 0 to 255, such as ``{(0, 0, 0): ["background"]}``.

        Returns
        -------
        bool
            False, with a `NotRecordedWarning`, if the version is published.

        Raises
        ------
        ValueError
            A pixel value is not a tuple of integers from 0 to 255, or labels are not a list of strings.
        """
        from .mask_labels import MASKS_LABELS, stored_masks_labels

        stored = stored_masks_labels(mask_value_label_mapping)
        return self._change_metadata(self._session.writes.versions.merge_metadata, {MASKS_LABELS: stored})

    def get_masks_labels(self, *, as_of: Moment | None = None) -> dict[tuple[int, ...], tuple[str, ...]]:
        """Return the labels of mask pixel values; empty if none were set."""
        from .mask_labels import MASKS_LABELS, read_masks_labels

        return read_masks_labels(self.get_metadata(as_of=as_of).get(MASKS_LABELS))

    @property
    def tags(self) -> list[str]:
        """Tags (extension)."""
        return list(self._row().tags)

    def rename(self, name: str) -> None:
        """Rename a draft (extension).

        Parameters
        ----------
        name : str
            The new name.

        Raises
        ------
        PublishedError
            The version is published, so its name cannot change.
        ConflictError
            Another version of the dataset has the name.
        InvalidValueError
            `name` is not a non-empty string.
        """
        self._session.writes.versions.rename_version(self._id, name)

    def describe(self, description: str) -> None:
        """Replace the description of a draft or a published version (extension).

        Parameters
        ----------
        description : str
            The new description, which may be empty.

        Raises
        ------
        InvalidValueError
            `description` is not a string.
        """
        self._session.writes.versions.describe_version(self._id, description)

    def set_tags(self, tags: list[str]) -> None:
        """Replace the tags of a draft or a published version (extension).

        Parameters
        ----------
        tags : list of str
            The new tags.

        Raises
        ------
        InvalidValueError
            `tags` is not a list of non-empty strings.
        """
        self._session.writes.versions.tag_version(self._id, tags)

    def add_tags(self, tags: list[str]) -> None:
        """Add tags to a draft or a published version; the others stay (extension).

        Parameters
        ----------
        tags : list of str
            The tags to add.

        Raises
        ------
        InvalidValueError
            `tags` is not a list of non-empty strings.
        """
        self._session.writes.versions.retag_version(self._id, tags, [])

    def remove_tags(self, tags: list[str]) -> None:
        """Remove tags from a draft or a published version; the others stay (extension).

        Parameters
        ----------
        tags : list of str
            The tags to remove. Unknown tags are ignored.

        Raises
        ------
        InvalidValueError
            `tags` is not a list of non-empty strings.
        """
        self._session.writes.versions.retag_version(self._id, [], tags)

    @instance_or_class
    def get_single_frame(
        self: DatasetVersion | type[DatasetVersion],
        frame_id: str,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> SingleFrame | Any:
        """Return a frame by its id.

        The other parameters are described at `DatasetVersion`.

        Parameters
        ----------
        frame_id : str
            Id of the frame. Numbers are converted to strings.

        Raises
        ------
        NotFoundError
            The version does not have the frame, or there is no such dataset or version.
        """
        selector = VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        return FrameReader(*_resolve(self, selector, as_of)).one(frame_id)

    @instance_or_class
    def get_frames_by_ids(
        self: DatasetVersion | type[DatasetVersion],
        frame_ids: Collection[str],
        projection: Collection[str] | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> list[Any]:
        """Return the frames that exist, in the order of `frame_ids`. One warning counts the missing ones.

        Parameters that are not listed are described at `DatasetVersion`.

        Parameters
        ----------
        frame_ids : collection of str
            Ids of the frames, in any iterable.
        projection : collection of str, optional
            Dot paths of the fields to return, as in `get_iterator`. The result then consists of dicts.

        Raises
        ------
        ValueError
            `frame_ids` is not a collection of ids, or no frame can have a path of `projection`.
        NotFoundError
            There is no such dataset or version.
        """
        if isinstance(self, type):
            message = "calling get_frames_by_ids on the class is deprecated: call it on a version"
            warn_caller(message, DeprecationWarning)
        selector = VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        return FrameReader(*_resolve(self, selector, as_of)).by_ids(frame_ids, projection)

    @instance_or_class
    def get_frames_by_source(
        self: DatasetVersion | type[DatasetVersion],
        source_uri: str | os.PathLike[str],
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> list[SingleFrame | Any]:
        """Return the frames with a source whose URI matches a pattern, in log order.

        The other parameters are described at `DatasetVersion`.

        Parameters
        ----------
        source_uri : str or path
            ``*`` is the only wildcard and also matches ``/``. A pattern without ``*`` matches the equal URI, or as a prefix
            if it ends in ``/``. A path stands for its ``file://`` URI.

        Raises
        ------
        ValueError
            `source_uri` is not a string or a path.
        NotFoundError
            There is no such dataset or version.
        """
        selector = VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        return FrameReader(*_resolve(self, selector, as_of)).by_source(source_uri)

    @overload
    def get_iterator(
        self, projection: None = None, *, order_by: str | None = None, as_of: Moment | None = None
    ) -> Generator[SingleFrame | Any, None, None]: ...
    @overload
    def get_iterator(
        self, projection: Sequence[str], *, order_by: str | None = None, as_of: Moment | None = None
    ) -> Generator[dict[str, Any], None, None]: ...
    def get_iterator(
        self,
        projection: Sequence[str] | None = None,
        *,
        order_by: str | None = None,
        as_of: Moment | None = None,
    ) -> Generator[Any, None, None]:
        """Yield all frames in log order, which is the order of their last changes.

        Frames are streamed. Memory use is at most 64 bytes per frame.

        Parameters
        ----------
        projection : sequence of str, optional
            Dot paths of the fields to return. An integer is an array index; ``*`` selects every element. Yields dicts.
        order_by : str, optional
            ``"context"`` groups frames by context, as video needs it: it sorts by context id, then timestamp, then id
            (extension). It reads the version twice and sorts on disk.
        as_of : int or datetime, optional
            The position or aware datetime to read at (extension).

        Raises
        ------
        ValueError
            No frame can have one of the paths, or `order_by` is unknown.
        """
        session = self._session.at(as_of)
        return FrameReader(session, self._row_in(session)).iterate(projection, order_by)

    def to_arrow(self, columns: Sequence[str] | None = None, *, as_of: Moment | None = None) -> pa.Table:
        """Return all frames as a table, in log order (extension). It needs the extra `arrow`.

        The columns are the fields of the wire form, and ``group``, which says whether the frame is a `FrameGroup`. Metadata is
        a JSON string. `add_table` makes equal frames from the table, with equal digests.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of the columns: ``id, context_id, timestamp, num_frames, group, sources, rois, meta``, or ``sources.0.NAME``
            for a field of the first source.
        as_of : int or datetime, optional
            The position or aware datetime to read at.

        Raises
        ------
        InvalidValueError
            A column is unknown.
        UsageError
            The library pyarrow is not installed.
        """
        return self.to_arrow_reader(columns, as_of=as_of).read_all()

    def to_arrow_reader(
        self, columns: Sequence[str] | None = None, *, as_of: Moment | None = None
    ) -> pa.RecordBatchReader:
        """Return all frames as a stream of batches of columns, in log order (extension). It needs the extra `arrow`.

        Only a few batches of the log are in memory at a time. The parameters and errors are those of `to_arrow`.
        """
        from ..arrow.reader import table_reader
        from ..arrow.schema import check_columns

        session, chosen = self._session.at(as_of), check_columns(columns)
        state = session.states.read(self._row_in(session).version_id)
        return table_reader(session.log, state, log_order(state), chosen)

    def to_pandas(self, columns: Sequence[str] | None = None, *, as_of: Moment | None = None) -> pd.DataFrame:
        """Return all frames as a data frame of pandas, in log order (extension). It needs the extra `arrow` and pandas.

        The parameters and errors are those of `to_arrow`.
        """
        return self.to_arrow(columns, as_of=as_of).to_pandas()

    def to_polars(self, columns: Sequence[str] | None = None, *, as_of: Moment | None = None) -> pl.DataFrame:
        """Return all frames as a data frame of polars, in log order (extension). It needs the extra `arrow` and polars.

        The parameters and errors are those of `to_arrow`.
        """
        from ..arrow.files import polars_frame

        return polars_frame(self.to_arrow(columns, as_of=as_of))

    def to_parquet(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        *,
        as_of: Moment | None = None,
    ) -> int:
        """Write all frames into a Parquet file, in log order, and return their number (extension). It needs the extra `arrow`.

        The file appears when it is complete, and replaces an existing file. `export` with the format ``parquet`` writes one row
        for each box or label instead. The other parameters and errors are those of `to_arrow`.

        Parameters
        ----------
        path : str or path
            The file.
        """
        from ..arrow.files import write_parquet

        return write_parquet(self.to_arrow_reader(columns, as_of=as_of), path)

    def export(
        self,
        format: str,  # noqa: A002 - the word of the command
        path: str | os.PathLike[str],
        *,
        query: Query | str | None = None,
        images: bool = True,
        strict: bool = False,
        as_of: Moment | None = None,
        callback: Callback | None = None,
    ) -> Exported:
        """Write the frames in another format, and return what was written and what that format cannot store (extension).

        `to_coco`, `to_voc` and the like are this method with the name of a format.

        Parameters
        ----------
        format : str
            Name of the format, such as ``coco``.
        path : str or path
            A new or empty folder; a new file for a format of single files. It appears when it is complete.
        query : Query or str, optional
            Write only the frames that match; see `query`.
        images : bool
            Also write the image files: local files are copied, others are fetched.
        strict : bool
            Raise an error and write nothing if anything would be lost.
        as_of : int or datetime, optional
            The position or aware datetime to read at.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of frames that were read.

        Raises
        ------
        UsageError
            There is no such format, or it can only be imported.
        ConflictError
            `path` exists and is not an empty folder.
        InvalidValueError
            `strict` is set and something would be lost, or the query is wrong (`InvalidQueryError`).
        """
        from .exchange.exporting import write_version
        from .exchange.importing import told

        check_flags(images=images, strict=strict)
        version = self.at(as_of)
        session = version._session  # noqa: SLF001 - this class
        with told(callback, f"exporting {version.version_name}") as advance:
            return write_version(
                session, version, format, path, advance, query=query, images=images, strict=strict
            )

    to_clearml = partialmethod(export, "clearml")
    to_coco = partialmethod(export, "coco")
    to_csv = partialmethod(export, "csv")
    to_cvat = partialmethod(export, "cvat")
    to_imagefolder = partialmethod(export, "imagefolder")
    to_labelme = partialmethod(export, "labelme")
    to_masks = partialmethod(export, "masks")
    to_voc = partialmethod(export, "voc")
    to_webdataset = partialmethod(export, "webdataset")
    to_yolo = partialmethod(export, "yolo")

    def to_croissant(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        description: str | None = None,
        license: str | None = None,  # noqa: A002 - the name of the property
        citation: str | None = None,
        url: str | None = None,
        creators: str | Iterable[str] | None = None,
        files: bool = True,
    ) -> CroissantExport:
        """Describe a published version in Croissant 1.1, beside tables of its records (extension). It needs the extra `arrow`.

        The folder has the description ``croissant.json``, which is JSON-LD, Parquet tables of frames, sources and annotations
        with their SHA-256, and the files of the version in ``files/``.

        Parameters
        ----------
        path : str or path
            A new or empty folder, which appears when it is complete.
        name : str, optional
            Name of the dataset. By default its name in the engine.
        description : str, optional
            By default the description of the version, else that of the dataset.
        license : str, optional
            License of the data, preferably the URL of a known license.
        citation : str, optional
            How to cite the dataset, preferably in BibTeX.
        url : str, optional
            Web page of the dataset. By default its ``framelode://`` URL.
        creators : str or iterable of str, optional
            Names of the creators. By default the actor who published the version.
        files : bool
            Also write the files. Otherwise the records contain only their URLs, ``framelode://...``.

        Raises
        ------
        UsageError
            The version is a draft, or the library pyarrow is not installed.
        ConflictError
            The folder is not empty.
        """
        from .exchange.croissant import checked_about, write_croissant

        check_flags(files=files)
        about = checked_about(name, description, license, citation, url, creators)
        return write_croissant(self._session, self._row(), path, about, files=files)

    def to_hf(
        self, *, query: Query | str | None = None, images: bool = True, as_of: Moment | None = None
    ) -> datasets.Dataset:
        """Return frames as a dataset of the library `datasets` of Hugging Face (extension). It needs the extra `hf`.

        Each row is a frame with the columns ``id, image, width, height, label, objects, splits, frame``. `label` is the first
        label of the frame. `objects` are its boxes: `id`, `bbox` (left, top, width and height in pixels) and `category`. Labels
        and categories are class labels in the order of the categories of the version. `frame` is the frame in wire form, as
        JSON, from which `from_hf` makes the same frame. Images are local paths; remote images are fetched.

        Parameters
        ----------
        query : Query or str, optional
            Return only the frames that match; see `query`.
        images : bool
            Include the images. Otherwise nothing is fetched.
        as_of : int or datetime, optional
            The position or aware datetime to read at.

        Raises
        ------
        UsageError
            The library datasets is not installed.
        """
        from .exchange.hf import hf_dataset

        check_flags(images=images)
        version = self.at(as_of)
        return hf_dataset(version._session, version, query, images=images)  # noqa: SLF001 - this class

    @classmethod
    def from_hf(
        cls,
        data: datasets.Dataset | datasets.DatasetDict,
        dataset_name: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        dataset_project: str | None = None,
        version_name: str | None = None,
        copy: bool = False,
        overwrite: bool = False,
        only_new: bool = False,
        dry_run: bool = False,
        strict: bool = False,
        callback: Callback | None = None,
    ) -> Imported:
        """Import a dataset of the library `datasets` of Hugging Face into a draft (extension). It needs the extra `hf`.

        A column of class labels, or `label`, is a label of the frame. `objects` or `annotations` are boxes: left, top, width
        and height in pixels. Other columns become metadata. The column `frame` of `to_hf` is the whole frame with its id. The
        other parameters, the result and the errors are those of `import_from`.

        Parameters
        ----------
        data : datasets.Dataset or datasets.DatasetDict
            The dataset to import. The keys of a `DatasetDict` are splits.
        dataset_name : str
            Name of the dataset, created if missing.
        folder : str or path, optional
            Folder to write images to that are stored in `data` itself. Ids of frames are derived from paths relative to it, or
            without it, relative to the working directory.
        dataset_project, version_name : str, optional
            Project of the dataset, and name of the draft.
        copy, overwrite, only_new, dry_run, strict : bool
            As in `import_from`. A dry run also writes images to `folder`.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of rows that were read.
        """
        from .exchange.hf import HfDataSet
        from .exchange.importing import Into, Options, import_data_set, told

        check_flags(copy=copy, overwrite=overwrite, only_new=only_new, dry_run=dry_run, strict=strict)
        options = Options(copy, overwrite, only_new, dry_run=dry_run, strict=strict)
        with told(callback, f"importing {dataset_name}") as advance:
            into = Into(dataset_name, dataset_project, version_name)
            return import_data_set(current_session(), HfDataSet(data, folder), into, options, advance)

    @classmethod
    def import_from(
        cls,
        format: str,  # noqa: A002 - the word of the command
        path: str | os.PathLike[str],
        dataset_name: str,
        *,
        dataset_project: str | None = None,
        version_name: str | None = None,
        copy: bool = False,
        overwrite: bool = False,
        only_new: bool = False,
        prune: bool = False,
        root: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        strict: bool = False,
        callback: Callback | None = None,
    ) -> Imported:
        """Import a dataset in another format into a draft, and return what was imported and what was not (extension).

        `from_coco`, `from_voc` and the like are this method with the name of a format. A repeated import records only what
        has changed at `path`. Changes made in the draft since the last import are kept: fields, annotations, metadata
        keys and deletions. Values that are missing at `path` are kept too: stored images stay stored, and annotations
        stay if their file is missing or invalid.

        Parameters
        ----------
        format : str
            Name of the format, such as ``coco``; ``auto`` detects it.
        path : str or path
            Folder or file to import.
        dataset_name : str
            Name of the dataset, created if missing.
        dataset_project : str, optional
            Project of the dataset. By default all projects are searched.
        version_name : str, optional
            Name of the draft. By default the current draft, created if there is none.
        copy : bool
            Store the images in the blob store of the engine.
        overwrite : bool
            Replace changes made in the draft since the last import.
        only_new : bool
            Do not change frames that the draft already has.
        prune : bool
            Delete frames whose files no longer exist. Frames changed since the last import are deleted only with `overwrite`.
        root : str or path, optional
            A folder that contains `path`. Ids of new frames are derived from paths relative to it, by default relative to the
            imported folder. If another imported folder has the same relative paths, absolute paths are used, unless `root` is
            given. A moved folder is recognized by the names and sizes of its images.
        dry_run : bool
            Record nothing, and return what would be recorded.
        strict : bool
            Raise an error and record nothing if there is any problem or loss.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of images that were read.

        Raises
        ------
        UsageError
            `path` does not have this format or is not inside `root`, or `prune` is set and there are no images.
        NotFoundError
            The named version does not exist.
        PublishedError
            The version is published.
        InvalidValueError
            `strict` is set and there is a problem or loss.
        """
        from .exchange.importing import DataSet, Into, Options, import_data_set, told

        check_flags(
            copy=copy, overwrite=overwrite, only_new=only_new, prune=prune, dry_run=dry_run, strict=strict
        )
        options = Options(copy, overwrite, only_new, prune, check_root(root), dry_run, strict)
        into = Into(dataset_name, dataset_project, version_name)
        with told(callback, f"importing {dataset_name}") as advance:
            return import_data_set(current_session(), DataSet(format, path), into, options, advance)

    from_clearml = partialmethod(import_from, "clearml")
    from_coco = partialmethod(import_from, "coco")
    from_csv = partialmethod(import_from, "csv")
    from_cvat = partialmethod(import_from, "cvat")
    from_imagefolder = partialmethod(import_from, "imagefolder")
    from_labelme = partialmethod(import_from, "labelme")
    from_masks = partialmethod(import_from, "masks")
    from_parquet = partialmethod(import_from, "parquet")
    from_voc = partialmethod(import_from, "voc")
    from_webdataset = partialmethod(import_from, "webdataset")
    from_yolo = partialmethod(import_from, "yolo")

    def to_dask(
        self,
        columns: Sequence[str] | None = None,
        partition_rows: int = 100_000,
        *,
        as_of: Moment | None = None,
    ) -> dd.DataFrame:
        """Return all frames as a Dask data frame, in log order (extension). It needs the extras `arrow` and `dask`, and pandas.

        Each worker reads its partitions from the log, so workers need access to it; see the how-to on Dask. The frames are those
        of the time of the call. The columns have Arrow types. The other parameters and
        errors are those of `to_arrow`.

        Parameters
        ----------
        partition_rows : int
            Number of frames in a partition.

        Raises
        ------
        UsageError
            A library is not installed, or the log is in memory, where other processes cannot read it.
        """
        from ..arrow.partitions import dask_frame
        from ..arrow.schema import check_columns

        session, chosen = self._session.at(as_of), check_columns(columns)
        state = session.states.read(self._row_in(session).version_id)
        return dask_frame(session.log, state, log_order(state), chosen, partition_rows)

    def to_torch(
        self,
        transform: Callable[[Sample], Any] | None = None,
        *,
        iterable: bool = False,
        rank: int = 0,
        world_size: int = 1,
        as_of: Moment | None = None,
    ) -> Any:
        """Return all frames, in log order, as a dataset of torch (extension). It needs the extra `torch`.

        The frames are those of the time of the call. The parameters and errors are those of `DataView.to_torch`. Use a
        `DataView` to select frames, choose an order, and number labels.
        """
        from .views.data_view import DataView

        view = DataView(engine=self._session.at(as_of))
        view.set_versions([self])
        if iterable:
            return view.to_torch(transform, iterable=True, rank=rank, world_size=world_size)
        return view.to_torch(transform, rank=rank, world_size=world_size)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return all frames as an Arrow stream for any library that reads it, as in ``pyarrow.table(version)`` (extension)."""
        return self.to_arrow_reader().__arrow_c_stream__(requested_schema)

    def find_frames(
        self,
        *,
        source: str | os.PathLike[str] | None = None,
        label: str | None = None,
        as_of: Moment | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Generator[SingleFrame | Any, None, None]:
        """Yield the frames that match all arguments, in log order (extension).

        Parameters
        ----------
        source : str or path, optional
            Pattern of a source URI, as for `get_frames_by_source`.
        label : str, optional
            A label of one of the annotations.
        as_of : int or datetime, optional
            The position or aware datetime to read at.
        callback : callable, optional
            Called from time to time with the number of frames read and the total.

        Raises
        ------
        ValueError
            `source` is not a string or a path, or `label` is not a non-empty string.
        """
        from .finding import find_frames

        session = self._session.at(as_of)
        return find_frames(session, self._row_in(session), source, label, callback)

    @overload
    def query(
        self,
        q: Query | str,
        limit: int | None = None,
        order_by: str | None = None,
        projection: None = None,
        *,
        as_of: Moment | None = None,
    ) -> Generator[SingleFrame | Any, None, None]: ...
    @overload
    def query(
        self,
        q: Query | str,
        limit: int | None = None,
        order_by: str | None = None,
        *,
        projection: Sequence[str],
        as_of: Moment | None = None,
    ) -> Generator[dict[str, Any], None, None]: ...
    def query(
        self,
        q: Query | str,
        limit: int | None = None,
        order_by: str | None = None,
        projection: Sequence[str] | None = None,
        *,
        as_of: Moment | None = None,
    ) -> Generator[Any, None, None]:
        """Yield the frames that match a query, in log order (extension).

        An `UnknownNameWarning` names metadata that no frame of the version has, and the most similar name.

        Parameters
        ----------
        q : Query or str
            An expression such as ``F.meta.camera == "cam1"``, or Lucene text such as ``meta.camera:cam1``.
        limit : int, optional
            Maximum number of frames.
        order_by : str, optional
            A field such as ``meta.speed``, or ``-meta.speed`` for descending order. A frame with several values is sorted by
            the first of them, and frames without a value are last. Or ``"context"``, as for `get_iterator`.
        projection : sequence of str, optional
            As for `get_iterator`.
        as_of : int or datetime, optional
            The position or aware datetime to read at.

        Raises
        ------
        InvalidQueryError
            The query is wrong. The message gives the place, what was found and what is allowed.
        ValueError
            `limit` is not an integer, no frame can have one of the paths, or `order_by` is unknown.
        """
        from .querying import query_frames

        session = self._session.at(as_of)
        return query_frames(session, self._row_in(session), q, limit, order_by, projection)

    @overload
    def count(self, q: Query | str, by: None = None, *, as_of: Moment | None = None) -> int: ...
    @overload
    def count(
        self, q: Query | str, by: str, *, as_of: Moment | None = None
    ) -> list[tuple[str | int | float | bool, int]]: ...
    def count(self, q: Query | str, by: str | None = None, *, as_of: Moment | None = None) -> Any:
        """Return the number of frames that match a query (extension).

        Parameters
        ----------
        q : Query or str
            As for `query`.
        by : str, optional
            A field such as ``rois.label`` or ``meta.city``: the result is a list of its values, each with the number of
            matching frames that have it, most frequent first. A frame with several values counts for each of them.
        as_of : int or datetime, optional
            The position or aware datetime to read at.

        Raises
        ------
        InvalidQueryError
            The query is wrong, or `by` is not a field.
        """
        from .querying import count_frames

        session = self._session.at(as_of)
        return count_frames(session, self._row_in(session), q, by)

    def find_frame_id(self, prefix: str, *, deleted: bool = False, as_of: Moment | None = None) -> str:
        """Return the complete id of the only frame whose id begins with some characters (extension).

        An id that is complete already is returned as it is.

        Parameters
        ----------
        prefix : str
            First characters of the id.
        deleted : bool
            Also find frames that were deleted.
        as_of : int or datetime, optional
            The position or aware datetime to read at.

        Raises
        ------
        NotFoundError
            No frame has such an id.
        ConflictError
            Several frames have such an id. The message lists some.
        """
        from .finding import find_frame_id

        session = self._session.at(as_of)
        return find_frame_id(session, self._row_in(session), prefix, deleted=deleted)

    def __iter__(self) -> Iterator[SingleFrame | Any]:
        return self.get_iterator()

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._session.states.current(self._row().version_id).total

    def __getitem__(self, frame_id: str) -> SingleFrame | Any:
        """Return the frame with an id. Raises `NotFoundError` (a `KeyError`) if the version does not have it."""
        return FrameReader(self._session, self._row()).one(check_frame_id(frame_id))

    def __contains__(self, frame_id: object) -> bool:
        """Whether the version has a frame with this id."""
        return FrameReader(self._session, self._row()).holds(check_frame_id(frame_id))

    @overload
    def get(self, frame_id: str) -> SingleFrame | Any | None: ...
    @overload
    def get(self, frame_id: str, default: Default) -> SingleFrame | Any | Default: ...
    def get(self, frame_id: str, default: Any = None) -> Any:
        """Return the frame with an id, or `default` if the version does not have it (extension).

        Parameters
        ----------
        frame_id : str
            Id of the frame. Numbers are converted to strings.
        default : any
            Value to return if there is no such frame.
        """
        reader, key = FrameReader(self._session, self._row()), check_frame_id(frame_id)
        return reader.one(key) if reader.holds(key) else default

    def keys(self) -> KeysView[str]:
        """Return the ids of all frames, in iteration order (extension)."""
        return FrameIds(self)

    __reversed__ = None  # frames are selected by id, not by index

    def add_frames(
        self,
        frames: Iterable[SingleFrame | FrameGroup],
        warn_on_duplicate_frames: bool = False,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: str | Path | None = None,
        force_upload: bool = False,
        progress_report: int | None = 1,
        register_on_upload_failure: bool = False,
        upload_retries: int = UPLOAD_RETRIES,
        src_to_dst_mapping: Mapping[str, str] | None = None,
        unregister_on_upload_fail: bool = True,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames. A frame with an existing id replaces that frame; a frame without an id gets one in `frame.id`.

        Each frame is recorded as it was when the iterable yielded it. If an iterable yields the same object several times
        without an id, each time is a separate frame, and the object gets no id. If the iterable raises an error, the frames
        before it are recorded, and the error propagates.

        With a destination, local files (sources, previews, masks) are uploaded first. The recorded frames and the objects
        passed then refer to the uploads. Content that was uploaded to the same destination before, for any dataset, is
        linked instead of uploaded again. Files at the destination are never overwritten.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Frames, which are consumed in batches. It may be a generator.
        warn_on_duplicate_frames : bool
            Warn about ids that were already added through this object.
        batch_size : int
            Number of frames in a record batch, at most 10,000. One transaction appends eight batches, or with uploads as
            many as suit the destination. Batches of fewer than 1,000 frames are appended one by one.
        refresh_version_stats : bool
            Commit once at the end of the call.
        auto_upload_destination : str, optional
            URL to upload local files to, with the scheme ``s3``, ``gs``, ``az``, ``azure``, ``abfs``, ``http``, ``https``,
            ``file`` or ``memory``; or a folder; or ``blobs:``, the blob store of the engine. Files are named
            ``<destination>/<dataset_id>/<version_name>.<version_id>/<path relative to local_dataset_root_path>``.
        local_dataset_root_path : path, optional
            Folder that contains all local files. It is required with `auto_upload_destination`, unless this object was
            created with one. Ids derived from local sources use paths relative to it, so they are the same on every machine.
        force_upload : bool
            Upload a file under a name of its own even if the destination already has its content.
        progress_report : int, optional
            Log progress after this many frames, once they are appended. 0 or None disables it.
        register_on_upload_failure : bool
            Add frames whose upload failed, with their local URIs.
        upload_retries : int
            Number of retries of a failed upload, with exponential backoff.
        src_to_dst_mapping : dict of str to str, optional
            Destination URL by source (path or URI), instead of `auto_upload_destination`. A URL that ends in a slash is a
            folder.
        unregister_on_upload_fail : bool
            Delete frames whose upload failed, if the version has them.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of completed frames (extension).
        command_id : str, optional
            Idempotency key (extension). If the call is repeated with the same frames, it records nothing twice and
            completes what was left. The call counts as different, and raises `ConflictError`, if `force_upload` is set or if
            frames are uploaded whose upload failed the first time.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each frame that failed. All others were added. A
            `NotRecordedWarning` gives their number and the first error.

        Raises
        ------
        PublishedError
            The version is published. If a call stops early with an error, a note on the error lists earlier failures.
        UsageError
            `auto_upload_destination` and `src_to_dst_mapping` are both given, `local_dataset_root_path` is missing, or the
            destination has an unknown scheme or needs a library that is not installed.
        ConflictError
            `command_id` was used before with other frames.
        """
        from ..uploads.target import check_mapping
        from .version_writer import Progress, Upload, warn_of_failures

        check_flags(
            warn_on_duplicate_frames=warn_on_duplicate_frames,
            refresh_version_stats=refresh_version_stats,
            force_upload=force_upload,
            register_on_upload_failure=register_on_upload_failure,
            unregister_on_upload_fail=unregister_on_upload_fail,
        )
        options = Upload(
            mapping=check_mapping(src_to_dst_mapping),
            force=force_upload,
            retries=at_least(upload_retries, "upload_retries", 0),
            register_on_failure=register_on_upload_failure,
            unregister_on_failure=unregister_on_upload_fail,
        )
        upload = self._writer.upload_options(auto_upload_destination, local_dataset_root_path, options)
        failed_too = register_on_upload_failure
        with Progress(callback, progress_report, failed_too=failed_too, frames=frames) as progress:
            report = self._writer.add(
                frames,
                batch_size=batch_size,
                warn_on_duplicates=warn_on_duplicate_frames,
                root=local_dataset_root_path,
                upload=upload,
                command_id=command_id,
                on_part=progress,
                is_counted=refresh_version_stats,
            )
        self._writer.commit_report(report, wanted=refresh_version_stats)
        return warn_of_failures(report)

    def add_dicts(
        self,
        frames: Iterable[Mapping[str, Any]],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int | None = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames in wire form, as returned by `to_dict` and by `get_iterator` with a projection (extension).

        Files are never uploaded, even if this object was created with a destination; use `add_frames` for that.

        Parameters
        ----------
        frames : iterable of dict
            Dicts with any of ``id, context_id, timestamp, sources, rois, meta, num_frames``. They are not modified. The other
            parameters are described at `add_frames`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each dict that is not a valid frame. All others were added. A
            `NotRecordedWarning` gives their number and the first error.

        Raises
        ------
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        """
        from .version_writer import Progress, warn_of_failures

        check_flags(refresh_version_stats=refresh_version_stats)
        with Progress(callback, progress_report, frames=frames) as progress:
            report = self._writer.add_dicts(
                frames,
                batch_size=batch_size,
                root=local_dataset_root_path,
                command_id=command_id,
                on_part=progress,
                is_counted=refresh_version_stats,
            )
        self._writer.commit_report(report, wanted=refresh_version_stats)
        return warn_of_failures(report)

    def add_table(
        self,
        table: Any,
        columns: Mapping[str, str | None] | None = None,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int | None = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add the rows of a table as frames (extension). It needs the extra `arrow`.

        A row is recorded with the same payload and digest as the frame that `add_dicts` makes of it. Whole columns are encoded
        at once, and the table is read as a stream.

        Parameters
        ----------
        table : pyarrow.Table, RecordBatch, RecordBatchReader, pandas.DataFrame, polars.DataFrame or path
            The table: one of these, any object with ``__arrow_c_stream__``, or the path of a Parquet or CSV file.
        columns : dict of str to str or None, optional
            Field of a frame by column, such as ``{"path": "source", "camera": "meta.camera", "boxes": "rois"}``; None omits
            a column. The fields are ``id, context_id, timestamp, num_frames, group, meta, rois, sources``,
            ``meta.NAME``, ``sources.0.NAME``, and of a single source ``source, width, height, size, hash, content_type``. A
            column that is not listed is mapped to the field of its own name. ``{"boxes.box": "rois.poly"}`` maps a field of
            the structs in a column of annotations.
        local_dataset_root_path : path, optional
            Ids derived from local sources use paths relative to it. The other parameters are described at `add_frames`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each row that is not a valid frame; ``frame`` is the row as a dict,
            and ``error`` names the row and the column. All others were added. A `NotRecordedWarning` gives their number and
            the first error.

        Raises
        ------
        InvalidValueError
            `table` is not a table, or a column is not a field or has an invalid type. If the table cannot be read to its end,
            the rows before the error are recorded.
        UsageError
            The file does not exist, or the library pyarrow is not installed.
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other rows.
        """
        from ..arrow.tables import TableReader
        from .version_writer import Progress, warn_of_failures

        check_flags(refresh_version_stats=refresh_version_stats)
        with (
            TableReader(table) as reader,
            Progress(callback, progress_report, frames=reader) as progress,  # type: ignore[arg-type]
        ):
            report = self._writer.add_table(
                reader,
                columns,
                batch_size=batch_size,
                root=local_dataset_root_path,
                command_id=command_id,
                on_part=progress,
            )
        self._writer.commit_report(report, wanted=refresh_version_stats)
        return warn_of_failures(report)

    def update_frames(
        self,
        frames: Iterable[SingleFrame | FrameGroup],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        without_fields: Collection[str] | bool | None = None,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> None:
        """Replace or merge frames by id. Frames without an id or with an unknown id are created.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Frames, which are consumed in batches. The other parameters are described at `add_frames`.
        without_fields : list of str, optional
            None replaces the whole frame. Any other value merges: the fields listed are left unchanged, ``meta`` is merged
            recursively by key, and other fields are replaced. Merging cannot remove anything.

        Raises
        ------
        FramesRejected
            Some frames are invalid or their upload failed. These frames are unchanged in the version; all others were
            written.
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        """
        from .version_writer import Progress, raise_if_refused

        check_flags(refresh_version_stats=refresh_version_stats)
        with Progress(callback, frames=frames) as progress:
            report = self._writer.update(
                frames,
                batch_size=batch_size,
                without_fields=without_fields,
                upload=self._writer.upload_options(),
                command_id=command_id,
                on_part=progress,
            )
        self._writer.commit_report(report, wanted=refresh_version_stats)
        raise_if_refused(report)

    def delete_frames(
        self,
        frames: Iterable[Any],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        delete_sources: bool = False,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> SourceDeletion | None:
        """Delete frames by id, frame or dict. One warning counts the ids that the version does not have.

        Parameters
        ----------
        frames : iterable of str, SingleFrame, FrameGroup or dict
            Ids, or objects with an id. The other parameters are described at `add_frames`.
        delete_sources : bool
            Also delete the source files of the frames if no frame of an existing version refers to them, now or in a stored
            view: objects in s3, gs and azure, and blobs in ``blobs:``. All stores are queried before anything is deleted; if a
            query fails, nothing changes.

        Returns
        -------
        SourceDeletion or None
            With `delete_sources`: which sources were deleted, kept or failed. A warning reports failures.

        Raises
        ------
        FramesRejected
            Some entries have no id. All others were deleted.
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        UsageError
            `delete_sources` is set, and a source cannot be deleted because of its scheme. Nothing was deleted.
        StorageError
            `delete_sources` is set, and a store cannot be queried. Nothing was deleted.
        """
        from .version_writer import Progress, raise_if_refused

        check_flags(refresh_version_stats=refresh_version_stats, delete_sources=delete_sources)
        progress = Progress(callback)
        if delete_sources:
            report, sources = self._writer.delete_with_sources(
                frames, batch_size=batch_size, command_id=command_id, on_part=progress
            )
        else:
            sources = None
            report = self._writer.delete(
                frames, batch_size=batch_size, command_id=command_id, on_part=progress
            )
        self._writer.commit_report(report, wanted=refresh_version_stats)
        raise_if_refused(report)
        return sources

    def get_bulk_context(
        self,
        flush_threshold: int | None = None,
        log: Any = None,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: str | Path | None = None,
        allow_update: bool = False,
    ) -> BulkContext:
        """Return the bulk context of this object, which collects changes and records them together.

        A second call returns the same context, and warns if its arguments differ. Each flush uploads local files; see
        `add_frames`. The parameters are described at `BulkContext`.

        Raises
        ------
        PublishedError
            The version is published.
        UsageError
            The upload destination cannot be used; see `add_frames`.
        """
        from .bulk import BulkContext

        context = BulkContext(
            self,
            flush_threshold,
            log,
            refresh_version_stats,
            auto_upload_destination,
            local_dataset_root_path,
            allow_update,
        )
        if self._bulk is None:
            self._bulk = context
        elif not self._bulk.is_like(context):
            warn_caller("this version already has a bulk context: the new arguments are ignored", UserWarning)
        return self._bulk

    def flush(self, refresh_version_stats: bool = True) -> None:
        """Record the changes in the bulk context, if there is one.

        Parameters
        ----------
        refresh_version_stats : bool
            Commit afterwards.

        Raises
        ------
        FramesRejected
            Some frames were rejected. All others are recorded.
        PublishedError
            The version is published.
        """
        check_flags(refresh_version_stats=refresh_version_stats)
        if self._bulk is not None:
            self._bulk.finish(commit=refresh_version_stats)

    def commit_version(self, **kwargs: Any) -> dict[str, Any]:
        """Update the statistics, and record the number of changes since the last commit.

        The changes in the bulk context are recorded first.

        Parameters
        ----------
        **kwargs
            Ignored, with a warning: ClearML's method accepts any.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, ``total``, ``failed`` (always 0) and ``errors`` (always empty).

        Raises
        ------
        FramesRejected
            Some frames in the bulk context were rejected. All others are committed.
        PublishedError
            The version is published.
        """
        warn_of_ignored(**kwargs)
        if self._bulk is None:
            return self._writer.commit()
        self._bulk.record()
        counts = self._writer.commit()
        self._bulk.raise_refused()
        return counts

    def revert(self, as_of: Moment) -> Reverted:
        """Revert a draft to an earlier state, by recording the differences as ordinary changes (extension).

        Frames and metadata become what they were. Name, description and tags stay. Nothing is lost: a revert can be
        reverted. If the call is interrupted, call it again.

        Parameters
        ----------
        as_of : int or datetime
            The position or aware datetime of the state.

        Returns
        -------
        Reverted
            The numbers of frames that were added, updated and deleted, and whether the metadata was changed.

        Raises
        ------
        PublishedError
            The version is published.
        NotFoundError
            The version did not exist then.
        FramesRejected
            Some frames cannot be recorded again, because their blobs were deleted by `gc`. All others are reverted.
        """
        from .revert import revert_version

        past = self.at(as_of)
        self.flush(refresh_version_stats=False)
        self._session.writes.application.version(self._id).require_draft()
        return revert_version(self, past)

    def checkout(
        self,
        folder: str | os.PathLike[str],
        *,
        force: bool = False,
        link: bool = True,
        as_of: Moment | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Checkout:
        """Write the files of the version, sources and masks, into a folder (extension).

        A blob has the path in its URI, every other file its path below the folder that all of them have in common. Files
        that the folder has already are not written again, so an interrupted checkout resumes on the next call.

        Parameters
        ----------
        folder : str or path
            The folder, created if missing. No file is written outside of it.
        force : bool
            Replace other files of the same names. By default they are kept and reported.
        link : bool
            Make hard links to blobs and cached files where the file system allows it. They are read-only. Otherwise copy.
        as_of : int or datetime, optional
            The position or aware datetime to read at.
        callback : callable, optional
            Called with the number of files done and the total.

        Returns
        -------
        Checkout
            What was written, and the files that could not be written.

        Raises
        ------
        UsageError
            `folder` is a file.
        """
        from .checkout import check_out

        session = self._session.at(as_of)
        return check_out(session, self._row_in(session), folder, force=force, link=link, callback=callback)

    def publish_version(self) -> bool:
        """Commit pending changes and publish the version, which can then no longer be changed.

        Returns
        -------
        bool
            False if the version is already published.

        Raises
        ------
        FramesRejected
            Some frames in the bulk context were rejected. All others are recorded, and the version stays a draft.
        """
        self.flush(refresh_version_stats=False)
        return self._writer.publish()

    @overload
    def history(
        self,
        frame_id: None = None,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> Iterator[Change]: ...

    @overload
    def history(
        self,
        frame_id: str,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> list[Change]: ...

    def history(
        self,
        frame_id: str | None = None,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> list[Change] | Iterator[Change]:
        """Return the changes of a frame or of the whole version, oldest first, including inherited ones (extension).

        The changes of a frame are found by following the link from each change to the one that it replaced, so the size
        of the log does not matter. The changes of a version are streamed: first the changes of its ancestors that the
        version inherited, then its own. After a version is removed, its history is available through existing objects and
        through `Engine.history`.

        Parameters
        ----------
        frame_id : str, optional
            Id of a frame, which may be deleted. By default all changes of the version.
        actor : str, optional
            Only changes by this actor.
        since, until : int or datetime, optional
            First and last position, or datetimes with a time zone; both inclusive.
        kinds : str or iterable of str, optional
            Kinds of changes, such as ``"updated"`` or ``"published"``.
        newest_first : bool
            Return the latest change first.
        limit : int, optional
            Maximum number of changes.
        as_of : int or datetime, optional
            Read the history at a position or an aware datetime.

        Returns
        -------
        list or iterator of Change
            A list for a frame, an iterator for the whole version.

        Raises
        ------
        NotFoundError
            The version never had the frame.
        UsageError
            `since` or `until` is not a position or an aware datetime, or `limit` is not an integer of at least 0.
        InvalidValueError
            One of `kinds` is unknown.
        """
        from .history import HistoryArguments, version_history

        asked = HistoryArguments(
            actor=actor, since=since, until=until, kinds=kinds, newest_first=newest_first
        )
        return version_history(self._session.at(as_of), self._id, frame_id, asked, limit)

    def blame(self, frame_id: str, *, as_of: Moment | None = None) -> Blame:
        """Return which change set each annotation, label, field and metadata key of a frame (extension).

        Parameters
        ----------
        frame_id : str
            Id of the frame.
        as_of : int or datetime, optional
            Read the frame at a position or an aware datetime.

        Raises
        ------
        NotFoundError
            The version does not have the frame.
        """
        from .blame import blame_frame

        session = self._session.at(as_of)
        return blame_frame(session, self._row_in(session), frame_id)

    def diff(self, old: DatasetVersion) -> Diff:
        """Return the changes from another version, or from an earlier state of this one, to this version (extension).

        History that both versions share is skipped, so the cost depends only on the number of changes since then.

        Parameters
        ----------
        old : DatasetVersion
            The version to compare with, from any dataset of the same log.

        Raises
        ------
        UsageError
            `old` is not a version, or is in another log.
        """
        from .diff import diff_versions

        if not isinstance(old, DatasetVersion):
            raise UsageError(f"diff needs a DatasetVersion to compare with, not {shorten(old)}")
        return diff_versions(old._state(), self._state())

    def _state(self) -> VersionState:
        from .diff import VersionState

        return VersionState(self._session, self._id)

    def __bool__(self) -> bool:
        return True  # also without frames, although a version has a length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetVersion) and self._key() == other._key()

    def _key(self) -> tuple[str, int | None, str]:
        return self._session.url, self._session.as_of, self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self._session, self._id, self._target, self._root)

    def __repr__(self) -> str:
        from .html import version_text

        return version_text(self._session, self._id)

    def _repr_html_(self) -> str:
        from .html import version_card

        return version_card(self._session, self._id)


def _upload_target(destination: str | None, root: PathLike | None) -> UploadTarget | None:
    if destination is None:
        return None
    from ..uploads.target import check_target

    return check_target(destination, root)


def _resolve(
    target: DatasetVersion | type[DatasetVersion], selector: VersionSelector, as_of: Moment | None = None
) -> tuple[Session, VersionRow, Head | None]:
    """Return the session at `as_of`, the version, and the head of the log if it was read.

    Without a selector, an instance selects its own version.
    """
    if isinstance(target, type):
        session = current_session().at(as_of)
        return session, find_version(session, selector), None
    session = target._session.at(as_of)  # noqa: SLF001 - defined in this module
    if selector != NO_SELECTOR:
        return session, find_version(session, selector), None
    head = session.log.head()
    return session, target._row_in(session, head), head  # noqa: SLF001
