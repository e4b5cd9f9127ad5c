"""Decodes frames to pieces: the columns of some frames. Those that are alike are decoded side by side, the others one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.annotations.types import (
    BoundingBox2D,
    BoundingBox3D,
    ComplexPolygon2D,
    ComplexPolygon3D,
    Ellipse2D,
    KeyPoints2D,
    KeyPoints3D,
    Polygon2D,
    Polygon3D,
)
from ...engine.errors import InvalidValueError
from ...engine.frames.single_frame import decode_record
from ...engine.keys import KEY_SIZE, U64
from ...engine.log.contract import Log
from ...engine.log.decoding import gc_paused
from ...engine.log.frame_batch import decode_change
from ...engine.log.shred import PADDING, Irregular, Places, Shredder, Spans
from ..states.fold import BatchIndex
from ..states.raw import RawEvents, raw_events
from .columns import INEXACT, BooleanCells, Cells, Column, NumberCells, Rows, Table, TextCells
from .texts import Codes, Texts, all_equal, distinct, first_places, narrow, padded, texts_of

ID, FRAME, META, ROIS = PARTS = ("id", "frame", "meta", "rois")
"""The parts of a piece: groups of fields that queries mostly ask for together."""

_LARGEST = 64 * 1024 * 1024
"""A piece ends when its cells take as many bytes while they are collected."""

_ITEM_BITS = 24
"""A cell has the number of its frame and, in so many bits below it, that of its annotation in the frame."""

_TRIES = 4
_MOST_LEVELS = 16
_MOST_PATHS = 2_000
_MOST_ITEMS = 256

_DAMAGED = (msgspec.MsgspecError, UnicodeError, IndexError, ValueError)
"""What is raised for records that are cut off and the like. Which record it is, and why, is found one by one."""

_NIL, _TEXT, _WHOLE, _FLOAT, _BOOLEAN, _MAP, _LIST, _OTHER = range(8)
_TRUE, _EMPTY_EVENT, _FULL_EVENT = 0xC3, 0x91, 0x95

_BOXED: dict[str, Any] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(BoundingBox2D, BoundingBox3D, Ellipse2D, Polygon2D, Polygon3D, KeyPoints2D, KeyPoints3D),
        *(ComplexPolygon2D, ComplexPolygon3D),
    )
}
"""The types of annotations that have a bounding box. It must not depend on what a process has registered."""

_POINTS = {Polygon2D.__struct_config__.tag, KeyPoints2D.__struct_config__.tag}
_BOX = BoundingBox2D.__struct_config__.tag
_SIDES = ("rois.left", "rois.top", "rois.width", "rois.height")
_POLY, _COLOUR = "rois.poly", "rois.mask.value"
_DEFAULT_ID = texts_of(["default"])


def _kinds() -> NDArray[np.uint8]:
    """Return the kind of each value by its first byte."""
    kinds = np.full(256, _OTHER, np.uint8)
    kinds[0x00:0x80] = kinds[0xE0:] = kinds[0xCC:0xD4] = _WHOLE
    kinds[0x80:0x90] = kinds[0xDE] = _MAP
    kinds[0x90:0xA0] = kinds[0xDC] = _LIST
    kinds[0xA0:0xC0] = kinds[0xD9:0xDC] = _TEXT
    kinds[0xC0], kinds[0xC2:0xC4], kinds[0xCB] = _NIL, _BOOLEAN, _FLOAT
    return kinds


_KINDS = _kinds()


class Piece:
    """The columns of some frames.

    Attributes
    ----------
    positions : ndarray of uint64
        The positions of the frames, ascending.
    owners : ndarray of int32
        The row of the frame of each annotation.
    tables : mapping of str to Table
        The columns of each part. The rows are those of the frames, or of their annotations.
    """

    def __init__(self, positions: U64, owners: NDArray[np.int32], tables: Mapping[str, Table]) -> None:
        self.positions = positions
        self.owners = owners
        self.tables = tables

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.positions)

    @property
    def bytes(self) -> int:
        """About the bytes that it takes in memory."""
        return self.positions.nbytes + self.owners.nbytes + sum(table.bytes for table in self.tables.values())


def part_of(path: str) -> str:
    """Return the part that has a field of a frame."""
    head = path.partition(".")[0]
    return head if head in {ID, META, ROIS} else FRAME


class _Cells(msgspec.Struct, gc=False):
    """Some cells of one path, as they were found.

    Attributes
    ----------
    keys : ndarray of int64
        The number of the frame, shifted by `_ITEM_BITS`, and of the annotation.
    values : Texts or ndarray
        The values; the distinct ones of texts.
    codes : ndarray or None
        The index of the text of each cell.
    large : dict of int to number
        As of `NumberCells`.
    """

    keys: Places
    values: Any
    codes: Codes | None = None
    large: dict[int, Any] = {}


class _Collector:
    """Collects cells by path and type."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, type[Cells]], list[_Cells]] = {}
        self.counts: list[tuple[Places, Places]] = []
        self.size = 0

    def add(self, path: str, kind: type[Cells], cells: _Cells) -> None:
        if len(cells.keys):
            self.found.setdefault((path, kind), []).append(cells)
            self.size += (
                cells.keys.nbytes + cells.values.nbytes if kind is not TextCells else cells.values.bytes
            )

    def take(self, other: _Collector) -> None:
        """Add what another one has collected."""
        for key, cells in other.found.items():
            self.found.setdefault(key, []).extend(cells)
        self.counts += other.counts
        self.size += other.size

    def piece(self, positions: U64) -> Piece:
        """Return what was collected of frames at some positions."""
        counts = np.zeros(len(positions), np.int64)
        for frames, some in self.counts:
            counts[frames] = some
        first = np.cumsum(counts) - counts
        sizes = {**dict.fromkeys(PARTS, len(positions)), ROIS: int(counts.sum())}
        columns: dict[str, dict[str, Column]] = {part: {} for part in PARTS}
        made: dict[tuple[int, ...], Cells] = {}
        orders: dict[tuple[str, tuple[int, ...]], tuple[Any, Any]] = {}
        for (path, kind), cells in sorted(
            self.found.items(), key=lambda item: (item[0][0], item[0][1].__name__)
        ):
            part = part_of(path)
            # The same cells may be at several paths, such as the URI of a source that is also the context.
            key = tuple(map(id, cells))
            if key not in made:
                of_keys = part, tuple(id(each.keys) for each in cells)
                if of_keys not in orders:
                    keys = np.concatenate([each.keys for each in cells])
                    rows = keys >> _ITEM_BITS
                    if part == ROIS:
                        rows = first[rows] + (keys & ((1 << _ITEM_BITS) - 1))
                    orders[of_keys] = _ascending(rows, sizes[part])
                made[key] = _FINISH[kind](*orders[of_keys], cells)
            columns[part][path] = (*columns[part].get(path, ()), made[key])
        owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return Piece(positions, owners, {part: Table(sizes[part], columns[part]) for part in PARTS})


