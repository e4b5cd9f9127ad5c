"""The fields that queries may ask for, and the checks of a whole query."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..decoding import LARGEST_INTEGER
from ..errors import InvalidQueryError
from ..validation import did_you_mean, shorten
from .tree import (
    And,
    Annotations,
    Everything,
    Exists,
    Not,
    Nothing,
    OneOf,
    Or,
    Period,
    Phrase,
    Query,
    Range,
    Wildcard,
)

MAX_LEVELS = 100
MAX_NODES = 20_000
MAX_CHARACTERS = 1_000_000
MAX_PATTERN = 1_000

ROIS = "rois"
"""The field that has the annotations of a frame."""

_META = "meta.<path>"
_FILE_FIELDS = ("id", "uri", "content_type", "timestamp")

BOX_FIELDS = ("left", "top", "width", "height", "area")
"""The fields of the bounding box of an annotation, in pixels, as `get_bounding_box` of the built-in types returns it."""

ANNOTATION_FIELDS = ("id", "type", "label", "confidence", *BOX_FIELDS, "sources", "mask.id", _META)
"""The fields of one annotation."""

FRAME_FIELDS = (
    *("id", "context_id", "timestamp", "num_frames", _META),
    *(f"sources.{name}" for name in (*_FILE_FIELDS, "width", "height", "size", "hash", _META)),
    *(f"sources.masks.{name}" for name in _FILE_FIELDS),
    *(f"sources.preview.{name}" for name in _FILE_FIELDS[1:]),
    *(f"rois.{name}" for name in ANNOTATION_FIELDS),
)
"""The fields of a frame. Below `meta` any path is a field."""


def unknown_field(field: str, *, of_annotation: bool = False, inner: bool = False) -> str | None:
    """Return what is wrong with the name of a field: what is allowed, and the nearest name; None if it is known.

    Parameters
    ----------
    field : str
        Its path, joined by dots.
    of_annotation : bool
        It is a field of one annotation.
    inner : bool
        It may be one that only has fields below it.
    """
    known = ANNOTATION_FIELDS if of_annotation else FRAME_FIELDS
    head, meta, path = f".{field}".partition(".meta.")
    if meta and path and f"{head}.{_META}".lstrip(".") in known:
        return None
    if field in known or (inner and any(name.startswith(f"{field}.") for name in known)):
        return None
    path = field.rpartition(".")[2]
    near = did_you_mean(field, [name.replace("<path>", path or "<path>") for name in known])
    group = field.partition(".")[0]
    below = [name for name in known if name.startswith(f"{group}.") and group != "meta"]
    short = dict.fromkeys(name if name == _META else _shortened(name) for name in known)
    return f"expected one of {', '.join(below or short)}{near}"


def _shortened(name: str) -> str:
    head, dot, _ = name.partition(".")
    return f"{head}.<field>" if dot else name


def check_field(field: Any, *, of_annotation: bool = False, inner: bool = False) -> str:
    """Return the name of a field of a frame, or of an annotation; see `unknown_field`.

    Raises
    ------
    InvalidQueryError
        There is no such field.
    """
    wrong = unknown_field(str(field), of_annotation=of_annotation, inner=inner)
    if wrong is not None or not isinstance(field, str):
        what = "an annotation" if of_annotation else "a frame"
        raise InvalidQueryError(f"{shorten(field)} is no field of {what}: {wrong}")
    return field


def leaves(query: Query) -> Iterator[tuple[str, Any]]:
    """Yield the comparisons of a query and its `Annotations`, in order, each with the field of a frame that it looks at."""
    waiting: list[tuple[Any, str]] = [(query, "")]
    while waiting:
        node, prefix = waiting.pop()
        match node:
            case And(queries) | Or(queries):
                waiting += ((each, prefix) for each in reversed(queries))
            case Not(inner):
                waiting.append((inner, prefix))
            case Annotations():
                yield ROIS, node
                waiting.append((node.where, f"{ROIS}."))
            case Everything() | Nothing():
                pass
            case _:
                yield prefix + node.field, node


def is_metadata(field: str) -> bool:
    """Whether a field of a frame is metadata, of the frame itself, a source or an annotation."""
    return ".meta." in f".{field}"


def check_query(query: Any) -> Query:
    """Return a query whose fields, values and size are allowed.

    Raises
    ------
    InvalidQueryError
        It is no query, has an unknown field or a value that no frame can have, or is too large.
    """
    waiting: list[tuple[Any, int, bool]] = [(query, 1, False)]
    nodes = characters = 0
    while waiting:
        node, level, in_annotation = waiting.pop()
        nodes += 1
        match node:
            case And(queries) | Or(queries):
                waiting += ((each, level + 1, in_annotation) for each in queries)
            case Not(inner):
                waiting.append((inner, level + 1, in_annotation))
            case Annotations() if not in_annotation:
                _check_counts(node)
                waiting.append((node.where, level + 1, True))
            case Annotations():
                raise InvalidQueryError("an annotation has no annotations: Roi(...) cannot be inside another")
            case Everything() | Nothing():
                pass
            case _:
                nodes += len(node.values) if isinstance(node, OneOf) else 0
                characters += _check_comparison(node, of_annotation=in_annotation)
        _check_size(level, MAX_LEVELS, "levels")
        _check_size(nodes + len(waiting), MAX_NODES, "comparisons and values")
        _check_size(characters, MAX_CHARACTERS, "characters")
    return query


def _check_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise InvalidQueryError(f"the query has too many {what}: at most {most:,} are allowed")


def _check_counts(node: Annotations) -> None:
    for name, value in (("at_least", node.at_least), ("at_most", node.at_most)):
        optional = value is None and name == "at_most"
        if not optional and (type(value) is not int or not 0 <= value <= LARGEST_INTEGER):
            raise InvalidQueryError(f"{name} must be an integer from 0, not {shorten(value)}")


def _check_comparison(node: Any, *, of_annotation: bool) -> int:
    """Check a comparison. Returns the number of its characters."""
    if not isinstance(node, Query) or not isinstance(getattr(node, "field", None), str):
        example = "F.meta.camera == 'cam1' or the text 'meta.camera:cam1'"
        raise InvalidQueryError(f"a query is an expression such as {example}, not {shorten(node)}")
    field: str = node.field  # pyright: ignore[reportAttributeAccessIssue]
    check_field(field, of_annotation=of_annotation, inner=isinstance(node, Exists))
    return sum(len(_check_value(value)) for value in (field, *_values(node)))


def _values(node: Query) -> tuple[Any, ...]:
    match node:
        case OneOf():
            return node.values
        case Range():
            bounds = tuple(each for each in (node.lower, node.upper) if each is not None)
            if (
                any(isinstance(each, bool) for each in bounds)
                or len({isinstance(b, str) for b in bounds}) > 1
            ):
                raise InvalidQueryError(
                    f"the bounds of {shorten(node.field)} must be two numbers or two texts, "
                    f"not {shorten(node.lower)} and {shorten(node.upper)}"
                )
            return bounds
        case Period():
            return tuple(each for each in (node.since, node.until) if each is not None)
        case Phrase():
            return (_checked_text(node.text, "a phrase"),)
        case Exists():
            return ()
        case Wildcard():
            _check_size(len(_checked_text(node.pattern, "a pattern")), MAX_PATTERN, "characters in a pattern")
            return (node.pattern,)
        case _:
            raise TypeError(node)


def _checked_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidQueryError(f"{what} must be a text, not {shorten(value)}")
    return value


def _check_value(value: Any) -> str:
    """Return a value of a query as text, or an empty one for anything else."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            found = value[error.start]
            raise InvalidQueryError(
                f"{shorten(value)} has the lone surrogate {found!a}, which no text has"
            ) from None
        return value
    if isinstance(value, int) and -LARGEST_INTEGER - 1 <= value <= 2 * LARGEST_INTEGER + 1:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return ""
    allowed = "a text, a boolean, a finite number or an integer of 64 bits"
    raise InvalidQueryError(f"a value in a query must be {allowed}, not {shorten(value)}")
