"""How frames, versions and datasets look: HTML for notebooks, and pictures with annotations drawn on them."""

from .frames import frame_html
from .pictures import draw

__all__ = ["draw", "frame_html"]
