"""The values of a field that frames have: how many frames have each, and the order that they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...engine.keys import U64
from ...engine.query.tree import Scalar
from .columns import BooleanCells, Cells, NumberCells, TextCells
from .pieces import ROIS, Piece, part_of

_KINDS = (NumberCells, TextCells, BooleanCells)
"""Numbers come before texts, and these before booleans."""

_MOST_PAIRS = 1 << 22

Rows = NDArray[np.intp]
Found = tuple[Piece, Rows]
"""Some frames: a piece, and ascending rows in it."""

Key = tuple[int, Scalar]
"""A value with the index of its type. True is not 1."""


class _Coded(NamedTuple):
    """The values that some frames have.

    Attributes
    ----------
    frames : ndarray
        The row of a frame.
    codes : ndarray
        The index of its value; if there are no `values`, the number itself.
    values : sequence
        The values.
    """

    frames: Rows
    codes: NDArray[Any]
    values: Sequence[Scalar]


def _coded(piece: Piece, rows: Rows, field: str, *, plain: bool = False) -> Iterator[tuple[int, _Coded]]:
    """Yield the values that frames have of each type; a frame may have several, and have one twice.

    Parameters
    ----------
    piece, rows : Found
        The frames.
    field : str
        The field.
    plain : bool
        Give numbers in place of codes.
    """
    part = part_of(field)
    table = piece.tables[part]
    wanted = np.zeros(len(piece), bool)
    wanted[rows] = True
    for kind, type_of in enumerate(_KINDS):
        for cells in (each for each in table.column(field) if isinstance(each, type_of)):
            frames: Any = np.arange(table.size) if cells.rows is None else cells.rows
            if part == ROIS:
                frames = piece.owners[frames]
            at = np.arange(len(frames)) if len(rows) == len(piece) else np.flatnonzero(wanted[frames])
            if not len(at):
                continue
            if plain and isinstance(cells, NumberCells) and not cells.large:
                yield kind, _Coded(frames[at], cells.numbers[at].astype(np.float64), ())
            else:
                yield kind, _Coded(frames[at], *_codes(cells, at))


def _codes(cells: Cells, at: Rows) -> tuple[Rows, Sequence[Scalar]]:
    match cells:
        case TextCells():
            codes = at if cells.codes is None else cells.codes[at]
            has = np.bincount(codes, minlength=len(cells.texts)) > 0
            return (np.cumsum(has) - 1)[codes], cells.texts.some(np.flatnonzero(has).tolist())
        case BooleanCells():
            return cells.booleans[at].astype(np.intp), (False, True)
        case NumberCells():
            numbers, codes = np.unique(cells.numbers[at], return_inverse=True)
            if not cells.large:
                return codes, list(map(_plain, numbers.tolist()))
            exact = [cells.large.get(index, number) for index, number in enumerate(cells.numbers.tolist())]
            index = {
                value: code for code, value in enumerate(dict.fromkeys(exact[each] for each in at.tolist()))
            }
            return np.array([index[exact[each]] for each in at.tolist()]), list(map(_plain, index))


def _plain(number: int | float) -> int | float:  # noqa: PYI041 - it is made an integer
    return int(number) if number == int(number) else number


def count_values(piece: Piece, rows: Rows, field: str, into: Counter[Key]) -> None:
    """Count the frames that have each value of a field."""
    for kind, (frames, codes, values) in _coded(piece, rows, field):
        size = len(values)
        if isinstance(values, list) and len(set(values)) < size:
            distinct = set(zip(frames.tolist(), map(values.__getitem__, codes.tolist()), strict=True))
            into.update((kind, value) for _, value in distinct)
            continue
        numbers = np.bincount(codes, minlength=size)
        if len(frames) > 1 and not (frames[1:] > frames[:-1]).all():
            # A frame may have a value several times.
            pairs = frames * np.int64(size) + codes
            if len(piece) * size <= _MOST_PAIRS:
                has = np.zeros((len(piece), size), bool)
                has.reshape(-1)[pairs] = True
                numbers = np.count_nonzero(has, axis=0)
            else:
                numbers = np.bincount(np.unique(pairs) % size, minlength=size)
        for value, number in zip(values, numbers.tolist(), strict=True):
            if number:
                into[kind, value] += number


class Ordered:
    """Collects frames in the order of a field: by the smallest value of each, or in descending order by the largest.

    Frames without a value come last. Those that are equal stay in log order.

    Parameters
    ----------
    field : str
        The field.
    descending : bool
        Whether the largest value comes first.
    limit : int or None
        How many frames are needed.
    """

    def __init__(self, field: str, limit: int | None, *, descending: bool) -> None:
        self._field = field
        self._limit = limit
        self._descending = descending
        self._first: list[tuple[Key, int]] = []
        self._without: list[int] = []

    def add(self, piece: Piece, rows: Rows) -> None:
        """Add frames."""
        left = np.zeros(len(piece), bool)
        left[rows] = True
        found = list(_coded(piece, rows, self._field, plain=True))
        for kind, coded in reversed(found) if self._descending else found:
            frames, values = self._best(coded, left)
            positions = piece.positions[frames].tolist()
            self._first += zip(((kind, value) for value in values), positions, strict=True)
        self._without += piece.positions[left].tolist()
        if self._limit is not None:
            self._sort()
            del self._without[self._limit :], self._first[self._limit :]

    def _sort(self) -> None:
        # The pieces of a stretch come in any order. Sorting is stable.
        self._without.sort()
        self._first.sort(key=itemgetter(1))
        self._first.sort(key=itemgetter(0), reverse=self._descending)

    def _best(self, coded: _Coded, left: NDArray[np.bool_]) -> tuple[Rows, list[Scalar]]:
        """Return frames that have no place so far, each with its first value, ascending; those that may be needed."""
        frames, own = coded.frames, coded.codes
        of_values = sorted(range(len(coded.values)), key=coded.values.__getitem__, reverse=self._descending)
        if of_values:
            ranks = np.empty(len(of_values), np.intp)
            ranks[of_values] = np.arange(len(of_values))
            own = ranks[own]
        elif self._descending:
            own = -own
        some = np.arange(len(own)) if of_values else self._not_after_the_last(own)
        some = some[left[frames[some]]]
        left[frames] = False
        frames, own = frames[some], own[some]
        if not (frames[1:] > frames[:-1]).all():
            order = np.lexsort((own, frames))
            frames, own = frames[order], own[order]
            first = np.append(True, frames[1:] != frames[:-1])
            frames, own = frames[first], own[first]
        if self._limit is not None and 0 < self._limit < len(frames):
            last = np.partition(own, self._limit - 1)[self._limit - 1]
            before = np.flatnonzero(own < last)
            nearest = np.sort(np.append(before, np.flatnonzero(own == last)[: self._limit - len(before)]))
            frames, own = frames[nearest], own[nearest]
        if not of_values:
            return frames, [_plain(-number if self._descending else number) for number in own.tolist()]
        return frames, [coded.values[of_values[rank]] for rank in own.tolist()]

    def _not_after_the_last(self, numbers: NDArray[Any]) -> Rows:
        """Return which numbers do not come after the last frame that is needed so far."""
        if self._limit and len(self._first) >= self._limit:
            (kind, last), _ = self._first[self._limit - 1]
            if _KINDS[kind] is NumberCells:
                return np.flatnonzero(numbers <= (-last if self._descending else last))  # pyright: ignore[reportOperatorIssue]
        return np.arange(len(numbers))

    def positions(self) -> U64:
        """Return the positions of the frames in order."""
        self._sort()
        found = [*(position for _, position in self._first), *self._without]
        return np.array(found[: self._limit], np.uint64)
