"""Recreates locks, caches and connections after a fork.

In the child process only the forking thread continues. A lock that another thread held would stay locked forever. So each
object with a lock or a cache recreates both in the child. No other thread may be inside a database call during the fork,
because the libraries below have their own locks.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  # pyright: ignore[reportUnusedImport] - its handler must not run before ours
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

_PATIENCE_SECONDS = 60.0
"""Time that a fork waits for other threads to leave the databases; the same as the lock timeout of a writer."""

_POLL_SECONDS = 0.0005
_GIVE_WAY_SECONDS = 0.05
"""Time that a thread lets a pending fork go first before it uses a database. It may hold a lock that others need."""

_References = dict[int, Callable[[], Any]]
"""Weak references, by number. They return None when the object is gone."""

_numbers = itertools.count()
_locks: _References = {}
_before: _References = {}
_in_child: _References = {}
_busy: set[int] = set()
_held: list[Any] = []
_one_at_a_time = threading.Lock()
pending = threading.Event()
"""Set while a fork waits for other threads. Call `give_way` before taking a lock of this module."""


def renewed(renew: Callable[[], object]) -> None:
    """Call a method now, and in every child forked from now on while its object exists.

    Parameters
    ----------
    renew : method or function
        Creates the locks and empties the caches of its object. It must not block.
    """
    in_child(renew)
    renew()


def in_child(renew: Callable[[], object]) -> None:
    """Call a method in every child forked from now on while its object exists."""
    _register(_in_child, renew)


def before_fork(prepare: Callable[[], object]) -> None:
    """Call a method before each fork, when no other thread uses a database."""
    _register(_before, prepare)


def lock() -> Any:
    """Return a lock that a fork acquires first, so that no thread is inside what it guards. Call `give_way` before it."""
    made = threading.RLock()
    _add(_locks, lambda gone: weakref.ref(made, gone))
    return made


def give_way() -> None:
    """Let a pending fork go first, unless this thread already uses a database."""
    if not pending.is_set() or any(map(_is_mine, _existing(_locks))):
        return
    end = time.monotonic() + _GIVE_WAY_SECONDS
    while pending.is_set() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)


def is_busy(*locks: Any) -> bool:
    """Whether one of some locks was held when the fork began and could not be acquired."""
    return any(id(each) in _busy for each in locks)


def _register(references: _References, call: Callable[[], object]) -> None:
    method: Any = call
    if hasattr(call, "__self__"):
        _add(references, lambda gone: _Method(weakref.ref(method.__self__, gone), method.__func__))
    else:
        _add(references, lambda gone: weakref.ref(method, gone))


class _Method(NamedTuple):
    """A weak reference to a method. `weakref.WeakMethod` raises errors when the interpreter exits before the object."""

    owner: weakref.ReferenceType[Any]
    function: Callable[[Any], object]

    def __call__(self) -> Callable[[], object] | None:
        """Return the method; None if its object is gone."""
        owner = self.owner()
        return None if owner is None else partial(self.function, owner)


def _add(references: _References, refer: Callable[[Any], Callable[[], Any]]) -> None:
    number = next(_numbers)
    # The registries need no lock: a single dict statement is atomic.
    references[number] = refer(lambda _: references.pop(number, None))


def _existing(references: _References) -> list[Any]:
    return [found for reference in list(references.values()) if (found := reference()) is not None]


def _is_mine(held: Any) -> bool:
    return held._is_owned()  # noqa: SLF001 - as threading.Condition asks


def _hold() -> bool:
    """Acquire all locks, or as many as possible. Waiting for one while holding others could deadlock."""
    locks = _existing(_locks)
    _busy.clear()
    _busy.update(id(each) for each in locks if _is_mine(each))
    for each in locks:
        if each.acquire(blocking=False):
            _held.append(each)
        else:
            _busy.add(id(each))
    return len(_held) == len(locks)


def _release() -> None:
    while _held:
        _held.pop().release()


def _prepare() -> None:
    _one_at_a_time.acquire()
    pending.set()
    end = time.monotonic() + _PATIENCE_SECONDS
    while not _hold() and time.monotonic() < end:
        _release()
        time.sleep(_POLL_SECONDS)
    for prepare in _existing(_before):
        prepare()


def _go_on() -> None:
    pending.clear()
    _release()
    _one_at_a_time.release()


def _renew_all() -> None:
    with ExitStack() as stack:
        # In reverse order. Each is called even if another one fails.
        stack.callback(_go_on)
        for renew in reversed(_existing(_in_child)):
            stack.callback(renew)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare, after_in_parent=_go_on, after_in_child=_renew_all)
