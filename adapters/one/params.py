"""The parameters of data servers, in the files that ONE-api uses: ``~/.one/.caches`` and one file for each server."""

from __future__ import annotations

import re
import shutil
import warnings
from getpass import getpass
from pathlib import Path
from typing import Any

from iblutil.io import params as iopar

from ...engine.errors import InvalidValueError
from .alf.exceptions import PreconditionError

CACHE_DIR_DEFAULT = str(Path.home() / "Downloads" / "ONE")
"""The folder in which each server has a folder by default."""

_FOLDER = "one"
_CACHES = f"{_FOLDER}/caches"
_SECRETS = ("HTTP_DATA_SERVER_PWD", "ALYX_PWD")
_DEFAULTS = {
    "ALYX_URL": "https://openalyx.internationalbrainlab.org",
    "ALYX_LOGIN": "intbrainlab",
    "HTTP_DATA_SERVER": "https://ibl.flatironinstitute.org/public",
    "HTTP_DATA_SERVER_LOGIN": None,
    "HTTP_DATA_SERVER_PWD": None,
}


def default() -> Any:
    """Return the default parameters: those of the public database of the International Brain Laboratory."""
    return iopar.from_dict(dict(_DEFAULTS))


def _key_from_url(url: str) -> str:
    """Return the name of the parameters of a server: its URL without scheme, in lower case."""
    key = url.partition("://")[2] or url
    return re.sub(r"[^.\w-]", "_", key.strip("/")).lower()


def _caches() -> Any:
    return iopar.read(_CACHES, {"CLIENT_MAP": {}, "DEFAULT": None})


def _read(key: str) -> dict[str, Any] | None:
    found: Any = iopar.read(f"{_FOLDER}/{key}") if Path(iopar.getfile(f"{_FOLDER}/{key}")).exists() else None
    return None if found is None else found.as_dict()


def save(par: Any, client: str) -> None:
    """Save the parameters of a server in a file that only this user can read.

    Parameters
    ----------
    par : params or dict
        The parameters.
    client : str
        URL of the server, or the name of its parameters.
    """
    values = par if isinstance(par, dict) else par.as_dict()
    name = f"{_FOLDER}/{_key_from_url(client)}"
    # The folder of a cache is kept in the map of all servers.
    kept = {key: value for key, value in values.items() if key != "CACHE_DIR"}
    file = Path(iopar.getfile(name))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    iopar.write(name, kept)


def setup(
    client: str | None = None,
    silent: bool = False,
    make_default: bool | None = None,
    username: str | None = None,
    cache_dir: str | Path | None = None,
) -> Any:
    """Set the parameters of a server.

    Parameters
    ----------
    client : str, optional
        URL of the server.
    silent : bool
        Ask nothing, and use the arguments, the current parameters or the defaults.
    make_default : bool, optional
        Make it the default server. By default it is asked; if `silent`, only the first server is.
    username : str, optional
        Name of the user.
    cache_dir : str or path, optional
        Folder of the downloaded data.

    Returns
    -------
    params
        The map of all servers: `CLIENT_MAP` has their folders, `DEFAULT` is the default one. If the user rejects the
        settings, the parameters as they were.

    Raises
    ------
    ValueError
        The URL is not that of a server.
    """
    caches = _caches()
    current = _current(client, caches)
    if not silent and client is None:
        given = input(f"ALYX_URL: URL of the database [{_DEFAULTS['ALYX_URL']}]: ").strip()
        client = given or str(_DEFAULTS["ALYX_URL"])
        current = _current(client, caches)
    client = _server_url(client or current["ALYX_URL"])
    values = {**current, "ALYX_URL": client}
    if username is not None:
        values["ALYX_LOGIN"] = username
    if not silent:
        values |= _asked(values)
    key = _key_from_url(client)
    folder = _folder(key, caches, cache_dir, silent=silent)
    if not silent and input("Are the settings correct? [Y/n] ").strip().lower() in {"n", "no"}:
        print("nothing was saved")
        return iopar.from_dict(current)
    if make_default is None:
        make_default = not caches.DEFAULT
        if not make_default and not silent and key != caches.DEFAULT:
            make_default = input("Make this the default server? [Y/n] ").strip().lower() not in {"n", "no"}
    save(values, client)
    found = _caches()
    made = {
        "CLIENT_MAP": {**found.CLIENT_MAP, key: str(folder)},
        "DEFAULT": key if make_default else found.DEFAULT,
    }
    iopar.write(_CACHES, made)
    return iopar.from_dict({**found.as_dict(), **made, "ALYX_LOGIN": values["ALYX_LOGIN"]})


def _current(client: str | None, caches: Any) -> dict[str, Any]:
    """Return the parameters of a server, of the default one, or the defaults."""
    key = caches.DEFAULT if client is None else _key_from_url(client)
    found = _read(key) if key else None
    if found is not None:
        return {**_DEFAULTS, **found}
    return dict(_DEFAULTS) if client is None else {**_DEFAULTS, "ALYX_URL": client}


