"""Objects of an annotation file: validated boxes and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from ...engine.validation import shorten
from .xml import FlawError, members, number_of, only, text_of

MAX_PIXELS = 2**31 - 1

_FLAGS = frozenset({"difficult", "occluded", "truncated"})
_FLAG_VALUES = {"0": False, "1": True, "false": False, "true": True}
_STRUCTURE = frozenset({"bndbox", "name", "part"})


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of an image in pixels, according to its annotation file."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class VocObject:
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
    """Return x, y, width and height of an object's box, in pixels.

    Parameters
    ----------
    element : Element
        An `object` or `part` with a `bndbox`.
    size : Size or None
        Size of the image; None to skip the comparison with it.

    Raises
    ------
    FlawError
        The box is missing, empty, not inside the image, or its coordinates are not finite numbers.
    """
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


def details_of(element: Element) -> dict[str, Any]:
    """Return the other metadata of an object: flags that are set, a pose that is specified, and custom elements."""
    kept = {
        tag: as_flag(value) if tag in _FLAGS else value for tag, value in members(element, _STRUCTURE).items()
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
