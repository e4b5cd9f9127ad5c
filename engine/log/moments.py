"""Points in time of a log: a position, or a time that selects the last position recorded at or before it."""

from __future__ import annotations

from datetime import date, datetime
from numbers import Integral

from ..errors import UsageError
from ..times import iso_time, microseconds
from ..validation import shorten
from .contract import Log

Moment = int | datetime
"""A point in time: a position, where 0 is before the first event, or an aware datetime."""

_ALLOWED = "a position (an integer) or an aware datetime"


def position_at(log: Log, moment: Moment) -> int:
    """Return the position of a point in time.

    Times never decrease along the log, so a time selects everything recorded until then.

    Raises
    ------
    UsageError
        The log does not have the position, the datetime has no time zone, or it is neither of both.
    """
    if isinstance(moment, datetime):
        return _last_recorded(log, _time(moment))
    if isinstance(moment, bool) or not isinstance(moment, Integral):
        hint = "; pass a datetime with a time zone" if isinstance(moment, date) else ""
        raise UsageError(f"a point in time must be {_ALLOWED}, not {shorten(moment)}{hint}")
    head = log.head().position
    if not 0 <= moment <= head:
        raise UsageError(f"there is no position {shorten(moment)}: the log has the positions 0 to {head}")
    return int(moment)


def parse_moment(text: str) -> Moment:
    """Parse a position, or an ISO 8601 time with a UTC offset, such as ``2026-03-01T12:00:00Z``.

    Raises
    ------
    UsageError
        The string is neither.
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return int(stripped)
    try:
        time = datetime.fromisoformat(stripped)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a point in time: write a position, or an ISO time such as 2026-03-01T12:00:00Z"
        ) from error
    if time.utcoffset() is None:
        raise UsageError(
            f"{text!r} has no time zone: write {time.isoformat()}Z for UTC, or an offset such as +02:00"
        )
    return time


def describe_moment(position: int, recorded_at: int) -> str:
    """Return a point in time for messages."""
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
    # Everything up to `low` was recorded by then; everything from `high` on later.
    while high - low > 1:
        batch = log.batch_at((low + high) // 2)
        if batch.recorded_at <= time:
            low = batch.last_position
        else:
            high = batch.first_position
    return low
