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

_MOST_COPIED = 512

PADDING = _MOST_COPIED + 16
"""So many bytes are read from each place, at most."""

_FEW = 64
"""So few maps are read field by field: to compare them takes longer."""

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


class Copied(Spans):
    """Values that have the same length, and were copied.

    Attributes
    ----------
    data : ndarray
        The bytes of text, or the numbers, of each row.
    """

    data: NDArray[Any]


class Texts(NamedTuple):
    """Lists of texts: how many each row has, and where they are, in the order of the rows."""

    counts: Places
    items: Spans


class Field(NamedTuple):
    """A field of a map: its name, its encoded key, how to read its value, and how to take it out of what was copied, if possible."""

    name: str
    key: bytes
    read: Callable[[Places, Places], tuple[Any, Places]]
    copied: Copier | None = None


class Copier(NamedTuple):
    """How to take values that are alike out of a copy.

    Attributes
    ----------
    sizes : callable
        Returns how many bytes of a value say what it is, and how many it has in all, by its first two; 0 for one that is not copied.
    take : callable
        Returns the values.
    """

    sizes: Callable[[bytes], tuple[int, int]]
    take: Callable[[Cut], Any]


class Cut(NamedTuple):
    """Values that are alike: a copy of what is around them, where they begin in it, their sizes, and the places of the copied."""

    copy: NDArray[np.uint8]
    begin: int
    sizes: tuple[int, int]
    places: Places

    def numbers(self, kind: str, count: int) -> NDArray[Any]:
        """Return the numbers in each row, with a byte before each."""
        stride = 1 + np.dtype(kind).itemsize
        return np.ndarray(
            (len(self.copy), count), kind, self.copy, self.begin + 1, (self.copy.strides[0], stride)
        )


def field(
    name: str, read: Callable[[Places, Places], tuple[Any, Places]], copied: Copier | None = None
) -> Field:
    """Return a field of a map."""
    return Field(name, bytes([0xA0 | len(name)]) + name.encode(), read, copied)


