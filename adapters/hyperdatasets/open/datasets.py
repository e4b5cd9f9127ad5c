"""`HyperDataset`: a version of a dataset, in the open API."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from ....engine.errors import ConflictError, InvalidValueError, NotFoundError, UsageError
from ....engine.frames.frame_group import FrameGroup
from ....engine.frames.single_frame import SingleFrame
from ....engine.frames.source import path_or_uri
from ....engine.sources.relocation import local_uris
from ....engine.validation import check_flags, check_tags, is_series, items, refusal, shorten
from ..api_helpers import UPLOAD_RETRIES, warn_of_ignored
from ..dataset import Dataset
from ..tag_filter import TagFilter
from ..version import DatasetVersion
from ..version_writer import VersionWriter, raise_if_refused
from .classes import OpenObject
from .entries import DataEntry, entry_of
from .vector_search import VectorSearch

Listing = list[dict[str, Any]]

Errors = dict[str, dict[str, str]]

_REQUEST_MB = 100


class HyperDatasetManagement(OpenObject):
    """Finds, lists and deletes hyper-datasets; base class of `HyperDataset`."""

    _version: DatasetVersion

    @classmethod
    def get(
        cls,
        dataset_name: str | None = None,
        version_name: str | None = None,
        project_name: str | None = None,
        *,
        dataset_id: str | None = None,
        version_id: str | None = None,
    ) -> HyperDataset:
        """Return a version of a dataset.

        Parameters
        ----------
        dataset_name, dataset_id : str, optional
            The dataset, by name or by id.
        version_name, version_id : str, optional
            The version, by name or by id. By default the current version, as for `DatasetVersion.get_current`.
        project_name : str, optional
            Project of the dataset. Required if several projects have a dataset of that name.

        Raises
        ------
        UsageError
            Selectors are missing or exclude each other.
        NotFoundError
            There is no such dataset or version. It is a `ValueError`.
        """
        version = DatasetVersion.get_version(
            dataset_id, dataset_name, version_id, version_name, dataset_project=project_name
        )
        kind = cls if issubclass(cls, HyperDataset) else HyperDataset
        return kind.of(version)

    @classmethod
    def exists(
        cls,
        dataset_name: str | None = None,
        version_name: str | None = None,
        project_name: str | None = None,
        *,
        dataset_id: str | None = None,
        version_id: str | None = None,
    ) -> bool:
        """Return whether there is such a dataset, and such a version if one is given.

        The parameters are those of `get`. The version id ``*`` is any version.
        """
        try:
            if version_name is None and version_id in {None, "*"}:
                Dataset.get(dataset_id, dataset_name, project_name)
            else:
                cls.get(
                    dataset_name, version_name, project_name, dataset_id=dataset_id, version_id=version_id
                )
        except NotFoundError:
            return False
        return True

    @classmethod
    def list(
        cls,
        project_name: str | None = None,
        partial_name: str | None = None,
        tags: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        recursive_project_search: bool = True,
        include_archived: bool = True,
    ) -> Listing:
        """Return the datasets that match all arguments, oldest first.

        Parameters
        ----------
        project_name : str, optional
            Project of the datasets.
        partial_name : str, optional
            Regular expression that is found in the name.
        tags : sequence of str, optional
            Tag filter, as for `DatasetVersion.get_datasets`.
        ids : sequence of str, optional
            Ids of datasets.
        recursive_project_search : bool
            Include the projects below `project_name`, whose names continue with ``/``.
        include_archived : bool
            No effect: there are no archived datasets.

        Returns
        -------
        list of dict
            ``id, name, project, tags, system_tags, created, comment, version_count``.

        Raises
        ------
        InvalidValueError
            The tag filter or the regular expression is malformed.
        """
        check_flags(recursive_project_search=recursive_project_search, include_archived=include_archived)
        pattern = _pattern(partial_name or "")
        fits = TagFilter(list(tags or []))
        wanted = None if ids is None else set(items(ids, "ids", "a list of ids"))
        found: Listing = []
        for dataset in DatasetVersion.get_datasets():
            in_project = _is_in_project(dataset.project, project_name, recursive_project_search)
            if not in_project or (wanted is not None and dataset.id not in wanted):
                continue
            if pattern.search(dataset.name) and fits(dataset.tags):
                found.append(_described(dataset))
        return found

    @classmethod
    def delete(
        cls,
        dataset_name: str,
        version_name: str | None = None,
        project_name: str | None = None,
        *,
        force: bool = False,
    ) -> bool:
        """Delete a version, or a dataset with all its versions.

        Parameters
        ----------
        dataset_name, project_name : str
            The dataset, as for `get`.
        version_name : str, optional
            The version. By default all versions are deleted; see `Dataset.delete`.
        force : bool
            Also delete published versions.

        Returns
        -------
        bool
            False if there is no such dataset or version.

        Raises
        ------
        PublishedError
            A version is published and `force` is not set.
        ConflictError
            The version has children.
        """
        if not cls.exists(dataset_name, version_name, project_name):
            return False
        dataset = Dataset.get(dataset_name=dataset_name, dataset_project=project_name)
        if version_name is not None:
            dataset.delete_version(version_name=version_name, force=force)
        else:
            Dataset.delete(dataset.id, delete_all_versions=True, force=force)
        return True

    def commit_version(
        self,
        *,
        publish: bool = False,
        force: bool = False,
        calculate_stats: bool | None = True,
        override_stats: Any = None,
        publishing_task: str | None = None,
    ) -> dict[str, Any]:
        """Commit the version; see `DatasetVersion.commit_version`.

        Parameters
        ----------
        publish : bool
            Then publish it.
        force : bool
            No effect: there are no annotation tasks, which would prevent a commit.
        calculate_stats : bool, optional
            False is ignored with a warning: statistics are always calculated.
        override_stats, publishing_task
            Ignored, with a warning.

        Returns
        -------
        dict
            Counts of the changes since the last commit.
        """
        check_flags(publish=publish, force=force, calculate_stats=calculate_stats)
        warn_of_ignored(
            calculate_stats=None if calculate_stats or calculate_stats is None else calculate_stats,
            override_stats=override_stats,
            publishing_task=publishing_task,
        )
        counts = self._version.commit_version()
        if publish:
            self._version.publish_version()
        return counts

    def publish_version(
        self,
        *,
        force: bool = False,
        publishing_task: str | None = None,
    ) -> bool:
        """Publish the version; see `DatasetVersion.publish_version`.

        Parameters
        ----------
        force : bool
            No effect: there are no annotation tasks, which would prevent it.
        publishing_task
            Ignored, with a warning.

        Returns
        -------
        bool
            False if it is already published.
        """
        check_flags(force=force)
        warn_of_ignored(publishing_task=publishing_task)
        return self._version.publish_version()


class HyperDataset(HyperDatasetManagement):
    """A version of a dataset. A missing dataset or version is created, the version as a draft.

    Parameters
    ----------
    project_name, dataset_name : str
        The dataset. If it does not exist, it is created, with an empty draft named ``Current``.
    version_name : str
        The version. If it does not exist, it is created as a draft.
    description : str, optional
        Description of what is created.
    parent_id : str, optional
        Id of the published version whose frames a new version inherits.
    field_mappings : dict, optional
        Ignored, with a warning: vectors in metadata need no declaration.
    raise_if_exists : bool
        Raise an error if the version exists.
    **kwargs
        `parent_ids`, a list of at most one id, instead of `parent_id`.

    Raises
    ------
    ConflictError
        The version exists and `raise_if_exists` is set, or it has another parent than `parent_id`.
    UsageError
        The parent is a draft, or other keyword arguments are given.
    """

    def __init__(
        self,
        project_name: str,
        dataset_name: str,
        version_name: str,
        description: str | None = None,
        parent_id: str | None = None,
        field_mappings: Mapping[str, Any] | None = None,
        raise_if_exists: bool = False,
        **kwargs: Any,
    ) -> None:
        check_flags(raise_if_exists=raise_if_exists)
        warn_of_ignored(field_mappings=field_mappings)
        parents = _parents(parent_id, kwargs)
        dataset = Dataset.create(dataset_name, description=description, dataset_project=project_name)
        found = [version for version in dataset.versions() if version.version_name == version_name]
        if found and raise_if_exists:
            raise ConflictError(
                f"dataset {shorten(dataset_name)} has a version named {shorten(version_name)} already"
            )
        if found and parents and found[0].get_parent() not in parents:
            raise ConflictError(
                f"version {shorten(version_name)} exists and has another parent than {shorten(parents[0])}"
            )
        self._bind(found[0] if found else dataset.create_version(version_name, description, parents))

    @classmethod
    def of(cls, version: DatasetVersion) -> Self:
        """Return the hyper-dataset of a version (extension)."""
        made = object.__new__(cls)
        made._bind(version)
        return made

    def _bind(self, version: DatasetVersion) -> None:
        session = version._session  # noqa: SLF001 - the engine of the version, which may not be the current one
        self._version = version
        self._dataset = Dataset(session, version.dataset_id)
        self._writer = VersionWriter(session, version.version_id)

    @property
    def version(self) -> DatasetVersion:
        """The version (extension)."""
        return self._version

    @property
    def project_id(self) -> str | None:
        """Name of the project, which has no other id."""
        return self._dataset.project

    @property
    def dataset_id(self) -> str | None:
        """Id of the dataset, 32 hex digits."""
        return self._dataset.id

    @property
    def version_id(self) -> str | None:
        """Id of the version, 32 hex digits."""
        return self._version.version_id

    def add_data_entries(
        self,
        data_entries: DataEntry | Iterable[DataEntry],
        upload_local_files_destination: str | None = None,
        batch_size: int = 1000,
        max_workers: int | None = None,
        show_progress: bool = True,
        upload_retries: int = UPLOAD_RETRIES,
        force_upload: bool = False,
        max_request_size_mb: int | None = _REQUEST_MB,
        hash_sources: bool = False,
    ) -> Errors:
        """Add entries. An entry with an existing id replaces that entry. The version is committed at the end.

        Parameters
        ----------
        data_entries : DataEntry or iterable of DataEntry
            Entries. Without uploads, they are consumed in batches.
        upload_local_files_destination : str, optional
            Where to upload local files: see `DatasetVersion.add_frames`. Files are named by their path below the folder that
            all local files of the call share.
        batch_size, upload_retries, force_upload
            As for `DatasetVersion.add_frames`.
        max_workers
            Ignored, with a warning: the destination decides.
        show_progress : bool
            Log progress.
        max_request_size_mb
            Ignored, with a warning unless it is the default or None: there are no requests.
        hash_sources : bool
            Set the hash of local sources that are not uploaded, too.

        Returns
        -------
        dict
            ``{"upload": {id: error}, "register": {id: error}}`` for the entries that were not added. All others were.

        Raises
        ------
        PublishedError
            The version is published.
        UsageError
            An element is not a `DataEntry`, or the destination cannot be used.
        """
        check_flags(show_progress=show_progress, hash_sources=hash_sources)
        warn_of_ignored(
            max_workers=max_workers,
            max_request_size_mb=None if max_request_size_mb == _REQUEST_MB else max_request_size_mb,
        )
        errors: Errors = {"upload": {}, "register": {}}
        runs = groupby(
            (
                (upload_local_files_destination or _destination_of(entry), entry)
                for entry in map(_checked, _several(data_entries))
            ),
            itemgetter(0),
        )
        for destination, run in runs:
            entries: Iterable[DataEntry] = map(itemgetter(1), run)
            root = None
            if destination is not None:
                entries = list(entries)
                root = _common_folder(entries)
            failures = self._version.add_frames(
                _frames_of(entries, errors["register"], hash_sources=hash_sources),
                batch_size=batch_size,
                refresh_version_stats=False,
                auto_upload_destination=destination,
                local_dataset_root_path=root,
                force_upload=force_upload,
                progress_report=1 if show_progress else None,
                upload_retries=upload_retries,
            )
            for failure in failures:
                kind = "upload" if failure["error_type"] == "upload" else "register"
                errors[kind][failure["frame"].id] = failure["error"]
        self._writer.commit_written()
        return errors

    def delete_data_entries(
        self,
        data_entries: DataEntry | str | Iterable[DataEntry | str],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        force: bool = False,
    ) -> int:
        """Delete entries.

        Parameters
        ----------
        data_entries : DataEntry, str, or iterable of them
            Entries or their ids. One warning counts the ids that the version does not have.
        batch_size, refresh_version_stats
            As for `DatasetVersion.delete_frames`.
        force : bool
            No effect: there are no annotation tasks, which would prevent it.

        Returns
        -------
        int
            Number of entries deleted.

        Raises
        ------
        PublishedError
            The version is published.
        FramesRejected
            Some elements are no entries and no ids. All others were deleted.
        """
        check_flags(refresh_version_stats=refresh_version_stats, force=force)
        report = self._writer.delete(_several(data_entries), batch_size=batch_size)
        self._writer.commit_report(report, wanted=refresh_version_stats)
        raise_if_refused(report)
        return report.deleted

    def set_metadata(self, metadata: dict[str, Any]) -> bool:
        """Replace the metadata of the version; see `DatasetVersion.set_metadata`."""
        return self._version.set_metadata(metadata)

    def get_metadata(self) -> dict[str, Any]:
        """Return the metadata of the version."""
        return self._version.get_metadata()

    def get_iterator(
        self,
        projection: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> Iterator[DataEntry]:
        """Return an iterator over the entries, in the order of their last changes.

        Parameters
        ----------
        projection : sequence of str, optional
            Fields to read, as for `DatasetVersion.get_iterator`. The entries have these fields and their names only.
        batch_size : int, optional
            Ignored, with a warning: there are no requests.
        """
        warn_of_ignored(batch_size=batch_size)
        if projection is None:
            return map(entry_of, self._version.get_iterator())
        paths = [*items(projection, "projection", "a list of dot paths"), "id", "sources.*.id"]
        return map(DataEntry.from_api_object, self._version.get_iterator(paths))

    def vector_search(
        self,
        reference_vector: Sequence[float],
        vector_field: str,
        number_of_neighbors: int = 50,
        fast: bool = False,
        similarity_function: str = "cosine",
    ) -> list[DataEntry]:
        """Return the entries with the vectors that are most similar to a given one, the best first.

        All vectors of the version are read and compared, in memory that does not grow with the version.

        Parameters
        ----------
        reference_vector : sequence of float
            The vector to compare with. Stored vectors need the same length.
        vector_field : str
            Key, or dotted path, of the vectors in the metadata, such as `DataEntry.set_vector` stored them. It may begin
            with ``meta.``. Entries without it are skipped.
        number_of_neighbors : int
            Number of entries returned at most.
        fast : bool
            The search is exact in both cases; True is allowed with ``cosine`` only.
        similarity_function : str
            ``cosine``, ``l2_norm`` or ``dot_product``.

        Raises
        ------
        InvalidTypeError
            The vector, the field or the similarity has the wrong type.
        InvalidValueError
            A value is not allowed, or a stored vector has another length.
        """
        search = VectorSearch(
            reference_vector, vector_field, number_of_neighbors, similarity_function, fast=fast
        )
        return [entry_of(frame) for frame in search.nearest(self._version.get_iterator())]

    @property
    def tags(self) -> list[str]:
        """Tags of the dataset. A string of tags is split at spaces."""
        return self.get_tags()

    @tags.setter
    def tags(self, tags: str | Iterable[str] | None) -> None:
        self.set_tags(tags or [])

    def get_tags(self, reload: bool = False) -> list[str]:
        """Return the tags of the dataset. They are always read anew, so `reload` has no effect."""
        check_flags(reload=reload)
        return self._dataset.tags

    def add_tags(self, tags: str | Iterable[str]) -> None:
        """Add tags to the dataset. A string of tags is split at spaces."""
        self._dataset.add_tags(_tag_list(tags))

    def remove_tags(self, tags: str | Iterable[str]) -> None:
        """Remove tags from the dataset. A string of tags is split at spaces."""
        self._dataset.remove_tags(_tag_list(tags))

    def set_tags(self, tags: str | Iterable[str]) -> None:
        """Replace the tags of the dataset. A string of tags is split at spaces."""
        self._dataset.set_tags(_tag_list(tags))

    def create_snapshot(self) -> Self:
        """Publish the version under a name with the time, and go on with a new draft of the old name.

        Returns
        -------
        HyperDataset
            The published version. This object is the new draft from now on.

        Raises
        ------
        PublishedError
            The version is already published.
        """
        published = self._version
        self._bind(published.create_snapshot())
        return type(self).of(published)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._version!r})"


def _parents(parent_id: str | None, options: dict[str, Any]) -> list[str]:
    parents = [*items(options.pop("parent_ids", None) or (), "parent_ids", "a list of one id")]
    if options:
        raise UsageError(f"HyperDataset has no parameter {', '.join(options)}")
    if parent_id is not None and parents not in ([], [parent_id]):
        raise UsageError("parent_id and parent_ids exclude each other: pass one of them")
    return parents if parent_id is None else [parent_id]


def _pattern(text: object) -> re.Pattern[str]:
    if not isinstance(text, str):
        raise refusal("partial_name", text, "a string")
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidValueError(
            f"partial_name {shorten(text)} is not a regular expression: {error}"
        ) from error


def _is_in_project(project: str, wanted: str | None, recursive: bool) -> bool:
    if wanted is None:
        return True
    wanted = wanted.rstrip("/")
    return project == wanted or (recursive and project.startswith(f"{wanted}/"))


def _described(dataset: Dataset) -> dict[str, Any]:
    return {
        "id": dataset.id,
        "name": dataset.name,
        "project": dataset.project,
        "tags": dataset.tags,
        "system_tags": [],
        "created": dataset.created.isoformat(),
        "comment": dataset.description,
        "version_count": len(dataset.versions()),
    }


def _tag_list(tags: str | Iterable[str]) -> list[str]:
    return check_tags(tags.split() if isinstance(tags, str) else tags)


def _several(entries: Any) -> Iterable[Any]:
    """Return what was given as an iterable; one entry or id is a list of its own."""
    if isinstance(entries, DataEntry | str):
        return [entries]
    if not is_series(entries):
        raise UsageError(f"data_entries must be a list of DataEntry, not {shorten(entries)}")
    return entries


def _checked(entry: object) -> DataEntry:
    if not isinstance(entry, DataEntry):
        raise UsageError(f"data_entries must be a list of DataEntry, not of {shorten(entry)}")
    return entry


def _destination_of(entry: DataEntry) -> str | None:
    destinations = list(dict.fromkeys(filter(None, (sub.upload_destination for sub in entry))))
    if len(destinations) > 1:
        raise UsageError(
            f"entry {entry.id!r} has sub-entries with several upload destinations: {', '.join(destinations)}; set the same one"
        )
    return destinations[0] if destinations else None


def _common_folder(entries: Iterable[DataEntry]) -> str:
    """Return the deepest folder that contains all local files of entries."""
    uris = {uri for entry in entries for sub_entry in entry for uri in local_uris(sub_entry.frame)}
    folders = {str(Path(path_or_uri(uri) or "/").parent) for uri in uris}
    return os.path.commonpath(folders) if folders else "/"


def _frames_of(
    entries: Iterable[DataEntry], errors: dict[str, str], *, hash_sources: bool
) -> Iterator[SingleFrame | FrameGroup]:
    """Yield the frames of entries. What cannot be a frame is reported in `errors`."""
    for entry in entries:
        try:
            if hash_sources:
                for sub_entry in entry:
                    sub_entry.hash_source()
            frame = entry.to_frame()
        except InvalidValueError as error:
            errors[entry.id] = str(error)
        else:
            yield frame
