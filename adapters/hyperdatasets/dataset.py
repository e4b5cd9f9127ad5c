"""`Dataset`: a named dataset in a project, with its versions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ...engine.log.moments import Moment
from ...engine.times import utc
from ...engine.validation import check_name
from ...projections.tables.catalog import DatasetRow
from ..session.current import HasSession, session_of
from ..session.session import Session
from .selectors import find_dataset, latest_updated

if TYPE_CHECKING:
    from .version import DatasetVersion


class Dataset:
    """A dataset. Every property reads the current state.

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
        from .version import DatasetVersion

        session = self._session.at(as_of)
        rows = latest_updated(session, find_dataset(session, dataset_id=self._id))
        return [DatasetVersion.of(session, row.version_id) for row in rows]

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
