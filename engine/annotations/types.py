"""The built-in annotation types: boxes, polygons, ellipses, key points, masks and labels of whole frames.

All types have the same stored layout and differ in their `type`. The geometry is the flat list `poly`. Lengths are in
pixels of the source, with x to the right and y down. Angles are in radians, from the x axis to the y axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Unpack

from ..validation import items, name, refusal, whole
from .base import Annotation, Common, MaskValue
from .shapes import Coordinate, Points, Rings, Shape, between, centred, turned


class BoundingBox2D(Shape, tag="box2d"):
    """A box, rotated about its centre by `angle`.

    Parameters
    ----------
    x, y : float
        Left and top of the box before the rotation, in pixels.
    width, height : float
        Size in pixels, at least 0.
    angle : float
        Rotation about the centre in radians, from the x axis to the y axis.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("x", "y", "width", "height", "angle")
    _sizes = (2, 3)
    _optional = 1

    x = Coordinate(0, "Left of the box before the rotation, in pixels.")
    y = Coordinate(1, "Top of the box before the rotation, in pixels.")
    width = Coordinate(2, "Width in pixels.")
    height = Coordinate(3, "Height in pixels.")

    def __init__(
        self, x: float, y: float, width: float, height: float, angle: float = 0.0, **common: Unpack[Common]
    ) -> None:
        Annotation.__init__(self, **common)
        upright = type(angle) is float and angle == 0
        self._poly = self.check_geometry((x, y, width, height) if upright else (x, y, width, height, angle))

    @property
    def angle(self) -> float:
        """Rotation about the centre in radians."""
        return self._poly[4] if len(self._poly) > 4 else 0.0

    @angle.setter
    def angle(self, value: float) -> None:
        self._poly = self.check_geometry((*self._poly[:4], value))

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return ``(x, y, width, height)``, and `angle` unless it is 0; see `Annotation.check_geometry`."""
        numbers = super().check_geometry(poly, path)
        return numbers if len(numbers) == 4 or numbers[4] else numbers[:4]

    @property
    def vertices(self) -> list[tuple[float, float]]:
        """The four corners, starting with the one that is top left before the rotation."""
        x, y, width, height = self._poly[:4]
        if not self.angle:
            return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        w, h = width / 2, height / 2
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        corners = [turned(dx, dy, cosine, sine) for dx, dy in ((-w, -h), (w, -h), (w, h), (-w, h))]
        return [(x + w + dx, y + h + dy) for dx, dy in corners]

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the rotated box."""
        if not self.angle:
            return list(self._poly)
        x, y, width, height, angle = self._poly
        cosine, sine = abs(math.cos(angle)) / 2, abs(math.sin(angle)) / 2
        half_width, half_height = width * cosine + height * sine, width * sine + height * cosine
        return centred(x + width / 2, y + height / 2, half_width, half_height)


class BoundingBox3D(Shape, tag="box3d"):
    """A three-dimensional box, given by its front and back faces.

    Parameters
    ----------
    box3d_xyzwhxyzwh : sequence of float, shape (10,)
        x, y, z, width and height of the front face, then of the back face. Sizes are at least 0.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = tuple(
        f"{face}_{part}" for face in ("front", "back") for part in ("x", "y", "z", "width", "height")
    )
    _sizes = (3, 4, 8, 9)

    def __init__(self, box3d_xyzwhxyzwh: Iterable[Any], **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)
        self.set_geometry(box3d_xyzwhxyzwh)

    @property
    def front(self) -> tuple[float, ...]:
        """Front face as ``(x, y, z, width, height)``."""
        return self._poly[:5]

    @front.setter
    def front(self, value: Iterable[float]) -> None:
        self.set_geometry((*value, *self.back))

    @property
    def back(self) -> tuple[float, ...]:
        """Back face as ``(x, y, z, width, height)``."""
        return self._poly[5:]

    @back.setter
    def back(self, value: Iterable[float]) -> None:
        self.set_geometry((*self.front, *value))

    @property
    def vertices(self) -> list[tuple[float, float, float]]:
        """The eight corners: the front face, then the back face, each starting at its top left."""
        return [
            corner
            for x, y, z, w, h in (self.front, self.back)
            for corner in ((x, y, z), (x + w, y, z), (x + w, y + h, z), (x, y + h, z))
        ]

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around both faces, projected along z."""
        return between([x for x, _, _ in self.vertices], [y for _, y, _ in self.vertices])


class Polygon2D(Points, tag="polygon2d"):
    """A polygon of points ``(x, y)``. The first point is not repeated."""

    def __init__(self, points: Iterable[Any], **common: Unpack[Common]) -> None:
        Points.__init__(self, points, **common)


