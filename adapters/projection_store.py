"""Opens the database of the projections: derived data, so that a damaged one is dropped and rebuilt from the log."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..engine.errors import IntegrityError
from .places import Place, PostgresPlace
from .sql.database import Database
from .sql.opening import open_database
from .sql.sqlite import SqliteDatabase

_NOTE = "-checked"
"""Ends the name of the file that says which state of the database was found sound."""

_SETTLED_SECONDS = 2.0
"""File times are coarse: what changed so lately may change again without showing."""


def open_projections(place: Place) -> Database:
    """Open the database of the projections; a file that is damaged is made anew.

    Parameters
    ----------
    place : Place
        Where it is, or is made.
    """
    if isinstance(place, PostgresPlace):
        return _open_schema(place)
    try:
        return _open_sound(place)
    except IntegrityError:
        for suffix in ("", "-wal", "-shm", _NOTE):
            Path(f"{place}{suffix}").unlink(missing_ok=True)
        return _open_sound(place)


def _open_schema(place: PostgresPlace) -> Database:
    store = open_database(place, durable=False)
    try:
        with store.write() as connection:
            store.prepare(connection)
    except BaseException:
        store.close()
        raise
    store.remedy = "drop the schema, connect again, and it is rebuilt from the log"
    return store


def _open_sound(path: Path | None) -> Database:
    """Open the database and check it, unless its files are as they were when they were last found sound."""
    seen = _appearance(path) if path and path.exists() else ""
    store = SqliteDatabase(path, durable=False)
    try:
        store.adopt()
        known = path is not None and seen != "" and _noted(path) == seen
        problems = [] if known else store.integrity_report(quick=True)
    except IntegrityError as error:
        known, problems = False, [str(error)]
    if problems:
        store.close()
        raise IntegrityError(f"{store.name} is damaged: {problems[0]}", file=store.name)
    if path is not None:
        store.remedy = "connect again, and it is rebuilt from the log"
        store.on_damage = partial(_drop_note, path)
        if seen and not known:
            _take_note(path, seen)
    return store


def _appearance(path: Path) -> str:
    """Return what changes whenever the files do; empty when that cannot be relied on."""
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


def _drop_note(path: Path) -> None:
    """See to it that the next process checks, though the files look as they did."""
    with suppress(OSError):
        Path(f"{path}{_NOTE}").unlink()


def _take_note(path: Path, seen: str) -> None:
    temporary = Path(f"{path}{_NOTE}.{os.getpid()}")
    # Without the note the next process checks again; nothing else is lost.
    with suppress(OSError):
        temporary.write_text(seen, "utf-8")
        temporary.replace(f"{path}{_NOTE}")
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
