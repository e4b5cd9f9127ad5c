"""Many values in one buffer, which are used like a list of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class Joined(Sequence[bytes]):
    """Values that follow one another in a buffer.

    Parameters
    ----------
    data : bytes
        The buffer.
    offsets : ndarray of int64, shape (n + 1,)
        Where each value begins, and where the last one ends.
    skipped : int
        Bytes at the beginning of each that are no part of the value.
    """

    __slots__ = ("_data", "_offsets", "_skipped")

    def __init__(self, data: bytes, offsets: NDArray[np.int64], skipped: int = 0) -> None:
        self._data = data
        self._offsets = offsets
        self._skipped = skipped

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Joined: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return Joined(self._data, self._offsets[start : max(start, stop) + 1], self._skipped)
        place = range(len(self))[index]
        return self._data[int(self._offsets[place]) + self._skipped : int(self._offsets[place + 1])]

    def __iter__(self) -> Iterator[bytes]:
        data, skipped = self._data, self._skipped
        return iter([data[start + skipped : stop] for start, stop in pairwise(self._offsets.tolist())])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of bytes of each value."""
        return np.diff(self._offsets) - self._skipped

    def with_skipped(self) -> Joined:
        """Return the values with what is skipped of each."""
        return Joined(self._data, self._offsets)

    def buffer(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the part of the buffer with some of the values, and with what is skipped of each."""
        last = len(self) if stop is None else stop
        return self._data[int(self._offsets[start]) : int(self._offsets[last])]


def lengths_of(values: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the number of bytes of each value."""
    return (
        values.lengths if isinstance(values, Joined) else np.fromiter(map(len, values), np.int64, len(values))
    )
