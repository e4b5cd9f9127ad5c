"""Writes frames as a COCO data set: `annotations` with a JSON file for each kind and split, and `images`."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

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
from ..format import SPLITS, Writing, only_label, splits_of
from ..geometry import VISIBILITY, flat_rings, paired, visibility_of, without_holes
from ..report import Report
from .reader import COCO_ID
from .rle import encode_rle, fill

INSTANCES, CAPTIONS, LABELS = "instances", "captions", "labels"
_FOLDER, _IMAGES = "annotations", "images"
_NO_SPLIT = "default"
_SPLIT = re.compile(r"\w[\w.-]*")
_RESERVED = frozenset({"id", "file_name", "width", "height"})
_AT_ONCE = 5000
_MAX_ID = 2**53
_MOST_DIGITS = 16

_encode = msgspec.json.Encoder().encode
_fields = attrgetter("_poly", "_labels", "_id", "_metadata", "_confidence")


class _Out(Struct, omit_defaults=True, gc=False):
    """An annotation as it is written."""

    id: int
    image_id: int
    category_id: int
    bbox: Sequence[float]
    area: float
    segmentation: Any
    iscrowd: int
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    score: float | None = None
    attributes: dict[str, Any] | None = None


class _File:
    """A JSON file that is being written: images and annotations go into parts of their own, which are joined at the end."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self._parts: list[BinaryIO] = [
            stack.enter_context(path.with_suffix(f".{kind}").open("w+b"))
            for kind in ("images", "annotations")
        ]
        self._waiting: list[list[Any]] = [[], []]
        self._begun = [False, False]

    def put(self, image: dict[str, Any], annotations: list[Any]) -> None:
        for part, items in enumerate(([image], annotations)):
            waiting = self._waiting[part]
            waiting += items
            if len(waiting) >= _AT_ONCE:
                self._flush(part)

    def _flush(self, part: int) -> None:
        if self._waiting[part]:
            self._parts[part].write(
                (b",\n" if self._begun[part] else b"") + _encode(self._waiting[part])[1:-1]
            )
            self._begun[part] = True
            self._waiting[part].clear()

    def finish(self, categories: list[dict[str, Any]] | None) -> None:
        with self.path.open("wb") as out:
            out.write(b'{"info":{"description":"exported by framelode"},"licenses":[]')
            if categories is not None:
                out.write(b',"categories":' + _encode(categories))
            for part, name in enumerate((b"images", b"annotations")):
                self._flush(part)
                out.write(b',"' + name + b'":[\n')
                self._parts[part].seek(0)
                shutil.copyfileobj(self._parts[part], out, 1 << 20)
                self._parts[part].close()
                out.write(b"]")
            out.write(b"}\n")
        for kind in ("images", "annotations"):
            self.path.with_suffix(f".{kind}").unlink()


def write(out: Writing) -> None:
    """Write the frames."""
    with ExitStack() as stack:
        _Writer(out, stack).run()


