"""The bulk path: adds, updates and deletes of frames become record batches, part by part.

A part is encoded, decided against the version's state, packed, and appended in one transaction. When another
writer was faster, it is decided again against the new state; while nothing it touches has changed, only its
first version is renumbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from ..blobs.ledger import BlobLedger
from ..datasets.state import VersionStates
from ..datasets.version import Version
from ..errors import ConcurrencyError, ConflictError
from ..keys import key_columns
from ..log.batch import BATCH_EVENTS, AppendHeader, Batch
from ..log.context import current_context
from ..log.contract import Append, AppendExistsError, Log, StreamConflictError, patiently
from ..sources.ledger import SourceLedger, condemnation
from ..validation import at_least, check_name, how_many, shorten
from .attempt import Attempt, Command
from .blob_guard import BlobGuard
from .decisions import Delete, Merge, Request, Write
from .encoder import Encoder, Refusal
from .report import OnPart, WriteReport, decode_report

APPEND_BATCHES = 8
"""Record batches of one append: a commit waits for the disk, so that several share it."""

_TRIES = 1000


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
    sources : SourceLedger
        Says which files are to be deleted with their frames.
    """

    def __init__(
        self,
        log: Log,
        states: VersionStates,
        load_version: Callable[[str], Version],
        new_id: Callable[[], str],
        ledger: BlobLedger,
        sources: SourceLedger,
    ) -> None:
        self._log = log
        self._states = states
        self._load_version = load_version
        self._new_id = new_id
        self._blobs = BlobGuard(ledger)
        self._sources = sources

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

        def prepare(part: Sequence[Any]) -> tuple[Request, list[Refusal]]:
            encoded, refusals = encoder.encode(part)
            return Write(encoded, self._log), refusals

        items = _as_yielded(frames, encoder)
        return self._run(version_id, items, prepare, batch_size, command_id, on_part, append_batches)

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

        def prepare(part: Sequence[Any]) -> tuple[Request, list[Refusal]]:
            encoded, refusals = encoder.encode(part)
            return Merge(encoded, without_fields, self._log), refusals

        items = _as_yielded(frames, encoder)
        return self._run(version_id, items, prepare, batch_size, command_id, on_part)

    def delete(
        self,
        version_id: str,
        frame_ids: Iterable[str],
        *,
        sources: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 1000,
        command_id: str | None = None,
        on_part: OnPart | None = None,
    ) -> WriteReport:
        """Delete frames by id; unknown ids leave no event and are counted.

        Parameters
        ----------
        sources : mapping of str to sequence of str, optional
            Canonical URIs, by frame id, that are condemned together with the frame that names them.
        """

        def prepare(part: Sequence[str]) -> tuple[Request, list[Refusal]]:
            return Delete(part, self._log, sources or {}), []

        return self._run(version_id, frame_ids, prepare, batch_size, command_id, on_part)

    def _run(
        self,
        version_id: str,
        items: Iterable[Any],
        prepare: Callable[[Sequence[Any]], tuple[Request, list[Refusal]]],
        batch_size: int,
        command_id: str | None,
        on_part: OnPart | None,
        append_batches: int = APPEND_BATCHES,
    ) -> WriteReport:
        size = _check_batch_size(batch_size)
        if command_id is not None:
            command_id = check_name(command_id, "command_id")
        recorded = self._log.find_append(command_id) if command_id else None
        report = WriteReport()
        command = Command(command_id or self._new_id(), command_id is not None, recorded, size)
        if recorded is None:
            command.draft_at = self._draft_at(version_id)
        cut: BaseException | None = None
        try:
            for number, (part, is_last, cut) in enumerate(_parts(items, append_batches * size)):
                if cut is None or not command.holds(number):
                    own, place = (command, number) if cut is None else (command.apart(self._new_id()), 0)
                    attempt = Attempt(version_id, partial(prepare, part), own, place, is_last=is_last)
                    report.include(self._write_whole(attempt))
                    report.refusals += attempt.refusals
                    if on_part:
                        on_part(report)
        except BaseException as error:
            _tell_of_refusals(error, report)
            if cut is None:
                raise
            raise error from cut
        if cut is not None:
            _tell_of_refusals(cut, report)
            raise cut
        return report

    def _write_whole(self, attempt: Attempt) -> WriteReport:
        """Write a part; frames that come to nothing stay as they were given, so that they can be given again."""
        try:
            report = self._write_part(attempt)
        except BaseException:
            attempt.put_back()
            raise
        if refused := [*report.refusals, *attempt.refusals]:
            attempt.put_back(refusal.frame for refusal in refused)
        return report

    def _write_part(self, attempt: Attempt) -> WriteReport:
        if attempt.command.holds(attempt.number):
            return self._recorded_report(attempt)
        for tries in range(_TRIES):
            attempt.renew()
            try:
                with patiently(self._log, tries):
                    if tries and not attempt.holds():  # others wrote until the log was free
                        continue
                    batches, header = self._attempt(attempt)
            except StreamConflictError:
                continue
            except AppendExistsError:
                return self._recorded_report(attempt)
            if header is not None:
                self._take_over(attempt, batches, header)
            return attempt.packed.report
        version = attempt.version_id
        raise ConcurrencyError(f"version {version}: other writers were faster {_TRIES} times: call again")

    def _attempt(self, attempt: Attempt) -> tuple[list[Batch], AppendHeader | None]:
        """Decide against the state as it is, and append what that comes to."""
        state = self._states.current(attempt.version_id)
        version, found = state.version, state.find(*key_columns(attempt.request.keys))
        packed = attempt.packed
        is_new = packed.found is None or not np.array_equal(packed.found, found)
        if is_new or self._blobs.has_moved(packed.guards):
            decided = attempt.request.decide(state, found)
            guards = self._blobs.admit(decided, attempt.uploaded)
            attempt.pack(decided, found, guards)
        if not attempt.packed.batches:
            return [], None
        batches = attempt.packed.numbered(version + 1)
        if attempt.packed.condemned:
            batches.append(condemnation(attempt.packed.condemned, self._sources.version()))
        if version > attempt.command.draft_at:
            # Read after `version`, so that a publish up to there is seen; a later one makes the append conflict.
            attempt.command.draft_at = self._draft_at(attempt.version_id)
        return batches, self._append(batches, attempt)

    def _take_over(self, attempt: Attempt, batches: list[Batch], header: AppendHeader) -> None:
        """Fold what was appended, now that it is committed, into the state in memory."""
        batches = batches[: len(attempt.packed.batches)]
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

    def _append(self, batches: list[Batch], attempt: Attempt) -> AppendHeader:
        context = current_context()
        append = Append(
            batches=batches,
            command_id=attempt.command.command_id,
            part=attempt.number,
            is_last=attempt.is_last,
            request_digest=attempt.digest,
            actor=context.actor,
            context=context.encoded,
            result=attempt.packed.report.encode(),
            guards=attempt.guards,
        )
        return self._log.append(append)

    def _recorded_report(self, attempt: Attempt) -> WriteReport:
        command, number = attempt.command, attempt.number
        recorded = self._log.find_append(command.command_id, number)
        if recorded is None:
            # A part that changed nothing left no trace; later parts did, and their digests cover it.
            return WriteReport()
        if recorded.request_digest != attempt.digest:
            raise ConflictError(
                f"part {number} of command {command.command_id} was recorded for another request: "
                "give the new request a command id of its own"
            )
        report = recorded.decode_result(decode_report)
        report.repeated = recorded.last_position
        return report


