"""Merges a frame of a data set into the frame of the draft. Changes made since the import are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ....engine.validation import how_many

Wire = dict[str, Any]

_STORED = ("uri", "hash", "size", "content_type")
"""Fields of a source that identify the file."""


class Merged(msgspec.Struct):
    """A merged frame in wire form.

    Attributes
    ----------
    is_kept : bool
        Whether the draft differs from the folder because it was changed since the import.
    notes : list of str
        Values of the folder that were not used for another reason.
    """

    wire: Wire
    is_kept: bool
    notes: list[str]


def merge_frame(
    imported: Wire, current: Wire, given: Wire, *, is_whole: bool, copy: bool, overwrite: bool
) -> Merged:
    """Merge a frame of the folder into the frame of the draft.

    Parameters
    ----------
    imported, current, given : dict
        The frame as last imported (empty if never), in the draft, and in the folder.
    is_whole : bool
        Whether all annotations of the frame could be read.
    copy : bool
        Whether the image is stored.
    overwrite : bool
        Whether the folder replaces changes made since the import.
    """
    notes: list[str] = []
    base, mine, theirs = map(_by_name, (imported, current, given))
    theirs["rois"] = theirs.get("rois", [])
    read = len(theirs["rois"])
    if not is_whole and not overwrite and read < len(mine.get("rois", ())):
        del theirs["rois"]
        if lost := max(0, len(base.get("rois", ())) - read):
            what = how_many(lost, "annotation")
            notes.append(f"{what} cannot be read from the folder any more: the frame keeps what it has")
    for name, source in theirs["sources"].items():
        held, before = mine["sources"].get(name, {}), base["sources"].get(name, {})
        if str(held.get("uri", "file:///")).startswith("file:///"):
            continue
        if copy and (overwrite or held.get("uri") == before.get("uri")):
            held.pop("hash", None)  # it is set when the file is stored
            continue
        if held.get("size") not in {None, source.get("size")}:
            notes.append(
                f"has {source.get('size')} bytes, the stored image {held['size']}: import it with copy to store it again"
            )
        for field in _STORED:
            source.pop(field, None)
    taken = merge_values(mine, mine, theirs)
    merged = taken if overwrite else merge_values(base, mine, theirs)
    return Merged(_as_wire(merged), merged != taken, notes)


def merge_values(base: Any, mine: Any, theirs: Any) -> Any:
    """Merge JSON-like values: use `theirs` if `mine` is unchanged since `base`; keep keys that `theirs` lacks."""
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return theirs if mine == base else mine
    before = base if isinstance(base, dict) else {}
    merged = dict(mine)
    for key, value in theirs.items():
        found = merge_values(before.get(key), mine.get(key), value)
        if found is not None:
            merged[key] = found
    return merged


def imported_wire(changes: Iterable[tuple[Wire | None, Wire | None]]) -> Wire:
    """Return the values of a frame that imports recorded, each from the last import that changed it.

    Parameters
    ----------
    changes : iterable of tuple
        The frame before and after each change by an import, oldest first.
    """
    known: Any = {}
    for before, after in changes:
        known = _take_changes(known, _by_name(before or {}), _by_name(after or {}))
    return _as_wire(known) if known else {}


def _take_changes(known: Any, before: Any, after: Any) -> Any:
    if not isinstance(after, dict):
        return known if before == after else after
    known, before = (each if isinstance(each, dict) else {} for each in (known, before))
    return {key: _take_changes(known.get(key), before.get(key), value) for key, value in after.items()}


def _by_name(wire: Wire) -> Wire:
    """Return a frame with its sources by name, without a context id that is the default."""
    sources = {source["id"]: dict(source) for source in wire.get("sources", ())}
    plain = {**wire, "sources": sources}
    first = next(iter(sources.values()), {})
    if plain.get("context_id") == first.get("uri"):
        plain.pop("context_id", None)
    return plain


def _as_wire(merged: Wire) -> Wire:
    return {**merged, "sources": list(merged["sources"].values())}