def _server_url(client: str) -> str:
    url = client if "://" in client else f"https://{client}"
    if not re.fullmatch(r"https?://[^/\s]+\S*", url):
        raise InvalidValueError(f"{client!r} is not the URL of a server: write https://host")
    return url.rstrip("/")


def _asked(values: dict[str, Any]) -> dict[str, Any]:
    """Ask for the parameters of a server, except its URL. An empty answer keeps the current value."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in {"ALYX_URL", "TOKEN"}:
            continue
        if name in _SECRETS:
            answer = getpass(f"{name} (not shown; empty to keep it): ")
        else:
            answer = input(f"{name} [{value}]: ").strip()
        if answer:
            made[name] = answer
    return made


def _folder(key: str, caches: Any, cache_dir: str | Path | None, *, silent: bool) -> Path:
    """Return the folder of a server's data, which is created."""
    chosen = Path(cache_dir or caches.CLIENT_MAP.get(key) or Path(CACHE_DIR_DEFAULT, key))
    while True:
        if not silent and cache_dir is None:
            chosen = Path(input(f"Folder of the download cache [{chosen}]: ").strip() or chosen)
        others = [
            each for each, folder in caches.CLIENT_MAP.items() if each != key and Path(folder) == chosen
        ]
        if not others:
            break
        problem = f"the folder {chosen} is that of {others[0]}: the tables of both would overwrite each other"
        if silent:
            warnings.warn(problem, UserWarning, stacklevel=3)
            break
        if (
            cache_dir is not None
            or input(f"Warning: {problem}. Choose another folder? [Y/n] ").lower() == "n"
        ):
            break
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def get(client: str | None = None, silent: bool = False, username: str | None = None) -> Any:
    """Return the parameters of a server; they are set up first if there are none.

    Parameters
    ----------
    client : str, optional
        URL of the server. By default the default server.
    silent : bool
        Ask nothing.
    username : str, optional
        Name of the user, for a server without parameters.

    Returns
    -------
    params
        The parameters, with the folder of the data as `CACHE_DIR`.
    """
    caches = _caches()
    key = caches.DEFAULT if client is None else _key_from_url(client)
    if not key or _read(key) is None or key not in caches.CLIENT_MAP:
        made = setup(client=client, silent=silent, username=username)
        caches = _caches()
        key = key or getattr(made, "DEFAULT", None)
    values = _read(key) if key else None
    if key is None or values is None or key not in caches.CLIENT_MAP:
        raise InvalidValueError("no parameters were set up: run ONE.setup")
    if not str(values.get("HTTP_DATA_SERVER") or "").startswith("http"):
        # Old files have an address without a scheme.
        values["HTTP_DATA_SERVER"] = _DEFAULTS["HTTP_DATA_SERVER"]
    folder = Path(caches.CLIENT_MAP[key] or Path(CACHE_DIR_DEFAULT, key))
    _move_old_responses(key, folder)
    return iopar.from_dict({**values, "CACHE_DIR": str(folder)})


def _move_old_responses(key: str, folder: Path) -> None:
    """Move the cached REST responses of a server from where old releases kept them."""
    old = get_params_dir() / ".rest" / key
    if not old.is_dir():
        return
    new = folder / ".rest"
    new.mkdir(parents=True, exist_ok=True)
    for file in [each for each in old.rglob("*") if each.is_file()]:
        shutil.move(file, new / file.name)
    for each in sorted(old.rglob("*"), reverse=True):
        each.rmdir()
    old.rmdir()


def get_cache_dir(client: str | None = None) -> Path:
    """Return the folder of a server's data, by default of the default server; it is created."""
    folder = Path(get(client=client, silent=True).CACHE_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def get_params_dir() -> Path:
    """Return the folder of the parameter files."""
    return Path(iopar.getfile(_FOLDER))


def get_default_client(include_schema: bool = True) -> str | None:
    """Return the default server, or None if no default is set.

    Parameters
    ----------
    include_schema : bool
        Return its URL rather than the name of its parameters.
    """
    file = Path(iopar.getfile(_CACHES))
    key = _caches().DEFAULT if file.exists() else None
    if key is None or not include_schema:
        return key
    values = _read(key)
    return values["ALYX_URL"] if values else None


def check_cache_conflict(cache_dir: str | Path | None) -> None:
    """Raise if a folder is that of a server's data.

    Raises
    ------
    AssertionError
        It is.
    """
    file = Path(iopar.getfile(_CACHES))
    folders = _caches().CLIENT_MAP if file.exists() else {}
    used = [
        key for key, folder in folders.items() if cache_dir is not None and Path(folder) == Path(cache_dir)
    ]
    if used:
        raise PreconditionError(f"the folder {cache_dir} is that of the server {used[0]}")
