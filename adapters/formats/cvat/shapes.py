"""Shapes of CVAT as annotations in wire form."""

from __future__ import annotations

import math
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ....engine.validation import shorten
from ..coco.rle import MAX_PIXELS, rings_of
from ..format import Wire
from ..geometry import POLYLINE, SHAPE, VISIBILITY, complex_polygon
from ..pixels import moved
from ..report import FlawError, finite

CORNERS = tuple(
    f"{axis}{corner}{face}" for face in (1, 2) for corner in ("tl", "bl", "tr", "br") for axis in "xy"
)
"""The coordinates of a cuboid, in the order in which CVAT writes them."""

CUBOID = "cuboid"
NAMES = "points"
"""Key of the metadata of a skeleton: the names of its points."""

ATTRIBUTES, OCCLUDED, GROUP, ORDER, ORIGIN = "attributes", "occluded", "group_id", "z_order", "source"
MANUAL = "manual"

SHAPES = frozenset({"box", "polygon", "polyline", "points", "ellipse", CUBOID, "mask", "skeleton", "tag"})


def number_in(element: Element, key: str, default: float | None = None) -> float:
    """Return the finite number of an attribute.

    Raises
    ------
    FlawError
        It is missing, without a default, or not a finite number.
    """
    given = element.get(key)
    if given is None:
        if default is None:
            raise FlawError(f"has no {key}")
        return default
    return finite(given, key)


def whole_in(element: Element, key: str, default: int | None = None) -> int:
    """Return the integer of an attribute; see `number_in`."""
    value = number_in(element, key, default)
    if value != int(value):
        raise FlawError(f"{key} must be an integer, not {shorten(element.get(key))}")
    return int(value)


def annotation_of(element: Element, label: str | None = None) -> Wire:
    """Return the annotation of a shape.

    Parameters
    ----------
    element : Element
        The shape.
    label : str, optional
        The label of the track it is in; by default its own.

    Raises
    ------
    FlawError
        It has no label, or its geometry is invalid.
    """
    label = element.get("label") if label is None else label
    if not label:
        raise FlawError("has no label")
    wire: Wire = {"label": [label], **_geometry(element)}
    if meta := {**details_of(element), **wire.pop("meta", {})}:
        wire["meta"] = meta
    return wire


def details_of(element: Element) -> dict[str, Any]:
    """Return the metadata of a shape or track."""
    meta: dict[str, Any] = {}
    if element.get(OCCLUDED) == "1":
        meta[OCCLUDED] = True
    if order := whole_in(element, ORDER, 0):
        meta[ORDER] = order
    if element.get(GROUP):
        meta[GROUP] = whole_in(element, GROUP)
    if (origin := element.get(ORIGIN, MANUAL)) != MANUAL:
        meta[ORIGIN] = origin
    attributes = {each.get("name", ""): each.text or "" for each in element.findall("attribute")}
    if attributes:
        meta[ATTRIBUTES] = attributes
    return meta


def _geometry(element: Element) -> Wire:  # noqa: PLR0911 - one for each shape
    match element.tag:
        case "tag":
            return {"type": "image"}
        case "box":
            return {"type": "box2d", "poly": _box(element)}
        case "polygon":
            return {"type": "polygon2d", "poly": _points(element, 3)}
        case "polyline":
            return {"type": "keypoints2d", "poly": _points(element, 2), "meta": {SHAPE: POLYLINE}}
        case "points":
            return {"type": "keypoints2d", "poly": _points(element, 1)}
        case "ellipse":
            return {"type": "ellipse2d", "poly": _ellipse(element)}
        case "cuboid":
            corners = [number_in(element, key) for key in CORNERS]
            return {"type": "keypoints2d", "poly": corners, "meta": {SHAPE: CUBOID}}
        case "mask":
            return complex_polygon(_rings(element))
        case "skeleton":
            return _skeleton(element)
        case _:
            raise FlawError(f"is a shape that CVAT does not have: {shorten(element.tag)}")


def _box(element: Element) -> list[float]:
    left, top, right, bottom = (number_in(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if right < left or bottom < top:
        raise FlawError(f"xbr and ybr must not be less than xtl and ytl: {left, top, right, bottom}")
    box = [left, top, right - left, bottom - top]
    angle = radians(number_in(element, "rotation", 0.0))
    return [*box, angle] if angle else box


def radians(degrees: float) -> float:
    """Return an angle in radians, from minus pi to pi."""
    turned = math.fmod(degrees, 360)
    if abs(turned) > 180:
        turned -= math.copysign(360, turned)
    return math.radians(turned)


def _ellipse(element: Element) -> list[float]:
    cx, cy, rx, ry = (number_in(element, key) for key in ("cx", "cy", "rx", "ry"))
    if rx < 0 or ry < 0:
        raise FlawError(f"rx and ry must not be negative: {rx:.15g}, {ry:.15g}")
    return [cx, cy, rx, ry, radians(number_in(element, "rotation", 0.0))]


def _points(element: Element, least: int) -> list[float]:
    given = element.get("points", "")
    try:
        points = [[float(number) for number in point.split(",")] for point in given.split(";") if point]
    except ValueError as error:
        raise FlawError(f"points must be pairs of numbers: {error}") from error
    if len(points) < least or any(len(point) != 2 for point in points):
        raise FlawError(f"points must be {least} or more pairs of x and y, not {shorten(given)}")
    flat = [number for point in points for number in point]
    if not all(map(math.isfinite, flat)):
        raise FlawError(f"points must be finite numbers, not {shorten(given)}")
    return flat


def _rings(element: Element) -> list[list[float]]:
    left, top, width, height = (whole_in(element, key) for key in ("left", "top", "width", "height"))
    given = element.get("rle", "")
    try:
        runs = np.array([int(run) for run in given.split(",")], np.int64)
    except (ValueError, OverflowError) as error:
        raise FlawError(f"rle must be integers: {error}") from error
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise FlawError(f"mask has the size {width} x {height}")
    if runs.min() < 0 or runs.max() > MAX_PIXELS or int(runs.sum()) > width * height:
        raise FlawError(f"rle has runs that do not fit into {width} x {height} pixels")
    # The runs are along the rows, from the first pixel of the box; the last run of background may be left out.
    pixels = np.zeros(width * height, bool)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    pixels[: len(inside)] = inside
    rings = rings_of(pixels.reshape(height, width))
    if not rings:
        raise FlawError("mask is empty")
    return moved(rings, left, top)


def _skeleton(element: Element) -> Wire:
    poly: list[float] = []
    names: list[str] = []
    visibility: list[int] = []
    for point in element.findall("points"):
        flat = _points(point, 1)
        if len(flat) != 2:
            raise FlawError("an element of the skeleton must be one point")
        poly += flat
        names.append(point.get("label", ""))
        visibility.append(0 if point.get("outside") == "1" else 1 if point.get(OCCLUDED) == "1" else 2)
    if not poly:
        raise FlawError("skeleton has no points")
    meta: dict[str, Any] = {NAMES: names}
    if set(visibility) != {2}:
        meta[VISIBILITY] = visibility
    return {"type": "keypoints2d", "poly": poly, "meta": meta}
