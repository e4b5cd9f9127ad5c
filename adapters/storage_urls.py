"""URLs of object stores, as fsspec spells them."""

from __future__ import annotations

import re

from ..engine.objects import OBJECT_STORES, scheme_of

_ACCOUNT = re.compile(r"([a-z0-9]+)\.(?:blob|dfs)\.core\.windows\.net")
_AZURE = {"az", "azure", "abfs", "abfss"}


def is_object_store(url: str) -> bool:
    """Say whether a URL is that of a store that many machines share, whose objects are seen whole or not at all."""
    return scheme_of(url) in OBJECT_STORES


def fsspec_url(url: str) -> str:
    """Return a URL as fsspec reads it.

    ``azure://`` is ``abfs://`` to it, and an account that leads the path,
    ``azure://account.blob.core.windows.net/container/name``, stands behind the container; other URLs stay.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.lower() not in _AZURE:
        return url
    host, _, path = rest.partition("/")
    account = _ACCOUNT.fullmatch(host)
    if account is None:
        return f"abfs://{rest}"
    container, _, name = path.partition("/")
    behind = f"{container}@" if container else ""
    return f"abfs://{behind}{account[1]}.dfs.core.windows.net/{name}"
