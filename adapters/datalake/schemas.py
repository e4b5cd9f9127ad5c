"""Descriptions of objects of a bucket, for imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class CloudObject(msgspec.Struct, frozen=True):
    """What the data of a bucket object gets.

    Attributes
    ----------
    tags : sequence of str
        Names of tags, created if they do not exist.
    source : str or None
        Name of the source, created if it does not exist.
    metadata, custom_metadata : mapping
        Values by key.
    """

    tags: Sequence[str] = ()
    source: str | None = None
    metadata: Mapping[str, Any] = {}
    custom_metadata: Mapping[str, Any] = {}
