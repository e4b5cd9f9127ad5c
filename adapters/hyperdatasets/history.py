"""Queries of the past: history of an engine, a version or a frame; blame; and diff."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from numbers import Integral
from typing import TYPE_CHECKING, overload

import msgspec

from ...engine.errors import InvalidValueError, NotFoundError, UsageError
from ...engine.events.registry import events_by_topic, subject_and_kind
from ...engine.keys import frame_key
from ...engine.log.contract import Log
from ...engine.log.moments import Moment
from ...engine.times import microseconds
from ...engine.validation import identifier, shorten, text
from ...projections.history.changes import (
    Change,
    FrameStep,
    frame_steps,
    payload_wire,
    step_change,
    stream_changes,
)
from ...projections.history.table import HistoryQuery
from ...projections.states.diff import compare
from ...projections.states.fingerprint import Fingerprint, fingerprint
from ...projections.states.fold import POSITION
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .blame import Blame, build_blame
from .diff import Diff, FrameDiffs
from .selectors import exclusive, find_dataset
from .statistics import Statistics
from .version_base import VersionBase

if TYPE_CHECKING:
    from .dataset import Dataset

_PAGE = 256
_LAST_POSITION = 2**63 - 1


class FrameHistory(VersionBase):
    """The methods that query the past."""

    @overload
    def history(
        self,
        frame_id: None = None,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> Iterator[Change]: ...

    @overload
    def history(
        self,
        frame_id: str,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> list[Change]: ...

    def history(
        self,
        frame_id: str | None = None,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        as_of: Moment | None = None,
    ) -> list[Change] | Iterator[Change]:
        """Return the changes of a frame or of the whole version, oldest first, including inherited ones (extension).

        The changes of a frame are found by following the link from each change to the one that it replaced, so the size
        of the log does not matter. The changes of a version are streamed: first the changes of its ancestors that the
        version inherited, then its own. After a version is removed, its history is available through existing objects and
        through `Engine.history`.

        Parameters
        ----------
        frame_id : str, optional
            Id of a frame, which may be deleted. By default all changes of the version.
        actor : str, optional
            Only changes by this actor.
        since, until : int or datetime, optional
            First and last position, or datetimes with a time zone; both inclusive.
        kinds : str or iterable of str, optional
            Kinds of changes, such as ``"updated"`` or ``"published"``.
        newest_first : bool
            Return the latest change first.
        limit : int, optional
            Maximum number of changes.
        as_of : int or datetime, optional
            Read the history at a position or an aware datetime.

        Returns
        -------
        list or iterator of Change
            A list for a frame, an iterator for the whole version.

        Raises
        ------
        NotFoundError
            The version never had the frame.
        UsageError
            `since` or `until` is not a position or an aware datetime, or `limit` is not an integer of at least 0.
        InvalidValueError
            One of `kinds` is unknown.
        """
        session = self._session.at(as_of)
        asked = HistoryArguments(
            actor=actor, since=since, until=until, kinds=kinds, newest_first=newest_first
        )
        wanted = _wanted(session, asked)
        most = _check_limit(limit)
        row = _row_of(session, self._id)
        if frame_id is None:
            return islice(_line_changes(session, row, wanted), most)
        return _frame_history(session, row, identifier(frame_id, "frame_id"), wanted, most)

    def blame(self, frame_id: str, *, as_of: Moment | None = None) -> Blame:
        """Return which change set each annotation, label, field and metadata key of a frame (extension).

        Parameters
        ----------
        frame_id : str
            Id of the frame.
        as_of : int or datetime, optional
            Read the frame at a position or an aware datetime.

        Raises
        ------
        NotFoundError
            The version does not have the frame.
        """
        session = self._session.at(as_of)
        row = self._row_in(session)
        key = identifier(frame_id, "frame_id")
        position = _last_event(session, row, key)
        steps = frame_steps(session.log, position)
        last = next(steps)
        wire = payload_wire(key, last.stored.payload, position)
        if wire is None:
            raise NotFoundError(
                f"frame {shorten(frame_id)} was deleted from version {shorten(row.name)} at {position}"
            )

        def change_of(step: FrameStep) -> Change:
            return step_change(session.log, row.dataset_id, key, step)

        return build_blame(key, wire, chain((last,), steps), change_of)

    def diff(self, old: VersionBase) -> Diff:
        """Return the changes from another version, or from an earlier state of this one, to this version (extension).

        History that both versions share is skipped, so the cost depends only on the number of changes since then.

        Parameters
        ----------
        old : DatasetVersion
            The version to compare with, from any dataset of the same log.

        Raises
        ------
        UsageError
            `old` is not a version, or is in another log.
        """
        if not isinstance(old, VersionBase):
            raise UsageError(f"diff needs a DatasetVersion to compare with, not {shorten(old)}")
        before, after = _Side(old), _Side(self)
        logs = before.engine.log, after.engine.log
        if not _is_same_log(*logs):
            raise UsageError(
                f"{old!r} is in another log ({logs[0].name}) than {self!r} ({logs[1].name}): "
                "only versions of the same log can be compared"
            )
        states = before.state, after.state
        difference = compare(*states, before.fingerprint, after.fingerprint)
        later = max(before, after, key=lambda side: side.state.last_position)
        frames = FrameDiffs(later.engine.log, *states, difference)
        return Diff(frames, (before.name, after.name), lambda: (before.statistics(), after.statistics()))


def _is_same_log(one: Log, other: Log) -> bool:
    """Whether two logs are equal up to the end of the shorter one. Copies that diverged are not."""
    if one is other:
        return True
    position = min(one.head().position, other.head().position)
    same_end = not position or one.batch_at(position).digest == other.batch_at(position).digest
    return one.uuid == other.uuid and same_end


class _Side:
    """One of the compared versions. Its state is fixed now, because a draft may change while the diff is read."""

    def __init__(self, handle: VersionBase) -> None:
        row = handle._row()  # noqa: SLF001 - of this package
        self.engine = handle._session  # noqa: SLF001
        self._id = row.version_id
        self.name = f"{handle.dataset_name}@{row.name}{self.engine.when}"
        current = self.engine.states.read(self._id)
        self.state = current.branch(current.position)

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the fixed state."""
        found = self.engine.states.fingerprint(self._id)
        return found if found.position == self.state.last_position else fingerprint(self.state)

    def statistics(self) -> Statistics:
        """Return the statistics of the fixed state."""
        counts = self.engine.version_counts(self._id)
        if self.engine.states.current(self._id).last_position != self.state.last_position:
            moment = max(self.state.position, self.state.last_position)
            counts = self.engine.at(moment).version_counts(self._id)
        return Statistics.from_counts(counts)


class HistoryArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The filter arguments of `Engine.history` and `DatasetVersion.history`."""

    dataset: Dataset | str | None = None
    project: str | None = None
    version: VersionBase | str | None = None
    actor: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    kinds: str | Iterable[str] | None = None
    newest_first: bool = False


def engine_history(session: Session, asked: HistoryArguments, limit: int | None) -> Iterator[Change]:
    """Yield the changes; see `Engine.history`."""
    return islice(_changes(session, wanted_history(session, asked)), _check_limit(limit))


def wanted_history(session: Session, asked: HistoryArguments) -> HistoryQuery:
    """Return the query for the given arguments."""
    wanted = _wanted(session, asked)
    if asked.dataset is not None:
        dataset_id = _dataset_id(session, asked.dataset, asked.project)
        wanted = msgspec.structs.replace(wanted, dataset_id=dataset_id)
    elif asked.project is not None:
        raise UsageError("project only selects a dataset by its name: pass dataset= as well")
    version = asked.version
    if version is not None:
        version_id = version.version_id if isinstance(version, VersionBase) else text(version, "version")
        wanted = msgspec.structs.replace(wanted, stream_id=_row_of(session, version_id).version_id)
    return wanted


def _dataset_id(session: Session, dataset: Dataset | str, project: str | None) -> str:
    from .dataset import Dataset

    if isinstance(dataset, Dataset):
        exclusive(dataset=dataset.id, project=project)
        return dataset.id
    return find_dataset(session, dataset_name=text(dataset, "dataset"), dataset_project=project).dataset_id


def _row_of(session: Session, version_id: str) -> VersionRow:
    """Return the catalog row of a version, which may be removed."""
    row = session.version_row(version_id)
    if row is None:
        raise NotFoundError(f"there is no version with id {shorten(version_id)}{session.when}")
    return row


def _changes(session: Session, wanted: HistoryQuery) -> Iterator[Change]:
    return stream_changes(session.log, lambda last: session.history_page(wanted, last, _PAGE), wanted)


def _line_changes(session: Session, row: VersionRow, wanted: HistoryQuery) -> Iterator[Change]:
    """Yield the changes of a version: of each ancestor, those up to the position where the child was created."""
    line = [msgspec.structs.replace(wanted, stream_id=row.version_id)]
    while row.parent_id:
        last = row.created_position - 1
        until = last if wanted.until is None else min(wanted.until, last)
        line.append(msgspec.structs.replace(wanted, stream_id=row.parent_id, until=until))
        row = _row_of(session, row.parent_id)
    for part in line if wanted.newest_first else reversed(line):
        yield from _changes(session, part)


def _last_event(session: Session, row: VersionRow, frame_id: str) -> int:
    """Return the position of the last event of a frame in a version, which may be a delete."""
    state = session.states.read(row.version_id)
    position = state.locate(frame_key(frame_id))[0] & int(POSITION)
    if not position:
        raise NotFoundError(
            f"version {shorten(row.name)} ({row.version_id}) never had a frame {shorten(frame_id)}"
        )
    return position


def _frame_history(
    session: Session, row: VersionRow, frame_id: str, wanted: HistoryQuery, limit: int | None
) -> list[Change]:
    steps = frame_steps(session.log, _last_event(session, row, frame_id))
    changes = (
        step_change(session.log, row.dataset_id, frame_id, step)
        for step in steps
        if wanted.includes(step.position, step.topic, step.header)
    )
    if wanted.newest_first:
        return list(islice(changes, limit))
    return list(changes)[::-1][:limit]


def _wanted(session: Session, asked: HistoryArguments) -> HistoryQuery:
    head = session.log.head().position
    first, first_time = _bound(asked.since, "since")
    last, last_time = _bound(asked.until, "until")
    return HistoryQuery(
        actor=None if asked.actor is None else text(asked.actor, "actor"),
        topics=None if asked.kinds is None else _topics(asked.kinds),
        since=first,
        # Events that are appended while the history is read are not included.
        until=head if last is None else min(last, head),
        since_time=first_time,
        until_time=last_time,
        newest_first=bool(asked.newest_first),
    )


def _bound(moment: Moment | None, name: str) -> tuple[int | None, int | None]:
    """Return a point in time as a position or as a time in microseconds."""
    if moment is None:
        return None, None
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise UsageError(
                f"{name} is {moment.isoformat()}, which has no time zone: pass an aware datetime"
            )
        return None, microseconds(moment)
    if isinstance(moment, bool) or not isinstance(moment, Integral) or moment < 0:
        raise UsageError(f"{name} must be a position or a datetime with a time zone, not {shorten(moment)}")
    # Databases cannot store larger positions.
    return min(int(moment), _LAST_POSITION), None


def _topics(kinds: str | Iterable[str]) -> frozenset[str]:
    given = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(given, Iterable):
        raise InvalidValueError(f"kinds must be a list of kinds of changes, not {shorten(kinds)}")
    wanted = {text(kind, "kinds") for kind in given}
    known = {topic: subject_and_kind(topic)[1] for topic in events_by_topic()}
    unknown = sorted(wanted - set(known.values()))
    if unknown:
        there = ", ".join(sorted(set(known.values())))
        raise InvalidValueError(f"unknown kind of change {shorten(unknown[0])}: it must be one of {there}")
    return frozenset(topic for topic, kind in known.items() if kind in wanted)


def _check_limit(limit: int | None) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 0:
        raise UsageError(f"limit must be an integer of at least 0, not {shorten(limit)}")
    return min(int(limit), sys.maxsize)
