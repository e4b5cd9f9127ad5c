"""Columns of metadata as JSON, from the values that are stored."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ...engine.log.decoding import gc_paused
from .pieces import binary
from .shred import Shredder, Spans

_NEWLINE = 0x0A


def json_texts(shredder: Shredder, spans: Spans) -> pa.Array:
    """Return dicts as text of JSON; null where there is none."""
    present = spans.present
    some = np.flatnonzero(present)
    if not len(some):
        return pa.nulls(len(present), pa.string())
    texts = _texts(shredder, Spans(spans.starts[some], spans.lengths[some]))
    return texts if len(some) == len(present) else texts.take(pa.array(np.cumsum(present) - 1, mask=~present))


def _texts(shredder: Shredder, spans: Spans) -> pa.Array:
    values = shredder.slices(spans.starts, spans.starts + spans.lengths)
    count = len(spans.starts)
    with gc_paused():
        joined = b"\xdd" + count.to_bytes(4, "big") + values.buffers()[2].to_pybytes()
        objects: list[Any] = msgspec.msgpack.decode(joined)
        lines = np.frombuffer(msgspec.json.Encoder().encode_lines(objects), np.uint8)
    # Text of JSON has no line breaks.
    ends = np.flatnonzero(lines == _NEWLINE)
    lines_and_breaks = np.empty(2 * count + 1, np.int64)
    lines_and_breaks[0], lines_and_breaks[1::2], lines_and_breaks[2::2] = 0, ends, ends + 1
    return binary(lines_and_breaks, lines).take(pa.array(np.arange(0, 2 * count, 2))).cast(pa.string())
