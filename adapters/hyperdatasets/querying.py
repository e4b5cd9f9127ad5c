"""Answers queries over the frames of a version."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from ...engine.keys import U64
from ...engine.query.fields import check_query
from ...engine.query.lucene import parse_query
from ...engine.query.tree import Query
from ...engine.tracing import VERSION_ID, span, traced_rows
from ...engine.validation import whole
from ...projections.queries.evaluation import FrameQueries
from ...projections.queries.stored import FrameColumns
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
    found = find_positions(session, version, query)
    frames = FrameReader(session, version).select(found, limit, projection, order_by)
    return traced_rows("query", session, {VERSION_ID: version.version_id}, frames)


def count_frames(session: Session, version: VersionRow, query: Query | str) -> int:
    """Return the number of frames of a version that match a query."""
    with span("count", session, {VERSION_ID: version.version_id}) as told:
        number = sum(map(len, find_positions(session, version, query)))
        told.set({"framelode.frames.found": number})
        return number


def find_positions(session: Session, version: VersionRow, query: Query | str) -> Iterator[U64]:
    """Return the positions of the frames of a version that match a query, ascending, in arrays."""
    checked = check_query(parse_query(query) if isinstance(query, str) else query)
    # A past session shares the columns of the present, since events never change.
    columns = session.present.shared(_columns)
    return columns.find(session.states.read(version.version_id), checked)


def _columns(session: Session) -> FrameQueries:
    return FrameQueries(session.log, session.runner, session.projection(FrameColumns))
