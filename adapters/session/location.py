"""Locates engines: by URL, by the settings file `framelode.toml`, or by search."""

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...engine.errors import IntegrityError, UsageError
from ...engine.secrets import redact_url
from ...engine.storage.atomic_files import from_home, replace_file
from ...engine.storage.modes import file_mode, is_shared, make_folder, share, why_unwritable
from ...engine.validation import refuse_secret, shorten
from ..sql.urls import (
    LOG_SCHEMA,
    PROJECTIONS_SUFFIX,
    Place,
    PostgresSchema,
    is_postgres,
    postgres_schema,
    with_kept_password,
    with_password_of,
    without_password,
)
from .settings_file import (
    LOG_FILE,
    PROJECTIONS_FILE,
    SETTINGS_FILE,
    Settings,
    absolute,
    check_log_id,
    is_inside,
    is_trusted,
    read_settings,
    relative,
    require_own_places,
    stat_of,
    working_folder,
    write_settings,
)

HIDDEN_FOLDER = ".framelode"
IN_MEMORY = "sqlite://"
ENVIRONMENT_URL = "FRAMELODE_URL"

_IN_MEMORY = (IN_MEMORY, "sqlite:///:memory:")
_MEMORY_BLOBS = "memory://"
_SQLITE = "sqlite:///"
_REQUESTED = "it was opened with read_only=True"
_WAY_OUT = "leave it out, and use the environment, profile or role of the store's library"


class Location(msgspec.Struct, frozen=True):
    """The locations of an engine's parts.

    Attributes
    ----------
    url : str
        URL for `connect`, without a password.
    folder : Path or None
        Folder of the engine, or None.
    log, projections : Place
        The databases.
    blobs : str
        Folder or fsspec URL of the file contents.
    given : dict of str to object
        Settings that the caller passed. They are saved once the log is known.
    log_id : str or None
        Uuid of the log in the folder's settings, or None without settings.
    read_only : str
        Why nothing is written, for messages; empty if the engine may be written.
    """

    url: str
    folder: Path | None = None
    log: Place = None
    projections: Place = None
    blobs: str = ""
    given: dict[str, Any] = {}
    log_id: str | None = None
    read_only: str = ""

    @property
    def name(self) -> str:
        """Name of the engine in messages: its URL without a password."""
        return self.log.name if isinstance(self.log, PostgresSchema) else self.url

    @property
    def is_in_memory(self) -> bool:
        """Whether the engine ends with its process."""
        return self.log is None

    @property
    def home(self) -> str:
        """URL for `connect` in another process, without a password; empty for an engine in memory."""
        return "" if self.is_in_memory else self.url

    def __repr__(self) -> str:
        return f"Location({self.name!r})"

    def check(self, log_id: str) -> None:
        """Raise `IntegrityError` if the folder belongs to a different log than the one that was found."""
        if self.folder is not None and log_id != self.log_id:
            check_log_id(self.folder, self.log, log_id)

    def remember(self, log_id: str) -> None:
        """Save the settings, once the log is known. An empty uuid removes the saved one."""
        if self.folder is None:
            return
        found = read_settings(self.folder)
        wanted = msgspec.structs.replace(found or Settings(), log_id=log_id, **self.given)
        if found != wanted:
            write_settings(self.folder, wanted)

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are saved, which a caller may change: blobs, projections and, in a folder, shared."""
        if self.folder is not None:
            found = read_settings(self.folder) or Settings()
            return {"blobs": found.blobs, "projections": found.projections, "shared": found.shared}
        place = self.projections
        name = place.name if isinstance(place, PostgresSchema) else str(place or "")
        return {"blobs": self.blobs, "projections": name}

    @property
    def owns_projections(self) -> bool:
        """Whether a damaged projections database can be replaced: it is the default one, in a folder with a known log."""
        return bool(self.log_id and self.folder and self.projections == self.folder / PROJECTIONS_FILE)

    @property
    def log_place(self) -> str:
        """Location of the log, as its projections record it; relative if both are in one folder, which can be moved."""
        if not isinstance(self.log, Path) or self.folder is None:
            return ""
        inside = isinstance(self.projections, Path) and is_inside(self.projections, self.folder)
        return relative(self.log, self.folder) if inside else str(self.log)

    def completed(self, remembered: Mapping[str, str]) -> Location:
        """Return the complete location of an engine without a folder, whose settings are saved in the log's database."""
        if not isinstance(self.log, PostgresSchema):
            return self
        projections, blobs = remembered.get("projections"), remembered.get("blobs", "")
        place = (
            self.log.beside() if projections is None else _database_place(projections, Path("/"), self.log)
        )
        return msgspec.structs.replace(self, projections=place, blobs=blobs, given={})


