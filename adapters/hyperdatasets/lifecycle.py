"""Datasets and versions: create, find, publish with a snapshot, remove."""

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
    """The class methods that create and find versions."""

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

        Parameters
        ----------
        dataset_name : str
            Name, unique within the project.
        description : str, optional
            Free text; that of an existing dataset stays.
        tags : list of str, optional
            Tags.
        raise_if_exists : bool
            Refuse a name that is taken.
        dataset_project : str, optional
            The project, ``default`` if not given.

        Raises
        ------
        ValueError
            The name is taken within its project and `raise_if_exists` is set (`ConflictError`), or no name is given.
        """
        session = current_session()
        if dataset_name is None:
            raise UsageError("give dataset_name")
        dataset_id = session.writes.commands.create_dataset(
            dataset_name,
            project=dataset_project,
            description=description,
            tags=tags,
            raise_if_exists=raise_if_exists,
        )
        return Dataset(session, dataset_id)

    @classmethod
    def get_datasets(cls, tags: list[str] | None = None, *, as_of: Moment | None = None) -> list[Dataset]:
        """Return the datasets whose tags fit a filter, all without one, oldest created first.

        Parameters
        ----------
        tags : list of str, optional
            Tags, ``-tag`` or ``"__$not", "tag"`` to exclude one, ``__$all``/``__$and`` and ``__$any``/``__$or`` to open a
            group; see `TagFilter`.
        as_of : int or datetime, optional
            List those of a moment, a position or an aware datetime (ours).

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
        """Return the draft farthest from the root (ties: the newest); without drafts the version published last.

        Local files of frames that are written through the object go to `auto_upload_destination`; see
        `DatasetVersion.add_frames`.
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
        """Return a version by id or name; without either the current one. Of several with one name the newest.

        Local files of frames that are written through the object go to `auto_upload_destination`; see
        `DatasetVersion.add_frames`.

        With `as_of` (ours: a position or an aware datetime) it is looked for at that moment, and the version returned
        stays there: it can be read only.

        Raises
        ------
        UsageError
            Selectors exclude each other or none is given; or the moment is none of the log.
        NotFoundError
            There is no such dataset or version.
        ValueError
            Several versions have the name and `raise_on_multiple` is set.
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
        """Create a draft: the child of a published version, or an empty root without a parent.

        An existing draft of that name is returned instead. Local files of frames that are written through the object
        go to `auto_upload_destination`; see `DatasetVersion.add_frames`.

        Parameters
        ----------
        version_name : str
            Name.
        description : str, optional
            Free text, the `comment` of the version.
        parent_version_ids, parent_version_names : list of str, optional
            The parent, by id or by name: a list of one. A child inherits frames, metadata and mask labels.
        raise_if_exists : bool
            Refuse a name that any version of the dataset has.

        Raises
        ------
        UsageError
            The parent is a draft, there are several parents, or both ids and names are given.
        ValueError
            A published version has that name, or any version and `raise_if_exists` is set.
        """
        target = check_target(auto_upload_destination, local_dataset_root_path)
        root = check_root(local_dataset_root_path)
        session = current_session()
        dataset = find_dataset(session, dataset_id, dataset_name, dataset_project)
        parent_id = _parent_id(session, dataset, parent_version_ids, parent_version_names)

        version_id = session.writes.commands.create_version(
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
        """Publish a draft, which keeps its id, and return its new draft child; both in one append.

        Called on an instance without selectors it means that version, and what its bulk context has gathered is
        recorded first; on the class, without a version selector, the dataset's current one.

        Parameters
        ----------
        publish_name, publish_comment : str, optional
            Name and description of what is published: ``snapshot <time>`` and ``published at <time> by <actor>`` if not
            given, in ISO 8601.
        publish_metadata : dict, optional
            Its metadata; that of the draft if not given.
        child_name : str, optional
            Name of the child; the one that the draft had if not given.
        child_comment : str, optional
            Description of the child; empty if not given.
        child_metadata : dict, optional
            Metadata of the child; that of what is published if not given.

        Raises
        ------
        PublishedError
            The version is published already.
        FramesRejected
            Some frames that the bulk context had gathered were refused: all others are recorded, and nothing is published.
        ConflictError
            Another version of the dataset has one of the names, or both names are equal; nothing is published.
        ValueError
            A name is empty, or metadata is not JSON-like or has keys with ``$`` or ``.``.
        """
        session, row, _ = resolve(
            self, VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        )
        if isinstance(self, VersionBase) and row.version_id == self.version_id:
            self._settle()
        child_id = session.writes.commands.create_snapshot(
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
        """Remove a version; its history stays readable.

        Parameters
        ----------
        force : bool
            Remove a published one, too.

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
        session = current_session()
        row = find_version(
            session, VersionSelector(dataset_id, dataset_name, version_id, version_name, dataset_project)
        )
        session.writes.commands.remove_version(row.version_id, force=force)

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
        """Return the versions of a dataset, latest updated first; with `as_of` those of that moment.

        Parameters
        ----------
        only_published, only_draft : bool
            Leave the others out; one of the two.
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
        raise UsageError(f"a version has at most one parent, given in a list: {shorten(given)}")
    parents = [] if given is None else list(items(given, "the parent", "a list of one version"))
    if len(parents) > 1:
        raise UsageError(f"a version has at most one parent, given in a list: {shorten(parents)}")
    return parents
