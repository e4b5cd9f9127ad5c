"""The fsspec filesystem ``framelode://``: the files of versions, read-only.

A path is ``[project/]dataset@version/path of the file``, or has ``id:`` and the first digits of a version id in place of the names.
Names are written as in addresses of the command line. The paths of files are those that `DatasetVersion.checkout` writes.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, cast

import msgspec
from fsspec.spec import AbstractFileSystem

from ...engine import forks
from ...engine.errors import NotFoundError, UsageError
from ...engine.log.moments import Moment
from ...engine.validation import shorten
from ..files.expectation import Expectation
from ..files.fetch import fetch
from ..hyperdatasets.address import Address, version_at
from ..hyperdatasets.checkout import relative_names, sources_of
from ..session.current import current_session, entered
from ..session.location import require
from ..session.session import Session, open_session

_TREES_KEPT = 4

Entry = dict[str, Any]


class FramelodeFileSystem(AbstractFileSystem):
    """The files of all versions of an engine, read-only.

    A file is verified against the size and hash of its frame when it is opened. It comes from the local cache if the frame
    refers to another machine. A draft is read as it is at the time of each call.

    Parameters
    ----------
    engine : str, optional
        Folder or URL of the engine. By default the current engine, as `current_engine` finds it.
    as_of : int or datetime, optional
        The position or aware datetime to read at.
    **options : Any
        Options of every fsspec filesystem, such as `skip_instance_cache`.

    Raises
    ------
    UsageError
        There is no engine, a path does not begin with a version, or something would be written.
    FileNotFoundError
        There is no such version, or no such file in it.
    IntegrityError
        A file is not the one that its frame refers to.
    """

    protocol = "framelode"
    root_marker = ""

    def __init__(self, engine: str | None = None, as_of: Moment | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._url = engine
        self._as_of = as_of
        self._opened: Session | None = None
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._opening = threading.Lock()

    @property
    def _session(self) -> Session:
        if self._url is None:
            return current_session().at(self._as_of)
        with self._opening:
            if self._opened is None:
                require(self._url)
                self._opened = open_session(self._url)
                weakref.finalize(self, self._opened.close)
        return self._opened.at(self._as_of)

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        """Return the entries of a folder: projects, the versions in a project, or files and folders of a version.

        Parameters
        ----------
        path : str
            The folder. For a file, its own entry is returned.
        detail : bool
            Return a dict for each entry, see `info`; otherwise its path.
        """
        folder = _plain(path)
        address, name = split_path(folder)
        if address is None:
            children = _projects_or_versions(self._session, folder)
            entries = [_folder(child) for child in children]
        else:
            tree = self._tree(address)
            tree.require(address, name)
            entries = [tree.entry(address, each) for each in tree.folders.get(name, [name])]
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_options: Any) -> Entry:
        """Return the entry of a file or folder.

        Parameters
        ----------
        path : str
            The file or folder.

        Returns
        -------
        dict
            `name`; `type`, ``file`` or ``directory``; `size` in bytes, None if the frame does not tell. A file also has
            `uri`, what the frame refers to, and `hash`, what the frame expects, or None.
        """
        place = _plain(path)
        address, name = split_path(place)
        if address is None:
            _projects_or_versions(self._session, place)
            return _folder(place)
        tree = self._tree(address)
        tree.require(address, name)
        return tree.entry(address, name)

    def ukey(self, path: str) -> str:
        """Return a text that changes with the content: the hash that the frame expects, or else the URI of the file."""
        entry = self.info(path)
        return entry.get("hash") or entry.get("uri") or entry["name"]

    def _open(self, path: str, mode: str = "rb", *_arguments: Any, **_options: Any) -> Any:
        if mode != "rb":
            self._refuse(path)
        entry = self.info(path)
        if entry["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        with entered(self._session):  # a thread of the caller does not know it
            return Path(fetch(entry["uri"], entry["size"], entry["hash"])).open("rb")

    def _tree(self, address: str) -> _Tree:
        try:
            return self._session.shared(_Trees).at(address)
        except NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, str(error), address) from error

    def _refuse(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise UsageError("framelode:// is read-only: change a version with DatasetVersion or `framelode`")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = touch = cp_file = mv = put_file = pipe_file = _refuse


class _Tree(msgspec.Struct, frozen=True):
    """The files of a version by their paths, and the paths in each folder."""

    files: dict[str, Expectation]
    folders: dict[str, list[str]]

    def require(self, address: str, name: str) -> None:
        """Raise `FileNotFoundError` if a path is neither a file nor a folder."""
        if name not in self.files and name not in self.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{address}/{name}")

    def entry(self, address: str, name: str) -> Entry:
        path = f"{address}/{name}" if name else address
        file = self.files.get(name)
        if file is None:
            return _folder(path)
        return {"name": path, "size": file.size, "type": "file", "uri": file.uri, "hash": file.hash}


class _Trees:
    """The files of the versions that were read last."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._trees: OrderedDict[tuple[str, int], _Tree] = OrderedDict()
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def at(self, address: str) -> _Tree:
        """Return the files of the version that an address names. Raises `NotFoundError` if there is none."""
        version = version_at(self._session, Address.parse(address))
        state = self._session.states.read(version.version_id)
        key = version.version_id, state.last_position
        with self._lock:
            if key not in self._trees:
                self._trees[key] = _tree_of(sources_of(self._session, version))
                while len(self._trees) > _TREES_KEPT:
                    self._trees.popitem(last=False)
            self._trees.move_to_end(key)
            return self._trees[key]


def _tree_of(sources: dict[str, Expectation]) -> _Tree:
    files = {name: sources[uri] for uri, name in relative_names(sources).items()}
    folders: dict[str, dict[str, None]] = {"": {}}
    for name in files:
        child = name
        while child:
            folder = child.rpartition("/")[0]
            is_known = folder in folders
            folders.setdefault(folder, {})[child] = None
            child = "" if is_known else folder
    return _Tree(files, {folder: list(children) for folder, children in folders.items()})


def _plain(path: str) -> str:
    return cast("str", FramelodeFileSystem._strip_protocol(path))  # noqa: SLF001 - this module


def split_path(path: str) -> tuple[str | None, str]:
    """Split a path into the address of a version, or None if it names none, and the path in that version.

    Raises
    ------
    UsageError
        A path of more than a project has no version.
    """
    parts = path.strip("/").split("/")
    if parts[0].startswith("id:") or "@" in parts[0]:
        return parts[0], "/".join(parts[1:])
    if len(parts) == 1:
        return None, ""
    if "@" in parts[1]:
        return "/".join(parts[:2]), "/".join(parts[2:])
    raise UsageError(
        f"{shorten(path)} has no version: write [project/]dataset@version/path, or id:DIGITS/path"
    )


def _projects_or_versions(session: Session, project: str) -> Iterable[str]:
    """Return the projects, or the addresses of the versions in one. Raises `FileNotFoundError` if there is no such project."""
    with session.read_catalog() as connection:
        datasets = {row.dataset_id: row for row in session.catalog.datasets(connection)}
        versions = session.catalog.versions(connection)
    found: dict[str, dict[str, None]] = {}
    for version in versions:
        dataset = datasets[version.dataset_id]
        address = str(Address(dataset.name, dataset.project, version.name))
        found.setdefault(address.partition("/")[0], {})[address] = None
    if project and project not in found:
        raise FileNotFoundError(errno.ENOENT, "there is no such project", project)
    return found[project] if project else found


def _folder(path: str) -> Entry:
    return {"name": path, "size": 0, "type": "directory"}
