"""The rows of a table of annotations that frames are written as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ....engine.annotations.types import BoundingBox2D, ImageAnnotation
from ....engine.frames.single_frame import SingleFrame
from ..format import SPLITS, Writing, only_label, splits_of
from .columns import HEADER

IMAGES = "images"

Row = tuple[Any, ...]


def rows_of(out: Writing) -> Iterator[Row]:
    """Yield the rows of frames: one for each box or label, or one without any."""
    (out.path / IMAGES).mkdir()
    for frame in out.singles():
        name = f"{IMAGES}/{out.place_image(frame, IMAGES)}"
        splits = splits_of(frame)
        if frame.metadata and frame.metadata != {SPLITS: splits[:1]}:
            out.report.loss("metadata of a frame: left out, but for the first split", str(frame.id))
        of_image = (name, frame.width, frame.height, splits[0] if splits else None)
        count = 0
        for count, row in enumerate(_annotations(frame, out), 1):  # noqa: B007 - it is used below
            yield (*of_image, *row)
        if not count:
            yield (*of_image, *[None] * (len(HEADER) - len(of_image)))


def _annotations(frame: SingleFrame, out: Writing) -> Iterator[Row]:
    report, place = out.report, str(frame.id)
    for annotation in frame.get_annotations():
        box: Row = (None, None, None, None)
        match annotation:
            case ImageAnnotation():
                pass
            case BoundingBox2D() if not annotation.angle:
                x, y, width, height = annotation.poly[:4]
                box = (x, y, x + width, y + height)
            case BoundingBox2D():
                report.loss("rotated box: left out", place)
                continue
            case _:
                report.loss(f"annotation of type {annotation.type}: left out", place)
                continue
        label = only_label(annotation, report, place, ("id",))
        if label is None:
            continue
        metadata = msgspec.json.encode(annotation.metadata).decode() if annotation.metadata else None
        yield (label, *box, annotation.confidence, metadata)
