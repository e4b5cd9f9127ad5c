"""Columns of scalars by path, of a stretch of frames."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.log.shred import Mask
from ...engine.query.matching import Interval, Matcher
from .texts import Codes, Texts

Rows = NDArray[np.int32]

_PATH_BYTES = 300

WIDTH, HEIGHT, AREA = "rois.width", "rois.height", "rois.area"
"""Sides of the bounding box of an annotation, and what is computed from them."""

INEXACT = 2.0**53
"""From here on, 64-bit floats do not tell all integers apart."""


class TextCells(msgspec.Struct, frozen=True, gc=False):
    """The texts of a column.

    Attributes
    ----------
    rows : ndarray of int32 or None
        The row of each, ascending; None if each row has one. A row may have several.
    texts : Texts
        The distinct texts, or the text of each cell.
    codes : ndarray of unsigned integer or None
        The index of the text of each cell.
    """

    rows: Rows | None
    texts: Texts
    codes: Codes | None

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.texts) if self.codes is None else len(self.codes)

    @property
    def bytes(self) -> int:
        """About the bytes that they take."""
        return self.texts.bytes + sum(each.nbytes for each in (self.rows, self.codes) if each is not None)

    def hits(self, matcher: Matcher) -> Mask | None:
        """Return which cells match; None for none."""
        if not matcher.texts:
            return None
        found = self.texts.hits(matcher.texts)
        if self.codes is None or not found.any():
            return found if self.codes is None else None
        at = np.flatnonzero(found)
        return self.codes == at[0] if len(at) == 1 else found[self.codes]


class NumberCells(msgspec.Struct, frozen=True, gc=False):
    """The numbers of a column.

    Attributes
    ----------
    rows : ndarray of int32 or None
        As of `TextCells`.
    numbers : ndarray
        The numbers.
    large : dict of int to number
        Those for which floats are not exact, by their index in `numbers`.
    """

    rows: Rows | None
    numbers: NDArray[np.number]
    large: dict[int, int | float]

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.numbers)

    @property
    def bytes(self) -> int:
        """About the bytes that they take."""
        return self.numbers.nbytes + (0 if self.rows is None else self.rows.nbytes) + 200 * len(self.large)

    def hits(self, matcher: Matcher) -> Mask | None:
        """Return which cells match; None for none."""
        wanted, numbers = matcher.numbers, self.numbers
        if not wanted:
            return None
        exact: Callable[[int | float], bool]
        if isinstance(wanted, frozenset):
            hits = np.isin(numbers, [float(number) for number in wanted])
            exact = wanted.__contains__
        else:
            hits = _between(numbers, wanted)
            exact = wanted.holds
        for index, number in self.large.items():
            hits[index] = exact(number)
        return hits


def _between(numbers: NDArray[np.number], wanted: Interval) -> Mask:
    above = below = None
    if wanted.lower is not None:
        lower = float(wanted.lower)
        above = numbers >= lower if wanted.lower_included else numbers > lower
    if wanted.upper is not None:
        upper = float(wanted.upper)
        below = numbers <= upper if wanted.upper_included else numbers < upper
    if above is None or below is None:
        found = below if above is None else above
        return np.ones(len(numbers), bool) if found is None else found
    return above & below


class BooleanCells(msgspec.Struct, frozen=True, gc=False):
    """The booleans of a column; `rows` as of `TextCells`."""

    rows: Rows | None
    booleans: Mask

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.booleans)

    @property
    def bytes(self) -> int:
        """About the bytes that they take."""
        return self.booleans.nbytes + (0 if self.rows is None else self.rows.nbytes)

    def hits(self, matcher: Matcher) -> Mask | None:
        """Return which cells match; None for none."""
        return np.isin(self.booleans, list(matcher.booleans)) if matcher.booleans else None


Cells = TextCells | NumberCells | BooleanCells

Column = tuple[Cells, ...]
"""The cells of one path, by type."""


def mark(cells: Cells, hits: Mask | None, mask: Mask) -> None:
    """Set the rows of the cells that match in a mask of all rows; all cells do if `hits` is None."""
    if cells.rows is not None:
        mask[cells.rows if hits is None else cells.rows[hits]] = True
    elif hits is None:
        mask[:] = True
    else:
        mask |= hits


class Table:
    """The columns of a table by path.

    Parameters
    ----------
    size : int
        Number of rows.
    columns : dict of str to Column
        The columns.
    """

    def __init__(self, size: int, columns: dict[str, Column]) -> None:
        self.size = size
        self.paths = sorted(columns)
        self._columns = columns
        self._counted = 0, 0

    @property
    def bytes(self) -> int:
        """About the bytes that they take."""
        if self._counted[0] != len(self._columns):
            cells = {id(each): each for column in self._columns.values() for each in column}
            self._counted = len(self._columns), sum(each.bytes for each in cells.values())
        return _PATH_BYTES * len(self.paths) + self._counted[1]

    def column(self, path: str) -> Column:
        """Return the column of a path, empty if it has no values."""
        if path == AREA and path not in self._columns:
            self._columns[path] = self._areas()
        return self._columns.get(path, ())

    def may_match(self, path: str, matcher: Matcher) -> bool:  # noqa: ARG002 - for those that know more
        """Whether a row may match."""
        return path == AREA or path in self._columns

    def _areas(self) -> Column:
        (*_, widths), (*_, heights) = ((None, *self.column(path)) for path in (WIDTH, HEIGHT))
        if not isinstance(widths, NumberCells) or not isinstance(heights, NumberCells):
            return ()
        return (NumberCells(widths.rows, widths.numbers.astype(np.float64) * heights.numbers, {}),)

    def at_or_below(self, path: str) -> Iterator[Column]:
        """Yield the columns of a path and of those below it."""
        yield self.column(path)
        start, stop = bisect_left(self.paths, f"{path}."), bisect_left(self.paths, f"{path}/")
        yield from map(self.column, self.paths[start:stop])