def _ascending(rows: Places, size: int) -> tuple[Any, Any]:
    """Return the order that sorts rows, None if they are sorted, and the sorted rows, None if each comes once."""
    order = None
    if (rows[1:] < rows[:-1]).any():
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
    if len(rows) == size and (size == 0 or (rows[0] == 0 and (np.diff(rows) == 1).all())):
        return order, None
    return order, rows.astype(np.int32)


def _finish_texts(order: Places | None, rows: Rows | None, cells: list[_Cells]) -> TextCells:
    texts: Texts = cells[0].values
    codes: NDArray[Any] = _codes_of(cells[0])
    if len(cells) > 1:
        texts, joined = distinct(*padded([each.values for each in cells]))
        bases = np.cumsum([0, *(len(each.values) for each in cells)])
        codes = np.concatenate(
            [joined[_codes_of(each) + base] for each, base in zip(cells, bases[:-1], strict=True)]
        )
    if order is not None:
        codes = codes[order]
    first = first_places(codes.astype(np.int64), len(texts))
    if (np.diff(first) < 0).any():
        # The order of texts must not depend on how frames were decoded.
        ranks = np.argsort(first)
        places = np.empty(len(ranks), np.int64)
        places[ranks] = np.arange(len(ranks))
        texts, codes = texts.take(ranks), places[codes]
    if 2 * len(texts) > len(codes):
        return TextCells(rows, texts if len(texts) == len(codes) else texts.take(codes), None)
    return TextCells(rows, texts, narrow(codes))


