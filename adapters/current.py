"""Which engine is the current one: that of the running context, else that of the process."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..engine import forks
from ..engine.errors import UsageError

if TYPE_CHECKING:
    from .connection import Engine

_entered_engines: ContextVar[tuple[Engine, ...]] = ContextVar("framelode_engines", default=())
_process_engine: Engine | None = None


def _renew() -> None:
    global _process_lock  # noqa: PLW0603 - a lock of the process
    _process_lock = threading.Lock()


forks.renewed(_renew)


def connected_engine() -> Engine | None:
    """Return the engine of the running context, else the process's; None where nobody has connected."""
    return next(reversed(_entered_engines.get()), _process_engine)


def enter(engine: Engine) -> None:
    """Make an engine that of the running context."""
    _entered_engines.set((*_entered_engines.get(), engine))


def leave(engine: Engine) -> None:
    """Undo `enter`, and `activate`; `UsageError` when the engine was not entered."""
    entered = _entered_engines.get()
    if engine not in entered:
        raise UsageError(f"{engine!r} was not entered: use `with engine:`")
    last = len(entered) - 1 - entered[::-1].index(engine)
    _entered_engines.set(entered[:last] + entered[last + 1 :])
    deactivate(engine)


def activate(engine: Engine) -> None:
    """Make an engine that of the process."""
    global _process_engine
    with _process_lock:
        engine._previous, _process_engine = _process_engine, engine  # noqa: SLF001 - kept for this module


def deactivate(engine: Engine) -> None:
    """Undo `activate`, if the engine still is that of the process."""
    global _process_engine  # noqa: PLW0603 - the one piece of module state
    with _process_lock:
        if _process_engine is engine and engine._previous is not engine:  # noqa: SLF001
            _process_engine = engine._previous  # noqa: SLF001
