"""Projections of frames: selects the requested fields of the wire form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...engine.errors import InvalidValueError
from ...engine.validation import is_series, shorten

_ANY = object()
"""Schema of free-form values, such as metadata: any path is valid below it."""

_LEAF: dict[str, Any] = {}
_ROI: dict[str, Any] = {
    "id": _LEAF,
    "type": _LEAF,
    "label": [_LEAF],
    "label_num": _LEAF,
    "poly": [_LEAF],
    "confidence": _LEAF,
    "meta": _ANY,
    "sources": [_LEAF],
    "mask": {"id": _LEAF, "value": [_LEAF]},
}
_SOURCE: dict[str, Any] = {
    "id": _LEAF,
    "uri": _LEAF,
    "content_type": _LEAF,
    "width": _LEAF,
    "height": _LEAF,
    "timestamp": _LEAF,
    "size": _LEAF,
    "hash": _LEAF,
    "masks": [{"id": _LEAF, "uri": _LEAF, "content_type": _LEAF, "timestamp": _LEAF}],
    "preview": {"uri": _LEAF, "content_type": _LEAF, "timestamp": _LEAF},
    "meta": _ANY,
}
_FRAME: dict[str, Any] = {
    "id": _LEAF,
    "context_id": _LEAF,
    "timestamp": _LEAF,
    "sources": [_SOURCE],
    "rois": [_ROI],
    "meta": _ANY,
    "num_frames": _LEAF,
    "dataset": {"id": _LEAF, "version": _LEAF},
    "saved": _LEAF,
    "saved_in_version": _LEAF,
    "updated": _LEAF,
    "updated_in_version": _LEAF,
}

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_ABSENT = object()
_Tree = dict[str, Any]


class FieldPaths:
    """A set of dot paths to select from frames in wire form.

    An integer is an array index; ``*`` selects every element. The result keeps the nesting and omits absent fields. A
    path includes everything below it.

    Raises
    ------
    InvalidValueError
        A path is not a string, is empty, or cannot exist in any frame.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        is_list = is_series(paths)
        listed = list(paths) if is_list else []
        if not is_list or not all(isinstance(path, str) for path in listed):
            raise InvalidValueError(
                f"projection must be a list of dot paths such as ['id', 'sources.0.uri'], not {shorten(paths)}"
            )
        self._tree: _Tree = {}
        for path in listed:
            parts = path.split(".")
            _check(parts, path)
            _insert(self._tree, parts)

        self.fields = frozenset(self._tree)
        """The top-level fields of which any part is selected."""
        self._takes_whole_fields = not any(self._tree.values())

    def apply(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return the selected parts of a frame in wire form."""
        if self._takes_whole_fields:
            return {field: frame[field] for field in self._tree if field in frame}
        projected = _project(frame, self._tree)
        return {} if projected is _ABSENT else projected


def _check(parts: list[str], path: str) -> None:
    schema: Any = _FRAME
    for part in parts:
        if schema is _ANY:
            return
        if isinstance(schema, list) and (part == "*" or _INDEX.fullmatch(part)):
            schema = schema[0]
        elif isinstance(schema, dict) and part in schema:
            schema = schema[part]
        else:
            known = (
                "a number or *"
                if isinstance(schema, list)
                else ", ".join(schema) or "nothing, because it has no fields"
            )
            raise InvalidValueError(
                f"no frame can have {shorten(path)}: in place of {shorten(part)}, valid names are {known}"
            )


def _insert(tree: _Tree, parts: list[str]) -> None:
    """Add a path. An empty subtree selects everything below it."""
    for place, part in enumerate(parts):
        is_last = place == len(parts) - 1
        if part in tree and not tree[part]:
            return
        if is_last:
            tree[part] = {}
            return
        tree = tree.setdefault(part, {})


def _project(value: Any, tree: _Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return _project_list(value, tree)
    if not isinstance(value, dict):
        return _ABSENT
    projected: dict[str, Any] = {}
    for key, subtree in tree.items():
        if key in value:
            part = _project(value[key], subtree) if subtree else value[key]
            if part is not _ABSENT:
                projected[key] = part
    return projected or _ABSENT


def _project_list(values: list[Any], tree: _Tree) -> Any:
    projected: list[Any] = []
    for index, value in enumerate(values):
        subtrees = [tree[key] for key in ("*", str(index)) if key in tree]
        if not subtrees:
            continue
        part = value if not all(subtrees) else _project(value, _union(subtrees))
        if part is not _ABSENT:
            projected.append(part)
    return projected or _ABSENT


def _union(trees: list[_Tree]) -> _Tree:
    if len(trees) == 1:
        return trees[0]
    merged: _Tree = {}
    for key in trees[0] | trees[1]:
        found = [tree[key] for tree in trees if key in tree]
        merged[key] = {} if not all(found) else _union(found)
    return merged
