"""The blob store of an engine: opened at first use, and told what the log knows of its contents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor

from ...engine import forks
from ...engine.blobs.commands import BlobCommands
from ...engine.blobs.marker import Marker
from ...engine.blobs.presence import Present
from ...engine.blobs.scrub import ScrubFindings
from ...engine.blobs.store import BlobStore
from ...engine.errors import UsageError
from ...engine.log.moments import describe_moment
from ...projections.runner import Runner
from ...projections.states.cache import StateCache
from ...projections.tables.blob_references import BlobNames, referenced
from ...projections.tables.catalog import Catalog


class BlobAccess:
    """Opens the store, vouches for contents, and finds what frames refer to.

    Parameters
    ----------
    url : str
        Where the blobs are; empty for nowhere yet.
    commands : BlobCommands
        Restores what was condemned.
    runner : Runner
        Keeps the projections level with the log.
    catalog, names : Catalog, BlobNames
        Which versions exist, and which blobs were ever named.
    states : StateCache
        The states of versions.
    join : callable
        Returns the marker that a store must have before the log writes to it; see `PresenceIndex.join`.
    """

    def __init__(
        self,
        url: str,
        commands: BlobCommands,
        runner: Runner,
        catalog: Catalog,
        names: BlobNames,
        states: StateCache,
        join: Callable[[Marker, str], Marker],
    ) -> None:
        self._url = url
        self._commands = commands
        self._runner = runner
        self._catalog = catalog
        self._names = names
        self._states = states
        self._join = join
        self._store: BlobStore | None = None
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    @property
    def store(self) -> BlobStore:
        """The store."""
        with self._lock:
            if self._store is None:
                if not self._url:
                    raise UsageError(
                        "this engine has no place for file contents yet: connect once with blobs=, such as "
                        "connect(url, blobs='s3://bucket/blobs'); it is remembered"
                    )
                self._store = BlobStore(self._url, presence=self)
            return self._store

    def known(self, digests: Collection[str]) -> Collection[str]:
        """Return those of some contents that can be relied on.

        A content that a frame once named was stored whole, and nothing deletes it unless it is banned first.
        """
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            named = self._names.named(connection, digests)
        return named - self._commands.blob_ledger.banned(named)[1]

    def is_empty_index(self) -> bool:
        """Say whether no frame ever named a content."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            return self._names.is_empty(connection)

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:
        """Restore what was condemned or deleted and has just been stored; returns what is gone again."""
        return self._commands.restore_blobs(digests, present)

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker that a store must have before the log writes to it; `UsageError` when it is another log's."""
        return self._join(marker, place)

    def explain(self, digest: str) -> str | None:
        """Return when a blob was deleted, None for one that was not."""
        when = self._commands.blob_ledger.collected(digest)
        return when and (
            f"garbage collection deleted it at {describe_moment(when.position, when.at)}, when no frame named it any more"
        )

    def referenced(self, executor: Executor | None = None) -> set[str]:
        """Return the blobs that frames of existing versions name, level with the log."""
        self._runner.catch_up(self._catalog)
        with self._runner.store.read() as connection:
            versions = [row.version_id for row in self._catalog.versions(connection)]
        return referenced(self._commands.log, self._states, versions, executor)

    def named_after(self, position: int) -> dict[str, int]:
        """Return the blobs that events after a position name, each with the last such position."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            return self._names.named_after(connection, position)

    def scrub(
        self, progress: Callable[[int, int], None] | None = None, executor: Executor | None = None
    ) -> ScrubFindings:
        """Read every blob, and look for those that frames name."""
        found = self.store.scrub(progress=progress, expected=self.referenced(executor), executor=executor)
        found.missing = self._lost(found.missing)
        return found

    def missing(self) -> list[str]:
        """Return the blobs that frames name and the store does not have."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            if self._names.is_empty(connection):
                return []
        named = sorted(self.referenced())
        if not self._url:
            return named
        there = set(self.store.present(named))
        return self._lost([digest for digest in named if digest not in there])

    def _lost(self, missing: list[str]) -> list[str]:
        """Return those of some missing blobs that are named all the same: others went with their frames meanwhile."""
        named = self.referenced() if missing else set[str]()
        return [digest for digest in missing if digest in named and digest not in self.store]

    def problems(
        self, progress: Callable[[int, int], None] | None = None, executor: Executor | None = None
    ) -> tuple[int, list[str]]:
        """Read the blobs that frames name; returns their number, and what is wrong with them."""
        wanted = sorted(self.referenced(executor))
        if not wanted:
            return 0, []
        found = self.store.scrub(wanted, progress, executor=executor)
        path = self.store.place.path
        problems = [f"blob {digest} is missing: {path(digest)}" for digest in self._lost(found.missing)]
        problems += [f"blob {digest} is damaged: {path(digest)}" for digest in found.altered]
        return len(wanted), problems
