"""Output of `framelode log` and `framelode history`: log entries and single changes, streamed."""

from __future__ import annotations

import json as json_text
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from ...engine.errors import IntegrityError
from ...engine.events import registry
from ...engine.events.base import Event, Streams
from ...engine.events.domain import FilesUploaded, NameClaimed, NameReleased, VersionAttached, VersionDetached
from ...engine.events.registry import streams_of, subject_and_kind
from ...engine.log.context import decode_context
from ...engine.log.moments import Moment
from ...engine.times import iso_time
from ...projections.history.changes import Change
from ...projections.history.table import BatchRow
from ...projections.pages import Page
from ..engine import Engine
from ..hyperdatasets.address import Address, dataset_at, version_at
from ..hyperdatasets.history import HistoryArguments, wanted_history
from .output import counted, limited, say

_PAGE = 256
_BOOKKEEPING = frozenset(
    event.__name__ for event in (NameClaimed, NameReleased, VersionAttached, VersionDetached, FilesUploaded)
)
"""Topics of events that accompany others: of names that are taken, trees of versions, and uploaded files."""

_FOLLOWED = 10
"""Number of existing entries that `--follow` shows first."""


class Scope(msgspec.Struct, frozen=True):
    """What to show: a dataset, a version, or everything."""

    dataset_id: str | None = None
    version_id: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """Filters on the log; None means no filter."""

    by: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    kinds: list[str] | None = None
    limit: int | None = None
    oldest_first: bool = False
    bookkeeping: bool = False
    """Whether to include bookkeeping events."""


class Entry(msgspec.Struct, frozen=True):
    """Consecutive changes of one stream by one actor, as `--json` shows them."""

    first_position: int
    last_position: int
    at: str
    actor: str
    context: dict[str, Any]
    dataset: str | None
    version: str | None
    stream: str
    added: int
    updated: int
    deleted: int
    events: list[str]
    labels: dict[str, str | None]
    """By what the stream is called, by kind: those of `Streams.label`. The keys of `--json` beside the others."""


def scope_of(engine: Engine, address: str | None) -> Scope:
    """Return the scope of an address: a version if it names one, else the dataset."""
    if address is None:
        return Scope()
    meant = Address.parse(address)
    if meant.version is None and meant.version_id is None:
        return Scope(dataset_at(engine, meant).dataset_id)
    row = version_at(engine, meant)
    return Scope(row.dataset_id, row.version_id)


def entries(engine: Engine, scope: Scope, asked: Asked) -> Iterator[Entry]:
    """Yield the entries that match; a line on stderr counts those beyond the limit."""
    names = _Names(engine)
    for run in limited(_runs(_rows(engine, scope, asked)), asked.limit, "line"):
        yield _entry(run, names)


def follow(engine: Engine, scope: Scope, asked: Asked) -> Iterator[Entry]:
    """Yield the last entries, or those since a point in time, then new ones until interrupted; oldest first."""
    seen: int | None = None
    for position in engine.session.runner.follow(threading.Event()):
        part = msgspec.structs.replace(asked, until=position, oldest_first=True, limit=None)
        if seen is not None:
            part = msgspec.structs.replace(part, since=seen + 1)
        elif asked.since is None:
            yield from _last_entries(engine, scope, part, _FOLLOWED if asked.limit is None else asked.limit)
            seen = position
            continue
        yield from entries(engine, scope, part)
        seen = position


def _last_entries(engine: Engine, scope: Scope, asked: Asked, limit: int) -> list[Entry]:
    part = msgspec.structs.replace(asked, limit=None, oldest_first=False)
    return list(islice(entries(engine, scope, part), limit))[::-1]


def print_entry(entry: Entry, *, json: bool) -> None:
    """Print an entry as a line."""
    if json:
        shown = msgspec.to_builtins(entry)
        del shown["labels"]
        print(json_text.dumps(shown | entry.labels))
        return
    first, last = entry.first_position, entry.last_position
    positions = f"{first}" if first == last else f"{first}-{last}"
    place = (entry.dataset or "") + (f"@{entry.version}" if entry.version else "")
    named = ", ".join(f"{label} {name}" for label, name in entry.labels.items() if name is not None)
    say(
        f"{positions:>15}  {entry.at[:19].replace('T', ' ')}  {entry.actor}  {named or place or entry.stream}  {_what(entry)}"
    )


def print_change(change: Change, *, json: bool, images: bool = False) -> None:
    """Print a change as a line."""
    if json:
        print(json_text.dumps(change.to_dict(images=images)))
        return
    what = f"{change.subject} {change.frame_id}" if change.frame_id is not None else change.subject
    fields = f" ({', '.join(change.fields)})" if change.fields else ""
    kind = change.kind.replace("_", " ")
    say(f"{change.position:>10}  {change.at:%Y-%m-%d %H:%M:%S}  {change.actor}  {what} {kind}{fields}")


