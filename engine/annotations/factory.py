"""Creates annotations from the arguments of `SingleFrame.add_annotation`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InvalidTypeError, InvalidValueError
from ..validation import did_you_mean, label_list, refusal
from .base import Annotation, types_by_tag
from .coordinates import is_rings
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
    geometries: Mapping[str, Any], frame_class: str | Sequence[object] | None, common: Mapping[str, Any]
) -> list[Any]:
    """Return one annotation for each geometry that is not None; see `SingleFrame.add_annotation`."""
    added: list[Annotation] = []
    for key, geometry in geometries.items():
        if geometry is None:
            continue
        try:
            added.append((_MAKERS.get(key) or _registered(key))(geometry, **common))
        except InvalidValueError as error:
            raise InvalidValueError(f"{key}: {error}") from None
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


def _registered(key: str) -> type[Annotation]:
    found = types_by_tag.get(key)
    if found is None:
        hint = did_you_mean(key, [*_MAKERS, "frame_class", "labels", "confidence", "metadata", *types_by_tag])
        raise InvalidTypeError(f"add_annotation() has no argument {key!r}{hint}")
    return found


def _polygon2d(points: Any, **common: Any) -> Annotation:
    return (ComplexPolygon2D if is_rings(points, 2) else Polygon2D)(points, **common)


def _polygon3d(points: Any, **common: Any) -> Annotation:
    return (ComplexPolygon3D if is_rings(points, 3) else Polygon3D)(points, **common)


_MAKERS: dict[str, Callable[..., Annotation]] = {
    "poly2d_xy": _polygon2d,
    "poly3d_xyz": _polygon3d,
    "points2d_xy": KeyPoints2D,
    "points3d_xyz": KeyPoints3D,
    "box2d_xywh": BoundingBox2D,
    "box3d_xyzwhxyzwh": BoundingBox3D,
    "ellipse2d_xyrrt": Ellipse2D,
    "mask_rgb": Mask,
}
