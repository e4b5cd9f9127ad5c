"""Pauses the cyclic garbage collector during short bursts of allocation."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Generator[None, None, None]:
    """Pause the collector while one block is decoded.

    Its many small objects are freed by reference count right after; a collection set off by them would walk all
    that the caller holds, which takes longer than the decoding.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