class _Writer:
    def __init__(self, out: Writing, stack: ExitStack) -> None:
        self._out, self._stack, self._report = out, stack, out.report
        self._files: dict[tuple[str, str], _File] = {}
        self._image_ids: set[int] = set()
        self._ids: set[int] = set()
        self._caption_ids: set[int] = set()
        self._next_image = self._next_id = 1
        self._category_ids: list[int] = []
        self._category_of: dict[str, int] = {}
        self._used_categories: set[int] = set()
        for category in out.categories:
            self._new_category(category)

    def run(self) -> None:
        (self._out.path / _FOLDER).mkdir(parents=True)
        (self._out.path / _IMAGES).mkdir()
        for frame in self._out.singles():
            self._frame(frame)
        if not self._files:
            self._file(INSTANCES, _NO_SPLIT)
        categories = [
            {**category, "id": self._category_ids[place]}
            for place, category in enumerate(self._out.categories)
        ]
        for (kind, _), file in self._files.items():
            # If a file has categories, pycocotools expects that each annotation has one.
            file.finish(None if kind == CAPTIONS else categories)

    def _file(self, kind: str, split: str) -> _File:
        found = self._files.get((kind, split))
        if found is None:
            path = self._out.path / _FOLDER / f"{kind}_{split}.json"
            found = self._files[kind, split] = _File(path, self._stack)
        return found

    def _frame(self, frame: SingleFrame) -> None:
        image = self._image(frame)
        splits = self._splits(frame)
        by_kind: dict[str, list[Any]] = {INSTANCES: []}
        self._annotate(frame, image["id"], by_kind)
        for kind, made in by_kind.items():
            for split in splits:
                self._file(kind, split).put(image, made)

    def _splits(self, frame: SingleFrame) -> list[str]:
        if SPLITS not in frame.metadata:
            return [_NO_SPLIT]
        given = splits_of(frame)
        named = [each for each in given if _SPLIT.fullmatch(each) and each != _NO_SPLIT]
        if SPLITS in frame.metadata and (not named or frame.metadata[SPLITS] != sorted(set(named))):
            self._report.loss("splits that are no sorted list of names of files: left out", str(frame.id))
        return sorted(set(named)) or [_NO_SPLIT]

    def _image(self, frame: SingleFrame) -> dict[str, Any]:
        metadata = frame.metadata
        name = self._out.place_image(frame, _IMAGES)
        source = frame.sources[0]
        image: dict[str, Any] = {"id": self._image_id(frame), "file_name": name}
        if source.width and source.height:
            image["width"], image["height"] = source.width, source.height
        elif source.width is not None or source.height is not None:
            self._report.loss("size of an image without a width or a height: left out", str(frame.id))
        uri = source.uri or ""
        if "://" in uri and not uri.startswith("file:"):
            image["coco_url"] = uri
        for key, value in metadata.items():
            if key in _RESERVED or value is None:
                self._report.loss("metadata under a key of COCO, or null: left out", str(frame.id))
            elif key not in {SPLITS, COCO_ID}:
                image[key] = value
        return image

    def _image_id(self, frame: SingleFrame) -> int:
        given = frame.metadata.get(COCO_ID)
        if type(given) is int and 0 <= given < _MAX_ID and given not in self._image_ids:
            self._image_ids.add(given)
            return given
        if COCO_ID in frame.metadata:
            self._report.loss("coco_id that is no unique number: replaced", str(frame.id))
        while self._next_image in self._image_ids:
            self._next_image += 1
        self._image_ids.add(self._next_image)
        return self._next_image

    def _annotate(self, frame: SingleFrame, image_id: int, by_kind: dict[str, list[Any]]) -> None:
        annotations = frame.annotations
        instances = by_kind[INSTANCES]
        points: dict[str, KeyPoints2D] = {}
        if KeyPoints2D in set(map(type, annotations)):
            annotations, points = paired(annotations)
        category_of, ids = self._category_of, self._ids
        for annotation in annotations:
            # Most annotations are upright boxes with one label.
            if type(annotation) is BoundingBox2D and not points:
                poly, labels, given, metadata, confidence = _fields(annotation)
                category = category_of.get(labels[0]) if len(labels) == 1 else None
                area = poly[2] * poly[3]
                if category is not None and len(poly) == 4 and not metadata and area < math.inf:
                    number = self._annotation_id(given, frame, ids)
                    instances.append(_Out(number, image_id, category, poly, area, [], 0, score=confidence))
                    continue
            if type(annotation) is ImageAnnotation:
                for kind, made in self._of_image(annotation, frame, image_id):
                    by_kind.setdefault(kind, []).append(made)
                continue
            made = self._instance(annotation, frame, image_id)
            if made is None:
                continue
            if points and annotation.id in points and type(annotation) is not KeyPoints2D:
                _put_keypoints(made, points[annotation.id])
            instances.append(made)

    def _instance(self, annotation: Annotation, frame: SingleFrame, image_id: int) -> _Out | None:
        shape = _shape(annotation, frame, self._report)
        if shape is None:
            return None
        label = only_label(annotation, self._report, str(frame.id))
        if label is None:
            return None
        bbox, area, segmentation = shape
        number, category = self._annotation_id(annotation.id, frame, self._ids), self._category_id(label)
        made = _Out(number, image_id, category, bbox, area, segmentation, 0)
        if annotation.confidence is not None:
            made.score = annotation.confidence
        if annotation.metadata:
            self._put_metadata(made, annotation)
        if type(annotation) is KeyPoints2D:
            _put_keypoints(made, annotation)
        return made

    @staticmethod
    def _put_metadata(made: _Out, annotation: Annotation) -> None:
        metadata = annotation.metadata
        used: set[str] = set()
        if metadata.get("iscrowd") is True:
            made.iscrowd = 1
            used.add("iscrowd")
        if type(annotation) is KeyPoints2D and visibility_of(annotation) is not None:
            used.add(VISIBILITY)
        made.attributes = {key: value for key, value in metadata.items() if key not in used} or None

    def _of_image(
        self, annotation: ImageAnnotation, frame: SingleFrame, image_id: int
    ) -> Iterator[tuple[str, Any]]:
        place = str(frame.id)
        metadata = annotation.metadata
        caption = metadata.get("caption")
        others = {key: value for key, value in metadata.items() if key != "caption"}
        made: dict[str, Any] = {"image_id": image_id}
        if others:
            made["attributes"] = others
        if annotation.confidence is not None:
            made["score"] = annotation.confidence
        if isinstance(caption, str) and not annotation.labels:
            made["id"] = self._annotation_id(annotation.id, frame, self._caption_ids)
            yield CAPTIONS, {**made, "caption": caption}
            return
        category = only_label(annotation, self._report, place)
        if category is not None:
            made["id"] = self._annotation_id(annotation.id, frame, self._ids)
            if "caption" in metadata:
                made["attributes"] = dict(metadata)
            yield LABELS, {**made, "category_id": self._category_id(category)}

    def _category_id(self, label: str) -> int:
        index = self._out.class_index(label)
        while index >= len(self._category_ids):
            self._new_category({})
        return self._category_of.setdefault(label, self._category_ids[index])

    def _new_category(self, category: dict[str, Any]) -> None:
        given = category.get("id")
        chosen = given if type(given) is int and 0 <= given < _MAX_ID else len(self._category_ids) + 1
        while chosen in self._used_categories:
            chosen += 1
        self._used_categories.add(chosen)
        self._category_ids.append(chosen)

    def _annotation_id(self, given: str | None, frame: SingleFrame, ids: set[int]) -> int:
        if given is not None:
            number = int(given) if len(given) < _MOST_DIGITS and given.isdecimal() else -1
            if number not in ids and number >= 0 and str(number) == given:
                ids.add(number)
                return number
            self._report.loss("id of an annotation that is no unique number: replaced", str(frame.id))
        while self._next_id in ids:
            self._next_id += 1
        ids.add(self._next_id)
        return self._next_id


