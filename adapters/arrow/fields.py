"""Which column of a table is which field of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa

from ...engine.annotations.base import Annotation
from ...engine.errors import InvalidValueError
from ...engine.validation import did_you_mean, shorten

ID, CONTEXT, TIMESTAMP, FRAMES, GROUP, META, ROIS, SOURCES = WIRE_FIELDS = (
    "id",
    "context_id",
    "timestamp",
    "num_frames",
    "group",
    "meta",
    "rois",
    "sources",
)
"""The fields of the wire form, and whether it is that of a group."""

SOURCE = "sources.0."
"""What the fields of the first source begin with."""

KEY = "meta."
"""What one key of the metadata begins with."""

SOURCE_FIELDS = (
    "id",
    "uri",
    "content_type",
    "width",
    "height",
    "timestamp",
    "size",
    "hash",
    "masks",
    "preview",
    "meta",
)

ROI_FIELDS = ("type", "labels", *Annotation.__struct_encode_fields__)

_ALIASES = {
    "source": SOURCE + "uri",
    "metadata": META,
    "annotations": ROIS,
    **{name: SOURCE + name for name in ("uri", "content_type", "width", "height", "size", "hash")},
}
"""Names of `SingleFrame` for fields of the wire form."""

_READ_ONLY = frozenset({"dataset", "saved", "saved_in_version", "updated", "updated_in_version"})

_ALLOWED = (
    f"{', '.join(WIRE_FIELDS)}, {KEY}NAME, {SOURCE}NAME, source, width, height, size, hash, content_type, "
    f"or None to leave it out"
)


class Plan(msgspec.Struct, frozen=True):
    """Where the fields of frames are in a table.

    Attributes
    ----------
    columns : dict of str to str
        Name of the column by field of a frame.
    renamed : dict of str to str
        Field of an annotation by name in the column of annotations, where these differ.
    """

    columns: dict[str, str]
    renamed: dict[str, str]

    def flat_source(self) -> list[str]:
        """Return the fields of the first source that have a column of their own."""
        return [field.removeprefix(SOURCE) for field in self.columns if field.startswith(SOURCE)]

    def keys(self) -> list[str]:
        """Return the keys of the metadata that have a column of their own."""
        return [field.removeprefix(KEY) for field in self.columns if field.startswith(KEY)]


def plan_of(schema: pa.Schema, columns: Mapping[str, str | None] | None) -> Plan:
    """Return where the fields of frames are in a table.

    Parameters
    ----------
    schema : pyarrow.Schema
        The columns.
    columns : mapping of str to str or None, optional
        Field of a frame by column; None leaves a column out. Other columns are fields of their own names.

    Raises
    ------
    InvalidValueError
        A column is no field, or two are the same one.
    """
    given = _checked(columns)
    known = set(schema.names)
    for column in given:
        first, _, inner = column.partition(".")
        if column not in known and not (inner and first in known):
            hint = did_you_mean(column, known)
            raise InvalidValueError(
                f"columns names {shorten(column)}, but the table has {_listed(schema.names)}{hint}"
            )
    found: dict[str, str] = {}
    for column in schema.names:
        field = given.get(column, column)
        if field is None or (column not in given and field in _READ_ONLY):
            continue
        field = _ALIASES.get(field, field)
        if not _is_field(field):
            raise InvalidValueError(
                f"column {shorten(column)} is no field of a frame: map it with columns={{{column!r}: ...}} to one of "
                f"{_ALLOWED}"
            )
        if field in found:
            raise InvalidValueError(
                f"columns {shorten(found[field])} and {shorten(column)} are both {field}: leave one out with "
                f"columns={{{column!r}: None}}"
            )
        found[field] = column
    _refuse_mixed(found)
    return Plan(found, _renamed(given, known, found))


def _checked(columns: Mapping[str, str | None] | None) -> dict[str, str | None]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise InvalidValueError(f"columns must be a dict of fields by column, not {shorten(columns)}")
    for column, field in columns.items():
        if not isinstance(column, str) or not (field is None or isinstance(field, str)):
            raise InvalidValueError(
                f"columns must map names of columns to fields or None, not {shorten(column)} to {shorten(field)}"
            )
    return dict(columns)


def _is_field(field: str) -> bool:
    if field.startswith(SOURCE):
        return field.removeprefix(SOURCE) in SOURCE_FIELDS[1:]
    return field in WIRE_FIELDS or (field.startswith(KEY) and field != KEY)


def _refuse_mixed(found: dict[str, str]) -> None:
    for whole, part in ((META, KEY), (SOURCES, SOURCE)):
        parts = [column for field, column in found.items() if field.startswith(part)]
        if whole in found and parts:
            raise InvalidValueError(
                f"column {shorten(found[whole])} is all of {whole}, and column {shorten(parts[0])} is a part of it: "
                f"leave one out with columns={{{parts[0]!r}: None}}"
            )


def _renamed(given: Mapping[str, str | None], known: set[str], found: Mapping[str, str]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for column, field in given.items():
        first, _, inner = column.partition(".")
        if column in known:
            continue
        target, _, name = (field or "").partition(".")
        if target != ROIS or name not in ROI_FIELDS or found.get(ROIS) != first:
            raise InvalidValueError(
                f"columns maps {shorten(column)} to {shorten(field)}: map {shorten(first)} to {ROIS}, and what it holds to "
                f"one of {', '.join(f'{ROIS}.{each}' for each in ROI_FIELDS)}"
            )
        renamed[inner] = name
    return renamed


def _listed(names: Any) -> str:
    shown = [shorten(name) for name in names[:20]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") or "no columns"
