"""Writes frames as a Pascal VOC data set: `Annotations`, `JPEGImages`, `ImageSets/Main` and `labelmap.txt`."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ....engine.annotations.base import Annotation
from ....engine.annotations.types import BoundingBox2D, ComplexPolygon2D, Polygon2D
from ....engine.frames.single_frame import SingleFrame
from ..format import SPLITS, Writing, only_label, splits_of
from ..geometry import clipped_box
from ..report import Report
from ..xml import element_of, is_xml_text
from .masks import LABEL_MAP
from .objects import FLAGS, STRUCTURE, as_flag

_IMAGES, _ANNOTATIONS, _LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
_OF_FRAME = frozenset(
    {"annotation", "depth", "filename", "object", "path", "segmented", "size", "verified", SPLITS}
)
_SPLIT = re.compile(r"(?!.+_(?:train|val|trainval|test)\Z)\w[\w.-]*")
_LINE = re.compile(r"[^\s:#](?:[^\n\r:#]*[^\s:#])?")
"""A name that the label map can hold."""
_METADATA = "metadata that XML cannot hold as it is: left out"


def write(out: Writing) -> None:
    """Write the frames."""
    for folder in (_IMAGES, _ANNOTATIONS, _LISTS):
        (out.path / folder).mkdir(parents=True, exist_ok=True)
    splits: defaultdict[str, list[str]] = defaultdict(list)
    for frame in out.singles():
        name = out.place_image(frame, _IMAGES)
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - no path
        root = _annotation(frame, name, out.report)
        indent(root)
        (out.path / _ANNOTATIONS / f"{stem}.xml").write_bytes(tostring(root, encoding="utf-8") + b"\n")
        for split in splits_of(frame):
            if _SPLIT.fullmatch(split):
                splits[split].append(stem)
            else:
                out.report.loss("split whose name cannot be a file name: left out", str(frame.id))
    names = [each["name"] for each in out.categories]
    # CVAT and datumaro refuse classes that are none of VOC and not in this file.
    (out.path / LABEL_MAP).write_text(
        "# label:color_rgb:parts:actions\n"
        + "".join(f"{name}:::\n" for name in dict.fromkeys(["background", *names]) if _LINE.fullmatch(name)),
        "utf-8",
    )
    for split, stems in splits.items():
        (out.path / _LISTS / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), "utf-8")


def _annotation(frame: SingleFrame, name: str, report: Report) -> Element:
    root, place = Element("annotation"), str(frame.id)
    metadata = frame.metadata
    _put(root, "filename", name)
    if frame.source and is_xml_text(frame.source):
        _put(root, "path", frame.source)
    verified = metadata.get("verified")
    if isinstance(verified, str) and is_xml_text(verified):
        root.set("verified", verified)
    size = SubElement(root, "size")
    for tag, value in (("width", frame.width), ("height", frame.height), ("depth", metadata.get("depth"))):
        if value is not None:
            _put(size, tag, value)
    if isinstance(metadata.get("segmented"), bool):
        _put(root, "segmented", int(metadata["segmented"]))
    _put_details(root, {key: value for key, value in metadata.items() if key not in _OF_FRAME}, report, place)
    if not _are_read_again(metadata):
        report.loss(_METADATA, place)
    for annotation in frame.get_annotations():
        element = _object(annotation, frame, report)
        if element is not None:
            root.append(element)
    return root


def _are_read_again(metadata: dict[str, Any]) -> bool:
    """Whether the fields of a frame that have a place of their own have the types that are read from there."""
    depth, verified, splits = metadata.get("depth", 3), metadata.get("verified", ""), metadata.get(SPLITS, [])
    return (
        type(depth) is int
        and 0 <= depth < 10**9
        and isinstance(verified, str)
        and is_xml_text(verified)
        and isinstance(metadata.get("segmented", False), bool)
        and isinstance(splits, list)
        and (splits == sorted({str(each) for each in splits}) and (bool(splits) or SPLITS not in metadata))
        and _OF_FRAME.intersection(metadata) <= {"depth", "segmented", "verified", SPLITS}
    )


def _object(annotation: Annotation, frame: SingleFrame, report: Report) -> Element | None:
    place = str(frame.id)
    element = Element("object")
    geometry = _geometry(annotation, frame, report)
    if geometry is None:
        return None
    label = only_label(annotation, report, place, ("id", "confidence"))
    if label is None:
        return None
    if label != label.strip() or not is_xml_text(label):
        report.loss("annotation with a label that XML cannot hold: left out", place)
        return None
    _put(element, "name", label)
    element.extend(geometry)
    _put_details(element, annotation.metadata, report, place, of_object=True)
    return element


def _geometry(annotation: Annotation, frame: SingleFrame, report: Report) -> list[Element] | None:
    place = str(frame.id)
    match annotation:
        case BoundingBox2D() if annotation.angle:
            x, y, width, height, angle = annotation.poly
            if width <= 0 or height <= 0:
                report.loss("empty box: left out", place)
                return None
            made = Element("robndbox")
            for tag, value in zip(
                ("cx", "cy", "w", "h", "angle"),
                (x + width / 2, y + height / 2, width, height, angle),
                strict=True,
            ):
                _put(made, tag, value)
            kind = Element("type")
            kind.text = made.tag
            return [kind, made]
        case BoundingBox2D():
            box = clipped_box(annotation.poly, frame, report)
            return None if box is None else [_bndbox(box)]
        case Polygon2D() if len(annotation.poly) >= 6:
            return [_bndbox(annotation.get_bounding_box()), _polygon(annotation.poly)]
        case ComplexPolygon2D():
            report.loss("polygon of several rings: written as its box", place)
            box = clipped_box(annotation.get_bounding_box(), frame, report)
            return None if box is None else [_bndbox(box)]
        case _:
            report.loss(f"annotation of type {annotation.type}: left out", place)
            return None


def _bndbox(box: Iterable[float]) -> Element:
    x, y, width, height = box
    made = Element("bndbox")
    for tag, value in (("xmin", x), ("ymin", y), ("xmax", x + width), ("ymax", y + height)):
        _put(made, tag, value)
    return made


def _polygon(poly: tuple[float, ...]) -> Element:
    made = Element("polygon")
    for place, value in enumerate(poly):
        _put(made, f"{'xy'[place % 2]}{place // 2 + 1}", value)
    return made


def _put_details(
    element: Element, metadata: dict[str, Any], report: Report, place: str, *, of_object: bool = False
) -> None:
    for key, value in metadata.items():
        children: list[Element] | None
        if of_object and key == "attributes":
            children = _attributes(value)
        elif of_object and key in FLAGS and value is True:
            children = element_of(key, "1")
        elif of_object and (key in STRUCTURE or not _is_read_as_given(key, value)):
            children = None
        else:
            children = element_of(key, value)
        if children is None:
            report.loss(_METADATA, place)
        else:
            element.extend(children)


def _is_read_as_given(key: str, value: Any) -> bool:
    if key in FLAGS:
        return isinstance(value, str) and as_flag(value) is value
    return key != "pose" or not (isinstance(value, str) and value.lower() == "unspecified")


def _attributes(values: Any) -> list[Element] | None:
    if not isinstance(values, dict) or not values:
        return None
    made = Element("attributes")
    for name, given in values.items():
        several = given if isinstance(given, list) else [given]
        is_plain = all(
            isinstance(each, str) and each == each.strip() and is_xml_text(each) for each in (name, *several)
        )
        if not is_plain or not name or name == "rotation" or (isinstance(given, list) and len(given) < 2):
            return None
        for value in several:
            attribute = SubElement(made, "attribute")
            _put(attribute, "name", name)
            _put(attribute, "value", value)
    return [made]


def _put(element: Element, tag: str, value: object) -> None:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    SubElement(element, tag).text = str(int(value) if is_whole else value)  # type: ignore[call-overload]
