"""Writes frames as CVAT for images 1.1: `annotations.xml`, and the folder `images`."""

from __future__ import annotations

import math
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ....engine.annotations.base import Annotation
from ....engine.annotations.types import (
    BoundingBox2D,
    ComplexPolygon2D,
    Ellipse2D,
    ImageAnnotation,
    KeyPoints2D,
    Polygon2D,
)
from ....engine.frames.single_frame import SingleFrame
from ..coco.rle import runs_of
from ..format import SPLITS, Writing, only_label, splits_of
from ..geometry import POLYLINE, SHAPE, VISIBILITY, flat_rings, visibility_of
from ..pixels import pixels_of
from ..report import Report
from ..xml import element_of, is_xml_text
from .shapes import ATTRIBUTES, CORNERS, CUBOID, GROUP, MANUAL, NAMES, OCCLUDED, ORDER, ORIGIN

_IMAGES = "images"
_METADATA = "metadata that CVAT cannot hold: left out"


def write(out: Writing) -> None:
    """Write the frames."""
    (out.path / _IMAGES).mkdir()
    subsets = {_subset(frame): None for frame in out.frames if isinstance(frame, SingleFrame)}
    subsets.pop("", None)
    with (out.path / "annotations.xml").open("wb") as file:
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.write(_text_of(_meta(out.categories, list(subsets))))
        for number, frame in enumerate(out.singles()):
            file.write(_text_of(_image(frame, number, out)))
        file.write(b"</annotations>\n")


def _text_of(element: Element) -> bytes:
    indent(element, level=1)
    return b"  " + tostring(element, encoding="utf-8") + b"\n"


def _meta(categories: list[dict[str, Any]], subsets: list[str]) -> Element:
    """Return the description of a task, or of a project if there are subsets: only a project has several."""
    meta = Element("meta")
    root = SubElement(meta, "project" if subsets else "task")
    if subsets:
        tasks = SubElement(root, "tasks")
        for subset in subsets:
            SubElement(SubElement(tasks, "task"), "subset").text = subset
        SubElement(root, "subsets").text = "\n".join(subsets)
    labels = SubElement(root, "labels")
    for category in categories:
        if not is_xml_text(category["name"]):
            continue
        label = SubElement(labels, "label")
        SubElement(label, "name").text = category["name"]
        for key, value in category.items():
            if key in {"color", "type"}:
                label.extend(element_of(key, value) or ())
        attributes = SubElement(label, ATTRIBUTES)
        given = category.get(ATTRIBUTES)
        for each in given if isinstance(given, list) else ():
            attributes.extend(element_of("attribute", each) or ())
    return meta


def _image(frame: SingleFrame, number: int, out: Writing) -> Element:
    image, place = Element("image", id=str(number)), str(frame.id)
    image.set("name", out.place_image(frame, _IMAGES))
    if frame.width and frame.height:
        image.set("width", str(frame.width))
        image.set("height", str(frame.height))
    if subset := _subset(frame):
        image.set("subset", subset)
    if frame.metadata and frame.metadata != {SPLITS: [image.get("subset")]}:
        out.report.loss("metadata of a frame: left out, but for the first split", place)
    for annotation in frame.get_annotations():
        element = _shape(annotation, frame, out.report)
        if element is not None:
            image.append(element)
    return image


def _subset(frame: SingleFrame) -> str:
    """Return the first split of a frame, if CVAT can have it as a subset."""
    split = next(iter(splits_of(frame)), "")
    return split if split != "default" and is_xml_text(split) else ""


def _shape(annotation: Annotation, frame: SingleFrame, report: Report) -> Element | None:
    place = str(frame.id)
    element = _geometry(annotation, frame, report)
    label = None if element is None else only_label(annotation, report, place, ("id", "confidence"))
    if element is None or label is None:
        return None
    if not is_xml_text(label):
        report.loss("annotation with a label that XML cannot hold: left out", place)
        return None
    element.set("label", label)
    if _put_details(element, annotation):
        report.loss(_METADATA, place)
    return element


