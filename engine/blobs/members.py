"""The logs that use one blob store. A blob is deleted only if all of them have marked it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from ..errors import ConcurrencyError
from .commands import BlobCommands
from .ledger import Condemned
from .marker import Marker, read_marker
from .store import BlobStore

Positions = Sequence[Mapping[str, int]]
"""For each log, the position at which it marked each digest."""


class References(Protocol):
    """Finds the blobs that frames refer to."""

    def referenced(self) -> set[str]:
        """Return the blobs that are kept, at the head of the log."""
        ...

    def named_after(self, position: int) -> Mapping[str, int]:
        """Return the blobs that events after a position refer to, each with the last such position."""
        ...


class Member(NamedTuple):
    """A log that uses the store: its commands and references."""

    commands: BlobCommands
    references: References


class Members:
    """The logs that use a blob store.

    Parameters
    ----------
    store : BlobStore
        The store.
    marker : Marker or None
        The marker of the store when the members were opened.
    members : sequence of Member
        The logs, in an order that is the same in every process, in which they are locked.
    """

    def __init__(self, store: BlobStore, marker: Marker | None, members: Sequence[Member]) -> None:
        self._store = store
        self._marker = marker
        self._members = members

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def referenced(self) -> set[str]:
        """Return the blobs that frames of any log refer to."""
        return set[str]().union(*(member.references.referenced() for member in self._members))

    def condemned(self) -> list[Mapping[str, Condemned]]:
        """Return the marked blobs of each log."""
        return [member.commands.blob_ledger.condemned() for member in self._members]

    def positions(self) -> list[int]:
        """Return the head position of each log."""
        return [member.commands.log.head().position for member in self._members]

    def restore(self, digests: Sequence[str]) -> None:
        """Unmark blobs in each log if their contents are stored."""
        for member in self._members:
            member.commands.restore_blobs(digests, self._store.present)

    def condemn(self, digests: Sequence[str], positions: Sequence[int]) -> list[str]:
        """Mark blobs in each log, and restore those that frames referred to after the given positions.

        Returns
        -------
        list of str
            Digests that were newly marked in a log, in order.
        """
        done: set[str] = set()
        late: set[str] = set()
        for member, position in zip(self._members, positions, strict=True):
            done.update(member.commands.condemn_blobs(digests, position))
        for member, position in zip(self._members, positions, strict=True):
            late.update(member.references.named_after(position))
        self.restore([digest for digest in digests if digest in done & late])
        return [digest for digest in digests if digest in done - late]

    def collect(self, digests: Sequence[str], positions: Positions) -> list[str]:
        """Delete the blobs that all logs marked at the given positions, while all are locked. Return their digests."""
        return self._collect(0, positions, digests)

    def _collect(self, at: int, positions: Positions, digests: Sequence[str]) -> list[str]:
        if at == len(self._members):
            return self._delete(digests)
        condemned = {digest: positions[at][digest] for digest in digests if digest in positions[at]}
        inner = partial(self._collect, at + 1, positions)
        return self._members[at].commands.collect_blobs(condemned, inner)

    def _delete(self, digests: Sequence[str]) -> list[str]:
        """Delete blobs, unless a log joined or a lock was lost."""
        if self._marker is not None and read_marker(self._store.place) != self._marker:
            raise ConcurrencyError(f"another log joined or left {self._store.name}: call again")
        for member in self._members:
            member.commands.log.require_exclusive()
        self._store.delete(digests)
        return list(digests)
