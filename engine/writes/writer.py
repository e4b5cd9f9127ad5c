"""The bulk path: adds, updates and deletes of frames become record batches, part by part.

A part is encoded, decided against the version's state, packed, and appended in one transaction. When another
writer was faster, it is decided again against the new state; while nothing it touches has changed, only its
first version is renumbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from typing import Any

from ..blobs.ledger import BlobLedger
from ..datasets.repository import AggregateRepository
from ..datasets.state import VersionStates
from ..log.batch import BATCH_EVENTS, AppendHeader
from ..log.command import run_decided
from ..log.contract import Log
from ..sources.ledger import SourceLedger
from ..tracing import VERSION_ID, span
from ..validation import at_least, how_many, shorten
from .blob_guard import BlobGuard
from .decisions import Delete, Merge, Request, Write
from .encoder import Encoder, Refusal
from .part import FrameCommand, KnownBatch, Part
from .report import COUNTS, OnPart, WriteReport, decode_report

APPEND_BATCHES = 8
"""Record batches of one append: a commit waits for the disk, so that several share it."""


Parts = Iterator[tuple[Sequence[Any], bool, BaseException | None]]
"""The parts of a command: each with whether it is the last, and what error came after it."""


class FrameWriter:
    """Writes frames into draft versions.

    Parameters
    ----------
    log : Log
        Where batches are appended.
    states : VersionStates
        The states that decisions are made on.
    aggregates : AggregateRepository
        Loads the versions.
    new_id : callable
        Makes ids of 32 hex digits.
    ledger : BlobLedger
        Says which blobs frames must not name.
    sources : SourceLedger
        Says which files are to be deleted with their frames.
    on_known : callable, optional
        Called with recorded batches whose content is known.
    """

    def __init__(
        self,
        log: Log,
        states: VersionStates,
        aggregates: AggregateRepository,
        new_id: Callable[[], str],
        ledger: BlobLedger,
        sources: SourceLedger,
        on_known: Callable[[KnownBatch], object] | None = None,
    ) -> None:
        self._on_known = on_known
        self._log = log
        self._states = states
        self._aggregates = aggregates
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
        cut = partial(_parts, _as_yielded(frames, encoder))
        return self.add_parts(
            version_id,
            cut,
            encoder,
            batch_size=batch_size,
            append_batches=append_batches,
            command_id=command_id,
            on_part=on_part,
        )

    def add_parts(
        self,
        version_id: str,
        cut: Callable[[int], Parts],
        encoder: Encoder,
        *,
        batch_size: int = 1000,
        append_batches: int = APPEND_BATCHES,
        command_id: str | None = None,
        on_part: OnPart | None = None,
    ) -> WriteReport:
        """Add frames like `add`, from what cuts itself into parts, such as a table.

        Parameters
        ----------
        cut : callable
            Returns the parts of so many frames.
        """

        def prepare(part: Any) -> tuple[Request, list[Refusal]]:
            encoded, refusals = encoder.encode(part)
            return Write(encoded, self._log), refusals

        parts = cut(append_batches * _check_batch_size(batch_size))
        return self._run_parts("add_frames", version_id, parts, prepare, batch_size, command_id, on_part)

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
            return Merge(encoded, self._log, without_fields), refusals

        items = _as_yielded(frames, encoder)
        return self._run("merge_frames", version_id, items, prepare, batch_size, command_id, on_part)

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

        return self._run("delete_frames", version_id, frame_ids, prepare, batch_size, command_id, on_part)

    def _run(
        self,
        operation: str,
        version_id: str,
        items: Iterable[Any],
        prepare: Callable[[Sequence[Any]], tuple[Request, list[Refusal]]],
        batch_size: int,
        command_id: str | None,
        on_part: OnPart | None,
    ) -> WriteReport:
        parts = _parts(items, APPEND_BATCHES * _check_batch_size(batch_size))
        return self._run_parts(operation, version_id, parts, prepare, batch_size, command_id, on_part)

    def _run_parts(
        self,
        operation: str,
        version_id: str,
        parts: Parts,
        prepare: Callable[[Any], tuple[Request, list[Refusal]]],
        batch_size: int,
        command_id: str | None,
        on_part: OnPart | None,
    ) -> WriteReport:
        size = _check_batch_size(batch_size)
        command = FrameCommand.begin(command_id, self._new_id, version_id=version_id, batch_size=size)
        command.recorded = self._log.find_append(command.id) if command.is_repeatable else None
        with span(operation, self._log, {VERSION_ID: version_id}) as told:
            report = self._write_parts(command, parts, prepare, on_part)
            told.set({f"framelode.frames.{name}": getattr(report, name) for name in COUNTS})
            told.set({"framelode.frames.refused": len(report.refusals)})
            return report

    def _write_parts(
        self,
        command: FrameCommand,
        parts: Parts,
        prepare: Callable[[Any], tuple[Request, list[Refusal]]],
        on_part: OnPart | None,
    ) -> WriteReport:
        report = WriteReport()
        if command.recorded is None:
            command.draft_at = self._draft_at(command.version_id)
        cut: BaseException | None = None
        try:
            for number, (some, is_last, cut) in enumerate(parts):
                if cut is not None and command.holds(number):
                    continue
                command.part, command.is_last = number, is_last
                part = Part(command if cut is None else command.apart(self._new_id()), partial(prepare, some))
                report.include(self._write(part))
                report.refusals += part.refusals
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

    def _write(self, part: Part) -> WriteReport:
        """Write a part; frames that come to nothing stay as they were given, so that they can be given again."""
        try:
            report = self._decided(part)
        except BaseException:
            part.put_back()
            raise
        if refused := [*report.refusals, *part.refusals]:
            part.put_back(refusal.frame for refusal in refused)
        return report

    def _decided(self, part: Part) -> WriteReport:
        """Decide and append a part until no other writer gets in between."""
        command, tries = part.command, count()
        if command.holds(command.part):
            # A part that changed nothing left no trace; later parts did, and their digests cover it.
            recorded = command.find_recorded(self._log)
            return WriteReport() if recorded is None else _recorded_report(recorded)

        def decide() -> WriteReport | None:
            # Others wrote until the log was free.
            return self._append(part) if next(tries) == 0 or part.holds() else None

        subject = f"version {command.version_id}"
        return run_decided(self._log, command, subject, decide, _recorded_report, prepare=part.renew)

    def _append(self, part: Part) -> WriteReport:
        """Decide against the state as it is, append what that comes to, and take it over into the state in memory."""
        command = part.command
        state = self._states.current(command.version_id)
        version = before = state.version
        part.decide(state, self._blobs)
        if not part.batches:
            return part.report
        if version > command.draft_at:
            # Read after `version`, so that a publish up to there is seen; a later one makes the append conflict.
            command.draft_at = self._draft_at(command.version_id)
        header = part.append(self._log, version, self._sources)
        part.report.spans.append((header.first_position, header.last_position))
        position = header.first_position
        for batch, rows in part.batches:
            self._states.recorded(command.version_id, rows, position, version + 1)
            position, version = position + batch.count, version + batch.count
        self._aggregates.advance(command.version_id, (), before, version)
        command.draft_at = max(command.draft_at, version)
        if self._on_known is not None:
            for batch in part.known():
                self._on_known(batch)
        return part.report

    def _draft_at(self, version_id: str) -> int:
        """Return a version of the stream up to which the version is known to be a draft."""
        version = self._aggregates.version(version_id)
        version.require_draft()
        return version.version


def _recorded_report(recorded: AppendHeader) -> WriteReport:
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


def _parts(items: Iterable[Any], size: int) -> Parts:
    """Cut items into parts; says of each whether it is the last, having asked for one item more, and what error came then.

    What an iterator yielded before it raised comes as a part, too.
    """
    iterator, ahead = iter(items), list[Any]()
    while True:
        part, ahead = ahead, []
        try:
            part.extend(islice(iterator, size - len(part)))
            if len(part) == size:  # an iterator that has ended is not asked again
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
