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
    """Width and height of an image in pixels, as its annotation file gives them."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class VocObject:
    """One `object`, or one `part` of an object, not yet checked.

    Attributes
    ----------
    where : str
        Its number and name, as reasons give them.
    element : Element
        The XML element.
    links : dict
        The metadata that ties a part to its object.
    """

    where: str
    element: Element
    links: dict[str, Any]


def objects_of(root: Element) -> Iterator[VocObject]:
    """Yield the objects of an annotation file in their order, each followed by its parts."""
    for number, element in enumerate(root.findall("object"), 1):
        where = f"object {number}{_called(element)}"
        parts = list(element.iter("part"))
        yield VocObject(where, element, {"object": number} if parts else {})
        links = {"object": number, "part_of": _first_name(element)}
        for part_number, part in enumerate(parts, 1):
            yield VocObject(f"{where}, part {part_number}{_called(part)}", part, links)


def size_of(root: Element) -> Size | None:
    """Return the image size that an annotation file gives, None where it gives none.

    Raises
    ------
    FlawError
        If the size is given twice, in part, or not as positive whole numbers.
    """
    element = only(root, "size")
    if element is None or not members(element, skip={"depth"}):
        return None
    return Size(_pixels(element, "width"), _pixels(element, "height"))


def _pixels(size: Element, tag: str) -> int:
    value = number_of(size, tag)
    if not 1 <= value <= MAX_PIXELS or value != int(value):
        raise FlawError(f"{tag} is {shorten(text_of(size, tag))}, not a positive whole number of pixels")
    return int(value)


def label_of(element: Element) -> str:
    """Return the name of an object.

    Raises
    ------
    FlawError
        If it has none.
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
        Size of the image; None: the box is not compared with it.

    Raises
    ------
    FlawError
        If the box is missing, not of finite numbers, without extent, or not wholly inside the image.
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
    """Return what else an object says of itself: flags that are set, a pose that is specified, own elements."""
    kept = {
        tag: as_flag(value) if tag in _FLAGS else value for tag, value in members(element, _STRUCTURE).items()
    }
    if str(kept.get("pose")).lower() == "unspecified":
        del kept["pose"]
    return {tag: value for tag, value in kept.items() if value is not False}


def as_flag(value: Any) -> Any:
    """Return True or False for the ways in which VOC files write these, else the value itself."""
    return _FLAG_VALUES.get(value.lower(), value) if isinstance(value, str) else value


def _called(element: Element) -> str:
    name = _first_name(element)
    return f" ({shorten(name)})" if name else " (no name)"


def _first_name(element: Element) -> str:
    return (element.findtext("name") or "").strip()
