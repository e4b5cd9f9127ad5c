"""Selects the batches to export, all or those of one dataset, and checks each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from blake3 import blake3

from ...engine.errors import IntegrityError
from ...engine.events.domain import NameClaimed, NameReleased, VersionAttached
from ...engine.iterables import chunked
from ...engine.log.batch import EVENTS_SCHEMA, AppendHeader, BatchHeader, chain_digest, genesis_digest
from ...engine.log.contract import Head, Log
from ...engine.log.event_batch import read_events
from .schema import DatasetLine, Recorded

_BATCHES_AT_ONCE = 8

Chosen = Callable[[BatchHeader], bool]
"""Tells whether a batch is exported."""


def recorded_batches(log: Log, head: Head, chosen: Chosen) -> Iterator[Recorded]:
    """Yield the selected batches of a log up to a head, and check the digest chain of all batches.

    Raises
    ------
    IntegrityError
        The log is damaged.
    """
    appends = log.appends()
    append: AppendHeader | None = None
    digest = genesis_digest(log.uuid)
    for headers in chunked(log.headers(lte=head.position), _BATCHES_AT_ONCE):
        wanted = [header.first_position for header in headers if chosen(header)]
        rows = log.rows_at(wanted)
        bodies = {body.first_position: body for body in log.bodies(wanted)}
        for header in headers:
            if append is None or append.append_id != header.append_id:
                append = next(appends, None)
            if (
                append is None
                or header.previous_digest != digest
                or chain_digest(header, append) != header.digest
            ):
                raise _altered(log, header)
            digest = header.digest
            body = bodies.get(header.first_position)
            if body is None:
                continue
            blocks = [body.open_block(block) for block in range(body.blocks)]
            hasher = blake3()
            for block in blocks:
                hasher.update(block.raw)
            if hasher.digest() != header.body_digest or len(body) != header.count:
                raise _altered(log, header)
            yield Recorded(
                header=header,
                append=append,
                keys=rows[header.first_position],
                blocks=body.block_events,
                events=[event for block in blocks for event in block.events()],
            )


def _altered(log: Log, header: BatchHeader) -> IntegrityError:
    position = header.first_position
    return IntegrityError(
        f"{log.name}: the batch at position {position} does not match its digest: run verify",
        position=position,
        file=log.name,
    )


class Selection(msgspec.Struct, frozen=True):
    """The part of a log that is exported."""

    chosen: Chosen
    events: int
    dataset: DatasetLine | None = None


def everything(head: Head) -> Selection:
    """Select the whole log."""
    return Selection(lambda _: True, head.position)


def one_dataset(log: Log, head: Head, dataset: DatasetLine) -> Selection:
    """Select a dataset: its own stream, the streams of its versions, and the events that claimed its names."""
    streams = {dataset.id}
    for header in log.headers(lte=head.position, stream_id=dataset.id, schema=EVENTS_SCHEMA):
        streams |= {
            event.version_id for event in read_events(log, header) if isinstance(event, VersionAttached)
        }
    names: set[int] = set()
    holders: dict[str, str] = {}
    events = 0
    for header in log.headers(lte=head.position):
        if header.stream_id in streams:
            events += header.count
        elif {NameClaimed.__name__, NameReleased.__name__} & set(header.topics) and _is_about(
            log, header, dataset.id, holders
        ):
            names.add(header.first_position)
            events += header.count
    return Selection(
        lambda header: header.stream_id in streams or header.first_position in names, events, dataset
    )


def _is_about(log: Log, header: BatchHeader, dataset_id: str, holders: dict[str, str]) -> bool:
    """Whether a batch claims or releases a name of a dataset. `holders` has the owner of each name."""
    about = False
    for event in read_events(log, header):
        if isinstance(event, NameClaimed):
            holders[header.stream_id] = event.dataset_id
            about |= event.dataset_id == dataset_id
        elif isinstance(event, NameReleased):
            about |= holders.pop(header.stream_id, None) == dataset_id
    return about
