"""Checks of coordinates. Each returns a flat tuple of finite floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from ..validation import Array, dotted, items, number, refusal

COORDINATES = "a sequence of finite numbers"
"""Description of valid coordinates, for messages."""

_NUMBERS = frozenset({int, float})


def finite(values: Sequence[Any], path: str, names: Sequence[str] | None = None) -> tuple[float, ...]:
    """Return numbers as finite floats, with -0.0 as 0.0.

    Parameters
    ----------
    values : sequence of number
        Python or numpy numbers. Booleans, NaN and infinities are invalid.
    path : str
        Name of the field, for messages.
    names : sequence of str, optional
        Name of each number. Without names, messages show indices.
    """
    if _NUMBERS.issuperset(map(type, values)):
        try:
            numbers = tuple(map(float, values))
        except OverflowError:
            numbers = (math.inf,)
        # A sum is finite only if every term is. If it is not, each term is checked below.
        if math.isfinite(sum(numbers)):
            return tuple([n + 0.0 for n in numbers]) if 0.0 in numbers else numbers
    return tuple([number(value, _place(path, index, names)) for index, value in enumerate(values)])


def plain_box(x: Any, y: Any, width: Any, height: Any) -> tuple[float, float, float, float] | None:
    """Return a box as finite floats, or None if a number must be checked by itself. It is the fast check of a constructor."""
    are_floats = type(x) is type(y) is type(width) is type(height) is float
    if not (are_floats or _NUMBERS.issuperset(map(type, (x, y, width, height)))):
        return None
    try:
        if width >= 0 and height >= 0 and math.isfinite(x + y + width + height):
            return x + 0.0, y + 0.0, width + 0.0, height + 0.0
    except OverflowError:
        pass
    return None


def flatten(points: object, dimensions: int, path: str) -> tuple[float, ...]:
    """Return points as a flat tuple of floats.

    Parameters
    ----------
    points : sequence
        Points of shape ``(n, dimensions)``, ``(n, 1, dimensions)`` (a contour of OpenCV) or ``(n * dimensions,)``.
    dimensions : int
        Numbers per point, 2 or 3.
    path : str
        Name of the field, for messages.
    """
    given = items(points, path, COORDINATES)
    if _is_contour(given):
        given = [point for (point,) in given]
    if any(map(_is_sequence, given)):
        given = [
            n for index, point in enumerate(given) for n in _point(point, dimensions, f"{path}[{index}]")
        ]
    return whole_points(finite(given, path), dimensions, path)


def whole_points(numbers: tuple[float, ...], dimensions: int, path: str) -> tuple[float, ...]:
    """Return `numbers` if they are one or more complete points."""
    if not numbers or len(numbers) % dimensions:
        raise refusal(path, list(numbers), f"one or more points of {dimensions} numbers")
    return numbers


def is_rings(points: object, dimensions: int) -> bool:
    """Whether points are given as several rings, each flat or a sequence of points."""
    points = points.tolist() if isinstance(points, Array) else points
    if isinstance(points, str) or not isinstance(points, Sequence) or not points:
        return False
    first = points[0]
    if not _is_sequence(first) or not len(first) or _is_contour(points):
        return False
    return _is_sequence(first[0]) or len(first) > dimensions


def _is_contour(points: Sequence[Any]) -> bool:
    """Whether each point is alone in a sequence, as in the contours of OpenCV."""
    return all(_is_sequence(each) and len(each) == 1 and _is_sequence(each[0]) for each in points)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    is_sized = not isinstance(value, str) and hasattr(value, "__len__") and hasattr(value, "__getitem__")
    return (
        is_sized and getattr(value, "ndim", 1) > 0
    )  # an array without dimensions refuses to tell its length


def _point(point: object, dimensions: int, path: str) -> Sequence[Any]:
    given = items(point, path, f"a point of {dimensions} numbers")
    if len(given) != dimensions:
        raise refusal(path, point, f"a point of {dimensions} numbers")
    return given


def _place(path: str, index: int, names: Sequence[str] | None) -> str:
    if names is None:
        return f"{path}[{index}]"
    return dotted(path, names[index])