def _codes_of(cells: _Cells) -> NDArray[Any]:
    return np.arange(len(cells.values)) if cells.codes is None else cells.codes


def _finish_numbers(order: Places | None, rows: Rows | None, cells: list[_Cells]) -> NumberCells:
    numbers = np.concatenate([each.values for each in cells])
    bases = np.cumsum([0, *(len(each.values) for each in cells)]).tolist()
    large = {
        index + base: number
        for each, base in zip(cells, bases[:-1], strict=True)
        for index, number in each.large.items()
    }
    if order is not None:
        numbers = numbers[order]
        if large:
            places = np.empty(len(order), np.int64)
            places[order] = np.arange(len(order))
            large = {int(places[index]): number for index, number in large.items()}
    return NumberCells(rows, numbers, dict(sorted(large.items())))


def _finish_booleans(order: Places | None, rows: Rows | None, cells: list[_Cells]) -> BooleanCells:
    booleans = np.concatenate([each.values for each in cells])
    return BooleanCells(rows, booleans if order is None else booleans[order])


_FINISH: dict[type[Cells], Callable[[Places | None, Rows | None, list[_Cells]], Cells]] = {
    TextCells: _finish_texts,
    NumberCells: _finish_numbers,
    BooleanCells: _finish_booleans,
}


def read_pieces(log: Log, index: BatchIndex, positions: U64, *, always: bool = False) -> Iterator[Piece]:
    """Decode frames in one pass over the log.

    Parameters
    ----------
    log : Log
        The log.
    index : BatchIndex
        The record batches that have the frames.
    positions : ndarray of uint64
        The positions of the frames, ascending.
    always : bool
        Yield a piece even if there are no frames.

    Yields
    ------
    Piece
        The columns. Several pieces if the frames are large, so that memory is bounded.
    """
    collector, first, at = _Collector(), 0, 0
    for events in raw_events(log, index, positions, PADDING):
        collector.take(_collected(events, at - first))
        at += len(events)
        if collector.size > _LARGEST:
            yield collector.piece(positions[first:at])
            collector, first = _Collector(), at
    if at > first or (always and not at):
        yield collector.piece(positions[first:at])


def _collected(events: RawEvents, first: int) -> _Collector:
    """Return the cells of some events, which are the frames from number `first` on."""
    rows = np.arange(len(events))
    alone: list[Places] = []
    collector = None
    for _ in range(_TRIES):
        walker = _Walker(events, first)
        try:
            walker.walk(rows)
            collector = walker
            break
        except Irregular as irregular:
            found = np.unique(irregular.rows >> _ITEM_BITS) - first
            alone.append(found)
            rows = np.setdiff1d(rows, found)
        except _DAMAGED:
            break
    if collector is None:
        alone.append(rows)
        collector = _Collector()
    if alone:
        collector.take(_one_by_one(events, np.sort(np.concatenate(alone)).tolist(), first))
    return collector


