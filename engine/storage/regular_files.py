"""Opens regular files. A FIFO, a socket or a device raises an error instead of blocking."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from ..errors import IntegrityError
from . import held_files

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading. Raises `IntegrityError` for any other kind of file, without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise _not_regular(path, os.stat(path).st_mode) from None  # noqa: PTH116
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return held_files.opened(descriptor)
    os.close(descriptor)
    raise _not_regular(path, mode)


def _not_regular(path: str, mode: int) -> IntegrityError:
    kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
    return IntegrityError(f"{path} is {kind}, not a regular file: delete it", file=path)
