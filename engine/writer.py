"""The bulk path: adds, updates and deletes of frames become record batches, part by part.

A part is encoded, decided against the version's state, packed, and appended in one transaction. When another
writer was faster, it is decided again against the new state; while nothing it touches has changed, only its
first version is renumbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from .batch import BATCH_EVENTS, AppendHeader, Batch
from .blob_guard import NO_GUARDS, BlobGuard
from .blob_ledger import BlobLedger
from .context import current_context
from .datasets import check_name
from .decisions import DELETED, Decided
from .encoding import Encoder, Refusal
from .errors import ConcurrencyError, ConflictError, InvalidValueError
from .frame_batch import pack_frame_batch
from .keys import U64, Operation, Rows, key_columns
from .log import Append, AppendExistsError, Log, StreamConflictError, patiently
from .requests import DeleteRequest, FrameRequest, MergeRequest, WriteRequest, digest_of
from .state import VersionStates
from .versions import Version

APPEND_BATCHES = 8
"""Record batches of one append: a commit waits for the disk, so that several share it."""

_TRIES = 1000


class WriteReport(msgspec.Struct):
    """What a command has done.

    Attributes
    ----------
    added, updated, deleted, unchanged : int
        Frames; unchanged ones left no event.
    unknown : int
        Deletes of ids that the version does not hold.
    duplicates : int
        Frames whose id came again later in the same part: adds consider the last of each, merges all as one change.
    refusals : list of Refusal
        Frames that were not recorded.
    spans : list of (int, int)
        First and last positions of what was recorded.
    overwritten : list of ndarray of uint64
        Positions of the frames whose ids the version held already.
    repeated : int
        Last position of what the command had recorded before, 0 for nothing.
    """

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    unknown: int = 0
    duplicates: int = 0
    refusals: list[Refusal] = []
    spans: list[tuple[int, int]] = []
    overwritten: list[U64] = []
    repeated: int = 0

    @property
    def events(self) -> int:
        """Number of events recorded."""
        return self.added + self.updated + self.deleted

    def include(self, other: WriteReport) -> None:
        """Add the counts of another report."""
        for name in ("added", "updated", "deleted", "unchanged", "unknown", "duplicates"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refusals += other.refusals
        self.spans += other.spans
        self.overwritten += other.overwritten
        self.repeated = max(self.repeated, other.repeated)


OnPart = Callable[[WriteReport], None]
"""Called after each part with the report so far."""


class FrameWriter:
    """Writes frames into draft versions.

    Parameters
    ----------
    log : Log
        Where batches are appended.
    states : VersionStates
        The states that decisions are made on.
    load_version : callable
        Loads a version's aggregate.
    new_id : callable
        Makes ids of 32 hex digits.
    ledger : BlobLedger
        Says which blobs frames must not name.
    """

    def __init__(
        self,
        log: Log,
        states: VersionStates,
        load_version: Callable[[str], Version],
        new_id: Callable[[], str],
        ledger: BlobLedger,
    ) -> None:
        self._log = log
        self._states = states
        self._load_version = load_version
        self._new_id = new_id
        self._blobs = BlobGuard(ledger)

    def add(
        self,
        version_id: str,
        frames: Iterable[Any],
        encoder: Encoder,
        *,
        batch_size: int = 1000,
        append_batches: int = APPEND_BATCHES,
        command_id: str | None = None,
        on_part: OnPart | None = None,
    ) -> WriteReport:
        """Add frames; an id that the version holds is overwritten, a frame that changes nothing leaves no event.

        Parameters
        ----------
        frames : iterable
            Consumed part by part.
        batch_size : int
            Frames of one record batch, at most 10,000.
        append_batches : int
            Record batches of a part.
        command_id : str, optional
            Repeated with the same frames, the command does nothing twice and finishes what was left.

        Raises
        ------
        PublishedError
            The version takes no changes; nothing of the part at hand was recorded.
        ConflictError
            The command was used for other frames.
        """

        def prepare(part: Sequence[Any]) -> tuple[FrameRequest, list[Refusal]]:
            encoded, refusals = encoder.encode(part)
            return WriteRequest(encoded, self._log), refusals

        return self._run(version_id, frames, prepare, batch_size, command_id, on_part, append_batches)

    def merge(
        self,
        version_id: str,
        frames: Iterable[Any],
        encoder: Encoder,
        without_fields: frozenset[str],
        *,
        batch_size: int = 1000,
        command_id: str | None = None,
        on_part: OnPart | None = None,
    ) -> WriteReport:
        """Update frames by merging the fields sent into what the version holds; nothing is removed."""

        def prepare(part: Sequence[Any]) -> tuple[FrameRequest, list[Refusal]]:
            encoded, refusals = encoder.encode(part)
            return MergeRequest(encoded, without_fields, self._log), refusals

        return self._run(version_id, frames, prepare, batch_size, command_id, on_part)

    def delete(
        self,
        version_id: str,
        frame_ids: Iterable[str],
        *,
        batch_size: int = 1000,
        command_id: str | None = None,
        on_part: OnPart | None = None,
    ) -> WriteReport:
        """Delete frames by id; unknown ids leave no event and are counted."""

        def prepare(part: Sequence[str]) -> tuple[FrameRequest, list[Refusal]]:
            return DeleteRequest(part, self._log), []

        return self._run(version_id, frame_ids, prepare, batch_size, command_id, on_part)

    def _run(
        self,
        version_id: str,
        items: Iterable[Any],
        prepare: Callable[[Sequence[Any]], tuple[FrameRequest, list[Refusal]]],
        batch_size: int,
        command_id: str | None,
        on_part: OnPart | None,
        append_batches: int = APPEND_BATCHES,
    ) -> WriteReport:
        size = _check_batch_size(batch_size)
        if command_id is not None:
            check_name(command_id, "command_id")
        recorded = self._log.find_append(command_id) if command_id else None
        report = WriteReport()
        command = _Command(command_id or self._new_id(), command_id is not None, recorded, size)
        if recorded is None:
            command.draft_at = self._draft_at(version_id)
        for number, (part, is_last) in enumerate(_parts(items, append_batches * size)):
            request, refusals = prepare(part)
            report.include(self._write_part(version_id, request, command, number, is_last=is_last))
            report.refusals += refusals
            if on_part:
                on_part(report)
        return report

    def _write_part(
        self, version_id: str, request: FrameRequest, command: _Command, number: int, *, is_last: bool
    ) -> WriteReport:
        # Only a command that may be repeated needs to be recognised.
        digest = command.chain(version_id, request, is_last=is_last) if command.repeatable else b""
        if command.recorded is not None and number <= command.recorded.part:
            return self._recorded_report(command, number, digest)
        attempt = _Attempt(version_id, request, command, number, digest, is_last)
        for tries in range(_TRIES):
            try:
                with patiently(self._log, tries):
                    batches, header = self._attempt(attempt)
            except StreamConflictError:
                continue
            except AppendExistsError:
                return self._recorded_report(command, number, digest)
            if header is not None:
                self._take_over(attempt, batches, header)
            return attempt.packed.report
        raise ConcurrencyError(f"version {version_id}: other writers were faster {_TRIES} times: call again")

    def _attempt(self, attempt: _Attempt) -> tuple[list[Batch], AppendHeader | None]:
        """Decide against the state as it is, and append what that comes to."""
        state = self._states.current(attempt.version_id)
        version, found = state.version, state.find(*key_columns(attempt.request.keys))
        packed = attempt.packed
        is_new = packed.found is None or not np.array_equal(packed.found, found)
        if is_new or self._blobs.has_moved(packed.guards):
            decided = attempt.request.decide(state, found)
            guards = self._blobs.admit(decided)
            attempt.packed = _pack(attempt.version_id, decided, found, attempt.command.batch_size)
            attempt.packed.guards = guards
        if not attempt.packed.batches:
            return [], None
        batches = attempt.packed.numbered(version + 1)
        if version > attempt.command.draft_at:
            # Read after `version`, so that a publish up to there is seen; a later one makes the append conflict.
            attempt.command.draft_at = self._draft_at(attempt.version_id)
        return batches, self._append(batches, attempt)

    def _take_over(self, attempt: _Attempt, batches: list[Batch], header: AppendHeader) -> None:
        """Fold what was appended, now that it is committed, into the state in memory."""
        attempt.command.draft_at = max(
            attempt.command.draft_at, batches[-1].first_version + batches[-1].count - 1
        )
        attempt.packed.report.spans.append((header.first_position, header.last_position))
        position = header.first_position
        for batch, (_, rows) in zip(batches, attempt.packed.batches, strict=True):
            self._states.recorded(attempt.version_id, rows, position, batch.first_version)
            position += batch.count

    def _draft_at(self, version_id: str) -> int:
        """Return a version of the stream up to which the version is known to be a draft."""
        version = self._load_version(version_id)
        version.require_draft()
        return version.version

    def _append(self, batches: list[Batch], attempt: _Attempt) -> AppendHeader:
        context = current_context()
        append = Append(
            batches=batches,
            command_id=attempt.command.command_id,
            part=attempt.number,
            is_last=attempt.is_last,
            request_digest=attempt.digest,
            actor=context.actor,
            context=context.encoded,
            result=_encode_report(attempt.packed.report),
            guards=attempt.packed.guards,
        )
        return self._log.append(append)

    def _recorded_report(self, command: _Command, number: int, digest: bytes) -> WriteReport:
        recorded = self._log.find_append(command.command_id, number)
        if recorded is None:
            # A part that changed nothing left no trace; later parts did, and their digests cover it.
            return WriteReport()
        if recorded.request_digest != digest:
            raise ConflictError(
                f"part {number} of command {command.command_id} was recorded for another request: "
                "give the new request a command id of its own"
            )
        report = _decode_report(recorded.result)
        report.repeated = recorded.last_position
        return report


class _Command(msgspec.Struct):
    command_id: str
    repeatable: bool
    recorded: AppendHeader | None
    batch_size: int
    draft_at: int = -1
    request_digest: bytes = b""

    def chain(self, version_id: str, request: FrameRequest, *, is_last: bool) -> bytes:
        """Return the digest of the request up to this part; every part is called once, in order."""
        ending = b"last" if is_last else b"more"
        self.request_digest = digest_of(self.request_digest, version_id.encode(), ending, request.digest())
        return self.request_digest


class _Packed(msgspec.Struct):
    """What a part comes to, decided where each key was last seen at `found`; None before the first decision."""

    found: U64 | None = None
    batches: list[tuple[Batch, Rows]] = []
    report: WriteReport = msgspec.field(default_factory=WriteReport)
    guards: Mapping[str, int] = NO_GUARDS

    def numbered(self, first_version: int) -> list[Batch]:
        """Return the batches with the stream versions that follow each other from `first_version`."""
        numbered: list[Batch] = []
        for batch, _ in self.batches:
            numbered.append(msgspec.structs.replace(batch, first_version=first_version))
            first_version += batch.count
        return numbered


class _Attempt(msgspec.Struct):
    """A part of a command on its way into the log, through as many tries as it takes."""

    version_id: str
    request: FrameRequest
    command: _Command
    number: int
    digest: bytes
    is_last: bool
    packed: _Packed = msgspec.field(default_factory=_Packed)


def _pack(version_id: str, decided: Decided, found: U64, batch_size: int) -> _Packed:
    counts = np.bincount(decided.changes.operations, minlength=Operation.DELETE + 1)
    report = WriteReport(
        added=int(counts[Operation.ADD]),
        updated=int(counts[Operation.UPDATE]),
        deleted=int(counts[Operation.DELETE]),
        unchanged=decided.unchanged,
        unknown=decided.unknown,
        duplicates=decided.duplicates,
        refusals=decided.refusals,
        overwritten=[held] if len(held := found[(found != 0) & (found < DELETED)]) else [],
    )
    batches = [pack_frame_batch(version_id, 0, changes) for changes in decided.changes.cut(batch_size)]
    return _Packed(found, batches, report)


def _parts(items: Iterable[Any], size: int) -> Iterator[tuple[list[Any], bool]]:
    """Cut items into parts; says of each whether it is the last, having looked at one item more."""
    iterator = iter(items)
    part = list(islice(iterator, size))
    while part:
        ahead = list(islice(iterator, 1))
        yield part, not ahead
        part = ahead + list(islice(iterator, size - 1)) if ahead else ahead


def _check_batch_size(batch_size: int) -> int:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidValueError(f"batch_size must be a whole number of 1 or more, not {batch_size!r}")
    return min(batch_size, BATCH_EVENTS)


def _encode_report(report: WriteReport) -> bytes:
    return msgspec.msgpack.encode(
        [report.added, report.updated, report.deleted, report.unchanged, report.unknown]
    )


def _decode_report(result: bytes) -> WriteReport:
    added, updated, deleted, unchanged, unknown = msgspec.msgpack.decode(
        result, type=tuple[int, int, int, int, int]
    )
    return WriteReport(added=added, updated=updated, deleted=deleted, unchanged=unchanged, unknown=unknown)
