"""How many files enter a blob store at once: read and hashed in parallel, made durable together, then moved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Self

import msgspec
from blake3 import blake3

from .blob_place import CHUNK_BYTES, BlobPlace, PlaceError, Since
from .blob_sources import Content, Source, SourceError, copy_content, first_chunk
from .errors import FramelodeError, StorageError
from .workers import Workers

BATCH_FILES = 4096
BATCH_BYTES = 512 * 1024 * 1024
"""One sync makes so many files, or so many bytes, durable."""


class Outcome(msgspec.Struct):
    """What became of one source.

    Attributes
    ----------
    digest, size
        What was read.
    is_new : bool
        This source was written, by this call.
    temporary : str
        Name under which it was written first; empty when it was not.
    error : FramelodeError or None
        Why it is not stored.
    """

    digest: str = ""
    size: int = 0
    is_new: bool = False
    temporary: str = ""
    error: FramelodeError | None = None

    @property
    def is_kept(self) -> bool:
        """It was written and nothing went wrong so far."""
        return self.is_new and self.error is None

    @property
    def may_try_again(self) -> bool:
        """The store refused it, and perhaps not for good."""
        if self.error is None or isinstance(self.error, SourceError):
            return False
        return not (isinstance(self.error, PlaceError) and self.error.permanent)


class Intake:
    """Takes sources into a place, batch by batch; a content that comes twice is written once.

    Parameters
    ----------
    place : BlobPlace
        Where to.
    knows : callable
        Says which digests need not be written; asked from several threads.
    vouch : callable
        Told of the digests written and durable; returns those that are gone by now.
    """

    def __init__(
        self,
        place: BlobPlace,
        knows: Callable[[str], bool],
        vouch: Callable[[Sequence[str], Callable[[str], bool]], list[str]],
    ) -> None:
        self._place = place
        self._knows = knows
        self._vouch = vouch
        self._done: set[str] = set()
        self._claims: dict[str, Outcome] = {}
        self._temporaries: set[str] = set()
        self._begun: set[Since] = set()
        self._bytes = 0
        self._lock = threading.Lock()
        self._workers = Workers(place.threads, "framelode-blobs")

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

    def take(self, sources: Iterable[Source]) -> Iterator[tuple[Sequence[Source], list[Outcome]]]:
        """Store sources batch by batch: one is made durable while the next is read.

        Yields
        ------
        tuple of sequence of Source and list of Outcome
            A batch, and what became of each source, durable unless it has an error.
        """
        coming = iter(sources)
        waiting: list[Source] = []
        before: _Batch | None = None
        while True:
            waiting.extend(islice(coming, BATCH_FILES - len(waiting)))
            batch = self._stage_batch(waiting)
            if before and before.publishing:
                before.publishing.result()
                yield before.sources, self._settle(before.staged)
            if not batch.staged:
                return
            batch.publishing = self._workers.begin(partial(self._publish, batch))
            waiting, before = waiting[len(batch.staged) :], batch

    def put(self, sources: Sequence[Source]) -> list[Outcome]:
        """Store a few sources in one batch; returns an outcome for each, in order."""
        batch = _Batch(self._begin(sources), sources, self._workers.map(self._stage, sources))
        self._publish(batch)
        return self._settle(batch.staged)

    def _stage_batch(self, sources: list[Source]) -> _Batch:
        """Read and write as many sources, from the first on, as are made durable at once."""
        self._bytes = 0
        since = self._begin(sources)
        staged = self._workers.map(self._stage, sources, lambda: self._bytes >= BATCH_BYTES)
        return _Batch(since, sources[: len(staged)], staged)

    def _begin(self, sources: Sequence[Source]) -> Since:
        since = self._place.begin() if sources else Since()
        self._begun.add(since)
        return since

    def _discard(self, temporary: str) -> None:
        self._place.discard(temporary)
        self._temporaries.discard(temporary)

    def _stage(self, source: Source) -> Outcome:
        outcome = Outcome()
        try:
            with source.open() as content:
                self._write(content, outcome)
        except FramelodeError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = StorageError(f"blob store {self._place.name}: {error}")
        with self._lock:
            self._bytes += outcome.size
        return outcome

    def _write(self, content: Content, outcome: Outcome) -> None:
        first = first_chunk(content)
        if len(first) < CHUNK_BYTES:
            self._write_small(content, first, outcome)
            return
        sink = self._place.create()
        outcome.temporary = sink.name
        self._temporaries.add(sink.name)
        try:
            outcome.digest, outcome.size = copy_content(content, first, sink)
        finally:
            sink.close()
        content.check()
        outcome.is_new = self._must_write(outcome)
        if not outcome.is_new:
            self._discard(outcome.temporary)

    def _write_small(self, content: Content, data: bytes, outcome: Outcome) -> None:
        """Write a content that is in memory; one that is known costs no write at all."""
        content.check()
        outcome.digest, outcome.size = blake3(data).hexdigest(), len(data)
        outcome.is_new = self._must_write(outcome)
        if outcome.is_new and not self._place.put_whole(data, outcome.digest):
            outcome.temporary = self._place.write(data)
            self._temporaries.add(outcome.temporary)

    def _must_write(self, outcome: Outcome) -> bool:
        """Say whether a content has to be written: the first of its kind, that nobody relies on yet."""
        digest = outcome.digest
        # One step, so that of two threads only one is the first.
        if digest in self._done or self._claims.setdefault(digest, outcome) is not outcome:
            return False
        if self._knows(digest) and self._place.size(digest) == outcome.size:
            self._done.add(digest)
            return False
        return True

    def _publish(self, batch: _Batch) -> None:
        """Make contents durable, give them their names, and make those durable."""
        written = [outcome for outcome in batch.staged if outcome.temporary and outcome.is_kept]
        names = [outcome.temporary for outcome in written]
        self._together(lambda: self._place.sync_written(names, batch.since), written)
        self._workers.map(self._move, [outcome for outcome in written if outcome.is_kept])
        moved = [outcome for outcome in written if outcome.is_kept]
        digests = [outcome.digest for outcome in moved]
        self._together(lambda: self._place.sync_moved(digests, batch.since), moved)
        batch.since.close()
        self._begun.discard(batch.since)

    def _together(self, sync: Callable[[], None], outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        try:
            sync()
        except (OSError, StorageError) as error:
            for outcome in outcomes:
                outcome.error = StorageError(f"blob store {self._place.name}: {error}")

    def _move(self, outcome: Outcome) -> None:
        try:
            self._place.move(outcome.temporary, outcome.digest)
            self._temporaries.discard(outcome.temporary)
        except PlaceError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = StorageError(f"blob store {self._place.name}: {error}")

    def _settle(self, staged: list[Outcome]) -> list[Outcome]:
        """Vouch for what was written; whoever brought the same content shares its fate."""
        stored = [outcome.digest for outcome in staged if outcome.is_kept]
        gone = set(self._vouch(stored, lambda digest: self._place.size(digest) is not None))
        self._done.update(digest for digest in stored if digest not in gone)
        for outcome in staged:
            if self._claims.get(outcome.digest) is outcome:
                del self._claims[outcome.digest]
            if outcome.temporary in self._temporaries:
                self._discard(outcome.temporary)
            if not outcome.error and outcome.digest not in self._done:
                outcome.error = StorageError(f"blob {outcome.digest} was not stored: store it again")
                outcome.is_new = False
        return staged


@dataclass
class _Batch:
    """Sources that are made durable together, beginning with a moment before they were written."""

    since: Since
    sources: Sequence[Source]
    staged: list[Outcome]
    publishing: Future[None] | None = None
