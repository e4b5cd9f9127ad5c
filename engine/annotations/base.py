"""Base class of annotations: the stored layout, id, labels, confidence and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypedDict

import msgspec
from msgspec import Struct, field

from ..canonical import canonical_object, encode_canonical, settle_object
from ..structs import InitStructMeta
from ..validation import dotted, fraction, identifier, items, label_list, shorten
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
    labels: str | Sequence[str] | None
    confidence: float | None
    metadata: Mapping[str, Any] | None


class Annotation(Struct, metaclass=InitStructMeta, kw_only=True, omit_defaults=True, gc=False):
    """Base class of all annotations.

    To define an annotation type, create a subclass with a `tag`, which is its name in stored data, and register it with
    `register_annotation`. A subclass can add constructors, properties and `check_geometry`, but no stored fields.

    Parameters
    ----------
    id : str or number, optional
        Id of the annotation. Several parts of one object may share an id.
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
    def labels(self, value: str | Sequence[str] | None) -> None:
        self._labels = label_list(value, "labels")

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
    def sources(self) -> tuple[str, ...]:
        """Names of the sources of a frame group that the annotation refers to; empty for all."""
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
        """Validate and store a flat geometry."""
        self._poly = self.check_geometry(items(poly, "poly", COORDINATES))

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
        self._poly = self.check_geometry(self._poly, path)

    def duplicate(self) -> Self:
        """Return a copy that shares nothing with this annotation. Labels and metadata are validated."""
        labels = label_list(self._labels, "labels")
        metadata = canonical_object(self._metadata, "metadata") if self._metadata else {}
        return msgspec.structs.replace(self, _labels=labels, _metadata=metadata)

    def with_sources(self, names: tuple[str, ...]) -> Self:
        """Return a copy that refers to other sources. It shares labels and metadata with this annotation."""
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
        return (_restore, (type(self), encode_canonical(self)))


def _restore(cls: type[Annotation], payload: bytes) -> Annotation:
    return msgspec.msgpack.decode(payload, type=cls)
