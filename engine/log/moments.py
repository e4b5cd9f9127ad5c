"""Points in time of a log: a position, or a time that selects the last position recorded at or before it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from numbers import Integral

from ..errors import UsageError
from ..times import iso_time, microseconds
from ..validation import shorten
from .contract import Log

Moment = int | datetime
"""A point in time: a position, where 0 is before the first event, or an aware datetime."""

_ALLOWED = "a position (an integer) or an aware datetime"
_WRITTEN = (
    "a position, a time such as 2026-03-01T12:00:00Z, a day such as 2026-03-01, today or yesterday, "
    "or a time ago such as '2 days ago'"
)
_AGO = r"(?a)(\d{1,6}) ?(second|minute|hour|day|week)s? ago"
_DATE = r"(?a)\d{4}-\d{2}-\d{2}"
_DAYS = {"today": timedelta(0), "yesterday": timedelta(days=1)}
_POSITION_DIGITS = 19


def position_at(log: Log, moment: Moment) -> int:
    """Return the position of a point in time.

    Times never decrease along the log, so a time selects everything recorded until then.

    Raises
    ------
    UsageError
        The log does not have the position, the datetime has no time zone, or the value is neither of them.
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


def parse_moment(text: str, *, day_ends: bool = True, now: datetime | None = None) -> Moment:
    """Parse a point in time.

    A position; an ISO 8601 time with a UTC offset, such as ``2026-03-01T12:00:00Z``; a day (``2026-03-01``, ``today`` or
    ``yesterday``) of the local time zone; a time ago, such as ``2 days ago``; or ``now``.

    Parameters
    ----------
    text : str
        The point in time.
    day_ends : bool
        Whether a day means its end (everything recorded until then) or its start.
    now : datetime, optional
        The current time. By default that of the system clock.

    Raises
    ------
    UsageError
        The string is none of these.
    """
    given = " ".join(text.lower().split())
    if given.isascii() and given.isdigit():
        return _position(given, text)
    now = datetime.now(UTC) if now is None else now
    if given == "now":
        return now
    try:
        if ago := re.fullmatch(_AGO, given):
            return now - timedelta(**{f"{ago[2]}s": int(ago[1])})
        if given in _DAYS:
            return _in_day(now.astimezone().date() - _DAYS[given], ends=day_ends)
        if re.fullmatch(_DATE, given):
            return _in_day(date.fromisoformat(given), ends=day_ends)
        time = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{shorten(text)} is not a point in time: write {_WRITTEN}") from error
    if time.utcoffset() is None:
        raise UsageError(
            f"{text!r} has no time zone: write {time.isoformat()}Z for UTC, or an offset such as +02:00"
        )
    return time


def _position(digits: str, text: str) -> int:
    if len(digits) > _POSITION_DIGITS:
        raise UsageError(f"{shorten(text)} is not a point in time: no log has that many positions")
    return int(digits)


def _in_day(day: date, *, ends: bool) -> datetime:
    """Return the first or the last microsecond of a day of the local time zone."""
    return datetime.combine(day, time_of_day.max if ends else time_of_day.min).astimezone()


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
    """Return the last position recorded at or before a time, by binary search over the batches."""
    head = log.head()
    if head.recorded_at <= time:
        return head.position
    low, high = 0, head.position
    # Everything up to `low` was recorded by then, everything from `high` on later.
    while high - low > 1:
        batch = log.batch_at((low + high) // 2)
        if batch.recorded_at <= time:
            low = batch.last_position
        else:
            high = batch.first_position
    return low
