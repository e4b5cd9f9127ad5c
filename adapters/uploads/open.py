"""Opens the destination of a URL."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import Any

from ...engine.errors import UsageError
from ...engine.frames.source import path_or_uri, source_uri
from ...engine.secrets import redact_url
from ...engine.storage.atomic_files import from_home
from ...engine.storage.urls import fsspec_url
from ...engine.validation import refuse_secret
from .destination import Destination
from .local import LocalDestination
from .target import WAY_OUT

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
_FORBIDDEN = re.compile(r"[?#*\x00-\x1f\x7f]|::")
_KNOWN = "blobs:, file, memory, s3, gs, az, azure, abfs, http, https"

_OBJECTS = {
    "memory": ("memory", "", ""),
    "s3": ("s3", "s3fs", "s3"),
    "gs": ("gs", "gcsfs", "gcs"),
    "gcs": ("gs", "gcsfs", "gcs"),
    **dict.fromkeys(("az", "azure", "abfs", "abfss"), ("abfs", "adlfs", "azure")),
}
"""By scheme: the fsspec filesystem, its library, and the extra that installs it."""


def open_destination(url: str | os.PathLike[str]) -> Destination:
    """Return the destination of a URL, without reading or writing anything there.

    Parameters
    ----------
    url : str or path
        A folder, ``file://``, ``memory://``, ``s3://``, ``gs://``, ``az://``, ``azure://``, ``abfs://``,
        ``http://`` or ``https://``.

    Raises
    ------
    UsageError
        The URL has an unknown scheme, no bucket or server, or a secret; or its library is not installed.
    """
    given = os.fspath(url)
    refuse_secret(given, "the destination", WAY_OUT)
    matched = _URL.fullmatch(given) if given is url else None
    scheme = matched[1].lower() if matched else "file"
    if scheme == "file":
        return LocalDestination(_folder(given))
    rest = matched[2] if matched else ""
    if scheme in {"http", "https"}:
        return _http(scheme, rest)
    if scheme not in _OBJECTS:
        raise UsageError(
            f"{redact_url(given)} is not an upload destination: the scheme must be one of {_KNOWN}"
        )
    return _objects(scheme, rest)


def _folder(given: str) -> str:
    if not _URL.fullmatch(given):
        given = str(from_home(given)) if given else given
    uri = source_uri(given, "the destination")
    path = path_or_uri(uri) or ""
    if path == uri:
        raise UsageError(f"{given} is a folder of another machine: write file:///path")
    if "\0" in path:
        raise UsageError(f"{given!r} is not a valid path on this system")
    return path


def _objects(scheme: str, rest: str) -> Destination:
    protocol, library, extra = _OBJECTS[scheme]
    if not rest.startswith("//"):
        raise UsageError(f"{scheme}:{rest} is not a URL: write {scheme}://...")
    place = "/".join(_parts(f"{scheme}:{rest}", rest))
    if not place and scheme != "memory":
        raise UsageError(f"{scheme}:{rest} has no bucket: write {scheme}://bucket/folder")
    if scheme in {"s3", "gs", "gcs"} and "@" in place.partition("/")[0]:
        raise UsageError(
            f"{redact_url(f'{scheme}:{rest}')}: a bucket name cannot contain @; the library of the store reads credentials "
            "from the environment, configuration files or roles"
        )
    _need(library, extra, scheme)
    from fsspec import get_filesystem_class

    from .objects import ObjectDestination

    filesystem: Any = get_filesystem_class(protocol)
    url = fsspec_url(f"{protocol}://{place}")
    path = filesystem._strip_protocol(url).rstrip("/")  # noqa: SLF001 - fsspec's own way to say it
    options = filesystem._get_kwargs_from_urls(url)  # noqa: SLF001
    root = f"{'gs' if scheme == 'gcs' else scheme}://{place}"
    return ObjectDestination(root, protocol, path, options)


def _parts(shown: str, path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if _FORBIDDEN.search(path) or {".", ".."} & set(parts):
        raise UsageError(
            f"{shown!r} is not a destination: '.', '..', ?, #, *, :: and control characters are not allowed in it"
        )
    return parts


def _http(scheme: str, rest: str) -> Destination:
    from urllib.parse import urlsplit

    shown = redact_url(f"{scheme}:{rest}")
    parts = _parts(shown, rest.removeprefix("//").partition("/")[2])
    try:
        url = urlsplit(f"{scheme}:{rest}")
        host, port = url.hostname, url.port
    except ValueError:
        # The message of Python, and the rest of the URL, may contain a part of a password with a slash.
        raise UsageError(
            f"the {scheme} destination is not a URL: write {scheme}://server:port/folder"
        ) from None
    if not host or not rest.startswith("//") or url.query or url.fragment:
        raise UsageError(f"{shown} has no server: write {scheme}://server/folder")
    _need("requests", "http", scheme)
    from .http import HttpDestination

    host = f"[{host}]" if ":" in host else host
    if port not in {None, {"http": 80, "https": 443}[scheme]}:
        host = f"{host}:{port}"
    return HttpDestination("/".join((f"{scheme}://{host}", *parts)))


def _need(library: str, extra: str, scheme: str) -> None:
    if library and find_spec(library) is None:
        raise UsageError(
            f"{scheme}:// needs {library}, which is not installed: pip install 'framelode[{extra}]'"
        )
