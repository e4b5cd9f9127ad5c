"""Fonts that can show a text: Pillow's own for ASCII, the machine's for everything else."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_MACHINE_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msyh.ttc",
)
_NOWHERE = "\U0010ffff"


def font_for(text: str, size: int) -> tuple[FreeTypeFont, str]:
    """Return a font of a size in pixels, and the text as it can show it: plain letters where none can."""
    from PIL import ImageFont

    if not text.isascii():
        for name in _MACHINE_FONTS:
            font = _machine_font(name, size)
            if font is not None and all(_shows(font, character) for character in set(text)):
                return font, text
    return cast("FreeTypeFont", ImageFont.load_default(size)), _ascii(text)


@lru_cache(maxsize=64)
def _machine_font(name: str, size: int) -> FreeTypeFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _shows(font: FreeTypeFont, character: str) -> bool:
    return character.isspace() or _ink(font, character) != _ink(font, _NOWHERE)


def _ink(font: Any, character: str) -> bytes:
    return bytes(font.getmask(character))


def _ascii(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    letters = "".join(character for character in parts if not unicodedata.combining(character))
    return letters.encode("ascii", "replace").decode()
