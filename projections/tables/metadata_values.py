"""Metadata as rows that can be queried: one for each value, with the path that leads to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

from ...engine.times import microseconds
from ..columns import text_key

DATETIME = "$datetime"
"""The only key of an object that stands for a date and time: its value is in ISO format."""


class Kind(IntEnum):
    """Type of a value of metadata, as stored."""

    NULL = 0
    TEXT = 1
    NUMBER = 2
    BOOLEAN = 3
    INSTANT = 4
    OTHER = 5
    """An object, which has the values below it and equals nothing."""


class MetadataValue(NamedTuple):
    """A value of metadata.

    Attributes
    ----------
    path : bytes
        `text_key` of the dotted path, such as ``metadata.camera.model``.
    kind : int
        The `Kind`.
    text : str or None
        The value of a text.
    number : float or None
        The value of a number, a boolean as 0 or 1, an instant as microseconds since 1970 in UTC.
    """

    path: bytes
    kind: int
    text: str | None = None
    number: float | None = None


def metadata_values(root: str, metadata: Mapping[str, Any]) -> Iterator[MetadataValue]:
    """Yield the values of metadata. The items of a list have the path of the list, also those of lists in lists.

    Parameters
    ----------
    root : str
        Path of the metadata.
    metadata : mapping
        JSON values by key, times as objects of the key `DATETIME`.
    """
    pending = _below(root, metadata)
    while pending:
        path, value = pending.pop()
        if isinstance(value, list):
            pending += [(path, item) for item in value]
        elif isinstance(value, Mapping) and value.keys() != {DATETIME}:
            yield MetadataValue(text_key(path), Kind.OTHER)
            pending += _below(path, value)
        else:
            yield MetadataValue(text_key(path), *_scalar(value))


def _below(path: str, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{path}.{key}", value) for key, value in values.items()]


def _scalar(value: Any) -> tuple[int, str | None, float | None]:
    """Return the other columns of a value. One of an event that framelode did not write may be anything."""
    match value:
        case None:
            return Kind.NULL, None, None
        case bool():
            return Kind.BOOLEAN, None, float(value)
        case int() | float() if abs(value) <= sys.float_info.max:
            return Kind.NUMBER, None, float(value)
        case str():
            return Kind.TEXT, value.replace("\0", "\ufffd"), None
        case {"$datetime": str(text)}:
            return _instant(text)
        case _:
            return Kind.OTHER, None, None


def _instant(text: str) -> tuple[int, str | None, float | None]:
    try:
        return Kind.INSTANT, None, float(microseconds(datetime.fromisoformat(text)))
    except ValueError:
        return Kind.OTHER, None, None
