"""MessagePack to columns: all records of a batch are read side by side, one token of each in one step.

Records are canonical, so that their fields come in a known order. What is rare is not read here: `Irregular` says which
records have it, and these are read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

PADDING = 16
"""So many bytes are read from each place, at most."""

_MOST_ITEMS = 32
"""Records with longer lists are read one by one: each step reads one item of each record."""

_FLOAT64 = 0xCB
_NIL = 0xC0


class Irregular(Exception):  # noqa: N818 - no error
    """Some records cannot be read side by side with the others."""

    def __init__(self, rows: Places) -> None:
        super().__init__()
        self.rows = rows


class Spans(NamedTuple):
    """Where values are in the buffer: bytes of text, or items of a list; a length of -1 is no value."""

    starts: Places
    lengths: Places

    @property
    def present(self) -> Mask:
        """Which rows have a value."""
        return self.lengths >= 0


class Texts(NamedTuple):
    """Lists of texts: how many each row has, and where they are, in the order of the rows."""

    counts: Places
    items: Spans


class Field(NamedTuple):
    """A field of a map: its name, its encoded key, and how to read its value."""

    name: str
    key: bytes
    read: Callable[[Places, Places], tuple[Any, Places]]


def field(name: str, read: Callable[[Places, Places], tuple[Any, Places]]) -> Field:
    """Return a field of a map."""
    return Field(name, bytes([0xA0 | len(name)]) + name.encode(), read)


class Shredder:
    """Reads the values at many places of a buffer.

    Each reader takes the places and the number of the record of each, and returns the values and the places after them.

    Parameters
    ----------
    data : bytes
        The buffer, with `PADDING` bytes at its end.
    """

    def __init__(self, data: bytes) -> None:
        self.data = np.frombuffer(data, np.uint8)
        self.end = len(data) - PADDING

    def window(self, kind: str, places: Places) -> NDArray[Any]:
        """Return the numbers of a type at places, which need no alignment."""
        size = np.dtype(kind).itemsize
        return np.ndarray(len(self.data) - size + 1, kind, self.data, strides=(1,))[places]  # type: ignore[call-overload]

    def fields(
        self, at: Places, rows: Places, known: Sequence[Field]
    ) -> tuple[dict[str, tuple[Any, Any]], Places]:
        """Read maps of known fields; each comes with the indices of the maps that have it, None for all."""
        heads = self.data[at]
        self.require((heads & 0xF0) == 0x80, rows)
        left = (heads & 0x0F).astype(np.int64)
        at = at + 1
        found: dict[str, tuple[Any, Any]] = {}
        words = self.window("<u8", at)
        for name, key, read in known:
            has = self._begins(key, words, at)
            if not has.any():
                continue
            has &= left > 0
            if has.all():
                values, at = read(at + len(key), rows)
                found[name] = None, values
            else:
                some = np.flatnonzero(has)
                values, after = read(at[some] + len(key), rows[some])
                at = at.copy()
                at[some] = after
                found[name] = some, values
            left -= has
            words = self.window("<u8", at)
        self.require(left == 0, rows)
        return found, at

    def _begins(self, key: bytes, words: NDArray[np.uint64], at: Places) -> Mask:
        head = key[:8]
        mask = np.uint64((1 << 8 * len(head)) - 1)
        has = (words & mask) == np.uint64(int.from_bytes(head, "little"))
        if len(key) > 8 and has.any():
            rest = key[8:16]
            more = self.window("<u8", at + 8) & np.uint64((1 << 8 * len(rest)) - 1)
            has &= more == np.uint64(int.from_bytes(rest, "little"))
        return has

    def require(self, fits: Any, rows: Places) -> None:
        """Raise `Irregular` for the records of which something does not hold."""
        if not fits.all():
            raise Irregular(np.unique(rows[~fits]))

    def text(self, at: Places, rows: Places) -> tuple[Spans, Places]:
        """Read strings."""
        heads = self.data[at]
        lengths = (heads & 0x1F).astype(np.int64)
        starts = at + 1
        short = (heads & 0xE0) == 0xA0
        if not short.all():
            lengths, starts = lengths.copy(), starts.copy()
            for head, kind, size in ((0xD9, "u1", 1), (0xDA, ">u2", 2), (0xDB, ">u4", 4)):
                some = np.flatnonzero(heads == head)
                if len(some):
                    lengths[some] = self.window(kind, at[some] + 1)
                    starts[some] += size
                    short[some] = True
            self.require(short & (starts + lengths <= self.end), rows)
        return Spans(starts, lengths), starts + lengths

    def whole(self, at: Places, rows: Places) -> tuple[NDArray[np.int64], Places]:
        """Read integers of 64 bits."""
        heads = self.data[at]
        values = heads.astype(np.int64)
        done = heads < 0x80
        if done.all():
            return values, at + 1
        after = at + 1
        for head, kind in _INTEGERS:
            some = np.flatnonzero(heads == head)
            if len(some):
                read = self.window(kind, at[some] + 1)
                if kind == ">u8":
                    self.require(read <= np.uint64(2**63 - 1), rows[some])
                values[some] = read
                after[some] += read.itemsize
                done[some] = True
        negative = heads >= 0xE0
        values[negative] -= 256
        self.require(done | negative, rows)
        return values, after

    def number(self, at: Places, rows: Places) -> tuple[NDArray[np.float64], Places]:
        """Read floats."""
        self.require(self.data[at] == _FLOAT64, rows)
        return self.window(">f8", at + 1).astype(np.float64), at + 9

    def _counts(self, at: Places, rows: Places) -> tuple[Places, Places]:
        """Read what lists begin with."""
        heads = self.data[at]
        counts = (heads & 0x0F).astype(np.int64)
        short = (heads & 0xF0) == 0x90
        if short.all():
            return counts, at + 1
        longer = np.flatnonzero(heads == 0xDC)
        counts[longer] = self.window(">u2", at[longer] + 1)
        self.require(short | (heads == 0xDC), rows)
        return counts, np.where(short, at + 1, at + 3)

    def numbers(self, at: Places, rows: Places) -> tuple[Spans, Places]:
        """Read where lists of floats are."""
        counts, first = self._counts(at, rows)
        after = first + 9 * counts
        self.require(after <= self.end, rows)
        return Spans(first, counts), after

    def floats(self, spans: Spans) -> tuple[Places, NDArray[np.float64]] | None:
        """Return the offsets of lists of floats and their values; None if some are no floats."""
        counts = np.maximum(spans.lengths, 0)
        offsets = np.concatenate(([0], np.cumsum(counts)))
        at = np.repeat(spans.starts - 9 * offsets[:-1], counts) + 9 * np.arange(offsets[-1])
        if not (self.data[at] == _FLOAT64).all():
            return None
        return offsets, self.window(">f8", at + 1).astype(np.float64)

    def columns(self, starts: Places, count: int) -> list[NDArray[np.float64]] | None:
        """Return the first ones, second ones, ... of lists of so many floats; None if some are no floats."""
        places = [starts + 9 * number for number in range(count)]
        if not all((self.data[at] == _FLOAT64).all() for at in places):
            return None
        return [self.window(">f8", at + 1).astype(np.float64) for at in places]

    def texts(self, at: Places, rows: Places) -> tuple[Texts, Places]:
        """Read lists of strings."""
        (counts, parts), at = self._items(at, rows, self.text)
        offsets = np.cumsum(counts) - counts
        starts, lengths = np.empty(int(counts.sum()), np.int64), np.empty(int(counts.sum()), np.int64)
        for number, (some, spans) in enumerate(parts):
            place = offsets[some] + number
            starts[place], lengths[place] = spans
        return Texts(counts, Spans(starts, lengths)), at

    def items(
        self, at: Places, rows: Places, known: Sequence[Field]
    ) -> tuple[tuple[Places, list[tuple[Places, Any]]], Places]:
        """Read lists of maps: how many each has, and for each number the indices of those that have so many, with the fields."""
        return self._items(at, rows, lambda at, rows: self.fields(at, rows, known))

    def _items(
        self, at: Places, rows: Places, read: Callable[[Places, Places], tuple[Any, Places]]
    ) -> tuple[tuple[Places, list[tuple[Places, Any]]], Places]:
        counts, at = self._counts(at, rows)
        most = int(counts.max(initial=0))
        if most > _MOST_ITEMS:
            raise Irregular(np.unique(rows[counts > _MOST_ITEMS]))
        parts: list[tuple[Places, Any]] = []
        for number in range(most):
            some = np.flatnonzero(counts > number)
            if len(some) == len(at):
                values, at = read(at, rows)
            else:
                values, after = read(at[some], rows[some])
                at = at.copy()
                at[some] = after
            parts.append((some, values))
        return (counts, parts), at

    def anything(self, at: Places, rows: Places) -> tuple[Spans, Places]:
        """Read where values of any kind are."""
        starts, at = at, at.copy()
        todo = np.ones(len(at), np.int64)
        some = np.arange(len(at))
        here = at
        while len(some):
            heads = self.data[here]
            sizes, inside = _SIZES[heads], _INSIDE[heads]
            if (sizes == 0).any():
                sizes, inside = self._longer(here, heads, sizes, inside, rows[some])
            here = here + sizes
            self.require(here <= self.end, rows[some])
            left = todo[some] + inside - 1
            todo[some] = left
            at[some] = here
            if not left.all():
                more = left > 0
                some, here = some[more], here[more]
        return Spans(starts, at - starts), at

    def _longer(
        self, at: Places, heads: NDArray[np.uint8], sizes: Places, inside: Places, rows: Places
    ) -> tuple[Places, Places]:
        """Return the sizes of tokens that say how long they are, and how many values are in them."""
        sizes, inside = sizes.copy(), inside.copy()
        known = sizes > 0
        for head, kind, content, items in _LONG:
            some = np.flatnonzero(heads == head)
            if len(some):
                counts = self.window(kind, at[some] + 1).astype(np.int64)
                sizes[some] = 1 + np.dtype(kind).itemsize + content * counts
                inside[some] = items * counts
                known[some] = True
        self.require(known, rows)
        return sizes, inside


_INTEGERS = (
    (0xCC, "u1"),
    (0xCD, ">u2"),
    (0xCE, ">u4"),
    (0xCF, ">u8"),
    (0xD0, "i1"),
    (0xD1, ">i2"),
    (0xD2, ">i4"),
    (0xD3, ">i8"),
)

_LONG = (
    # the first byte, the type of the number after it, bytes and values for each that it counts
    (0xD9, "u1", 1, 0),
    (0xDA, ">u2", 1, 0),
    (0xDB, ">u4", 1, 0),
    (0xDC, ">u2", 0, 1),
    (0xDD, ">u4", 0, 1),
    (0xDE, ">u2", 0, 2),
    (0xDF, ">u4", 0, 2),
)


def _token_sizes() -> tuple[Places, Places]:
    """Return the size of each token by its first byte, 0 if it says it itself, and how many values are in it."""
    sizes, inside = np.ones(256, np.int64), np.zeros(256, np.int64)
    numbers = np.arange(16)
    inside[0x80:0x90], inside[0x90:0xA0] = 2 * numbers, numbers
    sizes[0xA0:0xC0] = 1 + np.arange(32)
    sizes[0xC1], sizes[0xC4:0xCA], sizes[0xD4:0xE0] = 0, 0, 0
    for head, size in (
        (0xCA, 5),
        (0xCB, 9),
        *((head, 1 + np.dtype(kind).itemsize) for head, kind in _INTEGERS),
    ):
        sizes[head] = size
    return sizes, inside


_SIZES, _INSIDE = _token_sizes()
