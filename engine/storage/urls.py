"""URLs of files and object stores: schemes, canonical form and accounts."""

from __future__ import annotations

import re

DELETABLE = ("s3", "gs", "gcs", "az", "azure", "abfs", "abfss")
"""Schemes of sources that may be deleted with their frames, beside ``blobs:``."""

_SAME = (("gs", "gcs"), ("az", "azure", "abfs", "abfss"))
"""Schemes that mean the same objects, the one that stands for all of them first."""


def scheme_of(uri: str) -> str:
    """Return the scheme of a URL in small letters; empty for anything else."""
    scheme, colon, _ = uri.partition("://")
    return scheme.lower() if colon else ""


def canonical_uri(uri: str) -> str:
    """Return the one URI that stands for all that mean the same object."""
    scheme = scheme_of(uri)
    return f"{_schemes(scheme)[0]}{uri[len(scheme) :]}"


def spellings(uri: str) -> set[str]:
    """Return the URIs that mean the same object, this one included."""
    scheme = scheme_of(uri)
    return {uri, *(f"{other}{uri[len(scheme) :]}" for other in _schemes(scheme))}


def _schemes(scheme: str) -> tuple[str, ...]:
    return next((schemes for schemes in _SAME if scheme in schemes), (scheme,))


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


OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss"})
"""Schemes of stores whose objects are seen whole or not at all, and outlive this process."""
