"""Verifies the digest chain in parts: batches, appends, streams and times continue without gaps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec

from ...engine.errors import IntegrityError, NotFoundError
from ...engine.events.registry import FRAME_TOPICS, is_known_topic
from ...engine.log.batch import FRAMES_SCHEMA, AppendHeader, BatchHeader, chain_digest, genesis_digest
from ...engine.log.contract import Log

BEFORE_ALL = -(1 << 63) - 1
"""Less than any stored number, so that rows before the first position are checked as well."""

_FRAME_TOPICS = frozenset(FRAME_TOPICS.values())


class Link(msgspec.Struct, frozen=True, gc=False):
    """The state of the chain after a batch."""

    position: int
    digest: bytes
    recorded_at: int
    append_id: int
    append_last: int


class First(msgspec.Struct, frozen=True, gc=False):
    """The values that connect a batch to the previous one."""

    position: int
    previous_digest: bytes
    recorded_at: int
    append_id: int
    append_first: int


class ChainPart(msgspec.Struct):
    """A part of the chain that was checked on its own.

    Attributes
    ----------
    first, last : First, Link
        Both ends; None if it has no batch.
    begins : dict of str to (int, int)
        Version and position of the first event of each stream in the part.
    ends : dict of str to int
        The next expected version of each stream.
    problems : list of str
        Problems within the part.
    known : set of str
        Streams with events of a known kind.
    unknown : dict of str to int
        Position of the first batch with an event of an unknown kind, by stream.
    """

    first: First | None = None
    last: Link | None = None
    begins: dict[str, tuple[int, int]] = {}
    ends: dict[str, int] = {}
    batches: int = 0
    events: int = 0
    problems: list[str] = []
    known: set[str] = set()
    unknown: dict[str, int] = {}


class ChainWalk:
    """Checks the batches of a part together with its appends, and continues after problems.

    Parameters
    ----------
    log : Log
        The log.
    after : int
        The position before the part; `BEFORE_ALL` for the first one.
    """

    def __init__(self, log: Log, after: int = BEFORE_ALL) -> None:
        self._log = log
        self._after = after
        self._appends: Iterator[AppendHeader] | None = None
        self._append: AppendHeader | None = None
        self._damaged: list[IntegrityError] = []
        self.part = ChainPart()

    def take(self, header: BatchHeader) -> None:
        """Check the next batch."""
        part, position = self.part, header.first_position
        append = self._append_of(header)
        if append is not None and chain_digest(header, append) != header.digest:
            self._wrong("the batch does not match its digest: it was altered", position)
        if (
            append is not None
            and not append.first_position <= position <= header.last_position <= append.last_position
        ):
            self._wrong(f"the batch is outside of append {append.append_id}", position)
        first = First(
            position,
            header.previous_digest,
            header.recorded_at,
            header.append_id,
            append.first_position if append else position,
        )
        if part.last is None:
            part.first = first
        else:
            part.problems += join_problems(self._log, part.last, first)
        self._take_stream(header)
        self._take_topics(header)
        append_last = append.last_position if append else header.last_position
        part.last = Link(
            header.last_position, header.digest, header.recorded_at, header.append_id, append_last
        )
        part.batches += 1
        part.events += header.count

    def _take_stream(self, header: BatchHeader) -> None:
        part, stream_id = self.part, header.stream_id
        expected = part.ends.get(stream_id)
        if expected is None:
            part.begins[stream_id] = (header.first_version, header.first_position)
        elif expected != header.first_version:
            self._wrong(_stream_problem(stream_id, expected, header.first_version), header.first_position)
        part.ends[stream_id] = header.last_version + 1

    def _take_topics(self, header: BatchHeader) -> None:
        part, known = self.part, [is_known_topic(topic) for topic in header.topics]
        if any(known):
            part.known.add(header.stream_id)
        if not all(known):
            part.unknown.setdefault(header.stream_id, header.first_position)
        if header.schema == FRAMES_SCHEMA and not _FRAME_TOPICS.issuperset(header.topics):
            self._wrong(
                f"the batch of frames has the topics {', '.join(header.topics)}", header.first_position
            )

    def _append_of(self, header: BatchHeader) -> AppendHeader | None:
        """Return the append of a batch, and report those that were skipped."""
        wanted = header.append_id
        if self._appends is None:
            after = BEFORE_ALL if self._after == BEFORE_ALL else wanted - 1
            self._appends = self._log.appends(gt=after, damaged=self._damaged)
        while self._append is None or self._append.append_id < wanted:
            found = next(self._appends, None)
            self._note_damaged()
            if found is None:
                break
            if found.append_id < wanted:
                self._wrong(f"the batches of append {found.append_id} are missing", found.first_position)
            self._append = found
        if self._append is None or self._append.append_id != wanted:
            self._wrong(f"append {wanted} is missing", header.first_position)
            return None
        return self._append

    def finish(self) -> None:
        """Check that no append remains after the last batch of the log. Appends recorded meanwhile have batches."""
        left = self._appends
        if left is None:
            left = self._log.appends(gt=BEFORE_ALL, damaged=self._damaged)
        last = self.part.last.append_id if self.part.last else 0
        held = [self._append] if self._append is not None and self._append.append_id > last else []
        for append in chain(held, left):
            if not self._has_batches(append):
                self._wrong(f"the batches of append {append.append_id} are missing", append.first_position)
        self._note_damaged()

    def _has_batches(self, append: AppendHeader) -> bool:
        try:
            return self._log.batch_at(append.first_position).append_id == append.append_id
        except NotFoundError:
            return False
        except IntegrityError:
            # The batch is there; whoever reads its stretch reports the damage.
            return True

    def _note_damaged(self) -> None:
        self.part.problems += map(str, self._damaged)
        self._damaged.clear()

    def _wrong(self, what: str, position: int) -> None:
        self.part.problems.append(problem(self._log, what, position))


class Chain:
    """The chain from the first batch on, joined from its parts in order."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.last = Link(0, genesis_digest(log.uuid), BEFORE_ALL, 0, 0)
        self._streams: dict[str, int] = {}
        self._known: set[str] = set()
        self._unknown: dict[str, int] = {}

    def join(self, part: ChainPart) -> list[str]:
        """Add the next part. Returns the problems within it and at its start."""
        problems = part.problems
        if part.first is not None and part.last is not None:
            problems = join_problems(self._log, self.last, part.first) + problems
            self.last = part.last
        for stream_id, (version, position) in part.begins.items():
            expected = self._streams.get(stream_id, version)
            if version != expected:
                what = _stream_problem(stream_id, expected, version)
                problems.append(problem(self._log, what, position))
        self._streams |= part.ends
        self._known |= part.known
        self._unknown = part.unknown | self._unknown
        return problems

    def finish(self) -> list[str]:
        """Return the problems at the end of the log, and in the index of the streams."""
        problems: list[str] = []
        if self.last.append_last != self.last.position:
            problems.append(problem(self._log, "the last append is incomplete", self.last.position + 1))
        # Streams of other applications have only unknown events.
        problems += [
            problem(self._log, f"stream {stream_id} has an event of an unknown kind", position)
            for stream_id, position in self._unknown.items()
            if stream_id in self._known
        ]
        for stream_id, version in self._streams.items():
            found = self._log.stream_version(stream_id)
            if found is None or found < version - 1:
                what = (
                    f"stream {stream_id} ends at version {version - 1}, but at {found} according to the index"
                )
                problems.append(f"{self._log.name}: {what}")
        return problems


