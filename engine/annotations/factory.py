"""Creates annotations from the arguments of `SingleFrame.add_annotation`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InvalidValueError
from ..validation import About, items, label_list, refusal
from .base import Annotation
from .coordinates import COORDINATES, is_rings
from .types import (
    BoundingBox2D,
    BoundingBox3D,
    ComplexPolygon2D,
    ComplexPolygon3D,
    Ellipse2D,
    ImageAnnotation,
    KeyPoints2D,
    KeyPoints3D,
    Mask,
    Polygon2D,
    Polygon3D,
)


def build_annotations(
    geometries: Mapping[str, Any], frame_class: str | Sequence[str] | None, common: Mapping[str, Any]
) -> list[Any]:
    """Return one annotation for each geometry that is not None; see `SingleFrame.add_annotation`."""
    added: list[Annotation] = []
    for key, geometry in geometries.items():
        if geometry is not None:
            with About(key):
                added.append(_MAKERS[key](geometry, common))
    if frame_class is not None:
        if not added and common["labels"] is not None:
            raise refusal("labels", common["labels"], "unset if frame_class is given without a geometry")
        of_frame: dict[str, Any] = {**common, "labels": label_list(frame_class, "frame_class")}
        added.append(ImageAnnotation(**of_frame))
    elif not added and common["labels"] is not None:
        added.append(ImageAnnotation(**common))
    if not added:
        raise InvalidValueError(
            "an annotation needs a geometry, frame_class or labels: pass at least one of them"
        )
    return added


def _polygon(points: Any, dimensions: int, common: Mapping[str, Any]) -> Annotation:
    if dimensions == 2:
        return (ComplexPolygon2D if is_rings(points, 2) else Polygon2D)(points, **common)
    return (ComplexPolygon3D if is_rings(points, 3) else Polygon3D)(points, **common)


def _box(numbers: Any, common: Mapping[str, Any]) -> Annotation:
    given = items(numbers, "box2d_xywh", COORDINATES)
    if len(given) not in {4, 5}:
        raise refusal("numbers", numbers, "x, y, width, height and optionally an angle")
    return BoundingBox2D(*given, **common)


def _ellipse(numbers: Any, common: Mapping[str, Any]) -> Annotation:
    given = items(numbers, "ellipse2d_xyrrt", COORDINATES)
    if len(given) != 5:
        raise refusal("numbers", numbers, "cx, cy, rx, ry, theta")
    return Ellipse2D(*given, **common)


_MAKERS: dict[str, Callable[[Any, Mapping[str, Any]], Annotation]] = {
    "poly2d_xy": lambda value, common: _polygon(value, 2, common),
    "poly3d_xyz": lambda value, common: _polygon(value, 3, common),
    "points2d_xy": lambda value, common: KeyPoints2D(value, **common),
    "points3d_xyz": lambda value, common: KeyPoints3D(value, **common),
    "box2d_xywh": _box,
    "box3d_xyzwhxyzwh": lambda value, common: BoundingBox3D(value, **common),
    "ellipse2d_xyrrt": _ellipse,
    "mask_rgb": lambda value, common: Mask(value, **common),
}
