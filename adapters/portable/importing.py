"""Imports a portable file. Each batch is checked against its digest before it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from ...engine.errors import ConflictError, IntegrityError
from ...engine.log.batch import AppendHeader, Batch, BatchHeader, chain_digest, genesis_digest, pack_batch
from ...engine.log.contract import Head, Log, Restored
from .events_json import Events, check_events, rebuild
from .schema import UNREADABLE, BatchLine, Header, Recorded, append_of, header_of

Progress = Callable[[int, int], None]
"""Called with the number of events so far and the total."""

_GROUP_BYTES = 8 * 1024 * 1024
_GROUP_APPENDS = 1000


class PortableFile(Protocol):
    """An open portable file."""

    header: Header

    def place(self) -> str:
        """Return the place of the last batch in the file, for messages."""
        ...

    def batches(self) -> Iterator[tuple[BatchLine, Events]]:
        """Yield the batches in order. At the end, check that the file is complete."""
        ...


class Proven(msgspec.Struct, frozen=True, gc=False):
    """A batch of a file whose content matches its digest."""

    recorded: Recorded
    batch: Batch


def read_proven(source: PortableFile) -> Iterator[Proven]:
    """Yield the batches of a file. Each is checked on its own: events, append, digest."""
    append: AppendHeader | None = None
    for line, events in source.batches():
        try:
            append = append_of(line.append) if line.append is not None else append
            if append is None:
                raise ValueError("the batch has no append")
            yield _prove(line, append, events)
        except UNREADABLE as error:
            raise IntegrityError(f"{source.place()} is damaged: {error}") from error


def _prove(line: BatchLine, append: AppendHeader, events: Events) -> Proven:
    keys, encoded = rebuild(line.topics, events)
    if not encoded or sum(line.blocks) != len(encoded) or min(line.blocks) < 1:
        raise ValueError("the blocks do not match the events")
    batch = pack_batch(line.stream, line.version, line.schema, line.topics, encoded, keys, line.blocks)
    header = header_of(line, append, len(encoded), keys, batch.body_digest)
    if not append.first_position <= header.first_position <= header.last_position <= append.last_position:
        raise ValueError("the batch is not within its append")
    if chain_digest(header, append) != header.digest:
        raise ValueError("the content does not match the digest")
    recorded = Recorded(header=header, append=append, keys=keys, blocks=line.blocks, events=encoded)
    check_events(recorded)
    return Proven(recorded, batch)


class Chain:
    """Checks that batches continue each other from the first position.

    Parameters
    ----------
    log : str
        Uuid of their log.
    """

    def __init__(self, log: str) -> None:
        self.head = Head(0, genesis_digest(log), 0)
        self._append: AppendHeader | None = None
        self._versions: dict[str, int] = {}

    def follow(self, header: BatchHeader, append: AppendHeader) -> bool:
        """Add the next batch. Return whether it completes its append.

        Raises
        ------
        ValueError
            It does not continue the previous batch.
        """
        head = self.head
        if (header.first_position, header.previous_digest) != (head.position + 1, head.digest):
            raise ValueError(f"it does not follow position {head.position}")
        if header.recorded_at < head.recorded_at:
            raise ValueError("its time is before that of the previous batch")
        if self._versions.get(header.stream_id, header.first_version) != header.first_version:
            raise ValueError("it does not follow its stream")
        self._follow_append(header, append)
        self._versions[header.stream_id] = header.last_version + 1
        self.head = Head(header.last_position, header.digest, header.recorded_at)
        return append.last_position == header.last_position

    def _follow_append(self, header: BatchHeader, append: AppendHeader) -> None:
        before = self._append
        if before is not None and before.last_position >= header.first_position:
            if append != before:
                raise ValueError("the previous append is not complete")
            return
        number = 1 if before is None else before.append_id + 1
        if (append.append_id, append.first_position) != (number, header.first_position):
            raise ValueError("its append does not follow the previous one")
        self._append = append


class LogImport(msgspec.Struct):
    """Result of an import.

    Attributes
    ----------
    log : str
        Uuid of the exported log.
    position : int
        The last position after the import.
    digest : str
        The chain digest at `position`, in hex.
    events, batches : int
        Number of events and batches recorded by this call.
    present : int
        Number of events that an earlier import had recorded.
    dataset : str or None
        Id of the dataset, if the file contains only one.
    missing_blobs : list of str
        Digests of blobs that frames refer to and the store lacks. The file does not contain blobs.
    """

    log: str
    position: int = 0
    digest: str = ""
    events: int = 0
    batches: int = 0
    present: int = 0
    dataset: str | None = None
    missing_blobs: list[str] = []


class Recording:
    """Records appends that continue a log, several per transaction. Appends that the log already has are skipped.

    Parameters
    ----------
    log : Log
        An empty log, or one with the result of an earlier import.
    uuid : str
        Uuid of the resulting log.
    report : LogImport
        The report to update.
    total : int
        Total number of events.
    """

    def __init__(self, log: Log, uuid: str, report: LogImport, total: int, progress: Progress | None) -> None:
        self._log = log
        self._uuid = uuid
        self._report = report
        self._total = total
        self._progress = progress
        self._start = log.head()
        self._head = self._start if self._start.position else Head(0, genesis_digest(uuid), 0)
        self._skipped: BatchHeader | None = None
        self._waiting: list[Restored] = []
        self._size = 0
        if self._start.position and log.uuid != uuid:
            raise self.occupied()

    def occupied(self) -> ConflictError:
        """Return the error for a log with other events."""
        return ConflictError(
            f"{self._log.name} already has {self._start.position} events of log {self._log.uuid}: import into an empty "
            "engine, or into one with an interrupted import of the same file"
        )

    def take(self, header: AppendHeader, batches: list[tuple[BatchHeader, Batch]]) -> None:
        """Record an append, now or together with the next ones."""
        last = batches[-1][0]
        if last.last_position <= self._start.position:
            self._skip(last)
            return
        self._check_skipped()
        if header.first_position <= self._start.position:
            raise self.occupied()
        self._waiting.append(Restored(header, batches))
        self._size += sum(len(batch.body) + len(batch.keys) for _, batch in batches)
        if self._size >= _GROUP_BYTES or len(self._waiting) >= _GROUP_APPENDS:
            self.flush()

    def _skip(self, last: BatchHeader) -> None:
        if not self._report.present:
            self._compare(last)
        self._skipped = last
        self._report.present = last.last_position
        self._tell(last.last_position)

    def _check_skipped(self) -> None:
        """Compare the log and the file where the log ends. The digest chain covers everything before."""
        if self._skipped is not None:
            self._compare(self._skipped)
            self._skipped = None

    def _compare(self, header: BatchHeader) -> None:
        if self._log.batch_at(header.last_position).digest != header.digest:
            raise self.occupied()

    def flush(self) -> None:
        """Record the pending appends in one transaction."""
        self._check_skipped()
        if not self._waiting and self._start.position:
            return
        self._log.restore(self._uuid, self._head, self._waiting)
        if not self._waiting:
            return
        last = self._waiting[-1].batches[-1][0]
        self._report.events += last.last_position - self._head.position
        self._report.batches += sum(len(append.batches) for append in self._waiting)
        self._head = Head(last.last_position, last.digest, last.recorded_at)
        self._waiting, self._size = [], 0
        self._tell(last.last_position)

    def _tell(self, position: int) -> None:
        if self._progress:
            self._progress(position, self._total)


def import_whole(log: Log, source: PortableFile, report: LogImport, progress: Progress | None) -> None:
    """Import a complete log, with the same uuid, positions and digests."""
    header = source.header
    recording = Recording(log, header.log, report, header.position, progress)
    chain = Chain(header.log)
    batches: list[tuple[BatchHeader, Batch]] = []
    for proven in read_proven(source):
        recorded = proven.recorded
        try:
            whole = chain.follow(recorded.header, recorded.append)
        except ValueError as error:
            raise IntegrityError(f"{source.place()} is damaged: {error}") from error
        batches.append((recorded.header, proven.batch))
        if whole:
            recording.take(recorded.append, batches)
            batches = []
    if batches or (chain.head.position, chain.head.digest.hex()) != (header.position, header.digest):
        raise IntegrityError(
            f"{source.place()}: the batches end at position {chain.head.position}, but the header gives position "
            f"{header.position} or another digest"
        )
    recording.flush()
