"""The columns that frames become: the fields of the wire form, typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pyarrow as pa

from ...engine.errors import InvalidValueError
from ...engine.validation import did_you_mean, is_series, shorten
from .fields import GROUP, SOURCE

JSON = pa.string()
"""Metadata is text of JSON, which keeps every value exactly."""

_WHOLE = pa.int64()

_TEXT = pa.string()

PREVIEW = pa.struct({"uri": _TEXT, "content_type": _TEXT, "timestamp": _WHOLE})  # type: ignore[arg-type]

MASKS = pa.list_(
    pa.struct({"id": _TEXT, "uri": _TEXT, "content_type": _TEXT, "timestamp": _WHOLE})  # type: ignore[arg-type]
)

SOURCE_TYPES: dict[str, pa.DataType] = {
    "id": _TEXT,
    "uri": _TEXT,
    "content_type": _TEXT,
    "width": _WHOLE,
    "height": _WHOLE,
    "timestamp": _WHOLE,
    "size": _WHOLE,
    "hash": _TEXT,
    "masks": MASKS,
    "preview": PREVIEW,
    "meta": JSON,
}

ROI_TYPES: dict[str, pa.DataType] = {
    "type": _TEXT,
    "id": _TEXT,
    "label": pa.list_(_TEXT),
    "poly": pa.list_(pa.float64()),
    "confidence": pa.float64(),
    "mask": pa.struct({"id": _TEXT, "value": pa.list_(_WHOLE)}),  # type: ignore[arg-type]
    "sources": pa.list_(_TEXT),
    "meta": JSON,
}

ROI = pa.struct(ROI_TYPES)  # type: ignore[arg-type]

ONE_SOURCE = pa.struct(SOURCE_TYPES)  # type: ignore[arg-type]

TYPES: dict[str, pa.DataType] = {
    "id": _TEXT,
    "context_id": _TEXT,
    "timestamp": _WHOLE,
    "num_frames": _WHOLE,
    GROUP: pa.bool_(),
    "sources": pa.list_(ONE_SOURCE),
    "rois": pa.list_(ROI),
    "meta": JSON,
    **{SOURCE + name: kind for name, kind in SOURCE_TYPES.items()},
}
"""The columns by name; those of the first source are not among the columns by default."""

DEFAULT = tuple(name for name in TYPES if not name.startswith(SOURCE))


class Columns(msgspec.Struct, frozen=True):
    """The columns that a reader asks for.

    Attributes
    ----------
    names : tuple of str
        Some of `TYPES`.
    source, roi : tuple of str
        The fields of each source and annotation in the columns ``sources`` and ``rois``.
    """

    names: tuple[str, ...] = DEFAULT
    source: tuple[str, ...] = tuple(SOURCE_TYPES)
    roi: tuple[str, ...] = tuple(ROI_TYPES)

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        items = {"sources": self.source_type, "rois": self.roi_type}
        return pa.schema(
            [(name, pa.list_(items[name]) if name in items else TYPES[name]) for name in self.names]
        )

    @property
    def source_type(self) -> pa.StructType:
        """The type of a source."""
        return pa.struct([(name, SOURCE_TYPES[name]) for name in self.source])

    @property
    def roi_type(self) -> pa.StructType:
        """The type of an annotation."""
        return pa.struct([(name, ROI_TYPES[name]) for name in self.roi])


def check_columns(columns: Iterable[str] | None) -> Columns:
    """Return the columns of a call; all by default.

    Raises
    ------
    InvalidValueError
        It is no list of names, a name is unknown, or it comes twice.
    """
    if columns is None:
        return Columns()
    if not is_series(columns):
        raise InvalidValueError(f"columns must be a list of names, not {shorten(columns)}")
    names: Sequence[str] = tuple(columns)
    for name in names:
        if name not in TYPES:
            hint = did_you_mean(str(name), TYPES)
            raise InvalidValueError(
                f"{shorten(name)} is no column of frames: these are {', '.join(DEFAULT)}, {SOURCE}NAME{hint}"
            )
        if names.count(name) > 1:
            raise InvalidValueError(f"columns has {shorten(name)} twice")
    return Columns(tuple(names))