class Polygon3D(Points, tag="polygon3d"):
    """A polygon of points ``(x, y, z)``. The first point is not repeated."""

    dimensions = 3

    def __init__(self, points: Iterable[Any], **common: Unpack[Common]) -> None:
        Points.__init__(self, points, **common)


class ComplexPolygon2D(Rings, tag="complex_polygon2d"):
    """Several rings of points ``(x, y)``: the parts and holes of one area."""

    def __init__(self, rings: Iterable[Any], **common: Unpack[Common]) -> None:
        Rings.__init__(self, rings, **common)


class ComplexPolygon3D(Rings, tag="complex_polygon3d"):
    """Several rings of points ``(x, y, z)``: the parts and holes of one area."""

    dimensions = 3

    def __init__(self, rings: Iterable[Any], **common: Unpack[Common]) -> None:
        Rings.__init__(self, rings, **common)


class KeyPoints2D(Points, tag="keypoints2d"):
    """Key points ``(x, y)``."""

    def __init__(self, points: Iterable[Any], **common: Unpack[Common]) -> None:
        Points.__init__(self, points, **common)


class KeyPoints3D(Points, tag="keypoints3d"):
    """Key points ``(x, y, z)``."""

    dimensions = 3

    def __init__(self, points: Iterable[Any], **common: Unpack[Common]) -> None:
        Points.__init__(self, points, **common)


class Ellipse2D(Shape, tag="ellipse2d"):
    """An ellipse, rotated about its centre by `theta`.

    Parameters
    ----------
    cx, cy : float
        Centre in pixels.
    rx, ry : float
        Radii along the axes before the rotation in pixels, at least 0.
    theta : float
        Rotation in radians, from the x axis to the y axis.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("cx", "cy", "rx", "ry", "theta")
    _sizes = (2, 3)

    cx = Coordinate(0, "Centre along x in pixels.")
    cy = Coordinate(1, "Centre along y in pixels.")
    rx = Coordinate(2, "Radius along x before the rotation, in pixels.")
    ry = Coordinate(3, "Radius along y before the rotation, in pixels.")
    theta = Coordinate(4, "Rotation in radians.")

    def __init__(
        self, cx: float, cy: float, rx: float, ry: float, theta: float = 0.0, **common: Unpack[Common]
    ) -> None:
        Annotation.__init__(self, **common)
        self._poly = self.check_geometry((cx, cy, rx, ry, theta))

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the rotated ellipse."""
        cx, cy, rx, ry, theta = self._poly
        cosine, sine = math.cos(theta), math.sin(theta)
        return centred(cx, cy, math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine))


class Mask(Annotation, tag="mask"):
    """The pixels of one colour in a mask of the frame.

    Parameters
    ----------
    mask_rgb : sequence of int, shape (3,)
        Red, green and blue, each from 0 to 255.
    mask_id : str, optional
        Id of the mask in the frame. None is the only mask of the frame.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    def __init__(self, mask_rgb: Iterable[int], mask_id: str | None = None, **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)
        value = colour(mask_rgb, "mask_rgb")
        self._mask = MaskValue(None if mask_id is None else name(mask_id, "mask_id"), value)

    @property
    def mask_rgb(self) -> tuple[int, ...]:
        """Red, green and blue, each from 0 to 255."""
        return self._mask.value if self._mask else ()

    @mask_rgb.setter
    def mask_rgb(self, value: Iterable[int]) -> None:
        self._mask = MaskValue(self.mask_id, colour(value, "mask_rgb"))

    @property
    def mask_id(self) -> str | None:
        """Id of the mask in the frame."""
        return self._mask.id if self._mask else None

    @mask_id.setter
    def mask_id(self, value: str | None) -> None:
        self._mask = MaskValue(None if value is None else name(value, "mask_id"), self.mask_rgb)


class ImageAnnotation(Annotation, tag="image"):
    """Labels of the whole frame, without a geometry."""

    def __init__(self, **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)


BuiltinAnnotation = (
    BoundingBox2D
    | BoundingBox3D
    | Polygon2D
    | Polygon3D
    | ComplexPolygon2D
    | ComplexPolygon3D
    | Ellipse2D
    | KeyPoints2D
    | KeyPoints3D
    | Mask
    | ImageAnnotation
)


def colour(value: object, path: str, least: int = 0) -> tuple[int, ...]:
    """Return red, green and blue, each from `least` to 255. ClearML's wire form may contain -1 for any value."""
    allowed = f"red, green and blue, each from {least} to 255"
    given = items(value, path, allowed)
    numbers = tuple(whole(item, f"{path}[{index}]") for index, item in enumerate(given))
    if len(numbers) != 3 or not all(least <= n <= 255 for n in numbers):
        raise refusal(path, value, allowed)
    return numbers
