"""Validates the source fields of a frame, and converts them to their stored form."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar, overload

from ..validation import About, items, name, shorten, whole
from .content_types import content_type_of
from .record import Record
from .source import MaskSource, Preview, source_uri

Value = TypeVar("Value")
SourceLike = str | os.PathLike[str]
MaskLike = SourceLike | Mapping[str, SourceLike] | Sequence[SourceLike]


class SourceField(Generic[Value]):
    """A field of a frame's source, as a validated attribute of the frame."""

    def __init__(self, key: str, check: Callable[[object, str], Any], default: Value, doc: str) -> None:
        self._key, self._check, self._default = key, check, default
        self.__doc__ = doc

    @overload
    def __get__(self, frame: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, frame: Record, owner: object = None) -> Value: ...
    def __get__(self, frame: Record | None, owner: object = None) -> Self | Value:
        if frame is None:
            return self
        return getattr(frame.sources[0], self._key) if frame.sources else self._default

    def __set__(self, frame: Record, value: object) -> None:
        with About("frame", frame.id):
            checked = self._default if value is None else self._check(value, self._key)
        frame.put_source(**{self._key: checked})


def source_location(value: object) -> dict[str, Any]:
    """Return the source fields that are derived from its path or URI."""
    if value is None:
        return {"uri": None, "content_type": None}
    uri = source_uri(value, "source")
    return {"uri": uri, "content_type": content_type_of(uri)}


def source_preview(uri: object, timestamp: object) -> Preview | None:
    """Return the preview with a path or URI and a time in milliseconds, or None without either."""
    if uri is None and timestamp is None:
        return None
    return Preview(
        timestamp=None if timestamp is None else whole(timestamp, "preview_uri_timestamp"),
        uri=None if uri is None else source_uri(uri, "preview_uri"),
    )


def source_masks(value: object) -> tuple[MaskSource, ...]:
    """Return masks from one path or URI, a dict of them by id, or a sequence of them."""
    if value is None:
        return ()
    if isinstance(value, (str, os.PathLike)):
        value = [value]
    if not isinstance(value, Mapping):
        given = items(value, "mask_source", "a path or URI, a dict or a list of them")
        value = {f"{index:02d}": uri for index, uri in enumerate(given)}
    return tuple(
        MaskSource(id=name(key, "mask_source"), uri=source_uri(uri, f"mask_source[{shorten(key)}]"))
        for key, uri in value.items()
    )
