"""Columns of metadata as JSON, from the values that are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...engine.log.decoding import gc_paused
from ...engine.log.shred import NUMBER, TEXT, WHOLE, Copier, Field, Irregular, Places, Spans
from .pieces import binary, pc
from .shred import ArrowShredder

_NEWLINE = 0x0A
_TRUE, _FALSE, _NIL = 0xC3, 0xC2, 0xC0


class Flat(NamedTuple):
    """Dicts of the same keys, each with values of one plain type: their JSON, in parts."""

    parts: list[str | pa.Array]
    rows: int


TextOf = Callable[[Any, Places], list[str | pa.Array]]
"""Returns values of one type as JSON, in parts."""

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
        known = self._fields_of_first(at[:1], rows[:1])
        found: dict[str, Any] = {}
        at, _ = shredder.alike(at + 1, rows, [each for each, _ in known], len(known), found)
        if len(found) < len(known):
            raise Irregular(rows)
        parts: list[str | pa.Array] = []
        for number, (each, text_of) in enumerate(known):
            parts += [("," if number else "{") + msgspec.json.encode(each.name).decode() + ":"]
            parts += text_of(found[each.name][1], rows)
        return Flat([*parts, "}" if parts else "{}"], len(at)), at

    def _fields_of_first(self, at: Places, rows: Places) -> list[tuple[Field, TextOf]]:
        """Return the keys of a dict, and by the types of its values how to read those, and their JSON."""
        shredder = self._shredder
        count, at = int(shredder.data[at[0]]) & 0x0F, at + 1
        found: list[tuple[Field, TextOf]] = []
        for _ in range(count):
            name, value = shredder.text(at, rows)
            key = shredder.data[int(at[0]) : int(value[0])].tobytes()
            text = key[int(name.starts[0] - at[0]) :].decode()
            read, copier, text_of = self._kind(int(shredder.data[value[0]]))
            found.append((Field(text, key, read, copier), text_of))
            _, at = read(value, rows)
        return found

    def _kind(self, head: int) -> tuple[Callable[[Places, Places], Any], Copier | None, TextOf]:
        """Return how to read the values that begin like one, and their JSON."""
        shredder = self._shredder
        if 0xA0 <= head < 0xC0 or 0xD9 <= head <= 0xDB:
            return shredder.text, TEXT, lambda spans, rows: ['"', self._plain_text(spans, rows), '"']
        if head == 0xCB:
            return shredder.number, NUMBER, lambda numbers, _: [_float_texts(numbers)]
        if head in (_TRUE, _FALSE):
            return partial(self._one_of, (_TRUE, _FALSE)), None, lambda heads, _: [_boolean_texts(heads)]
        if head == _NIL:
            return partial(self._one_of, (_NIL,)), None, lambda *_: ["null"]
        return shredder.whole, WHOLE, lambda wholes, _: [pa.array(wholes).cast(pa.string())]

    def _one_of(self, allowed: Sequence[int], at: Places, rows: Places) -> tuple[NDArray[np.uint8], Places]:
        heads = self._shredder.data[at]
        self._shredder.require(np.isin(heads, allowed), rows)
        return heads, at + 1

    def _plain_text(self, spans: Spans, rows: Places) -> pa.Array:
        """Return texts that stand for themselves in JSON."""
        found = self._shredder.strings(spans)
        data = found.buffers()[2]
        if data is not None:
            used = np.frombuffer(data, np.uint8)[: int(spans.lengths.sum())]
            if ((used < 0x20) | (used == ord('"')) | (used == ord("\\"))).any():
                raise Irregular(rows)
        return found


def _boolean_texts(heads: NDArray[np.uint8]) -> pa.Array:
    return pc.if_else(pa.array(heads == _TRUE), pa.scalar("true"), pa.scalar("false"))


def _float_texts(numbers: NDArray[np.float64]) -> pa.Array:
    texts = pa.array(numbers).cast(pa.string())
    integral = numbers == np.floor(numbers)
    if integral.any():
        # Without a point or an exponent it would be read as an integer.
        bare = pc.and_(pa.array(integral), pc.invert(pc.match_substring(texts, "e")))
        texts = pc.if_else(bare, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return texts


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
        if len(objects.parts) == 1:
            return pa.repeat(pa.scalar(objects.parts[0], pa.string()), objects.rows)  # type: ignore[arg-type]
        return pc.binary_join_element_wise(*objects.parts, "")
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
