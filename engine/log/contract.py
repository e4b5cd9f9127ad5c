"""The interface of the log: append, read, head. Every database adapter implements it."""

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
    """The end of the log. The position of an empty log is 0."""

    position: int
    digest: bytes
    recorded_at: int


class Append(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One transaction: consecutive batches of any streams, from one command.

    `first_version` of each batch is the stream version that it expects to follow. `guards` are the expected versions of
    other streams that the decision depends on, 0 for an empty one.

    `decided_at` is the end of the log at which all these versions were read. While it is the end, they are not read again.
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
    decided_at: int | None = None


class Restored(msgspec.Struct, frozen=True, gc=False):
    """An append in its recorded form: its header, and its batches with their headers."""

    header: AppendHeader
    batches: Sequence[tuple[BatchHeader, Batch]]


class StreamRows(msgspec.Struct, frozen=True, gc=False):
    """The key rows of one frame batch, with their digest checked."""

    first_position: int
    count: int
    first_version: int
    keys: bytes

    def counts(self) -> list[int]:
        """Return the number of events of each operation, indexed by `Operation`."""
        return np.bincount(read_rows(self.keys)["op"], minlength=Operation.DELETE + 1).tolist()


class AppendExistsError(ConflictError):
    """The part of the command is already recorded."""


class StreamConflictError(ConcurrencyError):
    """Another writer appended to a stream since the append was decided."""

    def __init__(self, stream_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"stream {stream_id} is at version {found}, the append expected {expected}: another writer appended to it"
        )
        self.stream_id = stream_id
        self.expected = expected
        self.found = found


class AppendWatch:
    """Waits for appends. This base class is not notified of any, and only waits for the given time."""

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Return when something may have been appended, at the latest when `stop` is set.

        Parameters
        ----------
        stop : threading.Event
            Ends the wait.
        seconds : float
            Time to wait if there are no notifications.
        """
        stop.wait(seconds)


class Log(ABC):
    """An append-only sequence of record batches. Positions start at 1 and have no gaps.

    Every method sees a consistent prefix of the log. Database errors are raised as `StorageError` (try again) or
    `IntegrityError` (damage).
    """

    name: str
    """Name of the log in messages: its file or URL."""

    @property
    @abstractmethod
    def uuid(self) -> str:
        """Identity of the log."""

    @property
    def is_closed(self) -> bool:
        """Whether the log was closed. Waiting for appends then ends."""
        return False

    @property
    @abstractmethod
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one is `exclusive`. If not, deciding there could deadlock."""

    @abstractmethod
    def opener(self) -> Callable[[], AbstractContextManager[Log]]:
        """Return a picklable function that opens this log for reading in another process. Raises `UsageError` if none can."""

    @abstractmethod
    def head(self) -> Head:
        """Return the end of the log."""

    def watch(self) -> AbstractContextManager[AppendWatch]:
        """Return an object that waits for appends of any process."""
        return nullcontext(AppendWatch())

    @abstractmethod
    def append(self, append: Append) -> AppendHeader:
        """Record an append, completely or not at all.

        Raises
        ------
        StreamConflictError
            A batch does not follow the head of its stream, or a guarded stream has another version.
        AppendExistsError
            The part of the command is already recorded.
        """

    @abstractmethod
    def restore(self, uuid: str, after: Head, appends: Sequence[Restored]) -> None:
        """Record appends of the log `uuid` unchanged, all or none.

        An empty log takes over that identity, because the first batch depends on it.

        Parameters
        ----------
        after : Head
            The head that they must follow.

        Raises
        ------
        ConflictError
            The log has another identity and is not empty, or its head is not `after`.
        IntegrityError
            An append does not match its recorded digests. Nothing was recorded.
        """

    @abstractmethod
    def stored_batches(self, *, gt: int, lte: int) -> Iterator[tuple[BatchHeader, Batch]]:
        """Yield batches in their stored form, in order: those after position `gt`, up to `lte`.

        Keys are checked against `keys_digest`, and bodies against their checksum. A few megabytes are in memory at a time.
        `gt` and `lte` must be ends of appends.
        """

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Exclude all other writers while a decision is made, until its first append. Used after repeated conflicts."""

    @abstractmethod
    def require_exclusive(self) -> None:
        """Raise `StorageError` if `exclusive` was lost. Call it before an action outside the log; appends check it themselves."""

    @abstractmethod
    def find_append(self, command_id: str, part: int | None = None) -> AppendHeader | None:
        """Return a part of a command (by default the last one), or None."""

    @abstractmethod
    def stream_version(self, stream_id: str) -> int | None:
        """Return the version of the last event of a stream; None for an unknown stream."""

    def stream_versions(self, stream_ids: Collection[str]) -> dict[str, int]:
        """Return the version of the last event of each of some streams; 0 for an unknown stream."""
        return {stream_id: self.stream_version(stream_id) or 0 for stream_id in stream_ids}

    @abstractmethod
    def last_batch(self, stream_id: str, *, lte: int, schema: str | None = None) -> BatchHeader | None:
        """Return the header of the last batch of a stream that begins at or before position `lte`."""

    @abstractmethod
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
        """Yield batch headers in order: those with last position above `gt` and first position up to `lte`.

        Of a stream, only the batches that begin after stream version `after`: to continue a stream, this is faster than
        `gt`, since there is an index on the versions of a stream.

        Most batches without any of `topics` are omitted. A header that cannot be read raises `IntegrityError`, or is omitted
        and its error added to `damaged` if that is given.
        """

    @abstractmethod
    def batch_at(self, position: int) -> BatchHeader:
        """Return the header of the batch that contains a position. Raises `IntegrityError` if there is none."""

    @abstractmethod
    def first_positions(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """Return ``(first position, count)`` of the batches that contain some positions, and maybe of more, ascending."""

    @abstractmethod
    def append_header(self, append_id: int) -> AppendHeader:
        """Return the append of a batch."""

    @abstractmethod
    def appends(self, *, gt: int = 0, damaged: list[IntegrityError] | None = None) -> Iterator[AppendHeader]:
        """Yield the appends with ids above `gt` in order. `damaged` is as in `headers`."""

    @abstractmethod
    def check_tables(self) -> list[str]:
        """Run the database's integrity check, and look for rows that belong to nothing. Returns the problems."""

    @abstractmethod
    def stream_rows(self, stream_id: str, *, after: int = 0, lte: int | None = None) -> Iterator[StreamRows]:
        """Yield the frame batches of a stream in order, those after stream version `after`.

        Keys are checked against `keys_digest`. Only batches that begin at or before position `lte` are returned.
        """

    @abstractmethod
    def rows_at(self, first_positions: Sequence[int]) -> dict[int, bytes]:
        """Return the `keys` of batches by first position, with their digests checked."""

    @abstractmethod
    def bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Yield the bodies of batches in the requested order, with their checksums checked."""

    def recent_bodies(self, first_positions: Sequence[int]) -> Iterator[Body]:
        """Like `bodies`, for readers of single events. A log may cache the bodies with the blocks that were opened."""
        return self.bodies(first_positions)
