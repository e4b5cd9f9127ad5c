"""Warns of names in the queries of a view that no frame of its versions has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ....engine.query.fields import is_metadata, leaves
from ....engine.query.tree import Exists, OneOf, Phrase, Query
from ....engine.validation import did_you_mean, shorten
from ....projections.tables.stats import LABEL
from ..api_helpers import warn_caller
from ..querying import UnknownNameWarning, find_positions
from ..reading import log_order
from .queries import HyperDatasetQuery

if TYPE_CHECKING:
    from .frames import Part

_LABEL = "rois.label"
_SAMPLE = 1000
"""So many frames of a version are read to find similar names."""


def warn_of_unknown_names(parts: Sequence[Part], queries: Sequence[HyperDatasetQuery]) -> None:
    """Warn of the fields of metadata and the labels in queries that no frame of the view's versions has, once for each."""
    named = dict.fromkeys(name for query in queries for name in _names(query.query))
    for field, label in named:
        wanted = OneOf(field, (label,)) if label else Exists(field)
        if not any(_has(part, wanted) for part in parts):
            warn_caller(_message(parts, field, label), UnknownNameWarning)


def _names(query: Query) -> Iterator[tuple[str, str]]:
    """Yield the fields of metadata in a query, and the field and text of labels."""
    for field, leaf in leaves(query):
        if is_metadata(field):
            yield field, ""
        if field == _LABEL and isinstance(leaf, Phrase | OneOf):
            values = (leaf.text,) if isinstance(leaf, Phrase) else leaf.values
            yield from ((field, value) for value in values if isinstance(value, str) and value)


def _has(part: Part, wanted: Query) -> bool:
    return next(find_positions(part.session, part.row, wanted), None) is not None


def _message(parts: Sequence[Part], field: str, label: str) -> str:
    if label:
        counted = [part.session.version_counts(part.row.version_id) for part in parts]
        known = {name for counts in counted for kind, name in counts if kind == LABEL}
        return f"no frame of the view's versions has the label {shorten(label)}{did_you_mean(label, known)}"
    known = {name for part in parts for name in _sampled(part)}
    return f"no frame of the view's versions has the field {shorten(field)}{did_you_mean(field, known)}"


def _sampled(part: Part) -> set[str]:
    """Return the fields of metadata of the first frames of a version."""
    positions = log_order(part.reader.state())[:_SAMPLE]
    wires = part.reader.at_positions(positions, ["meta", "sources.*.meta", "rois.*.meta"])
    return {path for wire in wires for path in _paths(wire, "")}


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, path)
    else:
        yield path
