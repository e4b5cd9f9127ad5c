"""Run-length encoded masks of COCO, and the rings of polygons that they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from ..report import FlawError

MAX_PIXELS = 2**28

Bitmap = NDArray[np.bool_]


def decode_rle(counts: str | Sequence[int], height: int, width: int) -> Bitmap:
    """Return the pixels of a mask, of shape ``(height, width)``.

    Parameters
    ----------
    counts : str or sequence of int
        Lengths of runs of pixels that are alternately outside and inside, down the columns: as numbers, or compressed.

    Raises
    ------
    FlawError
        The runs do not fill the mask, or it is too large.
    """
    if not 0 < height * width <= MAX_PIXELS or height < 0:
        raise FlawError(f"RLE has the size {height} x {width}")
    runs = np.asarray(_decompress(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.ndim != 1 or (len(runs) and runs.min() < 0) or int(runs.sum()) != height * width:
        raise FlawError(f"RLE has runs that do not fill {height} x {width} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def encode_rle(bitmap: Bitmap) -> str:
    """Return the compressed runs of a mask."""
    return _compress(runs_of(bitmap.T.ravel()))


def runs_of(pixels: Bitmap) -> list[int]:
    """Return the lengths of the runs of flat pixels that are alternately outside and inside."""
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate(([0], edges, [len(pixels)]))).tolist()
    return [0, *runs] if len(pixels) and pixels[0] else runs


def _decompress(text: str) -> list[int]:
    """Decode numbers of 5 bits a character, lowest first; from the third on, each is relative to the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for char in text.encode("ascii", "replace"):
        code = char - 48
        if not 0 <= code < 64 or shift > 60:
            raise FlawError("RLE has a character that is not of its alphabet")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise FlawError("RLE ends in the middle of a number")
    return runs


def _compress(runs: Sequence[int]) -> str:
    chars = bytearray()
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            chars.append(48 + (code | 0x20 if more else code))
    return chars.decode("ascii")


def rings_of(bitmap: Bitmap) -> list[list[float]]:
    """Return the outlines of a mask along the edges of its pixels, outer ones and holes, each as a flat list.

    Filled by the even-odd rule they are the mask again.
    """
    padded = np.pad(bitmap, 1)
    # Each side between a pixel inside and one outside is an arrow that has the inside on its right.
    tops = np.argwhere(padded[1:, 1:-1] & ~padded[:-1, 1:-1])
    bottoms = np.argwhere(~padded[1:, 1:-1] & padded[:-1, 1:-1])
    lefts = np.argwhere(padded[1:-1, 1:] & ~padded[1:-1, :-1])
    rights = np.argwhere(~padded[1:-1, 1:] & padded[1:-1, :-1])
    arrows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for found, start, step in (
        (tops, (0, 0), (0, 1)),
        (bottoms, (0, 1), (0, -1)),
        (lefts, (1, 0), (-1, 0)),
        (rights, (0, 0), (1, 0)),
    ):
        for y, x in found.tolist():
            arrows.setdefault((y + start[0], x + start[1]), []).append(step)
    rings: list[list[float]] = []
    for first in sorted(arrows):
        while arrows[first]:
            rings.append(_trace(arrows, first))
    return rings


def _trace(arrows: dict[tuple[int, int], list[tuple[int, int]]], first: tuple[int, int]) -> list[float]:
    """Follow arrows from a corner until they return to it, and take them away."""
    ring: list[float] = []
    at, before = first, (0, 0)
    while True:
        steps = arrows[at]
        # Where two rings touch, turn right, so that neither crosses itself.
        right = (before[1], -before[0])
        step = right if right in steps else steps[0]
        steps.remove(step)
        if step != before:
            ring += (float(at[1]), float(at[0]))
        at, before = (at[0] + step[0], at[1] + step[1]), step
        if at == first:
            return ring


def fill(rings: Sequence[Sequence[float]], height: int, width: int) -> Bitmap:
    """Return the pixels whose centres are inside of rings, by the even-odd rule."""
    changes = np.zeros((height, width + 1), bool)
    for ring in rings:
        points = np.asarray(ring, float).reshape(-1, 2)
        for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
            (x1, y1), (x2, y2) = sorted((start.tolist(), end.tolist()), key=itemgetter(1))
            if y1 == y2:
                continue
            rows = np.arange(max(ceil(y1 - 0.5), 0), min(ceil(y2 - 0.5), height))
            crossings = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            changes[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(changes, axis=1)[:, :width]
