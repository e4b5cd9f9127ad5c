"""Reads the frames of a version: by id, by source, and in order."""

from __future__ import annotations

import copy
import os
import re
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, KeysView, Sequence
from functools import cached_property, lru_cache
from itertools import chain, islice, repeat
from numbers import Real
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from ...engine.errors import InvalidTypeError, InvalidValueError, NotFoundError
from ...engine.frames.frame_group import FrameGroup, wrap, wrap_all
from ...engine.frames.record import READ_ONLY_FIELDS, partial_record, put_origin
from ...engine.frames.single_frame import SingleFrame
from ...engine.frames.source import source_uri
from ...engine.keys import U64, frame_key, frame_keys, key_columns
from ...engine.log.batch import BatchHeader
from ...engine.log.contract import Head
from ...engine.secrets import without_signature
from ...engine.times import iso_time
from ...engine.validation import how_many, identifier, is_series, shorten
from ...projections.states.fold import TOMBSTONE, State, live_positions
from ...projections.states.frames import read_record, read_stored, record_blocks
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .api_helpers import warn_caller
from .field_paths import FieldPaths
from .selectors import find_dataset

if TYPE_CHECKING:
    from .version import DatasetVersion

Frame = SingleFrame | FrameGroup

Change = Callable[[list[Any]], list[Any]]
"""Changes records in place, and returns them."""

BY_CONTEXT = "context"
"""Value of `order_by` that groups frames by context, ordered by time."""

_FILE = "file://"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


_time_text = lru_cache(maxsize=1024)(iso_time)


class MissingFramesWarning(UserWarning):
    """Some of the requested ids are not in the version."""


