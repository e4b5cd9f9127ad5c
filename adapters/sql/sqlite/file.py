"""Checks a SQLite file before SQLite opens it: its type, its completeness, and its owner."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from ....engine.errors import IntegrityError, UsageError
from ....engine.storage import held_files

LOG_MARK = int.from_bytes(b"FLlg", "big")
PROJECTIONS_MARK = int.from_bytes(b"FLpr", "big")
"""The application ids (`PRAGMA application_id`) of our files: only one with the second may be replaced when it is damaged."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_BESIDE = {"-wal": b"\x37\x7f\x06", "-journal": b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"}
"""How the files begin that SQLite keeps beside a database, and deletes when the database is empty."""

_BESIDE_SUFFIXES = ("-wal", "-journal", "-shm")


def check_file(path: Path, *, durable: bool) -> None:
    """Raise when a path cannot be that of a database.

    Parameters
    ----------
    durable : bool
        It is a log: the changes that are kept beside it must not be lost.

    Raises
    ------
    UsageError
        It is no regular file, or SQLite would delete a foreign file beside it.
    IntegrityError
        It is no SQLite database, or was emptied.
    """
    for suffix in _BESIDE_SUFFIXES:
        _require_regular(path.with_name(path.name + suffix))
    # Those beside it first: another process may be making all of them, the database before the others.
    beside = {suffix: header_of(path.with_name(path.name + suffix)) for suffix in _BESIDE}
    try:
        found = path.stat()
    except FileNotFoundError:
        found = None
    if found and stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is a folder, not a database file")
    if found and not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file: give another one")
    if found and found.st_nlink > 1:
        # Each name has a write-ahead log of its own: what is written under one is lost under the others.
        raise UsageError(
            f"{path} has {found.st_nlink} names (hard links), and SQLite must know a file by one name alone: copy the file, "
            f"and move the copy in its place"
        )
    if found is None or found.st_size == 0:
        _check_beside(path, beside, durable=durable)
    elif not header_of(path).startswith(_MAGIC):
        raise IntegrityError(f"{path} is not a SQLite database: restore it from a copy", file=str(path))


def _require_regular(path: Path) -> None:
    """Raise `UsageError` for a file of another kind: SQLite would wait for a FIFO for ever."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} must be a regular file of SQLite: delete it")


def _check_beside(path: Path, starts: Mapping[str, bytes], *, durable: bool) -> None:
    for suffix, start in starts.items():
        beside, magic = path.with_name(path.name + suffix), _BESIDE[suffix]
        if durable and suffix == "-wal" and start:
            raise IntegrityError(
                f"{path} is missing or empty, but {beside} holds changes of it: restore both from a copy",
                file=str(path),
            )
        # A journal begins with zeros until it is complete.
        if start[: len(magic)].strip(b"\0") and not start.startswith(magic):
            raise UsageError(f"{beside} is not a file of SQLite, and SQLite would delete it: move it away")


def header_of(path: Path) -> bytes:
    """Return how a file begins; nothing of one that is missing."""
    return held_files.read_start(path, _HEADER_BYTES)


def mark_of(path: Path) -> int:
    """Return the application id in the header of a SQLite file, 0 where there is none."""
    header = header_of(path)
    return int.from_bytes(header[68:72], "big") if header.startswith(_MAGIC) else 0


def check_size(path: Path) -> None:
    """Raise `IntegrityError` when a file is shorter than its header says; nobody may be writing it."""
    header = header_of(path)
    wal = path.with_name(path.name + "-wal")
    if not header or (wal.exists() and wal.stat().st_size):
        return
    page_size = int.from_bytes(header[16:18], "big")
    expected = (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    size = path.stat().st_size
    if size < expected:
        raise IntegrityError(
            f"{path} is cut off: it has {size} bytes of {expected}; restore it from a copy", file=str(path)
        )
