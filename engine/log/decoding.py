"""Pauses the cyclic garbage collector while many objects are made."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

_pauses: list[None] = []
"""One item for each pause that goes on in this process."""


@contextmanager
def gc_paused() -> Generator[None, None, None]:
    """Pause the garbage collector while one block is decoded.

    The many small objects are soon freed by reference counting. A collection that they trigger would traverse all objects
    of the caller, which takes longer than the decoding.
    """
    enabled = gc.isenabled()
    if enabled:
        _pauses.append(None)
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
            _pauses.pop()


@contextmanager
def importing() -> Generator[None, None, None]:
    """Pause the garbage collector while modules are imported. What they make stays, so it counts as old afterwards."""
    with gc_paused():
        yield
        if gc.isenabled() or not _pauses or gc.get_freeze_count():
            return
        # Together they move all objects to the oldest generation, without a look at each.
        gc.freeze()
        gc.unfreeze()


def _enable_in_child() -> None:
    """Enable the garbage collector in a child that was forked during a pause of another thread."""
    if _pauses:
        _pauses.clear()
        gc.enable()


os.register_at_fork(after_in_child=_enable_in_child)
