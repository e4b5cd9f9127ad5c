"""What all annotations have in common: the stored layout, and geometries of numbers, points and rings.

Lengths are in pixels of the source, x to the right and y down; angles are in radians, from the x axis towards the y axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack, overload

import msgspec
from msgspec import Struct, StructMeta, field

from .validation import (
    COORDINATES,
    canonical_object,
    dotted,
    finite,
    flatten,
    fraction,
    identifier,
    items,
    label_list,
    refusal,
    settle_object,
    shorten,
    whole_points,
)

if TYPE_CHECKING:
    import inspect

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Constructed(StructMeta):
    """Struct types whose ``__init__`` checks what it is given; decoding does not pass through it."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        """Make the type; msgspec refuses an ``__init__`` in the body, so it is put in afterwards."""
        constructor = namespace.pop("__init__", None)
        cls = super().__new__(mcs, name, bases, namespace, **config)
        if constructor is not None:
            type.__setattr__(cls, "__init__", constructor)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance with all fields at their defaults, then run its constructor."""
        self = StructMeta.__call__(cls)
        self.__init__(*args, **kwargs)
        return self

    @property
    def __signature__(cls) -> inspect.Signature:
        """Signature of the constructor; msgspec would show the stored fields."""
        import inspect

        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class MaskValue(Struct, omit_defaults=True, gc=False, frozen=True):
    """Which pixels of which mask an annotation means.

    Attributes
    ----------
    id : str or None
        Id of the frame's mask.
    value : tuple of int
        Red, green and blue of the pixels.
    """

    id: str | None = None
    value: tuple[int, ...] = ()


class Common(TypedDict, total=False):
    """Arguments of every annotation; see `Annotation`."""

    id: str | float | None
    labels: str | Sequence[str] | None
    confidence: float | None
    metadata: Mapping[str, Any] | None


