"""The blob store: contents stored once, named by their hash, on any filesystem.

A blob is written to a temporary name, made durable, and then renamed to its digest. Readers never see partial blobs, and
blobs that `put_files` reports as stored survive a crash.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import IntegrityError, InvalidTypeError, NotFoundError, StorageError, UsageError
from ..storage.atomic_files import from_home, temporary_name
from ..storage.base import CHUNK_BYTES, BackendError, growing_waits
from ..validation import shorten
from .backend import BlobBackend, Entry
from .content import BlobSource, FileSource, PathLike, Readable, SourceError, StreamSource, is_transient
from .damage import Damage
from .fsspec import FsspecBackend
from .ingest import Ingest, IngestResult
from .local import LocalBackend
from .marker import Marker, join
from .presence import EmptyPresenceIndex, PresenceIndex, Present
from .reports import FileFailure, PutReport, StoredFile
from .scrub import ScrubFindings, scrub
from .uris import check_digest
from .verifying_reader import VerifyingReader

__all__ = ["BlobStore", "FileFailure", "PutReport", "ScrubFindings", "StoredFile"]

logger = logging.getLogger("framelode.blobs")

RETRIES = 4
"""Number of retries of a failed storage operation."""

LEFTOVER_SECONDS = 24 * 3600.0
"""Age after which a temporary file is abandoned, counted from the last write to it."""


Known = Callable[[str], bool] | Container[str]


class BlobStore:
    """File contents, named by the hash of their bytes.

    Parameters
    ----------
    url : str, path or BlobBackend
        A local folder, created on the first write, or an fsspec URL such as ``s3://bucket/blobs``.
    filesystem : fsspec filesystem, optional
        An open filesystem. `url` is then a path in it.
    presence : PresenceIndex, optional
        Tells which contents are known to be stored. Without it, none are.
    retries : int
        Number of retries of a failed operation, with exponential backoff.
    sleep : callable
        Sleeps for a number of seconds. Replaced in tests.

    Raises
    ------
    UsageError
        The URL has an unknown scheme, or its library is not installed.
    """

    def __init__(
        self,
        url: PathLike | BlobBackend,
        *,
        filesystem: Any = None,
        presence: PresenceIndex | None = None,
        retries: int = RETRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.place = url if isinstance(url, BlobBackend) else _place_of(os.fspath(url), filesystem)
        self.presence = presence or EmptyPresenceIndex()
        self._waits = growing_waits(retries)
        self._sleep = sleep
        self._is_joined = False

    @property
    def name(self) -> str:
        """The folder or URL of the store."""
        return self.place.name

    def __repr__(self) -> str:
        return f"BlobStore({self.name!r})"

    def join(self) -> Marker:
        """Return the marker of the store. If the store is empty, create the marker, which lists the log of this object.

        Every method that writes calls this once.

        Raises
        ------
        UsageError
            Another log uses the store, or the folder is not empty and not a blob store.
        IntegrityError
            The marker is damaged.
        """
        marker = join(self.place, lambda marker: self.presence.join(marker, self.name))
        self._is_joined = True
        return marker

    def _join_once(self, waits: Sequence[float] = ()) -> None:
        """Join on the first use. Retry after each wait."""
        for wait in waits:
            if self._is_joined:
                return
            try:
                self.join()
            except StorageError as error:
                if isinstance(error, BackendError) and error.permanent:
                    raise
                self._sleep(wait)
        if not self._is_joined:
            self.join()

    def put_files(
        self,
        paths: Iterable[PathLike],
        *,
        known: Known | None = None,
        on_done: Callable[[StoredFile | FileFailure], None] | None = None,
        retries: int | None = None,
    ) -> PutReport:
        """Store local files in parallel. A batch of files shares one sync.

        Contents are written again unless they are known to be stored, because a crash may have left a damaged file.

        Parameters
        ----------
        paths : iterable of str or path
            Paths of the files, which are consumed in batches.
        known : callable or container, optional
            Digests of blobs that are known to be stored completely and in use. By default `presence` tells.
        on_done : callable, optional
            Called in this thread for each file once it is durable or has failed.
        retries : int, optional
            Number of retries of a failed operation. By default that of the store.

        Returns
        -------
        PutReport
            The stored files, and the failures. A failure of a single file is not raised.
        """
        report = PutReport()
        waits = self._waits if retries is None else growing_waits(retries)
        sources = (FileSource(os.path.expanduser(path)) for path in paths)  # noqa: PTH111 - faster than a Path
        for outcome in self._put_all(sources, known, waits):
            kept: list[Any] = report.stored if isinstance(outcome, StoredFile) else report.failures
            kept.append(outcome)
            if on_done:
                on_done(outcome)
        return report

    def put_sources(
        self, sources: Iterable[Readable], *, threads: int | None = None
    ) -> Iterator[StoredFile | FileFailure]:
        """Store contents in parallel, as `put_files` does.

        Parameters
        ----------
        sources : iterable of Readable
            The contents, which are consumed in batches.
        threads : int, optional
            Number of threads, by default as many as the store needs.

        Yields
        ------
        StoredFile or FileFailure
            The result for each source, in order: it is durable, or could not be stored.
        """
        yield from self._put_all(sources, None, self._waits, threads)

    def copy_from(
        self, other: BlobStore, digests: Iterable[str], *, known: Known | None = None
    ) -> Iterator[StoredFile | FileFailure]:
        """Copy blobs of another store in parallel. Each is compared with its digest before it is stored here.

        Parameters
        ----------
        other : BlobStore
            The store to copy from.
        digests : iterable of str
            Digests of the blobs to copy, which are consumed in batches.
        known : callable or container, optional
            As for `put_files`. An empty collection copies all blobs again.

        Yields
        ------
        StoredFile or FileFailure
            The result for each blob, in order: it is durable, or could not be copied.
        """
        yield from self._put_all((BlobSource(other.place, digest) for digest in digests), known, self._waits)

    def repair(self, sources: Iterable[Readable]) -> list[str]:
        """Replace blobs by the given contents, and return the digests of those that were stored."""
        outcomes = self._put_all(sources, (), self._waits)
        stored = [outcome.digest for outcome in outcomes if isinstance(outcome, StoredFile)]
        Damage(self.place).forget(stored)
        return stored

    def _put_all(
        self,
        sources: Iterable[Readable],
        known: Known | None,
        waits: Sequence[float],
        threads: int | None = None,
    ) -> Iterator[StoredFile | FileFailure]:
        """Store sources, and yield the result of each, batch by batch."""
        try:
            self._join_once(waits)
        except StorageError as error:
            for source in sources:
                yield FileFailure(source.name, str(error), "storage")
            return
        self.place.clean(LEFTOVER_SECONDS)
        with self._intake(known, threads) as intake:
            for taken, outcomes in intake.take(sources):
                yield from self._finish(intake, taken, outcomes, waits)

    def put(self, content: BinaryIO | bytes, *, known: Known | None = None) -> StoredFile:
        """Store one content from a stream or from memory. It is durable on return.

        Parameters
        ----------
        content : file or bytes
            The content.
        known : callable or container, optional
            As for `put_files`.

        Raises
        ------
        StorageError
            The content could not be written, after retries, or the stream could not be read.
        TypeError
            The content is neither bytes nor a binary file.
        """
        if not isinstance(content, bytes) and not hasattr(content, "seekable"):
            raise InvalidTypeError(
                f"the content must be bytes or an open binary file, not {shorten(content)}"
            )
        self._join_once(self._waits)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        with self._intake(known) as intake:
            source = StreamSource(stream)
            (outcome,) = self._finish(intake, [source], intake.put([source]), self._waits)
        if isinstance(outcome, FileFailure):
            raise StorageError(outcome.error)
        return outcome

    def _intake(self, known: Known | None, threads: int | None = None) -> Ingest:
        damage = Damage(self.place)
        if known is None:
            knows, knows_nothing = self.presence.known, self.presence.is_empty_index
        else:
            contains = known if callable(known) else known.__contains__
            knows, knows_nothing = (lambda digests: set(filter(contains, digests))), (lambda: False)

        def confirm(digests: Sequence[str], present: Present) -> list[str]:
            gone = self.presence.confirm(digests, present)
            damage.forget_stored(set(digests).difference(gone))
            return gone

        return Ingest(
            self.place, lambda digests: damage.without(knows(digests)), knows_nothing, confirm, threads
        )

    def _finish(
        self,
        intake: Ingest,
        sources: Sequence[Readable],
        outcomes: list[IngestResult],
        waits: Sequence[float],
    ) -> Iterator[StoredFile | FileFailure]:
        """Retry failed sources, and yield the result of each source."""
        for wait in waits:
            again = [at for at, outcome in enumerate(outcomes) if is_transient(outcome.error)]
            if not again:
                break
            self._sleep(wait)
            for at, outcome in zip(again, intake.put([sources[at] for at in again]), strict=True):
                outcomes[at] = outcome
        for source, outcome in zip(sources, outcomes, strict=True):
            if outcome.error is None:
                yield StoredFile(source.name, outcome.digest, outcome.size, outcome.is_new)
            else:
                kind = "source" if isinstance(outcome.error, SourceError) else "storage"
                yield FileFailure(source.name, str(outcome.error), kind)

    def size(self, digest: str) -> int:
        """Return the size of a blob. Raises `NotFoundError` if it is not stored."""
        size = self.place.size(check_digest(digest))
        if size is None:
            raise self._missing(digest)
        return size

    def __contains__(self, digest: object) -> bool:
        return self.place.size(check_digest(digest)) is not None

    def present(self, digests: Iterable[str]) -> list[str]:
        """Return the digests of those blobs that are stored."""
        return [digest for digest in digests if digest in self]

    def open(self, digest: str, *, verify: bool = False) -> BinaryIO:
        """Open a blob for reading.

        Parameters
        ----------
        digest : str
            Digest of the blob, 64 hex digits.
        verify : bool
            Hash the content while it is read. If it does not match the digest, the end of the file raises `IntegrityError`.
            Such a reader cannot seek.

        Raises
        ------
        NotFoundError
            The blob is not stored.
        """
        try:
            file = self.place.open(check_digest(digest))
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        if not verify:
            return file
        reader = VerifyingReader(file, digest, self.place.path(digest), self.note_damaged)
        return cast("BinaryIO", io.BufferedReader(reader, CHUNK_BYTES))

    def read(self, digest: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return a range of a blob's bytes, by default all. It is shorter if the blob ends before `stop`."""
        try:
            return self.place.read_range(check_digest(digest), start, stop)
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def fetch(self, digest: str, path: PathLike) -> Path:
        """Copy a blob to a local file and verify it. The file is created atomically.

        Parameters
        ----------
        digest : str
            Digest of the blob, 64 hex digits.
        path : path
            The file to create.

        Raises
        ------
        NotFoundError
            The blob is not stored.
        IntegrityError
            The content does not match the digest.
        """
        target = from_home(path)
        temporary = target.with_name(temporary_name(target))
        try:
            with self.open(digest, verify=True) as source, temporary.open("xb") as copy:
                shutil.copyfileobj(source, copy, CHUNK_BYTES)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def local_path(self, digest: str) -> str | None:
        """Return the read-only file of a blob if the store is a local folder, else None.

        Raises
        ------
        NotFoundError
            The blob is not stored.
        IntegrityError
            Its path is not a regular file.
        """
        if not isinstance(self.place, LocalBackend):
            return None
        if self.place.size(check_digest(digest)) is None:
            self.open(digest).close()  # raises if it is missing or not a regular file
        return self.place.path(digest)

    def entries(self) -> Iterator[Entry]:
        """Yield every file of the store, including foreign files."""
        return self.place.entries()

    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs without a check whether they are in use. Use `Engine.gc` for that check."""
        self._join_once()
        self.place.delete([check_digest(digest) for digest in digests])

    def clean(self, older_than: float = LEFTOVER_SECONDS) -> int:
        """Delete temporary files of killed processes that were not written to for `older_than` seconds."""
        self._join_once()
        return self.place.clean(older_than)

    def scrub(
        self,
        digests: Iterable[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        *,
        expected: Iterable[str] = (),
        executor: Executor | None = None,
    ) -> ScrubFindings:
        """Read blobs and compare them with their digests.

        Parameters
        ----------
        digests : iterable of str, optional
            Blobs to read, by default all.
        progress : callable, optional
            Called with the number of blobs and bytes read so far.
        expected : iterable of str
            Blobs that must be stored at the end.
        executor : Executor, optional
            Runs the reads. By default they run in threads of this process.
        """
        found = scrub(self.place, digests, progress, expected, executor)
        if found.altered:
            self.note_damaged(*found.altered)
        return found

    def note_damaged(self, *digests: str) -> None:
        """Remember that blobs are damaged, so that the next upload of their contents replaces them."""
        try:
            self._join_once()
            Damage(self.place).note(digests)
        except (StorageError, UsageError, IntegrityError, FileNotFoundError) as error:
            # A read-only store can still be read and scrubbed.
            logger.warning("%s: damaged blobs cannot be recorded: %s", self.name, error)

    def _missing(self, digest: str) -> NotFoundError:
        fate = self.presence.explain(digest)
        return NotFoundError(
            f"there is no blob {digest} ({self.place.path(digest)}){f': {fate}' if fate else ''}"
        )


def _place_of(url: str, filesystem: Any) -> BlobBackend:
    if filesystem is not None:
        return FsspecBackend(url, filesystem)
    if url.startswith("file://"):
        return LocalBackend(Path(url.removeprefix("file://")))
    return FsspecBackend(url) if "://" in url else LocalBackend(from_home(url))
