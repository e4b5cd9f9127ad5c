"""Strategies of any frames: every type of annotation, sources, masks, previews, groups, and metadata."""

from __future__ import annotations

from hypothesis import strategies as st

from framelode.engine.annotations.registry import UnknownAnnotation
from framelode.engine.annotations.types import (
    BoundingBox2D,
    BoundingBox3D,
    ComplexPolygon2D,
    ComplexPolygon3D,
    Ellipse2D,
    ImageAnnotation,
    KeyPoints2D,
    KeyPoints3D,
    Mask,
    Polygon2D,
    Polygon3D,
)
from framelode.engine.frames.frame_group import FrameGroup
from framelode.engine.frames.single_frame import SingleFrame

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
sizes = st.floats(0, 1e6) | st.integers(0, 10**6)
counts = st.none() | st.integers(0, 2**63 - 1)
integers = st.integers(-(2**63), 2**64 - 1)
leaves = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | text
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(text, json_values, max_size=3)
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
uris = paths.map("/d/".__add__) | st.builds("{}://b/{}".format, st.sampled_from(["s3", "gs", "memory"]), text)
common = st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | names,
        "labels": st.lists(text, max_size=3),
        "confidence": st.none() | st.floats(0, 1),
        "metadata": objects,
    },
)


def points(dimensions):
    return st.lists(st.tuples(*[numbers] * dimensions), min_size=1, max_size=4)


def built(cls, *arguments):
    return st.builds(lambda values, kw: cls(*values, **kw), st.tuples(*arguments), common)


annotations = st.one_of(
    built(BoundingBox2D, numbers, numbers, sizes, sizes, numbers),
    built(BoundingBox3D, st.tuples(*([numbers] * 3 + [sizes] * 2) * 2)),
    built(Polygon2D, points(2)),
    built(Polygon3D, points(3)),
    built(ComplexPolygon2D, st.lists(points(2), min_size=1, max_size=3)),
    built(ComplexPolygon3D, st.lists(points(3), min_size=1, max_size=3)),
    built(Ellipse2D, numbers, numbers, sizes, sizes, numbers),
    built(KeyPoints2D, points(2)),
    built(KeyPoints3D, points(3)),
    built(Mask, st.tuples(*[st.integers(0, 255)] * 3), st.none() | names),
    built(ImageAnnotation),
    built(UnknownAnnotation, names.map("acme.".__add__), st.lists(numbers, max_size=3)),
)
members = st.builds(
    SingleFrame,
    source=st.none() | uris,
    width=counts,
    height=counts,
    timestamp=st.none() | st.integers(-(2**63), 2**63 - 1),
    size=counts,
    hash=st.none() | names,
    preview_uri=st.none() | uris,
    preview_uri_timestamp=st.none() | st.integers(-(2**63), 2**63 - 1),
    metadata=objects,
    annotations=st.lists(annotations, max_size=3),
    mask_source=st.none() | uris | st.lists(uris, max_size=2) | st.dictionaries(names, uris, max_size=2),
)


@st.composite
def singles(draw):
    frame = draw(members)
    frame.id = draw(st.none() | names)
    frame.context_id = draw(st.none() | names)
    return frame


@st.composite
def groups(draw):
    frames = draw(st.dictionaries(names | st.just("default"), members, min_size=1, max_size=3))
    metadata = {key: value for key, value in draw(objects).items() if key not in frames}
    group = FrameGroup(draw(st.none() | names), metadata, frames, context_id=draw(st.none() | names))
    group.global_annotations.extend(draw(st.lists(annotations, max_size=2)))
    return group


frames = singles() | groups()
