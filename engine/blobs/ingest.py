"""Ingests many files into a blob store: reads and hashes them in parallel, syncs them together, and moves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Self

import msgspec

from ..errors import FramelodeError, StorageError
from ..parallel import ByteBudget, ThreadWorkers
from ..storage.base import SyncPoint
from .backend import BlobBackend
from .content import Readable, read_content
from .presence import Present

BATCH_FILES = 4096
BATCH_BYTES = 512 * 1024 * 1024
"""Number of files or bytes that one sync makes durable."""

WINDOW_FILES = 512
HELD_BYTES = 64 * 1024 * 1024
"""Number of files, or bytes of small files, that are read before they are written, while they are in the CPU cache."""


class IngestResult(msgspec.Struct):
    """The result for one source.

    Attributes
    ----------
    digest, size
        Digest and size of the content.
    is_new : bool
        This call wrote the content.
    temporary : str
        Temporary name of the written file; empty if it was not written.
    content : bytes
        The whole content, if it is small and not written yet.
    error : FramelodeError or None
        Why the content is not stored.
    """

    digest: str = ""
    size: int = 0
    is_new: bool = False
    temporary: str = ""
    content: bytes = b""
    error: FramelodeError | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the content was written and no error has occurred so far."""
        return self.is_new and self.error is None


