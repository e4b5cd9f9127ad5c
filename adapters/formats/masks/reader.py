"""Images with mask files beside them: PNGs whose colours or numbers are classes.

What is read
    A mask is an image in a folder such as ``masks``, or one whose name ends with ``_mask`` or as those of Cityscapes. It belongs to
    the image of the same name. `classes.json` or `classes.txt` has the names of the classes.
Masks
    The mask file stays what it is; each colour of it is an annotation. Numbers of more than 8 bits are instances: polygons along
    the edges of their pixels. A number from 1000 on is a class times 1000 and the number of an instance.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..coco.rle import rings_of
from ..described import DescribedImages
from ..files import IMAGE_SUFFIXES, Folder, Images, has_pillow
from ..format import Item, Reading, Wire
from ..geometry import complex_polygon
from ..report import FlawError, Report
from ..voc.masks import Colour

_FOLDERS = frozenset(
    {"masks", "mask", "annotations", "labels", "labelids", "segmentation", "gt", "gtfine", "segmaps"}
)
_OF_MASK = re.compile(
    r"(.+?)_(?:mask|masks|label|gt(?:Fine|Coarse)_(?:labelIds|instanceIds|labelTrainIds|color))\Z"
)
_OF_IMAGE = re.compile(r"(.+)_leftImg8bit\Z")
_NAMED = re.compile(r"\s*([^:#]+?)\s*:\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})(?::.*)?")
CLASSES = ("classes.json", "classes.txt", "labelmap.txt", "labels.txt")
_BACKGROUND = frozenset({"background", "_background_", "void", "unlabeled", "ignore"})
_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".gif"})
_ID = "00"
_MOST = 4096
_OF_INSTANCES = 1000
_IGNORED = 255

Classes = dict[int | Colour, str]


def sniff(path: Path) -> bool:
    """Whether a folder has images and masks of them, among the first files."""
    if not path.is_dir():
        return False
    found: dict[str, set[bool]] = {}
    for file in islice(path.rglob("*"), 2000):
        if file.suffix.lower() in {".xml", ".yaml", ".csv"} or (
            file.suffix == ".json" and file.name not in CLASSES
        ):
            return False
        if file.suffix.lower() in IMAGE_SUFFIXES:
            name = file.relative_to(path).as_posix()
            found.setdefault(_key(name), set()).add(_is_mask(name))
    return any(len(kinds) == 2 for kinds in found.values())


def _is_mask(name: str) -> bool:
    *folders, base = name.split("/")
    stem, suffix = os.path.splitext(base)  # noqa: PTH122 - no path
    is_named = (
        not _FOLDERS.isdisjoint(folder.lower() for folder in folders) or _OF_MASK.fullmatch(stem) is not None
    )
    return suffix.lower() in _SUFFIXES and is_named and _OF_IMAGE.fullmatch(stem) is None


def _key(name: str) -> str:
    stem = os.path.splitext(name.rpartition("/")[2])[0]  # noqa: PTH122 - no path
    match = (_OF_MASK if _is_mask(name) else _OF_IMAGE).fullmatch(stem)
    return match[1] if match else stem


def read(path: Path, report: Report) -> Reading:
    """Return the frames of images with masks.

    Raises
    ------
    UsageError
        There are no masks, or Pillow is not installed.
    """
    if not has_pillow():
        raise UsageError("masks are read with Pillow: pip install 'framelode[formats]'")
    folder = Folder(path, report)
    images = Images(folder)
    masks: dict[str, list[str]] = {}
    for name in images.names:
        if _is_mask(name):
            masks.setdefault(_key(name), []).append(name)
    shown = [name for name in images.names if not _is_mask(name)]
    if not masks or not shown:
        raise UsageError(f"{path} has no images with masks, in a folder such as 'masks'")
    classes = _classes_of(folder, report)
    categories = [
        {"name": name} for name in dict.fromkeys(classes.values()) if name.lower() not in _BACKGROUND
    ]
    described = DescribedImages(folder, report, images)
    return Reading(
        folder.path, _items(folder, shown, masks, classes, described, report), len(shown), categories
    )


def _items(
    folder: Folder,
    shown: list[str],
    masks: dict[str, list[str]],
    classes: Classes,
    images: DescribedImages,
    report: Report,
) -> Iterator[Item]:
    used: set[str] = set()
    for name in shown:
        item = images.bare(name)
        if item.frame is None:
            yield item
            continue
        source = item.frame["sources"][0]
        item.frame["rois"] = []
        flawed = 0
        key = _key(name)
        used.add(key)
        for mask in _chosen(masks.get(key, [])):
            try:
                is_kept, rois = _annotations(
                    folder, mask, classes, (source.get("width"), source.get("height")), report
                )
                item.frame["rois"] += rois
                if is_kept:
                    source.setdefault("masks", []).append({"id": _ID, "uri": folder.source(mask)["uri"]})
            except FlawError as error:
                flawed += 1
                report.flaw("mask", mask, error)
        yield Item(name, item.frame, is_whole=not flawed and key in masks)
    for key, some in masks.items():
        for mask in some if key not in used else ():
            report.flaw("image", mask, "missing image: no image has the name of this mask")


def _chosen(masks: list[str]) -> list[str]:
    """Return the mask of an image to read; of those of Cityscapes, the one with instances or with numbers."""
    for end in ("instanceIds", "labelIds"):
        if some := [mask for mask in masks if os.path.splitext(mask)[0].endswith(end)]:  # noqa: PTH122
            return some[:1]
    return masks[:1]


def _annotations(
    folder: Folder, mask: str, classes: Classes, size: tuple[Any, Any], report: Report
) -> tuple[bool, list[Wire]]:
    """Return whether the mask file is part of the frame, and the annotations of its colours or instances."""
    pixels, palette = _pixels(f"{folder.path}/{mask}")
    if None not in size and pixels.shape[1::-1] != size:
        raise FlawError(
            f"has the size {pixels.shape[1]} x {pixels.shape[0]}, its image {size[0]} x {size[1]}"
        )
    if pixels.dtype.itemsize > 1:
        return False, list(_instances(pixels, classes, report, mask))
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1)
    values = np.unique(flat, axis=0)
    if len(values) > _MOST:
        raise FlawError(f"is no mask: it has more than {_MOST} colours")
    rois: list[Wire] = []
    for value in values.tolist():
        colour = tuple(value) if isinstance(value, list) else palette.get(value, (value, value, value))
        label = _label(value if isinstance(value, int) else None, colour, classes, report, mask)
        if label is not None:
            rois.append({"type": "mask", "label": [label], "mask": {"id": _ID, "value": list(colour)}})
    return True, rois


def _label(number: int | None, colour: Colour, classes: Classes, report: Report, mask: str) -> str | None:
    """Return the class of a number or colour; None for the background, and, which is noted, for one that has no name."""
    named = classes.get(colour) or (None if number is None else classes.get(number))
    if named is not None:
        return None if named.lower() in _BACKGROUND else named
    if number in {0, _IGNORED} or not any(colour):
        return None
    if classes:
        report.loss("number or colour of a mask that is no class: left out", mask)
        return None
    return "#{:02x}{:02x}{:02x}".format(*colour) if number is None else str(number)


def _instances(pixels: NDArray[Any], classes: Classes, report: Report, mask: str) -> Iterator[Wire]:
    values = np.unique(pixels)
    if len(values) > _MOST:
        raise FlawError(f"is no mask: it has more than {_MOST} numbers")
    for value in values.tolist():
        number = value // _OF_INSTANCES if value >= _OF_INSTANCES else value
        label = _label(number, (number, number, number), classes, report, mask)
        if label is None:
            continue
        rings = rings_of(pixels == value)
        shape = {"type": "polygon2d", "poly": rings[0]} if len(rings) == 1 else complex_polygon(rings)
        yield {**shape, "label": [label], **({"id": str(value)} if value >= _OF_INSTANCES else {})}


def _pixels(path: str) -> tuple[NDArray[Any], dict[int, Colour]]:
    """Return the numbers of a mask, or its colours with a third axis, and the palette of the numbers."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            palette: dict[int, Colour] = {}
            if image.mode == "P":
                given = image.getpalette("RGB") or []
                palette = {
                    at // 3: (given[at], given[at + 1], given[at + 2]) for at in range(0, len(given), 3)
                }
                return np.asarray(image), palette
            if image.mode in {"L", "I", "I;16", "I;16B", "I;16L"}:
                return np.asarray(image), palette
            if image.mode == "1":
                return np.asarray(image.convert("L")) // 255, {1: (255, 255, 255)}
            return np.asarray(image.convert("RGB")), palette
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FlawError(f"is no image that can be read: {error}") from error


