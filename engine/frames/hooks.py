"""Where the files of frames are on this machine: the engine fetches nothing, so a higher floor says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

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


Look = TypeVar("Look", bound=Callable[[Any], str])

_looks: list[Callable[[Any], str]] = []


def register_html(look: Look) -> Look:
    """Register what turns a frame or a group into HTML, as a function decorator; the last one counts."""
    _looks[:] = [look]
    return look


def html_of(frame: object) -> str | None:
    """Return the HTML of a frame or a group; None when nothing is registered, so that notebooks show the repr."""
    return _looks[0](frame) if _looks else None
