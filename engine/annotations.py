"""The types of annotations: boxes, polygons, ellipses, key points, masks, labels of whole frames, and your own.

All types have one stored layout and differ by their `type`; geometry is the flat list `poly`. Lengths are in pixels of
the source, x to the right and y down; angles are in radians, from the x axis towards the y axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

import msgspec
from msgspec import Struct, StructMeta, field

from .errors import ConflictError, InvalidValueError, NotFoundError, UsageError
from .geometry import (
    Annotation,
    Common,
    Coordinate,
    MaskValue,
    Points,
    Rings,
    Shape,
    between,
    centred,
    turned,
)
from .validation import (
    COORDINATES,
    About,
    canonical_object,
    fields,
    fraction,
    identifier,
    is_rings,
    items,
    label_list,
    name,
    refusal,
    whole,
)


class BoundingBox2D(Shape, tag="box2d"):
    """A box, turned about its centre by `angle`.

    Parameters
    ----------
    x, y : float
        Left and top of the box before it is turned, in pixels.
    width, height : float
        Size in pixels, not negative.
    angle : float
        Turn about the centre in radians, from the x axis towards the y axis.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("x", "y", "width", "height", "angle")
    _sizes = (2, 3)
    _optional = 1

    x = Coordinate(0, "Left of the box before it is turned, in pixels.")
    y = Coordinate(1, "Top of the box before it is turned, in pixels.")
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
        """Turn about the centre in radians."""
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
        """The four corners, beginning at the one that is top left before the turn."""
        x, y, width, height = self._poly[:4]
        if not self.angle:
            return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        w, h = width / 2, height / 2
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        corners = [turned(dx, dy, cosine, sine) for dx, dy in ((-w, -h), (w, -h), (w, h), (-w, h))]
        return [(x + w + dx, y + h + dy) for dx, dy in corners]

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the turned box."""
        if not self.angle:
            return list(self._poly)
        x, y, width, height, angle = self._poly
        cosine, sine = abs(math.cos(angle)) / 2, abs(math.sin(angle)) / 2
        half_width, half_height = width * cosine + height * sine, width * sine + height * cosine
        return centred(x + width / 2, y + height / 2, half_width, half_height)


class BoundingBox3D(Shape, tag="box3d"):
    """A box in space, given by its front and back faces.

    Parameters
    ----------
    box3d_xyzwhxyzwh : sequence of float, shape (10,)
        x, y, z, width and height of the front face, then of the back face; sizes are not negative.
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
        """The eight corners: four of the front face, then four of the back face, each from its top left."""
        return [
            corner
            for x, y, z, w, h in (self.front, self.back)
            for corner in ((x, y, z), (x + w, y, z), (x + w, y + h, z), (x, y + h, z))
        ]

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around both faces, seen along z."""
        return between([x for x, _, _ in self.vertices], [y for _, y, _ in self.vertices])


class Polygon2D(Points, tag="polygon2d"):
    """A polygon of points ``(x, y)``, without repeating the first."""


class Polygon3D(Points, tag="polygon3d"):
    """A polygon of points ``(x, y, z)``, without repeating the first."""

    dimensions = 3


class ComplexPolygon2D(Rings, tag="complex_polygon2d"):
    """Several rings of points ``(x, y)``: parts and holes of one area."""


class ComplexPolygon3D(Rings, tag="complex_polygon3d"):
    """Several rings of points ``(x, y, z)``: parts and holes of one area."""

    dimensions = 3


class KeyPoints2D(Points, tag="keypoints2d"):
    """Key points ``(x, y)``."""


class KeyPoints3D(Points, tag="keypoints3d"):
    """Key points ``(x, y, z)``."""

    dimensions = 3


class Ellipse2D(Shape, tag="ellipse2d"):
    """An ellipse, turned about its centre by `theta`.

    Parameters
    ----------
    cx, cy : float
        Centre in pixels.
    rx, ry : float
        Radii along the axes before the turn, in pixels, not negative.
    theta : float
        Turn in radians, from the x axis towards the y axis.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _names = ("cx", "cy", "rx", "ry", "theta")
    _sizes = (2, 3)

    cx = Coordinate(0, "Centre along x in pixels.")
    cy = Coordinate(1, "Centre along y in pixels.")
    rx = Coordinate(2, "Radius along x before the turn, in pixels.")
    ry = Coordinate(3, "Radius along y before the turn, in pixels.")
    theta = Coordinate(4, "Turn in radians.")

    def __init__(
        self, cx: float, cy: float, rx: float, ry: float, theta: float = 0.0, **common: Unpack[Common]
    ) -> None:
        Annotation.__init__(self, **common)
        self._poly = self.check_geometry((cx, cy, rx, ry, theta))

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the turned ellipse."""
        cx, cy, rx, ry, theta = self._poly
        cosine, sine = math.cos(theta), math.sin(theta)
        return centred(cx, cy, math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine))


class Mask(Annotation, tag="mask"):
    """The pixels of one colour in a mask of the frame.

    Parameters
    ----------
    mask_rgb : sequence of int, shape (3,)
        Red, green and blue, each 0 to 255.
    mask_id : str, optional
        Id of the mask among the frame's; None means its only one.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    def __init__(self, mask_rgb: Iterable[int], mask_id: str | None = None, **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)
        value = _colour(mask_rgb, "mask_rgb")
        self._mask = MaskValue(None if mask_id is None else name(mask_id, "mask_id"), value)

    @property
    def mask_rgb(self) -> tuple[int, ...]:
        """Red, green and blue, each 0 to 255."""
        return self._mask.value if self._mask else ()

    @mask_rgb.setter
    def mask_rgb(self, value: Iterable[int]) -> None:
        self._mask = MaskValue(self.mask_id, _colour(value, "mask_rgb"))

    @property
    def mask_id(self) -> str | None:
        """Id of the mask among the frame's."""
        return self._mask.id if self._mask else None

    @mask_id.setter
    def mask_id(self, value: str | None) -> None:
        self._mask = MaskValue(None if value is None else name(value, "mask_id"), self.mask_rgb)


