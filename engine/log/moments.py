"""Moments of a log: a position, or a time that stands for the last position recorded at or before it."""

from __future__ import annotations

from datetime import date, datetime
from numbers import Integral

from ..errors import UsageError
from ..times import iso_time, microseconds
from ..validation import shorten
from .contract import Log

Moment = int | datetime
"""A position, 0 for before the first event; or an aware datetime."""

_ALLOWED = "a position (a whole number) or an aware datetime"


def position_at(log: Log, moment: Moment) -> int:
    """Return the position that a moment stands for.

    Times never run backwards along the log, so that a time stands for all that was recorded until then.

    Raises
    ------
    UsageError
        The position is none of the log, the datetime has no time zone, or it is something else.
    """
    if isinstance(moment, datetime):
        return _last_recorded(log, _time(moment))
    if isinstance(moment, bool) or not isinstance(moment, Integral):
        hint = "; give a datetime with its time zone" if isinstance(moment, date) else ""
        raise UsageError(f"a moment must be {_ALLOWED}, not {shorten(moment)}{hint}")
    head = log.head().position
    if not 0 <= moment <= head:
        raise UsageError(f"there is no position {shorten(moment)}: the log has the positions 0 to {head}")
    return int(moment)


def parse_moment(text: str) -> Moment:
    """Read ``POSITION`` or an ISO 8601 time with its offset, such as ``2026-03-01T12:00:00Z``.

    Raises
    ------
    UsageError
        The text is neither.
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return int(stripped)
    try:
        time = datetime.fromisoformat(stripped)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no moment: give a position, or an ISO time such as 2026-03-01T12:00:00Z"
        ) from error
    if time.utcoffset() is None:
        raise UsageError(
            f"{text!r} has no time zone: write {time.isoformat()}Z for UTC, or an offset such as +02:00"
        )
    return time


def describe_moment(position: int, recorded_at: int) -> str:
    """Return how messages name a moment."""
    return f"position {position} ({iso_time(recorded_at) if position else 'before the first event'})"


def _time(moment: datetime) -> int:
    if moment.utcoffset() is None:
        raise UsageError(
            f"the datetime {moment.isoformat()} has no time zone: write moment.replace(tzinfo=timezone.utc) if it is "
            "UTC, or moment.astimezone() if it is local time"
        )
    return microseconds(moment)


def _last_recorded(log: Log, time: int) -> int:
    """Return the last position recorded at or before a time: a binary search over the batches."""
    head = log.head()
    if head.recorded_at <= time:
        return head.position
    low, high = 0, head.position
    # All up to `low` was recorded by then, and what is at `high` later.
    while high - low > 1:
        batch = log.batch_at((low + high) // 2)
        if batch.recorded_at <= time:
            low = batch.last_position
        else:
            high = batch.first_position
    return low
