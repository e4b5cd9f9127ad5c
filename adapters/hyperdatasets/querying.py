"""Answers queries over the frames of a version."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine.errors import InvalidQueryError
from ...engine.keys import U64
from ...engine.query.fields import check_field, check_query, is_metadata, leaves
from ...engine.query.lucene import parse_query
from ...engine.query.tree import Query, Scalar
from ...engine.tracing import VERSION_ID, span, traced_rows
from ...engine.validation import at_least, did_you_mean, shorten
from ...projections.queries.evaluation import FrameQueries
from ...projections.queries.stored import FrameColumns
from ...projections.runner import Progress
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .api_helpers import warn_caller
from .reading import BY_CONTEXT, FrameReader, up_to

if TYPE_CHECKING:
    import pyarrow as pa

_ORDERED_AT_ONCE = 1000


class UnknownNameWarning(UserWarning):
    """A query names metadata or, in a view, a label that no frame of the version has."""


def query_frames(
    session: Session,
    version: VersionRow,
    query: Query | str,
    limit: int | None = None,
    order_by: str | None = None,
    projection: Sequence[str] | None = None,
    *,
    warns: bool = True,
) -> Generator[Any, None, None]:
    """Yield the frames of a version that match a query; see `DatasetVersion.query`."""
    if limit is not None:
        limit = at_least(limit, "limit", 0)
    asked = _Asked(session, version, query, warns=warns)
    found = asked.ordered(order_by, limit) if order_by not in (None, BY_CONTEXT) else asked.found()
    frames = FrameReader(session, version).select(found, limit, projection, order_by)
    return traced_rows("query", session, {VERSION_ID: version.version_id}, frames)


def count_frames(
    session: Session, version: VersionRow, query: Query | str, by: str | None = None, *, warns: bool = True
) -> Any:
    """Return the number of frames of a version that match a query; see `DatasetVersion.count`."""
    with span("count", session, {VERSION_ID: version.version_id}) as told:
        asked = _Asked(session, version, query, warns=warns)
        if by is not None:
            return asked.counts(_field(by, "by"))
        number = sum(map(len, asked.found()))
        told.set({"framelode.frames.found": number})
        return number


def find_positions(session: Session, version: VersionRow, query: Query | str) -> Iterator[U64]:
    """Return the positions of the frames of a version that match a query, ascending, in arrays."""
    return _Asked(session, version, query, warns=False).found()


def prepare_columns(session: Session, version: VersionRow, progress: Progress) -> None:
    """Store the columns that the first query of a version would store."""
    session.present.shared(_columns).store(session.states.read(version.version_id), progress)


def matching_reader(
    session: Session, version: VersionRow, query: Query | str, limit: int | None = None
) -> pa.RecordBatchReader:
    """Return the frames of a version that match a query as a stream of batches of columns, in log order."""
    from ..arrow.reader import table_reader
    from ..arrow.schema import Columns

    found = up_to(_Asked(session, version, query).found(), limit)
    positions = np.concatenate([np.empty(0, np.uint64), *found])
    return table_reader(session.log, session.states.read(version.version_id), positions, Columns())


class _Asked:
    """A query of a version. If it warns of metadata that no frame has, then when the result is read."""

    def __init__(
        self, session: Session, version: VersionRow, query: Query | str, *, warns: bool = True
    ) -> None:
        self._warns = warns
        self._query = check_query(parse_query(query) if isinstance(query, str) else query)
        self._version = version
        # A past session shares the columns of the present, since events never change.
        self._columns = session.present.shared(_columns)
        self._state = session.states.read(version.version_id)

    def found(self) -> Iterator[U64]:
        """Return the positions of the frames, ascending, in arrays."""
        return self._warned(self._columns.find(self._state, self._query))

    def _warned(self, found: Iterator[U64]) -> Iterator[U64]:
        self._warn()
        yield from found

    def ordered(self, order_by: Any, limit: int | None) -> Iterator[U64]:
        """Return the positions of the frames in the order of a field, in arrays."""
        name = order_by.removeprefix("-") if isinstance(order_by, str) else order_by
        field = _field(name, f"order_by must be {BY_CONTEXT!r} or a field")
        if limit == 0:
            return iter(())
        self._warn(field)
        descending = name != order_by
        positions = self._columns.ordered(self._state, self._query, field, limit, descending=descending)
        starts = range(0, len(positions), _ORDERED_AT_ONCE)
        return (positions[start : start + _ORDERED_AT_ONCE] for start in starts)

    def counts(self, field: str) -> list[tuple[Scalar, int]]:
        """Return the values of a field with the number of frames that have each."""
        self._warn(field)
        return self._columns.counts(self._state, self._query, field)

    def _warn(self, *others: str) -> None:
        """Warn about metadata that no frame has."""
        if not self._warns:
            return
        asked = dict.fromkeys((*(field for field, _ in leaves(self._query)), *others))
        for field in filter(is_metadata, asked):
            paths = self._columns.paths_like(self._state, field)
            if paths is not None:
                near = did_you_mean(field, filter(is_metadata, paths))
                message = f"no frame of version {shorten(self._version.name)} has {shorten(field)}{near}"
                warn_caller(message, UnknownNameWarning)


def _field(name: Any, argument: str) -> str:
    try:
        return check_field(name)
    except InvalidQueryError as error:
        raise InvalidQueryError(f"{argument}: {error}") from None


def _columns(session: Session) -> FrameQueries:
    return FrameQueries(session.runner, session.projection(FrameColumns))
