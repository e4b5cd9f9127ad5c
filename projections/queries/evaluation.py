"""Evaluates queries over the columns of a version's frames, block by block, and caches the columns.

A block is a stretch of the log. Its columns are those of the events that queries of any version looked at there. Events
never change, so versions share them: a child version decodes what changed. They are disposable and in memory only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...engine import forks
from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.query.matching import matcher
from ...engine.query.tree import And, Annotations, Everything, Exists, Not, Nothing, Or, Query
from ..states.fold import Run, State, live_positions
from .columns import Columns, Mask
from .pieces import FRAME, ID, META, ROIS, Piece, read_pieces

_BLOCK_BITS = np.uint64(15)
_CACHED_BYTES = 128 * 1024 * 1024
_CACHED_ORDERS = 2
_SMALL = 2
"""A cached piece at most so many times as large as what is missing is decoded together with it again."""

_ROI_FIELD = "rois."

_Leaves = dict[str, list[Query]]


class FrameQueries:
    """Finds the frames of versions that match queries.

    Parameters
    ----------
    log : Log
        The log.
    limit : int
        Most bytes of the cached columns.
    """

    def __init__(self, log: Log, limit: int = _CACHED_BYTES) -> None:
        self._log = log
        self._limit = limit
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._pieces: OrderedDict[tuple[str, int], list[Piece]] = OrderedDict()
        self._orders: dict[int, tuple[Run, U64]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes of the cached columns."""
        return self._bytes

    def find(self, state: State, query: Query) -> Iterator[U64]:
        """Return the positions of the frames of a state that match a query, ascending, in arrays.

        The frames are those of now, even if the state advances while the result is read.

        Parameters
        ----------
        state : State
            The frames of a version.
        query : Query
            A query that `check_query` has accepted.
        """
        return self._find(state, self._log_order(state), query)

    def _find(self, state: State, positions: U64, query: Query) -> Iterator[U64]:
        leaves = defaultdict[str, list[Query]](list)
        _collect(query, leaves)
        if not len(positions):
            return
        if not leaves:
            if _combined(query, _no_leaf, 1)[0]:
                yield positions
            return
        blocks = positions >> _BLOCK_BITS
        starts = np.flatnonzero(np.append(True, blocks[1:] != blocks[:-1]))
        for block, wanted in zip(blocks[starts].tolist(), np.split(positions, starts[1:]), strict=True):
            found = self._in_block(state, block, wanted, query, leaves)
            if len(found):
                yield found

    def count(self, state: State, query: Query) -> int:
        """Return the number of frames of a state that match a query."""
        return sum(map(len, self.find(state, query)))

    def _in_block(self, state: State, block: int, wanted: U64, query: Query, leaves: _Leaves) -> U64:
        masks = {id(leaf): np.zeros(len(wanted), bool) for some in leaves.values() for leaf in some}
        for group, piece in self._pieces_of(state, block, wanted, list(leaves)):
            rows, at = _common(piece.positions, wanted)
            for leaf in leaves[group]:
                mask = _of_frames(piece, leaf)
                masks[id(leaf)][at] = mask[rows]
        return wanted[_combined(query, lambda leaf: masks[id(leaf)], len(wanted))]

    def _log_order(self, state: State) -> U64:
        run = state.settled()
        known = self._orders.get(id(run))
        if known is not None and known[0] is run:
            return known[1]
        positions = np.sort(live_positions(run))
        with self._lock:
            while len(self._orders) >= _CACHED_ORDERS:
                del self._orders[next(iter(self._orders))]
            self._orders[id(run)] = run, positions
        return positions

    def _pieces_of(
        self, state: State, block: int, wanted: U64, groups: list[str]
    ) -> Iterator[tuple[str, Piece]]:
        """Yield the pieces that together have the wanted frames of a block in each group."""
        lacking = dict[str, U64]()
        for group in groups:
            known = self._known(group, block)
            missing = _missing(wanted, known)
            large = [piece for piece in known if len(piece) > _SMALL * len(missing)]
            if len(missing) and len(large) < len(known):
                self._keep(group, block, large)
                missing = _missing(wanted, large)
            if len(missing):
                lacking[group] = missing
                known = large
            yield from ((group, piece) for piece in known)
        if lacking:
            missing = np.unique(np.concatenate(list(lacking.values())))
            for group, piece in read_pieces(self._log, state, missing, list(lacking)):
                self._keep(group, block, [*self._known(group, block), piece])
                yield group, piece

    def _known(self, group: str, block: int) -> list[Piece]:
        with self._lock:
            found = self._pieces.get((group, block))
            if found is None:
                return []
            self._pieces.move_to_end((group, block))
            return found

    def _keep(self, group: str, block: int, pieces: list[Piece]) -> None:
        """Cache the pieces of a block in place of those that are. Other threads may use the former ones still."""
        with self._lock:
            self._bytes -= sum(piece.bytes for piece in self._pieces.pop((group, block), ()))
            size = sum(piece.bytes for piece in pieces)
            if not pieces or size > self._limit:
                return
            self._pieces[group, block] = pieces
            self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= sum(piece.bytes for piece in self._pieces.popitem(last=False)[1])


