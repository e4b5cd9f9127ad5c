"""Reads many frames in wire form with one call of the decoder.

It takes frames whose values have the exact types and are in canonical form or nearly so. What it does not take, the
careful conversion of one frame after the other reads, with the same result, or refuses with a message.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import chain, repeat
from operator import attrgetter, or_
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from ..annotations.shapes import Points, Shape
from ..annotations.types import BuiltinAnnotation, ImageAnnotation
from ..canonical import is_plain_json
from ..errors import InvalidValueError
from ..validation import identifier
from .content_types import content_type_of
from .source import DEFAULT_SOURCE, are_plain_uris, context_name, derive_id, source_uri

_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Fraction = Annotated[float, Meta(ge=0, le=1)]
_Size = Annotated[float, Meta(ge=0)]
_Name = Annotated[str, Meta(min_length=1)]


class _Roi(Struct, kw_only=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """The fields of an annotation, in the order of `Annotation`."""

    confidence: _Fraction | None = None
    id: _Name | None = None
    label: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


class _Source(Struct, kw_only=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """The fields of a source, in the order of `Source`."""

    content_type: _Name | None = None
    hash: _Name | None = None
    height: _Count | None = None
    id: str = DEFAULT_SOURCE
    meta: dict[str, Any] = field(default_factory=dict)
    size: _Count | None = None
    timestamp: _Whole = 0
    uri: _Name
    width: _Count | None = None


def _roi_type(cls: type[Any]) -> type[Struct] | None:
    """Return a type that decodes valid annotations of a built-in type only; None if they need a closer look."""
    poly: Any = None
    if issubclass(cls, Shape):
        poly = tuple[tuple(_Size if is_size else float for is_size in cls.which_are_sizes())]
    elif issubclass(cls, Points):
        poly = Annotated[list[float], Meta(min_length=cls.dimensions)]
    elif cls is not ImageAnnotation:
        return None
    fields = [] if poly is None else [("poly", poly)]
    config: Any = {"tag": cls.__struct_config__.tag, "kw_only": True, "omit_defaults": True, "gc": False}
    return msgspec.defstruct(cls.__name__, fields, bases=(_Roi,), forbid_unknown_fields=True, **config)


_roi_types = {cls: made for cls in BuiltinAnnotation.__args__ if (made := _roi_type(cls)) is not None}
_AnyRoi: Any = reduce(or_, _roi_types.values())
_dimensions = {made: cls.dimensions for cls, made in _roi_types.items() if issubclass(cls, Points)}


class PlainFrame(Struct, kw_only=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """A frame that was read in wire form. Without its id, it encodes to its canonical payload: its fields are those of `Record`."""

    id: _Name | None = None
    context_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    num_frames: _Count | None = None
    rois: list[_AnyRoi] = field(default_factory=list)  # pyright: ignore[reportInvalidTypeForm] - made above
    sources: Annotated[list[_Source], Meta(min_length=1, max_length=1)] | None = None
    timestamp: _Whole | None = None

    def derive_id(self, root: str | os.PathLike[str] | None) -> str | None:
        """Return the id that is derived from the source; see `SingleFrame.derive_id`."""
        return derive_id(self.sources or (), root)


def read_plain(wires: Sequence[Any]) -> list[PlainFrame] | None:
    """Return the frames of a batch in wire form, or None if any of them must be read carefully.

    NaN, infinities, -0.0, lone surrogates and integers of more than 64 bits in metadata show when the frames are encoded.
    """
    try:
        frames = msgspec.convert(wires, list[PlainFrame])
        if not _are_settled(frames) and not all(map(_settle, frames)):
            return None
    except (msgspec.ValidationError, UnicodeError, InvalidValueError, RecursionError):
        return None
    rois = list(chain.from_iterable(map(_get_rois, frames)))
    if not _are_whole(rois):
        return None
    if not _TEXT.issuperset(map(type, chain.from_iterable(map(_get_label, rois)))):
        return None
    sources = chain.from_iterable(filter(None, map(_get_sources, frames)))
    objects = list(filter(None, map(_get_meta, chain(frames, sources, rois))))
    return frames if is_plain_json(objects) else None


def _are_settled(frames: Sequence[PlainFrame]) -> bool:
    """Bring frames into the form in which they are stored, if each is nearly so: `_settle` for many, at C speed."""
    ids = list(filter(None, map(_get_id, frames)))
    sources = list(chain.from_iterable(filter(None, map(_get_sources, frames))))
    uris = list(map(_get_uri, sources))
    if (
        not "".join(ids).isascii()
        or not are_plain_uris(uris)
        or not {DEFAULT_SOURCE}.issuperset(map(_get_id, sources))
    ):
        return False
    # A value that is equal to the one of the source is not stored.
    repeated = (
        (_get_context, _put_context, uris),
        (_get_timestamp, _put_timestamp, list(map(_get_timestamp, sources))),
    )
    given = [(put, list(map(get, frames)), values) for get, put, values in repeated]
    if any(values != own and set(values) != {None} for _, values, own in given):
        return False
    for put, _, _ in given:
        deque(map(put, frames, repeat(None)), maxlen=0)
    deque(map(_put_source_id, sources, repeat(DEFAULT_SOURCE)), maxlen=0)
    untyped = [source for source in sources if source.content_type is None]
    deque(map(_put_content_type, untyped, map(content_type_of, map(_get_uri, untyped))), maxlen=0)
    return True


def _settle(frame: PlainFrame) -> bool:
    """Bring a frame into the form in which it is stored; False if it must be read carefully."""
    if frame.id is not None:
        frame.id = identifier(frame.id)
    source = frame.sources[0] if frame.sources else None
    if source is not None:
        if source.id != DEFAULT_SOURCE:
            return False
        source.id = DEFAULT_SOURCE
        source.uri = source_uri(source.uri, "uri")
        if source.content_type is None:
            source.content_type = content_type_of(source.uri)
    if frame.timestamp is not None:
        if source is None or source.timestamp != frame.timestamp:
            return False
        frame.timestamp = None
    if frame.context_id is not None:
        frame.context_id = context_name(frame.context_id, "context_id")
        if source is not None and frame.context_id == source.uri:
            frame.context_id = None
    return True


def _are_whole(rois: Sequence[Any]) -> bool:
    """Whether annotations of points have complete points."""
    kinds = _dimensions.keys() & set(map(type, rois))
    return not kinds or not any(len(roi.poly) % _dimensions[type(roi)] for roi in rois if type(roi) in kinds)


_TEXT = frozenset({str})
_get_id, _get_uri = attrgetter("id"), attrgetter("uri")
_get_sources, _get_context, _get_timestamp = (
    attrgetter("sources"),
    attrgetter("context_id"),
    attrgetter("timestamp"),
)
_get_meta, _get_rois, _get_label = attrgetter("meta"), attrgetter("rois"), attrgetter("label")
_put_content_type = _Source.__dict__["content_type"].__set__
_put_source_id = _Source.__dict__["id"].__set__
_put_context = PlainFrame.__dict__["context_id"].__set__
_put_timestamp = PlainFrame.__dict__["timestamp"].__set__
put_plain_id: Callable[[PlainFrame, str | None], None] = PlainFrame.__dict__["id"].__set__
