"""The settings file `framelode.toml` of an engine's folder, and whose settings are trusted."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...engine.errors import FramelodeError, IntegrityError, UsageError
from ...engine.storage.atomic_files import read_small, reading, replace_file
from ...engine.storage.modes import file_mode

SETTINGS_FILE = "framelode.toml"
LOG_FILE = "log.db"
PROJECTIONS_FILE = "projections.db"
BLOBS_FOLDER = "blobs"

_FORMAT = 1
_LIMIT_BYTES = 16 * 1024
_MOST_DOTS = 500
"""Maximum number of dots in a line: the memory for a dotted key grows with the square of its parts."""
_OPTIONAL = ("shared", "log_id")
"""Left out if not set, because older releases reject unknown names."""


class Settings(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The settings in `framelode.toml`. Paths are relative to its folder.

    Attributes
    ----------
    format : int
        Version of the format.
    log, projections, blobs : str
        Locations of the parts.
    shared : bool
        Whether the group of the folder may read and write everything.
    log_id : str
        Uuid of the log; empty until the log is known.
    """

    format: int = _FORMAT
    log: str = LOG_FILE
    projections: str = PROJECTIONS_FILE
    blobs: str = BLOBS_FOLDER
    shared: bool = False
    log_id: str = ""


def read_settings(folder: Path) -> Settings | None:
    """Return the settings of a folder, or None if there are none.

    Raises
    ------
    UsageError
        They cannot be read, or were written by a newer framelode.
    StorageError
        The disk failed.
    """
    file = folder / SETTINGS_FILE
    found = stat_of(file)
    if found is None:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{file} must be a regular file: remove it to go back to the defaults")
    try:
        text = read_small(file, _LIMIT_BYTES).decode()
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise UsageError(f"{file} has a line with more than {_MOST_DOTS} dots: correct it")
        values = tomllib.loads(text)
        if isinstance(values.get("format"), int) and values["format"] > _FORMAT:
            raise UsageError(
                f"{file} has format {values['format']}, this framelode reads up to {_FORMAT}: install a newer framelode"
            )
        if any(isinstance(value, str) and "\0" in value for value in values.values()):
            raise UsageError(f"{file} names a place with a NUL character, which no path can hold: correct it")
        if isinstance(values.get("format"), int) and values["format"] < 1:
            raise UsageError(f"{file} has format {values['format']}, and formats begin with 1: correct it")
        return msgspec.convert(values, Settings)
    except FramelodeError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}; correct it, or delete it to go back to the defaults"
        ) from error


def write_settings(folder: Path, settings: Settings) -> None:
    """Write the settings file of a folder atomically."""
    lines = ["# Where the parts of this framelode engine are; paths are relative to this folder."]
    values = msgspec.structs.asdict(settings)
    lines += [
        f"{name} = {json.dumps(value)}" for name, value in values.items() if value or name not in _OPTIONAL
    ]
    replace_file(folder / SETTINGS_FILE, "\n".join([*lines, ""]).encode(), mode=file_mode(folder))


def check_log_id(folder: Path, log: object, log_id: str) -> None:
    """Raise `IntegrityError` if the settings of a folder have a different log than the one that was found."""
    found = read_settings(folder)
    if found is not None and found.log_id not in {"", log_id}:
        raise IntegrityError(
            f"{log} is the log {log_id}, but {folder / SETTINGS_FILE} belongs to the log {found.log_id}: restore that log "
            f"from a copy; or, to use the new log, delete {SETTINGS_FILE} and {PROJECTIONS_FILE}",
            file=str(log),
        )


def stat_of(file: Path) -> os.stat_result | None:
    """Return the status of a file, or None if it is missing. Operating system errors become framelode errors."""
    with reading(file):
        try:
            return file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None


def is_trusted(file: Path) -> bool:
    """Whether a file belongs to this user or to root. Files of other users are not trusted."""
    found = stat_of(file)
    return found is None or found.st_uid in {os.geteuid(), 0}


def require_own_places(folder: Path, settings: Settings, given: Mapping[str, object]) -> None:
    """Raise `UsageError` if settings of another user have locations outside their folder.

    Parameters
    ----------
    given : mapping of str to object
        Locations that the caller passed, which are not taken from the settings.
    """
    if is_trusted(folder / SETTINGS_FILE):
        return
    for name in ("log", "projections", "blobs"):
        place: str = getattr(settings, name)
        if name not in given and ("://" in place or not is_inside(folder / place, folder)):
            raise UsageError(
                f"{folder / SETTINGS_FILE} belongs to another user and names a place outside of its folder: {name} = "
                f"{place!r}; to use that place, give it to connect() yourself as {name}="
            )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is inside a folder after symbolic links are resolved."""
    if path.parent == folder and path.name != ".." and not path.is_symlink():
        return True
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def working_folder() -> Path:
    """Return the working folder. Raises `UsageError` if it was deleted."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working folder cannot be used: {error.strerror}; change to another one"
        ) from error


def absolute(path: Path) -> Path:
    """Return an absolute path; a relative one starts at the working folder."""
    return path if path.is_absolute() else working_folder() / path


def relative(path: Path, folder: Path) -> str:
    """Return a path in the form of the settings: relative if it is inside their folder."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