def locate(
    url: str | os.PathLike[str],
    projections: str | os.PathLike[str] | None = None,
    blobs: str | os.PathLike[str] | None = None,
    *,
    shared: bool | None = None,
    read_only: bool = False,
) -> Location:
    """Return the location of the engine at a folder or URL. A missing folder is created.

    An engine in a folder that cannot be written is read-only.

    Parameters
    ----------
    url : str or path
        A folder, ``sqlite:///path/log.db``, ``sqlite://`` for an engine in memory, or
        ``postgresql+psycopg://user@host/database``.
    projections : str or path, optional
        File or PostgreSQL URL for the projections database, instead of the default. Saved in the settings: in the folder,
        or in the log's PostgreSQL schema.
    blobs : str or path, optional
        Folder or fsspec URL for file contents, instead of the default. Saved in the settings.
    shared : bool, optional
        Whether the group of the folder may read and write everything. Saved in the settings of the folder.
    read_only : bool
        Open an existing engine without writing anything.

    Raises
    ------
    UsageError
        The URL has an unknown scheme, the folder cannot be created, or its settings cannot be read or trusted.
    IntegrityError
        The log in the settings is missing or empty.
    """
    _check_place("the engine", url)
    for name, place in (("projections", projections), ("blobs", blobs)):
        if place is not None:
            _check_place(name, place)
    text = os.fspath(url)
    if read_only:
        require(text)
    reason = _REQUESTED if read_only else ""
    if shared and (text in _IN_MEMORY or is_postgres(text)):
        raise UsageError("shared=True is only for an engine in a folder: do not pass it")
    if text in _IN_MEMORY:
        if projections is not None:
            raise UsageError("an engine in memory keeps its projections in memory: do not pass projections=")
        # The whole process shares one in-memory filesystem.
        own = f"{_MEMORY_BLOBS}framelode-{uuid.uuid4().hex}"
        return Location(IN_MEMORY, blobs=own if blobs is None else os.fspath(blobs))
    if is_postgres(text):
        where = _locate_postgres(postgres_schema(with_kept_password(text)), projections, blobs)
        return msgspec.structs.replace(where, read_only=reason)
    folder, log_name = _folder_of(text)
    folder = absolute(from_home(folder))
    settings = read_settings(folder)
    reason = reason or _why_read_only(folder, log_name, settings)
    if not reason:
        _make_folder(folder)
    given = {
        "log": log_name,
        "projections": None if projections is None else _projections_setting(os.fspath(projections), folder),
        "blobs": None if blobs is None else _blobs_setting(os.fspath(blobs), folder),
        "shared": shared,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return _locate_in(folder, settings, given, reason)


def _why_read_only(folder: Path, log_name: str | None, settings: Settings | None) -> str:
    """Return why the engine in a folder can only be read; empty if there is none, or it can be written."""
    log = folder / (log_name or (settings or Settings()).log)
    if stat_of(log) is None:
        return ""
    for place in (folder, log):
        if why := why_unwritable(place):
            return f"{place} cannot be written ({why})"
    return ""


def _locate_in(folder: Path, settings: Settings | None, given: dict[str, Any], read_only: str) -> Location:
    """Return the location of the engine in a folder, by its settings and those that the caller passed."""
    if settings is not None:
        require_own_places(folder, settings, given)
        _require_log(folder, settings, given)
    wanted = msgspec.structs.replace(settings or Settings(), **given)
    log = folder / wanted.log
    where = Location(
        url=str(folder) if wanted.log == LOG_FILE else f"{_SQLITE}{log}",
        folder=folder,
        log=log,
        projections=_database_place(wanted.projections, folder),
        blobs=wanted.blobs if "://" in wanted.blobs else str(folder / wanted.blobs),
        given=given,
        log_id=settings.log_id if settings else None,
        read_only=read_only,
    )
    if wanted.shared and not read_only and not is_shared(folder):
        share(_parts(where, folder))
    return where


def _require_log(folder: Path, settings: Settings, given: Mapping[str, Any]) -> None:
    """Raise an error if the log in the settings is missing, or a different log is requested."""
    named = folder / settings.log
    wanted = folder / given.get("log", settings.log)
    found = stat_of(wanted)
    if found and found.st_size:
        return
    if wanted != named and stat_of(named):
        raise UsageError(
            f"{folder} already holds the engine of {named.name}: create a folder for {wanted.name}"
        )
    state = "is empty" if found else "is missing"
    raise IntegrityError(
        f"{wanted} {state}, but {folder / SETTINGS_FILE} says that it holds a log: restore it from a copy; or, to begin "
        f"anew, delete {SETTINGS_FILE} and {PROJECTIONS_FILE}",
        file=str(wanted),
    )


def _parts(where: Location, folder: Path) -> Iterator[Path]:
    """Yield the folder of an engine and what is in it of the engine."""
    yield folder
    for name in (SETTINGS_FILE, where.log, where.projections):
        if not isinstance(name, PostgresSchema):
            file = folder / str(name)
            yield from file.parent.glob(f"{glob.escape(file.name)}*")
    if "://" not in where.blobs:
        for parent, _, files in os.walk(where.blobs):
            yield Path(parent)
            yield from (Path(parent, file) for file in files)


def _locate_postgres(
    log: PostgresSchema, projections: str | os.PathLike[str] | None, blobs: str | os.PathLike[str] | None
) -> Location:
    here = working_folder()
    given: dict[str, str] = {}
    if projections is not None:
        given["projections"] = _projections_setting(os.fspath(projections), Path(os.devnull))
    if blobs is not None:
        given["blobs"] = (
            str(here / _blobs_setting(os.fspath(blobs), here))
            if "://" not in os.fspath(blobs)
            else os.fspath(blobs)
        )
    return Location(url=without_password(log), log=log, given=given)


def _projections_setting(place: str, folder: Path) -> str:
    """Return the location of projections as stored in settings: without a password."""
    if is_postgres(place):
        return without_password(postgres_schema(place, LOG_SCHEMA + PROJECTIONS_SUFFIX))
    place = place.removeprefix(_SQLITE)
    if not place or "://" in place:
        raise UsageError(f"projections cannot be stored in {place!r}: pass a file, or a PostgreSQL URL")
    return relative(absolute(from_home(place)), folder)


def _database_place(setting: str, folder: Path, log: Place = None) -> Place:
    """Return the location in a setting, with the password of the log if server and user are the same."""
    if not is_postgres(setting):
        return folder / setting
    place = postgres_schema(setting, LOG_SCHEMA + PROJECTIONS_SUFFIX)
    return with_password_of(log, place) if isinstance(log, PostgresSchema) else place


def _check_place(name: str, place: object) -> None:
    given = os.fspath(place) if isinstance(place, os.PathLike) else place
    if not isinstance(given, str) or "\0" in given:
        raise UsageError(f"the place of {name} must be a path or a URL, not {shorten(place)}")
    try:
        os.fsencode(given)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the place of {name} is not a valid path on this system: {shorten(place)}"
        ) from error
    if name == "blobs" or not is_postgres(given):
        refuse_secret(given, f"the place of {name}", _WAY_OUT)


