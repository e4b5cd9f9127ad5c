"""Counts of frames: what statistics keep of each, decoded and counted a block at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from ..engine.batch import Block
from ..engine.collector import collector_paused
from ..engine.errors import IntegrityError
from ..engine.frame_batch import events_at
from ..engine.log import Log

TOTAL, ANNOTATED, LABEL, CONTENT_TYPE, SOURCE, SOURCE_BYTES = (
    "total",
    "annotated",
    "label",
    "content_type",
    "source",
    "source_bytes",
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
    """Of an event of a frame batch just what is counted."""

    frame: _Frame | None
    id: str | None = None
    previous: int = 0


_decoder = msgspec.msgpack.Decoder(list[_Change])
_frame = attrgetter("frame")
_previous = attrgetter("previous")
_labels = attrgetter("label")
_rois = attrgetter("rois")
_sources = attrgetter("sources")
_content_type = attrgetter("content_type")
_source_id = attrgetter("id")
_size = attrgetter("size")


class Tally(msgspec.Struct):
    """Counts of some frames, kind by kind."""

    frames: int = 0
    annotated: int = 0
    labels: Counter[str] = msgspec.field(default_factory=Counter[str])
    content_types: Counter[str] = msgspec.field(default_factory=Counter[str])
    sources: Counter[str] = msgspec.field(default_factory=Counter[str])
    source_bytes: Counter[str] = msgspec.field(default_factory=Counter[str])

    def add_block(self, block: Block, position: int) -> list[int]:
        """Count the frames of a block whose first event is at `position`; returns the positions they replace."""
        return self._add(block.as_array(), position)

    def add_events(self, events: Sequence[bytes], position: int) -> None:
        """Count the frames of some encoded events, the first of them at `position`."""
        self._add(b"\xdd" + len(events).to_bytes(4, "big") + b"".join(events), position)

    def _add(self, array: bytes, position: int) -> list[int]:
        with collector_paused():
            changes = _decode(array, position)
            self._count([frame for frame in map(_frame, changes) if frame is not None])
            return list(filter(None, map(_previous, changes)))

    def _count(self, frames: Sequence[_Frame]) -> None:
        rois = list(map(_rois, frames))
        sources = list(chain.from_iterable(map(_sources, frames)))
        self.frames += len(frames)
        self.annotated += sum(map(bool, rois))
        self.labels.update(chain.from_iterable(map(_labels, chain.from_iterable(rois))))
        self.content_types.update(map(_content_type, sources))
        self.sources.update(map(_source_id, sources))
        if any(map(_size, sources)):
            for source in sources:
                self.source_bytes[source.id] += source.size

    def counts(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Yield every count with its kind and name."""
        yield (TOTAL, ""), self.frames
        yield (ANNOTATED, ""), self.annotated
        named = {
            LABEL: self.labels,
            CONTENT_TYPE: self.content_types,
            SOURCE: self.sources,
            SOURCE_BYTES: self.source_bytes,
        }
        for kind, counter in named.items():
            for name, count in counter.items():
                yield (kind, name), count


def tally_at(log: Log, positions: dict[str, list[int]]) -> dict[str, Tally]:
    """Count the frames recorded at some positions for each of several owners, in one pass over the log."""
    owners = list(positions)
    wanted = np.concatenate([np.array(positions[owner], np.int64) for owner in owners])
    of_owner = np.repeat(np.arange(len(owners)), [len(positions[owner]) for owner in owners])
    order = np.argsort(wanted, kind="stable")
    asked = zip(wanted[order].tolist(), of_owner[order].tolist(), strict=True)
    tallies = {owner: Tally() for owner in owners}
    waiting = {owner: _Waiting() for owner in owners}
    for number, (position, event) in _each(events_at(log, wanted.tolist()), asked):
        waiting[owners[number]].take(position, event, tallies[owners[number]])
    for owner, events in waiting.items():
        events.hand_over(tallies[owner])
    return tallies


def _each(
    events: Iterable[tuple[int, bytes]], asked: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Yield ``(owner, event)``: an event comes once, though several may have asked for it."""
    found = iter(events)
    event = (0, b"")
    for position, owner in asked:
        if position != event[0]:
            event = next(found)
        yield owner, event


class _Waiting(msgspec.Struct):
    """Events of one owner that are counted together."""

    events: list[bytes] = []
    size: int = 0
    position: int = 0

    def take(self, position: int, event: bytes, tally: Tally) -> None:
        self.position = self.position if self.events else position
        self.events.append(event)
        self.size += len(event)
        if len(self.events) >= _DECODED_AT_ONCE or self.size >= _DECODED_BYTES:
            self.hand_over(tally)

    def hand_over(self, tally: Tally) -> None:
        if self.events:
            tally.add_events(self.events, self.position)
        self.events, self.size = [], 0


def _decode(data: bytes, position: int) -> list[Any]:
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"a frame event of the batch that holds position {position} is damaged: {error}"
        raise IntegrityError(message, position=position) from error