class _Walker(_Collector):
    """Collects the leaves of records side by side, one token of each record in one step."""

    def __init__(self, events: RawEvents, first: int) -> None:
        super().__init__()
        self._events = events
        self._first = first
        self._shredder = Shredder(events.data)
        self._own_context = np.empty(0, np.int64)
        self._polys: list[tuple[Places, Spans]] = []
        self._paths = set[str]()

    def walk(self, rows: Places) -> None:
        """Collect all leaves of the events of some rows. Raises `Irregular` if some cannot be read side by side."""
        shredder, starts = self._shredder, self._events.starts[rows]
        keys = (rows + self._first) << _ITEM_BITS
        heads = shredder.data[starts]
        shredder.require((heads >= _EMPTY_EVENT) & (heads <= _FULL_EVENT), keys)
        at, _ = self._map("", starts + 1, keys, 0)
        shredder.require(at <= self._events.ends[rows], keys)
        self._ids(rows, keys, heads, at)

    def _ids(self, rows: Places, keys: Places, heads: NDArray[np.uint8], at: Places) -> None:
        has_more = np.flatnonzero(heads > _EMPTY_EVENT)
        own = has_more[_KINDS[self._shredder.data[at[has_more]]] != _NIL]
        self._value("id", at[own], keys[own], 0)
        plain = np.delete(np.arange(len(rows)), own) if len(own) else slice(None)
        joined = np.frombuffer(self._events.keys, np.uint8).reshape(-1, KEY_SIZE)[rows][plain]
        offsets = np.arange(len(joined) + 1) * (2 * KEY_SIZE)
        self.add("id", TextCells, _Cells(keys[plain], Texts(joined.tobytes().hex().encode(), offsets)))

    def _map(self, path: str, at: Places, keys: Places, level: int) -> tuple[Places, dict[str, Any]]:
        """Collect what is in maps. Returns the places after them, and by name which of them have an item."""
        counts, at = self._sizes(at, keys, 0x80)
        found: dict[str, Any] = {}
        for number in range(int(counts.max(initial=0))):
            some = np.flatnonzero(counts > number)
            here, own = (at, keys) if len(some) == len(at) else (at[some], keys[some])
            names, values = self._shredder.text(here, own)
            after = np.empty(len(here), np.int64)
            for name, chosen in self._by_name(names):
                below = f"{path}.{name}" if path else name
                if chosen is None:
                    after = self._value(below, values, own, level)
                    found.setdefault(name, []).append(some)
                else:
                    after[chosen] = self._value(below, values[chosen], own[chosen], level)
                    found.setdefault(name, []).append(some[chosen])
            at = _put(at, some, after)
        return at, found

    def _sizes(self, at: Places, keys: Places, head: int) -> tuple[Places, Places]:
        """Read what maps and lists begin with."""
        heads = self._shredder.data[at]
        counts, short = (heads & 0x0F).astype(np.int64), (heads & 0xF0) == head
        if short.all():
            return counts, at + 1
        long = np.flatnonzero(~short)
        counts[long] = self._shredder.window(">u2", at[long] + 1)
        self._shredder.require(counts <= _MOST_PATHS, keys)
        return counts, np.where(short, at + 1, at + 3)

    def _by_name(self, names: Spans) -> Iterator[tuple[str, Any]]:
        """Yield each name with the indices of those that have it, None for all."""
        if all_equal(self._shredder.data, *names):
            start = int(names.starts[0])
            yield self._shredder.data[start : start + int(names.lengths[0])].tobytes().decode(), None
            return
        texts, codes = distinct(self._shredder.data, *names)
        for code, name in enumerate(texts.texts()):
            yield name, np.flatnonzero(codes == code)

    def _value(self, path: str, at: Places, keys: Places, level: int) -> Places:
        """Collect values of any kind. Returns the places after them."""
        if not len(at):
            return at
        if path == _POLY:
            spans, after = self._shredder.numbers(at, keys)
            self._polys.append((keys, spans))
            return after
        if path == _COLOUR:
            return self._shredder.anything(at, keys)[1]
        kinds = _KINDS[self._shredder.data[at]]
        if (kinds == kinds[0]).all():
            return self._of_kind(int(kinds[0]), path, at, keys, level)
        after = np.empty(len(at), np.int64)
        for kind in np.unique(kinds).tolist():
            some = np.flatnonzero(kinds == kind)
            after[some] = self._of_kind(kind, path, at[some], keys[some], level)
        return after

    def _of_kind(self, kind: int, path: str, at: Places, keys: Places, level: int) -> Places:
        shredder = self._shredder
        if level > _MOST_LEVELS or kind == _OTHER or len(self._paths) > _MOST_PATHS:
            raise Irregular(keys)
        if kind == _MAP:
            return self._map(path, at, keys, level + 1)[0]
        if kind == _LIST:
            return self._list(path, at, keys, level + 1)
        self._paths.add(path)
        if kind == _NIL:
            return at + 1
        if kind == _TEXT:
            spans, after = shredder.text(at, keys)
            texts, codes = distinct(shredder.data, *spans)
            texts.data.decode()
            if path == "context_id":
                self._own_context = keys
            self.add(path, TextCells, _Cells(keys, texts, codes))
            return after
        if kind == _BOOLEAN:
            self.add(path, BooleanCells, _Cells(keys, shredder.data[at] == _TRUE))
            return at + 1
        values, after = shredder.whole(at, keys) if kind == _WHOLE else shredder.number(at, keys)
        numbers = values.astype(np.float64)
        large = np.flatnonzero(np.abs(numbers) >= INEXACT)
        self.add(
            path,
            NumberCells,
            _Cells(keys, numbers, None, dict(zip(large.tolist(), values[large].tolist(), strict=True))),
        )
        return after

    def _list(self, path: str, at: Places, keys: Places, level: int) -> Places:
        counts, at = self._sizes(at, keys, 0x90)
        if path == "rois":
            self.counts.append((keys >> _ITEM_BITS, counts))
        most = int(counts.max(initial=0))
        if most > _MOST_ITEMS:
            raise Irregular(keys[counts > _MOST_ITEMS])
        for number in range(most):
            some = np.flatnonzero(counts > number)
            here, own = (at, keys) if len(some) == len(at) else (at[some], keys[some])
            match path:
                case "rois":
                    after = self._annotation(here, own + number, level)
                case "sources":
                    after = self._source(here, own, level, is_first=number == 0)
                case _:
                    after = self._value(path, here, own, level)
            at = _put(at, some, after)
        return at

    def _since(self, path: str, kind: type[Cells], count: int) -> list[_Cells]:
        return self.found.get((path, kind), [])[count:]

    def _source(self, at: Places, keys: Places, level: int, *, is_first: bool) -> Places:
        """Collect sources with their defaults. The first one of a frame gives it a context and a time."""
        uris, times = ("sources.uri", TextCells), ("sources.timestamp", NumberCells)
        before = [len(self.found.get(each, ())) for each in (uris, times)]
        after, found = self._map("sources", at, keys, level)
        unnamed, untimed = (keys[_without(found, name, len(keys))] for name in ("id", "timestamp"))
        self.add("sources.id", TextCells, _Cells(unnamed, _DEFAULT_ID, np.zeros(len(unnamed), np.uint8)))
        self.add(*times, _Cells(untimed, np.zeros(len(untimed))))
        if is_first:
            for cells in self._since(*uris, before[0]):
                self.add("context_id", TextCells, self._without_context(cells))
            for cells in self._since(*times, before[1]):
                self.add("timestamp", NumberCells, cells)
        return after

    def _without_context(self, cells: _Cells) -> _Cells:
        """Return the cells of the frames that have no context of their own."""
        if not len(self._own_context):
            return cells
        free = np.flatnonzero(~np.isin(cells.keys, self._own_context))
        return _Cells(cells.keys[free], cells.values, _codes_of(cells)[free])

    def _annotation(self, at: Places, keys: Places, level: int) -> Places:
        before = len(self.found.get(("rois.type", TextCells), ()))
        self._polys.clear()
        after, _ = self._map("rois", at, keys, level)
        for types in self._since("rois.type", TextCells, before):
            for owners, spans in self._polys:
                self._boxes(owners, spans, types)
        return after

    def _boxes(self, keys: Places, spans: Spans, types: _Cells) -> None:
        """Collect the bounding boxes of geometries."""
        at = np.minimum(np.searchsorted(types.keys, keys), len(types.keys) - 1)
        codes = np.where(types.keys[at] == keys, _codes_of(types)[at].astype(np.int64), -1)
        for code, tag in enumerate(types.values.texts()):
            some = np.flatnonzero((codes == code) & (spans.lengths > 0))
            if tag not in _BOXED or not len(some):
                continue
            starts, lengths, owners = spans.starts, spans.lengths, keys
            if len(some) < len(keys):
                starts, lengths, owners = starts[some], lengths[some], owners[some]
            if tag == _BOX and (lengths == 4).all():
                sides = self._shredder.columns(starts, 4)
            else:
                read = self._shredder.floats(Spans(starts, lengths))
                boxes, known = _boxes_of(tag, *read) if read else (None, None)
                owners = owners[known] if known is not None else owners
                sides = None if boxes is None else boxes.T.copy()
            if sides is None:
                raise Irregular(owners)
            for name, side in zip(_SIDES, sides, strict=True):
                self.add(name, NumberCells, _Cells(owners, side))


