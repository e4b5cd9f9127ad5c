"""Reads LabelMe data sets as frames: JSON files of all versions, and of tools that write the like.

What is read
    The JSON files with `shapes` below the folder, and the images that none describes. The image is what `imagePath` names,
    otherwise the image of the name of the file. Embedded images are compared with the size, but not imported.
Shapes
    Rectangles are boxes, circles are ellipses, masks are polygons along the edges of their pixels. Points, lines and line strips
    are key points; the metadata of lines has `shape`. Keys of a shape that are not those of LabelMe are its metadata.
Flags
    Those of an image that are set are labels of the frame; the others are in its metadata.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..coco.rle import rings_of
from ..described import DescribedImages
from ..files import Folder, folder_of, has_pillow, image_size, open_image, start_of
from ..format import Item, Reading, Wire
from ..geometry import POLYLINE, SHAPE, complex_polygon
from ..pixels import moved
from ..report import FlawError, Report
from ..yolo.reader import rotated_box

FLAGS, GROUP, DESCRIPTION, SCORE = "flags", "group_id", "description", "score"
OF_FILE = frozenset({"version", FLAGS, "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"})
OF_SHAPE = frozenset({"label", "points", "shape_type", "mask", SCORE})

_MAX_BYTES = 128 * 2**20
"""Limit of a file, which may contain its image."""


def sniff(path: Path) -> bool:
    """Whether a JSON file has the shapes of LabelMe, among the first in a folder."""
    if path.is_file():
        return _is_labelme(path)
    return any(map(_is_labelme, islice(path.rglob("*.json"), 20)))


def _is_labelme(file: Path) -> bool:
    start = start_of(file)
    return file.suffix.lower() == ".json" and b'"shapes"' in start and b'"images"' not in start


def read(path: Path, report: Report) -> Reading:
    """Return the frames of a LabelMe data set.

    Raises
    ------
    UsageError
        There is no JSON file.
    """
    folder = Folder(folder_of(path), report)
    files = folder.chosen(path, {".json"})
    if not any(_is_labelme(Path(folder.path, name)) for name in files) and not path.is_file():
        raise UsageError(f"{path} has no JSON files of LabelMe")
    images = DescribedImages(folder, report)
    return Reading(folder.path, _items(folder, files, images, report), len(files) + len(images.images.names))


def _items(folder: Folder, files: list[str], images: DescribedImages, report: Report) -> Iterator[Item]:
    for file in files:
        try:
            document = _document(folder, file)
            size = document.get("imageWidth"), document.get("imageHeight")
            near = file.rpartition("/")[0]
            name, source = _image_of(document, file, near, images, None if None in size else size)
        except FlawError as error:
            report.flaw("file", file, error)
            continue
        _compare_embedded(document, size, file, report)
        frame, flawed = _frame(document, file, report)
        yield Item(name, {"sources": [source], **frame}, is_whole=not flawed)
    yield from images.rest()


def _document(folder: Folder, file: str) -> dict[str, Any]:
    document = folder.json(file, _MAX_BYTES)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise FlawError("has no list of shapes")
    return document


def _image_of(
    document: dict[str, Any], file: str, near: str, images: DescribedImages, size: tuple[Any, Any] | None
) -> tuple[str, Wire]:
    given = document.get("imagePath")
    stem = os.path.splitext(file)[0]  # noqa: PTH122 - a path with slashes
    if not isinstance(given, str) or not given:
        return images.take(images.images.of_stem(stem, stem), file, (), size)
    try:
        # Paths of LabelMe are relative to the file, and often begin with "..".
        joined = os.path.normpath(
            f"{near}/{given.replace(chr(92), '/')}" if near else given.replace("\\", "/")
        )
        return images.take(joined if joined in images.images else given, file, (near,), size)
    except FlawError as error:
        if document.get("imageData"):
            raise FlawError(f"{error}; it is only embedded: save it beside the file to import it") from error
        raise


def _compare_embedded(document: dict[str, Any], size: tuple[Any, Any], file: str, report: Report) -> None:
    given = document.get("imageData")
    if not isinstance(given, str) or not given or not has_pillow():
        return
    try:
        found = image_size(io.BytesIO(base64.b64decode(given)))
    except ValueError:
        found = None
    if found is None:
        report.flaw("size", file, "imageData is no image")
    elif None not in size and found != size:
        report.flaw(
            "size", file, f"size is {size[0]} x {size[1]}, that of the embedded image {found[0]} x {found[1]}"
        )


def _frame(document: dict[str, Any], file: str, report: Report) -> tuple[Wire, int]:
    """Return the annotations and the metadata of a frame, and the number of flawed shapes."""
    meta = {key: value for key, value in document.items() if key not in OF_FILE}
    rois: list[Wire] = []
    flags = document.get(FLAGS)
    if isinstance(flags, dict):
        rois += [
            {"type": "image", "label": [flag]} for flag, value in flags.items() if value is True and flag
        ]
        if others := {flag: value for flag, value in flags.items() if value is not True}:
            meta[FLAGS] = others
    flawed = 0
    for number, shape in enumerate(document["shapes"], 1):
        try:
            rois.append(_annotation(shape))
        except FlawError as error:
            flawed += 1
            report.flaw("annotation", file, f"shape {number}: {error}")
    return {"rois": rois, **({"meta": meta} if meta else {})}, flawed


def _annotation(shape: Any) -> Wire:
    if not isinstance(shape, dict):
        raise FlawError(f"must be an object, not {shorten(shape)}")
    label = shape.get("label")
    if not isinstance(label, str) or not label:
        raise FlawError(f"has no label, but {shorten(label)}")
    wire: Wire = {"label": [label]}
    score = shape.get(SCORE)
    if score is not None:
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise FlawError(f"score must be from 0 to 1, not {shorten(score)}")
        wire["confidence"] = score
    meta = {key: value for key, value in shape.items() if key not in OF_SHAPE}
    for key, empty in ((GROUP, None), (DESCRIPTION, ""), (FLAGS, {})):
        if key in meta and meta[key] in (None, empty):
            del meta[key]
    geometry = _geometry(shape, str(shape.get("shape_type") or "polygon"))
    meta |= geometry.pop("meta", {})
    return wire | geometry | ({"meta": meta} if meta else {})


def _geometry(shape: dict[str, Any], kind: str) -> Wire:
    poly = _points(shape.get("points"))
    count = len(poly) // 2
    match kind:
        case "rectangle" | "rotation" if count in {2, 4}:
            return _rectangle(poly)
        case "polygon" if count >= 3:
            return {"type": "polygon2d", "poly": poly}
        case "circle" if count == 2:
            radius = math.hypot(poly[2] - poly[0], poly[3] - poly[1])
            return {"type": "ellipse2d", "poly": [poly[0], poly[1], radius, radius, 0.0]}
        case "line" | "linestrip" if count >= 2:
            return {"type": "keypoints2d", "poly": poly, "meta": {SHAPE: POLYLINE}}
        case "point" | "points" if count >= 1:
            return {"type": "keypoints2d", "poly": poly}
        case "mask" if count == 2:
            return complex_polygon(_rings(shape.get("mask"), poly))
        case (
            "rectangle"
            | "rotation"
            | "polygon"
            | "circle"
            | "line"
            | "linestrip"
            | "point"
            | "points"
            | "mask"
        ):
            raise FlawError(f"a {kind} cannot have {count} points")
        case _:
            raise FlawError(f"has the type {shorten(kind)}, which is not known")


def _points(given: Any) -> list[float]:
    if not isinstance(given, list) or not all(isinstance(point, list) and len(point) == 2 for point in given):
        raise FlawError(f"points must be pairs of x and y, not {shorten(given)}")
    flat = [number for point in given for number in point]
    if not all(type(number) in {int, float} and math.isfinite(number) for number in flat):
        raise FlawError(f"points must be finite numbers, not {shorten(given)}")
    return [float(number) for number in flat]


def _rectangle(poly: list[float]) -> Wire:
    turned = rotated_box(poly) if len(poly) == 8 else None
    if turned is not None:
        return {"type": "box2d", "poly": turned}
    xs, ys = poly[0::2], poly[1::2]
    return {"type": "box2d", "poly": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]}


def _rings(mask: Any, poly: list[float]) -> list[list[float]]:
    """Return the outlines of a mask, whose image begins at the first point."""
    try:
        content = base64.b64decode(mask)
    except (TypeError, ValueError) as error:
        raise FlawError(f"mask is no image in Base64: {error}") from error
    with open_image(io.BytesIO(content)) as image:
        bitmap = np.asarray(image.convert("L")) > 0
    rings = rings_of(bitmap)
    if not rings:
        raise FlawError("mask is empty")
    return moved(rings, round(min(poly[0::2])), round(min(poly[1::2])))
