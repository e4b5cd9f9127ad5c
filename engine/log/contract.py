"""The log's contract: append, read, head; every database adapter implements it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
import numpy as np

from ..errors import ConcurrencyError, ConflictError, IntegrityError
from ..keys import Operation, read_rows
from .batch import AppendHeader, Batch, BatchHeader, Body

Clock = Callable[[], int]
"""Returns the UTC time as integer microseconds since 1970."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of the log: position 0 for an empty one."""

    position: int
    digest: bytes
    recorded_at: int


class Append(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One transaction: consecutive batches of any streams, by one command.

    Each batch names by `first_version` the stream version it expects to follow; `guards` names versions of other
    streams that the decision rests on, 0 for an empty one.
    """

    batches: Sequence[Batch]
    command_id: str
    request_digest: bytes
    actor: str
    context: str = "{}"
    part: int = 0
    is_last: bool = True
    result: bytes = b""
    guards: Mapping[str, int] = {}


class Restored(msgspec.Struct, frozen=True, gc=False):
    """One append as it was recorded before: its header, and its batches with theirs."""

    header: AppendHeader
    batches: Sequence[tuple[BatchHeader, Batch]]


class StreamRows(msgspec.Struct, frozen=True, gc=False):
    """The key rows of one frame batch, read and checked."""

    first_position: int
    count: int
    first_version: int
    keys: bytes

    def counts(self) -> list[int]:
        """Return how many of the batch's events are of each operation, indexed by `Operation`."""
        return np.bincount(read_rows(self.keys)["op"], minlength=Operation.DELETE + 1).tolist()


class AppendExistsError(ConflictError):
    """A part of a command that is recorded already."""


class StreamConflictError(ConcurrencyError):
    """A stream has moved on since the append was decided."""

    def __init__(self, stream_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"stream {stream_id} is at version {found}, the append expected {expected}: somebody else wrote to it"
        )
        self.stream_id = stream_id
        self.expected = expected
        self.found = found


class AppendWatch:
    """Waits for what others append; this one knows nothing of it, and just waits."""

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Return when something may have been appended, at the latest when `stop` is set.

        Parameters
        ----------
        stop : threading.Event
            Ends the waiting.
        seconds : float
            How long to wait where nobody tells of appends.
        """
        stop.wait(seconds)


class Log(ABC):
    """An append-only sequence of record batches with gap-free positions from 1.

    Every method sees a consistent prefix of the log. Errors of the database come out as `StorageError`
    (try again) or `IntegrityError` (damage).
    """

    name: str
    """What messages call this log: its file or URL."""

    @property
    @abstractmethod
    def uuid(self) -> str:
        """The log's identity."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed: who waits for appends stops waiting."""
        return False

    @property
    @abstractmethod
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one is `exclusive`; if not, deciding in there could wait for ever."""

    @abstractmethod
    def opener(self) -> Callable[[], AbstractContextManager[Log]]:
        """Return what opens this log for reading in another process, and can be pickled; `UsageError` if nothing can."""

    @abstractmethod
    def head(self) -> Head:
        """Return the end of the log."""

    def watch(self) -> AbstractContextManager[AppendWatch]:
        """Return what waits for appends of any process."""
        return nullcontext(AppendWatch())

    @abstractmethod
    def append(self, append: Append) -> AppendHeader:
        """Record an append; all of it or nothing.

        Raises
        ------
        StreamConflictError
            A batch does not follow the head of its stream, or a guarded stream has moved.
        AppendExistsError
            The command's part is recorded already.
        """

    @abstractmethod
    def restore(self, uuid: str, after: Head, appends: Sequence[Restored]) -> None:
        """Record appends of the log `uuid` as they were recorded before; all of them or nothing.

        An empty log takes that identity over, since the first batch commits to it.

        Parameters
        ----------
        after : Head
            The head that they follow.

        Raises
        ------
        ConflictError
            The log has another identity and is not empty, or its head is not the one to follow.
        IntegrityError
            An append does not come to the digests that were recorded; nothing was recorded.
        """

    @abstractmethod
    def stored_batches(self, *, gt: int, lte: int) -> Iterator[tuple[BatchHeader, Batch]]:
        """Yield batches as they are stored, in order: those after position `gt`, up to `lte`.

        Keys are checked against `keys_digest` and bodies against their checksum; a few megabytes are in memory. `gt` and
        `lte` are ends of appends.
        """

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Keep all other writers out while something is decided inside, up to its first append; for those who lost too often."""

    @abstractmethod
    def require_exclusive(self) -> None:
        """Raise `StorageError` when `exclusive` was lost, before something is done that is not in the log; appends see to it themselves."""

    @abstractmethod
    def find_append(self, command_id: str, part: int | None = None) -> AppendHeader | None:
        """Return a part of a command (the last one by default), or None."""

    @abstractmethod
    def stream_version(self, stream_id: str) -> int | None:
        """Return the version of a stream's last event, None for an unknown stream."""

    @abstractmethod
    def last_batch(self, stream_id: str, *, lte: int, schema: str | None = None) -> BatchHeader | None:
        """Return the header of a stream's last batch that begins at or before position `lte`."""

    @abstractmethod
    def headers(
        self,
        *,
        gt: int = 0,
        lte: int | None = None,
        stream_id: str | None = None,
        schema: str | None = None,
        topics: Collection[str] | None = None,
        damaged: list[IntegrityError] | None = None,
    ) -> Iterator[BatchHeader]:
        """Yield batch headers in order; those whose last position is above `gt` and first position up to `lte`.

        Of batches without any of `topics` most are left out.
        A header that cannot be read raises `IntegrityError`; with `damaged` it is left out and the error put there.
        """

    @abstractmethod
    def batch_at(self, position: int) -> BatchHeader:
        """Return the header of the batch that holds a position; `IntegrityError` when there is none."""

    @abstractmethod
    def first_positions(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return ``(first position, count)`` of batches, ascending: those that hold some positions, maybe more."""

    @abstractmethod
    def append_header(self, append_id: int) -> AppendHeader:
        """Return the append a batch belongs to."""

    @abstractmethod
    def appends(self, *, gt: int = 0, damaged: list[IntegrityError] | None = None) -> Iterator[AppendHeader]:
        """Yield the appends with ids above `gt` in order; `damaged` as in `headers`."""

    @abstractmethod
    def check_tables(self) -> list[str]:
        """Run the database's own integrity check and look for rows that belong to nothing; [] means sound."""

    @abstractmethod
    def stream_rows(self, stream_id: str, *, after: int = 0, lte: int | None = None) -> Iterator[StreamRows]:
        """Yield the frame batches of a stream in order, those after stream version `after`.

        Their keys are checked against `keys_digest`; `lte` is a position that no batch may begin after.
        """

    @abstractmethod
    def rows_at(self, first_positions: Sequence[int]) -> dict[int, bytes]:
        """Return the checked `keys` of batches, by their first positions."""

    @abstractmethod
    def bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Yield the checked bodies of batches, in the order asked."""
