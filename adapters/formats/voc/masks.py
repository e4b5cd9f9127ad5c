"""Segmentation masks of Pascal VOC: image files whose colours are classes."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from ..files import Folder, Images, common_folders, has_pillow, open_image
from ..format import Wire
from ..report import FlawError, Report

CLASSES, OBJECTS = "SegmentationClass", "SegmentationObject"
MASK_FOLDERS = frozenset({CLASSES, OBJECTS})
LABEL_MAP = "labelmap.txt"

_NAMES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
_LINE = re.compile(r"([^:#]+):(?:(\d{1,3}),(\d{1,3}),(\d{1,3}))?(?::.*)?")
_MOST_COLOURS = 256
_VOID = (224, 224, 192)
"""The colour of borders and of what is hard to tell."""

Colour = tuple[int, int, int]


def voc_colour(index: int) -> Colour:
    """Return the colour of a class in the palette of VOC: the bits of its index are spread over red, green and blue."""
    red = green = blue = 0
    for place in range(8):
        shift = 7 - place
        red |= (index & 1) << shift
        green |= (index >> 1 & 1) << shift
        blue |= (index >> 2 & 1) << shift
        index >>= 3
    return red, green, blue


class Masks:
    """The mask files of a folder, by the names of their images.

    Attributes
    ----------
    categories : list of dict
        The classes of the label map with their colours. Empty without a label map.
    """

    def __init__(self, folder: Folder, report: Report) -> None:
        self._folder, self._report = folder, report
        self._files: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for name in Images(folder).names:
            *folders, base = name.split("/")
            kind = next((each for each in folders if each in MASK_FOLDERS), None)
            if kind is not None:
                self._files[kind, base.rpartition(".")[0]].append(name)
        self.categories: list[dict[str, Any]] = []
        self._labels = {voc_colour(index): name for index, name in enumerate(_NAMES)}
        self._named_in = "the classes of VOC"
        for name in folder.files:
            if name.rpartition("/")[2] == LABEL_MAP:
                self._read_label_map(name)

    def _read_label_map(self, file: str) -> None:
        try:
            lines = self._folder.text(file).splitlines()
        except FlawError as error:
            self._report.flaw("file", file, error)
            return
        found = [match for line in lines if (match := _LINE.fullmatch(line.strip()))]
        self._named_in = file
        classes: dict[Colour, dict[str, Any]] = {}
        for index, (label, *given) in enumerate(match.groups() for match in found):
            # Without colours the classes have those of their places in the palette of VOC.
            if given[0] is None:
                classes[voc_colour(index)] = {"name": label.strip()}
            else:
                red, green, blue = map(int, given)
                classes[red, green, blue] = {"name": label.strip(), "color": [red, green, blue]}
        self._labels = {colour: each["name"] for colour, each in classes.items()}
        self.categories[:] = [each for colour, each in classes.items() if any(colour)]

    def of_image(self, image: str) -> tuple[list[Wire], list[Wire]]:
        """Return the masks of an image as sources, and the annotations of their colours."""
        masks: list[Wire] = []
        rois: list[Wire] = []
        stem = image.rpartition("/")[2].rpartition(".")[0]
        for kind in sorted(MASK_FOLDERS):
            named = self._files.get((kind, stem))
            if not named:
                continue
            # Several data sets may lie in the folder.
            name = max(named, key=lambda each: common_folders(each, image))
            try:
                masks.append({"id": kind, "uri": self._folder.source(name)["uri"]})
                if kind == CLASSES:
                    rois = self._annotations(name)
            except FlawError as error:
                self._report.flaw("mask", name, error)
        return masks, rois

    def _annotations(self, name: str) -> list[Wire]:
        rois: list[Wire] = []
        if not has_pillow():
            self._report.loss("colours of a mask, which are read with Pillow: left out", name)
            return rois
        for colour in _colours(f"{self._folder.path}/{name}"):
            if colour in self._labels and any(colour):
                mask = {"id": CLASSES, "value": list(colour)}
                rois.append({"type": "mask", "label": [self._labels[colour]], "mask": mask})
            elif any(colour) and colour != _VOID:
                self._report.flaw("mask", name, f"colour {list(colour)} is not in {self._named_in}")
        return rois


def _colours(path: str) -> list[Colour]:
    """Return the sorted colours of an image; raise `FlawError` if it is none, or has more than a mask."""
    with open_image(path) as image:
        found = image.convert("RGB").getcolors(_MOST_COLOURS)
    if found is None:
        raise FlawError(f"is no mask: it has more than {_MOST_COLOURS} colours")
    return sorted(colour for _, colour in found)
