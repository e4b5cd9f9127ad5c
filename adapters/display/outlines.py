"""Outlines of annotations in pixels, and clipping to the visible area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from ...engine.annotations.base import Annotation
from ...engine.annotations.shapes import Points, Rings, turned
from ...engine.annotations.types import BoundingBox2D, BoundingBox3D, Ellipse2D, KeyPoints2D, KeyPoints3D

Point = tuple[float, float]
Ring = list[Point]
View = tuple[float, float, float, float]
"""Left, top, right and bottom."""

_FARTHEST = 1e7
"""Limit of coordinates in pixels: outside of every picture, but safe to calculate with."""


class Outline(msgspec.Struct, frozen=True):
    """The geometry of an annotation. A filled outline is an area, and rings inside others are holes."""

    rings: list[Ring] = []
    dots: list[Point] = []
    is_filled: bool = False

    def scaled(self, across: float, down: float) -> Outline:
        """Return the outline, scaled to another picture size."""
        rings = [_scaled(ring, across, down) for ring in self.rings]
        return Outline(rings, _scaled(self.dots, across, down), self.is_filled)

    def extent(self) -> View | None:
        """Return the axis-aligned box around everything, or None if it is empty."""
        points = [point for ring in (*self.rings, self.dots) for point in ring]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return (min(xs), min(ys), max(xs), max(ys)) if points else None


def outline_of(annotation: Annotation) -> Outline:
    """Return the outline of an annotation in pixels of its source. Three-dimensional ones are projected along z.

    For other types, it is the bounding box that the type returns.
    """
    match annotation:
        case BoundingBox2D():
            outline = Outline([annotation.vertices])
        case BoundingBox3D():
            outline = Outline(_cuboid([(x, y) for x, y, _ in annotation.vertices]))
        case Ellipse2D():
            outline = Outline([_ellipse(*annotation.poly)])
        case KeyPoints2D() | KeyPoints3D():
            outline = Outline(dots=_flat(annotation.points))
        case Points():
            outline = Outline([_flat(annotation.points)], is_filled=True)
        case Rings():
            outline = Outline([_flat(ring) for ring in annotation.rings], is_filled=True)
        case _:
            left, top, width, height = annotation.get_bounding_box()
            outline = Outline([_box(left, top, width, height)] if width or height else [])
    return outline


def seen_segments(ring: Ring, view: View) -> list[tuple[Point, Point]]:
    """Return the parts of a closed ring's edges inside a view."""
    edges = zip(ring, [*ring[1:], ring[0]], strict=True)
    return [part for start, end in edges if (part := _clip_segment(start, end, view))]


def seen_area(ring: Ring, view: View) -> Ring:
    """Return the part of a ring's area inside a view, empty if there is none."""
    for axis, bound, keeps_above in (
        (0, view[0], True),
        (0, view[2], False),
        (1, view[1], True),
        (1, view[3], False),
    ):
        ring = _clip_area(ring, axis, bound, keeps_above=keeps_above)
    return ring


def is_within(point: Point, view: View) -> bool:
    """Whether a point is inside a view."""
    return view[0] <= point[0] <= view[2] and view[1] <= point[1] <= view[3]


def overlaps(one: View, other: View) -> bool:
    """Whether two boxes overlap."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _scaled(points: Iterable[Point], across: float, down: float) -> Ring:
    return [(_near(x * across), _near(y * down)) for x, y in points]


def _near(number: float) -> float:
    return max(-_FARTHEST, min(_FARTHEST, number)) if number == number else 0.0  # noqa: PLR0124 - NaN differs from itself


def _flat(points: Iterable[tuple[float, ...]]) -> Ring:
    return [(point[0], point[1]) for point in points]


def _box(left: float, top: float, width: float, height: float) -> Ring:
    right, bottom = left + width, top + height
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cuboid(corners: Sequence[Point]) -> list[Ring]:
    front, back = list(corners[:4]), list(corners[4:])
    return [front, back, *([a, b] for a, b in zip(front, back, strict=True))]


def _ellipse(cx: float, cy: float, rx: float, ry: float, theta: float) -> Ring:
    count = int(min(360.0, 36 + max(rx, ry) / 4))
    cosine, sine = math.cos(theta), math.sin(theta)
    angles = [2 * math.pi * step / count for step in range(count)]
    points = [turned(rx * math.cos(angle), ry * math.sin(angle), cosine, sine) for angle in angles]
    return [(cx + x, cy + y) for x, y in points]


def _clip_segment(start: Point, end: Point, view: View) -> tuple[Point, Point] | None:
    """Return the visible part of a segment, with the algorithm of Liang and Barsky."""
    (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
    first, last = 0.0, 1.0
    for step, room in ((-dx, x - view[0]), (dx, view[2] - x), (-dy, y - view[1]), (dy, view[3] - y)):
        if step == 0:
            if room < 0:
                return None
        elif step < 0:
            first = max(first, room / step)
        else:
            last = min(last, room / step)
    if first > last:
        return None
    return (x + first * dx, y + first * dy), (x + last * dx, y + last * dy)


def _clip_area(ring: Ring, axis: int, bound: float, *, keeps_above: bool) -> Ring:
    """Return the part of an area on one side of a line along an axis, with the algorithm of Sutherland and Hodgman."""
    kept: Ring = []
    for index, point in enumerate(ring):
        before = ring[index - 1]
        is_in = (point[axis] >= bound) == keeps_above
        if is_in != ((before[axis] >= bound) == keeps_above):
            kept.append(_crossing(before, point, axis, bound))
        if is_in:
            kept.append(point)
    return kept


def _crossing(start: Point, end: Point, axis: int, bound: float) -> Point:
    share = (bound - start[axis]) / (end[axis] - start[axis])
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
