"""Columns of text: the texts one after the other in one buffer, and codes that stand for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.log.shred import PADDING, Mask, Places
from ...engine.query.matching import Pattern, Within, moment_of

Codes = NDArray[np.unsignedinteger]

_WORD = 8
_WORD_SIZES = (8, 4, 2, 1)
_LOOKED_FOR = 4
"""So many first bytes of a text are looked for at every place; what follows only where those are."""

_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_LONGEST = 512
"""Longer texts are compared one by one."""

_FEW = 4
_SAMPLE = 512
_FIRST_LOOK = 64
NO_MOMENT = np.iinfo(np.int64).min

_DATE_SIZES = (10, 19, 20, 26)
_DATE_DIGITS = ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19), (20, 26))
"""Where texts of these lengths have their numbers: year, month, day, hour, minute, second and its fraction."""


class Texts:
    """Texts in one buffer.

    Parameters
    ----------
    data : bytes
        The texts in UTF-8, joined.
    offsets : ndarray of int64, shape (n + 1,)
        Where they begin, and where the last one ends.
    """

    def __init__(self, data: bytes, offsets: Places) -> None:
        self.data = data
        self.offsets = offsets

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    @property
    def bytes(self) -> int:
        """About the bytes that they take."""
        return len(self.data) + self.offsets.nbytes

    @cached_property
    def lengths(self) -> Places:
        """Bytes of each text."""
        return np.diff(self.offsets)

    def texts(self) -> list[str]:
        """Return all texts."""
        return self.some(range(len(self)))

    def some(self, indices: Sequence[int]) -> list[str]:
        """Return some of the texts."""
        bounds, data = self.offsets.tolist(), self.data
        if data.isascii():
            text = data.decode()
            return [text[bounds[index] : bounds[index + 1]] for index in indices]
        return [data[bounds[index] : bounds[index + 1]].decode() for index in indices]

    def hits(self, wanted: frozenset[str] | Callable[[str], bool]) -> Mask:
        """Return which texts match."""
        if len(self) <= _FIRST_LOOK:
            holds = wanted.__contains__ if isinstance(wanted, frozenset) else wanted
            return np.fromiter(map(holds, self._few), bool, len(self))
        if isinstance(wanted, frozenset):
            if len(wanted) <= _FEW:
                hits = np.zeros(len(self), bool)
                for text in map(str.encode, wanted):
                    # Texts of a column differ at their ends more often than at their beginnings.
                    hits |= self._with_ends(self.lengths == len(text), suffix=text)
                return hits
            wanted = wanted.__contains__
        if isinstance(wanted, Within):
            return self._within(wanted)
        if not isinstance(wanted, Pattern):
            return np.fromiter(map(wanted, self.texts()), bool, len(self))
        prefix, suffix = wanted.prefix.encode(), wanted.suffix.encode()
        hits = self._with_ends(self.lengths >= len(prefix) + len(suffix), prefix, suffix)
        some = np.flatnonzero(hits)
        if wanted.middle is None:
            hits[some] = np.fromiter(map(wanted, self.some(some.tolist())), bool, len(some))
        elif wanted.middle and len(some):
            middle = [piece.encode() for piece in wanted.middle]
            hits = np.zeros(len(self), bool)
            hits[some[self.take(some).having(middle, len(prefix), len(suffix))]] = True
        return hits

    @cached_property
    def _few(self) -> list[str]:
        return self.texts()

    def _within(self, wanted: Within) -> Mask:
        """Return which texts are dates in a period."""
        moments = self.moments
        hits = moments != NO_MOMENT
        if wanted.since is not None:
            hits &= moments >= wanted.since
        if wanted.until is not None:
            hits &= moments < wanted.until
        return hits

    @cached_property
    def moments(self) -> Places:
        """The moment of each text that is a date, as `moment_of` gives it; `NO_MOMENT` for the others."""
        moments = np.full(len(self), NO_MOMENT)
        others = np.ones(len(self), bool)
        for length in _DATE_SIZES:
            some = np.flatnonzero(self.lengths == length)
            if len(some):
                read, known = _dates(self.take(some).data, length)
                moments[some[known]] = read[known]
                others[some[known]] = False
        left = np.flatnonzero(others)
        for index, text in zip(left.tolist(), self.some(left.tolist()), strict=True):
            moment = moment_of(text)
            if moment is not None:
                moments[index] = moment
        return moments

    def having(self, pieces: Sequence[bytes], skipped: int, kept: int) -> Places:
        """Return which texts have some bytes one after the other, without so many bytes at the beginning and the end."""
        first, *others = pieces
        at = _places_of(first, np.frombuffer(self.data, np.uint8))
        index = np.searchsorted(self.offsets, at, "right") - 1
        ends = self.offsets[index + 1] - kept
        fits = (at >= self.offsets[index] + skipped) & (at + len(first) <= ends)
        index, leftmost = np.unique(index[fits], return_index=True)
        if others:
            starts, stops = (at[fits][leftmost] + len(first)).tolist(), ends[fits][leftmost].tolist()
            index = index[[_has_next(self.data, others, *each) for each in zip(starts, stops, strict=True)]]
        return index

    def _with_ends(self, hits: Mask, prefix: bytes = b"", suffix: bytes = b"") -> Mask:
        """Return which of the texts that are long enough begin and end with some bytes."""
        for wanted, starts in ((prefix, self.offsets[:-1]), (suffix, self.offsets[1:] - len(suffix))):
            if wanted:
                some = np.flatnonzero(hits)
                hits = np.zeros(len(hits), bool)
                hits[some[_continued(self.data, starts[some], wanted)]] = True
        return hits

    def take(self, indices: Places) -> Texts:
        """Return the texts at some indices, in their order."""
        return gather(np.frombuffer(self.data, np.uint8), self.offsets[indices], self.lengths[indices])


def _dates(data: bytes, length: int) -> tuple[Places, Mask]:
    """Return the moments of texts of one length such as ``2024-10-20T12:30:00Z``, and which of them are such."""
    chars = np.frombuffer(data, np.uint8).reshape(-1, length)
    digits = chars.astype(np.int64) - ord("0")
    numbers = [_number(digits, start, stop) for start, stop in _DATE_DIGITS if stop <= length]
    known = np.ones(len(chars), bool)
    for places, allowed in (
        (slice(4, 8, 3), b"-"),
        (slice(10, 11), b"T "),
        (slice(13, 17, 3), b":"),
        (slice(19, 20), b".Z"),
    ):
        known &= np.isin(chars[:, places], list(allowed)).all(axis=1)
    for place in (place for start, stop in _DATE_DIGITS for place in range(start, min(stop, length))):
        known &= (digits[:, place] >= 0) & (digits[:, place] <= 9)
    year, month, day, *times = numbers
    known &= (year > 0) & (month > 0) & (month < 13) & (day > 0)
    months = (np.where(known, year, 1970) - 1970) * 12 + np.where(known, month, 1) - 1
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    days = first + day - 1
    known &= days < (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    for number, most in zip(times, (23, 59, 59, 999_999), strict=False):
        known &= number <= most
    hour, minute, second, fraction = [*times, 0, 0, 0, 0][:4]
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction, known


def _number(digits: NDArray[np.int64], start: int, stop: int) -> Places:
    return digits[:, start:stop] @ 10 ** np.arange(stop - start)[::-1]


def _window(data: bytes | NDArray[np.uint8], size: int) -> NDArray[np.unsignedinteger]:
    """Return the numbers of so many bytes that begin at each byte."""
    return np.ndarray(max(len(data) - size + 1, 0), f"<u{size}", data, strides=(1,))  # type: ignore[call-overload]


def _places_of(wanted: bytes, data: NDArray[np.uint8]) -> Places:
    """Return where some bytes begin, also where they overlap."""
    size = max(len(data) - len(wanted) + 1, 0)
    found = np.ones(size, bool)
    for place, byte in enumerate(wanted[:_LOOKED_FOR]):
        found &= data[place : place + size] == byte
    places = np.flatnonzero(found)
    return places[_continued(data, places + _LOOKED_FOR, wanted[_LOOKED_FOR:])]


def _continued(data: bytes | NDArray[np.uint8], places: Places, wanted: bytes) -> Places:
    """Return the indices of the places at which some bytes are."""
    found: Any = slice(None)
    at = 0
    while at < len(wanted):
        size = next(size for size in _WORD_SIZES if size <= len(wanted) - at)
        (word,) = np.frombuffer(wanted, f"<u{size}", 1, at)
        same = np.flatnonzero(_window(data, size)[places[found] + at] == word)
        found = same if at == 0 else found[same]
        at += size
    return found if at else np.arange(len(places))


def _has_next(data: bytes, pieces: Sequence[bytes], at: int, end: int) -> bool:
    """Whether some bytes come one after the other between two places."""
    for piece in pieces:
        at = data.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def texts_of(values: Sequence[str]) -> Texts:
    """Return texts in one buffer."""
    encoded = [value.encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    return Texts(b"".join(encoded), offsets)


def gather(data: NDArray[np.uint8], starts: Places, lengths: Places) -> Texts:
    """Return the texts at some places of a buffer."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    most = int(lengths.max(initial=0))
    if most and len(starts) and (lengths == most).all():
        return Texts(
            np.ndarray(len(data) - most + 1, f"V{most}", data, strides=(1,))[starts].tobytes(), offsets
        )  # type: ignore[call-overload]
    at = np.repeat(starts - offsets[:-1], lengths)
    at += np.arange(len(at))
    return Texts(data[at].tobytes(), offsets)


