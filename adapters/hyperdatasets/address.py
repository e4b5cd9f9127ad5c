"""Addresses: texts that name a version or a dataset.

An address is ``[project/]dataset[@version]``, or ``id:`` followed by a version id or its first digits. A ``/`` or ``@``
in a name is percent-encoded (``%2F``, ``%40``), and so is a ``%`` followed by two hex digits (``%25``).
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import quote, unquote

import msgspec

from ...engine.errors import ConflictError, NotFoundError, UsageError
from ...engine.validation import shorten
from ...projections.tables.catalog import DatasetRow, VersionRow
from ..session.current import HasSession, session_of
from ..session.session import Session
from .dataset import Dataset
from .selectors import VersionSelector, find_dataset, find_version, version_by_id
from .version import DatasetVersion

_BY_ID = "id:"
_ID_DIGITS = 32
_FORM = "write [project/]dataset[@version], or id: followed by the first digits of a version id"


class Address(msgspec.Struct, frozen=True):
    """A parsed address; `str` writes it in the form that `parse` reads.

    Attributes
    ----------
    dataset : str or None
        Name of the dataset; None if `version_id` is given.
    project : str or None
        Project of the dataset; None searches all projects.
    version : str or None
        Name of the version; None means the current version.
    version_id : str or None
        First digits of a version id, at least one.
    """

    dataset: str | None = None
    project: str | None = None
    version: str | None = None
    version_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address.

        Raises
        ------
        UsageError
            The text is not an address; the message says why.
        """
        if text.startswith(_BY_ID):
            return cls(version_id=_id_of(text))
        place, at, version = text.partition("@")
        project, slash, dataset = place.rpartition("/")
        if "@" in version or "/" in version or "/" in project:
            raise UsageError(
                f"{shorten(text)} is not an address: too many '/' or '@'; write those in a name as %2F and %40"
            )
        if not dataset or (at and not version) or (slash and not project):
            raise UsageError(f"{shorten(text)} is not an address: a name is empty; {_FORM}")
        return cls(
            dataset=_decoded(dataset, text),
            project=_decoded(project, text) if slash else None,
            version=_decoded(version, text) if at else None,
        )

    @classmethod
    def parse_dataset(cls, text: str) -> Self:
        """Parse the address of a dataset, ``[project/]dataset``; raises `UsageError` if it names a version."""
        address = cls.parse(text)
        if address.dataset is None or address.version is not None:
            raise UsageError(f"{text!r} names a version, but a dataset is required: write [project/]dataset")
        return address

    def __str__(self) -> str:
        if self.version_id is not None:
            return _BY_ID + self.version_id
        place = _encoded(self.dataset or "")
        if self.project is not None:
            place = f"{_encoded(self.project)}/{place}"
        if place.startswith(_BY_ID):
            place = place.replace(":", "%3A", 1)
        return place if self.version is None else f"{place}@{_encoded(self.version)}"


def dataset_at(engine: HasSession | Session, address: Address) -> DatasetRow:
    """Return the dataset that an address names."""
    return find_dataset(session_of(engine), dataset_name=address.dataset, dataset_project=address.project)


def version_at(engine: HasSession | Session, address: Address) -> VersionRow:
    """Return the version that an address names.

    Raises
    ------
    NotFoundError
        The dataset or version does not exist.
    ConflictError
        Several datasets or versions match; the message lists them.
    """
    if address.version_id is not None:
        return _version_with_id(session_of(engine), address.version_id)
    dataset = dataset_at(engine, address).dataset_id
    selector = VersionSelector(dataset, version_name=address.version)
    return find_version(session_of(engine), selector, raise_on_multiple=True)


def subject_at(engine: HasSession | Session, address: Address) -> Dataset | DatasetVersion:
    """Return what an address names: a version if it gives one, else the dataset."""
    if address.version is None and address.version_id is None:
        return Dataset(session_of(engine), dataset_at(engine, address).dataset_id)
    return DatasetVersion.of(session_of(engine), version_at(engine, address).version_id)


def _version_with_id(session: Session, digits: str) -> VersionRow:
    if len(digits) == _ID_DIGITS:
        return version_by_id(session, digits)
    with session.read_catalog() as connection:
        found = [row for row in session.catalog.versions(connection) if row.version_id.startswith(digits)]
    if not found:
        raise NotFoundError(f"no version has an id that begins with {digits}")
    if len(found) > 1:
        names = ", ".join(f"{row.name!r} ({row.version_id})" for row in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise ConflictError(f"{len(found)} versions have an id that begins with {digits}: {names}{more}")
    return found[0]


def _id_of(text: str) -> str:
    digits = text.removeprefix(_BY_ID)
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits):
        raise UsageError(
            f"{shorten(text)} is not an address: id: must be followed by 1 to {_ID_DIGITS} hex digits"
        )
    return digits


def _decoded(part: str, text: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shorten(text)} is not an address: its percent-encoding is not UTF-8") from error


def _encoded(name: str) -> str:
    """Percent-encode the characters that addresses reserve, and those that are not printable."""
    return "".join(quote(c, safe="") if c in "%/@" or not c.isprintable() else c for c in name)
