"""Base classes of geometries: named numbers, points and rings.

Lengths are in pixels of the source, with x to the right and y down. Angles are in radians, from the x axis to the y axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, Unpack, overload

from ..errors import InvalidValueError
from ..validation import dotted, items, refusal
from .base import Annotation, Common, put_poly
from .coordinates import finite, flatten, whole_points


class Shape(Annotation):
    """A geometry with a fixed number of named numbers."""

    _names: ClassVar[tuple[str, ...]] = ()
    _sizes: ClassVar[tuple[int, ...]] = ()
    _optional: ClassVar[int] = 0

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the numbers in canonical form; see `Annotation.check_geometry`."""
        if not 0 <= len(cls._names) - len(poly) <= cls._optional:
            optional = " (the last is optional)" if cls._optional else ""
            raise refusal(dotted(path, "poly"), poly, f"the numbers {', '.join(cls._names)}{optional}")
        numbers = finite(poly, path, cls._names)
        for index in cls._sizes:
            if numbers[index] < 0:
                raise refusal(dotted(path, cls._names[index]), numbers[index], "a size of at least 0")
        return numbers

    @classmethod
    def which_are_sizes(cls) -> list[bool]:
        """Return for each required number whether it is a size, which is at least 0."""
        return [index in cls._sizes for index in range(len(cls._names) - cls._optional)]

    def take_sequence(self, numbers: tuple[Any, ...], sequence: Any) -> None:
        """Store a geometry that a constructor got as one sequence: in place of the first number, or by its own name."""
        first, others = numbers[0], numbers[1:]
        if others.count(None) < len(others) or (sequence is not None and first is not None):
            raise InvalidValueError(f"pass either one sequence or each of {', '.join(self._names)}")
        whole: Any = first if sequence is None else sequence
        self.set_geometry(whole)


class Points(Annotation):
    """A geometry of points.

    Parameters
    ----------
    points : sequence of float, shape (n, dimensions) or (n * dimensions,)
        One or more points.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions: ClassVar[int] = 2

    def __init__(self, points: Iterable[Any] | None, **common: Unpack[Common]) -> None:
        self.take_common(common)
        put_poly(self, flatten(points, self.dimensions, "points"))

    @property
    def points(self) -> list[tuple[float, ...]]:
        """The points, each a tuple of `dimensions` numbers. It accepts shape ``(n, dimensions)`` or a flat sequence."""
        return split(self._poly, self.dimensions)

    @points.setter
    def points(self, value: Iterable[Any] | None) -> None:
        self._poly = flatten(value, self.dimensions, "points")

    @property
    def values(self) -> list[Any]:
        """The points as a flat list. It accepts what `points` accepts."""
        return list(self._poly)

    @values.setter
    def values(self, value: Iterable[Any]) -> None:
        self.points = value

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the flat points in canonical form; see `Annotation.check_geometry`."""
        path = dotted(path, "poly")
        return whole_points(finite(poly, path), cls.dimensions, path)

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the points, projected along z."""
        return extent(self._poly, self.dimensions)


class Rings(Annotation):
    """A geometry of several rings, stored as the number of rings, the size of each ring, and all coordinates.

    Parameters
    ----------
    rings : sequence
        One or more rings, each of shape ``(n, dimensions)`` or ``(n * dimensions,)``.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions: ClassVar[int] = 2

    def __init__(self, rings: Iterable[Any] | None, **common: Unpack[Common]) -> None:
        self.take_common(common)
        self.rings = rings

    @property
    def rings(self) -> list[list[tuple[float, ...]]]:
        """The rings, each a list of points. It accepts rings of shape ``(n, dimensions)`` or flat rings."""
        total = int(self._poly[0])
        points = iter(split(self._poly[1 + total :], self.dimensions))
        return [[next(points) for _ in range(int(n))] for n in self._poly[1 : 1 + total]]

    @rings.setter
    def rings(self, value: Iterable[Any] | None) -> None:
        given = items(value, "rings", "a sequence of rings")
        flat = [flatten(ring, self.dimensions, f"rings[{index}]") for index, ring in enumerate(given)]
        if not flat:
            raise refusal("rings", value, "one or more rings")
        lengths = [len(ring) // self.dimensions for ring in flat]
        self._poly = finite([len(flat), *lengths, *(n for ring in flat for n in ring)], "rings")

    @property
    def values(self) -> list[Any]:
        """The rings, each as a flat list. It accepts what `rings` accepts."""
        return [[n for point in ring for n in point] for ring in self.rings]

    @values.setter
    def values(self, value: Iterable[Any]) -> None:
        self.rings = value

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the stored rings in canonical form; see `Annotation.check_geometry`."""
        path = dotted(path, "poly")
        numbers = finite(poly, path)
        total = numbers[0] if numbers else 0.0
        lengths = numbers[1 : 1 + int(total)]
        fits = total >= 1 and len(lengths) == total and all(n >= 1 and n.is_integer() for n in lengths)
        if not fits or len(numbers) != 1 + total + cls.dimensions * sum(lengths):
            raise refusal(
                path, list(numbers), "the number of rings, the size of each ring, and all coordinates"
            )
        return numbers

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around all rings, projected along z."""
        return extent(self._poly[1 + int(self._poly[0]) :], self.dimensions)


class Coordinate:
    """One number of a geometry, as a validated attribute."""

    def __init__(self, index: int, doc: str) -> None:
        self._index = index
        self.__doc__ = doc

    @overload
    def __get__(self, annotation: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, annotation: Annotation, owner: object = None) -> float: ...
    def __get__(self, annotation: Annotation | None, owner: object = None) -> Self | float:
        return self if annotation is None else annotation.poly[self._index]

    def __set__(self, annotation: Annotation, value: float) -> None:
        numbers = list(annotation.poly)
        numbers[self._index] = value
        annotation.set_geometry(numbers)


def split(numbers: Sequence[float], dimensions: int) -> list[tuple[float, ...]]:
    """Return flat coordinates as a list of points."""
    return [tuple(numbers[i : i + dimensions]) for i in range(0, len(numbers), dimensions)]


def extent(numbers: Sequence[float], dimensions: int) -> list[float]:
    """Return ``[left, top, width, height]`` around points, projected along z."""
    return between(numbers[0::dimensions], numbers[1::dimensions])


def between(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Return ``[left, top, width, height]`` around all `xs` and `ys`, zeros if there are none."""
    if not xs:
        return [0.0, 0.0, 0.0, 0.0]
    left, top = min(xs), min(ys)
    return [left, top, max(xs) - left, max(ys) - top]


def centred(cx: float, cy: float, half_width: float, half_height: float) -> list[float]:
    """Return ``[left, top, width, height]`` of a box from its centre and half sizes."""
    return [cx - half_width, cy - half_height, 2 * half_width, 2 * half_height]


def turned(x: float, y: float, cosine: float, sine: float) -> tuple[float, float]:
    """Return a vector rotated by an angle, from the x axis to the y axis."""
    return (x * cosine - y * sine, x * sine + y * cosine)
