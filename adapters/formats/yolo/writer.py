"""Writes frames as a YOLO data set: `data.yaml`, and a folder for each split in `images` and `labels`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ....engine.annotations.base import Annotation
from ....engine.annotations.types import BoundingBox2D, ComplexPolygon2D, Ellipse2D, KeyPoints2D, Polygon2D
from ....engine.frames.single_frame import SingleFrame
from ..format import SPLITS, Writing, only_label, splits_of
from ..geometry import (
    VISIBILITY,
    clipped_box,
    flat_rings,
    paired,
    size_of,
    visibility_of,
    without_holes,
)
from .definition import SEGMENT
from .definition import SPLITS as YOLO_SPLITS

_DETECT, _OBB, _POSE = "detect", "obb", "pose"


def write(out: Writing) -> None:
    """Write the frames: once through them to see which task the labels are for, and once to write them."""
    _Writer(out, *_task_of(out)).run()


def _task_of(out: Writing) -> tuple[str, int]:
    """Return the task that takes most of the annotations, and the number of key points of a pose."""
    kinds: set[Any] = set()
    points = 0
    for frame in out.frames:
        if not isinstance(frame, SingleFrame):
            continue
        for annotation in frame.get_annotations():
            kind = type(annotation)
            if kind is BoundingBox2D:
                kinds.add(_OBB if annotation.angle else _DETECT)
            elif kind is KeyPoints2D:
                kinds.add(_POSE)
                points = max(points, len(annotation.poly) // 2)
            elif kind in {Polygon2D, ComplexPolygon2D, Ellipse2D}:
                kinds.add(SEGMENT)
    return next((task for task in (_POSE, SEGMENT, _OBB) if task in kinds), _DETECT), points


class _Writer:
    def __init__(self, out: Writing, task: str, points: int) -> None:
        self._out, self._report, self._task, self._points = out, out.report, task, points
        self._used: set[str] = set()

    def run(self) -> None:
        for frame in self._out.singles():
            self._frame(frame)
        self._write_definition()

    def _write_definition(self) -> None:
        import yaml

        given: dict[str, Any] = {
            split: f"images/{split}" for split in YOLO_SPLITS if split in self._used or split == "train"
        }
        given["task"] = self._task
        if self._task == _POSE:
            given["kpt_shape"] = [self._points, 3]
        given["names"] = {index: each["name"] for index, each in enumerate(self._out.categories)}
        text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
        (self._out.path / "data.yaml").write_text(text, "utf-8")
        for kind in ("images", "labels"):
            (self._out.path / kind / "train").mkdir(parents=True, exist_ok=True)

    def _frame(self, frame: SingleFrame) -> None:
        split = self._split(frame)
        if split not in self._used:
            for kind in ("images", "labels"):
                (self._out.path / kind / split).mkdir(parents=True, exist_ok=True)
            self._used.add(split)
        name = self._out.place_image(frame, f"images/{split}")
        if frame.metadata.keys() - {SPLITS}:
            self._report.loss("metadata of a frame: left out", str(frame.id))
        rows = list(self._rows(frame)) if frame.get_annotations() else []
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - no path
        path = f"{self._out.path}/labels/{split}/{stem}.txt"
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - a Path for each file costs more
            file.write("".join(rows))

    def _split(self, frame: SingleFrame) -> str:
        given = splits_of(frame)
        split = next((each for each in YOLO_SPLITS if each in given), None)
        if split is not None:
            if frame.metadata[SPLITS] != [split]:
                self._report.loss("further splits of a frame: left out", str(frame.id))
            return split
        for each in given:
            found = next(
                (split for split in YOLO_SPLITS if each.startswith(split) and each != "trainval"), None
            )
            if found is not None:
                self._report.loss("name of a split: train, val or test instead", str(frame.id))
                return found
        self._report.loss(
            "frame of no split for training, validation or test: written as train", str(frame.id)
        )
        return "train"

    def _rows(self, frame: SingleFrame) -> Iterator[str]:
        size = size_of(frame)
        place = str(frame.id)
        if size is None:
            self._report.loss("annotations of an image of unknown size: left out", place)
            return
        annotations: Sequence[Annotation] = frame.get_annotations()
        points: dict[str, KeyPoints2D] = {}
        if self._task == _POSE:
            annotations, points = paired(annotations)
        line = 0
        for annotation in annotations:
            shapes = list(self._shapes(annotation, frame))
            if not shapes:
                continue
            label = only_label(annotation, self._report, place)
            if label is None:
                continue
            index = self._out.class_index(label)
            pose = annotation if isinstance(annotation, KeyPoints2D) else points.get(annotation.id or "")
            self._note_fields(annotation, pose, line + 1, place)
            for shape in shapes:
                line += 1
                row = self._row(shape, size)
                if self._task == _POSE:
                    row += self._keypoints(pose, frame, size)
                yield f"{index} {' '.join([format(value, '.12g') for value in row])}\n"

    def _note_fields(self, annotation: Annotation, pose: Annotation | None, line: int, place: str) -> None:
        # The reader joins a pose to its box by the number of the line.
        is_line = pose is not None and pose is not annotation and annotation.id == str(line)
        if annotation.id is not None and not is_line:
            self._report.loss("id of an annotation: left out", place)
        if annotation.confidence is not None:
            self._report.loss("confidence of an annotation: left out", place)
        is_pose = annotation is pose and visibility_of(annotation) is not None
        if annotation.metadata.keys() - ({VISIBILITY} if is_pose else set()):
            self._report.loss("metadata of an annotation: left out", place)

    def _shapes(self, annotation: Annotation, frame: SingleFrame) -> Iterator[Sequence[float]]:
        """Yield the shapes of an annotation for the task, in pixels: 4 numbers of a box, or points."""
        place, report = str(frame.id), self._report
        if self._task in {_DETECT, _POSE}:
            yield from self._boxes(annotation, frame)
            return
        rings = flat_rings(annotation)
        match annotation:
            case BoundingBox2D():
                if self._task == SEGMENT:
                    report.loss("box among polygons: written as a polygon", place)
                if annotation.poly[2] <= 0 or annotation.poly[3] <= 0:
                    report.loss("box that is empty or outside of the image: left out", place)
                    rings = []
            case Polygon2D() if rings:
                pass
            case ComplexPolygon2D():
                report.loss("polygon of several rings: each ring is a polygon, holes are filled", place)
                rings = without_holes([ring for ring in rings if len(ring) >= 6])
            case Ellipse2D():
                report.loss("ellipse: written as a polygon", place)
            case _:
                report.loss(f"annotation of type {annotation.type}: left out", place)
        for ring in rings:
            yield self._clipped(ring, frame)

    def _boxes(self, annotation: Annotation, frame: SingleFrame) -> Iterator[Sequence[float]]:
        place, report = str(frame.id), self._report
        if not isinstance(annotation, BoundingBox2D | Polygon2D | ComplexPolygon2D | Ellipse2D | KeyPoints2D):
            report.loss(f"annotation of type {annotation.type}: left out", place)
            return
        if isinstance(annotation, KeyPoints2D):
            report.loss("key points without a box: the box around them is written", place)
        elif not isinstance(annotation, BoundingBox2D) or annotation.angle:
            report.loss(f"{annotation.type} that is no upright box: written as the box around it", place)
        box = clipped_box(annotation.get_bounding_box(), frame, report)
        if box is not None:
            yield box

    def _clipped(self, ring: Sequence[float], frame: SingleFrame) -> list[float]:
        width, height = size_of(frame) or (0, 0)
        found = [
            min(max(value, 0.0), float(height if place % 2 else width)) for place, value in enumerate(ring)
        ]
        if found != list(ring):
            self._report.loss("shape that is partly outside of the image: clipped", str(frame.id))
        return found

    def _row(self, shape: Sequence[float], size: tuple[int, int]) -> list[float]:
        width, height = size
        if len(shape) == 4:
            x, y, w, h = shape
            return [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        return self._relative(shape, size)

    @staticmethod
    def _relative(points: Sequence[float], size: tuple[int, int]) -> list[float]:
        width, height = size
        return [value / (height if place % 2 else width) for place, value in enumerate(points)]

    def _keypoints(self, pose: Annotation | None, frame: SingleFrame, size: tuple[int, int]) -> list[float]:
        """Return x, y and visibility of each point; zeros for those that there are not."""
        row: list[float] = []
        count = 0 if pose is None else len(pose.poly) // 2
        if pose is not None:
            visibility = visibility_of(pose) or [2] * count
            # Trainers refuse a file with a point outside of the image.
            points = self._relative(self._clipped(pose.poly, frame), size)
            for at, seen in enumerate(visibility):
                row += (*points[2 * at : 2 * at + 2], seen)
            if count < self._points:
                kind = "pose of fewer points than others: filled with points that are not given"
                self._report.loss(kind, str(frame.id))
        return row + [0] * (3 * (self._points - count))
