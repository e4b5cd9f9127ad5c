"""Versions with random content, and what is in them, to compare with what other libraries read and write."""

from __future__ import annotations

import json
import math
import os
import subprocess
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from data_sets import read
from PIL import Image

from framelode import DatasetVersion, SingleFrame
from framelode.adapters.formats.coco.rle import encode_rle, fill, rings_of
from framelode.adapters.formats.geometry import flat_rings, without_holes
from framelode.engine.annotations.types import (
    BoundingBox2D,
    ComplexPolygon2D,
    Ellipse2D,
    ImageAnnotation,
    KeyPoints2D,
    Polygon2D,
)

BCCD = os.environ.get("FRAMELODE_TEST_VOC")
real = pytest.mark.skipif(not BCCD, reason="FRAMELODE_TEST_VOC names no VOC folder")
LABELS = ["cat", "a b", "\u732b"]
SPLITS = ["train", "val"]
_SIZES = [(64, 48), (40, 90)]
_POINTS = 4
_numbers = count()


def new_name():
    """Return a name that no dataset has."""
    return f"d{next(_numbers)}"


def into(frames):
    """Return a new version with these frames."""
    name = new_name()
    DatasetVersion.create_new_dataset(name)
    version = DatasetVersion.get_current(dataset_name=name)
    assert version.add_frames(frames) == []
    return version


def imported(kind, path):
    """Return the version that a data set of others is imported to, without a flaw."""
    done = DatasetVersion.import_from(kind, path, new_name())
    assert [str(each) for each in done.problems] == []
    return done.version


def bccd(most=1000):
    """Return the first images of the real data as a version. Their splits are ``train``, ``val``, ``trainval`` and ``test``."""
    return into(_real_frames()[:most])


@cache
def _real_frames():
    return list(read("voc", BCCD)[0].values())


def random_version(folder, seed, kinds=("box",), *, scores=False, most=5):
    """Return a version of three pictures with random annotations inside of them, two of ``train`` and one of ``val``."""
    pick = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for number in range(3):
        width, height = _SIZES[number % 2]
        file = folder / f"{seed} {number}.v1.png"
        Image.new("RGB", (width, height), (seed % 256, number, 0)).save(file)
        metadata = {"splits": [SPLITS[number % 2]]}
        frame = SingleFrame(source=file, width=width, height=height, metadata=metadata)
        for each in range(pick.integers(0, most)):
            x, y, w, h = _box(pick, width, height)
            common = {"labels": [LABELS[pick.integers(3)]]}
            if scores and pick.integers(2):
                common["confidence"] = round(float(pick.random()), 3)
            _annotate(frame, kinds[pick.integers(len(kinds))], (x, y, w, h), common, pick, str(each + 1))
        frames.append(frame)
    return into(frames)


def _box(pick, width, height):
    x, y = (round(float(pick.uniform(1, side / 2)), 2) for side in (width, height))
    w, h = (round(float(pick.uniform(3, side / 2 - 2)), 2) for side in (width, height))
    return x, y, w, h


def _annotate(frame, kind, box, common, pick, number):
    x, y, w, h = box
    inside = pick.random((_POINTS, 2)) * (w, h) + (x, y)
    points = [(round(float(px), 2), round(float(py), 2)) for px, py in inside]
    match kind:
        case "box":
            frame.add_annotation(box2d_xywh=box, **common)
        case "rotated":
            side = min(w, h) / 1.5
            angle = float(pick.integers(-30, 31)) / 10
            frame.add_annotation(
                box2d_xywh=(x + w / 2 - side / 2, y + h / 2 - side / 3, side, side / 1.5, angle), **common
            )
        case "polygon":
            frame.add_annotation(poly2d_xy=[(x, y), (x + w, y), *points[:1], (x + w / 2, y + h)], **common)
        case "parts":
            left = [(x, y), (x + w / 3, y), (x, y + h)]
            right = [(x + w / 2, y), (x + w, y), (x + w, y + h)]
            frame.add_annotation(poly2d_xy=[left, right], **common)
        case "holes":
            outer = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
            inner = [(x + 1, y + 1), (x + w - 1, y + 1), (x + w - 1, y + h - 1), (x + 1, y + h - 1)]
            frame.add_annotation(poly2d_xy=[outer, inner], **common)
        case "pixels":
            _add_pixels(frame, box, common, pick)
        case "pose":
            seen = [int(each) for each in pick.integers(0, 3, _POINTS)]
            seen[0] = 2
            points = [point if each else (0.0, 0.0) for point, each in zip(points, seen, strict=True)]
            frame.add_annotation(box2d_xywh=box, id=number, **common)
            meta = {} if set(seen) == {2} else {"visibility": seen}
            frame.add_annotation(points2d_xy=points, id=number, metadata=meta, **common)
        case "points":
            frame.add_annotation(points2d_xy=points, **common)
        case "polyline":
            frame.add_annotation(points2d_xy=points, metadata={"shape": "polyline"}, **common)
        case "circle":
            frame.add_annotation(ellipse2d_xyrrt=(x + w / 2, y + h / 2, h / 2, h / 2, 0.0), **common)
        case "label" if not any(isinstance(each, ImageAnnotation) for each in frame.annotations):
            frame.add_annotation(frame_class=common["labels"])
        case "caption":
            frame.add_annotation(frame_class=[], metadata={"caption": f"{number}: \u732b & co"})


