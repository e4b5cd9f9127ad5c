"""What a command on frames has done."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..keys import U64
from .encoder import Refusal

COUNTS = ("added", "updated", "deleted", "unchanged", "unknown")
"""The counts of a report that the log keeps."""


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
        for name in (*COUNTS, "duplicates"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refusals += other.refusals
        self.spans += other.spans
        self.overwritten += other.overwritten
        self.repeated = max(self.repeated, other.repeated)

    def encode(self) -> bytes:
        """Return what the log keeps of it, for repetitions of the command."""
        return msgspec.msgpack.encode([getattr(self, name) for name in COUNTS])


OnPart = Callable[[WriteReport], None]
"""Called after each part with the report so far."""


def decode_report(result: bytes) -> WriteReport:
    """Return the report that the log kept."""
    counts = msgspec.msgpack.decode(result, type=tuple[int, int, int, int, int])
    return WriteReport(**dict(zip(COUNTS, counts, strict=True)))
