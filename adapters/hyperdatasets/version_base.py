"""Base class of version objects: the session, the version id, and the properties of the version."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from ...engine.errors import PublishedError, UsageError
from ...engine.log.contract import Head
from ...engine.log.moments import Moment
from ...engine.times import utc
from ...engine.validation import text
from ...projections.tables.catalog import DRAFT, DatasetRow, VersionRow
from ..session.current import HasSession, current_session, session_of
from ..session.session import Session
from ..uploads.target import UploadTarget
from .api_helpers import warn_caller
from .mask_labels import MASKS_LABELS, MasksLabels, read_masks_labels, stored_masks_labels
from .selectors import NO_SELECTOR, VersionSelector, find_dataset, find_version, version_by_id
from .statistics import Statistics
from .version_writer import NotRecordedWarning, VersionWriter


class VersionBase:
    """A version of a dataset. Every property reads the current state."""

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
        version._target = target
        version._root = root
        version._writer = VersionWriter(session, version_id, root)
        return version

    _session: Session
    _id: str
    _target: UploadTarget | None
    _root: str | None
    _writer: VersionWriter

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

    def _dataset(self) -> DatasetRow:
        return find_dataset(self._session, dataset_id=self._row().dataset_id)

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
        return self._dataset().name

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
        stored = stored_masks_labels(mask_value_label_mapping)
        return self._change_metadata(self._session.writes.versions.merge_metadata, {MASKS_LABELS: stored})

    def get_masks_labels(self, *, as_of: Moment | None = None) -> dict[tuple[int, ...], tuple[str, ...]]:
        """Return the labels of mask pixel values; empty if none were set."""
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
        """
        self._session.writes.versions.rename_version(self._id, name)

    def describe(self, description: str) -> None:
        """Replace the description of a draft or a published version (extension)."""
        self._session.writes.versions.describe_version(self._id, description)

    def set_tags(self, tags: list[str]) -> None:
        """Replace the tags of a draft or a published version (extension)."""
        self._session.writes.versions.tag_version(self._id, tags)

    def _settle(self) -> None:
        """Record pending changes of this object before the version is published."""

    def __bool__(self) -> bool:
        return True  # also without frames, although a version has a length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionBase) and self._key() == other._key()

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


def resolve(
    target: VersionBase | type[VersionBase], selector: VersionSelector, as_of: Moment | None = None
) -> tuple[Session, VersionRow, Head | None]:
    """Return the session at `as_of`, the version, and the head of the log if it was read.

    Without a selector, an instance selects its own version.
    """
    if not isinstance(target, VersionBase):
        session = current_session().at(as_of)
        return session, find_version(session, selector), None
    session = target._session.at(as_of)  # noqa: SLF001 - defined in this module
    if selector != NO_SELECTOR:
        return session, find_version(session, selector), None
    head = session.log.head()
    return session, target._row_in(session, head), head  # noqa: SLF001
