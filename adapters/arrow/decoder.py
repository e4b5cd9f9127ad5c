"""Encoded events of frames to columns: those that are alike side by side, the others one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...engine.frames.frame_group import FrameGroup, wrap
from ...engine.frames.single_frame import decode_record
from ...engine.keys import KEY_SIZE
from ...engine.log.decoding import gc_paused
from ...engine.log.frame_batch import decode_change
from ...engine.log.shred import (
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    WHOLE,
    Copied,
    Field,
    Irregular,
    Places,
    Spans,
    field,
)
from ...projections.states.raw import RawEvents
from .fields import GROUP, META, SOURCE
from .json_text import ObjectReader, json_texts
from .pieces import binary, pc
from .schema import ROI_TYPES, SOURCE_TYPES, Columns
from .shred import ArrowShredder

_TRIES = 4
"""So often records are taken out that are not like the others."""

_NIL = 0xC0

_DAMAGED = (pa.ArrowException, msgspec.MsgspecError, UnicodeError, IndexError, RecursionError)
"""What is raised for text that is no UTF-8, records that are cut off, and the like."""

_DEFAULTS: dict[str, Any] = {"id": "default", "timestamp": 0}
"""What the wire form of a source always has."""


def columns_of(events: RawEvents, columns: Columns) -> pa.RecordBatch:
    """Return the frames of some events as columns, in order."""
    rows = np.arange(len(events))
    alone: list[Places] = []
    found: pa.RecordBatch | None = None
    for _ in range(_TRIES):
        try:
            found = _together(events, rows, columns)
            break
        except Irregular as irregular:
            alone.append(rows[irregular.rows])
            rows = np.delete(rows, irregular.rows)
        except _DAMAGED:
            # Some record is no canonical one; which, and why, is found one by one.
            break
    if found is None:
        alone.append(rows)
    if not alone:
        return found  # type: ignore[return-value]
    others = np.sort(np.concatenate(alone))
    return _in_order(found, rows, one_by_one(events, others.tolist(), columns), others)


def _in_order(
    found: pa.RecordBatch | None, rows: Places, others: pa.RecordBatch, other_rows: Places
) -> pa.RecordBatch:
    if found is None or not len(rows):
        return others
    order = np.argsort(np.concatenate((rows, other_rows)))
    (whole,) = pa.Table.from_batches([found, others]).combine_chunks().take(pa.array(order)).to_batches()
    return whole


def one_by_one(events: RawEvents, rows: Sequence[int], columns: Columns) -> pa.RecordBatch:
    """Return the frames of some events as columns, each by way of an object."""
    wires: list[dict[str, Any]] = []
    with gc_paused():
        for row in rows:
            position = int(events.positions[row])
            change = decode_change(events.event(row), position)
            frame = wrap(decode_record(change.payload, position))
            frame.id = change.id or events.keys[row * KEY_SIZE : (row + 1) * KEY_SIZE].hex()
            wires.append(row_of(frame, columns))
    return pa.RecordBatch.from_pylist(wires, columns.schema)


def row_of(frame: Any, columns: Columns) -> dict[str, Any]:
    """Return a frame as a row, which has metadata as text."""
    wire = frame.to_dict()
    for part in (wire, *wire.get("sources", ()), *wire.get("rois", ())):
        if META in part:
            part[META] = msgspec.json.encode(part[META]).decode()
    wire[GROUP] = isinstance(frame, FrameGroup)
    first = wire["sources"][0] if wire.get("sources") else {}
    return {
        name: first.get(name.removeprefix(SOURCE)) if name.startswith(SOURCE) else wire.get(name)
        for name in columns.names
    }


def _together(events: RawEvents, rows: Places, columns: Columns) -> pa.RecordBatch:
    """Return the frames of events that are alike as columns. Raises `Irregular` for those that are not."""
    shredder = ArrowShredder(events.data)
    starts, ends = events.starts[rows], events.ends[rows]
    every = np.arange(len(rows))
    heads = shredder.data[starts]
    shredder.require((heads > 0x90) & (heads <= 0x95), every)
    found, at = shredder.fields(starts + 1, every, _record(shredder, columns))
    shredder.require(at <= ends, every)
    build = _Builder(shredder, found, len(rows), columns)
    arrays = {
        name: _ids(events, rows, shredder, heads, at) if name == "id" else build.column(name)
        for name in columns.names
    }
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=columns.schema)


def _record(shredder: ArrowShredder, columns: Columns) -> list[Field]:
    """Return how to read the fields of a record, in canonical order."""
    objects = partial(ObjectReader, shredder)
    of_source = SOURCE + META in columns.names or ("sources" in columns.names and META in columns.source)
    of_roi = "rois" in columns.names and META in columns.roi
    source = [
        field("content_type", shredder.text, TEXT),
        field("hash", shredder.text, TEXT),
        field("height", shredder.whole, WHOLE),
        field("id", shredder.text, TEXT),
        field("meta", objects(is_wanted=of_source)),
        field("size", shredder.whole, WHOLE),
        field("timestamp", shredder.whole, WHOLE),
        field("uri", shredder.text, TEXT),
        field("width", shredder.whole, WHOLE),
    ]
    roi = [
        field("type", shredder.text, TEXT),
        field("confidence", shredder.number, NUMBER),
        field("id", shredder.text, TEXT),
        field("label", shredder.texts, TEXTS),
        field("meta", objects(is_wanted=of_roi)),
        field("poly", shredder.numbers, NUMBERS),
    ]
    return [
        field("context_id", shredder.text, TEXT),
        field("meta", objects(is_wanted=META in columns.names)),
        field("num_frames", shredder.whole, WHOLE),
        field("rois", partial(shredder.items, known=roi)),
        field("sources", partial(shredder.items, known=source)),
    ]


def _ids(
    events: RawEvents, rows: Places, shredder: ArrowShredder, heads: NDArray[np.uint8], at: Places
) -> pa.Array:
    keys = np.frombuffer(events.keys, np.uint8).reshape(-1, KEY_SIZE)
    hexed = keys[rows].tobytes().hex().encode()
    ids = binary(2 * KEY_SIZE * np.arange(len(rows) + 1), np.frombuffer(hexed, np.uint8)).view(pa.string())
    has_more = np.flatnonzero(heads > 0x91)
    own = has_more[shredder.data[at[has_more]] != _NIL]
    if not len(own):
        return ids
    spans = Spans(np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.int64))
    (spans.starts[own], spans.lengths[own]), _ = shredder.text(at[own], own)
    return pc.coalesce(shredder.strings(spans), ids)


class _Builder:
    """Builds columns from what was found where."""

    def __init__(
        self, shredder: ArrowShredder, found: dict[str, tuple[Any, Any]], rows: int, columns: Columns
    ) -> None:
        self._columns = columns
        self._shredder = shredder
        self._found = found
        self._rows = rows
        self._sources = _Items(shredder, *self._spread("sources"))

    def _spread(self, name: str) -> tuple[Places, list[tuple[Places, Any]]]:
        """Return how many items each row has in a list, and the items."""
        some, values = self._found.get(name, (None, None))
        if values is None:
            return np.zeros(self._rows, np.int64), []
        counts, parts = values
        if some is None:
            return counts, parts
        spread = np.zeros(self._rows, np.int64)
        spread[some] = counts
        return spread, [(some[rows], found) for rows, found in parts]

    def column(self, name: str) -> pa.Array:
        """Return a column by its name."""
        if name.startswith(SOURCE):
            return self._of_first(name.removeprefix(SOURCE))
        return getattr(self, f"_{name}_column")()

    def _context_id_column(self) -> pa.Array:
        uris = self._of_first("uri")
        if "context_id" not in self._found:
            return uris
        return pc.coalesce(self._text("context_id"), uris)

    def _timestamp_column(self) -> pa.Array:
        return self._of_first("timestamp")

    def _num_frames_column(self) -> pa.Array:
        some, values = self._found.get("num_frames", (None, None))
        if values is None:
            return pa.nulls(self._rows, pa.int64())
        return _spread_numbers([(np.arange(self._rows) if some is None else some, values)], self._rows)

    def _group_column(self) -> pa.Array:
        # Only groups store names of sources.
        named = np.zeros(self._rows, bool)
        for rows, has_name in self._sources.having("id"):
            named[rows[has_name]] = True
        return pa.array(named | (self._sources.counts > 1))

    def _meta_column(self) -> pa.Array:
        found = self._found.get("meta")
        return json_texts(self._shredder, [] if found is None else [found], self._rows)

    def _text(self, name: str) -> pa.Array:
        return self._shredder.strings(self._spans(name))

    def _spans(self, name: str) -> Spans:
        some, spans = self._found.get(name, (None, None))
        return _spread_spans([] if spans is None else [(some, spans)], self._rows)

    def _of_first(self, name: str) -> pa.Array:
        """Return a field of the first source of each row."""
        column, counts = self._sources.column(name), self._sources.counts
        if (counts == 1).all():
            return column
        first = np.cumsum(counts) - counts
        return (
            column.take(pa.array(first, mask=counts == 0))
            if len(column)
            else pa.nulls(self._rows, column.type)
        )

    def _sources_column(self) -> pa.Array:
        fields = [self._sources.column(name) for name in self._columns.source]
        return self._sources.lists(fields, self._columns.source_type)

    def _rois_column(self) -> pa.Array:
        items = _Items(self._shredder, *self._spread("rois"))
        if sum(np.arange(len(rows))[some].size for rows, some in items.having("type")) < items.total:
            raise Irregular(np.arange(self._rows))  # every annotation has a type
        return items.lists([items.column(name) for name in self._columns.roi], self._columns.roi_type)


class _Items:
    """The items of lists, in the order of the rows: how many each row has, and the fields of the first ones, second ones, ..."""

    def __init__(self, shredder: ArrowShredder, counts: Places, parts: list[tuple[Places, Any]]) -> None:
        self.counts = counts
        self._shredder = shredder
        self._parts = parts
        self.total = int(counts.sum())
        self._first = np.cumsum(counts) - counts
        self._columns: dict[str, pa.Array] = {}

    def having(self, name: str) -> list[tuple[Places, Any]]:
        """Return the rows of each part, and the indices of those whose item has a field."""
        return [
            (rows, slice(None) if fields[name][0] is None else fields[name][0])
            for rows, fields in self._parts
            if name in fields
        ]

    def _found(self, name: str) -> list[tuple[Places | None, Any]]:
        """Return the values of a field, with the items that they are of."""
        found: list[tuple[Places | None, Any]] = []
        for number, (rows, fields) in enumerate(self._parts):
            if name in fields:
                some, values = fields[name]
                places = self._first[rows if some is None else rows[some]] + number
                found.append((None if len(places) == self.total else places, values))
        return found

    def lists(self, columns: Sequence[pa.Array], kind: pa.StructType) -> pa.Array:
        """Return the items as a column of lists of structs; an empty list is null."""
        items = pa.StructArray.from_arrays(list(columns), fields=list(kind))
        return _lists(self.counts, items)

    def column(self, name: str) -> pa.Array:
        """Return a field of all items."""
        if name not in self._columns:
            self._columns[name] = self._column(name)
        return self._columns[name]

    def _column(self, name: str) -> pa.Array:
        kind = {**ROI_TYPES, **SOURCE_TYPES}[name]
        found = self._found(name)
        if not found:
            default = _DEFAULTS.get(name) if self._has_defaults() else None
            return (
                pa.nulls(self.total, kind)
                if default is None
                else pa.repeat(pa.scalar(default, kind), self.total)
            )
        if name == "label":
            return self._labels(found)
        if name == "poly":
            return self._coordinates(found)
        if kind in (pa.int64(), pa.float64()):
            column = _spread_numbers(found, self.total)
        elif name == META:
            return json_texts(self._shredder, found, self.total)
        else:
            column = self._shredder.strings(_spread_spans(found, self.total))
        return pc.fill_null(column, _DEFAULTS[name]) if name in _DEFAULTS and self._has_defaults() else column

    def _has_defaults(self) -> bool:
        """Say whether the items are sources: annotations have a type."""
        return not any("type" in fields for _, fields in self._parts)

    def _coordinates(self, found: list[tuple[Places | None, Any]]) -> pa.Array:
        copied = [spans.data for _, spans in found if isinstance(spans, Copied)]
        if len({each.shape[1] for each in copied}) == 1 and sum(map(len, copied)) == self.total:
            whole = np.empty((self.total, copied[0].shape[1]))
            for (places, _), each in zip(found, copied, strict=True):
                whole[slice(None) if places is None else places] = each
            counts = np.full(self.total, whole.shape[1])
            return _lists(counts, pa.array(whole.reshape(-1)), np.zeros(self.total, bool))
        spans = _spread_spans(found, self.total)
        read = self._shredder.floats(spans)
        if read is None:
            raise Irregular(np.arange(len(self.counts)))
        _, values = read
        return _lists(np.maximum(spans.lengths, 0), pa.array(values), spans.lengths < 0)

    def _labels(self, found: list[tuple[Places | None, Any]]) -> pa.Array:
        counts = np.zeros(self.total, np.int64)
        for places, texts in found:
            counts[slice(None) if places is None else places] = texts.counts
        if len(found) == 1 and found[0][0] is None:
            return _lists(counts, self._shredder.strings(found[0][1].items))
        first, total = np.cumsum(counts) - counts, int(counts.sum())
        spans = Spans(np.empty(total, np.int64), np.empty(total, np.int64))
        for places, texts in found:
            own = np.arange(self.total) if places is None else places
            begin = np.cumsum(texts.counts) - texts.counts
            at = np.repeat(first[own] - begin, texts.counts) + np.arange(len(texts.items.starts))
            spans.starts[at], spans.lengths[at] = texts.items
        return _lists(counts, self._shredder.strings(spans))


def _lists(counts: Places, items: pa.Array, absent: Any = None) -> pa.Array:
    """Return lists of so many items; empty ones are null."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    missing = counts == 0 if absent is None else absent
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), items, mask=mask)


def _spread_spans(found: Sequence[tuple[Places | None, Spans]], rows: int) -> Spans:
    """Return spans of all rows, of those of some rows each."""
    if len(found) == 1 and found[0][0] is None:
        return found[0][1]
    spans = Spans(np.zeros(rows, np.int64), np.full(rows, -1, np.int64))
    for some, values in found:
        spans.starts[some], spans.lengths[some] = values
    return spans


def _spread_numbers(found: Sequence[tuple[Places | None, NDArray[Any]]], rows: int) -> pa.Array:
    if len(found) == 1 and (found[0][0] is None or len(found[0][0]) == rows):
        return pa.array(found[0][1])
    values, missing = np.zeros(rows, found[0][1].dtype), np.ones(rows, bool)
    for some, numbers in found:
        values[some], missing[some] = numbers, False
    return pa.array(values, mask=missing)