def _classes_of(folder: Folder, report: Report) -> Classes:
    """Return the names of classes by number or colour; empty if no file has them."""
    for wanted in CLASSES:
        for file in folder.files:
            if file.rpartition("/")[2] != wanted:
                continue
            try:
                return (
                    _of_json(folder.json(file)) if wanted.endswith(".json") else _of_text(folder.text(file))
                )
            except FlawError as error:
                report.flaw("file", file, error)
    return {}


def _of_json(given: Any) -> Classes:
    if isinstance(given, list):
        given = {
            each["name"] if isinstance(each, dict) and "name" in each else each: (
                each.get("color", each.get("id", at)) if isinstance(each, dict) else at
            )
            for at, each in enumerate(given)
            if isinstance(each, str) or (isinstance(each, dict) and isinstance(each.get("name"), str))
        }
    classes: Classes = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        if type(value) is int:
            classes[value] = name
        elif isinstance(value, str) and name.isdecimal():
            classes[int(name)] = value
        elif (
            isinstance(value, list)
            and len(value) == 3
            and all(type(each) is int and 0 <= each < 256 for each in value)
        ):
            classes[value[0], value[1], value[2]] = name
        else:
            raise FlawError(f"class {shorten(name)} must have a number or a colour, not {shorten(value)}")
    if not classes:
        raise FlawError("must be names, or numbers or colours by name")
    return classes


def _of_text(text: str) -> Classes:
    classes: Classes = {}
    for number, line in enumerate(text.splitlines()):
        if match := _NAMED.fullmatch(line):
            classes[int(match[2]), int(match[3]), int(match[4])] = match[1]
        elif line.strip() and not line.startswith("#"):
            classes[number] = line.strip()
    return classes
