"""Versions of datasets of a catalog: framelode's own, and DataChain's."""

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
    "datasets of a DataChain catalog need DataChain, which is not installed: pip install datachain; framelode's own are "
    "framelode://<dataset>"
)


class CatalogVersion(msgspec.Struct, frozen=True):
    """A version of a dataset: its number, from 1, and when it came into being."""

    version: int
    created_at: datetime


def name_and_version(url: str) -> tuple[str, int | None]:
    """Return the name in a URL of a catalog, and the version behind ``@v``, if any."""
    place = url.partition("://")[2] or url
    found = _NUMBERED.fullmatch(place)
    return (found[1], int(found[2])) if found else (place, None)


def check_version(version: Any) -> int | None:
    """Return the number of a version, None for the latest.

    Raises
    ------
    InvalidTypeError
        It is no whole number; also a `TypeError`.
    InvalidValueError
        It is less than 1; also a `ValueError`.
    """
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidTypeError(f"version must be a whole number, not {shorten(version)}")
    if version < 1:
        raise InvalidValueError(f"version must be 1 or more, not {shorten(version)}")
    return version


def find_version(url: str, record: Any, version: int | None, reach: ResolveContext) -> CatalogVersion:
    """Return a version of the dataset at a URL, the latest if none is named.

    Parameters
    ----------
    record : object or None
        The dataset as its catalog gives it, asked in place of the catalog: `latest_version` and `get_version`.
    """
    name, named = name_and_version(url)
    wanted = check_version(version) or check_version(named)
    if record is None and url.lower().startswith(_OURS):
        return _our_version(reach.session(), name, wanted)
    return call_with_timeout(lambda _: _recorded(name, record, wanted), shorten(url), reach.timeout)


def _our_version(session: Session, name: str, wanted: int | None) -> CatalogVersion:
    """Return the n-th published version; those that were removed since keep their number."""
    from ..hyperdatasets.selectors import find_dataset

    project, slash, dataset = name.rpartition("/")
    if not dataset or "/" in project or (slash and not project):
        raise InvalidValueError(
            f"{shorten(_OURS + name)} names no dataset: write {_OURS}[project/]dataset, a slash of a name as %2F"
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
    """Return a version of a dataset of DataChain."""
    try:
        record = _datachain_record(name) if record is None else record
        found = record.get_version(record.latest_version if wanted is None else wanted)
    except FramelodeError:
        raise
    except Exception as error:
        # The catalog has errors of its own.
        if "notfound" in type(error).__name__.lower() or isinstance(error, LookupError | ValueError):
            which = "" if wanted is None else f" in version {wanted}"
            raise NotFoundError(f"the catalog has no dataset {shorten(name)}{which}: {error}") from error
        raise StorageError(f"the catalog of {shorten(name)} cannot be read: {error}") from error
    if isinstance(found.version, bool) or not isinstance(found.version, int):
        raise InvalidValueError(
            f"the catalog calls the version of {shorten(name)} {shorten(found.version)}: only whole numbers are pinned"
        )
    if not isinstance(found.created_at, datetime):
        raise InvalidValueError(f"the catalog does not say when version {found.version} was made")
    return CatalogVersion(found.version, found.created_at)


def _datachain_record(name: str) -> Any:
    try:
        from datachain.catalog import get_catalog  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    return get_catalog().get_remote_dataset(name)
