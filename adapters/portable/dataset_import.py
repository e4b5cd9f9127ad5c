"""Imports one dataset of another log. Its events get new positions; their contents and digests stay the same."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any

import msgspec

from ...engine.canonical import digest_of
from ...engine.errors import IntegrityError
from ...engine.events.domain import IMPORTS, LogImported
from ...engine.events.registry import encode_event, streams_of
from ...engine.log.batch import FRAMES_SCHEMA, AppendHeader, Batch, BatchHeader, chain_digest, pack_batch
from ...engine.log.context import current_context
from ...engine.log.contract import Append, Head, Log
from ...engine.log.event_batch import pack_states
from .importing import Chain, LogImport, PortableFile, Progress, Proven, Recording, read_proven
from .schema import Recorded

_encode = msgspec.msgpack.Encoder().encode
_PREVIOUS, _SAVED = 2, 3
# First byte of a msgpack array of three or more items.
_WITH_POINTERS = 0x93


class Places:
    """Old and new positions of batches, 16 bytes each."""

    def __init__(self) -> None:
        self._old = array("q")
        self._new = array("q")
        self._counts = array("q")

    def add(self, old: int, new: int, count: int) -> None:
        """Add the new position of a batch."""
        self._old.append(old)
        self._new.append(new)
        self._counts.append(count)

    def of(self, position: int) -> int:
        """Return the new position of an event. Raises `ValueError` if it is not in the file."""
        index = bisect_right(self._old, position) - 1
        if index < 0 or position >= self._old[index] + self._counts[index]:
            raise ValueError(f"it refers to position {position}, which is not in the file")
        return self._new[index] + position - self._old[index]


def import_dataset(log: Log, source: PortableFile, report: LogImport, progress: Progress | None) -> None:
    """Import one dataset, then record its origin."""
    header = source.header
    if header.dataset is None:
        raise ValueError("the file contains a complete log")
    recording = Recording(log, log.uuid, report, header.events, progress)
    renumbering = _Renumbering(log.uuid)
    for proven in read_proven(source):
        try:
            done = renumbering.take(proven)
        except ValueError as error:
            raise IntegrityError(f"{source.place()} is damaged: {error}") from error
        if done is not None:
            recording.take(*done)
    if not renumbering.holds(header.dataset.id) or renumbering.last_old > header.position:
        raise IntegrityError(
            f"{source.place()}: the file does not match its header: dataset {header.dataset.id}, up to "
            f"position {header.position}"
        )
    done = renumbering.finish()
    if done is not None:
        recording.take(*done)
    recording.flush()
    if log.head().position == renumbering.head.position:
        _record_origin(log, source, header.dataset.id)
        report.events, report.batches = report.events + 1, report.batches + 1


class _Renumbering:
    """Assigns new positions to batches, and keeps the batches of an append until it is complete."""

    def __init__(self, uuid: str) -> None:
        self._chain = Chain(uuid)
        self._places = Places()
        self._versions: dict[str, int] = {}
        self._held: list[tuple[Recorded, Batch]] = []
        self._appends = 0
        self.last_old = 0

    def holds(self, stream_id: str) -> bool:
        """Whether a batch of a stream was read."""
        return stream_id in self._versions

    @property
    def head(self) -> Head:
        """The head after the batches so far."""
        return self._chain.head

    def take(self, proven: Proven) -> tuple[AppendHeader, list[tuple[BatchHeader, Batch]]] | None:
        """Keep a batch. Return the previous append if this batch begins another one."""
        old = proven.recorded.header
        if old.first_position <= self.last_old:
            raise ValueError(f"it does not follow position {self.last_old}")
        family = streams_of(old.stream_id)
        if family is not None and not family.is_exported:
            raise ValueError(f"{old.stream_id!r} is not a stream of a dataset")
        self.last_old = old.last_position
        done = None
        if self._held and self._held[0][0].append.append_id != proven.recorded.append.append_id:
            done = self.finish()
        new = self.head.position + 1 + sum(recorded.header.count for recorded, _ in self._held)
        self._places.add(old.first_position, new, old.count)
        self._held.append((proven.recorded, self._moved(proven)))
        return done

    def _moved(self, proven: Proven) -> Batch:
        old = proven.recorded.header
        first = self._versions.get(old.stream_id)
        if first is None:
            # If others had the name before, the file only has the events of this dataset.
            first = 1 if streams_of(old.stream_id) else old.first_version
        self._versions[old.stream_id] = first + old.count
        batch = proven.batch
        if old.schema == FRAMES_SCHEMA:
            events = _repoint(proven.recorded.events, self._places)
            if events is not proven.recorded.events:
                blocks = proven.recorded.blocks
                batch = pack_batch(
                    batch.stream_id, first, batch.schema, batch.topics, events, batch.keys, blocks
                )
        return msgspec.structs.replace(batch, first_version=first)

    def finish(self) -> tuple[AppendHeader, list[tuple[BatchHeader, Batch]]] | None:
        """Return the last append, at its new position."""
        if not self._held:
            return None
        self._appends += 1
        old = self._held[0][0].append
        first = self.head.position + 1
        append = msgspec.structs.replace(
            old,
            append_id=self._appends,
            first_position=first,
            last_position=first + sum(batch.count for _, batch in self._held) - 1,
        )
        batches = [(self._sealed(recorded.header, batch, append), batch) for recorded, batch in self._held]
        self._held = []
        return append, batches

    def _sealed(self, old: BatchHeader, batch: Batch, append: AppendHeader) -> BatchHeader:
        unsealed = msgspec.structs.replace(
            old,
            first_position=self.head.position + 1,
            append_id=append.append_id,
            first_version=batch.first_version,
            previous_digest=self.head.digest,
            body_digest=batch.body_digest,
        )
        sealed = msgspec.structs.replace(unsealed, digest=chain_digest(unsealed, append))
        self._chain.follow(sealed, append)
        return sealed


def _repoint(events: list[bytes], places: Places) -> list[bytes]:
    """Return frame events with pointers to the new positions; the same list if there are no pointers."""
    if all(event[0] < _WITH_POINTERS for event in events):
        return events
    return [event if event[0] < _WITH_POINTERS else _repoint_one(event, places) for event in events]


def _repoint_one(event: bytes, places: Places) -> bytes:
    items: list[Any] = msgspec.msgpack.decode(event, type=list[msgspec.Raw])
    for place in (_PREVIOUS, _SAVED):
        if place < len(items):
            position = msgspec.msgpack.decode(items[place], type=int)
            items[place] = places.of(position) if position else 0
    return _encode(items)


def _record_origin(log: Log, source: PortableFile, dataset_id: str) -> None:
    header = source.header
    event = LogImported(
        originator_id=IMPORTS.id,
        originator_version=1,
        log=header.log,
        position=header.position,
        digest=header.digest,
        dataset_id=dataset_id,
        events=header.events,
    )
    context = current_context()
    asked = [part.encode() for part in (header.log, str(header.position), header.digest, dataset_id)]
    log.append(
        Append(
            batches=[pack_states(IMPORTS.id, 1, [encode_event(event)])],
            command_id=f"import {header.log} {header.position} {dataset_id}",
            request_digest=digest_of(b"import", *asked),
            actor=context.actor,
            context=context.encoded,
        )
    )