def join_problems(log: Log, last: Link, first: First) -> list[str]:
    """Return the problems where a batch follows the previous one."""
    wrong: list[str] = []
    position = first.position
    if position > last.position + 1:
        return [
            problem(log, f"positions {last.position + 1} to {position - 1} are missing", last.position + 1)
        ]
    if position <= last.position:
        wrong.append("the batch begins before the end of the previous one")
    elif first.previous_digest != last.digest:
        wrong.append("the batch does not contain the digest of the previous one: one of them was altered")
    if first.recorded_at < last.recorded_at:
        wrong.append("the time of the batch is earlier than that of the previous one")
    if first.append_id != last.append_id:
        if last.append_last != last.position:
            wrong.append(f"append {last.append_id} is incomplete")
        if first.append_id != last.append_id + 1:
            wrong.append(f"append {first.append_id} follows append {last.append_id}")
        if first.append_first != position:
            wrong.append(f"append {first.append_id} does not begin with its first batch")
    return [problem(log, what, position) for what in wrong]


def problem(log: Log, what: str, position: int) -> str:
    """Return the message of a problem in a log, with its position."""
    return f"{log.name}: {what} (position {position})"


def _stream_problem(stream_id: str, expected: int, found: int) -> str:
    return f"stream {stream_id} continues with version {found} instead of {expected}"
