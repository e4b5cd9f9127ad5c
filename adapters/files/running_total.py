"""A number in a file, changed by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...engine.storage.modes import create_file

_DIGITS = 20


def change_total(path: Path, change: Callable[[int | None], int]) -> None:
    """Replace the number in a file, under a lock.

    Parameters
    ----------
    path : Path
        The file, created if missing.
    change : callable
        Returns the new number for the old one, which is None if the file has none.
    """
    with suppress(FileExistsError):
        os.close(create_file(path))
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = os.pread(descriptor, _DIGITS + 1, 0)
        os.pwrite(descriptor, b"%0*d" % (_DIGITS, change(int(found) if _is_number(found) else None)), 0)
    finally:
        os.close(descriptor)


def _is_number(found: bytes) -> bool:
    return len(found) == _DIGITS and found.isdigit()
