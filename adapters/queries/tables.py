"""The tables of SQL: their columns with types, and their rows as streams of batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from ...engine.iterables import chunked
from ...engine.keys import U64
from ...engine.times import utc
from ...projections.states.fold import State
from ...projections.states.raw import RawEvents
from ...projections.tables.catalog import VersionRow
from ..arrow import pa
from ..arrow.decoder import columns_of
from ..arrow.fields import GROUP, META
from ..arrow.pieces import pc
from ..arrow.reader import decoded
from ..arrow.schema import ROI_TYPES, SOURCE_TYPES, TYPES, Columns
from ..hyperdatasets.address import Address
from ..hyperdatasets.diff import FrameDiffs, VersionState, diff_versions
from ..hyperdatasets.history import HistoryArguments, engine_history
from ..hyperdatasets.querying import find_positions
from ..hyperdatasets.reading import log_order
from ..session.session import Session

_ROWS_AT_ONCE = 2048
_POSITIONS_AT_ONCE = 1 << 16
_JSON = {b"ARROW:extension:name": b"arrow.json", b"ARROW:extension:metadata": b""}

_TEXT, _WHOLE, _TEXTS, _TIME = pa.string(), pa.int64(), pa.list_(pa.string()), pa.timestamp("us", "UTC")

POSITION, FRAME_ID, NUMBER = "position", "frame_id", "number"


def _field(name: str, kind: pa.DataType | None) -> pa.Field:
    """Return a column. Without a type it is text of JSON, which SQL has a type for."""
    return pa.field(name, _TEXT, metadata=_JSON) if kind is None else pa.field(name, kind)


def _typed(name: str, kind: pa.DataType) -> pa.Field:
    """Return a column or a field of the wire form, of which the metadata is JSON at every depth."""
    if name == META:
        return _field(name, None)
    if pa.types.is_list(kind):
        return pa.field(name, pa.list_(_typed("item", kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.field(name, pa.struct([_typed(each.name, each.type) for each in kind]))
    return pa.field(name, kind)


_WIRE_NAMES: dict[str, str] = {"is_group": GROUP}
"""Columns whose name in the wire form is a word of SQL."""

_FRAME_COLUMNS = ("id", "context_id", "timestamp", "num_frames", "is_group", META, "sources", "rois")

FRAMES = pa.schema(
    [
        *(_typed(name, TYPES[_WIRE_NAMES.get(name, name)]) for name in _FRAME_COLUMNS),
        _field(POSITION, _WHOLE),
    ]
)
"""One row for each frame of a version. `position` is that of its last change in the log."""


def _of_items(types: dict[str, pa.DataType]) -> pa.Schema:
    items = (_typed(name, kind) for name, kind in types.items())
    return pa.schema([_field(FRAME_ID, _TEXT), _field(NUMBER, _WHOLE), *items])


ANNOTATIONS = _of_items(ROI_TYPES)
"""One row for each annotation of the frames of a version. `number` is its place in the frame, from 0."""

SOURCES = _of_items(SOURCE_TYPES)
"""One row for each source of the frames of a version. `number` is its place in the frame, from 0."""

CHANGES = pa.schema(
    [
        *(_field(FRAME_ID, _TEXT), _field("change", _TEXT), _field("fields", _TEXTS)),
        *(_field("before", None), _field("after", None)),
    ]
)
"""One row for each frame that differs between two versions."""

VERSIONS = pa.schema(
    [
        *(
            _field(name, _TEXT)
            for name in ("address", "version_id", "name", "dataset_id", "dataset", "project")
        ),
        *(_field("state", _TEXT), _field("parent_id", _TEXT), _field("depth", _WHOLE)),
        *(_field("description", _TEXT), _field("tags", _TEXTS), _field("metadata", None)),
        *(_field("created_at", _TIME), _field("created_position", _WHOLE)),
        *(_field("updated_at", _TIME), _field("updated_position", _WHOLE)),
        *(_field("published_position", _WHOLE), _field("fingerprint", _TEXT), _field("frames", _WHOLE)),
    ]
)
"""One row for each version of each dataset, oldest first."""

LOG = pa.schema(
    [
        *(
            _field(POSITION, _WHOLE),
            _field("recorded_at", _TIME),
            _field("actor", _TEXT),
            _field("context", None),
        ),
        *(_field(name, _TEXT) for name in ("subject", "kind", "dataset_id", "version_id", FRAME_ID)),
        *(_field("fields", _TEXTS), _field("before", None), _field("after", None)),
    ]
)
"""One row for each recorded change, oldest first."""


class Table(msgspec.Struct, frozen=True):
    """The rows of a table at one moment, which can be read several times.

    Attributes
    ----------
    schema : pyarrow.Schema
        All columns.
    read : callable
        Returns the batches of some columns, in order.
    """

    schema: pa.Schema
    read: Callable[[pa.Schema], Iterator[pa.RecordBatch]]


def version_table(session: Session, version: VersionRow, query: str | None, schema: pa.Schema) -> Table:
    """Return the frames of a version, or of those the annotations or sources.

    Parameters
    ----------
    session : Session
        The engine, at some moment.
    version : VersionRow
        The version.
    query : str, optional
        Lucene text. Only the frames that match it.
    schema : pyarrow.Schema
        One of `FRAMES`, `ANNOTATIONS` and `SOURCES`.
    """
    state = session.states.read(version.version_id)
    if query is None:
        positions = log_order(state)
    else:
        found = find_positions(session, version, query)
        positions = np.concatenate([np.empty(0, np.uint64), *found])
    read = _frames if schema is FRAMES else _annotations if schema is ANNOTATIONS else _sources

    def batches(asked: pa.Schema) -> Iterator[pa.RecordBatch]:
        return read(session, state, positions, asked)

    return Table(schema, batches)


def _frames(session: Session, state: State, positions: U64, asked: pa.Schema) -> Iterator[pa.RecordBatch]:
    names = [_WIRE_NAMES.get(name, name) for name in map(str, asked.names)]
    wanted = tuple(name for name in names if name != POSITION)
    if not wanted:
        for start in range(0, len(positions), _POSITIONS_AT_ONCE):
            some = positions[start : start + _POSITIONS_AT_ONCE].astype(np.int64)
            yield pa.RecordBatch.from_arrays([pa.array(some)], schema=asked)
        return

    def read(events: RawEvents) -> pa.RecordBatch:
        found = columns_of(events, Columns(wanted))
        arrays = [pa.array(events.positions) if name == POSITION else found.column(name) for name in names]
        return pa.RecordBatch.from_arrays(arrays, schema=asked)

    yield from decoded(session.log, state.batches, positions, read)


def _annotations(
    session: Session, state: State, positions: U64, asked: pa.Schema
) -> Iterator[pa.RecordBatch]:
    # Every annotation has a type, which costs least.
    fields = tuple(name for name in ROI_TYPES if name in asked.names) or ("type",)
    return _items(session, state, positions, asked, Columns(("id", "rois"), roi=fields))


def _sources(session: Session, state: State, positions: U64, asked: pa.Schema) -> Iterator[pa.RecordBatch]:
    fields = tuple(name for name in SOURCE_TYPES if name in asked.names) or ("id",)
    return _items(session, state, positions, asked, Columns(("id", "sources"), source=fields))


def _items(
    session: Session, state: State, positions: U64, asked: pa.Schema, columns: Columns
) -> Iterator[pa.RecordBatch]:
    """Yield the items of a column of lists, each with its frame and its place there."""

    def read(events: RawEvents) -> pa.RecordBatch:
        ids, lists = columns_of(events, columns).columns
        items, owners = lists.flatten(), pc.list_parent_indices(lists)
        arrays: dict[str, pa.Array] = {}
        if FRAME_ID in asked.names:
            arrays[FRAME_ID] = ids.take(owners)
        if NUMBER in asked.names:
            rows = owners.to_numpy()
            first = np.searchsorted(rows, rows)
            arrays[NUMBER] = pa.array(np.arange(len(rows)) - first)
        names = [field.name for field in items.type]
        arrays |= zip(names, items.flatten(), strict=True)
        return pa.RecordBatch.from_arrays([arrays[name] for name in asked.names], schema=asked)

    return decoded(session.log, state.batches, positions, read)


def changes_table(session: Session, old: VersionRow, new: VersionRow) -> Table:
    """Return the frames that were added, removed or changed from one version to another."""
    found = diff_versions(VersionState(session, old.version_id), VersionState(session, new.version_id))
    parts = {"added": found.added, "removed": found.removed, "changed": found.changed}

    def batches(asked: pa.Schema) -> Iterator[pa.RecordBatch]:
        return _batches(asked, _changed(parts, {"fields", "before", "after"}.intersection(asked.names)))

    return Table(CHANGES, batches)


def _changed(parts: dict[str, FrameDiffs], opened: Collection[str]) -> Iterator[dict[str, Any]]:
    for change, frames in parts.items():
        if not opened:
            yield from ({FRAME_ID: frame_id, "change": change} for frame_id in frames.ids)
            continue
        for each in frames:
            yield {FRAME_ID: each.frame_id, "change": change} | {name: getattr(each, name) for name in opened}


def versions_table(session: Session) -> Table:
    """Return all versions."""
    with session.read_catalog() as connection:
        rows = session.catalog.versions(connection)[::-1]
        datasets = {row.dataset_id: row for row in session.catalog.datasets(connection)}
    totals = session.version_totals()

    def listed() -> Iterator[dict[str, Any]]:
        for row in rows:
            dataset = datasets[row.dataset_id]
            yield msgspec.structs.asdict(row) | {
                "address": str(Address(dataset.name, dataset.project, row.name)),
                "dataset": dataset.name,
                "project": dataset.project,
                "created_at": utc(row.created_at),
                "updated_at": utc(row.updated_at),
                "frames": totals.get(row.version_id, 0),
            }

    return Table(VERSIONS, lambda asked: _batches(asked, listed()))


def log_table(session: Session) -> Table:
    """Return the changes up to the end of the log as it is now."""
    until = session.log.head().position

    def batches(asked: pa.Schema) -> Iterator[pa.RecordBatch]:
        changes = engine_history(session, HistoryArguments(until=until), None)
        names = {name: "at" if name == "recorded_at" else name for name in asked.names}
        rows = ({name: getattr(change, own) for name, own in names.items()} for change in changes)
        return _batches(asked, rows)

    return Table(LOG, batches)


def _batches(asked: pa.Schema, rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Yield rows as batches of the columns that are asked for."""
    for some in chunked(rows, _ROWS_AT_ONCE):
        arrays = [_array(field, [row.get(field.name) for row in some]) for field in asked]
        yield pa.RecordBatch.from_arrays(arrays, schema=asked)


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    if field.metadata == _JSON:
        values = [None if value is None else msgspec.json.encode(value).decode() for value in values]
    return pa.array(values, field.type)
