"""Base class of annotations: the stored layout, id, labels, confidence and metadata."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, TypeVar

import msgspec
from msgspec import Struct, field

from ..canonical import canonical_object, encode_canonical, settle_object
from ..errors import ConflictError, UsageError
from ..structs import InitStructMeta
from ..validation import KnownAttributes, dotted, fraction, identifier, items, label_list, name, shorten
from .coordinates import COORDINATES, finite


class MaskValue(Struct, omit_defaults=True, gc=False, frozen=True):
    """The mask and the colour of an annotation's pixels.

    Attributes
    ----------
    id : str or None
        Id of the mask in the frame.
    value : tuple of int
        Red, green and blue values of the pixels.
    """

    id: str | None = None
    value: tuple[int, ...] = ()


class Common(TypedDict, total=False):
    """Parameters of every annotation; see `Annotation`."""

    id: str | float | None
    labels: str | Sequence[object] | None
    confidence: float | None
    metadata: Mapping[str, Any] | None


class NumberSlot(KnownAttributes):
    """Keeps the number of a label, which a view gives, on the object, outside of what is stored."""

    __slots__ = ("_label_num",)

    _label_num: int


class Annotation(NumberSlot, Struct, metaclass=InitStructMeta, kw_only=True, omit_defaults=True, gc=False):
    """Base class of all annotations.

    To define an annotation type, create a subclass with a `tag`, which is its name in stored data, and register it with
    `register_annotation`. A subclass can add constructors, properties and `check_geometry`, but no stored fields.

    Parameters
    ----------
    values : sequence of float, optional
        Geometry, in the form that the type expects.
    id : str or number, optional
        Id of the annotation. Numbers are converted to strings. Several parts of one object may share an id.
    labels : str or sequence of str, optional
        Labels, in order.
    confidence : float, optional
        Confidence from 0 to 1.
    metadata : dict, optional
        JSON-like values.

    Raises
    ------
    InvalidValueError
        A value is invalid. Setting a property raises the same.
    """

    _confidence: float | None = field(name="confidence", default=None)
    _id: str | None = field(name="id", default=None)
    _labels: list[str] = field(name="label", default_factory=list)
    _mask: MaskValue | None = field(name="mask", default=None)
    _metadata: dict[str, Any] = field(name="meta", default_factory=dict)
    _poly: tuple[float, ...] = field(name="poly", default=())
    _sources: tuple[str, ...] = field(name="sources", default=())

    short_name: ClassVar[str] = ""
    """Name of the type for `get_type`, if it is not the tag."""

    def __init__(
        self,
        values: Iterable[Any] | None = None,
        id: str | float | None = None,  # noqa: A002 - the name of the API that is followed
        labels: str | Sequence[object] | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if id is not None:
            _put_id(self, identifier(id))
        if labels is not None:
            _put_labels(self, label_list(labels, "labels"))
        if confidence is not None:
            _put_confidence(self, fraction(confidence, "confidence"))
        if metadata is not None:
            _put_metadata(self, canonical_object(metadata, "metadata"))
        if values is not None:
            self.values = values

    def take_common(self, common: Common) -> None:
        """Set what the constructor of a subclass got as `common`; labels alone take a shorter way."""
        if len(common) == 1 and (labels := common.get("labels")) is not None:
            _put_labels(self, label_list(labels, "labels"))
        elif common:
            Annotation.__init__(self, **common)

    @classmethod
    def get_type(cls) -> str:
        """Return the short name of the annotation type, such as ``b2d``; for a registered type it is its tag."""
        return cls.short_name or str(cls.__struct_config__.tag or "")

    @property
    def type(self) -> str:
        """Name of the annotation type in stored data."""
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
        """Labels. The list may be modified in place."""
        return self._labels

    @labels.setter
    def labels(self, value: str | Sequence[object] | None) -> None:
        self._labels = label_list(value, "labels")

    @property
    def label_num(self) -> int | None:
        """Number of the label in the data view that the frame was read from, -1 for labels without a number.

        None if the frame was not read from a data view. It is not stored with the frame.
        """
        return getattr(self, "_label_num", None)

    label_enum = label_num

    @property
    def confidence(self) -> float | None:
        """Confidence from 0 to 1."""
        return self._confidence

    @confidence.setter
    def confidence(self, value: float | None) -> None:
        self._confidence = None if value is None else fraction(value, "confidence")

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values. The dict may be modified in place."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        self._metadata = canonical_object(value, "metadata")

    @property
    def poly(self) -> tuple[float, ...]:
        """Geometry as the flat list that is stored."""
        return self._poly

    @property
    def values(self) -> list[Any]:
        """Geometry as a flat list, or as one flat list for each ring."""
        return list(self._poly)

    @values.setter
    def values(self, value: Iterable[Any]) -> None:
        self.set_geometry(value)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources of a frame group that the annotation belongs to; empty for all."""
        return self._sources

    def get_bounding_box(self) -> list[float]:
        """Return ``[left, top, width, height]`` of the axis-aligned box around the geometry.

        An annotation without two-dimensional geometry (a mask, an image annotation, an unknown type) returns zeros.
        """
        return [0.0, 0.0, 0.0, 0.0]

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form: a dict of `type` and the other fields that are set."""
        wire: dict[str, Any] = {"type": self.type, **msgspec.to_builtins(self)}
        for key in ("poly", "sources"):
            if key in wire:
                wire[key] = list(wire[key])
        if "mask" in wire:
            wire["mask"] = {**wire["mask"], "value": list(wire["mask"].get("value", ()))}
        if self.label_num is not None:
            wire["label_num"] = self.label_num
        return wire

    @classmethod
    def check_geometry(cls, poly: Sequence[Any], path: str = "") -> tuple[float, ...]:
        """Return the flat geometry in canonical form. A subclass can override it to reject invalid geometry.

        Parameters
        ----------
        poly : sequence of number
            Flat geometry as it is stored.
        path : str
            Name of the annotation for messages, empty if it is not part of a frame.

        Raises
        ------
        InvalidValueError
            A number is not finite, or the geometry is invalid for this type.
        """
        return finite(poly, dotted(path, "poly"))

    def set_geometry(self, poly: Iterable[Any]) -> None:
        """Validate and store a flat geometry.

        Parameters
        ----------
        poly : iterable of float
            Flat geometry as it is stored.

        Raises
        ------
        InvalidValueError
            A number is not finite, or the geometry is invalid for this type.
        """
        put_poly(self, self.check_geometry(items(poly, "poly", COORDINATES)))

    def validate(self, path: str = "") -> None:
        """Validate the annotation, and convert values that were modified in place to canonical form.

        Parameters
        ----------
        path : str
            Name of the annotation for messages, empty if it is not part of a frame.

        Raises
        ------
        InvalidValueError
            A value is invalid. The message gives the field.
        """
        self._labels[:] = label_list(self._labels, dotted(path, "labels"))
        settle_object(self._metadata, dotted(path, "metadata"))
        if self._confidence is not None:
            self._confidence = fraction(self._confidence, dotted(path, "confidence"))
        self._poly = self.check_geometry(self._poly, path)

    def copy(self) -> Self:
        """Return a copy that shares nothing with this annotation. If this one has an id, the copy has a new random id."""
        copied = self.duplicate()
        copied.id = None if self._id is None else uuid.uuid4().hex
        return copied

    def duplicate(self) -> Self:
        """Return a copy that shares nothing with this annotation. Labels and metadata are validated."""
        labels = label_list(self._labels, "labels")
        metadata = canonical_object(self._metadata, "metadata") if self._metadata else {}
        return msgspec.structs.replace(self, _labels=labels, _metadata=metadata)

    def with_sources(self, names: tuple[str, ...]) -> Self:
        """Return a copy that refers to other sources. It shares labels and metadata with this annotation."""
        copied = msgspec.structs.replace(self, _sources=names)
        if self.label_num is not None:
            put_label_num(copied, self.label_num)
        return copied

    @staticmethod
    def register(type_names: str | Sequence[str]) -> Callable[[type[Any]], type[Any]]:
        """Return a class decorator that registers an annotation type under a name; see `register_annotation`.

        Parameters
        ----------
        type_names : str or sequence of str
            The name of the type in stored data: its `tag`. The decorated class needs none.

        Raises
        ------
        UsageError
            More than one name is given, or the class cannot be registered.
        ConflictError
            Another class has the same name.
        """
        names = label_list(type_names, "type_names")
        if len(names) != 1:
            raise UsageError(f"an annotation type has one name, not {shorten(names)}: pass one in type_names")

        def decorate(cls: type[Any]) -> type[Any]:
            named = {key: getattr(cls, key) for key in ("__module__", "__qualname__", "__doc__")}
            tag = name(names[0], "type_names")
            return register_annotation(InitStructMeta(cls.__name__, (cls,), named, tag=tag))

        return decorate

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
        return (_restore, (type(self), encode_canonical(self), self.label_num))


put_label_num: Callable[[Annotation, int], None] = NumberSlot.__dict__["_label_num"].__set__
"""Sets the number of the label of an annotation that a view has read."""

# They set fields in constructors without the check of `KnownAttributes`, which takes longer.
put_poly: Callable[[Annotation, tuple[float, ...]], None] = Annotation.__dict__["_poly"].__set__
_put_id, _put_labels, _put_confidence, _put_metadata = (
    Annotation.__dict__[key].__set__ for key in ("_id", "_labels", "_confidence", "_metadata")
)

AnnotationType = TypeVar("AnnotationType", bound=type[Annotation])

types_by_tag: dict[str, type[Annotation]] = {}
"""The registered annotation types."""

known_types: set[type] = set()
"""The annotation types that frames accept."""


def register_annotation(cls: AnnotationType) -> AnnotationType:
    """Register an annotation type, as a class decorator.

    Stored annotations with its `tag` are then read as this class. Without registration they are read as
    `UnknownAnnotation`, which keeps all data. `SingleFrame.add_annotation` accepts the geometry as a keyword with this tag.

    Parameters
    ----------
    cls : type
        Subclass of `Annotation`: ``class Arrow(Annotation, tag="acme.arrow")``.

    Raises
    ------
    UsageError
        The class is not a subclass of `Annotation`, has no `tag`, or adds stored fields.
    ConflictError
        Another class has the same tag.
    """
    if not isinstance(cls, type) or not issubclass(cls, Annotation) or not cls.__struct_config__.tag:
        raise UsageError(
            f"{getattr(cls, '__name__', shorten(cls))} must be a subclass of Annotation with its own tag"
        )
    if cls.__struct_fields__ != Annotation.__struct_fields__:
        raise UsageError(f"{cls.__name__} adds stored fields: keep its data in geometry or metadata")
    tag = str(cls.__struct_config__.tag)
    other = types_by_tag.setdefault(tag, cls)
    if other is not cls:
        raise ConflictError(
            f"the annotation type {tag!r} is already registered as {other.__name__}: use another tag"
        )
    known_types.add(cls)
    return cls


def _restore(cls: type[Annotation], payload: bytes, label_num: int | None = None) -> Annotation:
    restored = msgspec.msgpack.decode(payload, type=cls)
    if label_num is not None:
        put_label_num(restored, label_num)
    return restored
