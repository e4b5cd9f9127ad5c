"""The contents that frames name as files on this machine: a cache of bounded size, keyed by digest."""

from __future__ import annotations

from ...engine.frames.hooks import register_fetch


@register_fetch
def _fetch(uri: str, size: int | None, hash_: str | None) -> str:
    from .fetch import fetch

    return fetch(uri, size, hash_)
