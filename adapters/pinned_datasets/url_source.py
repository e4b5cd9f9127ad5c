"""Reads the content metadata at a URL: sizes with the identifiers of the store, or digests if it has none."""

from __future__ import annotations

import base64
import configparser
import hashlib
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...engine.errors import FramelodeError, InvalidValueError, NotFoundError, StorageError, UsageError
from ...engine.storage.atomic_files import from_home
from ...engine.storage.object_errors import install_hint, reason
from ...engine.storage.objects import open_filesystem
from ...engine.storage.urls import fsspec_url
from ...engine.validation import shorten
from ..files.open import missing
from .local_source import local_files, local_meta
from .records import FileInfo, Meta
from .resolver import ResolveContext
from .timeouts import Beat, call_with_timeout

_CHUNK = 1 << 20
_VERSIONED = {"s3", "s3a"}
_GOOGLE = {"gs", "gcs"}
_AZURE = {"az", "azure", "abfs", "abfss"}
_OBJECTS = _VERSIONED | _GOOGLE | _AZURE
_WEB = {"http", "https"}
_PAGE = 64 << 20
_WHOLE = 10
"""How many timeouts a response of unknown length may take, because it may never end."""


def read_url(url: str, reach: ResolveContext, *, times: bool = False) -> tuple[Meta, list[FileInfo]]:
    """Return the metadata of a file, or of a folder and its files.

    Parameters
    ----------
    times : bool
        Include the modification times of local files.

    Raises
    ------
    NotFoundError
        There is nothing at the URL.
    UsageError
        The scheme is unknown, or the library that reads it is not installed.
    InvalidValueError
        There is something other than a file or folder, or a file name that cannot be stored.
    StorageError
        It cannot be read, or does not answer in time.
    """
    url = _of_remote(url, reach.root)
    scheme, path = _parts(url, reach.root)

    def read(beat: Beat) -> tuple[Meta, list[FileInfo]]:
        if scheme == "file":
            return _read_local(path, reach, beat, times=times)
        return _read_remote(url, scheme, reach, beat)

    return call_with_timeout(read, shorten(url), reach.timeout)


def _parts(url: str, root: Path) -> tuple[str, str]:
    """Return the scheme of a URL, and the path of a local one."""
    if "\0" in url or not url:
        raise InvalidValueError(f"{shorten(url)} is not a URL")
    if url.startswith("file://"):
        # Like fsspec, without percent-decoding.
        return "file", url.removeprefix("file://")
    if "://" not in url and "::" not in url:
        return "file", str(root / from_home(url))
    return url.partition("::" if "::" in url.partition("://")[0] else "://")[0].lower(), ""


def _of_remote(url: str, root: Path) -> str:
    """Return the URL that `remote://name/path` stands for, by the configuration of DVC. Other URLs stay."""
    seen: set[str] = set()
    while url.startswith("remote://"):
        name, _, path = url.removeprefix("remote://").partition("/")
        base = None if name in seen else _remotes(root).get(name)
        if base is None:
            raise UsageError(
                f"{shorten(url)}: the configuration of DVC has no URL of a remote {shorten(name)}: add one with dvc remote add"
            )
        seen.add(name)
        url = f"{base.rstrip('/')}/{path}" if path else base
    return url


def _remotes(root: Path) -> dict[str, str]:
    """Return the URLs of the remotes of the DVC repository around a folder. Local ones are relative to its configuration."""
    folder = next((each / ".dvc" for each in (root, *root.parents) if (each / ".dvc").is_dir()), root)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read([folder / "config", folder / "config.local"], "utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration of DVC in {folder} cannot be read: {error}") from error
    named = ((re.fullmatch(r"'?remote \"(.+)\"'?", section), section) for section in parser.sections())
    urls = {found[1]: parser.get(section, "url", fallback="") for found, section in named if found}
    return {
        name: url if "://" in url else os.path.normpath(folder / from_home(url))
        for name, url in urls.items()
        if url
    }


