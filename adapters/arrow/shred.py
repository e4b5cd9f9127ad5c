"""Text and bytes that were found side by side, as columns of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...engine.log.shred import Places, Shredder, Spans
from .pieces import binary


class ArrowShredder(Shredder):
    """A `Shredder` that makes columns of what it found."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.buffer = pa.py_buffer(data)

    def strings(self, spans: Spans) -> pa.Array:
        """Return texts as a column. They must be in the order of the buffer."""
        present = spans.present
        if not present.all():
            some = np.flatnonzero(present)
            places = np.cumsum(present) - 1
            found = self.strings(Spans(spans.starts[some], spans.lengths[some]))
            return found.take(pa.array(places, mask=~present))
        return self.slices(spans.starts, spans.starts + spans.lengths).cast(pa.string())

    def slices(self, starts: Places, ends: Places) -> pa.Array:
        """Return bytes of the buffer as a column. They must be in order."""
        if not len(starts):
            return pa.array([], pa.binary())
        # Every second value of this column is what lies between two of them.
        cuts = np.empty(2 * len(starts) + 1, np.int64)
        cuts[0], cuts[1::2], cuts[2::2] = 0, starts, ends
        return binary(cuts, self.buffer).take(pa.array(np.arange(1, 2 * len(starts), 2)))