class ImageAnnotation(Annotation, tag="image"):
    """Labels of the whole frame; it has no geometry."""


class UnknownAnnotation(Annotation, kw_only=False):
    """An annotation of a type that is not registered in this process, kept as it is.

    Parameters
    ----------
    type : str
        Name of the type in stored data.
    poly : sequence of float, optional
        Flat geometry, of unknown meaning.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    _type: str = field(name="type", default="")

    def __init__(self, type: str, poly: Iterable[Any] = (), **common: Unpack[Common]) -> None:  # noqa: A002 - as stored
        Annotation.__init__(self, **common)
        self._type = name(type, "type")
        if self._type in _types:
            raise refusal("type", type, f"{_types[self._type].__name__} for this type")
        self.set_geometry(poly)

    @property
    def type(self) -> str:
        """Name of the type in stored data."""
        return self._type


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

AnnotationType = TypeVar("AnnotationType", bound=type[Annotation])

_types: dict[str, type[Annotation]] = {
    str(cls.__struct_config__.tag): cls for cls in BuiltinAnnotation.__args__
}
_known: set[type] = {UnknownAnnotation, *_types.values()}
_fields = frozenset(Annotation.__struct_encode_fields__)


def register_annotation(cls: AnnotationType) -> AnnotationType:
    """Register an annotation type of your own, as a class decorator.

    Stored annotations of its `tag` are then read as this class; without registration they are read as
    `UnknownAnnotation`, and nothing is lost.

    Parameters
    ----------
    cls : type
        Subclass of `Annotation`: ``class Arrow(Annotation, tag="acme.arrow")``.

    Raises
    ------
    UsageError
        The class is no subclass, has no `tag`, or adds stored fields.
    ConflictError
        Another class has the tag.
    """
    if not issubclass(cls, Annotation) or not cls.__struct_config__.tag:
        raise UsageError(f"{cls.__name__} must be a subclass of Annotation with a tag of its own")
    if cls.__struct_fields__ != Annotation.__struct_fields__:
        raise UsageError(f"{cls.__name__} adds stored fields; keep its data in geometry or metadata")
    tag = str(cls.__struct_config__.tag)
    other = _types.setdefault(tag, cls)
    if other is not cls:
        raise ConflictError(f"the annotation type {tag!r} is {other.__name__} already; choose another tag")
    _known.add(cls)
    return cls


def known_annotations() -> set[type]:
    """Return the classes that annotations of a frame may have."""
    return _known


def own_annotations(values: Iterable[Annotation] | None, path: str) -> list[Any]:
    """Return checked copies of annotations given by a user."""
    if values is None:
        return []
    given = items(values, path, "a list of annotations")
    if not _known.issuperset(map(type, given)):
        for index, item in enumerate(given):
            check_type(item, f"{path}[{index}]")
    owned: list[Annotation] = []
    try:
        for item in given:
            owned.append(item.duplicate())  # noqa: PERF401 - its length tells which one is refused
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}[{len(owned)}].{error}") from None
    return owned


def check_type(value: object, path: str) -> Annotation:
    """Return `value` if it is an annotation of a known type."""
    if type(value) in _known and isinstance(value, Annotation):
        return value
    if isinstance(value, Annotation):
        raise refusal(path, value, f"a type known to register_annotation; {type(value).__name__} is not")
    raise refusal(path, value, "an annotation")


def annotation_from_dict(wire: object, path: str = "annotation") -> Annotation:
    """Return the annotation of a wire form.

    Parameters
    ----------
    wire : dict
        `type` and any of `id, label, poly, confidence, meta, sources, mask`; an unknown type is kept.
    path : str
        Name of the field, for errors.

    Raises
    ------
    InvalidValueError
        A key is unknown or a value is not allowed.
    """
    found = fields(wire, _fields | {"type"}, path)
    tag = name(found.pop("type", None), f"{path}.type")
    cls = _types.get(tag, UnknownAnnotation)
    self: Annotation = (
        StructMeta.__call__(cls, _type=tag) if cls is UnknownAnnotation else StructMeta.__call__(cls)
    )
    self._labels = label_list(found.get("label"), f"{path}.label")
    self._metadata = canonical_object(found.get("meta"), f"{path}.meta")
    self._poly = self.check_geometry(items(found.get("poly", ()), f"{path}.poly", "a list of numbers"), path)
    self._sources = tuple(
        name(item, f"{path}.sources[{index}]")
        for index, item in enumerate(items(found.get("sources", ()), f"{path}.sources", "a list of names"))
    )
    if "id" in found:
        self._id = identifier(found["id"], f"{path}.id")
    if "confidence" in found:
        self._confidence = fraction(found["confidence"], f"{path}.confidence")
    self._mask = _mask_from_dict(found.get("mask"), cls, f"{path}.mask")
    return self


def decode_annotation(payload: bytes | msgspec.Raw) -> Annotation:
    """Return a stored annotation of any type, registered or not."""
    cls = _types.get(_tag_decoder.decode(payload).type, UnknownAnnotation)
    return msgspec.msgpack.decode(payload, type=cls)


def find_annotations(
    annotations: Sequence[Annotation],
    id: str | float | None = None,  # noqa: A002 - the name of the API that is followed
    index: int | None = None,
    label: str | None = None,
    labels: str | Sequence[str] | None = None,
) -> list[int]:
    """Return the indices of the annotations that fit everything given; see `SingleFrame.get_annotations`."""
    found = list(range(len(annotations)))
    if index is not None:
        if not -len(found) <= index < len(found):
            raise NotFoundError(f"no annotation at index {index}: there are {len(found)}")
        found = [found[index]]
    if id is not None:
        wanted_id = identifier(id)
        found = [i for i in found if annotations[i].id == wanted_id]
        if not found:
            raise NotFoundError(f"no annotation with the id {id!r}")
    if label is not None:
        found = [i for i in found if label in annotations[i].labels]
    if labels is not None:
        wanted = label_list(labels, "labels")
        found = [i for i in found if annotations[i].labels == wanted]
    return found


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
            raise refusal("labels", common["labels"], "none beside frame_class without a geometry")
        added.append(ImageAnnotation(**{**common, "labels": label_list(frame_class, "frame_class")}))
    elif not added and common["labels"] is not None:
        added.append(ImageAnnotation(**common))
    if not added:
        raise InvalidValueError("an annotation needs a geometry, frame_class or labels; none was given")
    return added


def _polygon(points: Any, dimensions: int, common: Mapping[str, Any]) -> Annotation:
    if dimensions == 2:
        return (ComplexPolygon2D if is_rings(points, 2) else Polygon2D)(points, **common)
    return (ComplexPolygon3D if is_rings(points, 3) else Polygon3D)(points, **common)


def _box(numbers: Any, common: Mapping[str, Any]) -> Annotation:
    given = items(numbers, "box2d_xywh", COORDINATES)
    if len(given) not in {4, 5}:
        raise refusal("numbers", numbers, "x, y, width, height and perhaps the angle")
    return BoundingBox2D(*given, **common)


def _ellipse(numbers: Any, common: Mapping[str, Any]) -> Annotation:
    given = items(numbers, "ellipse2d_xyrrt", COORDINATES)
    if len(given) != 5:
        raise refusal("numbers", numbers, "cx, cy, rx, ry, theta")
    return Ellipse2D(*given, **common)


class _Tagged(Struct):
    type: str


_tag_decoder = msgspec.msgpack.Decoder(_Tagged)


def _mask_from_dict(wire: object, cls: type[Annotation], path: str) -> MaskValue | None:
    if wire is None:
        if cls is Mask:
            raise refusal(path, wire, "a dict of id and value")
        return None
    found = fields(wire, ("id", "value"), path)
    return MaskValue(
        name(found["id"], f"{path}.id") if "id" in found else None,
        _colour(found.get("value", ()), f"{path}.value"),
    )


def _colour(value: object, path: str) -> tuple[int, ...]:
    given = items(value, path, "red, green and blue, each 0 to 255")
    numbers = tuple(whole(item, f"{path}[{index}]") for index, item in enumerate(given))
    if len(numbers) != 3 or not all(0 <= n <= 255 for n in numbers):
        raise refusal(path, value, "red, green and blue, each 0 to 255")
    return numbers


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
