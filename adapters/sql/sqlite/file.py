"""Checks a SQLite file before SQLite opens it: its type, its size, and its owner."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from ....engine.errors import IntegrityError, UsageError
from ....engine.storage import held_files

LOG_MARK = int.from_bytes(b"FLlg", "big")
PROJECTIONS_MARK = int.from_bytes(b"FLpr", "big")
"""Application ids (`PRAGMA application_id`) of our files. A damaged file may be replaced only if it has the second."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_BESIDE = {"-wal": b"\x37\x7f\x06", "-journal": b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"}
"""First bytes of the files beside a database. SQLite deletes them if the database is empty."""

_BESIDE_SUFFIXES = ("-wal", "-journal", "-shm")


def check_file(path: Path, *, durable: bool) -> None:
    """Raise an error if a path cannot be that of a database.

    Parameters
    ----------
    durable : bool
        The file is a log, so changes in the files beside it must not be lost.

    Raises
    ------
    UsageError
        The path is not a regular file, or SQLite would delete a foreign file beside it.
    IntegrityError
        The file is not a SQLite database, or was emptied.
    """
    for suffix in _BESIDE_SUFFIXES:
        _require_regular(path.with_name(path.name + suffix))
    # The files beside it first: another process may be creating all of them, the database before the others.
    beside = {suffix: header_of(path.with_name(path.name + suffix)) for suffix in _BESIDE}
    try:
        found = path.stat()
    except FileNotFoundError:
        found = None
    if found and stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is a folder, not a database file")
    if found and not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file: pass another one")
    if found and found.st_nlink > 1:
        # Each name has its own write-ahead log: what is written under one name is lost under the others.
        raise UsageError(
            f"{path} has {found.st_nlink} hard links, but SQLite needs a file with a single name: copy the file, "
            f"and move the copy in its place"
        )
    if found is None or found.st_size == 0:
        _check_beside(path, beside, durable=durable)
    elif not header_of(path).startswith(_MAGIC):
        raise IntegrityError(f"{path} is not a SQLite database: restore it from a copy", file=str(path))


def _require_regular(path: Path) -> None:
    """Raise `UsageError` if a file is not regular: SQLite would wait forever for a FIFO."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} must be a regular file that SQLite wrote: delete it")


def _check_beside(path: Path, starts: Mapping[str, bytes], *, durable: bool) -> None:
    for suffix, start in starts.items():
        beside, magic = path.with_name(path.name + suffix), _BESIDE[suffix]
        if durable and suffix == "-wal" and start:
            raise IntegrityError(
                f"{path} is missing or empty, but {beside} has uncommitted changes of it: restore both from a copy",
                file=str(path),
            )
        # An incomplete journal begins with zeros.
        if start[: len(magic)].strip(b"\0") and not start.startswith(magic):
            raise UsageError(f"{beside} is not a file of SQLite, which would delete it: move it elsewhere")


def header_of(path: Path) -> bytes:
    """Return the first bytes of a file; empty if it is missing."""
    return held_files.read_start(path, _HEADER_BYTES)


def mark_of(path: Path) -> int:
    """Return the application id in the header of a SQLite file; 0 if there is none."""
    header = header_of(path)
    return int.from_bytes(header[68:72], "big") if header.startswith(_MAGIC) else 0


def check_size(path: Path) -> None:
    """Raise `IntegrityError` if a file is shorter than its header says. Nobody may be writing it."""
    header = header_of(path)
    wal = path.with_name(path.name + "-wal")
    if not header or (wal.exists() and wal.stat().st_size):
        return
    page_size = int.from_bytes(header[16:18], "big")
    expected = (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    size = path.stat().st_size
    if size < expected:
        raise IntegrityError(
            f"{path} is truncated: it has {size} of {expected} bytes; restore it from a copy", file=str(path)
        )
