"""Filesystems of fsspec that come to an end when a store does not answer."""

from __future__ import annotations

from typing import Any

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


def asked_once(filesystem: Any) -> Any:
    """Return a filesystem whose requests are not repeated twice over: boto repeats what s3fs repeats again."""
    if hasattr(filesystem, "call_s3"):
        filesystem.retries = 1
    return filesystem
