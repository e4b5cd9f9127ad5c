"""`Dataset`: a named dataset in a project, with its versions."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from ...engine.log.moments import Moment
from ...engine.times import utc
from ...engine.validation import KnownAttributes, check_flags, check_name
from ...projections.tables.catalog import DatasetRow
from ..session.current import HasSession, current_session, entered, session_of
from ..session.session import Session
from .selectors import find_dataset

if TYPE_CHECKING:
    from ..uploads.target import PathLike
    from .source_deletion import SourceDeletion
    from .version import DatasetVersion


class Dataset(KnownAttributes):
    """A dataset. Every property reads the current state.

    Get a dataset from `Dataset.create`, `Dataset.get` or `Engine.dataset`.

    Parameters
    ----------
    engine : Engine or Session
        The engine of the dataset.
    dataset_id : str
        Id of the dataset, 32 hex digits.
    """

    def __init__(self, engine: HasSession | Session, dataset_id: str) -> None:
        self._session = session_of(engine)
        self._id = dataset_id

    def at(self, moment: Moment | None) -> Dataset:
        """Return the dataset, read-only, as it was at a point in time.

        Parameters
        ----------
        moment : int, datetime or None
            A position or an aware datetime; None for the dataset itself.

        Raises
        ------
        UsageError
            The log does not have the position, or the datetime has no time zone.
        NotFoundError
            The dataset did not exist then.
        """
        if moment is None:
            return self
        session = self._session.at(moment)
        return Dataset(session, find_dataset(session, dataset_id=self._id).dataset_id)

    @classmethod
    def create(
        cls,
        dataset_name: str,
        description: str | None = None,
        tags: list[str] | None = None,
        raise_if_exists: bool = False,
        dataset_project: str | None = None,
    ) -> Dataset:
        """Create a dataset, or return the existing one; see `DatasetVersion.create_new_dataset`."""
        from .version import DatasetVersion

        return DatasetVersion.create_new_dataset(
            dataset_name, description, tags, raise_if_exists, dataset_project
        )

    @classmethod
    def get(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> Dataset:
        """Return a dataset by id or by name.

        Parameters
        ----------
        dataset_id, dataset_name : str, optional
            The dataset; exactly one is required.
        dataset_project : str, optional
            Project of the dataset. Required if several projects have a dataset of that name.
        as_of : int or datetime, optional
            Return the dataset, read-only, as it was at a position or an aware datetime (extension).

        Raises
        ------
        UsageError
            Not exactly one of `dataset_id` and `dataset_name` is given.
        NotFoundError
            There is no such dataset.
        ConflictError
            Several projects have a dataset of that name.
        """
        session = current_session().at(as_of)
        return cls(session, find_dataset(session, dataset_id, dataset_name, dataset_project).dataset_id)

    @classmethod
    def delete(
        cls,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        delete_all_versions: bool = False,
        force: bool = False,
        dataset_project: str | None = None,
        show_progress: bool = False,
        delete_sources: bool = False,
    ) -> SourceDeletion | None:
        """Remove a dataset with its versions, in one transaction. Its name can then be used again.

        The log keeps them: reads with `as_of` find the dataset as it was, without the sources that were deleted.

        Parameters
        ----------
        dataset_id, dataset_name, dataset_project
            The dataset; see `get`.
        delete_all_versions : bool
            Required if the dataset has versions.
        force : bool
            Also remove published versions.
        show_progress : bool
            Show a progress bar while the call runs.
        delete_sources : bool
            Also delete the source files of all frames, as `DatasetVersion.delete_frames` does: those to which no frame of
            another dataset refers. They are looked up in all frames of the engine.

        Returns
        -------
        SourceDeletion or None
            With `delete_sources`: which sources were deleted, kept or failed. A warning reports failures.

        Raises
        ------
        NotFoundError
            There is no such dataset.
        ConflictError
            The dataset has versions and `delete_all_versions` is not set.
        PublishedError
            A version is published and `force` is not set.
        UsageError
            `delete_sources` is set, and a source cannot be deleted because of its scheme. Nothing was removed.
        StorageError
            `delete_sources` is set, and a store cannot be queried. Nothing was removed.
        """
        from ..display.progress import bar
        from .source_deletion import SourceDeleter

        check_flags(show_progress=show_progress, delete_sources=delete_sources)
        session = current_session()
        row = find_dataset(session, dataset_id, dataset_name, dataset_project)
        sources = SourceDeleter(session) if delete_sources else None
        with bar(f"deleting {row.name}") if show_progress else nullcontext():
            session.writes.datasets.delete_dataset(
                row.dataset_id,
                delete_all_versions=delete_all_versions,
                force=force,
                condemn=None if sources is None else sources.condemn_versions,
            )
            return None if sources is None else sources.finish()

    def create_version(
        self,
        version_name: str,
        description: str | None = None,
        parent_version_ids: list[str] | None = None,
        parent_version_names: list[str] | None = None,
        raise_if_exists: bool = False,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
    ) -> DatasetVersion:
        """Create a version in this dataset; see `DatasetVersion.create_version`."""
        from .version import DatasetVersion

        with entered(self._session):
            return DatasetVersion.create_version(
                version_name,
                description,
                self._id,
                parent_version_ids=parent_version_ids,
                parent_version_names=parent_version_names,
                raise_if_exists=raise_if_exists,
                auto_upload_destination=auto_upload_destination,
                local_dataset_root_path=local_dataset_root_path,
            )

    def get_version(
        self,
        version_id: str | None = None,
        version_name: str | None = None,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        raise_on_multiple: bool = False,
        *,
        as_of: Moment | None = None,
    ) -> DatasetVersion:
        """Return a version of this dataset, by default the current one; see `DatasetVersion.get_version`."""
        from .version import DatasetVersion

        with entered(self._session):
            return DatasetVersion.get_version(
                self._id,
                version_id=version_id,
                version_name=version_name,
                auto_upload_destination=auto_upload_destination,
                local_dataset_root_path=local_dataset_root_path,
                raise_on_multiple=raise_on_multiple,
                as_of=as_of,
            )

    def get_versions(
        self, only_published: bool = False, only_draft: bool = False, *, as_of: Moment | None = None
    ) -> list[DatasetVersion]:
        """Return the versions of this dataset; see `DatasetVersion.get_versions`."""
        from .version import DatasetVersion

        with entered(self._session):
            return DatasetVersion.get_versions(
                dataset_id=self._id, only_published=only_published, only_draft=only_draft, as_of=as_of
            )

    def delete_version(
        self, version_id: str | None = None, version_name: str | None = None, force: bool = False
    ) -> None:
        """Remove a version of this dataset; see `DatasetVersion.remove_version`."""
        from .version import DatasetVersion

        with entered(self._session):
            DatasetVersion.remove_version(
                self._id, version_id=version_id, version_name=version_name, force=force
            )

    def _row(self) -> DatasetRow:
        return find_dataset(self._session, dataset_id=self._id)

    @property
    def id(self) -> str:
        """Id, 32 hex digits."""
        return self._id

    @property
    def name(self) -> str:
        """Name, unique within the project."""
        return self._row().name

    @property
    def project(self) -> str:
        """Project."""
        return self._row().project

    @property
    def description(self) -> str:
        """Free text."""
        return self._row().description

    @property
    def tags(self) -> list[str]:
        """Tags."""
        return self._row().tags

    @property
    def created(self) -> datetime:
        """UTC time of creation."""
        return utc(self._row().created_at)

    def versions(self, *, as_of: Moment | None = None) -> list[DatasetVersion]:
        """Return the versions of the dataset, most recently updated first.

        Parameters
        ----------
        as_of : int or datetime, optional
            List the versions that existed at a position or an aware datetime.
        """
        return self.get_versions(as_of=as_of)

    def rename(self, name: str) -> None:
        """Rename the dataset. The old name can then be used again.

        Parameters
        ----------
        name : str
            The new name.

        Raises
        ------
        ConflictError
            Another dataset of the project has the name.
        """
        self._session.writes.datasets.rename_dataset(self._id, name=check_name(name, "dataset name"))

    def move(self, project: str) -> None:
        """Move the dataset to another project.

        Parameters
        ----------
        project : str
            The new project.

        Raises
        ------
        ConflictError
            Another dataset of that project has the same name.
        """
        self._session.writes.datasets.rename_dataset(self._id, project=check_name(project, "dataset project"))

    def describe(self, description: str) -> None:
        """Replace the description."""
        self._session.writes.datasets.describe_dataset(self._id, description)

    def set_tags(self, tags: list[str]) -> None:
        """Replace the tags."""
        self._session.writes.datasets.tag_dataset(self._id, tags)

    def add_tags(self, tags: list[str]) -> None:
        """Add tags. Those that the dataset has already are not added again."""
        self._session.writes.datasets.retag_dataset(self._id, tags, [])

    def remove_tags(self, tags: list[str]) -> None:
        """Remove tags. Those that the dataset does not have are ignored."""
        self._session.writes.datasets.retag_dataset(self._id, [], tags)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self._key() == other._key()

    def _key(self) -> tuple[str, int | None, str]:
        return self._session.url, self._session.as_of, self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        from .html import dataset_text

        return dataset_text(self._session, self._id)

    def _repr_html_(self) -> str:
        from .html import dataset_card

        return dataset_card(self._session, self._id)
