"""Reads changes from the log, by batch or along the history of one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.decoding import UNDECODABLE, guarded
from ...engine.errors import UnreadableError
from ...engine.events.registry import FRAME_TOPICS, decode_event, is_known_topic, subject_and_kind
from ...engine.frames.single_frame import decode_record
from ...engine.frames.wire_records import Wire, wires_of
from ...engine.iterables import chunked
from ...engine.keys import KEY_SIZE, Operation, Rows, key_bytes, read_rows
from ...engine.log.batch import BatchHeader, Body
from ...engine.log.context import decode_context
from ...engine.log.contract import Log
from ...engine.log.event_batch import unpack_states
from ...engine.log.frame_batch import FrameChange, changes_at, decode_change, not_before
from ...engine.stores.values import decode_value, json_form
from ...engine.times import utc
from ...engine.validation import printable
from .table import BatchRow, HistoryQuery

_BATCHES_AT_ONCE = 8
_HEX = 2 * KEY_SIZE
_TOPICS = np.array(["", *(FRAME_TOPICS[operation] for operation in Operation)])
_REPLACING = {"renamed", "described", "tagged", "metadata_set"}
"""Kinds of changes that replace a value."""

_ORIGINATOR = ("originator_id", "originator_version")


class Images(Protocol):
    """The state before and after a change, read on access."""

    def before(self) -> Wire | None:
        """Return what stood before."""
        ...

    def after(self) -> Wire | None:
        """Return what stood after."""
        ...


class Change(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A recorded change of a frame, version, dataset or other stream.

    Attributes
    ----------
    position : int
        Position in the log.
    at : datetime
        UTC time of recording.
    actor : str
        Who made the change.
    context : dict
        The context passed to `acting`.
    subject : str
        What was changed: ``frame``, ``version``, ``dataset``, or another kind of stream.
    kind : str
        ``added``, ``updated`` or ``deleted`` for frames; ``created``, ``renamed``, ``committed``, ``published`` and so on for
        others.
    dataset_id, version_id : str or None
        The dataset and version in which it was recorded. For an inherited change, the version is an ancestor.
    frame_id : str or None
        Id of the frame, or None if it is not a change of a frame.
    fields : tuple of str
        Names of the fields that an update of a frame changed; otherwise the names of all fields of the change.
    """

    position: int
    at: datetime
    actor: str
    context: dict[str, Any]
    subject: str
    kind: str
    dataset_id: str | None
    version_id: str | None
    frame_id: str | None
    fields: tuple[str, ...]
    images: Images

    @property
    def before(self) -> Wire | None:
        """The state before the change, in wire form, or None. Each access reads the log."""
        return self.images.before()

    @property
    def after(self) -> Wire | None:
        """The frame after the change, in wire form, or None if it was deleted. Otherwise the fields of the change."""
        return self.images.after()

    def to_dict(self, *, images: bool = False) -> dict[str, Any]:
        """Return the change as plain JSON-like values.

        Parameters
        ----------
        images : bool
            Include the state before and after the change.
        """
        plain = {name: getattr(self, name) for name in _PUBLIC}
        plain |= {"at": self.at.isoformat(timespec="microseconds"), "fields": list(self.fields)}
        return plain | ({"before": self.before, "after": self.after} if images else {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Change) and all(
            getattr(self, name) == getattr(other, name) for name in _PUBLIC
        )

    def __hash__(self) -> int:
        return hash((self.position, self.at, self.actor))

    def __repr__(self) -> str:
        what = f" {self.frame_id}" if self.frame_id is not None else ""
        which = f" ({', '.join(self.fields)})" if self.fields else ""
        time = f"{self.at:%Y-%m-%d %H:%M:%S}"
        by = f"{self.kind}{which} by {self.actor}, {time}"
        return printable(f"Change({self.position}: {self.subject}{what} {by})")

    def __reduce__(self) -> tuple[Any, ...]:
        values = tuple(getattr(self, name) for name in _PUBLIC)
        return _restore, (values, KeptImages(self.before, self.after))


_PUBLIC = tuple(name for name in Change.__struct_fields__ if name != "images")


def _restore(values: Sequence[Any], images: KeptImages) -> Change:
    return Change(**dict(zip(_PUBLIC, values, strict=True)), images=images)


class KeptImages(msgspec.Struct, frozen=True):
    """A state before and after that is already in memory."""

    kept_before: Wire | None
    kept_after: Wire | None

    def before(self) -> Wire | None:
        """Return what stood before."""
        return self.kept_before

    def after(self) -> Wire | None:
        """Return what stood after."""
        return self.kept_after


class _FrameImages(msgspec.Struct, frozen=True):
    log: Log
    frame_id: str
    stored: FrameChange

    position: int

    def before(self) -> Wire | None:
        previous = self.stored.previous
        if not previous:
            return None
        return payload_wire(self.frame_id, changes_at(self.log, [previous])[previous].payload, previous)

    def after(self) -> Wire | None:
        return payload_wire(self.frame_id, self.stored.payload, self.position)


class _EventImages(msgspec.Struct, frozen=True):
    """The state before and after a change that is not of a frame: the replaced value, and the fields of the event."""

    log: Log
    header: BatchHeader
    topic: str
    version: int
    said: Wire

    def before(self) -> Wire | None:
        if previous := self.said.get("previous"):
            if previous >= self.header.position_of(self.version):
                raise not_before(self.header.position_of(self.version), previous)
            return _said_at(self.log, previous)
        if subject_and_kind(self.topic)[1] not in _REPLACING:
            return None
        earlier: Wire = {}
        batches = self.log.headers(
            stream_id=self.header.stream_id, lte=self.header.first_position, schema=self.header.schema
        )
        for header in batches:
            for version, (_, said) in enumerate(_said_in(self.log, header), header.first_version):
                if version < self.version:
                    earlier |= said
        return {name: earlier[name] for name in self.said if name in earlier} or None

    def after(self) -> Wire | None:
        return self.said or None


def _said_in(log: Log, header: BatchHeader) -> list[tuple[str, Wire]]:
    """Return the topics and fields of a lifecycle batch; empty for events of other applications."""
    (body,) = log.bodies([header.first_position])
    return [
        (topic, _said(header, topic, position, state) if is_known_topic(topic) else {})
        for position, (topic, state) in enumerate(unpack_states(header, body), header.first_position)
    ]


def _said_at(log: Log, position: int) -> Wire:
    header = log.batch_at(position)
    return _said_in(log, header)[position - header.first_position][1]


def payload_wire(frame_id: str | None, payload: bytes, position: int) -> Wire | None:
    """Return the wire form of a canonical payload recorded at a position, or None if it is empty, as for a delete.

    Raises
    ------
    UnreadableError
        It is not a record, or has values without a wire form.
    """
    if not payload:
        return None
    record = decode_record(payload, position)
    try:
        return guarded(record.to_wire)(frame_id)
    except (TypeError, msgspec.MsgspecError) as error:
        message = f"the frame event at position {position} holds values that JSON does not have: {error}"
        raise UnreadableError(message, position=position) from error


def payload_wires(
    ids: Sequence[str], payloads: Sequence[bytes], positions: Sequence[int]
) -> list[Wire | None]:
    """Return what `payload_wire` returns for many payloads."""
    filled = [place for place, payload in enumerate(payloads) if payload]
    try:
        wires = wires_of([ids[place] for place in filled], [payloads[place] for place in filled])
    except (*UNDECODABLE, TypeError, RecursionError):
        return list(map(payload_wire, ids, payloads, positions))
    found: list[Wire | None] = [None] * len(payloads)
    for place, wire in zip(filled, wires, strict=True):
        found[place] = wire
    return found


def _said(header: BatchHeader, topic: str, position: int, state: bytes) -> Wire:
    event = decode_event(topic, header.stream_id, header.version_at(position), state, position)
    return {
        name: json_form(decode_value(value, position))
        if isinstance(value, bytes)
        else msgspec.to_builtins(value)
        for name, value in msgspec.structs.asdict(event).items()
        if name not in _ORIGINATOR
    }


class _Origin(msgspec.Struct, frozen=True):
    """The attributes that all changes of a batch share."""

    at: datetime
    actor: str
    context: dict[str, Any]
    dataset_id: str | None
    version_id: str | None

    @classmethod
    def of(cls, batch: BatchRow | BatchHeader, dataset_id: str | None, version_id: str | None) -> Self:
        position = batch.first_position
        context = decode_context(batch.context, position)
        return cls(utc(batch.recorded_at, position), batch.actor, context, dataset_id, version_id)

    def change(
        self, position: int, topic: str, frame_id: str | None, fields: Sequence[str], images: Images
    ) -> Change:
        subject, kind = subject_and_kind(topic)
        return Change(
            position=position,
            at=self.at,
            actor=self.actor,
            context=self.context,
            subject=subject,
            kind=kind,
            dataset_id=self.dataset_id,
            version_id=self.version_id,
            frame_id=frame_id,
            fields=tuple(fields),
            images=images,
        )


def read_changes(log: Log, batches: Sequence[BatchRow], wanted: HistoryQuery) -> Iterator[Change]:
    """Yield the changes of some batches that match a query, in order. Only a few batches are open at a time."""
    for chunk in chunked(batches, _BATCHES_AT_ONCE):
        firsts = sorted(row.first_position for row in chunk if row.is_frames)
        keys = log.rows_at(firsts)
        bodies = {body.first_position: body for body in log.bodies(firsts)}
        for row in chunk:
            first = row.first_position
            if row.is_frames:
                yield from _frames_changed(log, row, read_rows(keys[first]), bodies[first], wanted)
            else:
                yield from _things_changed(log, row, wanted)


def _frames_changed(
    log: Log, row: BatchRow, rows: Rows, body: Body, wanted: HistoryQuery
) -> Iterator[Change]:
    origin = _Origin.of(row, row.dataset_id, row.version_id)
    indices = np.flatnonzero(_are_wanted(row, rows, wanted))
    topics = _TOPICS[rows["op"]].tolist()
    hex_keys = key_bytes(rows).hex()
    for index, event in _events(body, indices, newest_first=wanted.newest_first):
        position = row.first_position + index
        stored = decode_change(event, position)
        frame_id = hex_keys[index * _HEX : (index + 1) * _HEX] if stored.id is None else stored.id
        images = _FrameImages(log, frame_id, stored, position)
        yield origin.change(position, topics[index], frame_id, stored.changed, images)


def _are_wanted(row: BatchRow, rows: Rows, wanted: HistoryQuery) -> NDArray[np.bool_]:
    keep = np.ones(len(rows), bool)
    unknown = np.flatnonzero(~np.isin(rows["op"], list(Operation)))
    if len(unknown):
        position = row.first_position + int(unknown[0])
        message = f"the frame event at position {position} has the unknown operation {rows['op'][unknown[0]]}"
        raise UnreadableError(message, position=position)
    if wanted.since is not None:
        keep[: max(0, wanted.since - row.first_position)] = False
    if wanted.until is not None:
        keep[max(0, wanted.until + 1 - row.first_position) :] = False
    if wanted.topics is not None:
        keep &= np.isin(_TOPICS, list(wanted.topics))[rows["op"]]
    return keep


def _events(body: Body, indices: NDArray[np.intp], *, newest_first: bool) -> Iterator[tuple[int, bytes]]:
    """Yield events of a body by index. Each block is decompressed once."""
    numbers = range(body.blocks)
    for number in reversed(numbers) if newest_first else numbers:
        start, stop = body.bounds(number)
        within = indices[np.searchsorted(indices, start) : np.searchsorted(indices, stop)].tolist()
        if within:
            events = body.open_block(number).events()
            for index in reversed(within) if newest_first else within:
                yield index, events[index - start]


def _things_changed(log: Log, row: BatchRow, wanted: HistoryQuery) -> Iterator[Change]:
    header = log.batch_at(row.first_position)
    origin = _Origin.of(row, row.dataset_id, row.version_id)
    changes: list[Change] = []
    for index, (topic, said) in enumerate(_said_in(log, header)):
        position = header.first_position + index
        if wanted.includes(position, topic, header):
            images = _EventImages(log, header, topic, header.first_version + index, said)
            changes.append(origin.change(position, topic, None, tuple(said), images))
    yield from reversed(changes) if wanted.newest_first else changes


class FrameStep(msgspec.Struct, frozen=True):
    """An event of a frame: its batch, and the event with its record still encoded."""

    position: int
    header: BatchHeader
    stored: FrameChange

    @property
    def topic(self) -> str:
        """Topic of the event, without its key row: only deletes have no record, and only adds have no `saved`."""
        if not self.stored.payload:
            return FRAME_TOPICS[Operation.DELETE]
        return FRAME_TOPICS[Operation.UPDATE if self.stored.saved else Operation.ADD]


def frame_steps(log: Log, position: int) -> Iterator[FrameStep]:
    """Yield the events of a frame backwards from a position. Each refers to the event that it replaced."""
    while position:
        header = log.batch_at(position)
        (body,) = log.bodies([header.first_position])
        event = body.event(position - header.first_position)
        step = FrameStep(position, header, decode_change(event, position))
        yield step
        position = step.stored.previous


def step_change(log: Log, dataset_id: str | None, frame_id: str, step: FrameStep) -> Change:
    """Return the change of a frame's event."""
    origin = _Origin.of(step.header, dataset_id, step.header.stream_id)
    images = _FrameImages(log, frame_id, step.stored, step.position)
    return origin.change(step.position, step.topic, frame_id, step.stored.changed, images)


Pages = Callable[[int | None], Sequence[BatchRow]]
"""Returns the next page of batches after a position."""


def stream_changes(log: Log, pages: Pages, wanted: HistoryQuery) -> Iterator[Change]:
    """Yield the changes that match a query, page by page."""
    last: int | None = None
    while batches := pages(last):
        yield from read_changes(log, batches, wanted)
        last = batches[-1].first_position
