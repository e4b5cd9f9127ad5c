"""Decodes what queries ask for from the log, as pieces: the columns of some frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.frames.single_frame import SingleFrame
from ...engine.keys import U64
from ...engine.log.contract import Log
from ..states.fold import State
from ..states.frames import read_parts
from .columns import Columns, Values

ID, FRAME, META, ROIS = GROUPS = ("id", "frame", "meta", "rois")
"""The groups of fields that are decoded together."""

_LARGEST = 64 * 1024 * 1024
"""A piece ends when its values take about as many bytes while they are collected."""


class _MaskSource(msgspec.Struct, gc=False):
    id: str | None = None
    uri: str | None = None
    content_type: str | None = None
    timestamp: int | None = None


class _Preview(msgspec.Struct, gc=False):
    uri: str | None = None
    content_type: str | None = None
    timestamp: int | None = None


class _Source(msgspec.Struct, gc=False):
    content_type: str | None = None
    hash: str | None = None
    height: int | None = None
    id: str = "default"
    masks: list[_MaskSource] = []
    meta: dict[str, Any] = {}
    preview: _Preview | None = None
    size: int | None = None
    timestamp: int = 0
    uri: str | None = None
    width: int | None = None


class _MaskValue(msgspec.Struct, gc=False):
    id: str | None = None


class _Roi(msgspec.Struct, gc=False):
    confidence: float | None = None
    id: str | None = None
    label: list[str] = []
    mask: _MaskValue | None = None
    meta: dict[str, Any] = {}
    sources: list[str] = []
    type: str | None = None


_FIELDS: dict[str, tuple[tuple[str, Any, Any], ...]] = {
    ID: (),
    FRAME: (
        ("context_id", str | None, None),
        ("num_frames", int | None, None),
        ("sources", list[_Source], msgspec.field(default_factory=list)),
    ),
    META: (("meta", dict[str, Any], msgspec.field(default_factory=dict)),),
    ROIS: (("rois", list[_Roi], msgspec.field(default_factory=list)),),
}


@lru_cache(maxsize=16)
def _record(groups: frozenset[str]) -> type[msgspec.Struct]:
    fields = chain.from_iterable(_FIELDS[group] for group in sorted(groups))
    return msgspec.defstruct("Queried", list(fields), gc=False)


class Piece:
    """The columns of one group of fields, of some frames.

    Attributes
    ----------
    positions : ndarray of uint64
        The positions of the frames, ascending.
    columns : Columns
        Their values. The rows are those of the frames, or of their annotations.
    owners : ndarray of int32 or None
        The row of the frame of each annotation.
    """

    __slots__ = ("bytes", "columns", "owners", "positions")

    def __init__(self, positions: U64, columns: Columns, owners: NDArray[np.int32] | None = None) -> None:
        self.positions = positions
        self.columns = columns
        self.owners = owners
        self.bytes = positions.nbytes + columns.bytes + (0 if owners is None else owners.nbytes)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.positions)


class _Collector:
    """Collects the values of one group."""

    def __init__(self, group: str) -> None:
        self.values = Values()
        self._group = group
        self._annotations: list[int] = []

    def add(self, first: int, ids: list[str], frames: list[Any]) -> None:
        """Add the frames of the rows from `first` on."""
        rows = range(first, first + len(frames))
        match self._group:
            case "id":
                self.values.add_some("id", rows, ids)
            case "meta":
                for row, frame in zip(rows, frames, strict=True):
                    if frame.meta:
                        self.values.add_tree("meta", row, frame.meta)
            case "rois":
                self._add_annotations(frames)
            case _:
                self._add_frames(rows, frames)

    def piece(self, positions: U64) -> Piece:
        """Return what was collected."""
        columns = Columns(self.values)
        if self._group != ROIS:
            return Piece(positions, columns)
        counts = np.array(self._annotations, np.int64)
        return Piece(positions, columns, np.repeat(np.arange(len(counts), dtype=np.int32), counts))

    def _add_annotations(self, frames: list[Any]) -> None:
        rois: list[_Roi] = list(chain.from_iterable(map(_rois, frames)))
        first = len(self.values.paths.get("type", ((), ()))[0])
        self._annotations.extend(map(len, map(_rois, frames)))
        rows, add = range(first, first + len(rois)), self.values.add_some
        # Every annotation has a type, so their number is known from it.
        add("type", rows, [roi.type or "" for roi in rois])
        add("confidence", rows, list(map(_confidence, rois)))
        _add_lists(self.values, "label", rows, list(map(_label, rois)))
        _add_lists(self.values, "sources", rows, list(map(_names, rois)))
        add("id", rows, list(map(_id, rois)))
        add("mask.id", rows, [roi.mask.id if roi.mask else None for roi in rois])
        for row, meta in zip(rows, map(_meta, rois), strict=True):
            if meta:
                self.values.add_tree("meta", row, meta)

    def _add_frames(self, rows: Sequence[int], frames: list[Any]) -> None:
        add = self.values.add_some
        counts = list(map(len, map(_sources, frames)))
        sources: list[_Source] = list(chain.from_iterable(map(_sources, frames)))
        first = [frame.sources[0] if frame.sources else None for frame in frames]
        contexts = [
            frame.context_id or (source and source.uri) for frame, source in zip(frames, first, strict=True)
        ]
        add("context_id", rows, contexts)
        add("num_frames", rows, [frame.num_frames for frame in frames])
        add("timestamp", rows, [source and source.timestamp for source in first])
        owners = list(chain.from_iterable(map(repeat, rows, counts)))
        for name, value_of in _SOURCE_FIELDS.items():
            add(f"sources.{name}", owners, list(map(value_of, sources)))
        for row, source in zip(owners, sources, strict=True):
            if source.meta:
                self.values.add_tree("sources.meta", row, source.meta)
            if source.preview:
                self.values.add_tree("sources.preview", row, msgspec.structs.asdict(source.preview))
            for mask in source.masks:
                self.values.add_tree("sources.masks", row, msgspec.structs.asdict(mask))


def _add_lists(values: Values, path: str, rows: Sequence[int], lists: list[list[str]]) -> None:
    owners = chain.from_iterable(map(repeat, rows, map(len, lists)))
    values.add_some(path, owners, list(chain.from_iterable(lists)))


_rois, _sources, _meta = attrgetter("rois"), attrgetter("sources"), attrgetter("meta")
_confidence, _label, _names, _id = map(attrgetter, ("confidence", "label", "sources", "id"))
_SOURCE_FIELDS: dict[str, Callable[[Any], Any]] = {
    name: attrgetter(name)
    for name in ("id", "uri", "content_type", "timestamp", "width", "height", "size", "hash")
}


def read_pieces(
    log: Log, state: State, positions: U64, groups: Collection[str]
) -> Iterator[tuple[str, Piece]]:
    """Decode groups of fields of frames in one pass over the log.

    Parameters
    ----------
    log : Log
        The log.
    state : State
        The state that has the frames.
    positions : ndarray of uint64
        The positions of the frames, ascending.
    groups : collection of str
        Some of `GROUPS`.

    Yields
    ------
    (str, Piece)
        A group and its columns. Several pieces if the frames are large, so that memory is bounded.
    """
    kind = _record(frozenset(groups))
    done = 0
    collectors, at = {group: _Collector(group) for group in groups}, 0
    for found, ids, frames in read_parts(log, state, positions, kind):
        if not all(type(frame) is kind for frame in frames):
            frames = [_converted(frame, kind) for frame in frames]  # noqa: PLW2901
        for collector in collectors.values():
            collector.add(at, ids, frames)
        at += len(found)
        if sum(collector.values.size for collector in collectors.values()) > _LARGEST:
            yield from _finished(collectors, positions[done : done + at])
            done += at
            collectors, at = {group: _Collector(group) for group in groups}, 0
    if at:
        yield from _finished(collectors, positions[done : done + at])


def _finished(collectors: dict[str, _Collector], positions: U64) -> Iterator[tuple[str, Piece]]:
    for group, collector in collectors.items():
        yield group, collector.piece(positions)


def _converted(frame: Any, kind: type[msgspec.Struct]) -> Any:
    """Return a frame that could only be decoded whole as one of the queried fields."""
    return msgspec.convert(frame.to_wire(None), kind) if isinstance(frame, SingleFrame) else frame
