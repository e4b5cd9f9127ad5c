"""Where an engine lives: URLs, the folder's `framelode.toml`, and how one is found."""

from __future__ import annotations

import json
import os
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..engine.errors import IntegrityError, UsageError
from ..engine.files import from_home
from ..engine.validation import shorten
from .places import (
    LOG_SCHEMA,
    PROJECTIONS_SUFFIX,
    Place,
    PostgresPlace,
    is_postgres,
    masked,
    postgres_place,
    with_password_of,
    without_password,
)

SETTINGS_FILE = "framelode.toml"
HIDDEN_FOLDER = ".framelode"
LOG_FILE = "log.db"
PROJECTIONS_FILE = "projections.db"
BLOBS_FOLDER = "blobs"
IN_MEMORY = "sqlite://"
ENVIRONMENT_URL = "FRAMELODE_URL"

_MEMORY_BLOBS = "memory://"
_SQLITE = "sqlite:///"
_FORMAT = 1


class Settings(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What `framelode.toml` remembers; paths are relative to its folder."""

    format: int = _FORMAT
    log: str = LOG_FILE
    projections: str = PROJECTIONS_FILE
    blobs: str = BLOBS_FOLDER


class Location(msgspec.Struct, frozen=True):
    """Where the parts of an engine are.

    Attributes
    ----------
    url : str
        What `connect` takes to find the engine again.
    folder : Path or None
        The engine's folder; None in memory.
    log, projections : Place
        The databases.
    blobs : str
        Folder or fsspec URL of the file contents.
    settings : Settings or None
        Settings that the folder does not hold yet.
    given : dict of str to str
        Settings that an engine without a folder does not remember yet.
    """

    url: str
    folder: Path | None = None
    log: Place = None
    projections: Place = None
    blobs: str = ""
    settings: Settings | None = None
    given: dict[str, str] = {}

    @property
    def name(self) -> str:
        """What messages call the engine: its URL without a password."""
        return masked(self.url)

    @property
    def is_in_memory(self) -> bool:
        """Whether the engine ends with its process."""
        return self.log is None

    @property
    def home(self) -> str:
        """What `connect` takes in another process to find the engine, without a password; empty in memory."""
        if isinstance(self.log, PostgresPlace):
            return without_password(self.log)
        return "" if self.is_in_memory else self.url

    def __repr__(self) -> str:
        return f"Location({self.name!r})"

    def remember(self) -> None:
        """Write the settings, once the log is known to be ours."""
        if self.folder is not None and self.settings is not None:
            _write_settings(self.folder, self.settings)

    def completed(self, remembered: Mapping[str, str]) -> Location:
        """Return the whole location of an engine without a folder, which remembers its settings beside its log."""
        if not isinstance(self.log, PostgresPlace):
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
) -> Location:
    """Return where the engine of a folder or URL is, making the folder if missing.

    Parameters
    ----------
    url : str or path
        A folder, ``sqlite:///path/log.db``, ``sqlite://`` for an engine in memory, or
        ``postgresql+psycopg://user@host/database``.
    projections : str or path, optional
        Another place for the projections database, a file or a PostgreSQL URL; remembered in the folder's settings, or
        beside the log in PostgreSQL.
    blobs : str or path, optional
        Another place for file contents, a folder or an fsspec URL; remembered likewise.

    Raises
    ------
    UsageError
        The URL is of an unknown kind, the folder cannot be made, or its settings cannot be read.
    IntegrityError
        The log that the settings name is gone.
    """
    _check_place("the engine", url)
    for name, place in (("projections", projections), ("blobs", blobs)):
        if place is not None:
            _check_place(name, place)
    text = os.fspath(url)
    if text in {IN_MEMORY, "sqlite:///:memory:"}:
        if projections is not None:
            raise UsageError("an engine in memory keeps its projections in memory: leave projections= out")
        # The in-memory filesystem is one for the whole process.
        own = f"{_MEMORY_BLOBS}framelode-{uuid.uuid4().hex}"
        return Location(IN_MEMORY, blobs=own if blobs is None else os.fspath(blobs))
    if is_postgres(text):
        return _locate_postgres(postgres_place(text), projections, blobs)
    folder, log_name = _folder_of(text)
    folder = from_home(folder).absolute()
    _make_folder(folder)
    settings = _read_settings(folder)
    wanted = Settings(
        log=log_name or (settings.log if settings else LOG_FILE),
        projections=settings.projections if settings else PROJECTIONS_FILE,
        blobs=settings.blobs if settings else BLOBS_FOLDER,
    )
    if projections is not None:
        wanted.projections = _projections_setting(os.fspath(projections), folder)
    if blobs is not None:
        wanted.blobs = _blobs_setting(os.fspath(blobs), folder)
    log = folder / wanted.log
    if settings is not None and log_name in {None, settings.log} and not log.exists():
        raise IntegrityError(
            f"{log} is missing, yet {folder / SETTINGS_FILE} says that it was there: restore it from a copy, or delete "
            f"{SETTINGS_FILE} to begin anew",
            file=str(log),
        )
    return Location(
        url=str(folder) if wanted.log == LOG_FILE else f"{_SQLITE}{log}",
        folder=folder,
        log=log,
        projections=_database_place(wanted.projections, folder),
        blobs=wanted.blobs if "://" in wanted.blobs else str(folder / wanted.blobs),
        settings=None if settings == wanted else wanted,
    )


def _locate_postgres(
    log: PostgresPlace, projections: str | os.PathLike[str] | None, blobs: str | os.PathLike[str] | None
) -> Location:
    here = Path.cwd()
    given: dict[str, str] = {}
    if projections is not None:
        given["projections"] = _projections_setting(os.fspath(projections), Path(os.devnull))
    if blobs is not None:
        given["blobs"] = (
            str(here / _blobs_setting(os.fspath(blobs), here))
            if "://" not in os.fspath(blobs)
            else os.fspath(blobs)
        )
    return Location(url=log.full_url, log=log, given=given)


def _projections_setting(place: str, folder: Path) -> str:
    """Return where projections are as settings keep it: without a password."""
    if is_postgres(place):
        return without_password(postgres_place(place, LOG_SCHEMA + PROJECTIONS_SUFFIX))
    place = place.removeprefix(_SQLITE)
    if not place or "://" in place:
        raise UsageError(f"projections cannot be kept in {masked(place)!r}: give a file, or a PostgreSQL URL")
    return _relative(from_home(place).absolute(), folder)


def _database_place(setting: str, folder: Path, log: Place = None) -> Place:
    """Return the place that a setting names; a password is that of the log, if it is of the same server and user."""
    if not is_postgres(setting):
        return folder / setting
    place = postgres_place(setting, LOG_SCHEMA + PROJECTIONS_SUFFIX)
    return with_password_of(log, place) if isinstance(log, PostgresPlace) else place


def _check_place(name: str, place: object) -> None:
    given = os.fspath(place) if isinstance(place, os.PathLike) else place
    if not isinstance(given, str) or "\0" in given:
        raise UsageError(f"the place of {name} must be a path or a URL, not {shorten(place)}")
    try:
        os.fsencode(given)
    except UnicodeEncodeError as error:
        raise UsageError(f"the place of {name} is no path of this system: {shorten(place)}") from error


def find(explicit: str | None = None) -> str | None:
    """Return the URL of the engine meant: explicit, `FRAMELODE_URL`, or the nearest settings file upwards."""
    if explicit:
        return explicit
    from_environment = os.environ.get(ENVIRONMENT_URL)
    if from_environment:
        return from_environment
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder, folder / HIDDEN_FOLDER):
            if (candidate / SETTINGS_FILE).is_file():
                return str(candidate)
    return None


def exists(url: str | os.PathLike[str]) -> bool:
    """Say whether an engine is there already."""
    text = os.fspath(url)
    if text == IN_MEMORY:
        return False
    if is_postgres(text):
        from .sql.opening import holds_log

        return holds_log(postgres_place(text))
    folder, log_name = _folder_of(text)
    return (from_home(folder) / (log_name or SETTINGS_FILE)).exists()


def home_of(url: str) -> str:
    """Return the `Location.home` of the engine at a URL, whether it exists or not."""
    if is_postgres(url):
        return without_password(postgres_place(url))
    return url if "://" in url else str(from_home(url).absolute())


def require(url: str | os.PathLike[str]) -> None:
    """Raise `UsageError` when there is no engine yet."""
    _check_place("the engine", url)
    if not exists(url):
        name = masked(os.fspath(url))
        if Path(url).is_file():
            raise UsageError(f"{name} is a file: give the folder of an engine")
        raise UsageError(f"there is no engine at {name}: run `framelode init {name}`")


def not_found() -> str:
    """Say that no engine was found upwards of the working directory, and which are in folders of it."""
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
            raise UsageError(f"{text} names no file: write sqlite:///path/log.db")
        return path.parent, path.name
    if "://" in text:
        raise UsageError(
            f"{masked(text)} is no engine that this framelode opens: give a folder, sqlite:///path/log.db, "
            f"postgresql+psycopg://user@host/database, or {IN_MEMORY}"
        )
    if not text:
        raise UsageError("the engine's folder must not be empty: give a path such as './food'")
    return Path(text), None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} is a file, not a folder: give another place for the engine") from error
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror}; give a folder that can be written"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written: permission denied; give a folder that can be written")
    if folder.name == HIDDEN_FOLDER and _in_git_tree(folder):
        ignore = folder / ".gitignore"
        if not ignore.exists():
            _write(ignore, "*\n")


def _in_git_tree(folder: Path) -> bool:
    return any((parent / ".git").exists() for parent in folder.parents)


def _read_settings(folder: Path) -> Settings | None:
    file = folder / SETTINGS_FILE
    if not file.exists():
        return None
    try:
        values = tomllib.loads(file.read_text("utf-8"))
        if values.get("format", _FORMAT) > _FORMAT:
            raise UsageError(
                f"{file} has format {values['format']}, this framelode reads up to {_FORMAT}: install a newer framelode"
            )
        return msgspec.convert(values, Settings)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, TypeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}; mend it, or delete it to go back to the defaults"
        ) from error


def _write_settings(folder: Path, settings: Settings) -> None:
    lines = ["# Where the parts of this framelode engine are; paths are relative to this folder."]
    # A JSON string is a TOML basic string.
    lines += [f"{name} = {json.dumps(value)}" for name, value in msgspec.structs.asdict(settings).items()]
    _write(folder / SETTINGS_FILE, "\n".join(lines) + "\n")


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{file} cannot be written: {error.strerror}; give a folder that can be written"
        ) from error


def _blobs_setting(place: str, folder: Path) -> str:
    if not place:
        raise UsageError("blobs must not be empty: give a folder or a URL such as 's3://bucket/blobs'")
    return place if "://" in place else _relative(from_home(place).absolute(), folder)


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
