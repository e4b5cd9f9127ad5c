"""Finds versions of catalog datasets: those of framelode and of DataChain."""

from __future__ import annotations

import inspect
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
from .records import check_version
from .resolver import ResolveContext
from .timeouts import call_with_timeout

if TYPE_CHECKING:
    from ...projections.tables.catalog import VersionRow
    from ..session.session import Session

_OURS = "framelode://"
_NUMBERED = re.compile(r"(.+?)@(?:v(\d{1,18})|v?(\d{1,9}\.\d{1,9}\.\d{1,9}))", re.DOTALL)
_INSTALL = (
    "datasets of a DataChain catalog need DataChain, which is not installed: pip install datachain; datasets of framelode are "
    "framelode://<dataset>"
)


class CatalogVersion(msgspec.Struct, frozen=True):
    """A version of a dataset: its number, starting at 1, or ``major.minor.patch``, and its time of creation."""

    version: int | str
    created_at: datetime


def name_and_version(url: str) -> tuple[str, int | str | None]:
    """Return the dataset name of a catalog URL, and the version after ``@v`` or ``@``, if any."""
    place = url.partition("://")[2] or url
    found = _NUMBERED.fullmatch(place)
    if found is None:
        return place, None
    return found[1], found[3] or int(found[2])


def find_version(url: str, record: Any, version: int | str | None, reach: ResolveContext) -> CatalogVersion:
    """Return a version of the dataset at a URL, by default the latest.

    Parameters
    ----------
    record : object or None
        The dataset object of the catalog, with `latest_version` and `get_version`. It is used instead of the catalog.
    """
    name, named = name_and_version(url)
    wanted = named if version is None else version
    if wanted is not None:
        wanted = check_version(wanted)
    if record is None and url.lower().startswith(_OURS):
        return _our_version(reach.session(), name, wanted)
    return call_with_timeout(lambda _: _recorded(name, record, wanted), shorten(url), reach.timeout)


def _our_version(session: Session, name: str, wanted: int | str | None) -> CatalogVersion:
    """Return the n-th published version. Removed versions keep their number."""
    if isinstance(wanted, str):
        raise InvalidTypeError(f"versions of framelode datasets are integers, not {shorten(wanted)}")
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


def _recorded(name: str, record: Any, wanted: int | str | None) -> CatalogVersion:
    """Return a version of a DataChain dataset."""
    record = _datachain_record(name) if record is None else record
    try:
        found = record.get_version(record.latest_version if wanted is None else _as_recorded(record, wanted))
    except Exception as error:
        raise _refused(name, wanted, error, is_missing=isinstance(error, LookupError | ValueError)) from error
    try:
        number = check_version(found.version)
    except FramelodeError as error:
        raise InvalidValueError(
            f"the catalog gives {shorten(name)} a version that cannot be pinned: {error}"
        ) from error
    if not isinstance(found.created_at, datetime):
        raise InvalidValueError(f"the catalog does not give the creation time of version {found.version}")
    return CatalogVersion(number, found.created_at)


def _refused(
    name: str, wanted: int | str | None, error: Exception, *, is_missing: bool = False
) -> FramelodeError:
    """Return the error for one of the catalog's own."""
    if is_missing or "notfound" in type(error).__name__.lower():
        which = "" if wanted is None else f" in version {wanted}"
        return NotFoundError(f"the catalog has no dataset {shorten(name)}{which}: {error}")
    return StorageError(f"the catalog of {shorten(name)} cannot be read: {error}")


def _as_recorded(record: Any, wanted: int | str) -> int | str:
    """Return a version in the form of a record: releases of DataChain have integers, or three numbers."""
    if isinstance(wanted, str) or not isinstance(record.latest_version, str):
        return wanted
    latest_of = getattr(record, "latest_major_version", None)
    return (latest_of(wanted) if latest_of else None) or f"{wanted}.0.0"


def _datachain_record(name: str) -> Any:
    try:
        from datachain.catalog import get_catalog  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    try:
        return _find(get_catalog(), name)
    except Exception as error:
        raise _refused(name, None, error) from error


def _find(catalog: Any, name: str) -> Any:
    if not hasattr(catalog, "get_full_dataset_name"):
        return catalog.get_remote_dataset(name)
    # Newer releases have names of three parts, and a local namespace beside those of the server.
    namespace, project, name = catalog.get_full_dataset_name(name)
    find = catalog.get_dataset_with_remote_fallback
    # Versions that are still being written, or failed, are not pinned.
    complete = (
        {"include_incomplete": False} if "include_incomplete" in inspect.signature(find).parameters else {}
    )
    return find(name, namespace, project, update=True, **complete)
