"""URLs of files and object stores: schemes, canonical form and accounts."""

from __future__ import annotations

import re
from urllib.parse import unquote

DELETABLE = ("s3", "gs", "gcs", "az", "azure", "abfs", "abfss")
"""Schemes of sources that can be deleted with their frames, besides ``blobs:``."""

_SAME = (("s3", "s3a"), ("gs", "gcs"), ("az", "azure", "abfs", "abfss", "wasb", "wasbs"))
"""Schemes of the same object store; the canonical scheme comes first."""

_CANONICAL = frozenset(schemes[0] for schemes in _SAME)

_ACCOUNT = r"(?i)([a-z0-9]+)\.(?:blob|dfs)\.core\.windows\.net"

_AZURE = {"az", "azure", "abfs", "abfss"}


def scheme_of(uri: str) -> str:
    """Return the scheme of a URL in lower case; empty for anything else."""
    scheme, colon, _ = uri.partition("://")
    return scheme.lower() if colon else ""


def canonical_uri(uri: str) -> str:
    """Return the canonical URI of an object: with the canonical scheme, and Azure's account in one place."""
    scheme = scheme_of(uri)
    canonical = _schemes(scheme)[0]
    rest = uri[len(scheme) :]
    if canonical == "az":
        container, account, path = _azure_parts(rest.removeprefix("://"))
        rest = f"://{container}@{account}.dfs.core.windows.net/{path}" if account else rest
    return canonical + rest


def spellings(uri: str) -> set[str]:
    """Return the URIs of the same object, including this one."""
    scheme = scheme_of(uri)
    schemes, rest = _schemes(scheme), uri[len(scheme) :]
    rests = {rest}
    if schemes[0] == "az":
        container, account, path = _azure_parts(rest.removeprefix("://"))
        if account:
            hosts = [f"{account}.{service}.core.windows.net" for service in ("blob", "dfs")]
            rests |= {f"://{container}@{host}/{path}" for host in hosts}
            rests |= {f"://{host}/{container}/{path}" for host in hosts}
    return {uri, *(scheme + rest for scheme in schemes for rest in rests)}


def object_key(uri: str) -> str:
    """Return a key that is equal for URIs that may refer to the same object. Different objects can share a key.

    It decides whether a file is still needed, so it ignores percent-encoding, doubled slashes, the case of the host,
    and the account of an Azure container, which may come from the environment.
    """
    scheme = _schemes(scheme_of(uri))[0]
    if scheme not in _CANONICAL:
        return uri
    rest = uri.partition("://")[2]
    if scheme == "az":
        container, _, path = _azure_parts(rest)
        rest = f"{container}/{path}"
    host, _, path = unquote(rest).partition("/")
    return f"{scheme}://{host.lower()}/{'/'.join(filter(None, path.split('/')))}"


def _schemes(scheme: str) -> tuple[str, ...]:
    return next((schemes for schemes in _SAME if scheme in schemes), (scheme,))


def _azure_parts(rest: str) -> tuple[str, str, str]:
    """Return container, account and path of an Azure URL without its scheme. The account is empty if there is none."""
    host, _, path = rest.partition("/")
    container, at, host_of_container = host.rpartition("@")
    if at and (account := re.fullmatch(_ACCOUNT, host_of_container)):
        return container, account[1].lower(), path
    if account := re.fullmatch(_ACCOUNT, host):
        container, _, path = path.partition("/")
        return container, account[1].lower(), path
    return host, "", path


def is_object_store(url: str) -> bool:
    """Whether a URL is that of an object store, in which objects appear atomically and are shared by machines."""
    return scheme_of(url) in OBJECT_STORES


def fsspec_url(url: str) -> str:
    """Return a URL in the form of fsspec.

    ``azure://`` becomes ``abfs://``, and an account in the host, as in
    ``azure://account.blob.core.windows.net/container/name``, follows the container. Other URLs are unchanged.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.lower() not in _AZURE:
        return url
    container, account, path = _azure_parts(rest)
    if not account:
        return f"abfs://{rest}"
    behind = f"{container}@" if container else ""
    return f"abfs://{behind}{account}.dfs.core.windows.net/{path}"


OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss"})
"""Schemes of stores in which objects appear atomically and persist."""
