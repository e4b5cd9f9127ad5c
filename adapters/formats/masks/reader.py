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
from collections import defaultdict
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
from ..files import IMAGE_SUFFIXES, Folder, Images, common_folders, has_pillow, open_image
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
_ID, _MASK = "00", "mask"
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
    masks = [name for name in images.names if _is_mask(name)]
    shown = [name for name in images.names if not _is_mask(name)]
    if not masks or not shown:
        raise UsageError(f"{path} has no images with masks, in a folder such as 'masks'")
    reader = _Reader(folder, images, report)
    names = dict.fromkeys(reader.classes.values())
    categories = [{"name": name} for name in names if name.lower() not in _BACKGROUND]
    return Reading(folder.path, reader.items(shown, _masks_of(shown, masks, report)), len(shown), categories)


def _masks_of(shown: list[str], masks: list[str], report: Report) -> dict[str, list[str]]:
    """Return the masks of each image: those of its name that have more folders in common with it than with other images."""
    images: defaultdict[str, list[str]] = defaultdict(list)
    for name in shown:
        images[_key(name)].append(name)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for mask in masks:
        common = {name: common_folders(mask, name) for name in images[_key(mask)]}
        best = [name for name in common if common[name] == max(common.values())]
        if len(best) == 1:
            found[best[0]].append(mask)
        elif best:
            report.flaw("image", mask, f"several images have the name of this mask: {', '.join(best[:3])}")
        else:
            report.flaw("image", mask, "missing image: no image has the name of this mask")
    return found


class _Reader:
    def __init__(self, folder: Folder, images: Images, report: Report) -> None:
        self._folder, self._report = folder, report
        self._images = DescribedImages(folder, report, images)
        self.classes, self._named_in = _classes_of(folder, report)

    def items(self, shown: list[str], masks: dict[str, list[str]]) -> Iterator[Item]:
        for name in shown:
            item = self._images.bare(name)
            if item.frame is not None:
                item.frame["rois"] = []
                item.is_whole = name in masks and self._take(item.frame, *_chosen(masks[name]))
            yield item

    def _take(self, frame: Wire, mask: str, *others: str) -> bool:
        """Take a mask into the frame of its image. Return whether all of it was taken."""
        before = self._report.flaws[_MASK]
        for other in others:
            self._report.flaw(_MASK, other, f"the image has the mask {shorten(mask)} already")
        source = frame["sources"][0]
        size = source.get("width"), source.get("height")
        try:
            pixels, palette = _pixels(f"{self._folder.path}/{mask}")
            _check_size(pixels, size)
            if pixels.dtype.itemsize > 1:
                frame["rois"] = list(self._instances(pixels, mask))
            else:
                frame["rois"] = list(self._colours(pixels, palette, mask))
                source["masks"] = [{"id": _ID, "uri": self._folder.source(mask)["uri"]}]
        except FlawError as error:
            self._report.flaw(_MASK, mask, error)
        return self._report.flaws[_MASK] == before

    def _colours(self, pixels: NDArray[Any], palette: dict[int, Colour], mask: str) -> Iterator[Wire]:
        is_rgb = pixels.ndim == 3
        # Rows of three numbers are sorted a hundred times slower than one number of three bytes.
        for value in _values(pixels @ np.array([2**16, 2**8, 1], np.uint32) if is_rgb else pixels):
            number = None if is_rgb else value
            shown = (value >> 16, value >> 8 & 255, value & 255) if is_rgb else (value, value, value)
            colour = palette.get(value, shown)
            label = self._label(number, colour, mask)
            if label is not None:
                yield {"type": "mask", "label": [label], "mask": {"id": _ID, "value": list(colour)}}

    def _instances(self, pixels: NDArray[Any], mask: str) -> Iterator[Wire]:
        for value in _values(pixels):
            number = value // _OF_INSTANCES if value >= _OF_INSTANCES else value
            label = self._label(number, (number, number, number), mask)
            if label is None:
                continue
            rings = rings_of(pixels == value)
            shape = {"type": "polygon2d", "poly": rings[0]} if len(rings) == 1 else complex_polygon(rings)
            yield {**shape, "label": [label], **({"id": str(value)} if value >= _OF_INSTANCES else {})}

    def _label(self, number: int | None, colour: Colour, mask: str) -> str | None:
        """Return the class of a number or colour; None for the background, and, which is noted, for one that has no name."""
        named = self.classes.get(colour) or (None if number is None else self.classes.get(number))
        if named is not None:
            return None if named.lower() in _BACKGROUND else named
        if number in {0, _IGNORED} or not any(colour):
            return None
        if not self.classes:
            return "#{:02x}{:02x}{:02x}".format(*colour) if number is None else str(number)
        what = f"colour {list(colour)}" if number is None else f"number {number}"
        self._report.flaw(_MASK, mask, f"{what} is not in {self._named_in}")
        return None


def _check_size(pixels: NDArray[Any], size: tuple[Any, Any]) -> None:
    height, width = pixels.shape[:2]
    if None not in size and (width, height) != size:
        raise FlawError(f"has the size {width} x {height}, its image {size[0]} x {size[1]}")


def _chosen(masks: list[str]) -> list[str]:
    """Return the masks of one kind; of those of Cityscapes, the ones with instances or with numbers."""
    for end in ("instanceIds", "labelIds"):
        if some := [mask for mask in masks if os.path.splitext(mask)[0].endswith(end)]:  # noqa: PTH122
            return some
    return masks


def _values(pixels: NDArray[Any]) -> list[int]:
    values = np.unique(pixels)
    if len(values) > _MOST:
        raise FlawError(f"is no mask: it has more than {_MOST} numbers or colours")
    return values.tolist()


def _pixels(path: str) -> tuple[NDArray[Any], dict[int, Colour]]:
    """Return the numbers of a mask, or its colours with a third axis, and the palette of the numbers."""
    with open_image(path) as image:
        if image.mode == "P":
            given = iter(image.getpalette("RGB") or [])
            return np.asarray(image), dict(enumerate(zip(given, given, given, strict=True)))
        if image.mode in {"L", "I", "I;16", "I;16B", "I;16L"}:
            return np.asarray(image), {}
        if image.mode == "1":
            return np.asarray(image.convert("L")) // 255, {1: (255, 255, 255)}
        return np.asarray(image.convert("RGB")), {}


def _classes_of(folder: Folder, report: Report) -> tuple[Classes, str]:
    """Return the class names by number or colour, and the file that lists them. Without such a file, both are empty."""
    for wanted in CLASSES:
        for file in folder.files:
            if file.rpartition("/")[2] != wanted:
                continue
            is_json = wanted.endswith(".json")
            try:
                return _of_json(folder.json(file)) if is_json else _of_text(folder.text(file)), file
            except FlawError as error:
                report.flaw("file", file, error)
    return {}, ""


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