class Annotation(Struct, metaclass=Constructed, kw_only=True, omit_defaults=True, gc=False):
    """Base of all annotations.

    A type of your own is a subclass with a `tag`, its name in stored data, that is registered with
    `register_annotation`. It adds constructors, properties and `check_geometry`, but no stored fields.

    Parameters
    ----------
    id : str or number, optional
        Id of the annotation, unique or shared by parts of one object.
    labels : str or sequence of str, optional
        Labels, in order.
    confidence : float, optional
        Confidence in [0, 1].
    metadata : dict, optional
        JSON-like values.

    Raises
    ------
    InvalidValueError
        For a value that is not allowed; every property refuses the same ones.
    """

    _confidence: float | None = field(name="confidence", default=None)
    _id: str | None = field(name="id", default=None)
    _labels: list[str] = field(name="label", default_factory=list)
    _mask: MaskValue | None = field(name="mask", default=None)
    _metadata: dict[str, Any] = field(name="meta", default_factory=dict)
    _poly: tuple[float, ...] = field(name="poly", default=())
    _sources: tuple[str, ...] = field(name="sources", default=())

    def __init__(
        self,
        *,
        id: str | float | None = None,  # noqa: A002 - the name of the API that is followed
        labels: str | Sequence[str] | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if id is not None:
            self._id = identifier(id)
        if labels is not None:
            self._labels = label_list(labels, "labels")
        if confidence is not None:
            self._confidence = fraction(confidence, "confidence")
        if metadata is not None:
            self._metadata = canonical_object(metadata, "metadata")

    @property
    def type(self) -> str:
        """Name of the kind of annotation in stored data."""
        return str(self.__struct_config__.tag)

    @property
    def id(self) -> str | None:
        """Id of the annotation."""
        return self._id

    @id.setter  # noqa: A003 - the builtin is not meant
    def id(self, value: str | float | None) -> None:
        self._id = None if value is None else identifier(value)

    @property
    def labels(self) -> list[str]:
        """Labels; the list may be changed in place."""
        return self._labels

    @labels.setter
    def labels(self, value: str | Sequence[str] | None) -> None:
        self._labels = label_list(value, "labels")

    @property
    def confidence(self) -> float | None:
        """Confidence in [0, 1]."""
        return self._confidence

    @confidence.setter
    def confidence(self, value: float | None) -> None:
        self._confidence = None if value is None else fraction(value, "confidence")

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values; the dict may be changed in place."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        self._metadata = canonical_object(value, "metadata")

    @property
    def poly(self) -> tuple[float, ...]:
        """Flat geometry as it is stored."""
        return self._poly

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources of a frame group that are meant; empty for all."""
        return self._sources

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` of the upright box around the geometry.

        An annotation without geometry in the plane (a mask, an image annotation, an unknown type) gives zeros.
        """
        return [0.0, 0.0, 0.0, 0.0]

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form: a dict with `type` and those of the other fields that are set."""
        wire: dict[str, Any] = {"type": self.type, **msgspec.to_builtins(self)}
        for key in ("poly", "sources"):
            if key in wire:
                wire[key] = list(wire[key])
        if "mask" in wire:
            wire["mask"] = {**wire["mask"], "value": list(wire["mask"].get("value", ()))}
        return wire

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the flat geometry in canonical form; types of your own refuse here what does not suit them.

        Parameters
        ----------
        poly : sequence of number
            Flat geometry as it is stored.
        path : str
            Name of the annotation, for errors; empty for one on its own.

        Raises
        ------
        InvalidValueError
            A number is not finite or the geometry is not one of this type.
        """
        return finite(poly, dotted(path, "poly"))

    def set_geometry(self, poly: Iterable[Any]) -> None:
        """Check and store a flat geometry."""
        self._poly = self.check_geometry(items(poly, "poly", COORDINATES))

    def validate(self, path: str = "") -> None:
        """Check everything again and bring what was changed in place into canonical form.

        Parameters
        ----------
        path : str
            Name of the annotation, for errors; empty for one on its own.

        Raises
        ------
        InvalidValueError
            A value is not allowed; the message names its place.
        """
        self._labels[:] = label_list(self._labels, dotted(path, "labels"))
        settle_object(self._metadata, dotted(path, "metadata"))
        self._poly = self.check_geometry(self._poly, path)

    def duplicate(self) -> Self:
        """Return a copy that shares nothing with this annotation; labels and metadata are checked."""
        labels = label_list(self._labels, "labels")
        metadata = canonical_object(self._metadata, "metadata") if self._metadata else {}
        return msgspec.structs.replace(self, _labels=labels, _metadata=metadata)

    def with_sources(self, names: tuple[str, ...]) -> Self:
        """Return a copy that names other sources; it shares labels and metadata with this annotation."""
        return msgspec.structs.replace(self, _sources=names)

    def __repr__(self) -> str:
        parts = ", ".join(f"{key}={shorten(value)}" for key, value in self.__rich_repr__())
        return f"{type(self).__name__}({parts})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        keys = ("id", "labels", "poly", "mask", "confidence", "metadata", "sources")
        shown = [(key, getattr(self, f"_{key}")) for key in keys]
        own = [("type", self.type)] if self.__struct_config__.tag is None else []
        return own + [(key, value) for key, value in shown if value not in (None, (), [], {})]

    def __reduce__(self) -> tuple[Any, ...]:
        self.validate()
        return (_restore, (type(self), _encode(self)))


class Shape(Annotation):
    """A geometry of a fixed count of numbers, each with a name."""

    _names: ClassVar[tuple[str, ...]] = ()
    _sizes: ClassVar[tuple[int, ...]] = ()
    _optional: ClassVar[int] = 0

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the numbers in canonical form; see `Annotation.check_geometry`."""
        if not 0 <= len(cls._names) - len(poly) <= cls._optional:
            optional = " (the last may be left out)" if cls._optional else ""
            raise refusal(dotted(path, "poly"), poly, f"the numbers {', '.join(cls._names)}{optional}")
        numbers = finite(poly, path, cls._names)
        for index in cls._sizes:
            if numbers[index] < 0:
                raise refusal(dotted(path, cls._names[index]), numbers[index], "a size that is not negative")
        return numbers


class Points(Annotation):
    """A geometry of points.

    Parameters
    ----------
    points : sequence of float, shape (n, dimensions) or (n * dimensions,)
        One point or more.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions: ClassVar[int] = 2

    def __init__(self, points: Iterable[Any], **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)
        self.points = points

    @property
    def points(self) -> list[tuple[float, ...]]:
        """The points, each a tuple of `dimensions` numbers; set as shape ``(n, dimensions)`` or flat."""
        return split(self._poly, self.dimensions)

    @points.setter
    def points(self, value: Iterable[Any]) -> None:
        self._poly = flatten(value, self.dimensions, "points")

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the flat points in canonical form; see `Annotation.check_geometry`."""
        path = dotted(path, "poly")
        return whole_points(finite(poly, path), cls.dimensions, path)

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around the points, seen along z."""
        return extent(self._poly, self.dimensions)


class Rings(Annotation):
    """A geometry of several rings, stored as their count, the count of points of each, then all coordinates.

    Parameters
    ----------
    rings : sequence
        One ring or more, each of shape ``(n, dimensions)`` or ``(n * dimensions,)``.
    **common
        `id`, `labels`, `confidence`, `metadata` as in `Annotation`.
    """

    dimensions: ClassVar[int] = 2

    def __init__(self, rings: Iterable[Any], **common: Unpack[Common]) -> None:
        Annotation.__init__(self, **common)
        self.rings = rings

    @property
    def rings(self) -> list[list[tuple[float, ...]]]:
        """The rings, each a list of points; set as a sequence of rings of shape ``(n, dimensions)`` or flat."""
        total = int(self._poly[0])
        points = iter(split(self._poly[1 + total :], self.dimensions))
        return [[next(points) for _ in range(int(n))] for n in self._poly[1 : 1 + total]]

    @rings.setter
    def rings(self, value: Iterable[Any]) -> None:
        given = items(value, "rings", "a sequence of rings")
        flat = [flatten(ring, self.dimensions, f"rings[{index}]") for index, ring in enumerate(given)]
        if not flat:
            raise refusal("rings", value, "one or more rings")
        lengths = [len(ring) // self.dimensions for ring in flat]
        self._poly = finite([len(flat), *lengths, *(n for ring in flat for n in ring)], "rings")

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the stored rings in canonical form; see `Annotation.check_geometry`."""
        path = dotted(path, "poly")
        numbers = finite(poly, path)
        total = numbers[0] if numbers else 0.0
        lengths = numbers[1 : 1 + int(total)]
        fits = total >= 1 and len(lengths) == total and all(n >= 1 and n.is_integer() for n in lengths)
        if not fits or len(numbers) != 1 + total + cls.dimensions * sum(lengths):
            raise refusal(path, list(numbers), "count of rings, points of each ring, coordinates")
        return numbers

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` around all rings, seen along z."""
        return extent(self._poly[1 + int(self._poly[0]) :], self.dimensions)


class Coordinate:
    """One number of a geometry as an attribute, checked when it is set."""

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
    """Return ``[left, top, width, height]`` around points, seen along z."""
    return between(numbers[0::dimensions], numbers[1::dimensions])


def between(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Return ``[left, top, width, height]`` around all `xs` and `ys`; zeros if there are none."""
    if not xs:
        return [0.0, 0.0, 0.0, 0.0]
    left, top = min(xs), min(ys)
    return [left, top, max(xs) - left, max(ys) - top]


def centred(cx: float, cy: float, half_width: float, half_height: float) -> list[float]:
    """Return ``[left, top, width, height]`` of a box given by its centre and half sizes."""
    return [cx - half_width, cy - half_height, 2 * half_width, 2 * half_height]


def turned(x: float, y: float, cosine: float, sine: float) -> tuple[float, float]:
    """Return a vector turned by an angle, from the x axis towards the y axis."""
    return (x * cosine - y * sine, x * sine + y * cosine)


def _restore(cls: type[Annotation], payload: bytes) -> Annotation:
    return msgspec.msgpack.decode(payload, type=cls)
