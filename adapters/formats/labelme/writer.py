"""Writes frames as a LabelMe data set: images and JSON files side by side."""

from __future__ import annotations

import base64
import io
import os
from typing import Any

import msgspec

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
from ..format import Writing, only_label
from ..geometry import POLYLINE, SHAPE, flat_rings
from ..pixels import pixels_of
from ..report import Report
from .reader import DESCRIPTION, FLAGS, GROUP, OF_FILE, OF_SHAPE, SCORE

_VERSION = "5.5.0"
"""The version of LabelMe whose layout is written."""


def write(out: Writing) -> None:
    """Write the frames."""
    for frame in out.singles():
        name = out.place_image(frame, ".")
        document = _document(frame, name, out.report)
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - no path
        text = msgspec.json.format(msgspec.json.encode(document), indent=2)
        (out.path / f"{stem}.json").write_bytes(text + b"\n")


def _document(frame: SingleFrame, name: str, report: Report) -> dict[str, Any]:
    place = str(frame.id)
    flags: dict[str, Any] = {}
    shapes: list[dict[str, Any]] = []
    meta = dict(frame.metadata)
    if isinstance(given := meta.get(FLAGS), dict) and given and True not in given.values():
        flags |= meta.pop(FLAGS)
    for annotation in frame.get_annotations():
        if isinstance(annotation, ImageAnnotation):
            _put_flag(flags, annotation, report, place)
        elif (shape := _shape(annotation, report, place)) is not None:
            shapes.append(shape)
    if OF_FILE.intersection(meta):
        report.loss("metadata of a frame under a name of LabelMe: left out", place)
    return {
        "version": _VERSION,
        FLAGS: flags,
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": frame.height,
        "imageWidth": frame.width,
        **{key: value for key, value in meta.items() if key not in OF_FILE},
    }


def _put_flag(flags: dict[str, Any], annotation: Annotation, report: Report, place: str) -> None:
    label = only_label(annotation, report, place, ("id", "confidence", "metadata"))
    if label in flags:
        report.loss("label of a frame that is there twice, or also in flags: left out", place)
    elif label is not None:
        flags[label] = True


def _shape(annotation: Annotation, report: Report, place: str) -> dict[str, Any] | None:
    geometry = _geometry(annotation, report, place)
    label = None if geometry is None else only_label(annotation, report, place, ("id",))
    if geometry is None or label is None:
        return None
    meta = dict(annotation.metadata)
    if geometry["shape_type"] in {"line", "linestrip"}:
        del meta[SHAPE]
    if OF_SHAPE.intersection(meta) or any(
        meta.get(key, 0) in (None, "", {}) for key in (GROUP, DESCRIPTION, FLAGS)
    ):
        report.loss("metadata of an annotation under a name of LabelMe: left out", place)
    score = {} if annotation.confidence is None else {SCORE: annotation.confidence}
    standard = {"label": label, **geometry, GROUP: None, DESCRIPTION: "", FLAGS: {}}
    return standard | {key: value for key, value in meta.items() if key not in OF_SHAPE} | score


def _geometry(annotation: Annotation, report: Report, place: str) -> dict[str, Any] | None:  # noqa: PLR0911 - one each
    poly = annotation.poly
    match annotation:
        case BoundingBox2D() if annotation.angle:
            report.loss("rotated box: written as a polygon", place)
            return _made("polygon", *flat_rings(annotation))
        case BoundingBox2D():
            x, y, width, height = poly
            return _made("rectangle", (x, y, x + width, y + height))
        case Polygon2D() if len(poly) >= 6:
            return _made("polygon", poly)
        case Ellipse2D() if annotation.rx == annotation.ry and not annotation.theta:
            return _made(
                "circle", (annotation.cx, annotation.cy, annotation.cx + annotation.rx, annotation.cy)
            )
        case Ellipse2D():
            report.loss("ellipse: written as a polygon", place)
            return _made("polygon", *flat_rings(annotation))
        case KeyPoints2D() if annotation.metadata.get(SHAPE) == POLYLINE and len(poly) >= 4:
            return _made("line" if len(poly) == 4 else "linestrip", poly)
        case KeyPoints2D():
            return _made("point" if len(poly) == 2 else "points", poly)
        case ComplexPolygon2D():
            return _mask(annotation, report, place)
        case _:
            report.loss(f"annotation of type {annotation.type}: left out", place)
            return None


def _mask(annotation: ComplexPolygon2D, report: Report, place: str) -> dict[str, Any] | None:
    from PIL import Image

    found = pixels_of(flat_rings(annotation), report, place)
    if found is None:
        return None
    written = io.BytesIO()
    Image.fromarray(found.bitmap).save(written, "PNG")
    height, width = found.bitmap.shape
    corners = (found.left, found.top, found.left + width - 1, found.top + height - 1)
    return {**_made("mask", corners), "mask": base64.b64encode(written.getvalue()).decode()}


def _made(kind: str, flat: Any) -> dict[str, Any]:
    return {"points": [list(flat[at : at + 2]) for at in range(0, len(flat), 2)], "shape_type": kind}
