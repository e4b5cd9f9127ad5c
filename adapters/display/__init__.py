"""HTML for notebooks, and pictures with annotations."""

from __future__ import annotations

from typing import Any

from ...engine.frames.hooks import register_html


@register_html
def _frame_html(frame: Any) -> str:
    from .frame_html import frame_html

    return frame_html(frame)
