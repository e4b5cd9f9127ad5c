"""The current session: that of the running context, of the process, or one that is found."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from ...engine import forks
from ...engine.errors import UsageError
from . import location

if TYPE_CHECKING:
    from .session import Session

_entered: ContextVar[tuple[Session, ...]] = ContextVar("framelode_sessions", default=())
_active: list[Session] = []
"""The sessions that were made current in this process, the latest last. This is the only module state."""


def _renew() -> None:
    global _lock  # noqa: PLW0603 - a lock of the process
    _lock = threading.Lock()


forks.renewed(_renew)


def connected_session() -> Session | None:
    """Return the session of the running context or else of the process, or None."""
    entered = _entered.get()
    if entered:
        return entered[-1]
    with _lock:
        return _active[-1] if _active else None


def current_session(explicit: str | None = None) -> Session:
    """Return the current session, or open one; see `current_engine`.

    Parameters
    ----------
    explicit : str, optional
        Folder or URL of the engine.

    Raises
    ------
    UsageError
        No engine was found; none is created.
    """
    if explicit is None and (session := connected_session()) is not None:
        return session
    url = location.find(explicit)
    if url is None:
        raise UsageError(location.not_found())
    if url == location.IN_MEMORY:
        raise UsageError(
            "an engine in memory ends with its process: pass a folder, or use connect() in Python"
        )
    location.require(url)
    from .session import open_session

    session = open_session(url)
    activate(session)
    return session


class HasSession(Protocol):
    """An object with a session: an `Engine`."""

    session: Session


def session_of(given: HasSession | Session | None) -> Session:
    """Return the session of an `Engine`, the session itself, or the current one for None."""
    from .session import Session

    if given is None:
        return current_session()
    return given if isinstance(given, Session) else given.session


def enter(session: Session) -> None:
    """Make a session the current one of the running context."""
    _entered.set((*_entered.get(), session))


def leave(session: Session) -> None:
    """Undo `enter` and `activate`. Raises `UsageError` if the session was not entered."""
    entered = _entered.get()
    if session not in entered:
        raise UsageError(f"{session!r} was not entered: use `with engine:`")
    last = len(entered) - 1 - entered[::-1].index(session)
    _entered.set(entered[:last] + entered[last + 1 :])
    deactivate(session)


@contextmanager
def entered(session: Session) -> Generator[None, None, None]:
    """Make a session the current one for a block."""
    token = _entered.set((*_entered.get(), session))
    try:
        yield
    finally:
        _entered.reset(token)


def activate(session: Session) -> None:
    """Make a session the current one of the process."""
    with _lock:
        _active.append(session)


def deactivate(session: Session) -> None:
    """Undo every `activate` of a session. The session that was activated before becomes current again."""
    with _lock:
        _active[:] = [each for each in _active if each is not session]
