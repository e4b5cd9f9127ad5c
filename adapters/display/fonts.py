"""Fonts that can show a text: Pillow's own for ASCII, those of the extra `fonts`, and those of the machine."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_otc")
"""Packages of the extra `fonts`: Noto Sans in most scripts, and in Chinese, Japanese and Korean."""

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
_TEST_SIZE = 16


class Run(NamedTuple):
    """A part of a text, and the font that shows it."""

    text: str
    font: FreeTypeFont


def runs_of(text: str, size: int) -> list[Run]:
    """Split a text into parts that one font of a size in pixels shows. What no font shows becomes ASCII."""
    text = unicodedata.normalize("NFC", text)
    runs: list[Run] = []
    name = _font_of(text)
    for character in text:
        found = name if _shows(name, character) else _font_of(character)
        shown = character if _shows(found, character) else _ascii(character)
        if runs and found == name:
            runs[-1] = Run(runs[-1].text + shown, runs[-1].font)
        else:
            runs.append(Run(shown, _font(found, size)))
        name = found
    return runs


def unseen(text: str) -> str:
    """Return the characters of a text that no font shows, each once."""
    return "".join(dict.fromkeys(each for each in text if not _shows(_font_of(each), each)))


@lru_cache(maxsize=4096)
def _font_of(text: str) -> str | None:
    """Return the first font that shows a text; None for Pillow's own, also if no font does."""
    if text.isascii():
        return None
    return next((name for name in _fonts() if all(_shows(name, each) for each in text)), None)


@cache
def _fonts() -> tuple[str, ...]:
    packaged = (spec.submodule_search_locations for each in _PACKAGES if (spec := find_spec(each)))
    files = sorted(file for (folder,) in filter(None, packaged) for file in Path(folder).glob("*.[to]t[fc]"))
    known = [str(file) for file in files if "Italic" not in file.name]
    return tuple(name for name in (*known, *_MACHINE_FONTS) if _opened(name, _TEST_SIZE))


@lru_cache(maxsize=256)
def _opened(name: str, size: int) -> FreeTypeFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _font(name: str | None, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    own = cast("FreeTypeFont", ImageFont.load_default(size))
    return own if name is None else _opened(name, size) or own


@lru_cache(maxsize=4096)
def _shows(name: str | None, character: str) -> bool:
    if name is None:
        return character.isascii()
    font = _font(name, _TEST_SIZE)
    return character.isspace() or _ink(font, character) != _ink(font, _NOWHERE)


def _ink(font: Any, character: str) -> bytes:
    return bytes(font.getmask(character))


def _ascii(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    letters = "".join(part for part in parts if not unicodedata.combining(part))
    return letters if letters.isascii() else "?"
