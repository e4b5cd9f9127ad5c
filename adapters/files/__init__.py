"""Local copies of the files of frames: a cache of limited size, keyed by digest."""

from __future__ import annotations

from ...engine.frames.hooks import register_fetch


@register_fetch
def _fetch(uri: str, size: int | None, hash_: str | None, anew: bool) -> str:
    from .fetch import fetch

    return fetch(uri, size, hash_, anew)
