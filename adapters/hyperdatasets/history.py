"""History: the changes of an engine, a version or a frame."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING

import msgspec

from ...engine.errors import InvalidValueError, NotFoundError, UsageError
from ...engine.events.registry import events_by_topic, subject_and_kind
from ...engine.keys import frame_key
from ...engine.log.moments import Moment
from ...engine.times import microseconds
from ...engine.validation import identifier, shorten, text
from ...projections.history.changes import (
    Change,
    frame_steps,
    step_change,
    stream_changes,
)
from ...projections.history.table import HistoryQuery
from ...projections.states.fold import POSITION
from ...projections.tables.catalog import VersionRow
from ..display.html import CardList
from ..session.session import Session
from .html import changes_card
from .selectors import exclusive, find_dataset

if TYPE_CHECKING:
    from .dataset import Dataset
    from .version import DatasetVersion

_PAGE = 256
_LAST_POSITION = 2**63 - 1


class HistoryArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The filter arguments of `Engine.history` and `DatasetVersion.history`."""

    dataset: Dataset | str | None = None
    project: str | None = None
    version: DatasetVersion | str | None = None
    actor: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    kinds: str | Iterable[str] | None = None
    newest_first: bool = False


def engine_history(session: Session, asked: HistoryArguments, limit: int | None) -> Iterator[Change]:
    """Yield the changes; see `Engine.history`."""
    return islice(_changes(session, wanted_history(session, asked)), _check_limit(limit))


def version_history(
    session: Session, version_id: str, frame_id: str | None, asked: HistoryArguments, limit: int | None
) -> list[Change] | Iterator[Change]:
    """Return the changes of a version or of one of its frames; see `DatasetVersion.history`."""
    wanted = _wanted(session, asked)
    most = _check_limit(limit)
    row = _row_of(session, version_id)
    if frame_id is None:
        return islice(_line_changes(session, row, wanted), most)
    return _frame_history(session, row, identifier(frame_id, "frame_id"), wanted, most)


def wanted_history(session: Session, asked: HistoryArguments) -> HistoryQuery:
    """Return the query for the given arguments."""
    wanted = _wanted(session, asked)
    if asked.dataset is not None:
        dataset_id = _dataset_id(session, asked.dataset, asked.project)
        wanted = msgspec.structs.replace(wanted, dataset_id=dataset_id)
    elif asked.project is not None:
        raise UsageError("project only selects a dataset by its name: pass dataset= as well")
    if asked.version is not None:
        stream_id = _row_of(session, _version_id(asked.version)).version_id
        wanted = msgspec.structs.replace(wanted, stream_id=stream_id)
    return wanted


def _dataset_id(session: Session, dataset: Dataset | str, project: str | None) -> str:
    from .dataset import Dataset

    if isinstance(dataset, Dataset):
        exclusive(dataset=dataset.id, project=project)
        return dataset.id
    return find_dataset(session, dataset_name=text(dataset, "dataset"), dataset_project=project).dataset_id


def _version_id(version: DatasetVersion | str) -> str:
    from .version import DatasetVersion

    return version.version_id if isinstance(version, DatasetVersion) else text(version, "version")


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


def last_event(session: Session, row: VersionRow, frame_id: str) -> int:
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
    steps = frame_steps(session.log, last_event(session, row, frame_id))
    changes = (
        step_change(session.log, row.dataset_id, frame_id, step)
        for step in steps
        if wanted.includes(step.position, step.topic, step.header)
    )
    if wanted.newest_first:
        return CardList(islice(changes, limit), changes_card)
    return CardList(list(changes)[::-1][:limit], changes_card)


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