def distinct(data: NDArray[np.uint8], starts: Places, lengths: Places) -> tuple[Texts, Codes]:
    """Return the distinct texts at some places of a buffer, in order of their first one, and the code of each.

    Parameters
    ----------
    data : ndarray of uint8
        The buffer, which ends with `PADDING` bytes that belong to no text.
    starts, lengths : ndarray of int64
        Where the texts are.
    """
    if not len(starts):
        return Texts(b"", np.zeros(1, np.int64)), np.zeros(0, np.uint8)
    first = codes = None
    if all_equal(data, starts, lengths):
        return gather(data, starts[:1], lengths[:1]), np.zeros(len(starts), np.uint8)
    if int(lengths.max()) <= _LONGEST:
        first, codes = _distinct_words(data, starts, lengths)
    if first is None or codes is None:
        pieces = [
            data[a:b].tobytes() for a, b in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        ]
        index: dict[bytes, int] = {}
        codes = np.fromiter((index.setdefault(piece, len(index)) for piece in pieces), np.int64, len(pieces))
        first = first_places(codes, len(index))
    return gather(data, starts[first], lengths[first]), narrow(codes)


def all_equal(data: NDArray[np.uint8], starts: Places, lengths: Places) -> bool:
    """Return whether the texts at some places are the same one."""
    if not len(starts) or lengths[0] > _LONGEST or not (lengths == lengths[0]).all():
        return False
    if len(starts) > _FIRST_LOOK and not all_equal(data, starts[:_FIRST_LOOK], lengths[:_FIRST_LOOK]):
        return False
    return all((word == word[0]).all() for word in _words(data, starts, lengths))