def find(explicit: str | None = None) -> str | None:
    """Return the URL of an engine: explicit, from `FRAMELODE_URL`, or from the nearest settings file upwards."""
    if explicit:
        return explicit
    if from_environment := os.environ.get(ENVIRONMENT_URL):
        return from_environment
    here = working_folder()
    for folder in (here, *here.parents):
        for candidate in (folder, folder / HIDDEN_FOLDER):
            settings = candidate / SETTINGS_FILE
            if stat_of(settings):
                _require_trusted(settings)
                return str(candidate)
    return None


def _require_trusted(settings: Path) -> None:
    if not is_trusted(settings):
        raise UsageError(
            f"found {settings}, which belongs to another user: to use that engine, name it with `framelode --engine "
            f"{settings.parent}`, in {ENVIRONMENT_URL}, or in connect()"
        )


def hidden_folder(folder: Path) -> Path:
    """Return the folder for files of framelode that are not committed, created if missing."""
    hidden = folder / HIDDEN_FOLDER
    try:
        hidden.mkdir(exist_ok=True)
        ignore = hidden / ".gitignore"
        if not ignore.exists():
            replace_file(ignore, b"*\n")
    except OSError as error:
        raise UsageError(f"{hidden} cannot be created: {error.strerror or error}") from error
    return hidden


