"""Finds frames of a version by source or label, and complete ids by their first characters."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice

import numpy as np

from ...engine.errors import ConflictError, NotFoundError
from ...engine.frames.frame_group import FrameGroup, wrap
from ...engine.frames.single_frame import SingleFrame
from ...engine.keys import KEY_SIZE, U64, frame_key
from ...engine.validation import identifier, label_text, shorten
from ...projections.states.fold import POSITION, TOMBSTONE, State
from ...projections.states.frames import read_ids
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .reading import FrameReader, source_matcher

_SHOWN = 5
_REPORTED_FRAMES = 5_000
_HALF_DIGITS = 16
_CERTAIN_DIGITS = 6
"""With so many hex digits no other kind of id is looked for, which would read every frame."""
_HEX = frozenset("0123456789abcdef")


def find_frames(
    session: Session,
    version: VersionRow,
    source: str | os.PathLike[str] | None = None,
    label: str | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Generator[SingleFrame | FrameGroup, None, None]:
    """Yield the frames that match all arguments, in log order; see `DatasetVersion.find_frames`."""
    matches = None if source is None else source_matcher(source)
    wanted = None if label is None else label_text(label, "label")
    records: Iterable[SingleFrame] = FrameReader(session, version).records()
    if callback is not None:
        records = _reported(records, callback, session.states.current(version.version_id).total)

    def fits(record: SingleFrame) -> bool:
        if wanted is not None and not any(wanted in each.labels for each in record.annotations):
            return False
        return matches is None or any(each.uri is not None and matches(each.uri) for each in record.sources)

    return (wrap(record) for record in records if fits(record))


def _reported(
    records: Iterable[SingleFrame], callback: Callable[[int, int], None], total: int
) -> Iterator[SingleFrame]:
    """Yield frames, and tell how many of them were read."""
    for done, record in enumerate(records, 1):
        yield record
        if done % _REPORTED_FRAMES == 0 or done == total:
            callback(done, total)


def find_frame_id(session: Session, version: VersionRow, prefix: str, *, deleted: bool = False) -> str:
    """Return the id of the only frame whose id begins with `prefix`; see `DatasetVersion.find_frame_id`.

    Parameters
    ----------
    deleted : bool
        Also look at deleted frames.
    """
    prefix = identifier(prefix, "frame_id")
    state = session.states.read(version.version_id)
    last = state.locate(frame_key(prefix))[0]
    if last and (deleted or last < TOMBSTONE):
        return prefix
    found = list(islice(_with_prefix(session, state, prefix, deleted=deleted), _SHOWN + 1))
    name = f"version {shorten(version.name)} ({version.version_id})"
    if not found:
        has_none = "never had a frame" if deleted else "has no frame"
        raise NotFoundError(f"{name} {has_none} {shorten(prefix)}, and none whose id begins with it")
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise ConflictError(
            f"several frames of {name} have an id that begins with {shorten(prefix)}: {shown}"
        )
    return found[0]


def _with_prefix(session: Session, state: State, prefix: str, *, deleted: bool) -> Iterator[str]:
    """Yield the ids that begin with a prefix. Ids of 32 hex digits are found by their keys, without reading frames."""
    positions = state.settled().positions
    positions = np.sort(positions & POSITION if deleted else positions[positions < TOMBSTONE])
    if _CERTAIN_DIGITS <= len(prefix) < 2 * KEY_SIZE and _HEX.issuperset(prefix):
        by_key = positions[_keys_begin_with(state, positions, prefix)]
        # The key of any other id is a digest, which may begin like this, too.
        plain = [each for each in read_ids(session.log, state, by_key) if each.startswith(prefix)]
        if plain:
            yield from plain
            return
    yield from (each for each in read_ids(session.log, state, positions) if each.startswith(prefix))


def _keys_begin_with(state: State, positions: U64, prefix: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which keys begin with some hex digits."""
    rows = state.rows(positions)
    fits = np.ones(len(positions), bool)
    for half, digits in (("hi", prefix[:_HALF_DIGITS]), ("lo", prefix[_HALF_DIGITS:])):
        if digits:
            shift = np.uint64(4 * (_HALF_DIGITS - len(digits)))
            fits &= rows[half].astype(np.uint64) >> shift == np.uint64(int(digits, 16))
    return fits
