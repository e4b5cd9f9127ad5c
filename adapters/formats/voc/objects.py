"""Objects of an annotation file: validated geometry and metadata."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from ....engine.validation import shorten
from ..report import FlawError
from ..xml import members, number_of, only, text_of

MAX_PIXELS = 2**31 - 1

FLAGS = frozenset({"difficult", "occluded", "truncated"})
STRUCTURE = frozenset({"attributes", "bndbox", "name", "part", "polygon", "robndbox", "type"})
_FLAG_VALUES = {"0": False, "1": True, "false": False, "true": True}
_ROTATION = "rotation"


class Size(NamedTuple):
    """Width and height of an image in pixels, according to its annotation file."""

    width: int
    height: int


class VocObject(NamedTuple):
    """An `object` element, or a `part` of one, before it is checked.

    Attributes
    ----------
    where : str
        Its number and name, for messages.
    element : Element
        The XML element.
    links : dict
        The metadata that connects a part to its object.
    """

    where: str
    element: Element
    links: dict[str, Any]


def objects_of(root: Element) -> Iterator[VocObject]:
    """Yield the objects of an annotation file in order, each followed by its parts."""
    for number, element in enumerate(root.findall("object"), 1):
        where = f"object {number}{_called(element)}"
        parts = list(element.iter("part"))
        yield VocObject(where, element, {"object": number} if parts else {})
        links = {"object": number, "part_of": _first_name(element)}
        for part_number, part in enumerate(parts, 1):
            yield VocObject(f"{where}, part {part_number}{_called(part)}", part, links)


def size_of(root: Element) -> Size | None:
    """Return the image size in an annotation file; None if it has none.

    Raises
    ------
    FlawError
        The size is given twice, is incomplete, or does not consist of positive integers.
    """
    element = only(root, "size")
    if element is None or not members(element, skip={"depth"}):
        return None
    return Size(_pixels(element, "width"), _pixels(element, "height"))


def _pixels(size: Element, tag: str) -> int:
    value = number_of(size, tag)
    if not 1 <= value <= MAX_PIXELS or value != int(value):
        raise FlawError(f"{tag} must be a positive integer, not {shorten(text_of(size, tag))}")
    return int(value)


def annotation_of(item: VocObject, size: Size | None) -> dict[str, Any]:
    """Return the annotation of an object in wire form: a polygon if it has one, otherwise a box.

    Parameters
    ----------
    item : VocObject
        The object.
    size : Size or None
        Size of the image; None to skip the comparison with it.

    Raises
    ------
    FlawError
        The geometry is missing, empty, not inside the image, or its coordinates are not finite numbers.
    """
    element = item.element
    attributes = attributes_of(element)
    polygon = _polygon_of(element)
    if polygon is None:
        angle = _angle_of(attributes)
        kind, poly = "box2d", _rotated_box(element) or (*box_of(element, size), *angle)
    else:
        kind, poly = "polygon2d", polygon
    wire: dict[str, Any] = {"type": kind, "label": [label_of(element)], "poly": list(poly)}
    if meta := details_of(element) | ({"attributes": attributes} if attributes else {}) | item.links:
        wire["meta"] = meta
    return wire


def label_of(element: Element) -> str:
    """Return the name of an object.

    Raises
    ------
    FlawError
        The object has no name.
    """
    name = text_of(element, "name")
    if not name:
        raise FlawError("has no name")
    return name


def box_of(element: Element, size: Size | None) -> tuple[float, float, float, float]:
    """Return x, y, width and height of the `bndbox` of an object, in pixels; see `annotation_of`."""
    bndbox = only(element, "bndbox")
    if bndbox is None:
        raise FlawError("has no bndbox")
    left, top, right, bottom = (number_of(bndbox, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    width = _extent("width", "x", left, right)
    height = _extent("height", "y", top, bottom)
    if size is not None:
        _check_inside("width", "x", left, right, size.width)
        _check_inside("height", "y", top, bottom, size.height)
    return left, top, width, height


def _rotated_box(element: Element) -> tuple[float, ...] | None:
    """Return x, y, width, height and the angle in radians of a `robndbox`. Return None if the object has no such element."""
    robndbox = only(element, "robndbox")
    if robndbox is None:
        return None
    cx, cy, width, height, angle = (number_of(robndbox, tag) for tag in ("cx", "cy", "w", "h", "angle"))
    if width <= 0 or height <= 0:
        raise FlawError(f"robndbox must have a size, not {width:.15g} x {height:.15g}")
    return cx - width / 2, cy - height / 2, width, height, angle


def _angle_of(attributes: dict[str, Any]) -> tuple[float, ...]:
    """Remove the rotation, which CVAT writes in degrees, from attributes. Return its radians, at most one number."""
    given = attributes.get(_ROTATION)
    try:
        degrees = float(given)  # type: ignore[arg-type]  # what is no number is an attribute like others
    except (TypeError, ValueError):
        return ()
    if not math.isfinite(degrees):
        return ()
    del attributes[_ROTATION]
    return (math.radians(degrees),) if degrees else ()


def _polygon_of(element: Element) -> list[float] | None:
    """Return the flat points of a `polygon`: elements `pt` with x and y, or x1, y1, x2, ...; None if there is none."""
    polygon = only(element, "polygon")
    if polygon is None:
        return None
    points = polygon.findall("pt")
    if points:
        flat = [number_of(point, axis) for point in points for axis in ("x", "y")]
    else:
        count = 0
        while polygon.find(f"x{count + 1}") is not None:
            count += 1
        flat = [
            number_of(polygon, f"{axis}{number}") for number in range(1, count + 1) for axis in ("x", "y")
        ]
    if len(flat) < 6:
        raise FlawError(f"polygon must have 3 points or more, not {len(flat) // 2}")
    return flat


def _extent(what: str, axis: str, low: float, high: float) -> float:
    extent = high - low
    # The difference of two finite numbers can overflow.
    if 0 < extent < float("inf"):
        return extent
    kind = "zero" if extent == 0 else "negative" if extent < 0 else "infinite"
    raise FlawError(f"{kind} {what}: {axis}min is {low:.15g}, {axis}max is {high:.15g}")


def _check_inside(what: str, axis: str, low: float, high: float, limit: int) -> None:
    if low < 0:
        raise FlawError(f"outside the image: {axis}min is {low:.15g}, below 0")
    if high > limit:
        raise FlawError(f"outside the image: {axis}max is {high:.15g}, over the {what} of {limit}")


def attributes_of(element: Element) -> dict[str, Any]:
    """Return the `attributes` of an object as a dict: the value of each name, or a list of several."""
    found: dict[str, Any] = {}
    for attribute in element.findall("attributes/attribute"):
        name, value = text_of(attribute, "name"), text_of(attribute, "value")
        if not name:
            raise FlawError("has an attribute without a name")
        if name in found:
            earlier = found[name]
            found[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        else:
            found[name] = value
    return found


def details_of(element: Element) -> dict[str, Any]:
    """Return the other metadata of an object: flags that are set, a pose that is specified, and custom elements."""
    kept = {
        tag: as_flag(value) if tag in FLAGS else value for tag, value in members(element, STRUCTURE).items()
    }
    if str(kept.get("pose")).lower() == "unspecified":
        del kept["pose"]
    return {tag: value for tag, value in kept.items() if value is not False}


def as_flag(value: Any) -> Any:
    """Convert the representations of True and False in VOC files to bool; return other values unchanged."""
    return _FLAG_VALUES.get(value.lower(), value) if isinstance(value, str) else value


def _called(element: Element) -> str:
    name = _first_name(element)
    return f" ({shorten(name)})" if name else " (no name)"


def _first_name(element: Element) -> str:
    return (element.findtext("name") or "").strip()
