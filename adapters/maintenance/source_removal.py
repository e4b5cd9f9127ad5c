"""Deletes the source files of deleted frames once no frame refers to them; also completes interrupted deletions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from ...engine.errors import StorageError
from ...engine.parallel import ThreadWorkers
from ...engine.storage.urls import object_key
from ...projections.states.source_uris import named_among, uris_after
from ..uploads.open import open_destination

if TYPE_CHECKING:
    from ..session.session import Session
    from ..uploads.destination import Destination

_THREADS = 16


class SourceRemoval:
    """Deletes source files that are marked for deletion.

    Parameters
    ----------
    session : Session
        The engine.

    Attributes
    ----------
    failures : dict of str to str
        Error for each file that could not be deleted, by URI. The file stays marked, and the next removal retries.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._workers = ThreadWorkers(_THREADS, "framelode-removal")
        self._seen = 0
        self._late: set[str] = set()
        self._by_key: dict[str, list[str]] = {}
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Delete every marked file that no frame of an existing version or a stored view refers to, and unmark the others."""
        commands = self._session.writes.source_commands
        try:
            while condemned := self._waiting():
                self._seen, self._late = self._session.log.head().position, set()
                named = self._named(condemned)
                commands.restore_sources(_only(condemned, named))
                doomed = _only(condemned, condemned.keys() - named)
                if not commands.delete_sources(doomed, self._named_since, self._delete):
                    break
        finally:
            self._workers.close()

    def _waiting(self) -> dict[str, int]:
        condemned = self._session.writes.source_commands.source_ledger.condemned()
        return {uri: position for uri, position in condemned.items() if uri not in self.failures}

    def _named(self, uris: Iterable[str]) -> set[str]:
        """Return the given URIs that frames of existing versions and stored views may refer to, in any spelling."""
        session = self._session
        self._by_key.clear()
        for uri in uris:
            self._by_key.setdefault(object_key(uri), []).append(uri)
        states = chain(session.states.parts(session.version_ids()), session.present.viewed_states())
        keys = named_among(session.log, states, self._by_key.keys())
        return {uri for key in keys for uri in self._by_key[key]}

    def _named_since(self) -> set[str]:
        """Return the given URIs referenced by frames written since `_named`. Each call reads only newer events."""
        log = self._session.log
        after, self._seen = self._seen, log.head().position
        for uri in uris_after(log, after):
            self._late.update(self._by_key.get(object_key(uri), ()))
        return self._late

    def _delete(self, uris: Sequence[str]) -> list[str]:
        """Delete files, and return those that no longer exist."""
        stores = [(store, uri) for store, some in open_stores(uris) for uri in some]
        gone = self._workers.map(lambda one: self._delete_one(*one), stores)
        return [uri for (_, uri), is_gone in zip(stores, gone, strict=True) if is_gone]

    def _delete_one(self, store: Destination, uri: str) -> bool:
        try:
            store.delete([uri])
        except StorageError as error:
            self.failures[uri] = str(error)
            return False
        return True


def open_stores(uris: Iterable[str]) -> list[tuple[Destination, list[str]]]:
    """Group canonical URIs by bucket, and open each bucket."""
    roots: dict[str, list[str]] = {}
    for uri in uris:
        roots.setdefault("/".join(uri.split("/", 3)[:3]), []).append(uri)
    return [(open_destination(root), some) for root, some in roots.items()]


def _only(condemned: Mapping[str, int], uris: Collection[str]) -> dict[str, int]:
    return {uri: position for uri, position in condemned.items() if uri in uris}
