"""Shapes that several formats write: key points beside a shape, holes, and what is inside of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...engine.annotations.base import Annotation
from ...engine.annotations.types import BoundingBox2D, ComplexPolygon2D, Ellipse2D, KeyPoints2D, Polygon2D
from ...engine.frames.single_frame import SingleFrame
from ...engine.frames.source import path_or_uri
from ...engine.validation import shorten
from .files import image_size
from .report import FlawError, Report

VISIBILITY = "visibility"
"""Key of the metadata of key points: 0 for a point that is not given, 1 for one that is hidden, 2 for one that is visible."""

SHAPE = "shape"
"""Key of the metadata of key points that are something else: `POLYLINE`, or ``cuboid`` for the corners of one."""

POLYLINE = "polyline"

Ring = Sequence[float]

_ELLIPSE_POINTS = 72


def size_of(frame: SingleFrame) -> tuple[int, int] | None:
    """Return width and height of the image of a frame, from its file if the frame does not have them; None if they are not known."""
    if frame.width and frame.height:
        return frame.width, frame.height
    uri = frame.first_uri() or ""
    return image_size(path_or_uri(uri) or "") if uri.startswith("file:///") else None


def checked_box(given: Any) -> list[float]:
    """Return the left, top, width and height that a data set gives of a box; raise `FlawError` if they are none."""
    is_box = (
        isinstance(given, list)
        and len(given) == 4
        and all(type(number) in {int, float} and math.isfinite(number) for number in given)
        and min(given[2:]) >= 0
    )
    if not is_box:
        raise FlawError(f"bbox must be left, top, width and height, not {shorten(given)}")
    return [float(number) for number in given]


def clipped_box(
    poly: Sequence[float], frame: SingleFrame, report: Report
) -> tuple[float, float, float, float] | None:
    """Return the part of a box that is inside the image. For a box outside, note a loss and return None.

    Parameters
    ----------
    poly : sequence of float, shape (4,)
        Left, top, width and height in pixels.
    """
    x, y, width, height = poly[:4]
    place = str(frame.id)
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), x + width, y + height
    if frame.width is not None and frame.height is not None:
        right, bottom = min(right, float(frame.width)), min(bottom, float(frame.height))
    if right <= left or bottom <= top:
        report.loss("box that is empty or outside of the image: left out", place)
        return None
    if (left, top, right, bottom) == (x, y, x + width, y + height):
        return x, y, width, height
    report.loss("box that is partly outside of the image: clipped", place)
    return left, top, right - left, bottom - top


def paired(annotations: Sequence[Annotation]) -> tuple[list[Annotation], dict[str, KeyPoints2D]]:
    """Take key points that belong to a shape out of annotations.

    They have the id, the labels and the confidence of a box or polygon, and no metadata but a valid visibility.

    Returns
    -------
    list of Annotation
        The other annotations.
    dict of str to KeyPoints2D
        The key points by the id of their shape.
    """
    shapes: dict[str | None, Annotation] = {
        each.id: each
        for each in annotations
        if each.id is not None and isinstance(each, BoundingBox2D | Polygon2D | ComplexPolygon2D)
    }
    points: dict[str, KeyPoints2D] = {}
    others: list[Annotation] = []
    for each in annotations:
        shape = shapes.get(each.id)
        if (
            isinstance(each, KeyPoints2D)
            and shape is not None
            and each.id not in points
            and (each.labels, each.confidence) == (shape.labels, shape.confidence)
            and each.metadata.keys() <= {VISIBILITY}
            and (not each.metadata or visibility_of(each) is not None)
        ):
            points[str(each.id)] = each
        else:
            others.append(each)
    return others, points


def visibility_of(points: Annotation) -> list[int] | None:
    """Return the visibility of key points in the metadata. Return None if it is missing or has another form than readers give it."""
    given = points.metadata.get(VISIBILITY)
    is_valid = (
        isinstance(given, list)
        and len(given) == len(points.poly) // 2
        and all(type(each) is int and 0 <= each <= 2 for each in given)
        and any(given)
        and set(given) != {2}
    )
    return given if is_valid else None


def is_inside(x: float, y: float, ring: Ring) -> bool:
    """Whether a point is inside a ring, a flat list of points."""
    inside = False
    x1, y1 = ring[-2], ring[-1]
    for place in range(0, len(ring), 2):
        x2, y2 = ring[place], ring[place + 1]
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
        x1, y1 = x2, y2
    return inside


def without_holes(rings: Sequence[Ring]) -> list[Ring]:
    """Return the rings that begin inside an even number of others."""
    return [
        ring
        for ring in rings
        if sum(is_inside(ring[0], ring[1], other) for other in rings if other is not ring) % 2 == 0
    ]


def complex_polygon(rings: Sequence[Ring]) -> dict[str, Any]:
    """Return the type and the geometry of a polygon of several rings, in wire form."""
    sizes = (len(ring) / 2 for ring in rings)
    numbers = (number for ring in rings for number in ring)
    return {"type": "complex_polygon2d", "poly": [float(len(rings)), *sizes, *numbers]}


def flat_rings(annotation: Annotation) -> list[list[float]]:
    """Return the outlines of a box, polygon or ellipse, each as a flat list; none for another annotation."""
    match annotation:
        case Polygon2D():
            return [list(annotation.poly)] if len(annotation.poly) >= 6 else []
        case ComplexPolygon2D():
            rings = annotation.rings
        case BoundingBox2D():
            rings = [annotation.vertices]
        case Ellipse2D():
            rings = [annotation.get_polygon(_ELLIPSE_POINTS)]
        case _:
            return []
    return [[number for point in ring for number in point] for ring in rings]