def _put_details(element: Element, annotation: Annotation) -> set[str]:
    """Put the metadata that CVAT knows on a shape. Return the keys of the rest."""
    meta = annotation.metadata
    held: set[str] = set()
    if meta.get(OCCLUDED) is True and element.tag != "tag":
        held.add(OCCLUDED)
    element.set(OCCLUDED, str(int(OCCLUDED in held)))
    for key in (ORDER, GROUP):
        if type(meta.get(key)) is int and (meta[key] or key == GROUP):
            element.set(key, str(meta[key]))
            held.add(key)
    origin = meta.get(ORIGIN)
    if isinstance(origin, str) and origin and origin != MANUAL and is_xml_text(origin):
        element.set(ORIGIN, origin)
        held.add(ORIGIN)
    else:
        element.set(ORIGIN, MANUAL)
    attributes = meta.get(ATTRIBUTES)
    if (
        isinstance(attributes, dict)
        and attributes
        and all(
            isinstance(value, str) and is_xml_text(key) and is_xml_text(value)
            for key, value in attributes.items()
        )
    ):
        held.add(ATTRIBUTES)
        for key, value in attributes.items():
            SubElement(element, "attribute", name=key).text = value
    if element.tag == "skeleton":
        held |= {NAMES} | ({VISIBILITY} if visibility_of(annotation) is not None else set())
    if element.tag in {"polyline", CUBOID}:
        held.add(SHAPE)
    return meta.keys() - held


def _geometry(annotation: Annotation, frame: SingleFrame, report: Report) -> Element | None:  # noqa: PLR0911 - one each
    place = str(frame.id)
    match annotation:
        case ImageAnnotation():
            return Element("tag")
        case BoundingBox2D():
            x, y, width, height = annotation.poly[:4]
            made = _made("box", xtl=x, ytl=y, xbr=x + width, ybr=y + height)
            if annotation.angle:
                made.set("rotation", _number(_degrees(annotation.angle)))
            return made
        case Ellipse2D():
            cx, cy, rx, ry, theta = annotation.poly
            made = _made("ellipse", cx=cx, cy=cy, rx=rx, ry=ry)
            if theta:
                made.set("rotation", _number(_degrees(theta)))
            return made
        case Polygon2D() if len(annotation.poly) >= 6:
            return Element("polygon", points=_pairs(annotation.poly))
        case KeyPoints2D():
            return _keypoints(annotation)
        case ComplexPolygon2D():
            return _mask(annotation, report, place)
        case _:
            report.loss(f"annotation of type {annotation.type}: left out", place)
            return None


def _keypoints(annotation: KeyPoints2D) -> Element:
    poly, shape, names = annotation.poly, annotation.metadata.get(SHAPE), annotation.metadata.get(NAMES)
    if shape == POLYLINE and len(poly) >= 4:
        return Element("polyline", points=_pairs(poly))
    if shape == CUBOID and len(poly) == len(CORNERS):
        return _made(CUBOID, **dict(zip(CORNERS, poly, strict=True)))
    if not (isinstance(names, list) and 2 * len(names) == len(poly)) or not all(
        isinstance(name, str) and is_xml_text(name) for name in names
    ):
        return Element("points", points=_pairs(poly))
    made = Element("skeleton")
    seen = visibility_of(annotation) or [2] * len(names)
    for place, name in enumerate(names):
        SubElement(
            made,
            "points",
            label=name,
            outside=str(int(seen[place] == 0)),
            occluded=str(int(seen[place] == 1)),
            points=_pairs(poly[2 * place : 2 * place + 2]),
        )
    return made


def _mask(annotation: ComplexPolygon2D, report: Report, place: str) -> Element | None:
    found = pixels_of(flat_rings(annotation), report, place)
    if found is None:
        return None
    text = ", ".join(map(str, runs_of(found.bitmap.ravel())))
    height, width = found.bitmap.shape
    return Element(
        "mask", rle=text, left=str(found.left), top=str(found.top), width=str(width), height=str(height)
    )


def _made(tag: str, **numbers: float) -> Element:
    return Element(tag, {key: _number(value) for key, value in numbers.items()})


def _degrees(angle: float) -> float:
    return math.degrees(angle) % 360


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _pairs(poly: tuple[float, ...]) -> str:
    return ";".join(f"{_number(poly[at])},{_number(poly[at + 1])}" for at in range(0, len(poly), 2))