def _read_local(path: str, reach: ResolveContext, beat: Beat, *, times: bool) -> tuple[Meta, list[FileInfo]]:
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no file or folder {shorten(path)}") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{shorten(path)} cannot be read: {getattr(error, 'strerror', error)}") from error
    if stat.S_ISDIR(mode):
        return _folder(_counted(local_files(path.rstrip("/") or "/", beat, times=times), None, reach))
    return local_meta(path, beat, times=times), []


def _read_remote(url: str, scheme: str, reach: ResolveContext, beat: Beat) -> tuple[Meta, list[FileInfo]]:
    shown = shorten(url)
    try:
        filesystem, path = _filesystem(url, scheme, reach)
        store = _Store(filesystem, scheme, beat, _WHOLE * reach.timeout)
        if scheme not in _WEB or not url.endswith("/"):
            found = store.info(path)
            beat()
            if found["type"] != "directory":
                return store.meta(path, found), []
        listed = store.listed(path)
        beat()
        return _folder(_counted(store.files(path, listed), len(listed), reach))
    except FramelodeError:
        raise
    except FileNotFoundError as error:
        raise _missing(url, error) from error
    except (ImportError, ValueError) as error:
        raise UsageError(f"{shown} cannot be read: {error}{install_hint(url, error)}") from error
    except Exception as error:
        # Each filesystem raises its own errors.
        raise StorageError(f"{shown} cannot be read: {reason(error)}") from error


def _missing(url: str, error: FileNotFoundError) -> FramelodeError:
    found = missing(url, error)
    return NotFoundError(f"there is nothing at {shorten(url)}") if isinstance(found, NotFoundError) else found


