"""A colour for each label, the same in every picture, process and release."""

from __future__ import annotations

import colorsys

from blake3 import blake3

from ...engine.annotations.base import Annotation

Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)

_LIGHT = 140
"""Luminance above which text is black."""


def colour_of(name: str) -> Colour:
    """Return the colour of a name."""
    digest = blake3(name.encode("utf-8", "replace")).digest(3)
    hue, lightness = int.from_bytes(digest[:2], "big") / 65536, (0.42, 0.52, 0.64)[digest[2] % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def annotation_colour(annotation: Annotation) -> Colour:
    """Return the colour of an annotation: that of its first label, or of its type if it has no label."""
    return colour_of(str(annotation.labels[0]) if annotation.labels else annotation.type)


def text_colour(background: Colour) -> Colour:
    """Return black or white, whichever is legible on a colour."""
    red, green, blue = background
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue >= _LIGHT else WHITE


def css(colour: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