class Shredder:
    """Reads the values at many places of a buffer.

    Each reader takes the places and the number of the record of each, and returns the values and the places after them.

    Parameters
    ----------
    data : buffer
        The buffer, with `PADDING` bytes at its end.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = np.frombuffer(data, np.uint8)
        self.end = len(data) - PADDING

    def window(self, kind: str, places: Places) -> NDArray[Any]:
        """Return the numbers of a type at places, which need no alignment."""
        size = np.dtype(kind).itemsize
        return np.ndarray(len(self.data) - size + 1, kind, self.data, strides=(1,))[places]  # type: ignore[call-overload]

    def bytes_at(self, places: Places, count: int) -> NDArray[np.uint8]:
        """Return so many bytes at each of some places. To copy many at once takes little longer than eight."""
        if not count or not len(places):
            return np.empty((len(places), count), np.uint8)
        whole: Any = np.ndarray(len(self.data) - count + 1, f"V{count}", self.data, strides=(1,))  # type: ignore[call-overload]
        return whole[places].view(np.uint8).reshape(-1, count)

    def fields(
        self, at: Places, rows: Places, known: Sequence[Field]
    ) -> tuple[dict[str, tuple[Any, Any]], Places]:
        """Read maps of known fields; each comes with the indices of the maps that have it, None for all."""
        heads = self.data[at]
        self.require((heads & 0xF0) == 0x80, rows)
        left = (heads & 0x0F).astype(np.int64)
        at = at + 1
        found: dict[str, tuple[Any, Any]] = {}
        if len(at) >= _FEW and (heads == heads[0]).all():
            at, known = self.alike(at, rows, known, int(left[0]), found)
            left -= len(found)
        words = self.window("<u8", at)
        for name, key, read, _ in known:
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

    def alike(
        self, at: Places, rows: Places, known: Sequence[Field], count: int, found: dict[str, tuple[Any, Any]]
    ) -> tuple[Places, Sequence[Field]]:
        """Read the fields of maps that have so many, as long as all have the next one of the first map.

        Up to a value that has not the same size everywhere, all bytes are copied and compared in one step.

        Parameters
        ----------
        at, rows : ndarray of int64
            The places, and the records.
        known : sequence of Field
            The fields that maps may have, in order.
        count : int
            Number of fields of each map.
        found : dict
            Where the values go.

        Returns
        -------
        tuple of (ndarray of int64, sequence of Field)
            The places after the fields, and those that may follow.
        """
        while len(found) < count:
            expected, size = self._expected(int(at[0]), known, count - len(found))
            if not expected or int(at.max()) + size > self.end:
                break
            copy = self.bytes_at(at, size + -size % 8)
            same = _same_bytes(copy)
            done = 0
            for number, begin, sizes in expected:
                each = known[number]
                if not same[done:begin].all():
                    return at + done, known[number:]
                if not (sizes[0] and each.copied and same[begin : begin + sizes[0]].all()):
                    values, at = each.read(at + begin, rows)
                    found[each.name] = None, values
                    done = 0
                    known = known[number + 1 :]
                    break
                found[each.name] = None, each.copied.take(Cut(copy, begin, sizes, at))
                done = begin + sizes[1]
            else:
                at = at + done
                known = known[expected[-1][0] + 1 :]
        return at, known

    def _expected(
        self, at: int, known: Sequence[Field], count: int
    ) -> tuple[list[tuple[int, int, tuple[int, int]]], int]:
        """Return which fields a map has, where their values begin, and their sizes; up to the first one that is not copied."""
        head = self.data[at : at + _MOST_COPIED].tobytes()
        expected: list[tuple[int, int, tuple[int, int]]] = []
        size = 0
        for number, each in enumerate(known):
            if len(expected) == count:
                break
            if not head.startswith(each.key, size):
                continue
            begin = size + len(each.key)
            sizes = (
                each.copied.sizes(head[begin : begin + 2])
                if each.copied and begin + 2 <= len(head)
                else (0, 0)
            )
            if begin + sizes[1] > _MOST_COPIED:
                sizes = (0, 0)
            expected.append((number, begin, sizes))
            size = begin + sizes[1]
            if not sizes[1]:
                break
        return expected, size

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
        if len(counts) and (counts == counts[0]).all():
            items = self.bytes_at(spans.starts, 9 * int(counts[0])).reshape(-1, 9)
            if not (items[:, 0] == _FLOAT64).all():
                return None
            return offsets, np.ndarray(len(items), ">f8", items, 1, (9,)).astype(np.float64)
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


def _same_bytes(copy: NDArray[np.uint8]) -> Mask:
    """Return which bytes are the same in all rows, whose number of bytes is a multiple of 8."""
    width = copy.shape[1] // 8
    words = copy.view(np.uint64).reshape(-1)
    differ = words[width:] ^ words[:-width]
    # Halves of many rows at once: a reduction to so few columns takes four times as long.
    while len(differ) > _FEW * width:
        half = len(differ) // (2 * width) * width
        rest = differ[2 * half :]
        differ = np.bitwise_or(differ[:half], differ[half : 2 * half], out=differ[:half])
        differ[: len(rest)] |= rest
    return np.bitwise_or.reduce(differ.reshape(-1, width)).view(np.uint8) == 0


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

_WHOLES = dict(_INTEGERS)

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


def _text_sizes(head: bytes) -> tuple[int, int]:
    if 0xA0 <= head[0] < 0xC0:
        return 1, 1 + (head[0] & 0x1F)
    return (2, 2 + head[1]) if head[0] == 0xD9 else (0, 0)


def _texts_sizes(head: bytes) -> tuple[int, int]:
    """Return the sizes of a list of one text."""
    first, size = _text_sizes(head[1:]) if head[0] == 0x91 and head[1] < 0xC0 else (0, 0)
    return (2, 1 + size) if first else (0, 0)


def _whole_sizes(head: bytes) -> tuple[int, int]:
    # Numbers of 64 bits that are too large are looked for where values are read field by field.
    has_size = head[0] in _WHOLES and head[0] != 0xCF
    return (1, int(_SIZES[head[0]])) if has_size or head[0] < 0x80 or head[0] >= 0xE0 else (0, 0)


def _lists_sizes(head: bytes) -> tuple[int, int]:
    return (1, 1 + 9 * (head[0] & 0x0F)) if head[0] & 0xF0 == 0x90 else (0, 0)


def _cut_text(cut: Cut) -> Copied:
    first = cut.begin + cut.sizes[0]
    stop = cut.begin + cut.sizes[1]
    texts = Copied(cut.places + first, np.full(len(cut.places), stop - first))
    texts.data = np.ascontiguousarray(cut.copy[:, first:stop])
    return texts


def _cut_texts(cut: Cut) -> Texts:
    return Texts(np.ones(len(cut.places), np.int64), _cut_text(cut))


def _cut_wholes(cut: Cut) -> NDArray[np.int64]:
    head = int(cut.copy[0, cut.begin])
    if head not in _WHOLES:
        return np.full(len(cut.places), head if head < 0x80 else head - 256)
    return cut.numbers(_WHOLES[head], 1).astype(np.int64)[:, 0]


def _cut_numbers(cut: Cut) -> NDArray[np.float64]:
    return cut.numbers(">f8", 1).astype(np.float64)[:, 0]


def _cut_lists(cut: Cut) -> Spans:
    count, first = cut.sizes[1] // 9, cut.begin + 1
    spans = Copied(cut.places + first, np.full(len(cut.places), count))
    if not (cut.copy[:, first : first + 9 * count : 9] == _FLOAT64).all():
        return Spans(*spans)
    spans.data = cut._replace(begin=first).numbers(">f8", count).astype(np.float64)
    return spans


TEXT = Copier(_text_sizes, _cut_text)
TEXTS = Copier(_texts_sizes, _cut_texts)
WHOLE = Copier(_whole_sizes, _cut_wholes)
NUMBER = Copier(lambda head: (1, 9) if head[0] == _FLOAT64 else (0, 0), _cut_numbers)
NUMBERS = Copier(_lists_sizes, _cut_lists)