def _tell_of_refusals(error: BaseException, report: WriteReport) -> None:
    """Say of an error that cuts a command off what failed before it: no list of that comes back."""
    if refused := report.refusals:
        failed = f"{how_many(len(refused), 'frame')} failed before that"
        error.add_note(f"{failed}, the first, {shorten(refused[0].frame)}: {refused[0].error}")


def _as_yielded(frames: Iterable[Any], encoder: Encoder) -> Iterable[Any]:
    """Keep what an iterator yields as it is then; what a list holds is there all the time, and is encoded together."""
    return frames if isinstance(frames, list | tuple) else map(encoder.take, frames)


def _parts(items: Iterable[Any], size: int) -> Iterator[tuple[list[Any], bool, BaseException | None]]:
    """Cut items into parts; says of each whether it is the last, having asked for one item more, and what error came then.

    What an iterator yielded before it raised comes as a part, too.
    """
    iterator, ahead = iter(items), list[Any]()
    while True:
        part, ahead = ahead, []
        try:
            part.extend(islice(iterator, size - len(part)))
            ahead.extend(islice(iterator, 1))
        except BaseException as error:
            if not part:
                raise
            yield part, True, error
            return
        if part:
            yield part, not ahead, None
        if not ahead:
            return


def _check_batch_size(batch_size: int) -> int:
    return min(at_least(batch_size, "batch_size", 1), BATCH_EVENTS)
