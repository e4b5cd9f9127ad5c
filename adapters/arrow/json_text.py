"""Columns of metadata as JSON, from the values that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...engine.log.decoding import gc_paused
from ...engine.log.shred import Irregular, Places, Spans
from .pieces import Part, binary, join, pc
from .shred import ArrowShredder

_NEWLINE = 0x0A
_TRUE, _FALSE, _NIL = 0xC3, 0xC2, 0xC0


class Flat(NamedTuple):
    """Dicts of the same keys, each with values of one plain type: their JSON, in parts."""

    parts: list[Part]
    rows: int


Objects = Spans | Flat
"""Dicts of a column: where they are, or what they are if they are alike."""


class ObjectReader:
    """Reads dicts side by side if they are alike, and otherwise finds where they are.

    Parameters
    ----------
    shredder : ArrowShredder
        Reads the buffer.
    is_wanted : bool
        Whether the values are needed.
    """

    def __init__(self, shredder: ArrowShredder, *, is_wanted: bool = True) -> None:
        self._shredder = shredder
        self._is_wanted = is_wanted

    def __call__(self, at: Places, rows: Places) -> tuple[Objects, Places]:
        """Read the dicts at places; see `Shredder`."""
        if self._is_wanted and len(at):
            try:
                return self._alike(at, rows)
            except Irregular:
                pass
        return self._shredder.anything(at, rows)

    def _alike(self, at: Places, rows: Places) -> tuple[Flat, Places]:
        """Read dicts that have the keys of the first one. Raises `Irregular` if they are not alike."""
        shredder = self._shredder
        heads = shredder.data[at]
        shredder.require((heads == heads[0]) & (heads & 0xF0 == 0x80), rows)
        at = at + 1
        parts: list[Part] = []
        for number in range(int(heads[0]) & 0x0F):
            spans, _ = shredder.text(at[:1], rows[:1])
            length = int(spans.starts[0] + spans.lengths[0] - at[0])
            at = self._after_key(at, rows, length)
            name = (
                shredder.data[int(spans.starts[0]) : int(spans.starts[0] + spans.lengths[0])]
                .tobytes()
                .decode()
            )
            parts += [(b"," if number else b"{") + msgspec.json.encode(name) + b":"]
            more, at = self._value(at, rows)
            parts += more
        return Flat([*parts, b"}" if parts else b"{}"], len(at)), at

    def _after_key(self, at: Places, rows: Places, length: int) -> Places:
        """Return the places after a key, if all have the same one."""
        shredder = self._shredder
        for offset in range(0, length, 8):
            mask = np.uint64((1 << 8 * min(8, length - offset)) - 1)
            shredder.require(at + offset < shredder.end, rows)
            words = shredder.window("<u8", at + offset) & mask
            shredder.require(words == words[0], rows)
        return at + length

    def _value(self, at: Places, rows: Places) -> tuple[list[Part], Places]:
        """Read values of one type as JSON."""
        shredder = self._shredder
        heads = shredder.data[at]
        head = int(heads[0])
        if 0xA0 <= head < 0xC0 or 0xD9 <= head <= 0xDB:
            spans, after = shredder.text(at, rows)
            return [b'"', self._plain_text(spans, rows), b'"'], after
        if head == 0xCB:
            numbers, after = shredder.number(at, rows)
            return [_float_texts(numbers)], after
        if head in (_TRUE, _FALSE):
            shredder.require((heads == _TRUE) | (heads == _FALSE), rows)
            return [pc.if_else(pa.array(heads == _TRUE), pa.scalar(b"true"), pa.scalar(b"false"))], at + 1
        if head == _NIL:
            shredder.require(heads == _NIL, rows)
            return [b"null"], at + 1
        wholes, after = shredder.whole(at, rows)
        return [pa.array(wholes).cast(pa.string()).cast(pa.binary())], after

    def _plain_text(self, spans: Spans, rows: Places) -> pa.Array:
        """Return texts that stand for themselves in JSON."""
        found = self._shredder.slices(spans.starts, spans.starts + spans.lengths)
        data = found.buffers()[2]
        if data is not None:
            used = np.frombuffer(data, np.uint8)[: int(spans.lengths.sum())]
            if ((used < 0x20) | (used == ord('"')) | (used == ord("\\"))).any():
                raise Irregular(rows)
        return found.cast(pa.string()).cast(pa.binary())


def _float_texts(numbers: NDArray[np.float64]) -> pa.Array:
    texts = pa.array(numbers).cast(pa.string())
    integral = numbers == np.floor(numbers)
    if integral.any():
        # Without a point or an exponent it would be read as an integer.
        bare = pc.and_(pa.array(integral), pc.invert(pc.match_substring(texts, "e")))
        texts = pc.if_else(bare, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return texts.cast(pa.binary())


def json_texts(
    shredder: ArrowShredder, found: Sequence[tuple[Places | None, Objects]], rows: int
) -> pa.Array:
    """Return dicts as text of JSON; null where there is none.

    Parameters
    ----------
    shredder : ArrowShredder
        Reads the buffer.
    found : sequence of (places or None, dicts)
        The dicts of some rows each; None for all rows.
    rows : int
        Number of rows.
    """
    texts = [_texts(shredder, objects) for _, objects in found]
    if len(found) == 1 and found[0][0] is None:
        return texts[0]
    places = np.zeros(rows, np.int64)
    missing = np.ones(rows, bool)
    before = 0
    for (some, _), part in zip(found, texts, strict=True):
        own = np.arange(rows) if some is None else some
        places[own] = before + np.arange(len(part))
        missing[own] = False
        before += len(part)
    if not before:
        return pa.nulls(rows, pa.string())
    return pa.concat_arrays(texts).take(pa.array(places, mask=missing))


def _texts(shredder: ArrowShredder, objects: Objects) -> pa.Array:
    if isinstance(objects, Flat):
        return join(objects.parts, objects.rows).cast(pa.string())
    starts, ends = objects.starts, objects.starts + objects.lengths
    order = None
    if (starts[1:] < starts[:-1]).any():
        order = np.argsort(starts)
        starts, ends = starts[order], ends[order]
    lines = _lines(shredder.slices(starts, ends))
    return lines if order is None else lines.take(pa.array(np.argsort(order)))


def _lines(values: pa.Array) -> pa.Array:
    """Return encoded dicts as text, each decoded as an object."""
    count = len(values)
    if not count:
        return pa.array([], pa.string())
    with gc_paused():
        data: Any = values.buffers()[2]
        objects: list[Any] = msgspec.msgpack.decode(b"\xdd" + count.to_bytes(4, "big") + data.to_pybytes())
        lines = np.frombuffer(msgspec.json.Encoder().encode_lines(objects), np.uint8)
    # Text of JSON has no line breaks.
    ends = np.flatnonzero(lines == _NEWLINE)
    cuts = np.empty(2 * count + 1, np.int64)
    cuts[0], cuts[1::2], cuts[2::2] = 0, ends, ends + 1
    return binary(cuts, lines).take(pa.array(np.arange(0, 2 * count, 2))).cast(pa.string())
