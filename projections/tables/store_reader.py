"""The current documents of execution stores: from the tables, and from newer events in memory.

A write is one append. The tables are updated for a listing of keys, or after many new events. Single documents and stores are read
from both.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ...engine import forks
from ...engine.events.base import Event
from ...engine.events.stores import STORE_KEY
from ...engine.log.batch import AppendHeader
from ...engine.log.contract import Log
from ...engine.stores.names import StoreId, key_id
from ...engine.stores.state import Change, Document, Key, Level, Patch, StoreChange, StoreChanges, is_cached
from ..columns import from_row
from ..pages import read_pages
from ..projection import ProjectionStore
from ..runner import Runner
from ..statements import DirectQuery
from .stores import Stores, by_name

_MOST_EVENTS = 20_000

_MOST_BYTES = 64 * 1024 * 1024

_NEAR_EVENTS = 2_000
"""Number of events of other writers that are replayed in memory. More are written to the tables first."""


class StoreReader:
    """The documents of all execution stores of one engine.

    Parameters
    ----------
    log : Log
        The log.
    runner : Runner
        Keeps the tables up to date.
    stores : Stores
        The tables.
    """

    def __init__(self, log: Log, runner: Runner, stores: Stores) -> None:
        self._log = log
        self._runner = runner
        self._database: ProjectionStore = runner.store
        self.tables = stores
        forks.renewed(self._renew)
        column = stores.document.c
        self._one = DirectQuery(
            sa.select(*(column[name] for name in Document.__struct_fields__)).where(
                column.store == sa.bindparam("in_store"), column.id == sa.bindparam("with_id")
            ),
            ("in_store", "with_id"),
        )

    def _renew(self) -> None:
        # A listing catches up, possibly while a reader in the same thread is active.
        self._lock = threading.RLock()
        self._position = -1
        self._start()

    def _start(self) -> None:
        """Clear the memory. The tables have everything."""
        self._tail = StoreChanges()
        self._versions: dict[str, int] = {}
        self._events = self._bytes = 0

    def _sync(self) -> None:
        """Apply the events recorded since the last call. Takes microseconds if there are none."""
        position = self._log.head().position
        news = position - self._position
        if news == 0 and not self._is_full():
            return
        if self._position < 0 or not 0 < news <= _NEAR_EVENTS or self._is_full():
            self._catch_up()
            return
        for page in read_pages(self._log, self._position, position):
            self._tail.follow(self.tables.fold(page))
            for header in page:
                self._versions[header.stream_id] = header.last_version
            self._position = page[-1].last_position
            self._events += sum(header.count for header in page)

    def _is_full(self) -> bool:
        return self._events > _MOST_EVENTS or self._bytes > _MOST_BYTES

    def _catch_up(self) -> None:
        self._runner.catch_up(self.tables)
        position = self._runner.position(self.tables)
        if position != self._position:
            self._position = position
            self._start()
        elif self._events:
            versions = self._versions
            self._start()
            # Those of this process's own writes need not be read again.
            self._versions = versions if len(versions) <= _MOST_EVENTS else {}

    def level(self, streams: Sequence[str]) -> Level:
        """Apply the recorded events. Returns up to where: the versions are those of the streams at that position."""
        with self._lock:
            self._sync()
            while unknown := [stream for stream in streams if stream not in self._versions]:
                tail, read = self._tail, self._log.stream_versions(unknown)
                # What was recorded since is replayed on top; if the tables took it over, the versions are read again.
                self._sync()
                if self._tail is tail:
                    self._versions = read | self._versions
            return Level(self._position, {stream: self._versions[stream] for stream in streams})

    def forget(self, stream: str) -> None:
        """Drop the cached version of a stream, because it was wrong."""
        with self._lock:
            self._versions.pop(stream, None)

    def recorded(self, events: Sequence[Event], header: AppendHeader) -> int:
        """Apply appended events. Returns the time when they were recorded."""
        head = self._log.head()
        last = header.last_position
        recorded_at = (head if head.position == last else self._log.batch_at(last)).recorded_at
        with self._lock:
            if self._position == header.first_position - 1:
                for position, event in enumerate(events, header.first_position):
                    self._tail.add(event, position, recorded_at)
                    self._bytes += len(getattr(event, "value", b""))
                    if event.originator_id in self._versions:
                        self._versions[event.originator_id] += 1
                self._position = last
                self._events += len(events)
        return recorded_at

    def get(self, store: StoreId, key: str) -> Document | None:
        """Return a document, even if it has expired."""
        with self._lock:
            self._sync()
            return self._get(store, key)

    def _get(self, store: StoreId, key: str) -> Document | None:
        change = self._tail.stores.get(store.digest)
        made: Change = None
        if change is not None:
            made = change.keys.get(key)
            if change.is_emptied or (key in change.keys and not isinstance(made, Patch)):
                return made if isinstance(made, Document) else None
        with self._database.read() as connection:
            row = self._one.row(connection, (store.digest, key_id(key)))
            found = None if row is None else from_row(row._asdict(), Document)
        return found.patched(made) if found is not None and isinstance(made, Patch) else found

    def find(self, store: StoreId, keys: Iterable[str]) -> dict[str, Document]:
        """Return the documents that exist, including expired ones."""
        with self._lock:
            wanted = list(keys)
            if len(wanted) == 1:
                one = self._get(store, wanted[0])
                return {} if one is None else {wanted[0]: one}
            changes = self._tail.of(store)
            found: dict[str, Document] = {}
            if not changes.is_emptied:
                asked = [key for key in wanted if not isinstance(changes.keys.get(key), Document)]
                with self._database.read() as connection:
                    found = self.tables.find(connection, store, asked)
            if changes.keys:
                for key in wanted:
                    _overlay(found, key, changes.keys)
            return found

    def keys(self, stores: Sequence[StoreId], *, cached: bool = False) -> dict[bytes, list[Key]]:
        """Return the keys of some stores by digest, including expired ones and their own; with `cached`, those that may be evicted."""
        # This reads the events of other writers, so an append that expects the previous version will conflict.
        with self.listing() as connection:
            return self.tables.keys(connection, stores, cached=cached)

    def stores(
        self,
        collection: str,
        *,
        dataset_id: str | None = None,
        everywhere: bool = False,
        name: str | None = None,
        now: int | None = None,
        cached: bool = False,
    ) -> list[StoreId]:
        """Return stores, by name and dataset: those of a context, or of all of them.

        Parameters
        ----------
        name : str, optional
            Only those of a name.
        now : int, optional
            Only those that exist at a time.
        cached : bool
            Leave out those without documents that may be evicted; some may come all the same.
        """
        with self._overlaid(now) as (connection, changes):
            found = {
                store.digest: store
                for store in self.tables.stores(
                    connection,
                    collection,
                    dataset_id=dataset_id,
                    everywhere=everywhere,
                    name=name,
                    now=now,
                    cached=cached,
                )
            }
            for change in changes:
                store = change.store
                if (
                    store.collection == collection
                    and (everywhere or store.dataset_id == dataset_id)
                    and (name is None or store.name == name)
                ):
                    _overlay_store(found, change, everything=now is None and not cached, cached=cached)
        return sorted(found.values(), key=by_name)

    def described(self, collection: str, now: int) -> list[tuple[StoreId, Document | int]]:
        """Return the stores of all contexts that exist, each with its own document, or with the time of its oldest one."""
        with self._overlaid(now) as (connection, changes):
            found = {
                store.digest: (store, what)
                for store, what in self.tables.described(connection, collection, now)
            }
            for change in changes:
                if change.store.collection != collection or not (change.keys or change.is_emptied):
                    continue
                digest = change.store.digest
                held = None if change.is_emptied else found.get(digest)
                made = [each for each in change.keys.values() if isinstance(each, Document)]
                own = change.keys.get(STORE_KEY, held and held[1])
                if isinstance(own, Document):
                    found[digest] = change.store, own
                elif made:
                    times = [each.created_at for each in made]
                    found[digest] = change.store, min([*times, own] if isinstance(own, int) else times)
                else:
                    found.pop(digest, None)
        return sorted(found.values(), key=_in_order)

    @contextmanager
    def _overlaid(self, now: int | None) -> Generator[tuple[sa.Connection, list[StoreChange]], None, None]:
        """Give a connection to the tables, and what came since; nothing where that does not say which stores exist."""
        with self._lock:
            self._sync()
            changes = list(self._tail.stores.values())
            if now is not None and not all(_is_telling(change, now) for change in changes):
                self._catch_up()
                changes = []
            with self._database.read() as connection:
                yield connection, changes

    @contextmanager
    def listing(self) -> Generator[sa.Connection, None, None]:
        """Yield a connection to the tables, which are up to date."""
        with self._lock:
            self._catch_up()
        with self._database.read() as connection:
            yield connection


def _is_telling(change: StoreChange, now: int) -> bool:
    """Whether all documents that a change tells of exist: then so does their store, whatever the tables hold."""
    return all(isinstance(each, Document) and each.is_alive(now) for each in change.keys.values())


def _overlay_store(
    found: dict[bytes, StoreId], change: StoreChange, *, everything: bool, cached: bool
) -> None:
    """Put what came since over the stores that the tables hold."""
    store = change.store
    if cached:
        if any(each is not None and is_cached(each) for each in change.keys.values()):
            found[store.digest] = store
    elif everything or change.keys:
        found[store.digest] = store
    elif change.is_emptied:
        found.pop(store.digest, None)


def _in_order(described: tuple[StoreId, object]) -> tuple[str, str]:
    return by_name(described[0])


def _overlay(found: dict[str, Document], key: str, changes: dict[str, Any]) -> None:
    """Apply newer changes of a key to the documents read from the tables."""
    if key not in changes:
        return
    made: Change = changes[key]
    if isinstance(made, Document):
        found[key] = made
    elif isinstance(made, Patch):
        if key in found:
            found[key] = found[key].patched(made)
    else:
        found.pop(key, None)
