"""Polygons as pixels: the masks that formats keep, cut to their box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .coco.rle import Bitmap, fill
from .geometry import Ring
from .report import Report

_MOST_PIXELS = 2**26


class Pixels(NamedTuple):
    """Pixels inside of a box: its left and top, and a mask of shape ``(height, width)``."""

    left: int
    top: int
    bitmap: Bitmap


def pixels_of(rings: Sequence[Ring], report: Report, place: str) -> Pixels | None:
    """Return the pixels inside of the rings of a polygon; None, which is noted, if there are none."""
    found = _filled(rings)
    if found is None:
        report.loss("polygon of several rings without pixels: left out", place)
    elif not _is_along_pixels(rings):
        report.loss("polygon of several rings: written as the pixels inside of it", place)
    return found


def _filled(rings: Sequence[Ring]) -> Pixels | None:
    flat = [number for ring in rings for number in ring]
    if not flat:
        return None
    left, top = math.floor(min(flat[0::2])), math.floor(min(flat[1::2]))
    width, height = math.ceil(max(flat[0::2])) - left, math.ceil(max(flat[1::2])) - top
    if not 0 < width * height <= _MOST_PIXELS:
        return None
    bitmap = fill(moved(rings, -left, -top), height, width)
    return Pixels(left, top, bitmap) if bitmap.any() else None


def _is_along_pixels(rings: Sequence[Ring]) -> bool:
    """Whether rings go along the edges of pixels only."""
    return all(
        float(number).is_integer() and (ring[at] == ring[at - 2] or ring[at ^ 1] == ring[(at ^ 1) - 2])
        for ring in rings
        for at, number in enumerate(ring)
    )


def moved(rings: Sequence[Ring], x: float, y: float) -> list[list[float]]:
    """Return rings at another place."""
    return [[number + (y if at % 2 else x) for at, number in enumerate(ring)] for ring in rings]
