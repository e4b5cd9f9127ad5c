"""Finds versions of catalog datasets: those of framelode and of DataChain."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from ...engine.errors import (
    FramelodeError,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
    StorageError,
    UsageError,
)
from ...engine.times import utc
from ...engine.validation import shorten
from ...projections.tables.catalog import REMOVED
from .resolver import ResolveContext
from .timeouts import call_with_timeout

if TYPE_CHECKING:
    from ...projections.tables.catalog import VersionRow
    from ..session.session import Session

_OURS = "framelode://"
_NUMBERED = re.compile(r"(.+?)@v(\d{1,18})", re.DOTALL)
_INSTALL = (
    "datasets of a DataChain catalog need DataChain, which is not installed: pip install datachain; datasets of framelode are "
    "framelode://<dataset>"
)


class CatalogVersion(msgspec.Struct, frozen=True):
    """A version of a dataset: its number, starting at 1, and its time of creation."""

    version: int
    created_at: datetime


def name_and_version(url: str) -> tuple[str, int | None]:
    """Return the dataset name of a catalog URL, and the version after ``@v``, if any."""
    place = url.partition("://")[2] or url
    found = _NUMBERED.fullmatch(place)
    return (found[1], int(found[2])) if found else (place, None)


def check_version(version: Any) -> int | None:
    """Return a version number, or None for the latest version.

    Raises
    ------
    InvalidTypeError
        It is not an integer. This is also a `TypeError`.
    InvalidValueError
        It is less than 1. This is also a `ValueError`.
    """
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidTypeError(f"version must be an integer, not {shorten(version)}")
    if version < 1:
        raise InvalidValueError(f"version must be at least 1, not {shorten(version)}")
    return version


def find_version(url: str, record: Any, version: int | None, reach: ResolveContext) -> CatalogVersion:
    """Return a version of the dataset at a URL, by default the latest.

    Parameters
    ----------
    record : object or None
        The dataset object of the catalog, with `latest_version` and `get_version`. It is used instead of the catalog.
    """
    name, named = name_and_version(url)
    wanted = check_version(version) or check_version(named)
    if record is None and url.lower().startswith(_OURS):
        return _our_version(reach.session(), name, wanted)
    return call_with_timeout(lambda _: _recorded(name, record, wanted), shorten(url), reach.timeout)


def _our_version(session: Session, name: str, wanted: int | None) -> CatalogVersion:
    """Return the n-th published version. Removed versions keep their number."""
    from ..hyperdatasets.selectors import find_dataset

    project, slash, dataset = name.rpartition("/")
    if not dataset or "/" in project or (slash and not project):
        raise InvalidValueError(
            f"{shorten(_OURS + name)} is not a dataset: write {_OURS}[project/]dataset, with %2F for a slash in a name"
        )
    row = find_dataset(
        session, dataset_name=unquote(dataset), dataset_project=unquote(project) if slash else None
    )
    with session.read_catalog() as connection:
        rows = session.catalog.versions(connection, dataset_id=row.dataset_id, removed=True)
    published = sorted((row for row in rows if row.published_position), key=_published_position)
    if not published:
        raise NotFoundError(f"dataset {row.name!r} has no published version yet")
    number = wanted or max((n for n, each in enumerate(published, 1) if each.state != REMOVED), default=0)
    if not 0 < number <= len(published) or published[number - 1].state == REMOVED:
        there = ", ".join(str(n) for n, each in enumerate(published, 1) if each.state != REMOVED) or "none"
        raise NotFoundError(
            f"dataset {row.name!r} has no published version {wanted or ''}: there are {there}"
        )
    recorded = session.log.batch_at(published[number - 1].published_position or 0).recorded_at
    return CatalogVersion(number, utc(recorded))


def _published_position(row: VersionRow) -> int:
    return row.published_position or 0


def _recorded(name: str, record: Any, wanted: int | None) -> CatalogVersion:
    """Return a version of a DataChain dataset."""
    try:
        record = _datachain_record(name) if record is None else record
        found = record.get_version(record.latest_version if wanted is None else wanted)
    except FramelodeError:
        raise
    except Exception as error:
        # The catalog raises its own errors.
        if "notfound" in type(error).__name__.lower() or isinstance(error, LookupError | ValueError):
            which = "" if wanted is None else f" in version {wanted}"
            raise NotFoundError(f"the catalog has no dataset {shorten(name)}{which}: {error}") from error
        raise StorageError(f"the catalog of {shorten(name)} cannot be read: {error}") from error
    if isinstance(found.version, bool) or not isinstance(found.version, int):
        raise InvalidValueError(
            f"the catalog gives {shorten(name)} the version {shorten(found.version)}: only integers can be pinned"
        )
    if not isinstance(found.created_at, datetime):
        raise InvalidValueError(f"the catalog does not give the creation time of version {found.version}")
    return CatalogVersion(found.version, found.created_at)


def _datachain_record(name: str) -> Any:
    try:
        from datachain.catalog import get_catalog  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    return get_catalog().get_remote_dataset(name)