class Ingest:
    """Writes sources to a backend in batches. Content that occurs twice is written once.

    Parameters
    ----------
    place : BlobBackend
        The backend.
    knows : callable
        Returns the digests that need not be written.
    knows_nothing : callable
        Returns whether all must be written.
    confirm : callable
        Called with the digests that are durable. Returns those that were deleted meanwhile.
    threads : int, optional
        Number of threads, by default that of the backend.
    """

    def __init__(
        self,
        place: BlobBackend,
        knows: Callable[[Collection[str]], Collection[str]],
        knows_nothing: Callable[[], bool],
        confirm: Callable[[Sequence[str], Present], list[str]],
        threads: int | None = None,
    ) -> None:
        self._place = place
        self._knows = knows
        self._knows_nothing = knows_nothing
        self._vouch = confirm
        self._done: set[str] = set()
        self._claims: dict[str, IngestResult] = {}
        self._temporaries: set[str] = set()
        self._gone: set[str] = set()
        self._begun: set[SyncPoint] = set()
        self._portion = ByteBudget(BATCH_BYTES)
        self._workers = ThreadWorkers(threads or place.threads, "framelode-blobs")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()
        for temporary in list(self._temporaries):
            self._discard(temporary)
        for since in self._begun:
            since.close()

    def take(self, sources: Iterable[Readable]) -> Iterator[tuple[Sequence[Readable], list[IngestResult]]]:
        """Store sources in batches. One batch is synced while the next is read.

        Yields
        ------
        tuple of sequence of Readable and list of IngestResult
            A batch, and the result for each source. Content is durable unless there is an error.
        """
        coming = iter(sources)
        waiting: list[Readable] = []
        before: _Batch | None = None
        while True:
            waiting.extend(islice(coming, BATCH_FILES - len(waiting)))
            batch = self._stage_batch(waiting)
            if before and before.publishing:
                before.publishing.result()
                yield before.sources, self._settle(before)
            if not batch.staged:
                return
            batch.publishing = self._workers.begin(partial(self._publish, batch))
            waiting, before = waiting[len(batch.staged) :], batch

    def put(self, sources: Sequence[Readable]) -> list[IngestResult]:
        """Store a few sources. Returns a result for each, in order.

        It does not wait for the content of a batch in progress, which could not be completed meanwhile.
        """
        claims, self._claims = self._claims, {}
        outcomes: list[IngestResult] = []
        try:
            while len(outcomes) < len(sources):
                batch = self._stage_batch(sources[len(outcomes) :])
                self._publish(batch)
                outcomes += self._settle(batch)
        finally:
            self._claims = claims
        return outcomes

    def _stage_batch(self, sources: Sequence[Readable]) -> _Batch:
        """Read and write as many of the first sources as one sync makes durable."""
        self._portion = ByteBudget(BATCH_BYTES)
        since = self._begin(sources)
        staged: list[IngestResult] = []
        if sources and self._knows_nothing():
            staged = self._stage_new(sources)
        while len(staged) < len(sources) and not self._portion.is_full():
            staged += self._stage_window(sources[len(staged) : len(staged) + WINDOW_FILES])
        return _Batch(since, sources[: len(staged)], staged)

    def _stage_window(self, sources: Sequence[Readable]) -> list[IngestResult]:
        held = ByteBudget(HELD_BYTES)

        def read_one(source: Readable) -> IngestResult:
            outcome = self._read(source)
            held.add(len(outcome.content))
            return outcome

        read = self._workers.map(read_one, sources, lambda: self._portion.is_full() or held.is_full())
        first = [outcome for outcome in read if self._is_first(outcome)]
        known = self._knows([outcome.digest for outcome in first]) if first else ()
        self._workers.map(lambda one: self._noted(one, self._write, one.digest in known), first)
        for outcome in read:
            outcome.content = b""
        return read

    def _stage_new(self, sources: Sequence[Readable]) -> list[IngestResult]:
        """Read and write sources one by one if no content is known, while it is in the CPU cache."""

        def stage(source: Readable) -> IngestResult:
            outcome = self._read(source)
            if self._is_first(outcome):
                self._noted(outcome, self._write, False)
            outcome.content = b""
            return outcome

        return self._workers.map(stage, sources, self._portion.is_full)

    def _begin(self, sources: Sequence[Readable]) -> SyncPoint:
        since = self._place.begin() if sources else SyncPoint()
        self._begun.add(since)
        return since

    def _discard(self, temporary: str) -> None:
        self._place.discard(temporary)
        self._temporaries.discard(temporary)

    def _read(self, source: Readable) -> IngestResult:
        outcome = IngestResult()
        self._noted(outcome, self._take, source)
        self._portion.add(outcome.size)
        return outcome

    def _take(self, outcome: IngestResult, source: Readable) -> None:
        taken = read_content(source, self._place)
        outcome.digest, outcome.size, outcome.content = taken.digest, taken.size, taken.content
        if taken.temporary:
            self._wrote(outcome, taken.temporary)

    def _wrote(self, outcome: IngestResult, temporary: str) -> None:
        outcome.temporary = temporary
        self._temporaries.add(temporary)

    def _is_first(self, outcome: IngestResult) -> bool:
        """Whether content was not stored before, and occurs for the first time."""
        return (
            outcome.error is None
            and outcome.digest not in self._done
            and self._claims.setdefault(outcome.digest, outcome) is outcome
        )

    def _write(self, outcome: IngestResult, is_known: bool) -> None:
        """Write content, unless it is already referenced."""
        if is_known and outcome.digest not in self._gone and self._place.size(outcome.digest) == outcome.size:
            self._done.add(outcome.digest)
            return
        outcome.is_new = True
        if outcome.temporary:
            return
        if outcome.digest in self._gone or not self._place.put_whole(outcome.content, outcome.digest):
            self._wrote(outcome, self._place.write(outcome.content))

    def _noted(self, outcome: IngestResult, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(outcome, *arguments)
        except FramelodeError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = StorageError(f"blob store {self._place.name}: {error}")

    def _publish(self, batch: _Batch) -> None:
        """Sync contents, rename them to their final names, and sync the names."""
        written = [outcome for outcome in batch.staged if outcome.temporary and outcome.is_kept]
        names = [outcome.temporary for outcome in written]
        self._together(lambda: self._place.sync_written(names, batch.since), written)
        kept = [outcome for outcome in written if outcome.is_kept and outcome.digest not in self._gone]
        self._give_names(kept, batch.since)
        batch.since.close()
        self._begun.discard(batch.since)

    def _together(self, sync: Callable[[], None], outcomes: Sequence[IngestResult]) -> None:
        if not outcomes:
            return
        try:
            sync()
        except (OSError, StorageError) as error:
            for outcome in outcomes:
                outcome.error = StorageError(f"blob store {self._place.name}: {error}")

    def _give_names(self, written: Sequence[IngestResult], since: SyncPoint) -> None:
        self._workers.map(lambda outcome: self._noted(outcome, self._move), written)
        moved = [outcome for outcome in written if outcome.is_kept]
        digests = [outcome.digest for outcome in moved]
        self._together(lambda: self._place.sync_moved(digests, since), moved)

    def _move(self, outcome: IngestResult) -> None:
        self._place.move(outcome.temporary, outcome.digest)
        self._temporaries.discard(outcome.temporary)

    def _settle(self, batch: _Batch) -> list[IngestResult]:
        """Confirm referenced contents. If garbage collection deleted some, store all of them again.

        All sources with the same content get the same result.
        """
        outcomes = batch.staged
        is_whole = self._rely_on(outcomes)
        failed = {outcome.digest: outcome.error for outcome in outcomes if outcome.digest and outcome.error}
        for outcome in outcomes:
            if self._claims.get(outcome.digest) is outcome:
                del self._claims[outcome.digest]
            if outcome.temporary in self._temporaries:
                self._discard(outcome.temporary)
                outcome.is_new = False
            if outcome.digest not in self._done:
                outcome.error = outcome.error or failed.get(outcome.digest)
        again = [
            at
            for at, one in enumerate(outcomes)
            if one.error is None and not (is_whole and one.digest in self._done)
        ]
        for at, outcome in zip(again, self.put([batch.sources[at] for at in again]), strict=True):
            outcomes[at] = outcome
        return outcomes

    def _rely_on(self, outcomes: Sequence[IngestResult]) -> bool:
        """Remove contents from the list of condemned blobs. Returns whether all of them exist.

        If some are missing, all are renamed to their final names under the lock of the log, so that none is deleted again.
        A blob that is not condemned by then was stored by another writer, and exists.
        """
        relied: dict[str, IngestResult] = {}
        for outcome in outcomes:
            if outcome.is_kept or (outcome.error is None and outcome.digest in self._done):
                relied.setdefault(outcome.digest, outcome)
        gone = self._vouch(list(relied), lambda digests: self._present([relied[one] for one in digests]))
        self._gone = set(relied) if gone else set()
        is_whole = all(relied[digest].error for digest in gone)
        there = {digest for digest, outcome in relied.items() if outcome.error is None}.difference(gone)
        self._done = (self._done - self._gone) | there if is_whole else self._done - self._gone
        return is_whole

    def _present(self, written: Sequence[IngestResult]) -> set[str]:
        """Rename contents that have no final name yet. Returns the existing digests. All other writers wait."""
        late = [outcome for outcome in written if outcome.temporary in self._temporaries]
        if late:
            with closing(self._place.begin()) as since:
                self._give_names(late, since)
        there, named = set[str](), {outcome.digest for outcome in late}

        def look(outcome: IngestResult) -> None:
            if self._place.size(outcome.digest) is not None:
                there.add(outcome.digest)
            elif outcome.digest in named:
                what = f"blob store {self._place.name}: blob {outcome.digest}"
                raise StorageError(f"{what} was written but does not exist")

        self._workers.map(lambda one: self._noted(one, look), [one for one in written if one.is_kept])
        return there


@dataclass
class _Batch:
    """Sources that are synced together, and the sync point before their first write."""

    since: SyncPoint
    sources: Sequence[Readable]
    staged: list[IngestResult]
    publishing: Future[None] | None = None
