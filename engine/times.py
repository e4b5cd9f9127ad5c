"""Times of the log: UTC, integer microseconds since 1970."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from .errors import UnreadableError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""The last time that can be told."""


def system_clock() -> int:
    """Return the time now."""
    return time.time_ns() // 1000


def utc(microseconds: int, position: int | None = None) -> datetime:
    """Return a time as an aware datetime.

    Parameters
    ----------
    microseconds : int
        UTC microseconds since 1970.
    position : int, optional
        Position of what was recorded then, for errors.

    Raises
    ------
    UnreadableError
        The time is outside of the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        where = "" if position is None else f" at position {position}"
        message = f"the time {microseconds}{where} is outside of the years 1 to 9999"
        raise UnreadableError(message, position=position) from error


def microseconds(time: datetime) -> int:
    """Return a datetime as microseconds since 1970. Without a time zone it is in UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def iso_time(microseconds: int, position: int | None = None) -> str:
    """Return a time as ISO 8601 text with microseconds; see `utc`."""
    return utc(microseconds, position).isoformat(timespec="microseconds")
