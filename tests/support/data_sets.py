"""Data sets of any format for property tests: frames written, their images placed, and read again."""

from __future__ import annotations

import io
import math
import os
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from framelode.adapters.formats.format import Writing
from framelode.adapters.formats.registry import find_format
from framelode.adapters.formats.report import Report
from framelode.engine.annotations.types import (
    BoundingBox2D,
    ComplexPolygon2D,
    Ellipse2D,
    ImageAnnotation,
    KeyPoints2D,
    Polygon2D,
)
from framelode.engine.frames.frame_group import frame_from_dict
from framelode.engine.frames.single_frame import SingleFrame
from framelode.engine.frames.source import path_or_uri

WIDTH, HEIGHT = 64, 48

labels = st.sampled_from(["cat", "dog", "traffic light", "Ärger", "<&\"'>", "a/b"])
eighths = st.integers(0, 8 * 40).map(lambda number: number / 8)
lengths = st.integers(1, 64).map(lambda number: number / 8)
angles = st.integers(-30, 30).map(lambda number: number / 10)
pairs = st.tuples(eighths, eighths)


def image(path, number=0, size=(WIDTH, HEIGHT)):
    """Write a PNG of some colour, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_png(number % 256, size))
    return path


@cache
def _png(red, size):
    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", size, (red, 0, 0)).save(written, "PNG")
    return written.getvalue()


def boxes(turned=True):
    plain = st.builds(BoundingBox2D, eighths, eighths, lengths, lengths, labels=labels)
    if not turned:
        return plain
    return plain | st.builds(BoundingBox2D, eighths, eighths, lengths, lengths, angles, labels=labels)


polygons = st.builds(Polygon2D, st.lists(pairs, min_size=3, max_size=6), labels=labels)
keypoints = st.builds(KeyPoints2D, st.lists(pairs, min_size=1, max_size=5), labels=labels)
ellipses = st.builds(Ellipse2D, eighths, eighths, lengths, lengths, angles, labels=labels)
whole = st.builds(ImageAnnotation, labels=labels)


@st.composite
def pixel_polygons(draw):
    """A polygon of several rings along the edges of pixels."""
    import numpy as np

    from framelode.adapters.formats.coco.rle import rings_of

    rows = draw(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=5))
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    top, left = draw(st.integers(0, 40)), draw(st.integers(0, 50))
    bitmap[top : top + len(rows), left : left + 5] = rows
    bitmap[top, left] = True
    rings = rings_of(bitmap)
    return ComplexPolygon2D(
        [list(zip(ring[0::2], ring[1::2], strict=True)) for ring in rings], labels=draw(labels)
    )


def frames(annotation, metadata=None, most=3):
    """Return a strategy of frames, some lists of annotations with metadata."""
    one = st.tuples(st.lists(annotation, max_size=4), st.just({}) if metadata is None else metadata)
    return st.lists(one, min_size=1, max_size=most)


def make(folder, given):
    """Return frames of the images ``0.png``, ``1.png``, ... in a folder."""
    return [
        SingleFrame(
            id=str(number),
            source=image(Path(folder, f"{number}.png"), number),
            width=WIDTH,
            height=HEIGHT,
            annotations=annotations,
            metadata=metadata,
        )
        for number, (annotations, metadata) in enumerate(given)
    ]


def write(name, frames, path, categories=()):
    """Write frames in a format, with their images. Return the report."""
    form = find_format(name)
    if not form.is_file:
        path.mkdir(parents=True)
    out = Writing(path, frames, Report(), [dict(each) for each in categories])
    form.write(out)
    for given, source in out.images.items():
        (path / given).parent.mkdir(parents=True, exist_ok=True)
        os.link(path_or_uri(source.uri), path / given)
    if form.finish is not None:
        form.finish(out)
    return out.report


def read(name, path):
    """Return the frames of a data set by the names of their images, the report, and the reading."""
    report = Report()
    reading = find_format(name).read(Path(path).resolve(), report)
    items = list(reading.items)
    found = {item.name: frame_from_dict(item.frame) for item in items if item.frame is not None}
    return found, report, reading


def plain(frame, digits=6):
    """Return what a frame is but for its id and source, with numbers rounded."""
    wire = frame.to_dict()
    source = wire["sources"][0]
    return _rounded(
        {
            "size": (source.get("width"), source.get("height")),
            "meta": wire.get("meta", {}),
            "rois": wire.get("rois", []),
        },
        digits,
    )


def _rounded(value, digits):
    match value:
        case dict():
            return {key: _rounded(each, digits) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each, digits) for each in value]
        case float() if math.isfinite(value):
            return round(value, digits) + 0.0
        case _:
            return value
