"""A cache of what was read of record batches most recently."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from .. import forks

Read = TypeVar("Read")


class RecentlyRead(Generic[Read]):
    """What was read of batches, by their first positions. The least recently used is dropped first.

    Batches never change, so nothing in the cache becomes outdated.

    Parameters
    ----------
    read : callable
        Reads some batches, and returns what was read by first position.
    size_of : callable
        Returns the bytes that an entry takes.
    limit : int
        Most bytes of all entries. The newest entry is kept even if it takes more.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int]], Mapping[int, Read]],
        size_of: Callable[[Read], int],
        limit: int,
    ) -> None:
        self._read = read
        self._size_of = size_of
        self._limit = limit
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._entries: OrderedDict[int, Read] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def all(self, first_positions: Sequence[int]) -> list[Read]:
        """Return the entries of some batches in the requested order."""
        with self._lock:
            known = {first: self._entries[first] for first in first_positions if first in self._entries}
            for first in known:
                self._entries.move_to_end(first)
        missing = [first for first in first_positions if first not in known]
        if missing:
            read = self._read(missing)
            self._remember(read)
            known |= read
        return [known[first] for first in first_positions]

    def _remember(self, read: Mapping[int, Read]) -> None:
        with self._lock:
            for first, entry in read.items():
                if first not in self._entries:
                    self._entries[first] = entry
                    self._bytes += self._size_of(entry)
            while self._bytes > self._limit and len(self._entries) > 1:
                self._bytes -= self._size_of(self._entries.popitem(last=False)[1])
