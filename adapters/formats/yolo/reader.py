"""Reads YOLO data sets as frames: detection, segmentation, poses and oriented boxes.

What is read
    The images of the splits in `data.yaml`, which are folders or lists; without that file all images, with classes from
    `classes.txt` and splits from folders named `train`, `val` or `test`. The labels of an image are in the file of the same
    name in `labels` instead of `images`, or beside the image. An image without labels is a frame without annotations.
Rows
    A class and 4 numbers are a box. With `kpt_shape`, key points follow, which get the id of their box. 8 numbers are the
    corners of a rotated box if they are a rectangle and the data set has no other polygons; otherwise 6 numbers and more are
    the points of a polygon. One number more is the confidence.
Sizes
    Coordinates are relative to the size of the image, which is read from its header and turned as its EXIF data say. Pixels
    are rounded to six decimals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..files import Folder, Images, folder_of, image_size, start_of
from ..format import SPLITS, Item, Reading, Wire
from ..report import FlawError, Report
from .definition import SEGMENT, Definition, is_name_file, read_definition

_YAML = (".yaml", ".yml")
_NAMES = re.compile(rb"^\s*[\"']?names[\"']?\s*:", re.MULTILINE)
_ROW = re.compile(rb"\s*\d+(?:\.0*)?(?:[ \t]+-?[\d.eE+-]+){4,}[ \t]*(?:\r?\n|$)")
_SAMPLE = 100
_SKEW = 0.02
"""By how much the angles of a rectangle may differ from right ones, as a cosine."""
_TOLERANCE = 1.0
"""Pixels by which its opposite sides may differ."""


def sniff(path: Path) -> bool:
    """Whether a YAML file names classes, or text files beside images have rows of labels."""
    if path.is_file():
        return path.suffix.lower() in _YAML and _has(path, _NAMES)
    if any(_has(file, _NAMES) for file in path.iterdir() if file.suffix.lower() in _YAML):
        return True
    texts = (file for file in path.rglob("*.txt") if not is_name_file(file.name))
    return any(_has(file, _ROW, at_start=True) for file in islice(texts, 20))


def _has(file: Path, pattern: re.Pattern[bytes], *, at_start: bool = False) -> bool:
    data = start_of(file)
    return (pattern.match(data) if at_start else pattern.search(data)) is not None


def read(path: Path, report: Report) -> Reading:
    """Return the frames of a YOLO data set.

    Raises
    ------
    UsageError
        There is no image, or Pillow or PyYAML is not installed.
    """
    folder = Folder(folder_of(path), report)
    images = Images(folder)
    file = _yaml_file(path, folder)
    definition = read_definition(folder, images, file, report)
    if not images.names and not any(map(_is_label_file, folder.files)):
        raise UsageError(f"{path} has no images and labels")
    reader = _Reader(folder, definition, report)
    if file is None and not reader.has_labels:
        raise UsageError(f"{path} has no data.yaml and no labels, which are text files named as the images")
    categories = [{"name": name} for name in dict.fromkeys(definition.names or ()) if name.strip()]
    return Reading(folder.path, reader.items(), len(definition.images), categories)


def _yaml_file(path: Path, folder: Folder) -> str | None:
    if path.is_file():
        return str(path.relative_to(folder.path))
    found = [name for name in folder.with_suffix(_YAML) if _has(Path(folder.path, name), _NAMES)]
    highest = min((name.count("/") for name in found), default=0)
    named = [name for name in found if name.count("/") == highest]
    if len(named) > 1:
        raise UsageError(f"{path} has several definitions, {', '.join(named)}: give the path of one of them")
    return named[0] if named else None


def _is_label_file(name: str) -> bool:
    return name.endswith(".txt") and "labels" in name.split("/")[:-1]


class _Reader:
    def __init__(self, folder: Folder, definition: Definition, report: Report) -> None:
        self._folder, self._definition, self._report = folder, definition, report
        self._files = set(folder.files)
        self._labels = {name: self._label_file(name) for name in definition.images}
        self.has_labels = any(self._labels.values()) or any(map(_is_label_file, folder.files))
        self._is_segments = self._guess_segments()

    def _label_file(self, image: str) -> str | None:
        stem = image[: image.rindex(".")]
        *folders, base = stem.split("/")
        if "images" in folders:
            at = len(folders) - 1 - folders[::-1].index("images")
            name = "/".join([*folders[:at], "labels", *folders[at + 1 :], f"{base}.txt"])
            if name in self._files:
                return name
        return f"{stem}.txt" if f"{stem}.txt" in self._files else None

    def _guess_segments(self) -> bool:
        """Whether the labels are polygons: it is said, or there are some that cannot be rotated boxes."""
        if self._definition.task is not None:
            return self._definition.task == SEGMENT
        if self._definition.kpt_shape is not None:
            return False
        for file in islice(filter(None, self._labels.values()), _SAMPLE):
            try:
                rows = self._folder.text(file).splitlines()
            except FlawError:
                continue
            if any(len(row.split()) > 10 or len(row.split()) in {7, 8} for row in rows):
                return True
        return False

    def items(self) -> Iterator[Item]:
        for image, splits in self._definition.images.items():
            yield self._item(image, splits)
        described = set(self._labels.values())
        for name in self._folder.files:
            if _is_label_file(name) and name not in described and not is_name_file(name):
                self._report.flaw("image", name, "missing image: no image of the dataset has this name")

    def _item(self, image: str, splits: list[str]) -> Item:
        try:
            source = self._folder.source(image)
        except FlawError as error:
            self._report.flaw("image", image, error)
            return Item(image, None, is_whole=False)
        size = image_size(f"{self._folder.path}/{image}")
        if size is None:
            self._report.flaw("size", image, "its size cannot be read, so that its labels cannot be")
        else:
            source["width"], source["height"] = size
        frame: Wire = {"sources": [source]}
        if splits:
            frame["meta"] = {SPLITS: sorted(set(splits))}
        file = self._labels[image]
        if file is None or size is None:
            return Item(image, frame, is_whole=False)
        try:
            text = self._folder.text(file)
        except FlawError as error:
            self._report.flaw("file", file, error)
            return Item(image, None, is_whole=False)
        rois, flawed = self._rois(text, file, *size)
        frame["rois"] = rois
        return Item(image, frame, is_whole=not flawed)

    def _rois(self, text: str, file: str, width: int, height: int) -> tuple[list[Wire], int]:
        rois: list[Wire] = []
        flawed = 0
        for number, line in enumerate(text.splitlines(), 1):
            row = line.split()
            if not row:
                continue
            try:
                rois += self._row(row, number, width, height)
            except FlawError as error:
                flawed += 1
                self._report.flaw("annotation", file, f"line {number}: {error}")
        return rois, flawed

    def _row(self, row: list[str], number: int, width: int, height: int) -> list[Wire]:
        label = self._label(row[0])
        try:
            values = list(map(float, row[1:]))
        except ValueError as error:
            raise FlawError(str(error)) from error
        wire: Wire = {"label": [label]}
        shape = self._definition.kpt_shape
        if shape is not None and len(values) in {4 + shape[0] * shape[1], 5 + shape[0] * shape[1]}:
            return self._pose(wire, values, number, width, height, *shape)
        count = len(values)
        if count % 2:
            wire["confidence"] = _confidence(values.pop())
        if count not in {4, 5} and count < 6:
            raise FlawError(f"a row has a class and 4 numbers, or 6 and more, not {count}")
        _check_inside(values)
        if len(values) == 4:
            wire["type"], wire["poly"] = "box2d", _box(values, width, height)
            return [wire]
        points = [round(value * (height if place % 2 else width), 6) for place, value in enumerate(values)]
        rotated = None if len(values) != 8 or self._is_segments else rotated_box(points)
        wire["type"], wire["poly"] = ("polygon2d", points) if rotated is None else ("box2d", rotated)
        return [wire]

    def _pose(
        self, wire: Wire, values: list[float], number: int, width: int, height: int, count: int, of_each: int
    ) -> list[Wire]:
        if len(values) == 5 + count * of_each:
            wire["confidence"] = _confidence(values.pop())
        _check_inside(values[:4])
        wire |= {"type": "box2d", "poly": _box(values[:4], width, height)}
        points: list[float] = []
        visibility: list[int] = []
        for at in range(4, len(values), of_each):
            x, y = values[at], values[at + 1]
            if not (math.isfinite(x) and math.isfinite(y)):
                raise FlawError(f"coordinates must be finite numbers, not {x:.15g}, {y:.15g}")
            points += (round(x * width, 6), round(y * height, 6))
            seen = values[at + 2] if of_each == 3 else 2 * (x != 0 or y != 0)
            visibility.append(int(seen) if seen in {0, 1, 2} else 2)
        if not any(visibility):
            return [wire]
        wire["id"] = str(number)
        keypoints = {**wire, "type": "keypoints2d", "poly": points}
        if set(visibility) != {2}:
            keypoints["meta"] = {"visibility": visibility}
        return [wire, keypoints]

    def _label(self, given: str) -> str:
        try:
            index = int(given) if given.isdecimal() else int(float(given))
        except (ValueError, OverflowError):
            index = -1
        names = self._definition.names
        if index < 0 or (not given.isdecimal() and float(given) != index):
            raise FlawError(f"class must be an index, not {shorten(given)}")
        if names is None:
            return str(index)
        if index >= len(names):
            raise FlawError(f"class {index} is not in names, which are {len(names)}")
        return names[index]


def _confidence(value: float) -> float:
    if not 0 <= value <= 1:
        raise FlawError(f"confidence must be from 0 to 1, not {value:.15g}")
    return value


def _check_inside(values: Sequence[float]) -> None:
    for value in values:
        if not -_ROUNDING <= value <= 1 + _ROUNDING:
            raise FlawError(f"coordinates must be from 0 to 1, relative to the image, not {value:.15g}")


_ROUNDING = 0.01
"""By how much coordinates may be outside of the image, as for Ultralytics."""


def _box(values: Sequence[float], width: int, height: int) -> list[float]:
    cx, cy, w, h = values
    if w <= 0 or h <= 0:
        raise FlawError(f"box must have a size, not {w:.15g} x {h:.15g}")
    return [
        round((cx - w / 2) * width, 6),
        round((cy - h / 2) * height, 6),
        round(w * width, 6),
        round(h * height, 6),
    ]


def rotated_box(points: Sequence[float]) -> list[float] | None:
    """Return left, top, width, height and the angle of four corners in order; None if they are no rectangle."""
    x1, y1, x2, y2, x3, y3, x4, y4 = points
    across, down = (x2 - x1, y2 - y1), (x4 - x1, y4 - y1)
    width, height = math.hypot(*across), math.hypot(*down)
    is_rectangle = (
        width > 0
        and height > 0
        and math.hypot(x1 + x3 - x2 - x4, y1 + y3 - y2 - y4) <= _TOLERANCE
        and abs(across[0] * down[0] + across[1] * down[1]) <= _SKEW * width * height
        and across[0] * down[1] - across[1] * down[0] > 0
    )
    if not is_rectangle:
        return None
    cx, cy = (x1 + x2 + x3 + x4) / 4, (y1 + y2 + y3 + y4) / 4
    box: list[Any] = [cx - width / 2, cy - height / 2, width, height]
    angle = math.atan2(across[1], across[0])
    rounded = [round(each, 6) for each in box]
    return [*rounded, round(angle, 9)] if round(angle, 9) else rounded
