"""Draws annotations on a picture: outlines, areas, points, and labels on coloured tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ...engine.annotations.base import Annotation
from ...engine.annotations.types import ImageAnnotation
from ...engine.validation import printable
from .colours import BLACK, Colour, annotation_colour, text_colour
from .fonts import Run, runs_of, unseen
from .outlines import Outline, Point, Ring, View, is_within, outline_of, overlaps, seen_area, seen_segments

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

MOST_DRAWN = 2000
"""Maximum number of annotations that are drawn."""

_MOST_TAGS = 300
_TAG_LETTERS = 40
_FILL = 80
"""Opacity of an area, from 0 to 255."""


class Drawn(msgspec.Struct, frozen=True):
    """An annotation to draw. `outline` is in pixels of the picture."""

    outline: Outline
    colour: Colour
    tag: str
    is_global: bool


def draw_annotations(picture: Image, annotations: Sequence[Annotation], across: float, down: float) -> None:
    """Draw annotations on an RGB picture.

    Parameters
    ----------
    picture : PIL.Image.Image
        Changed in place.
    annotations : sequence of Annotation
        Geometry in pixels of the source.
    across, down : float
        Pixels of the picture per pixel of the source.
    """
    from PIL import ImageDraw

    # Those of the whole frame first, so that the limits never leave them out.
    ordered = sorted(annotations, key=lambda annotation: not isinstance(annotation, ImageAnnotation))
    drawn = [_drawn(annotation, across, down) for annotation in ordered[:MOST_DRAWN]]
    for item in drawn:
        if item.outline.is_filled:
            _fill(picture, item)
    pen, width = ImageDraw.Draw(picture), stroke_width(picture.size)
    for item in drawn:
        _stroke(pen, item.outline, BLACK, width + 2, _view(picture, 2 * width))
        _stroke(pen, item.outline, item.colour, width, _view(picture, 2 * width))
    _Tags(picture, room=2 * width).put([item for item in drawn if item.tag][:_MOST_TAGS])


def unseen_letters(annotations: Sequence[Annotation]) -> str:
    """Return the characters of labels that no font shows."""
    return unseen("".join(dict.fromkeys(map(_tag_of, annotations))))


def stroke_width(size: tuple[int, int]) -> int:
    """Return the line width for a picture size. It is odd, so that lines are centred on their coordinates."""
    return max(3, 2 * round(max(size) / 640) + 1)


def _drawn(annotation: Annotation, across: float, down: float) -> Drawn:
    outline = outline_of(annotation).scaled(across, down)
    is_global = isinstance(annotation, ImageAnnotation)
    return Drawn(outline, annotation_colour(annotation), _tag_of(annotation), is_global)


def _tag_of(annotation: Annotation) -> str:
    text = printable(", ".join(map(str, annotation.labels)))
    if len(text) > _TAG_LETTERS:
        text = f"{text[: _TAG_LETTERS - 3]}..."
    sure = annotation.confidence
    return text if sure is None else f"{text} {sure:.2f}".strip()


def _view(picture: Image, margin: float = 0.0) -> View:
    return -margin, -margin, picture.width + margin, picture.height + margin


def _fill(picture: Image, item: Drawn) -> None:
    """Tint the area of an outline. A ring inside another ring is a hole."""
    from PIL import Image, ImageChops, ImageDraw

    areas = [area for ring in item.outline.rings if len(area := seen_area(ring, _view(picture, 1))) > 2]
    extent = Outline(areas).extent()
    if extent is None:
        return
    left, top = int(extent[0]) - 1, int(extent[1]) - 1
    size = int(extent[2]) + 2 - left, int(extent[3]) + 2 - top
    inside = Image.new("1", size)
    for area in areas:
        ring = Image.new("1", size)
        ImageDraw.Draw(ring).polygon([(x - left, y - top) for x, y in area], fill=1)
        inside = ImageChops.logical_xor(inside, ring)
    picture.paste(item.colour, (left, top), inside.convert("L").point([0] * 255 + [_FILL]))


def _stroke(pen: ImageDraw, outline: Outline, colour: Colour, width: int, view: View) -> None:
    for ring in outline.rings:
        _stroke_ring(pen, ring, colour, width, view)
    radius = width + 1
    for x, y in outline.dots:
        if is_within((x, y), view):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _stroke_ring(pen: ImageDraw, ring: Ring, colour: Colour, width: int, view: View) -> None:
    if all(is_within(point, view) for point in ring):
        pen.line([*ring, ring[0], *ring[1:2]], fill=colour, width=width, joint="curve")
        return
    for start, end in seen_segments(ring, view):
        pen.line([start, end], fill=colour, width=width)


class _Tag(msgspec.Struct, frozen=True):
    """A label with its place: left, top, right and bottom in pixels, and the height of its baseline."""

    runs: list[Run]
    colour: Colour
    place: View
    baseline: float


class _Tags:
    """Places labels so that they overlap as little as possible. Those of the whole frame are always on top."""

    def __init__(self, picture: Image, room: int) -> None:
        from PIL import ImageDraw

        self._room = room
        self._pen = ImageDraw.Draw(picture)
        self._width, self._height = picture.size
        self._letter = max(11, round(max(picture.size) / 50))
        self._pad = max(2, self._letter // 5)
        self._taken: list[View] = []

    def put(self, items: Sequence[Drawn]) -> None:
        """Draw the tags of annotations, those placed first on top. An annotation outside the picture gets none."""
        placed: list[_Tag] = []
        for item in items:
            extent = (0.0, 0.0, 0.0, 0.0) if item.is_global else self._extent(item.outline)
            if extent is not None and overlaps(extent, (0, 0, self._width, self._height)):
                placed.append(self._placed(item, extent))
        for tag in reversed(placed):
            self._write(tag)

    def _extent(self, outline: Outline) -> View | None:
        extent = outline.extent()
        if extent is None or not outline.dots:
            return extent
        left, top, right, bottom = extent
        return left, top - self._room, right, bottom + self._room

    def _placed(self, item: Drawn, extent: View) -> _Tag:
        runs = runs_of(item.tag, self._letter)
        boxes = [run.font.getbbox(run.text, anchor="ls") for run in runs]
        top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
        width = sum(run.font.getlength(run.text) for run in runs)
        size = width + 2 * self._pad, bottom - top + 2 * self._pad
        x, y = self._place(extent, size, stacks=item.is_global)
        place = (x, y, x + size[0], y + size[1])
        self._taken.append(place)
        return _Tag(runs, item.colour, place, y + self._pad - top)

    def _write(self, tag: _Tag) -> None:
        self._pen.rectangle(tag.place, fill=tag.colour)
        left, colour = tag.place[0] + self._pad, text_colour(tag.colour)
        for run in tag.runs:
            self._pen.text((left, tag.baseline), run.text, fill=colour, font=run.font, anchor="ls")
            left += run.font.getlength(run.text)

    def _place(self, extent: View, size: tuple[float, float], *, stacks: bool) -> Point:
        """Return the first free place for a tag, or the best one if none is free."""
        places = list(self._stack(size) if stacks else self._around(extent, size))
        free = (place for place in places if self._is_free(place, size))
        return next(free, places[0])

    def _around(self, extent: View, size: tuple[float, float]) -> Iterator[Point]:
        left, top, right, bottom = extent
        for x, y in (
            (left, top - size[1]),
            (left, top),
            (left, bottom),
            (right - size[0], top - size[1]),
            (right - size[0], bottom),
            (left, bottom - size[1]),
        ):
            yield (
                round(max(0.0, min(x, self._width - size[0] - 1))),
                round(max(0.0, min(y, self._height - size[1] - 1))),
            )

    def _stack(self, size: tuple[float, float]) -> Iterator[Point]:
        """Yield places from the upper left corner down, then in columns to the right of all tags so far."""
        left = 0.0
        while left <= self._width:
            column = [
                (left, row * (size[1] + 1)) for row in range(max(1, int(self._height // (size[1] + 1))))
            ]
            yield from column
            left = 1 + max((taken[2] for taken in self._taken if taken[0] >= left), default=self._width)

    def _is_free(self, place: Point, size: tuple[float, float]) -> bool:
        wanted = (*place, place[0] + size[0], place[1] + size[1])
        return not any(overlaps(wanted, taken) for taken in self._taken)
