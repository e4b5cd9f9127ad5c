"""The frames of a view: found in its versions, read in any order, with labels mapped and numbered."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....engine.annotations.base import put_label_num
from ....engine.errors import NotFoundError
from ....engine.events.views import ViewMapping, ViewVersion
from ....engine.keys import U64
from ....engine.log.decoding import gc_paused
from ....engine.validation import shorten
from ....projections.states.context_order import context_order
from ....projections.tables.catalog import VersionRow
from ...session.session import Session
from ..querying import find_positions
from ..reading import FrameReader
from .order import Order, Places, Worker, passes
from .queries import ANY, HyperDatasetQuery

UNASSIGNED = -1
"""Number of a label without one."""

_LABEL_SETS = 4096
WINDOW = 16_384
"""Frames that are read together if their order is not that of the log."""

_ALONE = Worker()


class LabelRules:
    """Replaces labels of the frames of one version, and numbers them.

    The rules are judged on the labels as they were recorded. The first rule that holds replaces a label.

    Parameters
    ----------
    mapping : sequence of ViewMapping
        The rules for labels.
    labels : dict of str to int
        The numbers of labels, of those that the rules lead to.
    version : ViewVersion
        The version.
    """

    def __init__(
        self, mapping: Sequence[ViewMapping], labels: Mapping[str, int], version: ViewVersion
    ) -> None:
        self._given = mapping, labels, version
        self._rules = [
            (frozenset(rule.from_labels), rule.to_label)
            for rule in mapping
            if rule.dataset in {ANY, version.dataset} and rule.version in {ANY, version.version}
        ]
        self._numbers = labels
        self._changed = lru_cache(_LABEL_SETS)(self._change)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given

    def __bool__(self) -> bool:
        return bool(self._rules or self._numbers)

    def __call__(self, records: list[Any]) -> list[Any]:
        """Change records in place, and return them. A partial record may have no annotations."""
        for record in records:
            for annotation in getattr(record, "_annotations", ()):
                labels, number = self._changed(tuple(annotation._labels))  # noqa: SLF001 - faster than the checked property
                annotation._labels[:] = labels  # noqa: SLF001
                if number is not None:
                    put_label_num(annotation, number)
        return records

    def _change(self, labels: tuple[str, ...]) -> tuple[tuple[str, ...], int | None]:
        found, mapped = set(labels), dict[str, str]()
        for wanted, to_label in self._rules:
            if ANY in wanted or wanted <= found:
                for label in labels if ANY in wanted else wanted:
                    mapped.setdefault(label, to_label)
        new = tuple(dict.fromkeys(mapped.get(label, label) for label in labels)) if mapped else labels
        if not self._numbers:
            return new, None
        return new, next((self._numbers[label] for label in new if label in self._numbers), UNASSIGNED)


class Part(msgspec.Struct, frozen=True):
    """A version of a view, as it is read."""

    session: Session
    row: VersionRow
    reader: FrameReader


class _PastReader(FrameReader):
    """Reads a version as it was. Its row is that of the present, because the catalog of the past is replayed."""

    def version_metadata(self) -> dict[str, Any]:
        """Return the metadata that the version had."""
        then = self._session.version_row(self._version.version_id) or self._version
        return copy.deepcopy(then.metadata)


def part_of(session: Session, version: ViewVersion) -> Part:
    """Return a version of a view at its position. It may be removed since then."""
    row = session.present.version_row(version.version)
    if row is None:
        raise NotFoundError(
            f"there is no version with id {shorten(version.version)}: the view was stored in another log"
        )
    published = row.published_position
    if published is None or published > version.position:
        past = session.present.at(version.position)
        return Part(past, row, _PastReader(past, row))
    # A published version stays what it is, so it is read without a replay.
    return Part(session.present, row, FrameReader(session.present, row))


class Selection:
    """The frames of a view.

    Parameters
    ----------
    session : Session
        The engine.
    versions : sequence of ViewVersion
        The versions, each at its position.
    rules : sequence of LabelRules
        The rules for labels of each version.

    Attributes
    ----------
    positions : ndarray of uint64
        The positions of the frames, ascending. A frame that several versions inherited is one frame.
    owners : ndarray of int32
        The version of each frame: the first that has it.
    queries : list of ndarray of int64
        The places in `positions` of the frames of each query.
    """

    def __init__(
        self, session: Session, versions: Sequence[ViewVersion], rules: Sequence[LabelRules]
    ) -> None:
        self._session = session
        self._versions = versions
        self._rules = rules
        self.positions: U64 = np.empty(0, np.uint64)
        self.owners: NDArray[np.int32] = np.empty(0, np.int32)
        self.queries: list[Places] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "parts"}

    def __len__(self) -> int:
        return len(self.positions)

    def find(self, queries: Sequence[HyperDatasetQuery]) -> None:
        """Find the frames of all queries."""
        found = [[self._found(part, query, version) for query in queries] for part, version in self._paired()]
        joined = [np.unique(np.concatenate(some)) for some in found]
        owners = np.repeat(np.arange(len(joined), dtype=np.int32), list(map(len, joined)))
        # The first of several equal positions is that of the first version.
        self.positions, first = np.unique(np.concatenate(joined), return_index=True)
        self.owners = owners[first]
        self.queries = [
            np.searchsorted(self.positions, np.unique(np.concatenate(some))).astype(np.int64)
            for some in zip(*found, strict=True)
        ]

    def _paired(self) -> Iterator[tuple[Part, ViewVersion]]:
        return zip(self.parts, self._versions, strict=True)

    def _found(self, part: Part, query: HyperDatasetQuery, version: ViewVersion) -> U64:
        if not query.selects(version):
            return np.empty(0, np.uint64)
        return np.concatenate([np.empty(0, np.uint64), *find_positions(part.session, part.row, query.query)])

    @cached_property
    def parts(self) -> list[Part]:
        """The versions as they are read."""
        return [part_of(self._session, version) for version in self._versions]

    @cached_property
    def by_context(self) -> Places:
        """The places of all frames, ordered by context id, timestamp and id."""
        parts = [
            (part.reader.state(), self.positions[self.owners == owner])
            for owner, part in enumerate(self.parts)
        ]
        ordered = [np.empty(0, np.uint64), *context_order(self._session.present.log, parts)]
        return np.searchsorted(self.positions, np.concatenate(ordered)).astype(np.int64)

    def read(
        self, places: Places, projection: Sequence[str] | None = None, window: int = WINDOW
    ) -> Iterator[Any]:
        """Yield the frames at some places, in their order. Each time that a place occurs is another object.

        Places that ascend are streamed. Of others, `window` frames at a time are read together, in log order.
        """
        if (places[1:] > places[:-1]).all():
            yield from self._ascending(places, projection)
            return
        for start in range(0, len(places), window):
            yield from self._together(places[start : start + window], projection)

    def _together(self, places: Places, projection: Sequence[str] | None) -> list[Any]:
        frames: list[Any] = [None] * len(places)
        order = np.argsort(places, kind="stable")
        with gc_paused():
            while len(order):
                once = np.append(True, places[order[1:]] != places[order[:-1]])
                read = self._ascending(places[order[once]], projection)
                for place, frame in zip(order[once].tolist(), read, strict=True):
                    frames[place] = frame
                order = order[~once]
        return frames

    def _ascending(self, places: Places, projection: Sequence[str] | None) -> Iterator[Any]:
        positions, owners = self.positions[places], self.owners[places]
        present = np.unique(owners).tolist()
        if len(present) <= 1:
            return self._of_owner(present[0], positions, projection) if present else iter(())
        streams = {owner: self._of_owner(owner, positions[owners == owner], projection) for owner in present}
        return (next(streams[owner]) for owner in owners.tolist())

    def _of_owner(self, owner: int, positions: U64, projection: Sequence[str] | None) -> Iterator[Any]:
        rules = self._rules[owner]
        return self.parts[owner].reader.at_positions(positions, projection, rules or None)


class Plan(msgspec.Struct, frozen=True):
    """The frames of a view, and the order in which they are iterated over.

    Attributes
    ----------
    selection : Selection
        The frames.
    order : Order
        Their order: seed, weights and limits.
    by_context : bool
        Whether the order without a seed is by context, timestamp and id. Otherwise it is that of the log.
    """

    selection: Selection
    order: Order
    by_context: bool

    def passes(self, worker: Worker = _ALONE, first: int = 0) -> Iterator[Places]:
        """Yield the places of the frames in `Selection`, pass by pass.

        Parameters
        ----------
        worker : Worker
            Take the part of a worker only.
        first : int
            Number of the first pass, from 0. Each pass of a random view has another order.
        """
        selection, order = self.selection, self.order
        if not self.by_context:
            return passes(len(selection), selection.queries, order, worker, first)
        base = selection.by_context
        ranks = np.empty(len(base), np.int64)
        ranks[base] = np.arange(len(base))
        queries = [np.sort(ranks[places]) for places in selection.queries]
        return (base[places] for places in passes(len(selection), queries, order, worker, first))

    @property
    def one(self) -> int:
        """Number of frames of one pass."""
        return sum(self.order.shares) or len(self.selection)

    @property
    def length(self) -> int | None:
        """Number of frames of an iteration; None if it has no end."""
        limit = self.order.limit
        if self.order.infinite and self.one:
            return limit
        return self.one if limit is None else min(self.one, limit)
