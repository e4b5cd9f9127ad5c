"""A read-only view of a log, limited to the positions up to a point in time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from ..errors import IntegrityError, NotFoundError, UsageError
from ..keys import KeyRow
from .batch import CODEC, AppendHeader, Batch, BatchHeader, Body, genesis_digest, pack_batch
from .contract import Append, Head, Log, Restored, StreamRows
from .moments import describe_moment


class LogPrefix(Log):
    """The events of a log up to a position. It is read-only.

    The position may be inside a batch. Its header, keys and body are then cut, but its digest is that of the whole batch.

    Parameters
    ----------
    log : Log
        The whole log.
    position : int
        The last visible position, 0 for none.
    """

    def __init__(self, log: Log, position: int) -> None:
        self.whole = log
        self.name = log.name
        self.position = position
        last = log.batch_at(position) if position else None
        head = Head(position, last.digest, last.recorded_at) if last else Head(0, genesis_digest(log.uuid), 0)
        self.moment = describe_moment(position, head.recorded_at)
        """The point in time, for messages."""
        self._head: Head | None = head
        self._cut_at = last.first_position if last and last.last_position > position else 0
        self._kept = position - self._cut_at + 1
        self._cut_body: Body | None = None

    def refusal(self) -> UsageError:
        """Return the error for an attempt to write."""
        return UsageError(
            f"this engine shows the log at {self.moment} and is read-only: use the engine of the present"
        )

    @property
    def uuid(self) -> str:
        """Identity of the log."""
        return self.whole.uuid

    @property
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one writes to the whole log."""
        return self.whole.reads_while_writing

    def head(self) -> Head:
        """Return the end of the prefix."""
        if self._head is None:
            raise UsageError(f"{self.name} is closed: connect again")
        return self._head

    def close(self) -> None:
        """Refuse further reads. The underlying log is not closed."""
        self._head = None

    def opener(self) -> Callable[[], AbstractContextManager[Log]]:
        """Return a function that opens this prefix for reading in another process."""
        return partial(_open, self.whole.opener(), self.position)

    def append(self, append: Append) -> AppendHeader:  # noqa: ARG002 - the contract's signature
        """Raise `UsageError`."""
        raise self.refusal()

    def restore(self, uuid: str, after: Head, appends: Sequence[Restored]) -> None:  # noqa: ARG002 - likewise
        """Raise `UsageError`."""
        raise self.refusal()

    def stored_batches(self, *, gt: int, lte: int) -> Iterator[tuple[BatchHeader, Batch]]:
        """Yield batches in their stored form. Raises `UsageError` if the prefix ends inside an append, which has one digest."""
        if self.position:
            append = self.whole.append_header(self.whole.batch_at(self.position).append_id)
            if append.last_position != self.position:
                raise UsageError(
                    f"position {self.position} is inside an append, which can only be copied as a whole: "
                    f"use position {append.first_position - 1} or {append.last_position}"
                )
        yield from self.whole.stored_batches(gt=gt, lte=self._limit(lte))

    def exclusive(self) -> AbstractContextManager[None]:
        """Raise `UsageError`."""
        raise self.refusal()

    def require_exclusive(self) -> None:
        """Raise `UsageError`."""
        raise self.refusal()

    def find_append(self, command_id: str, part: int | None = None) -> AppendHeader | None:
        """Return a part of a command (by default the last one), or None."""
        last = self.whole.find_append(command_id, part)
        if last is None or last.first_position <= self.position:
            return last and self._cut_append(last)
        earlier = range(last.part - 1, -1, -1) if part is None else ()
        # A part that changed nothing has no positions.
        found = (self.whole.find_append(command_id, number) for number in earlier)
        return next(
            (self._cut_append(one) for one in found if one and one.first_position <= self.position), None
        )

    def stream_version(self, stream_id: str) -> int | None:
        """Return the version of the last event of a stream in the prefix; None for an unknown stream."""
        last = self.last_batch(stream_id, lte=self.position)
        return last and last.last_version

    def last_batch(self, stream_id: str, *, lte: int, schema: str | None = None) -> BatchHeader | None:
        """Return the header of the last batch of a stream that begins at or before position `lte`."""
        found = self.whole.last_batch(stream_id, lte=self._limit(lte), schema=schema)
        return found and self._cut_header(found)

    def headers(
        self,
        *,
        gt: int = 0,
        lte: int | None = None,
        stream_id: str | None = None,
        after: int = 0,
        schema: str | None = None,
        topics: Collection[str] | None = None,
        damaged: list[IntegrityError] | None = None,
    ) -> Iterator[BatchHeader]:
        """Yield batch headers in order."""
        if gt < self.position:
            which: dict[str, Any] = {
                "stream_id": stream_id,
                "after": after,
                "schema": schema,
                "topics": topics,
            }
            found = self.whole.headers(gt=gt, lte=self._limit(lte), damaged=damaged, **which)
            yield from map(self._cut_header, found)

    def batch_at(self, position: int) -> BatchHeader:
        """Return the header of the batch that contains a position."""
        if position > self.position:
            raise NotFoundError(f"{self.name} has no position {position} at {self.moment}")
        return self._cut_header(self.whole.batch_at(position))

    def first_positions(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return ``(first position, count)`` of the batches that contain some positions, and maybe of more, ascending."""
        return [
            (first, self._kept if first == self._cut_at else count)
            for first, count in self.whole.first_positions(positions)
            if first <= self.position
        ]

    def append_header(self, append_id: int) -> AppendHeader:
        """Return the append of a batch."""
        return self._cut_append(self.whole.append_header(append_id))

    def appends(self, *, gt: int = 0, damaged: list[IntegrityError] | None = None) -> Iterator[AppendHeader]:
        """Yield the appends with ids above `gt` in order. The last one may be cut."""
        for append in self.whole.appends(gt=gt, damaged=damaged):
            if append.first_position > self.position:
                return
            yield self._cut_append(append)

    def check_tables(self) -> list[str]:
        """Run the database's integrity check. Returns the problems."""
        return self.whole.check_tables()

    def stream_rows(self, stream_id: str, *, after: int = 0, lte: int | None = None) -> Iterator[StreamRows]:
        """Yield the frame batches of a stream in order, those after stream version `after`."""
        for page in self.whole.stream_rows(stream_id, after=after, lte=self._limit(lte)):
            if page.first_position == self._cut_at:
                keys = page.keys[: self._kept * KeyRow.itemsize]
                yield StreamRows(page.first_position, self._kept, page.first_version, keys)
            else:
                yield page

    def rows_at(self, first_positions: Sequence[int]) -> dict[int, bytes]:
        """Return the `keys` of batches by first position, with their digests checked."""
        found = self.whole.rows_at(first_positions)
        if self._cut_at in found:
            found[self._cut_at] = found[self._cut_at][: self._kept * KeyRow.itemsize]
        return found

    def bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Yield the bodies of batches in the requested order, with their checksums checked."""
        return self._cut_bodies(self.whole.bodies(first_positions))

    def recent_bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Like `bodies`, from the cache of the whole log."""
        return self._cut_bodies(self.whole.recent_bodies(first_positions))

    def _cut_bodies(self, bodies: Iterator[Body]) -> Iterator[Body]:
        for body in bodies:
            yield self._first_events(body) if body.first_position == self._cut_at else body

    def _limit(self, lte: int | None) -> int:
        return self.position if lte is None else min(lte, self.position)

    def _cut_header(self, header: BatchHeader) -> BatchHeader:
        if header.first_position != self._cut_at:
            return header
        return msgspec.structs.replace(header, count=self._kept)

    def _cut_append(self, append: AppendHeader) -> AppendHeader:
        if append.last_position <= self.position:
            return append
        return msgspec.structs.replace(append, last_position=self.position, is_last=False)

    def _first_events(self, body: Body) -> Body:
        """Return the body of the batch that is cut. It is cached, because it is read often."""
        if self._cut_body is None:
            events = list(islice(body.events(), self._kept))
            stored = pack_batch("", 1, "", (), events).body
            self._cut_body = Body(body.first_position, CODEC, stored)
        return self._cut_body


@contextmanager
def _open(
    open_whole: Callable[[], AbstractContextManager[Log]], position: int
) -> Generator[LogPrefix, None, None]:
    with open_whole() as whole:
        yield LogPrefix(whole, position)