def _add_pixels(frame, box, common, pick):
    """Add a polygon along the edges of random pixels."""
    x, y, w, h = map(int, box)
    bitmap = np.zeros((frame.height, frame.width), bool)
    bitmap[y : y + h, x : x + w] = pick.random((h, w)) < 0.6
    bitmap[y, x] = True
    rings = [list(zip(ring[0::2], ring[1::2], strict=True)) for ring in rings_of(bitmap)]
    frame.add_annotation(poly2d_xy=rings if len(rings) > 1 else rings[0], **common)


def shapes_of(version, split=None, *, scores=False, parts=False):
    """Return the shapes of each image by its name: what they are, their label, and their numbers or text.

    Polygons of several rings are run-length encoded masks. With `parts`, those without holes are the numbers of all rings.
    """
    return {
        Path(frame.source).name: [_shape(each, frame, scores, parts) for each in frame.annotations]
        for frame in version
        if split is None or split in frame.metadata.get("splits", ())
    }


def _shape(annotation, frame, scores, parts):
    label = annotation.labels[0] if annotation.labels else None
    more = [annotation.confidence] if scores and annotation.confidence is not None else []
    match annotation:
        case BoundingBox2D() if annotation.angle:
            return "rotated", label, [*np.ravel(annotation.vertices), *more]
        case BoundingBox2D():
            x, y, w, h = annotation.poly
            return "box", label, [x, y, x + w, y + h, *more]
        case Polygon2D():
            return "polygon", label, [*annotation.poly, *more]
        case ComplexPolygon2D():
            rings = flat_rings(annotation)
            if parts and len(without_holes(rings)) == len(rings):
                return "polygon", label, [*(number for ring in rings for number in ring), *more]
            return "mask", label, encode_rle(fill(rings, frame.height, frame.width))
        case KeyPoints2D() if annotation.metadata.get("shape") == "polyline":
            return "polyline", label, list(annotation.poly)
        case KeyPoints2D():
            seen = annotation.metadata.get("visibility") or [2] * (len(annotation.poly) // 2)
            return "points", label, [*annotation.poly, *seen]
        case Ellipse2D():
            return "ellipse", label, list(annotation.poly)
        case ImageAnnotation() if "caption" in annotation.metadata:
            return "caption", None, annotation.metadata["caption"]
        case ImageAnnotation():
            return "label", label, []


def assert_equal(one, other, tolerance=1e-3):
    """Assert that two readings have the same images, and each the same shapes in any order."""
    assert list(one.keys() ^ other.keys()) == []
    for name, shapes in one.items():
        left = list(other[name])
        for shape in shapes:
            found = next((each for each in left if _is_close(shape, each, tolerance)), None)
            assert found is not None, (name, shape, left)
            left.remove(found)
        assert left == [], (name, left, shapes)


def _is_close(one, other, tolerance):
    if tuple(one[:2]) != tuple(other[:2]) or isinstance(one[2], str) or isinstance(other[2], str):
        return tuple(one) == tuple(other)
    return len(one[2]) == len(other[2]) and all(
        math.isclose(a, b, rel_tol=0, abs_tol=tolerance) for a, b in zip(one[2], other[2], strict=True)
    )


def only(shapes, *kinds):
    """Return only the shapes of some kinds."""
    return {name: [each for each in some if each[0] in kinds] for name, some in shapes.items()}


def as_boxes(shapes):
    """Return the boxes around shapes."""

    def around(shape):
        kind, label, numbers = shape
        if kind == "box":
            return shape
        xs, ys = numbers[0::2], numbers[1::2]
        return "box", label, [min(xs), min(ys), max(xs), max(ys)]

    return {name: list(map(around, some)) for name, some in shapes.items()}


def as_masks(version):
    """Return the pixels of polygons of each image by its name, run-length encoded."""
    return {
        Path(frame.source).name: [
            ("mask", each.labels[0], encode_rle(fill(_rings(each), frame.height, frame.width)))
            for each in frame.annotations
        ]
        for frame in version
    }


def _rings(annotation):
    return flat_rings(annotation) if isinstance(annotation, ComplexPolygon2D) else [list(annotation.poly)]


def moved(shapes, *by):
    """Return shapes whose numbers are moved by these numbers, again and again."""
    return {
        name: [(*each[:2], [n + by[at % len(by)] for at, n in enumerate(each[2])]) for each in some]
        for name, some in shapes.items()
    }


def asked(variable, script, jobs, folder):
    """Return what a script answers to jobs, run once for all of them by the Python that a variable of the environment names.

    The script defines ``answer``, which gets a job and returns what JSON can hold.
    """
    (folder / "script.py").write_text(f"{script}\n{_ASK}", "utf-8")
    (folder / "jobs.json").write_text(json.dumps(jobs), "utf-8")
    command = [os.environ[variable], "-W", "ignore", "script.py"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads((folder / "answers.json").read_text("utf-8"))


_ASK = """
import json
with open("jobs.json", encoding="utf-8") as file:
    jobs = json.load(file)
with open("answers.json", "w", encoding="utf-8") as file:
    json.dump([answer(*job) for job in jobs], file)
"""
