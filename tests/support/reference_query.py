"""The meaning of queries over plain dicts in wire form, the oracle of the vectorised evaluation."""

from datetime import UTC, datetime
from functools import lru_cache

from framelode.engine.annotations.registry import annotation_from_dict
from framelode.engine.query import tree

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def leaves(value, path=""):
    """Yield the scalars of a wire form with their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    elif value is not None:
        yield path, value


SIDES = ("left", "top", "width", "height")


def wire_of(frame):
    """Return the wire form of a frame, with the bounding boxes of its annotations as queries see them."""
    wire = frame.to_dict()
    for roi, annotation in zip(wire.get("rois", ()), annotations_of(frame), strict=True):
        if roi["type"] in BOXED and roi.get("poly"):
            roi.update(zip(SIDES, annotation.get_bounding_box(), strict=True))
            roi["area"] = roi["width"] * roi["height"]
    return wire


def annotations_of(frame):
    return [annotation_from_dict(roi) for roi in frame.to_dict().get("rois", ())]


BOXED = {"box2d", "box3d", "ellipse2d"} | {
    f"{kind}{dimension}d" for kind in ("polygon", "keypoints", "complex_polygon") for dimension in (2, 3)
}


def values_of(wire, field):
    """Return the distinct values of a field, by type."""
    return {(kind(value), value) for path, value in leaves(wire) if path == field}


KINDS = [float, str, bool]


def rank(wire, field, descending):
    """Return the place of a frame in the order of a field among those that have values."""
    found = [(KINDS.index(of), value) for of, value in values_of(wire, field)]
    return (max if descending else min)(found)


def holds(query, wire):
    """Whether a query holds of a frame or an annotation in wire form."""
    match query:
        case tree.Everything() | tree.Nothing():
            return isinstance(query, tree.Everything)
        case tree.And():
            return all(holds(each, wire) for each in query.queries)
        case tree.Or():
            return any(holds(each, wire) for each in query.queries)
        case tree.Not():
            return not holds(query.query, wire)
        case tree.Annotations():
            found = sum(holds(query.where, roi) for roi in wire.get("rois", ()))
            return query.at_least <= found and (query.at_most is None or found <= query.at_most)
        case tree.Exists():
            return any(path == query.field or path.startswith(query.field + ".") for path, _ in leaves(wire))
    return any(fits(query, value) for path, value in leaves(wire) if path == query.field)


def fits(query, value):
    """Whether a comparison holds of one value."""
    match query:
        case tree.OneOf():
            return any(kind(value) == kind(each) and value == each for each in query.values)
        case tree.Phrase() if kind(value) is float:
            try:
                return (
                    "_" not in query.text
                    and query.text.strip() == query.text
                    and value == (int(query.text) if query.text.lstrip("+-").isdigit() else float(query.text))
                )
            except ValueError:
                return False
        case tree.Phrase():
            return (str(value).lower() if isinstance(value, bool) else value) == query.text
        case tree.Wildcard():
            return isinstance(value, str) and like(query.pattern, value)
        case tree.Range():
            bounds = [each for each in (query.lower, query.upper) if each is not None]
            if any(kind(value) != kind(each) for each in bounds):
                return False
            low = (
                query.lower is None or value > query.lower or (query.lower_included and value == query.lower)
            )
            high = (
                query.upper is None or value < query.upper or (query.upper_included and value == query.upper)
            )
            return low and high
        case tree.Period():
            at = moment(value) if isinstance(value, str) else None
            return at is not None and (query.since or at) <= at < (
                at + 1 if query.until is None else query.until
            )
    raise TypeError(query)


def kind(value):
    return str if isinstance(value, str) else bool if isinstance(value, bool) else float


def moment(text):
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def like(pattern, text):
    items, at = [], 0
    while at < len(pattern):
        is_escape = pattern[at] == "\\" and pattern[at + 1 : at + 2] in {"*", "?", "\\"}
        at += is_escape
        items.append((pattern[at], not is_escape and pattern[at] in "*?"))
        at += 1

    @lru_cache(None)
    def match(i, j):
        if i == len(items):
            return j == len(text)
        char, special = items[i]
        if special and char == "*":
            return match(i + 1, j) or (j < len(text) and match(i, j + 1))
        return j < len(text) and (special or text[j] == char) and match(i + 1, j + 1)

    return match(0, 0)
