"""Answers queries over the frames of a version."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from ...engine.keys import U64
from ...engine.query.fields import check_query
from ...engine.query.lucene import parse_query
from ...engine.query.tree import Query
from ...engine.validation import whole
from ...projections.queries.evaluation import FrameQueries
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .reading import FrameReader


def query_frames(
    session: Session,
    version: VersionRow,
    query: Query | str,
    limit: int | None = None,
    order_by: str | None = None,
    projection: Sequence[str] | None = None,
) -> Generator[Any, None, None]:
    """Yield the frames of a version that match a query; see `DatasetVersion.query`."""
    if limit is not None:
        limit = max(whole(limit, "limit"), 0)
    return FrameReader(session, version).select(_found(session, version, query), limit, projection, order_by)


def count_frames(session: Session, version: VersionRow, query: Query | str) -> int:
    """Return the number of frames of a version that match a query."""
    return sum(map(len, _found(session, version, query)))


def _found(session: Session, version: VersionRow, query: Query | str) -> Iterator[U64]:
    checked = check_query(parse_query(query) if isinstance(query, str) else query)
    # A past session shares the columns of the present, since events never change.
    columns = session.present.shared(_columns)
    return columns.find(session.states.read(version.version_id), checked)


def _columns(session: Session) -> FrameQueries:
    return FrameQueries(session.log)