class _Names:
    """Names of datasets and versions, removed ones included, read once."""

    def __init__(self, engine: Engine) -> None:
        with engine.session.read_catalog() as connection:
            datasets = engine.session.catalog.datasets(connection, removed=True)
            versions = engine.session.catalog.versions(connection, removed=True)
        self.datasets = {row.dataset_id: str(Address(row.name, row.project)) for row in datasets}
        self.versions = {row.version_id: row.name for row in versions}
        self._log = engine.session.log
        self._labels: dict[str, str] = {}

    def told(self, row: BatchRow) -> tuple[dict[str, str | None], list[str]]:
        """Return the label of the stream of a batch, if it belongs to no dataset, and descriptions of its events."""
        labels: dict[str, str | None] = dict.fromkeys(each.label for each in registry.STREAMS if each.label)
        family = streams_of(row.stream_id)
        if family is None or family.label is None:
            return labels, []
        events = [] if row.stream_id in self._labels and not family.detail else self._events(row, family)
        if events:
            self._labels[row.stream_id] = getattr(events[-1], family.label)
        labels[family.label] = self._labels.get(row.stream_id)
        return labels, [_said(event, getattr(event, family.detail)) for event in events if family.detail]

    def _events(self, row: BatchRow, family: Streams[Any]) -> list[Event]:
        """Return the readable events of a batch."""
        with suppress(IntegrityError):
            page = Page(self._log, [self._log.batch_at(row.first_position)])
            return [event for _, _, event in page.lifecycle(*family.events)]
        return []


def _said(event: Event, detail: str) -> str:
    subject, kind = subject_and_kind(type(event).__name__)
    return f"{subject} {detail} {kind.replace('_', ' ')}"


def _rows(engine: Engine, scope: Scope, asked: Asked) -> Iterator[BatchRow]:
    arguments = HistoryArguments(
        version=scope.version_id,
        actor=asked.by,
        since=asked.since,
        until=asked.until,
        kinds=asked.kinds,
        newest_first=not asked.oldest_first,
    )
    wanted = wanted_history(engine.session, arguments)
    if scope.dataset_id is not None:
        wanted = msgspec.structs.replace(wanted, dataset_id=scope.dataset_id)
    last: int | None = None
    shows_all = asked.bookkeeping or asked.kinds is not None
    while page := engine.session.history_page(wanted, last, _PAGE):
        last = page[-1].first_position
        yield from page if shows_all else filter(None, map(_without_bookkeeping, page))


def _without_bookkeeping(row: BatchRow) -> BatchRow | None:
    """Return a batch without the topics of bookkeeping, or None if nothing is left."""
    topics = [topic for topic in row.topics if topic not in _BOOKKEEPING]
    if len(topics) == len(row.topics):
        return row
    return msgspec.structs.replace(row, topics=topics) if topics else None


def _runs(rows: Iterator[BatchRow]) -> Iterator[list[BatchRow]]:
    """Group consecutive frame changes of one version by one actor."""
    run: list[BatchRow] = []
    for row in rows:
        if run and not _continues(run[-1], row):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _continues(earlier: BatchRow, row: BatchRow) -> bool:
    same = (earlier.stream_id, earlier.actor, earlier.context) == (row.stream_id, row.actor, row.context)
    adjoining = (
        row.last_position + 1 == earlier.first_position or earlier.last_position + 1 == row.first_position
    )
    return same and adjoining and earlier.is_frames and row.is_frames


def _entry(run: Sequence[BatchRow], names: _Names) -> Entry:
    first, last = sorted((run[0], run[-1]), key=lambda row: row.first_position)
    topics = [topic for row in run if not row.is_frames for topic in row.topics]
    labels, told = names.told(last)
    return Entry(
        first_position=first.first_position,
        last_position=last.last_position,
        at=iso_time(last.recorded_at),
        actor=last.actor,
        context=decode_context(last.context, last.first_position) if last.context else {},
        dataset=names.datasets.get(last.dataset_id or ""),
        version=names.versions.get(last.version_id or ""),
        stream=last.stream_id,
        added=sum(row.added for row in run),
        updated=sum(row.updated for row in run),
        deleted=sum(row.deleted for row in run),
        events=told or [" ".join(subject_and_kind(topic)).replace("_", " ") for topic in topics],
        labels=labels,
    )


def _what(entry: Entry) -> str:
    counts = (("added", entry.added), ("updated", entry.updated), ("deleted", entry.deleted))
    frames = [f"{counted(count, 'frame')} {what}" for what, count in counts if count]
    return ", ".join([*frames, *entry.events])