def _put(places: Places, some: Places, new: Places) -> Places:
    """Return places of which some are new."""
    if len(some) == len(places):
        return new
    places = places.copy()
    places[some] = new
    return places


def _without(found: Mapping[str, Any], name: str, count: int) -> Places:
    """Return which of so many maps do not have an item."""
    lacks = np.ones(count, bool)
    for some in found.get(name, ()):
        lacks[some] = False
    return np.flatnonzero(lacks)


def _boxes_of(tag: str, offsets: Places, numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], Places]:
    """Return left, top, width and height of the geometries of one type that have a box, and which these are."""
    lengths = np.diff(offsets)
    if tag in _POINTS and not (lengths % 2).any():
        points, starts = numbers.reshape(-1, 2), offsets[:-1] // 2
        least = np.minimum.reduceat(points, starts)
        boxes = np.concatenate((least, np.maximum.reduceat(points, starts) - least), axis=1)
        return boxes, np.arange(len(lengths))
    found = {
        index: box
        for index, (start, stop) in enumerate(pairwise(offsets.tolist()))
        if (box := _bounding_box(tag, numbers[start:stop].tolist())) is not None
    }
    return np.array(list(found.values())).reshape(-1, 4), np.array(list(found), np.int64)


def _bounding_box(tag: str, poly: Any) -> Sequence[float] | None:
    """Return left, top, width and height of a geometry; None for one that has no box."""
    if tag not in _BOXED or not poly:
        return None
    try:
        return msgspec.convert({"type": tag, "poly": poly}, _BOXED[tag]).get_bounding_box()
    except (InvalidValueError, msgspec.ValidationError, ValueError, IndexError, OverflowError):
        return None