class FrameReader:
    """Reads frames of one version at the head of its session.

    Parameters
    ----------
    session : Session
        The engine.
    version : VersionRow
        The version.
    head : Head, optional
        The head of the log to read at, if it was just read.
    """

    def __init__(self, session: Session, version: VersionRow, head: Head | None = None) -> None:
        self._session = session
        self._version = version
        self._head = head
        self._batch: BatchHeader | None = None

    @cached_property
    def _headers(self) -> Callable[[int], BatchHeader]:
        return lru_cache(maxsize=4096)(self._session.log.batch_at)

    def _batch_of(self, position: int) -> BatchHeader:
        """Return the batch of a position. Neighbours are mostly in the same one."""
        if self._batch is None or not self._batch.first_position <= position <= self._batch.last_position:
            self._batch = self._headers(position)
        return self._batch

    def _state(self) -> State:
        return self._session.states.read(self._version.version_id, self._head)

    def one(self, frame_id: str) -> Frame:
        """Return one frame. Raises `NotFoundError` if the version does not have it."""
        key = frame_key(identifier(frame_id, "frame_id"))
        state = self._state()
        position, first, place = state.locate(key)
        if 0 < position < TOMBSTONE:
            record = read_record(self._session.log, first, place, key)
            put_origin(record, self)
            return wrap(record)
        raise NotFoundError(
            f"version {shorten(self._version.name)} ({self._version.version_id}) has no frame {shorten(frame_id)}"
        )

    def holds(self, frame_id: str) -> bool:
        """Whether the version has a frame."""
        return 0 < self._state().locate(frame_key(frame_id))[0] < TOMBSTONE

    def by_ids(self, frame_ids: Collection[str], projection: Collection[str] | None = None) -> list[Any]:
        """Return the frames that exist, in the requested order. One warning counts the missing ones."""
        ids = _check_ids(frame_ids)
        state, positions = self._find(ids)
        found = {
            frame_id: position for frame_id, position in zip(ids, positions.tolist(), strict=True) if position
        }
        missing = len(set(ids)) - len(found)
        if missing:
            asked = how_many(len(set(ids)), "frame")
            message = f"{missing:,} of {asked} not found in version {shorten(self._version.name)}"
            warn_caller(message, MissingFramesWarning)
        ordered = np.unique(np.array(list(found.values()), np.uint64))
        read = self._read(state, ordered, None if projection is None else FieldPaths(projection))
        by_position = dict(zip(ordered.tolist(), read, strict=True))
        return [by_position[found[frame_id]] for frame_id in ids if frame_id in found]

    def by_source(self, pattern: str | os.PathLike[str]) -> list[Frame]:
        """Return the frames with a source URI that matches a pattern, in log order. Scans the whole version."""
        matches = source_matcher(pattern)
        return [
            wrap(record)
            for record in self.records()
            if any(source.uri is not None and matches(source.uri) for source in record.sources)
        ]

    def records(self) -> Iterator[SingleFrame]:
        """Yield the records of all frames in log order."""
        state = self._state()
        return chain.from_iterable(self._blocks(state, log_order(state)))

    def origin(self) -> dict[str, str]:
        """Return ids and names of the dataset and the version."""
        dataset = find_dataset(self._session, dataset_id=self._version.dataset_id)
        return {
            "dataset_id": dataset.dataset_id,
            "dataset_name": dataset.name,
            "version_id": self._version.version_id,
            "version_name": self._version.name,
        }

    def version_metadata(self) -> dict[str, Any]:
        """Return the metadata that the version had when it was read."""
        return copy.deepcopy(self._version.metadata)

    def iterate(
        self, projection: Sequence[str] | None = None, order_by: str | None = None
    ) -> Generator[Any, None, None]:
        """Yield all frames in log order or by context. With a projection, yield dicts of the selected fields."""
        paths = None if projection is None else FieldPaths(projection)
        _check_order(order_by)
        state = self._state()
        positions = log_order(state)
        if order_by is None:
            return self._read(state, positions, paths)
        from ...projections.states.context_order import context_order

        return self._in_order(state, context_order(self._session.log, [(state, positions)]), paths)

    def select(
        self,
        found: Iterator[U64],
        limit: int | None,
        projection: Sequence[str] | None,
        order_by: str | None,
    ) -> Generator[Any, None, None]:
        """Yield the frames at positions that are found in arrays, as `iterate` does, at most `limit`.

        The arrays are ascending if `order_by` is None or `BY_CONTEXT`. Otherwise they are in order.
        """
        paths = None if projection is None else FieldPaths(projection)
        state = self._state()
        if order_by is None:
            return (frame for some in up_to(found, limit) for frame in self._read(state, some, paths))
        windows = up_to(found, limit)
        if order_by == BY_CONTEXT:
            from ...projections.states.context_order import context_order

            positions = np.concatenate([np.empty(0, np.uint64), *found])
            windows = context_order(self._session.log, [(state, positions)])
        return (frame for frame in islice(self._in_order(state, windows, paths), limit))

    def at_positions(
        self, positions: U64, projection: Sequence[str] | None = None, change: Change | None = None
    ) -> Generator[Any, None, None]:
        """Yield the frames at ascending positions.

        Parameters
        ----------
        positions : ndarray of uint64
            Positions of frames that the version has.
        projection : sequence of str, optional
            Fields to yield, in dicts.
        change : callable, optional
            Changes the records that were just read, before they become frames or dicts.
        """
        return self._read(
            self._state(), positions, None if projection is None else FieldPaths(projection), change
        )

    def state(self) -> State:
        """Return the state of the version that is read."""
        return self._state()

    def _in_order(
        self, state: State, windows: Iterable[U64], paths: FieldPaths | None
    ) -> Generator[Any, None, None]:
        for window in windows:
            ascending = np.argsort(window)
            read = dict(zip(ascending.tolist(), self._read(state, window[ascending], paths), strict=True))
            yield from (read[place] for place in range(len(window)))

    def _read(
        self, state: State, positions: U64, paths: FieldPaths | None, change: Change | None = None
    ) -> Generator[Any, None, None]:
        if paths is None:
            return self._frames(state, positions, change)
        return self._dicts(state, positions, paths, change)

    def _find(self, ids: list[str]) -> tuple[State, U64]:
        """Return the state and the position of each id's frame, 0 if there is none."""
        state = self._state()
        if not ids:
            return state, np.empty(0, np.uint64)
        positions = state.find(*key_columns(frame_keys(ids)[0]))
        positions[positions >= TOMBSTONE] = 0
        return state, positions

    def _frames(
        self, state: State, positions: U64, change: Change | None = None
    ) -> Generator[Frame, None, None]:
        blocks = self._blocks(state, positions[positions > 0])
        yield from chain.from_iterable(map(wrap_all, blocks if change is None else map(change, blocks)))

    def _blocks(self, state: State, positions: U64) -> Iterator[list[SingleFrame]]:
        for block in record_blocks(self._session.log, state, positions):
            deque(map(put_origin, block, repeat(self)), maxlen=0)
            yield block

    def _dicts(
        self, state: State, positions: U64, paths: FieldPaths, change: Change | None = None
    ) -> Generator[dict[str, Any], None, None]:
        record, adds = partial_record(paths.fields), not paths.fields.isdisjoint(READ_ONLY_FIELDS)
        for position, frame_id, event in read_stored(self._session.log, state, positions, record):
            if change is not None and event.frame is not None:
                change([event.frame])
            wire = {} if event.frame is None else event.frame.to_wire(frame_id, paths.fields)
            if adds:
                self._add_read_only(wire, position, event.saved or position, paths.fields)
            yield paths.apply(wire)

    def _add_read_only(
        self, wire: dict[str, Any], position: int, saved: int, wanted: Collection[str]
    ) -> None:
        """Add the wanted read-only fields of a frame that was saved and last updated at two positions."""
        if "dataset" in wanted:
            wire["dataset"] = {"id": self._version.dataset_id, "version": self._version.version_id}
        for field, at in (("updated", position), ("saved", saved)):
            if field in wanted:
                wire[field] = _time_text(self._batch_of(at).recorded_at)
            if f"{field}_in_version" in wanted:
                wire[f"{field}_in_version"] = self._batch_of(at).stream_id


