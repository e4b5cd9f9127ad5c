"""Evaluates queries over the columns of a version's frames, stretch by stretch, and caches the columns.

Events never change, so versions share columns: a child version decodes what changed. The columns of a complete stretch of the
log are stored (`FrameColumns`); those of other events are decoded, and in memory only.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...engine import forks
from ...engine.keys import U64
from ...engine.log.shred import Mask
from ...engine.query.fields import leaves
from ...engine.query.matching import Matcher, matcher
from ...engine.query.tree import And, Annotations, Everything, Exists, Not, Nothing, Or, Query, Scalar
from ..runner import Progress, Runner
from ..states.fold import Run, State, live_positions
from .columns import Table, mark
from .pieces import ROIS, Piece, part_of, read_pieces
from .stored import DamagedPieceError, FrameColumns, StoredPiece
from .values import Found, Key, Ordered, count_values

_CACHED_BYTES = 128 * 1024 * 1024
_CACHED_BYTES_PER_FRAME = 160
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_CACHED_ORDERS = 2
_SMALL = 2
"""A cached piece at most so many times as large as what is missing is decoded together with it again."""

_SPARSE = 8
"""Columns are not stored for the sake of fewer than one in so many of their frames."""

_ROI_FIELD = "rois."

logger = logging.getLogger("framelode.projections")

Worked = TypeVar("Worked")


class FrameQueries:
    """Finds the frames of versions that match queries.

    Parameters
    ----------
    runner : Runner
        Keeps the columns that are stored.
    stored : FrameColumns
        The columns that it keeps.
    limit : int, optional
        Most bytes of the cached columns. By default they grow with the frames: a question that reads more columns than the
        cache holds finds none of them there when it is asked again.
    """

    def __init__(
        self,
        runner: Runner,
        stored: FrameColumns,
        limit: int | None = None,
    ) -> None:
        self._log = stored.log
        self._runner = runner
        self._stored = stored
        self._limit = limit
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._pieces: OrderedDict[int, list[Piece]] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._orders: dict[int, tuple[Run, U64]] = {}
        self._bytes = 0
        self._built: int | None = None
        self._repaired, self._unusable = set[int](), set[int]()
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

    def counts(self, state: State, query: Query, field: str) -> list[tuple[Scalar, int]]:
        """Return the values of a field of the frames that match, each with the number of frames that have it.

        They are in descending order of the number, then numbers before texts before booleans.

        Parameters
        ----------
        state : State
            The frames of a version.
        query : Query
            A query that `check_query` has accepted.
        field : str
            The field.
        """
        total = Counter[Key]()
        for piece, rows in self._hits(state, query, field):
            count_values(piece, rows, field, total)
        found = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        return [(value, number) for (_, value), number in found]

    def ordered(
        self, state: State, query: Query, field: str, limit: int | None = None, *, descending: bool = False
    ) -> U64:
        """Return the positions of the frames that match in the order of a field; see `Ordered`."""
        order = Ordered(field, limit, descending=descending)
        for piece, rows in self._hits(state, query, field):
            order.add(piece, rows)
        return order.positions()

    def paths_like(self, state: State, field: str) -> list[str] | None:
        """Return the paths near the frames of a state if no frame has a value at or below a field; else None."""
        positions = self._log_order(state)
        if next(self._find(state, positions, Exists(field)), None) is not None:
            return None
        paths = self._each_block(
            state, positions, lambda pieces, _: [each.tables[part_of(field)].paths for each in pieces]
        )
        return sorted(set(chain.from_iterable(chain.from_iterable(paths))))

    def _hits(self, state: State, query: Query, field: str) -> Iterator[Found]:
        """Yield the frames that match, with the column of a field read."""
        asked, part = _Asked(query), part_of(field)

        def work(pieces: list[Piece], wanted: U64) -> list[Found]:
            found = list(asked.hits(pieces, wanted))
            for piece, _ in found:
                piece.tables[part].column(field)
            return found

        return chain.from_iterable(self._each_block(state, self._log_order(state), work))

    def _find(self, state: State, positions: U64, query: Query) -> Iterator[U64]:
        asked = _Asked(query)
        if asked.parts:
            yield from filter(len, self._each_block(state, positions, asked.matching))
        elif len(positions) and _combined(query, asked.no_leaf, 1)[0]:
            yield positions

    def _each_block(
        self,
        state: State,
        positions: U64,
        work: Callable[[list[Piece], U64], Worked],
    ) -> Iterator[Worked]:
        """Yield what a function returns for the frames of each stretch and the pieces that together have them."""
        self._store(positions)
        limit = self._limit
        if limit is None:
            limit = max(_CACHED_BYTES, min(_CACHED_BYTES_PER_FRAME * len(positions), _MEMORY // 4))
        blocks = positions >> np.uint64(FrameColumns.stretch_bits)
        starts = np.flatnonzero(np.append(True, blocks[1:] != blocks[:-1]))[: len(blocks)]
        bounds = [*starts.tolist(), len(positions)]
        for number, block in enumerate(blocks[starts].tolist()):
            wanted = positions[bounds[number] : bounds[number + 1]]
            yield self._worked(state, block, wanted, work)
            self._account(block, limit)

    def _worked(
        self, state: State, block: int, wanted: U64, work: Callable[[list[Piece], U64], Worked]
    ) -> Worked:
        while True:
            try:
                return work(self._pieces_of(state, block, wanted), wanted)
            except DamagedPieceError as error:
                self._repair(block, error)

    def store(self, state: State, progress: Progress) -> None:
        """Store the columns that the first query of a state would store.

        Parameters
        ----------
        state : State
            The frames of a version.
        progress : callable
            Called with the position reached and the last one.
        """
        self._store(self._log_order(state), progress)

    def _store(self, positions: U64, progress: Progress | None = None) -> None:
        """Store the columns of the stretches that are complete by now, if these frames are many of theirs."""
        bits = FrameColumns.stretch_bits
        if self._built is None:
            self._built = (self._runner.position(self._stored) + 1) >> bits
        complete = (self._log.head().position + 1) >> bits
        start, stop = self._built << bits, complete << bits
        first, last = np.searchsorted(positions, np.array([start, stop], np.uint64)).tolist()
        if complete > self._built and _SPARSE * (last - first) >= stop - start:
            self._runner.catch_up(self._stored, progress)
            self._built = complete

    def _repair(self, block: int, error: DamagedPieceError) -> None:
        """Write a stored piece again that is damaged or missing. If that does not help, its frames are decoded."""
        with self._lock:
            self._keep(block, [])
        if block in self._repaired:
            self._unusable.add(block)
            return
        self._repaired.add(block)
        logger.warning("%s: they are made again", error)
        with self._runner.store.write() as connection:
            self._stored.rebuild_piece(connection, block)

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

    def _pieces_of(self, state: State, block: int, wanted: U64) -> list[Piece]:
        """Return the pieces that together have the wanted frames of a stretch."""
        with self._lock:
            known = self._pieces.get(block, [])
            if known:
                self._pieces.move_to_end(block)
        if any(isinstance(piece, StoredPiece) for piece in known):
            return known
        if block < (self._built or 0) and block not in self._unusable:
            pieces: list[Piece] = [self._stored.piece(self._runner.store, block)]
        else:
            missing = _missing(wanted, known)
            if not len(missing):
                return known
            large = [piece for piece in known if len(piece) > _SMALL * len(missing)]
            pieces = [*large, *read_pieces(self._log, state.batches, _missing(wanted, large))]
        with self._lock:
            self._keep(block, pieces)
        return pieces

    def _keep(self, block: int, pieces: list[Piece]) -> None:
        """Cache the pieces of a stretch in place of those that are. Other threads may use the former ones still."""
        self._pieces.pop(block, None)
        self._bytes -= self._sizes.pop(block, 0)
        if pieces:
            self._pieces[block] = pieces

    def _account(self, block: int, limit: int) -> None:
        """Count the bytes of a stretch, of which more columns may have been read, and drop others beyond a limit."""
        with self._lock:
            pieces = self._pieces.get(block)
            if pieces is None:
                return
            size = sum(piece.bytes for piece in pieces)
            self._bytes += size - self._sizes.get(block, 0)
            self._sizes[block] = size
            while self._bytes > limit:
                self._keep(next(iter(self._pieces)), [])


def _missing(wanted: U64, pieces: list[Piece]) -> U64:
    for piece in pieces:
        wanted = wanted[~_among(wanted, piece.positions)] if len(wanted) else wanted
    return wanted


def _among(positions: U64, ascending: U64) -> Mask:
    if not len(ascending):
        return np.zeros(len(positions), bool)
    at = np.searchsorted(ascending, positions)
    return ascending[np.minimum(at, len(ascending) - 1)] == positions


def _common(positions: U64, wanted: U64) -> NDArray[np.intp] | None:
    """Return the indexes in one ascending array of what is also in another; None if they are equal."""
    if len(positions) == len(wanted) and np.array_equal(positions, wanted):
        return None
    at = np.searchsorted(positions, wanted)
    at[at == len(positions)] = 0
    return at[positions[at] == wanted] if len(positions) else at[:0]


class _Asked:
    """A query with what its leaves ask for: the parts of pieces, and which values match."""

    def __init__(self, query: Query) -> None:
        self.parts = {part_of(field) for field, _ in leaves(query)}
        self._query = query
        self._matchers: dict[int, Matcher] = {
            id(leaf): matcher(leaf) for _, leaf in leaves(query) if not isinstance(leaf, Exists | Annotations)
        }

    def no_leaf(self, leaf: Query) -> Mask:
        raise TypeError(leaf)

    def hits(self, pieces: list[Piece], wanted: U64) -> Iterator[Found]:
        """Yield pieces with the ascending rows of the wanted frames that match. Each frame comes once."""
        for piece in pieces:
            if not self._may_match(piece, self._query, ""):
                continue
            common = _common(piece.positions, wanted)
            if len(pieces) > 1:
                wanted = wanted[~_among(wanted, piece.positions)]
            mask = _combined(self._query, lambda leaf, piece=piece: self._of_frames(piece, leaf), len(piece))
            if common is None:
                yield piece, np.flatnonzero(mask)
            else:
                yield piece, common[mask[common]]

    def matching(self, pieces: list[Piece], wanted: U64) -> U64:
        """Return which of the wanted frames match."""
        found = [piece.positions[rows] for piece, rows in self.hits(pieces, wanted)]
        return found[0] if len(found) == 1 else np.sort(np.concatenate([wanted[:0], *found]))

    def _may_match(self, piece: Piece, query: Query, prefix: str) -> bool:
        """Return whether a frame or an annotation of a piece may match, as the zone maps say."""
        match query:
            case And(queries):
                return all(self._may_match(piece, each, prefix) for each in queries)
            case Or(queries):
                return any(self._may_match(piece, each, prefix) for each in queries)
            case Exists():
                # So that no other part is read for the positions of the frames.
                return piece.tables[part_of(prefix + query.field)].size > 0
            case Everything() | Nothing() | Not():
                return not isinstance(query, Nothing)
            case Annotations():
                return query.at_least == 0 or self._may_match(piece, query.where, _ROI_FIELD)
            case _:
                leaf: Any = query
                field = prefix + leaf.field
                return piece.tables[part_of(field)].may_match(field, self._matchers[id(query)])

    def _of_frames(self, piece: Piece, leaf: Query) -> Mask:
        """Return of which frames of a piece a leaf holds."""
        if isinstance(leaf, Annotations):
            table = piece.tables[ROIS]
            holds = _combined(leaf.where, lambda inner: self._of_rows(table, inner, _ROI_FIELD), table.size)
        elif part_of(leaf.field) == ROIS:  # pyright: ignore[reportAttributeAccessIssue]
            leaf, holds = _ANY, self._of_rows(piece.tables[ROIS], leaf, "")
        else:
            return self._of_rows(piece.tables[part_of(leaf.field)], leaf, "")  # pyright: ignore[reportAttributeAccessIssue]
        frames = piece.owners.take(np.flatnonzero(holds))
        if (leaf.at_least, leaf.at_most) == (1, None):
            mask = np.zeros(len(piece), bool)
            mask[frames] = True
            return mask
        counts = np.bincount(frames, minlength=len(piece))
        return (counts >= leaf.at_least) & (leaf.at_most is None or counts <= leaf.at_most)

    def _of_rows(self, table: Table, leaf: Any, prefix: str) -> Mask:
        """Return of which rows of a table a comparison holds."""
        field: str = prefix + leaf.field
        mask = np.zeros(table.size, bool)
        if isinstance(leaf, Exists):
            if field == ROIS:
                return ~mask
            for cells in chain.from_iterable(table.at_or_below(field)):
                mark(cells, None, mask)
            return mask
        wanted = self._matchers[id(leaf)]
        for cells in table.column(field):
            hits = cells.hits(wanted)
            if hits is not None:
                mark(cells, hits, mask)
        return mask


_ANY = Annotations()


def _combined(query: Query, mask_of: Callable[[Query], Mask], size: int) -> Mask:
    """Return where a query holds, given where its leaves do. What cannot change the result is not looked at."""
    match query:
        case Everything() | Nothing():
            return np.full(size, isinstance(query, Everything))
        case Not(inner):
            mask = _combined(inner, mask_of, size)
            return np.logical_not(mask, mask)
        case And(queries) | Or(queries):
            joins = isinstance(query, And)
            joined = np.full(size, joins)
            for each in queries:
                mask = _combined(each, mask_of, size)
                np.logical_and(joined, mask, joined) if joins else np.logical_or(joined, mask, joined)
                if joined.all() if not joins else not joined.any():
                    break
            return joined
        case _:
            return mask_of(query)
