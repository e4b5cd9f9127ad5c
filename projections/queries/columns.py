"""Columns of scalars by path, dictionary-encoded, of a stretch of frames."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.query.matching import Interval, Matcher

Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]

_INEXACT = 2.0**53
"""From here on, 64-bit floats do not tell all integers apart."""

_VALUE_BYTES = 64
_PATH_BYTES = 200
_TEXT_BYTES = 8


class Values:
    """The scalars found at each path, with the rows that have them, while they are collected.

    Attributes
    ----------
    size : int
        About the bytes that they take so far.
    """

    def __init__(self) -> None:
        self.paths: dict[str, tuple[list[int], list[Any]]] = {}
        self.size = 0

    def add_some(self, path: str, rows: Iterable[int], values: Sequence[Any]) -> None:
        """Add values of a path, each of which is a scalar or None."""
        if values.count(None):
            present = [value is not None for value in values]
            rows, values = compress(rows, present), list(compress(values, present))
        if not values:
            return
        at, found = self.paths.setdefault(path, ([], []))
        at.extend(rows)
        found.extend(values)
        self.size += _VALUE_BYTES * len(values) + sum(len(value) for value in values if type(value) is str)

    def add_tree(self, path: str, row: int, tree: Mapping[str, Any]) -> None:
        """Add the leaves of a JSON-like dict below a path."""
        # Most metadata is flat; what is not waits here, so that nothing is recursive.
        waiting: list[tuple[str, Any]] = []
        self._add_items(path, row, tree.items(), waiting)
        while waiting:
            below, value = waiting.pop()
            if isinstance(value, dict):
                self._add_items(below, row, value.items(), waiting)
            else:
                self._add_items(None, row, zip(repeat(below), value), waiting)

    def _add_items(
        self, prefix: str | None, row: int, items: Iterable[tuple[str, Any]], waiting: list[tuple[str, Any]]
    ) -> None:
        paths = self.paths
        size = 0
        for key, value in items:
            path = key if prefix is None else f"{prefix}.{key}"
            kind = type(value)
            if kind is dict or kind is list:
                if value:
                    waiting.append((path, value))
                continue
            if value is None:
                continue
            found = paths.get(path)
            if found is None:
                found = paths[path] = ([], [])
            found[0].append(row)
            found[1].append(value)
            size += len(value) + _VALUE_BYTES if kind is str else _VALUE_BYTES
        self.size += size


class Column(msgspec.Struct, frozen=True, gc=False):
    """The scalars of one path by type, with the rows that have them.

    Attributes
    ----------
    texts : list of str
        The distinct texts.
    text_rows, codes : ndarray of int32
        A row, and the index of its text.
    number_rows, numbers : ndarray
        A row, and its number.
    large : dict of int to number
        The numbers that floats do not hold exactly, by their index in `numbers`.
    boolean_rows, booleans : ndarray
        A row, and its boolean.
    """

    texts: list[str]
    text_rows: Rows
    codes: Rows
    number_rows: Rows
    numbers: NDArray[np.float64]
    large: dict[int, int | float]
    boolean_rows: Rows
    booleans: Mask

    def rows_of(self, matcher: Matcher) -> Iterator[Rows]:
        """Yield the rows with a value that matches; a row may come several times."""
        if len(self.codes) and matcher.texts:
            hits = self._text_hits(matcher.texts)
            if hits is not None:
                yield self.text_rows[hits]
        if len(self.numbers) and matcher.numbers:
            yield self.number_rows[self._number_hits(matcher.numbers)]
        if len(self.booleans) and matcher.booleans:
            yield self.boolean_rows[np.isin(self.booleans, list(matcher.booleans))]

    def _text_hits(self, wanted: frozenset[str] | Callable[[str], bool]) -> Mask | None:
        if isinstance(wanted, frozenset) and len(wanted) == 1:
            try:
                return self.codes == self.texts.index(next(iter(wanted)))
            except ValueError:
                return None
        holds = wanted.__contains__ if isinstance(wanted, frozenset) else wanted
        found = np.fromiter(map(holds, self.texts), bool, len(self.texts))
        return found[self.codes] if found.any() else None

    def _number_hits(self, wanted: frozenset[int | float] | Interval) -> Mask:
        numbers = self.numbers
        if isinstance(wanted, frozenset):
            hits = np.isin(numbers, [float(number) for number in wanted])
            exact = wanted.__contains__
        else:
            hits = np.ones(len(numbers), bool)
            if wanted.lower is not None:
                lower = float(wanted.lower)
                hits &= numbers >= lower if wanted.lower_included else numbers > lower
            if wanted.upper is not None:
                upper = float(wanted.upper)
                hits &= numbers <= upper if wanted.upper_included else numbers < upper
            exact = wanted.holds
        for index, number in self.large.items():
            hits[index] = exact(number)
        return hits

    def rows(self) -> Iterator[Rows]:
        """Yield the rows with any value; a row may come several times."""
        yield from (self.text_rows, self.number_rows, self.boolean_rows)


class Columns:
    """The columns of a table by path. They share their arrays, since there may be many paths with few values.

    Parameters
    ----------
    values : Values
        The scalars, with their rows ascending by path.
    """

    def __init__(self, values: Values) -> None:
        text_rows, number_rows, boolean_rows = list[int](), list[int](), list[int]()
        codes, texts = list[Any](), list[str]()
        numbers, booleans = list[Any](), list[Any]()
        bounds = [(0, 0, 0, 0)]
        self._paths = sorted(values.paths)
        for path in self._paths:
            rows, found = values.paths[path]
            kinds = set(map(type, found))
            for rows_so_far, kept, of_kinds in (
                (text_rows, codes, {str}),
                (number_rows, numbers, {int, float}),
                (boolean_rows, booleans, {bool}),
            ):
                if kinds.isdisjoint(of_kinds):
                    continue
                some_rows, some = rows, found
                if not kinds <= of_kinds:
                    chosen = [type(value) in of_kinds for value in found]
                    some_rows, some = list(compress(rows, chosen)), list(compress(found, chosen))
                rows_so_far.extend(some_rows)
                if of_kinds == {str}:
                    index = {text: code for code, text in enumerate(dict.fromkeys(some))}
                    texts.extend(index)
                    some = list(map(index.__getitem__, some))
                kept.extend(some)
            bounds.append((len(texts), len(codes), len(numbers), len(booleans)))
        self._bounds = np.array(bounds, np.int64)
        self._texts = texts
        self._text_rows, self._codes = np.array(text_rows, np.int32), np.array(codes, np.int32)
        self._number_rows, self._numbers = np.array(number_rows, np.int32), np.array(numbers, np.float64)
        self._boolean_rows, self._booleans = np.array(boolean_rows, np.int32), np.array(booleans, bool)
        inexact = np.flatnonzero(np.abs(self._numbers) >= _INEXACT).tolist()
        self._large = {index: numbers[index] for index in inexact}
        arrays = (
            *(self._bounds, self._text_rows, self._codes, self._number_rows, self._numbers),
            *(self._boolean_rows, self._booleans),
        )
        self.bytes = sum(array.nbytes for array in arrays) + sum(
            map(sys.getsizeof, chain(texts, self._paths)), _PATH_BYTES
        )
        self.bytes += _TEXT_BYTES * (len(texts) + len(self._paths)) + _PATH_BYTES * len(self._large)

    def column(self, path: str) -> Column | None:
        """Return the column of a path, None if it has no values."""
        at = bisect_left(self._paths, path)
        return self._column(at) if self._paths[at : at + 1] == [path] else None

    def at_or_below(self, path: str) -> Iterator[Column]:
        """Yield the columns of a path and of those below it."""
        found = self.column(path)
        if found is not None:
            yield found
        start, stop = bisect_left(self._paths, f"{path}."), bisect_left(self._paths, f"{path}/")
        yield from map(self._column, range(start, stop))

    def _column(self, at: int) -> Column:
        (text, code, number, boolean), (last_text, last_code, last_number, last_boolean) = self._bounds[
            at : at + 2
        ].tolist()
        large = self._large and {
            index - number: value for index, value in self._large.items() if number <= index < last_number
        }
        return Column(
            self._texts[text:last_text],
            self._text_rows[code:last_code],
            self._codes[code:last_code],
            self._number_rows[number:last_number],
            self._numbers[number:last_number],
            large,
            self._boolean_rows[boolean:last_boolean],
            self._booleans[boolean:last_boolean],
        )
