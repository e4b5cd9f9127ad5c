"""The blob store of an engine, opened on first use, and its connection to the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...engine import forks
from ...engine.blobs.commands import BlobCommands
from ...engine.blobs.marker import Marker
from ...engine.blobs.presence import Present
from ...engine.blobs.scrub import ScrubFindings
from ...engine.blobs.store import BlobStore
from ...engine.blobs.uris import is_digest
from ...engine.errors import UsageError
from ...engine.log.moments import describe_moment
from ...projections.projection import Projection
from ...projections.tables.blob_references import BlobNames, referenced
from .blob_sharing import joined, own_ref

if TYPE_CHECKING:
    from .session import LiveSession


class BlobAccess:
    """Opens the store, tells which contents are known to be stored, and finds the blobs that frames refer to.

    Parameters
    ----------
    session : LiveSession
        The session.
    commands : BlobCommands
        Restores marked blobs.
    """

    def __init__(self, session: LiveSession, commands: BlobCommands) -> None:
        self._session = session
        self._commands = commands
        self._runner = session.runner
        self._names = session.projection(BlobNames)
        self._store: BlobStore | None = None
        forks.renewed(self._renew)

    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter("blob_access"), (self._session,)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    @property
    def store(self) -> BlobStore:
        """The store."""
        with self._lock:
            if self._store is None:
                if not self._session.location.blobs:
                    raise UsageError(
                        "this engine has no place for file contents: connect once with blobs=, such as "
                        "connect(url, blobs='s3://bucket/blobs'), which is saved in the settings"
                    )
                self._store = BlobStore(self._session.location.blobs, presence=self)
            return self._store

    def known(self, digests: Collection[str]) -> Collection[str]:
        """Return the given digests that are known to be stored.

        A blob that a frame ever referred to was stored completely, and is never deleted unless it was marked first.
        """
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            named = self._names.named(connection, digests)
        return named - self._commands.blob_ledger.banned(named)[1]

    def is_empty_index(self) -> bool:
        """Whether no frame ever referred to a blob."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            return self._names.is_empty(connection)

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:
        """Restore marked or deleted blobs that were just stored. Return those that are missing again."""
        return self._commands.restore_blobs(digests, present)

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker that includes the log. Raises `UsageError` if another log uses the store."""
        return joined(self._session, own_ref(self._session), marker, place)

    def explain(self, digest: str) -> str | None:
        """Return when and why a blob was deleted, or None if it was not."""
        when = self._commands.blob_ledger.collected(digest)
        return when and (
            f"garbage collection deleted it at {describe_moment(when.position, when.at)}, when no frame referred to it"
        )

    def referenced(self, executor: Executor | None = None) -> set[str]:
        """Return the blobs that are kept, at the head of the log.

        They are those that frames of existing versions and other projections refer to, and those of stored views. A blob that
        was deleted before a view was stored is not missing.
        """
        keepers = self._runner.needed(
            [each for each in self._runner.projections if type(each).blobs is not Projection.blobs]
        )
        with self._runner.store.read() as connection:
            others = {d for each in keepers for d in each.blobs(connection) if is_digest(d)}
        session, log, ledger = self._session, self._commands.log, self._commands.blob_ledger
        own = others | referenced(log, session.states.parts(session.version_ids()), executor)
        viewed = referenced(log, session.viewed_states(), executor) - own
        return own | viewed - (ledger.banned(viewed)[1] - ledger.condemned(viewed).keys())

    def named_after(self, position: int) -> dict[str, int]:
        """Return the blobs that events after a position refer to, each with the last such position."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            return self._names.named_after(connection, position)

    def scrub(
        self, progress: Callable[[int, int], None] | None = None, executor: Executor | None = None
    ) -> ScrubFindings:
        """Read every blob, and find referenced blobs that are missing."""
        found = self.store.scrub(progress=progress, expected=self.referenced(executor), executor=executor)
        found.missing = self._lost(found.missing)
        return found

    def missing(self) -> list[str]:
        """Return the blobs that frames refer to and the store lacks."""
        self._runner.catch_up(self._names)
        with self._runner.store.read() as connection:
            if self._names.is_empty(connection):
                return []
        named = sorted(self.referenced())
        if not self._session.location.blobs:
            return named
        there = set(self.store.present(named))
        return self._lost([digest for digest in named if digest not in there])

    def _lost(self, missing: list[str]) -> list[str]:
        """Return the missing blobs that are still referenced. Others were deleted with their frames."""
        named = self.referenced() if missing else set[str]()
        return [digest for digest in missing if digest in named and digest not in self.store]

    def problems(
        self, progress: Callable[[int, int], None] | None = None, executor: Executor | None = None
    ) -> tuple[int, list[str]]:
        """Read the blobs that frames refer to. Return their number and the problems found."""
        wanted = sorted(self.referenced(executor))
        if not wanted:
            return 0, []
        found = self.store.scrub(wanted, progress, executor=executor)
        path = self.store.place.path
        problems = [f"blob {digest} is missing: {path(digest)}" for digest in self._lost(found.missing)]
        problems += [f"blob {digest} is damaged: {path(digest)}" for digest in found.altered]
        return len(wanted), problems
