"""Encodes rows of a table as frames: whole columns at once, and one by one the rows that need a closer look."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...engine.annotations.base import types_by_tag
from ...engine.annotations.shapes import Points, Shape
from ...engine.annotations.types import BuiltinAnnotation, ImageAnnotation
from ...engine.errors import FramelodeError, InvalidValueError
from ...engine.frames.content_types import content_type_of
from ...engine.frames.frame_group import FrameGroup, frame_from_dict
from ...engine.frames.source import DEFAULT_SOURCE, derive_id, source_uri
from ...engine.keys import payload_digests
from ...engine.log.frame_batch import ARRAY_OF_ONE, joined_payloads
from ...engine.log.joined import lengths_of
from ...engine.parallel import ahead
from ...engine.validation import shorten
from ...engine.writes.encoder import EncodedFrames, FrameEncoder, Refusal
from .fields import CONTEXT, FRAMES, GROUP, ID, KEY, META, ROIS, SOURCE, SOURCES, TIMESTAMP, Plan
from .metadata import json_object, nested, objects, without_nulls
from .pieces import (
    Encoded,
    Mask,
    Part,
    float_lists,
    floats,
    integers,
    join,
    lists,
    maps,
    offsets_of,
    pc,
    present_in,
    strings,
    text,
)
from .typed import Odd, OfItems, children, listed, names, numbers, plain, wholes, words

_PLAIN_URI = r"\A[A-Za-z][A-Za-z0-9+.-]+://[^?#@]+\z"
"""A URI that has no part that could be a secret; if it is not local, it is stored as it is."""

_NOT_PLAIN = ("file:", "data:")

_SCHEME = re.compile(r"(?!file:|data:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)

_BOX = "box2d"
_IMAGE = str(ImageAnnotation.__struct_config__.tag)


TablePart = tuple[pa.RecordBatch, bool, BaseException | None]
"""Rows of a table, whether they are the last, and what error came after them."""

EncodedPart = tuple[Any, bool, BaseException | None]
"""The same, encoded."""


class Row(msgspec.Struct):
    """A row of a table, which is read only if it is reported."""

    table: pa.RecordBatch
    index: int

    def values(self) -> dict[str, Any]:
        """Return the values by column."""
        return self.table.slice(self.index, 1).to_pylist(maps_as_pydicts="lossy")[0]


def with_values(refusal: Refusal) -> Refusal:
    """Return a refusal of a row with its values instead of the row."""
    if not isinstance(refusal.frame, Row):
        return refusal
    return msgspec.structs.replace(refusal, frame=refusal.frame.values())


class Rows(Sequence[Any]):
    """Some rows of a table."""

    def __init__(self, table: pa.RecordBatch, indices: Sequence[int]) -> None:
        self._table = table
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return Row(self._table, self._indices[index])

    def __iter__(self) -> Iterator[Row]:
        return (Row(self._table, index) for index in self._indices)


class TableEncoder(FrameEncoder):
    """Encodes batches of rows; what it refuses are rows.

    Parameters
    ----------
    plan : Plan
        Where the fields of frames are in the columns.
    new_id, root, max_frame_bytes
        As for `FrameEncoder`.
    """

    def __init__(
        self,
        plan: Plan,
        new_id: Callable[[], str],
        root: str | os.PathLike[str] | None = None,
        max_frame_bytes: int = 0,
    ) -> None:
        super().__init__(new_id, root, max_frame_bytes)
        self._plan = plan
        self._done = 0

    def encode(self, frames: Any) -> tuple[EncodedFrames, list[Refusal]]:
        """Return a batch of rows that was encoded ahead; rows that cannot be recorded come back as refusals."""
        return frames

    def encode_parts(self, parts: Iterable[TablePart]) -> Iterator[EncodedPart]:
        """Encode parts, each while the one before it is recorded."""
        return ahead(lambda part: (self.encode_rows(part[0]), *part[1:]), parts)

    def encode_rows(self, table: pa.RecordBatch) -> tuple[EncodedFrames, list[Refusal]]:
        """Encode a batch of rows."""
        columns = _Columns(self._plan, table)
        events = join([ARRAY_OF_ONE, *columns.record()], len(table))
        offsets = offsets_of(events).astype(np.int64)
        data: Any = events.buffers()[2]
        payloads: Sequence[bytes] = joined_payloads(data.to_pybytes(), offsets)
        ids = columns.ids()
        odd = columns.odd.rows | (lengths_of(payloads) > self._limit)
        refusals: list[Refusal] = []
        refused: set[int] = set()
        careful = np.flatnonzero(odd).tolist()
        if careful:
            payloads = list(payloads)
        for index in careful:
            try:
                ids[index], payloads[index] = self._carefully(table, index)  # type: ignore[index]  # a list
            except FramelodeError as error:
                refused.add(index)
                refusals.append(Refusal(Row(table, index), self._message(table, index, error)))
        kept: Sequence[int] = range(len(table))
        if refused:
            kept = [index for index in kept if index not in refused]
            ids, payloads = [ids[index] for index in kept], [payloads[index] for index in kept]
        self._give_ids(ids, columns, kept)
        self._done += len(table)
        return self._finish(Rows(table, kept), ids, payloads, payload_digests(payloads)), refusals

    def _give_ids(self, ids: list[Any], columns: _Columns, kept: Sequence[int]) -> None:
        if None not in ids:
            return
        for place, index in enumerate(kept):
            if ids[place] is None:
                source = columns.named_source(index)
                ids[place] = derive_id([source] if source else (), self._root) or self._new_id()

    def _carefully(self, table: pa.RecordBatch, index: int) -> tuple[str, bytes]:
        wire, is_group = wire_of(self._plan, table, index)
        frame = FrameGroup.from_dict(wire) if is_group else frame_from_dict(wire)
        return frame.id or self._make_id(frame), self._encode_one(frame)

    def _message(self, table: pa.RecordBatch, index: int, error: FramelodeError) -> str:
        """Return why a row is refused, with its number and the column that alone is refused, too."""
        where = f"row {self._done + index}"
        for field, column in self._plan.columns.items():
            alone = Plan({field: column}, self._plan.renamed)
            try:
                wire, _ = wire_of(alone, table, index)
                frame_from_dict(wire)
            except FramelodeError:
                return f"{where}, column {shorten(column)}: {error}"
        return f"{where}: {error}"


class NamedSource(msgspec.Struct):
    """What an id is derived from."""

    uri: str | None
    timestamp: int
    id: str = DEFAULT_SOURCE


class _Columns:
    """The columns of a batch of rows, by field of a frame."""

    def __init__(self, plan: Plan, table: pa.RecordBatch) -> None:
        self._plan = plan
        self._table = table
        self._rows = len(table)
        self.odd = Odd(self._rows)
        self._uris: pa.Array | None = None
        self._timestamps: NDArray[np.int64] | None = None

    def _column(self, field: str) -> pa.Array | None:
        name = self._plan.columns.get(field)
        return None if name is None else self._table.column(name)

    def _what(self, field: str) -> str:
        return f"column {shorten(self._plan.columns[field])} ({field})"

    def ids(self) -> list[Any]:
        """Return the ids; None for none."""
        array = self._column(ID)
        if array is None:
            return [None] * self._rows
        ids = names(array, self._what(ID))
        self.odd.add(pc.fill_null(pc.equal(ids, ""), False))
        return ids.to_pylist()

    def named_source(self, index: int) -> NamedSource | None:
        """Return what the id of a row is derived from."""
        uri = None if self._uris is None else self._uris[index].as_py()
        return uri and NamedSource(uri, 0 if self._timestamps is None else int(self._timestamps[index]))

    def record(self) -> list[Part]:
        """Return the payloads, in parts."""
        group = self._column(GROUP)
        if group is not None:
            flags = plain(group)
            if not (pa.types.is_boolean(flags.type) or pa.types.is_null(flags.type)):
                raise InvalidValueError(
                    f"{self._what(GROUP)} must be a column of booleans, not of {flags.type}"
                )
            self.odd.add(pc.fill_null(flags.cast(pa.bool_()), False))
        sources = self._sources()
        fields = [
            ("context_id", self._context()),
            ("meta", self._metadata()),
            ("num_frames", self._count(FRAMES, self._column(FRAMES))),
            ("rois", self._rois()),
            ("sources", sources),
        ]
        return maps([(text(name), value) for name, value in fields if value is not None], self._rows)

    def _context(self) -> Encoded | None:
        array = self._column(CONTEXT)
        if array is None:
            return None
        contexts = words(array, self._what(CONTEXT))
        present = np.asarray(contexts.is_valid())
        self.odd.add(pc.fill_null(pc.match_substring_regex(contexts, r"\A\z|[?#@]"), False))
        if self._uris is not None:
            present = present & ~np.asarray(pc.fill_null(pc.equal(contexts, self._uris), False))
        return Encoded(strings(contexts), present) if present.any() else None

    def _metadata(self) -> Encoded | None:
        array = self._column(META)
        if array is None:
            keys = self._plan.keys()
            if not keys:
                return None
            columns = {key: self._table.column(self._plan.columns[KEY + key]) for key in keys}
            return objects(nested(columns, self._rows), META, self.odd)
        return objects(array, self._what(META), self.odd)

    def _count(self, field: str, array: pa.Array | None) -> Encoded | None:
        """Return integers of at least 0."""
        if array is None or array.null_count == len(array):
            return None
        values = wholes(array, self._what(field) if field in self._plan.columns else field, self.odd)
        self.odd.add(values < 0)
        return Encoded([integers(values)], present_in(array))

    def _sources(self) -> Encoded | None:
        array = self._column(SOURCES)
        if array is None:
            fields = {
                name: self._table.column(self._plan.columns[SOURCE + name])
                for name in self._plan.flat_source()
            }
        else:
            fields = self._single_sources(array)
        values = self._source_fields(fields)
        filled = np.zeros(self._rows, bool)
        for _, (_, present) in values:
            if present is None:
                filled[:] = True
            else:
                filled |= present
        if not filled.any():
            return None
        return Encoded([b"\x91", *maps(values, self._rows)], None if filled.all() else filled)

    def _single_sources(self, array: pa.Array) -> dict[str, pa.Array]:
        """Return the fields of the first sources; rows of several are marked."""
        what = self._what(SOURCES)
        offsets, items = listed(array, what)
        counts = np.diff(offsets)
        self.odd.add(counts > 1)
        if not (counts == 1).all():
            first = np.where(counts > 0, offsets[:-1], len(items))
            items = items.take(pa.array(first, mask=counts == 0)) if len(items) else pa.nulls(self._rows)
        fields = children(items, what)
        given = fields.pop("id", None)
        if given is not None and given.null_count < len(given):
            self.odd.add(pc.fill_null(pc.not_equal(words(given, f"{what}.id"), DEFAULT_SOURCE), False))
        return fields

    def _source_fields(self, fields: dict[str, pa.Array]) -> list[tuple[bytes, Encoded]]:
        uris = fields.get("uri")
        if uris is not None:
            self._uris = self._checked_uris(words(uris, self._named("uri")))
        encoded = {
            "content_type": self._content_types(fields.get("content_type")),
            "hash": self._names(fields.get("hash"), "hash"),
            "height": self._count(SOURCE + "height", fields.get("height")),
            "meta": None if "meta" not in fields else objects(fields["meta"], self._named("meta"), self.odd),
            "size": self._count(SOURCE + "size", fields.get("size")),
            "timestamp": self._timestamp(fields.get("timestamp")),
            "uri": None if self._uris is None else Encoded(strings(self._uris), present_in(self._uris)),
            "width": self._count(SOURCE + "width", fields.get("width")),
        }
        for name, column in fields.items():
            if name in ("masks", "preview"):
                self._look_at(column)
            elif name not in encoded:
                raise InvalidValueError(
                    f"{self._named(name)} is no field of a source: these are {', '.join(encoded)}, masks and preview"
                )
        return [
            (text(name), value)
            for name, value in encoded.items()
            if value is not None and (value.present is None or value.present.any())
        ]

    def _named(self, field: str) -> str:
        return self._what(SOURCE + field) if SOURCE + field in self._plan.columns else f"sources.{field}"

    def _look_at(self, column: pa.Array) -> None:
        """Mark rows in which a column has a value that is not empty."""
        if column.null_count == len(column):
            return
        present = np.asarray(column.is_valid())
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            present = present & np.asarray(pc.fill_null(pc.greater(pc.list_value_length(column), 0), False))
        self.odd.add(present)

    def _names(self, array: pa.Array | None, field: str) -> Encoded | None:
        if array is None or array.null_count == len(array):
            return None
        values = words(array, self._named(field))
        self.odd.add(pc.fill_null(pc.equal(values, ""), False))
        return Encoded(strings(values), present_in(values))

    def _checked_uris(self, uris: pa.Array) -> pa.Array:
        """Return URIs in the form in which they are stored; paths become URIs of files."""
        if _are_plain(uris):
            return uris
        fits = pc.and_(pc.string_is_ascii(uris), pc.match_substring_regex(uris, _PLAIN_URI))
        for scheme in _NOT_PLAIN:
            fits = pc.and_not(fits, pc.starts_with(uris, scheme, ignore_case=True))
        others = np.flatnonzero(~np.asarray(pc.fill_null(fits, True)))
        if not len(others):
            return uris
        stored = uris.to_pylist()
        odd = np.zeros(len(stored), bool)
        for index in others.tolist():
            try:
                stored[index] = uri = source_uri(stored[index], "uri")
                # The suffix alone does not tell their content type.
                odd[index] = uri.startswith("data:") or "?" in uri or "#" in uri
            except InvalidValueError:
                odd[index] = True
        self.odd.add(odd)
        return pa.array(stored, pa.string())

    def _content_types(self, given: pa.Array | None) -> Encoded | None:
        """Return the content types, where none is given that of the suffix of the URI."""
        own = None
        if given is not None and given.null_count < len(given):
            own = words(given, self._named("content_type"))
            self.odd.add(pc.fill_null(pc.equal(own, ""), False))
        found = own
        has_uris = self._uris is not None and self._uris.null_count < self._rows
        if self._uris is not None and has_uris and (own is None or own.null_count):
            derived = _derived_types(self._uris)
            if self._uris.null_count:
                derived = pc.if_else(self._uris.is_valid(), derived, None)
            found = derived if own is None else pc.coalesce(own, derived)
        if found is None or found.null_count == len(found):
            return None
        return Encoded(strings(found), present_in(found))

    def _timestamp(self, array: pa.Array | None) -> Encoded | None:
        whole = self._column(TIMESTAMP)
        values = None if array is None else wholes(array, self._named("timestamp"), self.odd)
        if whole is not None:
            of_frame = wholes(whole, self._what(TIMESTAMP), self.odd)
            if values is None:
                values = of_frame
            else:
                missing = np.asarray(array.is_null())  # type: ignore[union-attr]
                self.odd.add(~missing & np.asarray(whole.is_valid()) & (values != of_frame))
                values = np.where(missing, of_frame, values)
        if values is None or not values.any():
            return None
        self._timestamps = values
        return Encoded([integers(values)], values != 0)

    def _rois(self) -> Encoded | None:
        array = self._column(ROIS)
        if array is None:
            return None
        what = self._what(ROIS)
        offsets, items = listed(array, what)
        counts = np.diff(offsets)
        if not len(items):
            return None
        odd = OfItems(self.odd, counts)
        annotations = _Annotations(children(items, what), self._plan.renamed, what, odd)
        if items.null_count:
            odd.add(items.is_null())
        encoded = join(annotations.encoded(len(items)), len(items))
        filled = counts > 0
        return Encoded(lists(encoded, offsets), None if filled.all() else filled)


class _Annotations:
    """The columns of annotations, by field."""

    def __init__(
        self, columns: Mapping[str, pa.Array], renamed: Mapping[str, str], what: str, odd: OfItems
    ) -> None:
        self._what = what
        self._odd = odd
        self._fields: dict[str, pa.Array] = {}
        for name, column in columns.items():
            field = renamed.get(name, name)
            field = "label" if field == "labels" else field
            if field not in _ROI_NAMES:
                raise InvalidValueError(
                    f"{what}: {shorten(name)} is no field of an annotation: rename it with "
                    f"columns={{'COLUMN.{name}': 'rois.label'}}, or to another one of {', '.join(sorted(_ROI_NAMES))}"
                )
            if field in self._fields:
                raise InvalidValueError(f"{what}: two fields of its structs are {field}")
            self._fields[field] = column

    def encoded(self, count: int) -> list[Part]:
        """Return the annotations, in parts."""
        fields = self._fields
        offsets, items = (
            listed(fields["poly"], f"{self._what}.poly")
            if "poly" in fields
            else (np.zeros(count + 1, np.int64), pa.nulls(0))
        )
        odd = OfItems(self._odd, np.diff(offsets))
        values = numbers(items, f"{self._what}.poly", odd)
        if items.null_count:
            odd.add(items.is_null())
        tags = self._tags(np.diff(offsets), count)
        self._check(tags, offsets, values)
        for name in ("mask", "sources"):
            if name in fields:
                self._look_at(fields[name])
        filled = np.diff(offsets) > 0
        poly = (
            Encoded(float_lists(values, offsets), None if filled.all() else filled) if filled.any() else None
        )
        encoded = {
            "type": Encoded([_type_pieces(tags)])
            if len(tags.dictionary) > 1
            else Encoded([text(_only(tags))]),
            "confidence": self._confidence(),
            "id": self._id(),
            "label": self._labels(),
            "meta": None
            if "meta" not in fields
            else objects(fields["meta"], f"{self._what}.meta", self._odd),
            "poly": poly,
        }
        return maps([(text(name), value) for name, value in encoded.items() if value is not None], count)

    def _look_at(self, column: pa.Array) -> None:
        if column.null_count == len(column):
            return
        present = np.asarray(column.is_valid())
        if pa.types.is_list(column.type):
            present = present & (np.asarray(pc.fill_null(pc.list_value_length(column), 0)) > 0)
        self._odd.add(present)

    def _tags(self, lengths: NDArray[np.int64], count: int) -> Any:
        """Return the types as a dictionary: given, or derived from the number of coordinates."""
        given = self._fields.get("type")
        tags = words(given, f"{self._what}.type") if given is not None else pa.nulls(count, pa.string())
        if tags.null_count:
            missing = np.asarray(tags.is_null())
            self._odd.add(missing & (lengths != 4) & (lengths != 0))
            derived = pc.if_else(pa.array(lengths == 0), _IMAGE, _BOX)
            tags = pc.coalesce(tags, derived)
        return tags.dictionary_encode()

    def _check(self, tags: Any, offsets: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Mark annotations whose geometry is not one of those that need no closer look."""
        indices = np.asarray(tags.indices)
        lengths = np.diff(offsets)
        for place, tag in enumerate(tags.dictionary.to_pylist()):
            all_of_it = len(tags.dictionary) == 1
            some = slice(None) if all_of_it else np.flatnonzero(indices == place)
            first, found = offsets[:-1][some], lengths[some]
            bad = _bad_geometry(tag, first, found, values)
            if bad.any():
                mask = np.zeros(len(lengths), bool)
                mask[some] = bad
                self._odd.add(mask)

    def _confidence(self) -> Encoded | None:
        array = self._fields.get("confidence")
        if array is None or array.null_count == len(array):
            return None
        values = numbers(array, f"{self._what}.confidence", self._odd)
        self._odd.add((values < 0) | (values > 1))
        return Encoded([floats(values)], present_in(array))

    def _id(self) -> Encoded | None:
        array = self._fields.get("id")
        if array is None or array.null_count == len(array):
            return None
        values = names(array, f"{self._what}.id")
        self._odd.add(pc.fill_null(pc.equal(values, ""), False))
        return Encoded(strings(values), present_in(values))

    def _labels(self) -> Encoded | None:
        array = self._fields.get("label")
        if array is None or array.null_count == len(array):
            return None
        array, what = plain(array), f"{self._what}.label"
        if not pa.types.is_nested(array.type):
            return Encoded([b"\x91", *strings(words(array, what))], present_in(array))
        offsets, items = listed(array, what)
        filled = np.diff(offsets) > 0
        if not filled.any():
            return None
        labels = words(items, what)
        if labels.null_count:
            OfItems(self._odd, np.diff(offsets)).add(labels.is_null())
        return Encoded(lists(join(strings(labels), len(labels)), offsets), None if filled.all() else filled)