def first_places(codes: Places, count: int) -> Places:
    """Return where each of `count` codes, all of which occur, comes first."""
    first = np.empty(count, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def narrow(codes: NDArray[np.integer]) -> Codes:
    """Return codes in as few bytes as they need."""
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))


def _distinct_words(
    data: NDArray[np.uint8], starts: Places, lengths: Places
) -> tuple[Places | None, Places | None]:
    """Return the first place of each distinct text and the codes; None if different texts have the same hash."""
    words = list(_words(data, starts, lengths))
    hashes = lengths.astype(np.uint64)
    for word in words:
        hashes ^= word
        hashes *= _MULTIPLIER
        hashes ^= hashes >> _SHIFT
    count, codes = _coded(hashes)
    first = first_places(codes, count)
    if count < len(codes):
        others = first[codes]
        if not all((each == each[others]).all() for each in (lengths, *words)):
            return None, None
    return first, codes


def _coded(hashes: NDArray[np.uint64]) -> tuple[int, Places]:
    """Return the number of distinct hashes, and their codes in order of the first of each."""
    some = np.unique(hashes[:_SAMPLE])
    if 2 * len(some) <= _SAMPLE:
        # Most columns have few values, and all of them come soon.
        codes = np.searchsorted(some, hashes)
        codes[codes == len(some)] = 0
        if (some[codes] == hashes).all():
            return len(some), _renumbered(codes, first_places(codes, len(some)))
    order = np.argsort(hashes)
    ordered = hashes[order]
    starts = np.append(True, ordered[1:] != ordered[:-1])
    codes = np.empty(len(hashes), np.int64)
    if starts.all():
        return len(hashes), np.arange(len(hashes))
    codes[order] = np.cumsum(starts) - 1
    return int(codes[order[-1]]) + 1, _renumbered(codes, np.minimum.reduceat(order, np.flatnonzero(starts)))


def _renumbered(codes: Places, first: Places) -> Places:
    """Return codes in order of the first place of each."""
    code_of = np.empty(len(first), np.int64)
    code_of[np.argsort(first)] = np.arange(len(first))
    return code_of[codes]


def _words(data: NDArray[np.uint8], starts: Places, lengths: Places) -> Iterator[NDArray[np.uint64]]:
    window = _window(data, _WORD)
    least, most = int(lengths.min()), int(lengths.max())
    for offset in range(0, max(most, 1), _WORD):
        if offset + _WORD <= least:
            yield window[starts + offset]
        elif least == most:
            yield window[starts + offset] & _MASKS[least - offset]
        else:
            # A text that ends before reads the padding or another text, of which nothing is taken.
            at = np.minimum(starts + offset, len(window) - 1)
            yield window[at] & _MASKS[np.minimum(np.maximum(lengths - offset, 0), _WORD)]


def padded(texts: Sequence[Texts]) -> tuple[NDArray[np.uint8], Places, Places]:
    """Return the buffers of several columns as one, with padding, and where all their texts are in it."""
    data = np.frombuffer(b"".join([*(each.data for each in texts), bytes(PADDING)]), np.uint8)
    bases = np.cumsum([0, *(len(each.data) for each in texts)])
    starts = np.concatenate([each.offsets[:-1] + base for each, base in zip(texts, bases[:-1], strict=True)])
    return data, starts, np.concatenate([each.lengths for each in texts])