def exists(url: str | os.PathLike[str]) -> bool:
    """Whether there is an engine."""
    text = os.fspath(url)
    if text == IN_MEMORY:
        return False
    if is_postgres(text):
        from ..sql.open import holds_log

        return holds_log(postgres_schema(text))
    folder, log_name = _folder_of(text)
    return stat_of(from_home(folder) / (log_name or SETTINGS_FILE)) is not None


def home_of(url: str) -> str:
    """Return the `Location.home` of the engine at a URL, whether it exists or not."""
    if is_postgres(url):
        return without_password(postgres_schema(url))
    return url if "://" in url else str(absolute(from_home(url)))


def require(url: str | os.PathLike[str]) -> None:
    """Raise `UsageError` if there is no engine."""
    _check_place("the engine", url)
    if not exists(url):
        name = redact_url(os.fspath(url))
        if Path(url).is_file():
            raise UsageError(f"{name} is a file: give the folder of an engine")
        raise UsageError(f"there is no engine at {name}: run `framelode init {name}`")


def not_found() -> str:
    """Return the message that no engine was found, with the engines in subfolders of the working directory."""
    inside = [f"./{settings.parent.name}" for settings in sorted(Path().glob(f"*/{SETTINGS_FILE}"))]
    shown = ", ".join([*inside[:3], *(["..."] if len(inside) > 3 else [])])
    return (
        f"no engine here{shown and f', but in {shown}'}: name one with `framelode --engine FOLDER` or in FRAMELODE_URL, "
        "make one with `framelode init`, or connect('./folder') in Python"
    )


def _folder_of(text: str) -> tuple[Path, str | None]:
    if text.startswith(_SQLITE):
        path = Path(text[len(_SQLITE) :])
        if not path.name:
            raise UsageError(f"{text} has no file name: write sqlite:///path/log.db")
        return path.parent, path.name
    if "://" in text:
        raise UsageError(
            f"{redact_url(text)} is not the URL of an engine: pass a folder, sqlite:///path/log.db, "
            f"postgresql+psycopg://user@host/database, or {IN_MEMORY}"
        )
    if not text:
        raise UsageError("the folder of the engine must not be empty: pass a path such as './food'")
    return Path(text), None


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except FileExistsError as error:
        raise UsageError(f"{folder} is a file, not a folder: pass another location for the engine") from error
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be created: {error.strerror}; pass a folder that can be written"
        ) from error
    if why := why_unwritable(folder):
        raise UsageError(f"{folder} cannot be written: {why}; give a folder that can be written")
    if folder.name == HIDDEN_FOLDER and _in_git_tree(folder):
        ignore = folder / ".gitignore"
        if not os.path.lexists(ignore):
            replace_file(ignore, b"*\n", mode=file_mode(folder))


def _in_git_tree(folder: Path) -> bool:
    return any(os.path.lexists(parent / ".git") for parent in folder.parents)


def _blobs_setting(place: str, folder: Path) -> str:
    if not place:
        raise UsageError("blobs must not be empty: pass a folder or a URL such as 's3://bucket/blobs'")
    return place if "://" in place else relative(absolute(from_home(place)), folder)
