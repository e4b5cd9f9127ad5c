"""Counts for the statistics of frames, decoded and counted one block at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, cast

import msgspec
import numpy as np

from ...engine.decoding import UNDECODABLE, Position, array_of, guarded
from ...engine.errors import UnreadableError
from ...engine.frames.single_frame import SingleFrame
from ...engine.frames.wire_batch import PlainFrame
from ...engine.log.batch import Block
from ...engine.log.contract import Log
from ...engine.log.decoding import gc_paused
from ...engine.log.frame_batch import event_lists_at, events_at

TOTAL, ANNOTATED, LABEL, CONTENT_TYPE, SOURCE, SOURCE_BYTES, UNREADABLE = (
    "total",
    "annotated",
    "label",
    "content_type",
    "source",
    "source_bytes",
    "unreadable",
)
_UNKNOWN_TYPE = "unknown"
_DECODED_AT_ONCE = 128
_DECODED_BYTES = 1024 * 1024

Counts = Counter[tuple[str, str]]
"""Counts by kind and name."""


class _Annotation(msgspec.Struct, gc=False):
    label: list[str] = []


class _Source(msgspec.Struct, gc=False):
    id: str = "default"
    content_type: str = _UNKNOWN_TYPE
    size: int = 0


class _Frame(msgspec.Struct, gc=False):
    rois: list[_Annotation] = []
    sources: list[_Source] = []


class _Change(msgspec.Struct, array_like=True, gc=False):
    """The fields of a frame event that are counted."""

    frame: _Frame | None
    id: str | None = None
    previous: Position = 0


_decode = guarded(msgspec.msgpack.Decoder(list[_Change]).decode)
_frame = attrgetter("frame")
_previous = attrgetter("previous")
_labels = attrgetter("label")
_rois = attrgetter("rois")
_sources = attrgetter("sources")
_content_type = attrgetter("content_type")
_source_id = attrgetter("id")
_size = attrgetter("size")


class FrameCounts(msgspec.Struct):
    """Counts of frames, by kind. `unreadable` counts the positions of events that cannot be read."""

    frames: int = 0
    annotated: int = 0
    labels: Counter[str] = msgspec.field(default_factory=Counter[str])
    content_types: Counter[str] = msgspec.field(default_factory=Counter[str])
    sources: Counter[str] = msgspec.field(default_factory=Counter[str])
    source_bytes: Counter[str] = msgspec.field(default_factory=Counter[str])
    unreadable: Counter[str] = msgspec.field(default_factory=Counter[str])

    def add_block(self, block: Block, position: int) -> list[int]:
        """Count the frames of a block whose first event is at `position`. Returns the positions that they replace."""
        positions = range(position, position + block.count)
        try:
            changes = self._add(block.as_array())
        except UNDECODABLE:
            changes = self._add_each(block.events(), positions)
        if max(map(_previous, changes), default=0) < position:
            return list(filter(None, map(_previous, changes)))
        later = [at for at, change in zip(positions, changes, strict=False) if change.previous >= at]
        self.unreadable.update(map(str, later))
        return [
            change.previous
            for at, change in zip(positions, changes, strict=False)
            if 0 < change.previous < at
        ]

    def add_events(self, events: Sequence[bytes], positions: Sequence[int]) -> None:
        """Count the frames of some encoded events."""
        try:
            self._add(array_of(events))
        except UNDECODABLE:
            self._add_each(events, positions)

    def _add(self, array: bytes) -> list[_Change]:
        with gc_paused():
            changes = _decode(array)
            self._count([frame for frame in map(_frame, changes) if frame is not None])
            return changes

    def _add_each(self, events: Sequence[bytes], positions: Sequence[int]) -> list[_Change]:
        """Count the readable events. An event that replaces an unreadable one subtracts it."""
        changes: list[_Change] = []
        for position, event in zip(positions, events, strict=True):
            try:
                changes += self._add(array_of([event]))
            except UNDECODABLE:
                self.unreadable[str(position)] += 1
                changes.append(_Change(None))
        return changes

    def include(self, other: FrameCounts) -> None:
        """Add other counts."""
        self.frames += other.frames
        self.annotated += other.annotated
        for mine, more in zip(self._counters(), other._counters(), strict=True):
            mine.update(more)

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.labels, self.content_types, self.sources, self.source_bytes, self.unreadable

    def _count(self, frames: Sequence[_Frame]) -> None:
        self.count(list(map(_rois, frames)), _labels, list(chain.from_iterable(map(_sources, frames))))

    def count(
        self, rois: Sequence[Sequence[Any]], labels: Callable[[Any], list[str]], sources: Sequence[Any]
    ) -> None:
        """Count frames by their annotations, the labels of each of these, and their sources."""
        self.frames += len(rois)
        self.annotated += sum(map(bool, rois))
        self.labels.update(chain.from_iterable(map(labels, chain.from_iterable(rois))))
        self.content_types.update(map(_content_type, sources))
        self.sources.update(map(_source_id, sources))
        if any(map(_size, sources)):
            for source in sources:
                self.source_bytes[source.id] += source.size or 0

    def counts(self) -> dict[tuple[str, str], int]:
        """Return every count by kind and name."""
        counts = {(TOTAL, ""): self.frames, (ANNOTATED, ""): self.annotated}
        named = {
            LABEL: self.labels,
            CONTENT_TYPE: self.content_types,
            SOURCE: self.sources,
            SOURCE_BYTES: self.source_bytes,
            UNREADABLE: self.unreadable,
        }
        for kind, counter in named.items():
            for name, count in counter.items():
                counts[kind, name] = count
        return counts


_FIELDS: dict[type, tuple[Callable[[Any], Any], ...]] = {
    SingleFrame: (attrgetter("_annotations"), attrgetter("_labels"), attrgetter("_sources")),
    PlainFrame: (_rois, _labels, _sources),
}


def count_records(records: Sequence[Any]) -> FrameCounts | None:
    """Count frames that were just recorded, as they are counted when they are read; None for frames of several types, and groups."""
    (kind, *others) = set(map(type, records)) or {None}
    if others or kind not in _FIELDS:
        return None
    rois, labels, sources = _FIELDS[kind]
    counts = FrameCounts()
    counts.count(
        list(map(rois, records)), labels, list(chain.from_iterable(filter(None, map(sources, records))))
    )
    untyped = counts.content_types.pop(cast("str", None), 0)
    if untyped:
        counts.content_types[_UNKNOWN_TYPE] += untyped
    return counts


def count_changes(changed: Collection[str]) -> FrameCounts | None:
    """Count updates that were just recorded, by the names of the fields that changed; None if counts depend on one of them."""
    return None if set(_Frame.__struct_fields__).intersection(changed) else FrameCounts()


def tally_at(log: Log, positions: dict[str, list[int]]) -> dict[str, FrameCounts]:
    """Count the frames at some positions for several owners, in one pass over the log."""
    owners = list(positions)
    if len(owners) == 1 and len(set(positions[owners[0]])) == len(positions[owners[0]]):
        tally, together = FrameCounts(), _Waiting()
        for found, events in event_lists_at(log, positions[owners[0]]):
            together.take(found, events, tally)
        together.hand_over(tally)
        return {owners[0]: tally}
    wanted = np.concatenate([np.array(positions[owner], np.int64) for owner in owners])
    of_owner = np.repeat(np.arange(len(owners)), [len(positions[owner]) for owner in owners])
    order = np.argsort(wanted, kind="stable")
    asked = zip(wanted[order].tolist(), of_owner[order].tolist(), strict=True)
    tallies = {owner: FrameCounts() for owner in owners}
    waiting = {owner: _Waiting() for owner in owners}
    for number, (position, event) in _each(events_at(log, wanted.tolist()), asked):
        waiting[owners[number]].take([position], [event], tallies[owners[number]])
    for owner, events in waiting.items():
        events.hand_over(tallies[owner])
    return tallies


def _each(
    events: Iterable[tuple[int, bytes]], asked: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Yield ``(owner, event)``. An event is read once, even if several owners request it."""
    found = iter(events)
    event = (0, b"")
    for position, owner in asked:
        if position != event[0]:
            event = next(found)
        yield owner, event


class _Waiting(msgspec.Struct):
    """Events of one owner that are decoded together."""

    events: list[bytes] = []
    positions: list[int] = []
    size: int = 0

    def take(self, positions: Sequence[int], events: Sequence[bytes], tally: FrameCounts) -> None:
        self.positions += positions
        self.events += events
        self.size += sum(map(len, events))
        if len(self.events) >= _DECODED_AT_ONCE or self.size >= _DECODED_BYTES:
            self.hand_over(tally)

    def hand_over(self, tally: FrameCounts) -> None:
        if self.events:
            tally.add_events(self.events, self.positions)
        self.events, self.positions, self.size = [], [], 0


def require_readable(counts: Counts, version_id: str) -> Counts:
    """Return the counts. Raises `IntegrityError` if an event of the version cannot be read."""
    positions = [int(name) for (kind, name), count in counts.items() if kind == UNREADABLE and count]
    if positions:
        message = f"the statistics of version {version_id} are incomplete: the frame event at position {min(positions)} is damaged"
        raise UnreadableError(message, position=min(positions))
    return counts
