"""Image folders: a folder for each class, as torchvision and the library `datasets` read them.

What is read
    Folders are classes. Folders above them that are all named as splits (``train``, ``test``, ``validation``, ...) are splits.
    ``metadata.jsonl`` or ``metadata.csv`` beside the images gives more of each image: `label`, `objects` (boxes and their
    categories), and metadata.
What is written
    The same. `metadata.jsonl` is written if the folders do not say everything, or not to the library `datasets`.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...engine.annotations.types import BoundingBox2D, ImageAnnotation
from ...engine.errors import UsageError
from ...engine.frames.single_frame import SingleFrame
from ...engine.validation import shorten
from .described import DescribedImages
from .files import IMAGE_SUFFIXES, MAX_LIST_BYTES, Folder, Images, json_of
from .format import SPLITS, Format, Item, Reading, Wire, Writing, only_label, splits_of
from .geometry import checked_box
from .report import FlawError, Report

_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})
_FILES = ("metadata.jsonl", "metadata.csv")
_NOT_CLASSES = frozenset({"images", "masks", "annotations", "labels", "jpegimages", "segmentationclass"})
_NAME, _LABEL, _OBJECTS = "file_name", "label", "objects"
_BOXES, _CATEGORIES = "bbox", ("categories", "category")
_OTHER_TEXTS = frozenset({"readme.md", "license", "license.txt", "readme.txt", "readme"})
_SAMPLE = 1000


def sniff(path: Path) -> bool:
    """Whether a folder has images in folders, and no files but those and their metadata, among the first."""
    if not path.is_dir():
        return False
    found = False
    files = (file for file in path.rglob("*") if not file.name.startswith(".") and file.is_file())
    for file in islice(files, _SAMPLE):
        parts = file.relative_to(path).parts
        if not _NOT_CLASSES.isdisjoint(part.lower() for part in parts[:-1]):
            return False
        is_image = file.suffix.lower() in IMAGE_SUFFIXES
        found |= (is_image and len(parts) > 1) or file.name in _FILES
        if not (is_image or file.name in _FILES or file.name.lower() in _OTHER_TEXTS):
            return False
    return found


def read(path: Path, report: Report) -> Reading:
    """Return the frames of an image folder.

    Raises
    ------
    UsageError
        There are no images.
    """
    folder = Folder(path if path.is_dir() else path.parent, report)
    images = Images(folder)
    if not images.names:
        raise UsageError(f"{path} has no images")
    rows = _rows(folder, images, report)
    places = {name: name.split("/")[:-1] for name in images.names}
    has_splits = all(place and place[0].lower() in _SPLITS for place in places.values())
    classes = {place[has_splits] for place in places.values() if len(place) > has_splits}
    items = _items(DescribedImages(folder, report, images), places, rows, report, has_splits=has_splits)
    return Reading(folder.path, items, len(images.names), [{"name": name} for name in sorted(classes)])


def _items(
    images: DescribedImages,
    places: dict[str, list[str]],
    rows: dict[str, tuple[str, Wire]],
    report: Report,
    *,
    has_splits: bool,
) -> Iterator[Item]:
    for name, place in places.items():
        file, row = rows.get(name, ("", {}))
        frame: Wire = {"rois": []}
        meta = {
            key: value
            for key, value in row.items()
            if key not in {_NAME, _LABEL, _OBJECTS} and value is not None
        }
        if has_splits:
            meta[SPLITS] = [place[0]]
        if meta:
            frame["meta"] = meta
        label = row.get(_LABEL)
        if label in (None, ""):
            label = place[has_splits] if len(place) > has_splits else None
        if label is not None:
            frame["rois"].append({"type": "image", "label": [str(label)]})
        flawed = 0
        try:
            frame["rois"] += _boxes(row.get(_OBJECTS))
        except FlawError as error:
            flawed = 1
            report.flaw("annotation", file, f"{shorten(name)}: {error}")
        item = images.bare(name, frame)
        yield Item(name, item.frame, is_whole=not flawed and item.frame is not None)


def _rows(folder: Folder, images: Images, report: Report) -> dict[str, tuple[str, Wire]]:
    """Return the rows of metadata by the names of their images, each with its file."""
    rows: dict[str, tuple[str, Wire]] = {}
    for file in folder.files:
        below, _, base = file.rpartition("/")
        if base not in _FILES:
            continue
        try:
            for number, row in enumerate(_read_rows(folder.text(file, MAX_LIST_BYTES), base), 1):
                try:
                    _take_row(rows, row, file, below, images)
                except FlawError as error:
                    report.flaw("row", file, f"row {number}: {error}")
        except (FlawError, csv.Error) as error:
            report.flaw("file", file, error)
    return rows


def _read_rows(text: str, base: str) -> Iterator[Any]:
    if base.endswith(".csv"):
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    for line in text.split("\n"):  # `splitlines` knows more ends of lines, which JSON may hold
        if line.strip():
            try:
                yield json_of(line.encode())
            except FlawError as error:
                yield error


def _take_row(rows: dict[str, tuple[str, Wire]], row: Any, file: str, below: str, images: Images) -> None:
    if isinstance(row, FlawError):
        raise row
    if not isinstance(row, dict) or not isinstance(row.get(_NAME), str) or None in row:
        raise FlawError(f"must have a {_NAME} and the columns of the others, not {shorten(row)}")
    name = images.find(row[_NAME], (below,))
    if name in rows:
        raise FlawError(f"image {shorten(name)} is already described by {shorten(rows[name][0])}")
    rows[name] = file, row


def _boxes(objects: Any) -> list[Wire]:
    if objects in (None, ""):
        return []
    if isinstance(objects, str):
        objects = json_of(objects.encode())
    boxes = objects.get(_BOXES) if isinstance(objects, dict) else None
    labels = (
        next((objects[key] for key in _CATEGORIES if key in objects), None) if boxes is not None else None
    )
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise FlawError(f"objects must be as many boxes as categories, not {shorten(objects)}")
    return [
        {"type": "box2d", "poly": checked_box(box), "label": [str(label)]}
        for box, label in zip(boxes, labels, strict=True)
    ]


def write(out: Writing) -> None:
    """Write the frames: once through them to see whether there are splits, and once to write them."""
    splits = {
        split for frame in out.frames if isinstance(frame, SingleFrame) for split in splits_of(frame)[:1]
    }
    has_splits = bool(splits) and all(split.lower() in _SPLITS for split in splits)
    rows: dict[str, list[Wire]] = {}
    folders: defaultdict[str, set[str]] = defaultdict(set)
    says_more = False
    for frame in out.singles():
        place = str(frame.id)
        split = _split_of(frame, out.report, place) if has_splits else ""
        row, label = _row(frame, out.report, place, has_splits=has_splits)
        folder = _folder_name(label)
        folders[split].add(folder)
        name = out.place_image(frame, "/".join(filter(None, (split, folder))) or ".")
        rows.setdefault(split, []).append({_NAME: f"{folder}/{name}" if folder else name, **row})
        says_more |= bool(row.keys() - {_LABEL}) or row.get(_LABEL, folder) != folder
    # Without metadata, `datasets` takes folders for classes only if a split has several and each image is in one.
    says_more |= any("" in some or len(some) == 1 for some in folders.values())
    for split, some in rows.items() if says_more else ():
        path = out.path / split
        path.mkdir(exist_ok=True)
        (path / _FILES[0]).write_bytes(msgspec.json.Encoder().encode_lines(some))


def _split_of(frame: SingleFrame, report: Report, place: str) -> str:
    splits = splits_of(frame)
    if not splits:
        report.loss("frame without a split, beside others with one: written into train", place)
        return "train"
    if len(splits) > 1:
        report.loss("further splits of a frame: left out", place)
    return splits[0]


def _folder_name(label: str) -> str:
    name = "".join("_" if char in '<>:"|?*\\/\0' or not char.isprintable() else char for char in label).strip(
        ". "
    )
    return f"_{name}" if name.lower() in _NOT_CLASSES | _SPLITS else name


def _row(frame: SingleFrame, report: Report, place: str, *, has_splits: bool) -> tuple[Wire, str]:
    """Return the metadata of an image, and its class; empty if it has none."""
    labels: list[str] = []
    boxes: list[list[float]] = []
    categories: list[str] = []
    for annotation in frame.get_annotations():
        is_box = isinstance(annotation, BoundingBox2D) and not annotation.angle
        if not is_box and not isinstance(annotation, ImageAnnotation):
            kind = (
                "rotated box"
                if isinstance(annotation, BoundingBox2D)
                else f"annotation of type {annotation.type}"
            )
            report.loss(f"{kind}: left out", place)
            continue
        label = only_label(annotation, report, place, ("id", "confidence", "metadata"))
        if label is None:
            continue
        if is_box:
            boxes.append(list(annotation.poly))
            categories.append(label)
        elif labels:
            report.loss("further label of a frame: left out", place)
        else:
            labels.append(label)
    skipped = {_NAME, _LABEL, _OBJECTS} | ({SPLITS} if has_splits else set())
    row: Wire = {
        key: value for key, value in frame.metadata.items() if key not in skipped and value is not None
    }
    if len(row) + (has_splits and SPLITS in frame.metadata) < len(frame.metadata):
        report.loss("metadata of a frame that is null or has a name of the format: left out", place)
    if labels:
        row[_LABEL] = labels[0]
    if boxes:
        row[_OBJECTS] = {_BOXES: boxes, _CATEGORIES[0]: categories}
    return row, labels[0] if labels else ""


FORMAT = Format("imagefolder", "image folders", sniff, read, write)
