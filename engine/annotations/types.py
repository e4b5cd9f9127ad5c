"""The built-in annotation types: boxes, polygons, ellipses, key points, masks and labels of whole frames.

All types have the same stored layout and differ in their `type`. The geometry is the flat list `poly`. Lengths are in
pixels of the source, with x to the right and y down. Angles are in radians, from the x axis to the y axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Unpack

from ..errors import InvalidValueError
from ..validation import at_least, items, name, refusal, whole
from .base import Annotation, Common, MaskValue, put_poly, register_annotation
from .coordinates import plain_box
from .shapes import Coordinate, Points, Rings, Shape, between, centred, turned


class BoundingBox2D(Shape, tag="box2d"):
    """A box, rotated about its centre by `angle`.

    Parameters
    ----------
    x, y : float
        Left and top of the box before the rotation, in pixels. Without `y`, `x` is the sequence `bounding_box_xywh`.
    width, height : float
        Size in pixels, at least 0.
    angle : float
        Rotation about the centre in radians, from the x axis to the y axis.
    bounding_box_xywh : sequence of float, shape (4,) or (5,)
        All numbers in one sequence, instead of the others.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("x", "y", "width", "height", "angle")
    _sizes = (2, 3)
    _optional = 1
    short_name = "b2d"

    x = Coordinate(0, "Left of the box before the rotation, in pixels.")
    y = Coordinate(1, "Top of the box before the rotation, in pixels.")
    width = Coordinate(2, "Width in pixels.")
    height = Coordinate(3, "Height in pixels.")

    def __init__(
        self,
        x: float | Iterable[float] | None = None,
        y: float | None = None,
        width: float | None = None,
        height: float | None = None,
        angle: float = 0.0,
        *,
        bounding_box_xywh: Iterable[float] | None = None,
        **common: Unpack[Common],
    ) -> None:
        self.take_common(common)
        if type(angle) is float and not angle and bounding_box_xywh is None:
            box = plain_box(x, y, width, height)
            if box is not None:
                put_poly(self, box)
                return
        if y is None or bounding_box_xywh is not None:
            self.take_sequence((x, y, width, height), bounding_box_xywh)
            if angle:
                self.angle = angle
            return
        put_poly(self, self.check_geometry((x, y, width, height, angle)))

    @property
    def bounding_box_xywh(self) -> list[float]:
        """Left, top, width and height. It accepts the rotation as a fifth number."""
        return list(self._poly[:4])

    @bounding_box_xywh.setter
    def bounding_box_xywh(self, value: Iterable[float]) -> None:
        self.set_geometry(value)

    @property
    def bounding_box_xywha(self) -> list[float]:
        """Left, top, width, height and rotation."""
        return [*self._poly[:4], self.angle]

    bounding_box_xywha = bounding_box_xywha.setter(bounding_box_xywh.fset)

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
    bounding_box_3d_xyzwhxyzwh : sequence of float, shape (10,)
        x, y, z, width and height of the front face, then of the back face, in pixels. Sizes are at least 0.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = tuple(
        f"{face}_{part}" for face in ("front", "back") for part in ("x", "y", "z", "width", "height")
    )
    _sizes = (3, 4, 8, 9)
    short_name = "b3d"
    bounding_box_3d_xyzwhxyzwh = Annotation.values

    def __init__(
        self, bounding_box_3d_xyzwhxyzwh: Iterable[Any] | None = None, **common: Unpack[Common]
    ) -> None:
        self.take_common(common)
        self.take_sequence((bounding_box_3d_xyzwhxyzwh,), None)

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
    """A polygon of points ``(x, y)``. The first point is not repeated.

    Parameters
    ----------
    polygon_xy : sequence of float, shape (n, 2), (n, 1, 2) or (n * 2,)
        The points in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    short_name = "p2d"
    polygon_xy = Points.points

    def __init__(self, polygon_xy: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Points.__init__(self, polygon_xy, **common)


class Polygon3D(Points, tag="polygon3d"):
    """A polygon of points ``(x, y, z)``. The first point is not repeated.

    Parameters
    ----------
    polygon_xyz : sequence of float, shape (n, 3), (n, 1, 3) or (n * 3,)
        The points in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions = 3
    short_name = "p3d"
    polygon_xyz = Points.points

    def __init__(self, polygon_xyz: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Points.__init__(self, polygon_xyz, **common)


class ComplexPolygon2D(Rings, tag="complex_polygon2d"):
    """Several rings of points ``(x, y)``: the parts and holes of one area.

    Parameters
    ----------
    polygons_xy : sequence of rings
        Each ring is a sequence of float of shape (n, 2), (n, 1, 2) or (n * 2,), in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    short_name = "cp2d"
    polygons_xy = Rings.rings

    def __init__(self, polygons_xy: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Rings.__init__(self, polygons_xy, **common)


class ComplexPolygon3D(Rings, tag="complex_polygon3d"):
    """Several rings of points ``(x, y, z)``: the parts and holes of one area.

    Parameters
    ----------
    polygons_xyz : sequence of rings
        Each ring is a sequence of float of shape (n, 3), (n, 1, 3) or (n * 3,), in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions = 3
    short_name = "cp3d"
    polygons_xyz = Rings.rings

    def __init__(self, polygons_xyz: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Rings.__init__(self, polygons_xyz, **common)


class KeyPoints2D(Points, tag="keypoints2d"):
    """Key points ``(x, y)``.

    Parameters
    ----------
    keypoints_xy : sequence of float, shape (n, 2), (n, 1, 2) or (n * 2,)
        The points in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    short_name = "k2d"
    keypoints_xy = Points.points

    def __init__(self, keypoints_xy: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Points.__init__(self, keypoints_xy, **common)


class KeyPoints3D(Points, tag="keypoints3d"):
    """Key points ``(x, y, z)``.

    Parameters
    ----------
    keypoints_xyz : sequence of float, shape (n, 3), (n, 1, 3) or (n * 3,)
        The points in pixels.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions = 3
    short_name = "k3d"
    keypoints_xyz = Points.points

    def __init__(self, keypoints_xyz: Iterable[Any] | None = None, **common: Unpack[Common]) -> None:
        Points.__init__(self, keypoints_xyz, **common)


class Ellipse2D(Shape, tag="ellipse2d"):
    """An ellipse, rotated about its centre by `theta`.

    Parameters
    ----------
    cx, cy : float
        Centre in pixels. Without `cy`, `cx` is the sequence `ellipse2d_xyrrt`.
    rx, ry : float
        Radii along the axes before the rotation in pixels, at least 0.
    theta : float
        Rotation in radians, from the x axis to the y axis.
    ellipse2d_xyrrt : sequence of float, shape (5,)
        All numbers in one sequence, instead of the others.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("cx", "cy", "rx", "ry", "theta")
    _sizes = (2, 3)
    short_name = "elp"
    ellipse2d_xyrrt = Annotation.values

    cx = Coordinate(0, "Centre along x in pixels.")
    cy = Coordinate(1, "Centre along y in pixels.")
    rx = Coordinate(2, "Radius along x before the rotation, in pixels.")
    ry = Coordinate(3, "Radius along y before the rotation, in pixels.")
    theta = Coordinate(4, "Rotation in radians.")
    angle = theta

    def __init__(
        self,
        cx: float | Iterable[float] | None = None,
        cy: float | None = None,
        rx: float | None = None,
        ry: float | None = None,
        theta: float = 0.0,
        *,
        ellipse2d_xyrrt: Iterable[float] | None = None,
        **common: Unpack[Common],
    ) -> None:
        self.take_common(common)
        if cy is None or ellipse2d_xyrrt is not None:
            self.take_sequence((cx, cy, rx, ry, theta or None), ellipse2d_xyrrt)
        else:
            self._poly = self.check_geometry((cx, cy, rx, ry, theta))

    @property
    def center(self) -> tuple[float, float]:
        """Centre ``(cx, cy)`` in pixels."""
        return self.cx, self.cy

    @property
    def radii(self) -> tuple[float, float]:
        """Radii ``(rx, ry)`` before the rotation, in pixels."""
        return self.rx, self.ry

    def get_polygon(self, num_point: int = 4) -> list[tuple[float, float]]:
        """Return points of the outline, in order.

        Parameters
        ----------
        num_point : int
            Number of points, at least 3. With 4 they are the ends of both axes.

        Returns
        -------
        list of tuple of float
            The points ``(x, y)`` in pixels.

        Raises
        ------
        InvalidValueError
            `num_point` is less than 3.
        """
        count = at_least(num_point, "num_point", 3)
        cosine, sine = math.cos(self.theta), math.sin(self.theta)
        turns = [2 * math.pi * index / count for index in range(count)]
        points = [turned(self.rx * math.cos(turn), self.ry * math.sin(turn), cosine, sine) for turn in turns]
        return [(self.cx + x, self.cy + y) for x, y in points]

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
        Id of the mask in the frame. None means the only mask of the frame.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    short_name = "mask"

    def __init__(
        self, mask_rgb: Iterable[int] | None = None, mask_id: str | None = None, **common: Unpack[Common]
    ) -> None:
        self.take_common(common)
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
    """Labels of the whole frame, without a geometry.

    Parameters
    ----------
    image_classes : str or sequence of str, optional
        The labels, instead of `labels`.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    short_name = "im"
    image_classes = Annotation.labels

    def __init__(self, image_classes: str | Sequence[object] | None = None, **common: Unpack[Common]) -> None:
        if image_classes is not None:
            if common.get("labels") is not None:
                raise InvalidValueError("pass either image_classes or labels, which are the same")
            common["labels"] = image_classes
        self.take_common(common)


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

for _cls in BuiltinAnnotation.__args__:
    register_annotation(_cls)


def colour(value: object, path: str, least: int = 0) -> tuple[int, ...]:
    """Return red, green and blue, each from `least` to 255. ClearML's wire form may contain -1 for any value."""
    allowed = f"red, green and blue, each from {least} to 255"
    given = items(value, path, allowed)
    numbers = tuple(whole(item, f"{path}[{index}]") for index, item in enumerate(given))
    if len(numbers) != 3 or not all(least <= n <= 255 for n in numbers):
        raise refusal(path, value, allowed)
    return numbers
