"""Opens the database of the projections. It is derived data: a damaged database is deleted and rebuilt from the log."""

from __future__ import annotations

import logging
import re
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from ...engine.errors import FramelodeError, IntegrityError, StorageError, UsageError
from ...engine.storage.atomic_files import reading, replace_file
from ...engine.storage.modes import file_mode
from ...projections.tracking import TRACKING_TABLE
from .database import Database
from .open import open_database
from .sqlite.database import LOCK_TIMEOUT_SECONDS, SqliteDatabase, run
from .sqlite.file import PROJECTIONS_MARK, mark_of
from .sqlite.write_lock import WriteLock
from .urls import Place, PostgresSchema

logger = logging.getLogger("framelode.projections")

_NOTE = "-checked"
"""Suffix of the file that records which state of the database passed its integrity check."""

_NOTE_BYTES = 1000
_IS_NOTE = r"((none|\d+ \d+ \d+ \d+)(, )?)*"
_TRIES = 5

_SETTLED_SECONDS = 2.0
"""File times are coarse: a file changed this recently may change again without a visible difference."""


def open_projections(place: Place, *, is_ours: bool = False) -> Database:
    """Open the database of the projections. A damaged file that belongs to framelode is deleted and created again.

    A file belongs to framelode if its header has the application id.

    Parameters
    ----------
    place : Place
        The location.
    is_ours : bool
        The file belongs to framelode whatever its header says, because of its location.

    Raises
    ------
    UsageError
        The location has a foreign file, which is not changed.
    """
    if isinstance(place, PostgresSchema):
        return _open_schema(place)
    for _ in range(_TRIES):
        seen = _stat(place)
        try:
            return _open_sound(place)
        except IntegrityError as error:
            if place is None:
                raise
            _replace(place, seen, error, is_ours=is_ours)
    return _open_sound(place)


def open_private_projections(place: Place) -> Database:
    """Return the projections of an engine that is open read-only: a copy in memory, which may be written.

    What the file holds is not replayed again. A file that is missing or damaged is left as it is, and the copy is empty.
    """
    store = SqliteDatabase(None, durable=False)
    try:
        if isinstance(place, Path) and place.exists():
            _load(store, place)
        _require_ours(store)
    except BaseException:
        store.close()
        raise
    return store


def _load(store: SqliteDatabase, path: Path) -> None:
    try:
        with closing(SqliteDatabase(path, durable=False, read_only="it is copied")) as source:
            _require_sound(source)
            store.load(source)
    except (IntegrityError, StorageError, UsageError) as error:
        logger.warning("%s; the projections are replayed from the log", error)


def _replace(path: Path, seen: object, error: IntegrityError, *, is_ours: bool) -> None:
    """Delete a damaged file that belongs to framelode, unless another process replaced it since it was `seen`."""
    if not is_ours:
        with reading(path):
            mark = mark_of(path)
        if mark != PROJECTIONS_MARK and _stat(path) == seen:
            raise UsageError(
                f"{path} is damaged, or it is not a database of framelode, and was not changed. Delete it if it holds "
                f"projections, which are rebuilt from the log; otherwise pass another file as projections= ({error})"
            ) from error
    with closing(WriteLock(f"{path}-lock", f"{path}-turn")) as lock:
        lock.acquire(LOCK_TIMEOUT_SECONDS)
        if _stat(path) == seen:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            _drop_note(path)


def _stat(path: Path | None) -> tuple[int, ...] | None:
    """Return values that change when a file is written or replaced; None if there is no file."""
    with reading(path):
        try:
            found = path.stat() if path else None
        except FileNotFoundError:
            return None
    return found and (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _open_schema(place: PostgresSchema) -> Database:
    store = open_database(place, durable=False)
    try:
        with store.write() as connection:
            store.prepare(connection)
    except BaseException:
        store.close()
        raise
    store.remedy = "drop the schema and connect again to rebuild it from the log"
    return store


def _open_sound(path: Path | None) -> Database:
    """Open the database and check it, unless its files are unchanged since the last successful check."""
    found = _stat(path)
    # Nothing of an empty file can be damaged.
    is_new = not found or found[1] == 0
    seen = _appearance(path) if path and found else ""
    store = SqliteDatabase(path, durable=False)
    try:
        _require_ours(store)
        store.adopt()
        known = is_new or (path is not None and seen != "" and _noted(path) == seen)
        if not known:
            _require_sound(store)
    except BaseException:
        store.close()
        raise
    if path is not None:
        store.remedy = "connect again, or run `framelode rebuild`, to rebuild it from the log"
        store.on_damage = partial(_drop_note, path)
        if seen and not known:
            _take_note(path, seen)
    return store


def _require_sound(store: SqliteDatabase) -> None:
    problems = store.integrity_report(quick=True)
    if problems:
        raise IntegrityError(f"{store.name} is damaged: {problems[0]}", file=store.name)


def _require_ours(store: SqliteDatabase) -> None:
    """Mark a new database as ours. Raises `UsageError` for a foreign database."""
    with store.read() as connection:
        ((mark,),) = run(connection, "PRAGMA application_id")
        names = {name for (name,) in run(connection, "SELECT name FROM sqlite_master")}
    if mark == PROJECTIONS_MARK:
        return
    if mark != 0 or (names and TRACKING_TABLE not in names):
        held = ", ".join(sorted(names)[:5]) or f"the mark {mark}"
        raise UsageError(
            f"{store.name} is not a database of framelode: it holds {held}; pass another file as projections="
        )
    with store.write() as connection:
        store.prepare(connection)


def _appearance(path: Path) -> str:
    """Return values that change whenever the files do; empty if that is not reliable."""
    parts: list[str] = []
    for file in (path, Path(f"{path}-wal")):
        try:
            stat = file.stat()
        except FileNotFoundError:
            parts.append("none")
            continue
        if time.time() - max(stat.st_ctime, stat.st_mtime) < _SETTLED_SECONDS:
            return ""
        parts.append(f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
    return ", ".join(parts)


def _noted(path: Path) -> str:
    try:
        return Path(f"{path}{_NOTE}").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _owns_note(path: Path) -> bool:
    """Whether the name of the note is free, or the file is a note."""
    note = Path(f"{path}{_NOTE}")
    try:
        return not note.exists() or (
            note.stat().st_size < _NOTE_BYTES and re.fullmatch(_IS_NOTE, note.read_text("utf-8")) is not None
        )
    except (OSError, UnicodeDecodeError):
        return False


def _drop_note(path: Path) -> None:
    """Make the next process check the database, even if its files seem unchanged."""
    with suppress(OSError):
        if _owns_note(path):
            Path(f"{path}{_NOTE}").unlink(missing_ok=True)


def _take_note(path: Path, seen: str) -> None:
    # Without the note the next process checks again, and nothing else is lost.
    with suppress(FramelodeError):
        if _owns_note(path):
            replace_file(Path(f"{path}{_NOTE}"), seen.encode(), mode=file_mode(path.parent))
