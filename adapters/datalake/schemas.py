"""Descriptions of data and of objects of a bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """An object of a bucket that was derived from a data.

    Attributes
    ----------
    name : str
        Name of the derived file.
    object_name : str
        Name of the object.
    """

    name: str
    object_name: str