class FrameIds(KeysView[str]):
    """The frame ids of a version. Iterating over the version itself yields frames."""

    def __init__(self, version: DatasetVersion) -> None:
        self._version = version

    def __len__(self) -> int:
        return len(self._version)

    def __contains__(self, key: object) -> bool:
        return key in self._version

    def __iter__(self) -> Iterator[str]:
        return (frame["id"] for frame in self._version.get_iterator(projection=["id"]))

    def __repr__(self) -> str:
        return f"FrameIds({self._version!r})"


def source_matcher(pattern: str | os.PathLike[str]) -> Callable[[str], bool]:
    """Return a predicate for URIs: an exact match, a prefix if the pattern ends in ``/``, or a wildcard match with ``*``.

    A path stands for its ``file://`` URI. Local URIs are compared both as stored and percent-decoded.
    """
    pattern = os.fspath(pattern) if isinstance(pattern, os.PathLike) else pattern
    if not isinstance(pattern, str) or not pattern:
        raise InvalidValueError(
            f"source_uri must be a URI or a pattern such as 's3://bucket/folder/*', not {shorten(pattern)}"
        )
    if not _SCHEME.match(pattern) and not pattern.startswith("*"):
        pattern = _FILE + pattern if pattern.startswith("/") else _local_uri(pattern)
    if "*" not in pattern and pattern.endswith("/"):
        pattern += "*"
    # Sources are stored without signatures, but older logs have signed ones.
    either = [each.split("*") for each in {pattern, without_signature(pattern)}]

    def fits(uri: str) -> bool:
        return any(_fits(uri, pieces) for pieces in either)

    def matches(uri: str) -> bool:
        return fits(uri) or (uri.startswith(_FILE) and "%" in uri and fits(unquote(uri)))

    return matches


def _fits(uri: str, pieces: list[str]) -> bool:
    """Whether a URI contains the pieces in order. Takes time linear in the length of the URI."""
    if len(pieces) == 1:
        return uri == pieces[0]
    first, *middle, last = pieces
    if not (uri.startswith(first) and uri.endswith(last)):
        return False
    at, end = len(first), len(uri) - len(last)
    for piece in middle:
        # The leftmost match leaves the most room for the remaining pieces.
        at = uri.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def _local_uri(pattern: str) -> str:
    head, star, tail = pattern.partition("*")
    folder = unquote(source_uri(head or ".", "source_uri"))
    return folder + ("/" if head.endswith("/") and not folder.endswith("/") else "") + star + tail


def _check_order(order_by: str | None) -> None:
    if order_by is not None and order_by != BY_CONTEXT:
        raise InvalidValueError(
            f"order_by must be {BY_CONTEXT!r} or None for log order, not {shorten(order_by)}"
        )


def up_to(found: Iterator[U64], limit: int | None) -> Iterator[U64]:
    """Yield the first positions of those found, and look for no more."""
    left = limit
    while left != 0 and (positions := next(found, None)) is not None:
        yield positions[:left]
        left = None if left is None else max(left - len(positions), 0)


def log_order(state: State) -> U64:
    """Return the positions of the frames of a state in ascending order."""
    return np.sort(live_positions(state.settled()))


def _check_ids(frame_ids: Iterable[str]) -> list[str]:
    if not is_series(frame_ids):
        raise InvalidValueError(f"frame_ids must be a list of ids, not {shorten(frame_ids)}")
    return [identifier(frame_id, f"frame_ids[{index}]") for index, frame_id in enumerate(frame_ids)]


def check_frame_id(frame_id: object) -> str:
    """Return a valid frame id. A slice or a frame raises `InvalidTypeError`, as a mapping raises `TypeError`."""
    if isinstance(frame_id, slice):
        raise InvalidTypeError(
            f"a version is a mapping of frame ids and cannot be sliced with {shorten(frame_id)}: "
            "use itertools.islice(version, ...)"
        )
    if not isinstance(frame_id, str | Real):
        raise InvalidTypeError(f"a frame id must be a string or a number, not {shorten(frame_id)}")
    return identifier(frame_id, "frame_id")
