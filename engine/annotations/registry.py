"""Decodes annotations of any type, registered or not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import groupby
from typing import Any, Unpack

import msgspec
from msgspec import Struct, StructMeta, field

from ..canonical import canonical_object
from ..decoding import guarded
from ..errors import InvalidValueError
from ..validation import fields, fraction, identifier, items, label_list, name, refusal, shorten
from .base import Annotation, Common, MaskValue, known_types, types_by_tag
from .types import ComplexPolygon2D, Mask, colour


class UnknownAnnotation(Annotation, kw_only=False):
    """An annotation of a type that is not registered in this process. Its data is kept unchanged.

    Parameters
    ----------
    type : str
        Name of the annotation type in stored data.
    poly : sequence of float, optional
        Flat geometry, whose meaning is unknown.
    **common
        `id`, `labels`, `confidence` and `metadata` as in `Annotation`.

    Raises
    ------
    InvalidValueError
        The type is registered, or a value is invalid.
    """

    _type: str = field(name="type", default="")

    def __init__(self, type: str, poly: Iterable[Any] = (), **common: Unpack[Common]) -> None:  # noqa: A002 - as stored
        Annotation.__init__(self, **common)
        self._type = name(type, "type")
        if self._type in types_by_tag:
            raise refusal(
                "type", type, f"an unregistered type (this one is {types_by_tag[self._type].__name__})"
            )
        self.set_geometry(poly)

    @property
    def type(self) -> str:
        """Name of the annotation type in stored data."""
        return self._type


known_types.add(UnknownAnnotation)
_wire_fields = frozenset({"type", "labels", "label_num", *Annotation.__struct_encode_fields__})

_RING_SEPARATOR = -999999999
"""The number between the rings of a polygon in the wire form of ClearML."""


def own_annotations(values: Iterable[Annotation] | None, path: str) -> list[Any]:
    """Return validated copies of the annotations that a user passes."""
    if values is None:
        return []
    given = items(values, path, "a list of annotations")
    if not known_types.issuperset(map(type, given)):
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
    """Return `value` if it is an annotation of a registered type."""
    if type(value) in known_types and isinstance(value, Annotation):
        return value
    if isinstance(value, Annotation):
        raise refusal(path, value, "an annotation of a type that is registered with register_annotation")
    raise refusal(path, value, "an annotation")


def annotation_from_dict(wire: object, path: str = "annotation") -> Annotation:
    """Return the annotation of a wire form.

    Parameters
    ----------
    wire : dict
        Any of `type, id, label, poly, confidence, meta, sources, mask`. An unknown type is kept, and `label_num`, which
        views add, is ignored. Without a type, it is
        derived from the other fields: `mask` is a mask, 4 numbers in `poly` are a box, 6 or more a polygon, and none
        are labels of the whole frame. `labels` is accepted for `label`.
    path : str
        Name of the field, for messages.

    Raises
    ------
    InvalidValueError
        A key is unknown or a value is invalid.
    """
    found = fields(wire, _wire_fields, path)
    _rename_labels(found, path)
    tag = name(found["type"], f"{path}.type") if "type" in found else _derive_type(found, path)
    cls = types_by_tag.get(tag, UnknownAnnotation)
    self: Annotation = (
        StructMeta.__call__(cls, _type=tag) if cls is UnknownAnnotation else StructMeta.__call__(cls)
    )
    if "label" in found:
        self._labels = label_list(found["label"], f"{path}.label")
    if "meta" in found:
        self._metadata = canonical_object(found["meta"], f"{path}.meta")
    self._poly = self.check_geometry(items(found.get("poly", ()), f"{path}.poly", "a list of numbers"), path)
    if "sources" in found:
        given = items(found["sources"], f"{path}.sources", "a list of names")
        self._sources = tuple(name(item, f"{path}.sources[{index}]") for index, item in enumerate(given))
    if "id" in found:
        self._id = identifier(found["id"], f"{path}.id")
    if "confidence" in found:
        self._confidence = fraction(found["confidence"], f"{path}.confidence")
    self._mask = _mask_from_dict(found.get("mask"), cls, f"{path}.mask")
    return self


def _rename_labels(found: dict[str, Any], path: str) -> None:
    labels = found.pop("labels", None)
    if labels is not None and found.setdefault("label", labels) != labels:
        raise refusal(f"{path}.labels", labels, f"equal to label, {shorten(found['label'])}, or left out")


def _derive_type(found: dict[str, Any], path: str) -> str:
    """Return the type of an annotation in the wire form of ClearML, which has none. Rings in `poly` are converted."""
    if "mask" in found:
        return "mask"
    path = f"{path}.poly"
    poly = items(found.get("poly", ()), path, "a list of numbers")
    if not poly:
        return "image"
    if len(poly) == 4:
        return "box2d"
    if len(poly) < 6:
        raise refusal(path, poly, "a box of 4 numbers or a polygon of at least 6, if the type is not given")
    if _RING_SEPARATOR not in poly:
        return "polygon2d"
    rings = [list(ring) for is_end, ring in groupby(poly, _RING_SEPARATOR.__eq__) if not is_end]
    found["poly"] = ComplexPolygon2D(rings).poly
    return "complex_polygon2d"


def decode_annotation(payload: bytes | msgspec.Raw) -> Annotation:
    """Return a stored annotation of any type, registered or not."""
    cls = types_by_tag.get(_decode_tag(payload).type, UnknownAnnotation)
    return guarded(partial(msgspec.msgpack.decode, type=cls))(payload)


class _Tagged(Struct):
    type: str


_decode_tag = guarded(msgspec.msgpack.Decoder(_Tagged).decode)


def _mask_from_dict(wire: object, cls: type[Annotation], path: str) -> MaskValue | None:
    if wire is None:
        if cls is Mask:
            raise refusal(path, wire, "a dict of id and value")
        return None
    found = fields(wire, ("id", "value"), path)
    return MaskValue(
        name(found["id"], f"{path}.id") if "id" in found else None,
        colour(found.get("value", ()), f"{path}.value", least=-1),
    )
