"""Writes frames as images with masks beside them: the folders `images` and `masks`, and `classes.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....engine.annotations.base import Annotation
from ....engine.annotations.types import Mask
from ....engine.frames.single_frame import SingleFrame
from ....engine.frames.source import Source
from ..coco.rle import fill
from ..format import Writing, only_label
from ..geometry import flat_rings, size_of
from ..voc.masks import Colour, voc_colour
from .reader import CLASSES

_MOST_NUMBERS = 256


def write(out: Writing) -> None:
    """Write the frames: once through them to see what colours there are, and once to write them."""
    _Writer(out).run()


class _Writer:
    def __init__(self, out: Writing) -> None:
        self._out, self._report = out, out.report
        self._colours: dict[str, Colour] = {}
        self._numbers: dict[str, int] = {}
        for frame in out.frames:
            for annotation in frame.get_annotations() if isinstance(frame, SingleFrame) else ():
                if isinstance(annotation, Mask) and annotation.labels and len(annotation.mask_rgb) == 3:
                    colour: Any = annotation.mask_rgb
                    if annotation.labels[0] not in self._colours and colour not in self._colours.values():
                        self._colours[annotation.labels[0]] = colour

    def run(self) -> None:
        for folder in ("images", "masks"):
            (self._out.path / folder).mkdir()
        for frame in self._out.singles({"masks"}):
            name = self._out.place_image(frame, "images")
            stem = os.path.splitext(name)[0]  # noqa: PTH122 - no path
            if frame.metadata:
                self._report.loss("metadata of a frame: left out", str(frame.id))
            if frame.sources[0].masks:
                self._place(frame, f"masks/{stem}.png")
            else:
                self._paint(frame, self._out.path / "masks" / f"{stem}.png")
        text = msgspec.json.format(msgspec.json.encode(self._colours), indent=2)
        (self._out.path / CLASSES[0]).write_bytes(text + b"\n")

    def _place(self, frame: SingleFrame, name: str) -> None:
        """Say that the mask file of a frame is written, if its annotations are those of its colours."""
        place, (mask, *others) = str(frame.id), frame.sources[0].masks
        is_png = os.path.splitext(mask.uri)[1].lower() == ".png"  # noqa: PTH122 - a URI
        if is_png:
            self._out.images[name] = Source(uri=mask.uri)
        if others or not is_png:
            self._report.loss("further mask of a frame, or one that is no PNG: left out", place)
        for annotation in frame.get_annotations():
            if not isinstance(annotation, Mask):
                self._report.loss(
                    f"annotation of type {annotation.type}, beside a mask file: left out", place
                )
                continue
            label = self._label(annotation, place)
            if label is not None and self._colours.get(label) != annotation.mask_rgb:
                self._report.loss("mask whose class has another colour in other frames: left out", place)

    def _paint(self, frame: SingleFrame, path: Path) -> None:
        """Paint the shapes of a frame as the pixels of their classes."""
        place = str(frame.id)
        size = size_of(frame)
        pixels: NDArray[Any] | None = None
        for annotation in frame.get_annotations():
            rings = flat_rings(annotation)
            if not rings or size is None:
                self._report.loss(f"annotation of type {annotation.type}: left out", place)
                continue
            label = self._label(annotation, place)
            number = None if label is None else self._number(label, place)
            if number is None:
                continue
            self._report.loss("shape: written as the pixels of its class", place)
            pixels = np.zeros((size[1], size[0]), np.uint8) if pixels is None else pixels
            pixels[fill(rings, size[1], size[0])] = number
        if pixels is not None:
            self._save(pixels, path)

    def _label(self, annotation: Annotation, place: str) -> str | None:
        return only_label(annotation, self._report, place, ("id", "confidence", "metadata"))

    def _number(self, label: str, place: str) -> int | None:
        """Return the number of a class in the palette, which has its colour."""
        if label not in self._colours:
            taken = set(self._colours.values())
            self._colours[label] = next(
                colour for index in range(1, 2**16) if (colour := voc_colour(index)) not in taken
            )
        number = self._numbers.setdefault(label, len(self._numbers) + 1)
        if number >= _MOST_NUMBERS:
            self._report.loss("shape of the 256th class or a later one: left out", place)
            return None
        return number

    def _save(self, pixels: NDArray[Any], path: Path) -> None:
        from PIL import Image

        image = Image.fromarray(pixels, "P")
        colours = [(0, 0, 0), *(self._colours[label] for label in self._numbers)][:_MOST_NUMBERS]
        image.putpalette([value for colour in colours for value in colour])
        image.save(path, "PNG")
