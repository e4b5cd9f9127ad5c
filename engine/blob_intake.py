"""How many files enter a blob store at once: read and hashed in parallel, made durable together, then moved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec
from blake3 import blake3

from .blob_place import CHUNK_BYTES, BlobPlace, PlaceError, Sink
from .blob_sources import Content, Source, SourceError, copy_content, first_chunk
from .errors import FramelodeError, StorageError
from .workers import Workers


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
        self._claimed: set[str] = set()
        self._temporaries: set[str] = set()
        self._lock = threading.Lock()
        self._workers = Workers(place.threads, "framelode-blobs")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()
        self._discard_all()

    def put(self, sources: Sequence[Source]) -> list[Outcome]:
        """Store a batch; returns an outcome for each source, in order, durable unless it has an error."""
        self._claimed.clear()
        staged = self._workers.map(self._stage, sources)
        written = [outcome for outcome in staged if outcome.is_new and outcome.error is None]
        self._publish([outcome for outcome in written if outcome.temporary])
        self._settle(staged, written)
        self._discard_all()
        return staged

    def _discard_all(self) -> None:
        for temporary in list(self._temporaries):
            self._discard(temporary)

    def _discard(self, temporary: str) -> None:
        self._place.discard(temporary)
        self._temporaries.discard(temporary)

    def _create(self, outcome: Outcome) -> Sink:
        sink = self._place.create()
        self._temporaries.add(sink.name)
        outcome.temporary = sink.name
        return sink

    def _stage(self, source: Source) -> Outcome:
        outcome = Outcome()
        try:
            with source.open() as content:
                self._write(content, outcome)
        except FramelodeError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = StorageError(f"blob store {self._place.name}: {error}")
        return outcome

    def _write(self, content: Content, outcome: Outcome) -> None:
        first = first_chunk(content)
        if len(first) < CHUNK_BYTES:
            self._write_small(content, first, outcome)
            return
        sink = self._create(outcome)
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
        if not outcome.is_new or self._place.put_whole(data, outcome.digest):
            return
        sink = self._create(outcome)
        try:
            sink.write(data)
        finally:
            sink.close()

    def _must_write(self, outcome: Outcome) -> bool:
        """Say whether a content has to be written: the first of its kind, that nobody relies on yet."""
        with self._lock:
            if outcome.digest in self._claimed or outcome.digest in self._done:
                return False
            self._claimed.add(outcome.digest)
        known = self._knows(outcome.digest) and self._place.size(outcome.digest) == outcome.size
        if known:
            self._done.add(outcome.digest)
        return not known

    def _publish(self, written: Sequence[Outcome]) -> None:
        """Make contents durable, give them their names, and make those durable."""
        self._together(self._place.sync_written, written, [outcome.temporary for outcome in written])
        self._workers.map(self._move, [outcome for outcome in written if outcome.error is None])
        moved = [outcome for outcome in written if outcome.error is None]
        self._together(self._place.sync_moved, moved, [outcome.digest for outcome in moved])

    def _together(
        self, sync: Callable[[Sequence[str]], None], outcomes: Sequence[Outcome], names: list[str]
    ) -> None:
        if not outcomes:
            return
        try:
            sync(names)
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

    def _settle(self, outcomes: Sequence[Outcome], written: Sequence[Outcome]) -> None:
        """Vouch for what was written; whoever brought the same content shares its fate."""
        stored = [outcome.digest for outcome in written if outcome.error is None]
        gone = set(self._vouch(stored, lambda digest: self._place.size(digest) is not None))
        self._done.update(digest for digest in stored if digest not in gone)
        for outcome in outcomes:
            if outcome.error is None and outcome.digest not in self._done:
                outcome.error = StorageError(f"blob {outcome.digest} was not stored: store it again")
                outcome.is_new = False