_ROI_NAMES = frozenset({"type", "confidence", "id", "label", "mask", "meta", "poly", "sources"})

_BUILTIN = {str(cls.__struct_config__.tag): cls for cls in BuiltinAnnotation.__args__}


def _bad_geometry(
    tag: str, first: NDArray[np.int64], lengths: NDArray[np.int64], values: NDArray[np.float64]
) -> Mask:
    """Say which geometries of a type need a closer look; they have so many coordinates from so many on."""
    cls: Any = _BUILTIN.get(tag)
    if cls is not types_by_tag.get(tag) or cls is None:
        return np.ones(len(lengths), bool)
    if cls is ImageAnnotation:
        return lengths != 0
    if issubclass(cls, Points):
        return (lengths == 0) | (lengths % cls.dimensions != 0)
    if not issubclass(cls, Shape):
        return np.ones(len(lengths), bool)
    are_sizes = cls.which_are_sizes()
    bad = lengths != len(are_sizes)
    if not len(values):
        return bad
    for place in np.flatnonzero(are_sizes).tolist():
        bad = bad | (values[np.minimum(first + place, len(values) - 1)] < 0)
    return bad


def _are_plain(uris: pa.Array) -> bool:
    """Say whether all URIs are plain, and begin with the scheme of the first one, which is the usual."""
    offsets = offsets_of(uris)
    first = uris[0].as_py() if len(uris) and not uris.null_count else None
    if first is None or not first.isascii() or not _SCHEME.match(first):
        return False
    scheme = first[: first.index("://") + 3]
    used = np.frombuffer(uris.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]  # type: ignore[arg-type]
    return (
        int(np.diff(offsets).min()) > len(scheme)
        and int(used.max()) < 0x80
        and not any((used == byte).any() for byte in b"?#@")
        and bool(pc.all(pc.starts_with(uris, scheme)).as_py())
    )


