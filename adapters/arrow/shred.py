"""Text and bytes that were found side by side, as columns of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...engine.log.shred import Copied, Places, Shredder, Spans
from .pieces import binary, pc

_NOT_ASCII = 0x80


class ArrowShredder(Shredder):
    """A `Shredder` that makes columns of what it found."""

    def __init__(self, data: bytes | memoryview) -> None:
        super().__init__(data)
        self.buffer = pa.py_buffer(data)

    def strings(self, spans: Spans) -> pa.Array:
        """Return texts as a column. They must be in the order of the buffer."""
        if isinstance(spans, Copied):
            count, size = spans.data.shape
            return as_text(binary(size * np.arange(count + 1), spans.data))
        present = spans.present
        if not present.all():
            some = np.flatnonzero(present)
            places = np.cumsum(present) - 1
            found = self.strings(Spans(spans.starts[some], spans.lengths[some]))
            return found.take(pa.array(places, mask=~present))
        return as_text(self.slices(spans.starts, spans.starts + spans.lengths))

    def slices(self, starts: Places, ends: Places) -> pa.Array:
        """Return bytes of the buffer as a column. They must be in order."""
        if not len(starts):
            return pa.array([], pa.binary())
        lengths = ends - starts
        if (lengths == lengths[0]).all():
            size = int(lengths[0])
            return binary(size * np.arange(len(starts) + 1), self.bytes_at(starts, size))
        # Every second value of this column is what lies between two of them.
        cuts = np.empty(2 * len(starts) + 1, np.int64)
        cuts[0], cuts[1::2], cuts[2::2] = 0, starts, ends
        odd = pa.array(np.arange(1, 2 * len(starts), 2, dtype=np.int32))
        return pc.take(binary(cuts, self.buffer), odd, boundscheck=False)


def as_text(values: pa.Array) -> pa.Array:
    """Return bytes as strings, after checking them."""
    data = values.buffers()[2]
    if data is None or np.frombuffer(data, np.uint8).max(initial=0) < _NOT_ASCII:
        return values.view(pa.string())
    return values.cast(pa.string())
