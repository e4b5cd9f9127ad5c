"""Draws annotations on a picture: outlines, areas, points, and labels on coloured tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ...engine.annotations.base import Annotation
from ...engine.annotations.types import ImageAnnotation
from ...engine.validation import printable
from .colours import BLACK, Colour, annotation_colour, text_colour
from .fonts import font_for
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

    drawn = [_drawn(annotation, across, down) for annotation in annotations[:MOST_DRAWN]]
    for item in drawn:
        if item.outline.is_filled:
            _fill(picture, item)
    pen, width = ImageDraw.Draw(picture), stroke_width(picture.size)
    for item in drawn:
        _stroke(pen, item.outline, BLACK, width + 2, _view(picture, 2 * width))
        _stroke(pen, item.outline, item.colour, width, _view(picture, 2 * width))
    tagged = sorted((item for item in drawn if item.tag), key=lambda item: not item.is_global)
    _Tags(picture, room=2 * width).put(tagged[:_MOST_TAGS])


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


class _Tags:
    """Places labels so that they overlap as little as possible."""

    def __init__(self, picture: Image, room: int) -> None:
        from PIL import ImageDraw

        self._room = room

        self._pen = ImageDraw.Draw(picture)
        self._width, self._height = picture.size
        self._letter = max(11, round(max(picture.size) / 50))
        self._taken: list[View] = []

    def put(self, items: Sequence[Drawn]) -> None:
        """Draw the tags of annotations. An annotation outside the picture gets none."""
        for item in items:
            extent = (0.0, 0.0, 0.0, 0.0) if item.is_global else self._extent(item.outline)
            if extent is not None and overlaps(extent, (0, 0, self._width, self._height)):
                self._write(item, extent)

    def _extent(self, outline: Outline) -> View | None:
        extent = outline.extent()
        if extent is None or not outline.dots:
            return extent
        left, top, right, bottom = extent
        return left, top - self._room, right, bottom + self._room

    def _write(self, item: Drawn, extent: View) -> None:
        font, text = font_for(item.tag, self._letter)
        left, top, right, bottom = font.getbbox(text)
        pad = max(2, self._letter // 5)
        size = right - left + 2 * pad, bottom - top + 2 * pad
        x, y = self._place(extent, size, stacks=item.is_global)
        place = (x, y, x + size[0], y + size[1])
        self._taken.append(place)
        self._pen.rectangle(place, fill=item.colour)
        self._pen.text((x + pad - left, y + pad - top), text, fill=text_colour(item.colour), font=font)

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
        rows = max(1, int(self._height // (size[1] + 1)))
        return ((0, row * (size[1] + 1)) for row in range(rows))

    def _is_free(self, place: Point, size: tuple[float, float]) -> bool:
        wanted = (*place, place[0] + size[0], place[1] + size[1])
        return not any(overlaps(wanted, taken) for taken in self._taken)
