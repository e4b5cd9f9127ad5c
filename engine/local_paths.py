"""Where the files of frames are on this machine: the engine fetches nothing, so a higher floor says it."""

from __future__ import annotations

from collections.abc import Callable

Fetch = Callable[[str, "int | None", "str | None"], str]
"""Gives the local path of a URI's content, checked against a size and a hash where they are known."""

_fetches: list[Fetch] = []


def register_fetch(fetch: Fetch) -> Fetch:
    """Register what fetches contents, as a function decorator; the last one counts."""
    _fetches[:] = [fetch]
    return fetch


def local_path(uri: str, size: int | None = None, hash_: str | None = None) -> str:
    """Return the local path of a URI's content."""
    (fetch,) = _fetches
    return fetch(uri, size, hash_)
