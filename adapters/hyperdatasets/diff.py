"""`Diff`: the differences between two versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, count, repeat
from typing import Any, overload

import msgspec
import numpy as np

from ...engine.errors import UsageError
from ...engine.keys import KEY_SIZE, U64
from ...engine.log.contract import Log
from ...engine.log.frame_batch import FrameChange, changes_of
from ...engine.validation import how_many, printable, shorten
from ...engine.writes.decisions import changed_fields
from ...projections.history.changes import Wire, payload_wires
from ...projections.states.diff import Difference, Outcome, compare
from ...projections.states.fingerprint import Fingerprint, fingerprint
from ...projections.states.fold import TOMBSTONE, State
from ..session.session import Session
from .html import version_text
from .selectors import find_dataset, version_by_id
from .statistics import Statistics

_EVENTS_AT_ONCE = 4096
"""So many frames are read together: events that are far apart share blocks."""

_FRAMES_AT_ONCE = 512
"""So many frames are decoded together."""

_SHOWN_LABELS = 20
_BAR = 40
_NO_FIELDS = b"\x80"
"""A record without fields, as msgpack."""


class _Frames:
    """The frames of some differences in one version. All are decoded together, when the first is read."""

    def __init__(self, ids: list[str], positions: list[int], changes: dict[int, FrameChange]) -> None:
        self._ids, self._positions = ids, positions
        self.payloads = [changes[at].payload if at else b"" for at in positions]

    @cached_property
    def wires(self) -> list[Wire | None]:
        return payload_wires(self._ids, self.payloads, self._positions)


class FrameDiff(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A frame that differs between two versions.

    Attributes
    ----------
    frame_id : str
        Id of the frame.
    fields : tuple of str
        Names of the fields that differ. If only one version has the frame, all its fields.
    """

    frame_id: str
    fields: tuple[str, ...]
    _before: _Frames | Wire | None
    _after: _Frames | Wire | None
    _place: int = 0

    @property
    def before(self) -> Wire | None:
        """The frame in the old version, in wire form; None if that version does not have it."""
        return self._read("_before", self._before)

    @property
    def after(self) -> Wire | None:
        """The frame in the new version, in wire form; None if that version does not have it."""
        return self._read("_after", self._after)

    def _read(self, name: str, held: _Frames | Wire | None) -> Wire | None:
        if not isinstance(held, _Frames):
            return held
        wire = held.wires[self._place]
        # Whoever keeps this frame does not keep those that were decoded with it.
        msgspec.structs.force_setattr(self, name, wire)
        return wire

    @property
    def labels_gained(self) -> dict[str, int]:
        """Number of annotations added, by label."""
        return _gained(_labels(self.before), _labels(self.after))

    @property
    def labels_lost(self) -> dict[str, int]:
        """Number of annotations removed, by label."""
        return _gained(_labels(self.after), _labels(self.before))

    def to_dict(self) -> dict[str, Any]:
        """Return the frame diff as plain JSON-like values."""
        names = ("frame_id", "fields", "before", "after", "labels_gained", "labels_lost")
        return msgspec.to_builtins({name: getattr(self, name) for name in names})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameDiff) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.frame_id, self.fields))

    def _key(self) -> tuple[Any, ...]:
        return self.frame_id, self.fields, self.before, self.after

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameDiff, self._key()

    def __repr__(self) -> str:
        sides = self._before, self._after
        before, after = (each.payloads[self._place] if isinstance(each, _Frames) else each for each in sides)
        outcome = "changed" if before and after else "added" if after else "removed"
        which = f" ({', '.join(self.fields)})" if outcome == "changed" else ""
        return f"FrameDiff({printable(self.frame_id)} {outcome}{which})"


