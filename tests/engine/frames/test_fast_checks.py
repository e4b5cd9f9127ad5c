"""The fast checks of constructors give what the careful ones give, content and message alike."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelode import BoundingBox2D, SingleFrame
from framelode.engine import canonical
from framelode.engine.annotations import types
from framelode.engine.errors import InvalidValueError
from framelode.engine.frames import content_types, source
from framelode.engine.frames.record import encode_record


class PlainString(str):
    """A string that is not exactly a `str`."""

    __slots__ = ()


numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from(
        [0, -0.0, 1e308, 10**400, -1, True, None, "1", math.nan, math.inf, np.float32(2), np.int8(-1)]
    ),
)
texts = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["car", "\ud800", "é", "", PlainString("car"), np.str_("a"), 7, None]),
)
leaves = st.one_of(
    numbers,
    texts,
    st.integers(2**63 - 2, 2**64 + 1),
    st.lists(st.integers(), max_size=2),
    st.binary(max_size=2),
)
sources = st.one_of(
    texts,
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                [
                    "s3",
                    "http",
                    "file",
                    "FILE",
                    "data",
                    "x",
                    ":",
                    "//",
                    "/",
                    "b",
                    "a.jpg",
                    ".PNG",
                    "?",
                    "#",
                    "@",
                    "user:pw",
                    "X-Amz-Signature=1",
                    "é",
                    "~",
                    "..",
                    "%20",
                    "image/png;",
                ]
            ),
            min_size=1,
            max_size=7,
        ),
    ),
)


def outcome(make):
    try:
        made = make()
    except (InvalidValueError, TypeError) as error:
        return type(error), str(error)
    frame = made if isinstance(made, SingleFrame) else SingleFrame(id="x", annotations=[made])
    return encode_record(frame), frame.id


def same_both_ways(make):
    fast = outcome(make)
    never = re.compile(r"(?!)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(types, "plain_box", lambda *_: None)
        patch.setattr(canonical, "_copy_flat", lambda _: None)
        patch.setattr(source, "_PLAIN_URI", never)
        assert outcome(make) == fast


@given(
    st.tuples(numbers, numbers, numbers, numbers), st.lists(numbers, max_size=1), st.lists(texts, max_size=3)
)
def test_boxes(numbers, angle, labels):
    same_both_ways(lambda: BoundingBox2D(*numbers, *angle, labels=labels))


@given(
    st.dictionaries(
        st.one_of(st.text(max_size=3), st.sampled_from(["a", "\ud800", PlainString("b"), 1])),
        leaves,
        max_size=4,
    )
)
def test_metadata(metadata):
    same_both_ways(lambda: SingleFrame(id="x", metadata=metadata))


@given(sources, numbers, numbers)
def test_sources(uri, width, timestamp):
    same_both_ways(lambda: SingleFrame(id="x", source=uri, width=width, timestamp=timestamp))


@given(st.lists(texts, max_size=3))
def test_labels(labels):
    listed = outcome(lambda: BoundingBox2D(1, 2, 3, 4, labels=labels))
    assert outcome(lambda: BoundingBox2D(1, 2, 3, 4, labels=tuple(labels))) == listed


@given(sources)
def test_content_types(uri):
    if isinstance(uri, str):
        found = content_types.content_type_of(uri)
        plain = uri.partition("#")[0].partition("?")[0]
        _, dot, suffix = plain.rpartition("/")[2].rpartition(".")
        if not uri.startswith("data:"):
            assert found == (content_types._CONTENT_TYPES.get(suffix.lower()) if dot else None)
