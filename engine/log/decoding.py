"""Pauses the cyclic garbage collector during short bursts of allocation."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Generator[None, None, None]:
    """Pause the garbage collector while one block is decoded.

    The many small objects are soon freed by reference counting. A collection that they trigger would traverse all objects
    of the caller, which takes longer than the decoding.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
