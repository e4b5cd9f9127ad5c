"""One query over several versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from ...engine.errors import NotFoundError
from ...engine.keys import is_plain_id
from ...engine.query.fields import check_query
from ...engine.query.lucene import parse_query
from ...engine.query.matching import Pattern
from ...engine.query.tree import Query
from ...engine.validation import at_least, did_you_mean, is_series, shorten
from ...projections.tables.catalog import VersionRow
from ..hyperdatasets.address import Address, version_at
from ..hyperdatasets.querying import count_frames, query_frames
from ..hyperdatasets.version import DatasetVersion
from ..session.session import Session

_WILD = frozenset("*?")


class Hit(NamedTuple):
    """A frame that matches a query.

    Attributes
    ----------
    version : DatasetVersion
        The version in which it was found.
    frame : SingleFrame, FrameGroup or dict
        The frame, or its selected fields.
    """

    version: DatasetVersion
    frame: Any


def query_versions(
    session: Session,
    query: Query | str,
    versions: Any,
    limit: int | None,
    order_by: str | None,
    projection: Sequence[str] | None,
) -> Iterator[Hit]:
    """Return the frames of several versions that match a query; see `Engine.query`."""
    left = None if limit is None else at_least(limit, "limit", 0)
    checked = check_query(parse_query(query) if isinstance(query, str) else query)
    rows = select_versions(session, versions)
    # The arguments are checked now, and not when the first frame is read.
    first = [query_frames(session, row, checked, 0, order_by, projection, warns=False) for row in rows[:1]]
    return _hits(session, rows, checked, left, order_by, projection) if first else iter(())


def _hits(
    session: Session,
    rows: list[VersionRow],
    query: Query,
    left: int | None,
    order_by: str | None,
    projection: Sequence[str] | None,
) -> Iterator[Hit]:
    for row in rows:
        if left == 0:
            return
        version = DatasetVersion.of(session, row.version_id)
        for frame in query_frames(session, row, query, left, order_by, projection, warns=False):
            yield Hit(version, frame)
            left = None if left is None else left - 1


def count_versions(session: Session, query: Query | str, versions: Any) -> int:
    """Return the number of frames of several versions that match a query; see `Engine.count`."""
    checked = check_query(parse_query(query) if isinstance(query, str) else query)
    return sum(count_frames(session, row, checked, warns=False) for row in select_versions(session, versions))


def select_versions(session: Session, versions: Any) -> list[VersionRow]:
    """Return versions by addresses, which may have the wildcards ``*`` and ``?``, by ids, or as objects.

    Each comes once, in the order in which it is named; those of one pattern by project, dataset and age.

    Raises
    ------
    NotFoundError
        An address or a pattern names no version.
    """
    several = is_series(versions) and not isinstance(versions, DatasetVersion)
    given = list(versions) if several else [versions]
    found: dict[str, VersionRow] = {}
    for each in given:
        for row in _named(session, each):
            found.setdefault(row.version_id, row)
    return list(found.values())


def _named(session: Session, given: Any) -> list[VersionRow]:
    if isinstance(given, DatasetVersion):
        return [version_at(session, Address(version_id=given.version_id))]
    if not isinstance(given, str):
        raise NotFoundError(f"a version is named by an address such as 'food@v1', not {shorten(given)}")
    address = Address.parse(f"id:{given}" if is_plain_id(given) else given)
    if address.version_id is not None or _WILD.isdisjoint(given):
        return [version_at(session, address)]
    return _matching(session, address, given)


def _matching(session: Session, address: Address, given: str) -> list[VersionRow]:
    """Return the versions that a pattern names; without a version in it, the current one of each dataset."""
    of_dataset, of_project = _form(address.dataset), _form(address.project)
    with session.read_catalog() as connection:
        datasets = session.catalog.datasets(connection)
        chosen = [row for row in datasets if of_dataset(row.name) and of_project(row.project)]
        found: list[VersionRow] = []
        for dataset in sorted(chosen, key=attrgetter("project", "name")):
            if address.version is None:
                current = session.catalog.current(connection, dataset.dataset_id)
                found += [] if current is None else [current]
            else:
                fits = _form(address.version)
                rows = session.catalog.versions(connection, dataset_id=dataset.dataset_id)
                found += (row for row in reversed(rows) if fits(row.name))
    if not found:
        hint = did_you_mean(address.dataset or "", (row.name for row in datasets))
        raise NotFoundError(f"no version is named like {shorten(given)}{session.when}{hint}")
    return found


def _form(pattern: str | None) -> Callable[[str], bool]:
    return Pattern("*" if pattern is None else pattern)