class FrameDiffs(Sequence[FrameDiff]):
    """Frames of a diff, in log order. Counts and ids are known; contents are read on access.

    Parameters
    ----------
    log : Log
        The log of both states.
    old, new : State
        The states of both versions.
    difference : Difference
        The frames that differ.
    """

    def __init__(self, log: Log, old: State, new: State, difference: Difference) -> None:
        self._log = log
        self._old = old
        self._new = new
        self._difference = difference

    def __len__(self) -> int:
        return len(self._difference)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the frames."""
        return self._ids(self._difference)

    @overload
    def __getitem__(self, index: int) -> FrameDiff: ...

    @overload
    def __getitem__(self, index: slice) -> list[FrameDiff]: ...

    def __getitem__(self, index: int | slice) -> FrameDiff | list[FrameDiff]:
        if isinstance(index, slice):
            return list(self._read(self._difference.take(index)))
        place = range(len(self))[index]
        (found,) = self._read(self._difference.take(slice(place, place + 1)))
        return found

    def __iter__(self) -> Iterator[FrameDiff]:
        for start in range(0, len(self), _EVENTS_AT_ONCE):
            yield from self._read(self._difference.take(slice(start, start + _EVENTS_AT_ONCE)))

    def __repr__(self) -> str:
        return f"<{how_many(len(self), 'frame')}>"

    def _read(self, part: Difference) -> Iterator[FrameDiff]:
        sides = [self._positions(state, part) for state in (self._old, self._new)]
        held = filter(None, chain(*sides))
        changes = changes_of(self._log, [*part.positions.tolist(), *held], self._starts)
        ids = _ids_of(part, changes)
        for start in range(0, len(part), _FRAMES_AT_ONCE):
            some = slice(start, start + _FRAMES_AT_ONCE)
            yield from _frame_diffs(ids[some], [positions[some] for positions in sides], changes)

    def of(self, outcome: Outcome) -> FrameDiffs:
        """Return the frames that were added, removed or changed."""
        return FrameDiffs(self._log, self._old, self._new, self._difference.of(outcome))

    @cached_property
    def _starts(self) -> U64:
        """First positions of the batches that have events of either version."""
        return np.union1d(self._old.batches.first_positions, self._new.batches.first_positions)

    def _ids(self, part: Difference) -> list[str]:
        return _ids_of(part, changes_of(self._log, part.positions.tolist(), self._starts))

    def _positions(self, state: State, part: Difference) -> list[int]:
        """Return the position of each frame in a version; 0 if it has none."""
        positions = state.find(part.hi, part.lo)
        positions[positions >= TOMBSTONE] = 0
        return positions.tolist()


def _ids_of(part: Difference, changes: dict[int, FrameChange]) -> list[str]:
    keys = part.keys().hex(" ", KEY_SIZE).split(" ")
    return [changes[at].id or key for at, key in zip(part.positions.tolist(), keys, strict=False)]


def _frame_diffs(
    ids: list[str], positions: list[list[int]], changes: dict[int, FrameChange]
) -> Iterator[FrameDiff]:
    """Yield the differences of some frames that are at given positions in both versions."""
    before, after = (_Frames(ids, side, changes) for side in positions)
    fields = changed_fields(
        *([payload or _NO_FIELDS for payload in side.payloads] for side in (before, after))
    )
    return map(FrameDiff, ids, map(tuple, fields), repeat(before), repeat(after), count())


class DiffStats(msgspec.Struct, frozen=True):
    """Counts and statistics of a diff.

    Attributes
    ----------
    added, removed, changed : int
        Number of frames.
    labels_gained, labels_lost : dict of str to int
        Increase and decrease of the number of annotations, by label.
    old, new : Statistics
        Statistics of both versions.
    """

    added: int
    removed: int
    changed: int
    labels_gained: dict[str, int]
    labels_lost: dict[str, int]
    old: Statistics
    new: Statistics

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON-like values."""
        return msgspec.to_builtins(self)

    def label_changes(self) -> list[tuple[str, int]]:
        """Return the labels whose number of annotations changed, and by how many; the largest changes first."""
        changes = {name: -count for name, count in self.labels_lost.items()} | self.labels_gained
        return sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))

    def __repr__(self) -> str:
        counts = f"added={self.added}, removed={self.removed}, changed={self.changed}"
        return f"DiffStats({counts}, labels_gained={self.labels_gained}, labels_lost={self.labels_lost})"


