"""Filesystems of fsspec: which of them URLs may open, and how they come to an end when a store does not answer."""

from __future__ import annotations

import os
import re
from typing import Any

from .errors import UsageError
from .object_errors import way_out
from .secrets import find_secret

PROTOCOLS_VARIABLE = "FRAMELODE_PROTOCOLS"
"""Names of further protocols that URLs may use, separated by commas."""

_ALLOWED = frozenset(
    "file local memory data http https s3 s3a gs gcs az azure abfs abfss".split()  # noqa: SIM905
)
_PATH = re.compile(r"[/.\\]")

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
"""How long Google's store is waited for, without an end otherwise."""

_GOOGLE = ("gs", "gcs")


def ending_options(scheme: str) -> dict[str, Any]:
    """Return the options without which the filesystem of a scheme waits for ever, unless they are configured."""
    if scheme not in _GOOGLE:
        return {}
    from aiohttp import ClientTimeout
    from fsspec.config import conf

    if any("requests_timeout" in conf.get(name, {}) for name in _GOOGLE):
        return {}
    return {
        "requests_timeout": ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
    }


def open_filesystem(url: str, name: str, **options: Any) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path on it.

    The URL may come from a log, a settings file or a manifest of someone else, and some filesystems of fsspec fetch
    code, run it, or open further URLs (a chain such as ``simplecache::https://...``). Only the protocols of files and
    object stores are opened, unless `FRAMELODE_PROTOCOLS` names others. Behind an allowed protocol ``::`` is a part of
    the path.

    Parameters
    ----------
    url : str
        The URL, as fsspec spells it.
    name : str
        What messages call it.
    options : Any
        What the filesystem is opened with.

    Raises
    ------
    UsageError
        A protocol is not allowed or unknown, or its library is not installed.
    """
    protocols = _protocols(url)
    asked_for = {each.strip().lower() for each in os.environ.get(PROTOCOLS_VARIABLE, "").split(",")}
    for protocol in protocols:
        if protocol.lower() not in _ALLOWED | asked_for:
            raise UsageError(
                f"{name} is not opened: the protocol {protocol!r} is not allowed; if you trust the URL, "
                f"add {protocol} to {PROTOCOLS_VARIABLE}"
            )
    import fsspec
    from fsspec.core import url_to_fs

    try:
        if len(protocols) > 1:
            return url_to_fs(url, **options)
        kind: Any = fsspec.get_filesystem_class(protocols[0])
        options = kind._get_kwargs_from_urls(url) | options  # noqa: SLF001 - what `url_to_fs` does
        return fsspec.filesystem(protocols[0], **options), kind._strip_protocol(url)  # noqa: SLF001
    except (ImportError, ValueError) as error:
        raise UsageError(f"{name} cannot be opened: {error}{way_out(url, error)}") from (
            None if find_secret(url) else error
        )


def _protocols(url: str) -> list[str]:
    """Return the protocols of the filesystems that fsspec would open for a URL, the outermost first."""
    first, colon, _ = url.partition(":")
    if not colon or "/" in first:
        return ["file"]
    if first.lower() in _ALLOWED:
        return [first]
    links = url.split("::")
    return [link.partition(":")[0] if ":" in link or not _PATH.search(link) else "file" for link in links]


def asked_once(filesystem: Any) -> Any:
    """Return a filesystem whose requests are not repeated twice over: boto repeats what s3fs repeats again."""
    if hasattr(filesystem, "call_s3"):
        filesystem.retries = 1
    return filesystem