def _one_by_one(events: RawEvents, rows: Sequence[int], first: int) -> _Collector:
    """Return the cells of some events, each by way of its wire form."""
    found: dict[tuple[str, type[Cells]], tuple[list[int], list[Any]]] = {}
    collector = _Collector()
    frames, counts = [], []
    with gc_paused():
        for row in rows:
            position = int(events.positions[row])
            change = decode_change(events.event(row), position)
            key = (row + first) << _ITEM_BITS
            frame_id = change.id or events.keys[row * KEY_SIZE : (row + 1) * KEY_SIZE].hex()
            wire = decode_record(change.payload, position).to_wire(frame_id)
            rois = wire.pop("rois", ())
            frames.append(row + first)
            counts.append(len(rois))
            _add_tree(found, key, "", wire)
            for number, roi in enumerate(rois):
                box = _bounding_box(roi["type"], roi.pop("poly", None))
                sides = dict(zip(("left", "top", "width", "height"), box, strict=True)) if box else {}
                roi.get("mask", {}).pop("value", None)
                _add_tree(found, key + number, "rois", {**roi, **sides})
    collector.counts.append((np.array(frames), np.array(counts)))
    for (path, kind), (keys, values) in found.items():
        at = np.array(keys, np.int64)
        if kind is TextCells:
            texts, codes = distinct(*padded([texts_of(values)]))
            cells = _Cells(at, texts, codes)
        elif kind is BooleanCells:
            cells = _Cells(at, np.array(values, bool))
        else:
            numbers = np.array([float(value) for value in values])
            large = np.flatnonzero(np.abs(numbers) >= INEXACT).tolist()
            cells = _Cells(at, numbers, None, {index: values[index] for index in large})
        collector.add(path, kind, cells)
    return collector


def _add_tree(
    found: dict[tuple[str, type[Cells]], tuple[list[int], list[Any]]], key: int, path: str, tree: Any
) -> None:
    """Add the leaves of a JSON-like value. It waits here, so that nothing is recursive."""
    waiting: list[tuple[str, Any]] = [(path, tree)]
    while waiting:
        below, value = waiting.pop()
        if isinstance(value, dict):
            waiting += (
                (f"{below}.{name}" if below else name, each) for name, each in reversed(value.items())
            )
        elif isinstance(value, list | tuple):
            waiting += zip(repeat(below), reversed(value))
        elif value is not None:
            kind = (
                TextCells
                if isinstance(value, str)
                else BooleanCells
                if isinstance(value, bool)
                else NumberCells
            )
            keys, values = found.setdefault((below, kind), ([], []))
            keys.append(key)
            values.append(value)