class Diff:
    """The differences between two versions. It is true if there are any.

    Attributes
    ----------
    added, removed, changed : FrameDiffs
        Frames, in log order. Counts and ids are known; contents are read on access.
    names : tuple of str
        Names of the old and the new version.
    """

    def __init__(
        self,
        frames: FrameDiffs,
        names: tuple[str, str],
        statistics: Callable[[], tuple[Statistics, Statistics]],
    ) -> None:
        self.added = frames.of(Outcome.ADDED)
        self.removed = frames.of(Outcome.REMOVED)
        self.changed = frames.of(Outcome.CHANGED)
        self.names = names
        self._statistics = statistics

    @cached_property
    def stats(self) -> DiffStats:
        """Numbers of frames, labels gained and lost, and the statistics of both versions."""
        old, new = self._statistics()
        before, after = ({each["name"]: each["count"] for each in stats.labels} for stats in (old, new))
        return DiffStats(
            added=len(self.added),
            removed=len(self.removed),
            changed=len(self.changed),
            labels_gained=_gained(before, after),
            labels_lost=_gained(after, before),
            old=old,
            new=new,
        )

    def to_dict(self, *, frames: bool = False) -> dict[str, Any]:
        """Return the diff as plain JSON-like values.

        Parameters
        ----------
        frames : bool
            Include the contents of the frames, not only their ids.
        """
        found: dict[str, Any] = {"old": self.names[0], "new": self.names[1], "stats": self.stats.to_dict()}
        for name, part in (("added", self.added), ("removed", self.removed), ("changed", self.changed)):
            found[name] = [each.to_dict() for each in part] if frames else part.ids
        return found

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __repr__(self) -> str:
        counts = f"added={len(self.added)}, removed={len(self.removed)}, changed={len(self.changed)}"
        return f"Diff({' -> '.join(map(shorten, self.names))}, {counts})"

    def _repr_html_(self) -> str:
        from .html import diff_card

        return diff_card(self)

    def __str__(self) -> str:
        """Return a short summary: changes of labels, each with a bar, and numbers of frames."""
        stats = self.stats
        shown = [(printable(name), change) for name, change in stats.label_changes()]
        most = max((abs(change) for _, change in shown), default=0)
        width = max((len(name) for name, _ in shown), default=0)
        lines = [
            f" {name:<{width}} | {change:+,} {_bar(change, most)}" for name, change in shown[:_SHOWN_LABELS]
        ]
        if len(shown) > _SHOWN_LABELS:
            lines.append(f" ... and {len(shown) - _SHOWN_LABELS} more labels")
        counts = f"{stats.added:,} added, {stats.changed:,} changed, {stats.removed:,} removed"
        return "\n".join([" -> ".join(map(printable, self.names)), *lines, f" frames: {counts}"])


class VersionState:
    """One of the compared versions. Its state is fixed now, because a draft may change while the diff is read."""

    def __init__(self, session: Session, version_id: str) -> None:
        row = version_by_id(session, version_id)
        self.session = session
        self.version_id = row.version_id
        dataset = find_dataset(session, dataset_id=row.dataset_id)
        self.name = f"{dataset.name}@{row.name}{session.when}"
        current = session.states.read(version_id)
        self.state = current.branch(current.position)

    def __str__(self) -> str:
        return version_text(self.session, self.version_id)

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the fixed state."""
        found = self.session.states.fingerprint(self.version_id)
        return found if found.position == self.state.last_position else fingerprint(self.state)

    def statistics(self) -> Statistics:
        """Return the statistics of the fixed state."""
        counts = self.session.version_counts(self.version_id)
        if self.session.states.current(self.version_id).last_position != self.state.last_position:
            moment = max(self.state.position, self.state.last_position)
            counts = self.session.at(moment).version_counts(self.version_id)
        return Statistics.from_counts(counts)


def diff_versions(old: VersionState, new: VersionState) -> Diff:
    """Return the changes from one version to another; see `DatasetVersion.diff`."""
    if not _is_same_log(old.session.log, new.session.log):
        raise UsageError(
            f"{old} is in another log ({old.session.log.name}) than {new} ({new.session.log.name}): "
            "only versions of the same log can be compared"
        )
    states = old.state, new.state
    difference = compare(*states, old.fingerprint, new.fingerprint)
    later = max(old, new, key=lambda side: side.state.last_position)
    frames = FrameDiffs(later.session.log, *states, difference)
    return Diff(frames, (old.name, new.name), lambda: (old.statistics(), new.statistics()))


def _is_same_log(one: Log, other: Log) -> bool:
    """Whether two logs are equal up to the end of the shorter one. Copies that diverged are not."""
    if one is other:
        return True
    position = min(one.head().position, other.head().position)
    same_end = not position or one.batch_at(position).digest == other.batch_at(position).digest
    return one.uuid == other.uuid and same_end


def _bar(change: int, most: int) -> str:
    length = max(1, round(_BAR * abs(change) / most)) if most > _BAR else abs(change)
    return ("+" if change > 0 else "-") * length


def _labels(wire: Wire | None) -> Counter[str]:
    return Counter(label for roi in (wire or {}).get("rois", ()) for label in roi.get("label", ()))


def _gained(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that increased and by how much, largest first."""
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {
        name: count
        for name, count in sorted(grown.items(), key=lambda item: (-item[1], item[0]))
        if count > 0
    }
