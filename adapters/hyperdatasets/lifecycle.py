"""Creates, finds, publishes and removes datasets and versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from ...engine.errors import UsageError
from ...engine.log.moments import Moment
from ...engine.validation import items, shorten, text
from ...engine.writes.encoder import check_root
from ...projections.tables.catalog import DRAFT, PUBLISHED, DatasetRow
from ..session.current import current_session
from ..session.session import Session
from ..uploads.target import PathLike, check_target
from .api_helpers import instance_or_class
from .dataset import Dataset
from .selectors import VersionSelector, exclusive, find_dataset, find_version, latest_updated
from .tag_filter import TagFilter
from .version_base import VersionBase, resolve

if TYPE_CHECKING:
    from .version import DatasetVersion


class VersionLifecycle(VersionBase):
    """The class methods that create, find, publish and remove versions."""

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
        session = current_session().at(as_of)
        fits = TagFilter([] if tags is None else tags)
        with session.read_catalog() as connection:
            rows = session.catalog.datasets(connection)
        return [Dataset(session, row.dataset_id) for row in rows if fits(row.tags)]

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
        target = check_target(auto_upload_destination, local_dataset_root_path)
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
        target = check_target(auto_upload_destination, local_dataset_root_path)
        root = check_root(local_dataset_root_path)
        session = current_session()
        dataset = find_dataset(session, dataset_id, dataset_name, dataset_project)
        parent_id = _parent_id(session, dataset, parent_version_ids, parent_version_names)

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
        self: VersionBase | type[VersionBase],
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
        session, row, _ = resolve(
            self, VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        )
        if isinstance(self, VersionBase) and row.version_id == self.version_id:
            self._settle()
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
        kind = self if isinstance(self, type) else type(self)
        return cast("DatasetVersion", kind.of(session, child_id))

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
        exclusive(only_published=only_published, only_draft=only_draft)
        session = current_session().at(as_of)
        dataset = find_dataset(session, dataset_id, dataset_name, dataset_project)
        state = PUBLISHED if only_published else DRAFT if only_draft else None
        return [cls.of(session, row.version_id) for row in latest_updated(session, dataset, state)]


def _parent_id(
    session: Session, dataset: DatasetRow, ids: list[str] | None, names: list[str] | None
) -> str | None:
    by_id, by_name = _parents(ids), _parents(names)
    exclusive(parent_version_ids=by_id or None, parent_version_names=by_name or None)
    if not (by_id or by_name):
        return None
    parent = text((by_id or by_name)[0], "the parent")
    version_id, version_name = (parent, None) if by_id else (None, parent)
    selector = VersionSelector(dataset.dataset_id, version_id=version_id, version_name=version_name)
    return find_version(session, selector).version_id


def _parents(given: list[str] | None) -> list[Any]:
    if isinstance(given, str):
        raise UsageError(f"a version has at most one parent: pass a list of one, not {shorten(given)}")
    parents = [] if given is None else list(items(given, "the parent", "a list of one version"))
    if len(parents) > 1:
        raise UsageError(f"a version has at most one parent: pass a list of one, not {shorten(parents)}")
    return parents