Shape = tuple[Sequence[float], float, Any]


def _shape(annotation: Annotation, frame: SingleFrame, report: Report) -> Shape | None:
    """Return the bbox, area and segmentation of an annotation; None, which is noted, if COCO has none."""
    kind, place = type(annotation), str(frame.id)
    if kind is BoundingBox2D and len(annotation.poly) == 4:
        box = annotation.poly
        return _checked((box, box[2] * box[3], []), frame, report)
    if kind is KeyPoints2D:
        report.loss("key points without a box: the box around them is written", place)
        box = annotation.get_bounding_box()
        return _checked((box, box[2] * box[3], []), frame, report)
    if isinstance(annotation, ComplexPolygon2D):
        return _complex(annotation, frame, report)
    rings = flat_rings(annotation)
    if not rings:
        report.loss(f"annotation of type {annotation.type}: left out", place)
        return None
    if not isinstance(annotation, Polygon2D):
        what = "ellipse" if isinstance(annotation, Ellipse2D) else "rotation of a box"
        report.loss(f"{what}: written as a polygon", place)
    return _checked(_polygon(rings), frame, report)


def _checked(shape: Shape, frame: SingleFrame, report: Report) -> Shape | None:
    """Return a shape, or None, which is noted, if its box or area is too large for a number."""
    bbox, area, _ = shape
    return shape if math.isfinite(area + sum(bbox)) else _too_large(frame, report)


def _too_large(frame: SingleFrame, report: Report) -> None:
    report.loss("annotation whose area is too large for a number: left out", str(frame.id))


def _complex(annotation: ComplexPolygon2D, frame: SingleFrame, report: Report) -> Shape | None:
    rings = flat_rings(annotation)
    if any(len(ring) < 6 for ring in rings):
        report.loss("polygon of less than 3 points: left out", str(frame.id))
        return None
    is_crowd = annotation.metadata.get("iscrowd") is True
    if not is_crowd and len(without_holes(rings)) == len(rings):
        return _checked(_polygon(rings), frame, report)
    if not (frame.width and frame.height):
        report.loss("polygon with holes in an image of unknown size: holes are filled", str(frame.id))
        return _checked(_polygon(rings), frame, report)
    if not all(n.is_integer() for ring in rings for n in ring):
        report.loss("polygon with holes: written as pixels", str(frame.id))
    pixels = fill(rings, frame.height, frame.width)
    mask = {"size": [frame.height, frame.width], "counts": encode_rle(pixels)}
    return annotation.get_bounding_box(), float(pixels.sum()), mask


def _polygon(rings: list[list[float]]) -> Shape:
    xs = [n for ring in rings for n in ring[0::2]]
    ys = [n for ring in rings for n in ring[1::2]]
    left, top = min(xs), min(ys)
    return [left, top, max(xs) - left, max(ys) - top], sum(map(_area, rings)), rings


def _area(ring: list[float]) -> float:
    xs, ys = ring[0::2], ring[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def _put_keypoints(made: _Out, points: Annotation) -> None:
    poly = points.poly
    count = len(poly) // 2
    visibility = visibility_of(points) or [2] * count
    made.keypoints = [
        number
        for place in range(count)
        for number in (poly[2 * place], poly[2 * place + 1], visibility[place])
    ]
    made.num_keypoints = sum(1 for each in visibility if each)