def _filesystem(url: str, scheme: str, reach: ResolveContext) -> tuple[Any, str]:
    """Return the filesystem of a URL and the path in it. Filesystems created before are reused."""
    held = reach.filesystems
    key = (os.getpid(), scheme, url.partition("://")[2].partition("/")[0])
    if key in held:
        return held[key], held[key]._strip_protocol(fsspec_url(url))  # noqa: SLF001 - fsspec's own way to say it

    # Changes by others must be seen, so cached instances and listings are not used.
    options: dict[str, Any] = {"version_aware": True} if scheme in _VERSIONED else {}
    if scheme in _OBJECTS | _WEB:
        options |= {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme in _WEB:
        options["client_kwargs"] = _client_options(scheme, _WHOLE * reach.timeout)
    filesystem, path = open_filesystem(fsspec_url(url), shorten(url), **options)
    if "::" not in url:  # a chained URL has its own filesystem
        held[key] = filesystem
    return filesystem, path


def _client_options(scheme: str, limit: float) -> dict[str, Any]:
    """Return the options of a web client: limits for a response, whose own is five minutes, and what is configured."""
    from aiohttp import ClientResponse, ClientTimeout
    from fsspec.config import conf

    class LimitedResponse(ClientResponse):
        """A response with a limited text, because the page that lists a folder is kept in memory."""

        async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
            page = bytearray()
            async for data in self.content.iter_any():
                page += data
                if len(page) > _PAGE:
                    raise StorageError(
                        f"{shorten(str(self.url))} lists a folder on a page of more than {_PAGE:,} bytes, which is the limit"
                    )
            return page.decode(encoding or self.charset or "utf-8", errors)

    options = {"timeout": ClientTimeout(total=limit), "response_class": LimitedResponse}
    return options | conf.get(scheme, {}).get("client_kwargs", {})


def _folder(files: Iterable[FileInfo]) -> tuple[Meta, list[FileInfo]]:
    found = sorted(files, key=lambda file: file.relpath)
    size = sum(file.meta.size or 0 for file in found)
    return Meta(isdir=True, size=size, nfiles=len(found)), found


def _counted(files: Iterable[FileInfo], total: int | None, reach: ResolveContext) -> Iterator[FileInfo]:
    for done, file in enumerate(files, 1):
        yield file
        if reach.callback:
            reach.callback(done, total)


class _Store:
    """An fsspec filesystem, and its content metadata.

    Parameters
    ----------
    limit : float
        Maximum seconds to read a content of unknown length.
    """

    def __init__(self, filesystem: Any, scheme: str, beat: Beat, limit: float) -> None:
        self._filesystem = filesystem
        self._scheme = scheme
        self._beat = beat
        self._limit = limit

    def info(self, path: str) -> dict[str, Any]:
        """Return the metadata of a path."""
        return self._filesystem.info(path)

    def listed(self, path: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of all files below a path."""
        if self._scheme not in _OBJECTS:
            return self._walked(path)
        # Such a store lists all levels with as few requests as possible.
        listed = self._filesystem.find(path, detail=True)
        for name in [name for name, found in listed.items() if found["type"] == "directory"]:
            del listed[name]
        if not listed:
            # It has no empty folders, even if a cache has one.
            raise FileNotFoundError(path)
        return listed

    def _walked(self, path: str) -> dict[str, dict[str, Any]]:
        """Return what a walk finds. That of fsspec leaves out folders that cannot be listed."""
        listed: dict[str, dict[str, Any]] = {}
        seen, left = {path.rstrip("/")}, [path]
        while left:
            for found in self._filesystem.ls(left.pop(), detail=True):
                name = found["name"].rstrip("/")
                if found["type"] != "directory":
                    listed[found["name"]] = found
                elif name not in seen:
                    seen.add(name)
                    left.append(name)
        return listed

    def files(self, path: str, listed: dict[str, dict[str, Any]]) -> Iterator[FileInfo]:
        """Yield the files below a path."""
        prefix = path.rstrip("/") + "/"
        for name in sorted(listed):
            found = listed.pop(name)
            # In a store without folders, an object that marks a folder is not a file.
            if name.endswith("/") or name == path:
                continue
            if not name.startswith(prefix):
                raise StorageError(f"the store lists {shorten(name)} below {shorten(path)}")
            # The listing of a web server only has names.
            found = self.info(name) if self._scheme in _WEB else found
            yield FileInfo(relpath=name.removeprefix(prefix), meta=self.meta(name, found))

    def meta(self, path: str, found: dict[str, Any]) -> Meta:
        """Return the metadata of a file. Its content is read only if the store has no identifier for it."""
        self._beat()
        names: dict[str, Any] = {name: str(value) for name, value in self._names(found).items() if value}
        size = found.get("size")
        if names:
            return Meta(size=None if size is None else int(size), **names)
        digest, length = self._digest(path, math.inf if size is not None else time.monotonic() + self._limit)
        return Meta(size=length, md5=digest)

    def _names(self, found: dict[str, Any]) -> dict[str, Any]:
        if self._scheme in _VERSIONED:
            version = found.get("VersionId")
            etag = (found.get("ETag") or "").strip('"')
            return {"version_id": None if version == "null" else version, "etag": etag}
        if self._scheme in _GOOGLE:
            return {"version_id": found.get("generation"), "etag": _hex(found.get("etag"))}
        if self._scheme in _WEB:
            return {"checksum": found.get("ETag") or found.get("Content-MD5")}
        etag = found.get("etag")
        if self._scheme in _AZURE and etag and not str(etag).startswith('"'):
            etag = f'"{etag}"'
        version = found.get("version_id") if self._scheme in _AZURE else None
        return {"version_id": version, "etag": etag}

    def _digest(self, path: str, latest: float) -> tuple[str, int]:
        digest, length = hashlib.md5(usedforsecurity=False), 0
        with self._filesystem.open(path, "rb") as file:
            while data := file.read(_CHUNK):
                self._beat()
                digest.update(data)
                length += len(data)
                if time.monotonic() > latest:
                    raise StorageError(
                        f"{shorten(path)} has no length, and did not end within {self._limit:g} seconds: use a longer timeout"
                    )
        return digest.hexdigest(), length


def _hex(etag: Any) -> str | None:
    """Return an etag of Google Cloud Storage in the form of DVC."""
    try:
        return None if etag is None else base64.b64decode(etag, validate=True).hex()
    except ValueError:
        return str(etag)