def _missing(wanted: U64, pieces: list[Piece]) -> U64:
    for piece in pieces:
        wanted = wanted[~_among(wanted, piece.positions)] if len(wanted) else wanted
    return wanted


def _among(positions: U64, ascending: U64) -> Mask:
    at = np.searchsorted(ascending, positions)
    return ascending[np.minimum(at, len(ascending) - 1)] == positions


def _common(positions: U64, wanted: U64) -> tuple[Any, Any]:
    """Return the indexes in two ascending arrays of what they have in common."""
    if len(positions) == len(wanted) and np.array_equal(positions, wanted):
        return slice(None), slice(None)
    at = np.searchsorted(positions, wanted)
    at[at == len(positions)] = 0
    common = positions[at] == wanted
    return at[common], common


def _collect(query: Query, leaves: _Leaves) -> None:
    """Collect the leaves of a query by the group of columns that they need."""
    match query:
        case And(queries) | Or(queries):
            for each in queries:
                _collect(each, leaves)
        case Not(inner):
            _collect(inner, leaves)
        case Everything() | Nothing():
            pass
        case Annotations():
            leaves[ROIS].append(query)
        case _:
            leaves[_group_of(query.field)].append(query)  # pyright: ignore[reportAttributeAccessIssue]


def _group_of(field: str) -> str:
    head = field.partition(".")[0]
    return head if head in {ID, META, ROIS} else FRAME


def _combined(query: Query, mask_of: Callable[[Query], Mask], size: int) -> Mask:
    """Return where a query holds, given where its leaves do."""
    match query:
        case Everything() | Nothing():
            return np.full(size, isinstance(query, Everything))
        case Not(inner):
            return ~_combined(inner, mask_of, size)
        case And(queries) | Or(queries):
            joined = (
                _combined(queries[0], mask_of, size).copy()
                if queries
                else np.full(size, isinstance(query, And))
            )
            for each in queries[1:]:
                mask = _combined(each, mask_of, size)
                np.logical_and(joined, mask, joined) if isinstance(query, And) else np.logical_or(
                    joined, mask, joined
                )
            return joined
        case _:
            return mask_of(query)


def _no_leaf(leaf: Query) -> Mask:
    raise TypeError(leaf)


def _of_frames(piece: Piece, leaf: Query) -> Mask:
    """Return of which frames of a piece a leaf holds."""
    size = len(piece)
    if piece.owners is None:
        return _of_rows(piece.columns, leaf, size)
    if not isinstance(leaf, Annotations):
        of_any = np.zeros(size, bool)
        of_any[piece.owners[_of_rows(piece.columns, leaf, len(piece.owners), _ROI_FIELD)]] = True
        return of_any
    columns, annotations = piece.columns, len(piece.owners)
    holds = _combined(leaf.where, lambda inner: _of_rows(columns, inner, annotations), annotations)
    counts = np.bincount(piece.owners[holds], minlength=size)
    return (counts >= leaf.at_least) & (leaf.at_most is None or counts <= leaf.at_most)


def _of_rows(columns: Columns, leaf: Any, size: int, prefix: str = "") -> Mask:
    """Return of which rows of a table a comparison holds."""
    field: str = leaf.field
    mask = np.zeros(size, bool)
    if isinstance(leaf, Exists):
        if field == prefix.rstrip("."):
            return ~mask
        for column in columns.at_or_below(field.removeprefix(prefix)):
            for rows in column.rows():
                mask[rows] = True
        return mask
    column = columns.column(field.removeprefix(prefix))
    if column is not None:
        for rows in column.rows_of(matcher(leaf)):
            mask[rows] = True
    return mask