def _type_pieces(tags: Any) -> pa.Array:
    pieces = pa.array([text(tag) for tag in tags.dictionary.to_pylist()], pa.binary())
    return pieces.take(tags.indices)


def _only(tags: Any) -> str:
    return tags.dictionary[0].as_py()


def _derived_types(uris: pa.Array) -> pa.Array:
    """Return the content types of the suffixes of URIs; null for unknown ones."""
    words = pc.split_pattern(uris, ".", max_splits=1, reverse=True)
    counts = np.diff(offsets_of(words))
    last = offsets_of(words)[1:].astype(np.int64) - 1
    suffixes = words.values.take(pa.array(np.maximum(last, 0))).dictionary_encode()  # type: ignore[attr-defined]
    indices = np.asarray(suffixes.indices)
    kinds: list[str | None] = []
    for place in range(len(suffixes.dictionary)):
        index = int(np.argmax(indices == place))
        kinds.append(content_type_of(uris[index].as_py() or "") if counts[index] > 1 else None)
    return pa.array(kinds, pa.string()).take(suffixes.indices)


def wire_of(plan: Plan, table: pa.RecordBatch, index: int) -> tuple[dict[str, Any], bool]:
    """Return the wire form of a row, and whether it is that of a group."""
    row = table.select(list(plan.columns.values())).slice(index, 1).to_pylist(maps_as_pydicts="strict")[0]
    wire: dict[str, Any] = {}
    source: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    for field, column in plan.columns.items():
        value = row[column]
        if value is None:
            continue
        if field.startswith(SOURCE):
            source[field.removeprefix(SOURCE)] = value
        elif field.startswith(KEY):
            _put(keys, field.removeprefix(KEY).split("."), without_nulls(value))
        else:
            wire[field] = value
    is_group = bool(wire.pop(GROUP, False))
    if source:
        wire[SOURCES] = [source]
    if keys:
        wire[META] = keys
    if META in wire:
        wire[META] = json_object(wire[META])
    for part in (SOURCES, ROIS):
        if isinstance(wire.get(part), list):
            wire[part] = [_part_of(item, plan.renamed if part == ROIS else {}) for item in wire[part]]
    return wire, is_group


def _put(into: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        into = into.setdefault(key, {})
    into[keys[-1]] = value


def _part_of(item: Any, renamed: Mapping[str, str]) -> Any:
    """Return the wire form of an annotation or a source of a row."""
    if not isinstance(item, dict):
        return item
    found = {renamed.get(key, key): value for key, value in item.items() if value is not None}
    return {key: json_object(value) if key == META else without_nulls(value) for key, value in found.items()}
