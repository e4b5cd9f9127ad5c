"""Times of the log: UTC, integer microseconds since 1970."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""The last time that can be told."""


def system_clock() -> int:
    """Return the time now."""
    return time.time_ns() // 1000


def utc(microseconds: int) -> datetime:
    """Return a time as an aware datetime."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(time: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def iso_time(microseconds: int) -> str:
    """Return a time as ISO 8601 text with microseconds."""
    return utc(microseconds).isoformat(timespec="microseconds")
