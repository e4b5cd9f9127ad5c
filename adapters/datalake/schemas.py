"""Descriptions of data, of objects of a bucket, and of the keys of custom metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec


class CloudObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a data gets.

    Attributes
    ----------
    metadata, custom_metadata : mapping or None
        Values by key.
    tags : sequence of str
        Names of tags, created if they do not exist.
    data_source : str or None
        Name of the source, created if it does not exist.
    """

    metadata: Mapping[str, Any] | None = None
    custom_metadata: Mapping[str, Any] | None = None
    tags: Sequence[str] = ()
    data_source: str | None = None


class CloudProjectionObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of a bucket that was derived from a `Data`.

    Attributes
    ----------
    name : str
        Name of the derived file.
    object_name : str
        Name of the object.
    """

    name: str
    object_name: str


class BaseCustomMetadataKey(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="input_type",
):
    """Rules of a key of custom metadata.

    Attributes
    ----------
    required : bool
        Each data must have a value.
    display_name : str or None
        A name for display, of at most 256 characters.
    archived : bool
        The key is not used any more; it is not required.
    """

    required: bool
    display_name: str | None = None
    archived: bool = False


class StringCustomMetadataKey(BaseCustomMetadataKey, frozen=True, kw_only=True, tag="STRING"):
    """Rules of a key with text: one of some choices, or with `allow_multiple` a list of them."""

    choices: list[str] | None = None
    allow_multiple: bool | None = None


class IntegerCustomMetadataKey(BaseCustomMetadataKey, frozen=True, kw_only=True, tag="INTEGER"):
    """Rules of a key with a whole number: choices as of text, or a least and a greatest value."""

    choices: list[int] | None = None
    allow_multiple: bool | None = None
    min: int | None = None
    max: int | None = None


class FloatCustomMetadataKey(BaseCustomMetadataKey, frozen=True, kw_only=True, tag="FLOAT"):
    """Rules of a key with a number: choices as of text, or a least and a greatest value."""

    choices: list[float] | None = None
    allow_multiple: bool | None = None
    min: float | None = None
    max: float | None = None


class DatetimeCustomMetadataKey(BaseCustomMetadataKey, frozen=True, kw_only=True, tag="DATETIME"):
    """Rules of a key with a time: choices as of text, or an earliest and a latest one, all with a time zone."""

    choices: list[datetime] | None = None
    allow_multiple: bool | None = None
    min: datetime | None = None
    max: datetime | None = None


class BooleanCustomMetadataKey(BaseCustomMetadataKey, frozen=True, kw_only=True, tag="BOOLEAN"):
    """Rules of a key that is true or false."""


CustomMetadataKey = (
    StringCustomMetadataKey
    | IntegerCustomMetadataKey
    | FloatCustomMetadataKey
    | DatetimeCustomMetadataKey
    | BooleanCustomMetadataKey
)
