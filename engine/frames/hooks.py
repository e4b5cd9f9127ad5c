"""Hooks for the adapters layer: the local path of a frame's files, and its HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Fetch = Callable[[str, "int | None", "str | None", bool], str]
"""Returns the local path of a URI's content, after checking its size and hash if they are known.

The last argument fetches a file again that is in the cache.
"""

_fetches: list[Fetch] = []


def register_fetch(fetch: Fetch) -> Fetch:
    """Register the function that fetches files, as a decorator. The last registration is used."""
    _fetches[:] = [fetch]
    return fetch


def local_path(uri: str, size: int | None = None, hash_: str | None = None, anew: bool = False) -> str:
    """Return the local path of the content of a URI."""
    (fetch,) = _fetches
    return fetch(uri, size, hash_, anew)


Look = TypeVar("Look", bound=Callable[[Any], str])

_looks: list[Callable[[Any], str]] = []


def register_html(look: Look) -> Look:
    """Register the function that renders a frame or group as HTML, as a decorator. The last registration is used."""
    _looks[:] = [look]
    return look


def html_of(frame: object) -> str | None:
    """Return the HTML of a frame or group, or None if nothing is registered; notebooks then show the repr."""
    return _looks[0](frame) if _looks else None
