"""The fast checks of constructors give what the careful ones give, content and message alike."""

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelode import BoundingBox2D, SingleFrame
from framelode.engine import canonical
from framelode.engine.annotations import types
from framelode.engine.errors import InvalidValueError
from framelode.engine.frames import content_types, source
from framelode.engine.frames.frame_group import frame_from_dict
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.wire_batch import read_plain
from framelode.engine.writes import encoder
from framelode.engine.writes.encoder import WireEncoder


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


def _optional(**values):
    return st.fixed_dictionaries({}, optional=values)


many_numbers = st.lists(st.floats(-1e9, 1e9) | numbers, min_size=3, max_size=6) | st.just([1, 2.5, 3, 4])
rois = _optional(
    type=st.sampled_from(
        ["box2d", "box2d", "polygon2d", "keypoints3d", "ellipse2d", "image", "mask", "own", 7]
    ),
    label=st.lists(texts, max_size=2) | texts,
    poly=many_numbers,
    confidence=numbers | st.floats(0, 1),
    id=texts,
    meta=st.dictionaries(st.sampled_from(["a", "b"]), leaves, max_size=2),
    sources=st.just(["default"]),
    odd=st.just(1),
)
some_sources = _optional(
    id=st.sampled_from(["default", "left", None, str(b"default", "ascii")]),
    uri=sources,
    width=numbers,
    timestamp=st.sampled_from([0, 5, None, 2**63, -1]),
    content_type=texts,
    masks=st.just([{"id": "00", "uri": "s3://b/m.png"}]),
    meta=st.dictionaries(st.sampled_from(["a", "b"]), leaves, max_size=2),
)
good = st.just(
    {"sources": [{"uri": "s3://b/a.jpg", "width": 4}], "rois": [{"type": "box2d", "poly": [1, 2, 3, 4]}]}
)
wires = good | _optional(
    id=texts | st.uuids(),
    context_id=sources,
    timestamp=st.sampled_from([0, 5, None]),
    sources=st.lists(some_sources, max_size=2),
    rois=st.lists(rois, max_size=2),
    meta=st.dictionaries(st.sampled_from(["a", "b"]), leaves, max_size=2) | st.none(),
    num_frames=numbers,
    saved=st.just(1),
    odd=st.just(1),
)


odd_values = st.sampled_from(
    [
        None,
        True,
        0,
        -0.0,
        1,
        0.5,
        1.5,
        2**70,
        float("nan"),
        float("inf"),
        "",
        "car",
        "\udcff",
        "é",
        b"x",
        [],
        {},
        (),
    ]
)
odd_wires = st.dictionaries(
    st.sampled_from(["type", "label", "poly", "confidence", "id", "meta", "sources", "mask", "other"]),
    odd_values
    | st.lists(odd_values, max_size=5)
    | st.lists(st.floats(), min_size=4, max_size=4)
    | st.lists(st.text(max_size=3), max_size=2).map(tuple)
    | st.sampled_from(
        ["box2d", "polygon2d", "complex_polygon2d", "ellipse2d", "mask", "image", "acme.unknown"]
    ),
    max_size=5,
)
plain_wires = st.fixed_dictionaries(
    {"type": st.sampled_from(["box2d", "polygon3d", "keypoints2d", "complex_polygon2d", "image", "mask"])},
    optional={
        "label": st.lists(st.text(max_size=3), max_size=2),
        "poly": st.lists(st.floats() | st.integers(-2, 2), max_size=10),
        "confidence": st.none() | st.floats() | st.integers(0, 1),
    },
)


def encoded(given):
    given_at_once = WireEncoder(lambda: "new")
    yielded = WireEncoder(lambda: "new")
    found = [given_at_once.encode(given), yielded.encode([yielded.take(each) for each in given])]
    return [
        (some.ids, some.payloads, some.digests, sorted(refusal.error for refusal in refusals))
        for some, refusals in found
    ]


@given(
    st.lists(
        wires | st.fixed_dictionaries({"rois": st.lists(odd_wires | plain_wires, max_size=3) | odd_values}),
        max_size=40,
    )
)
@example([{"rois": [{"type": "box2d", "poly": [1, 2, 3, 4, 0]}, {"type": "box2d", "poly": [-0.0, 2, 3, 4]}]}])
@example([{"rois": [{"type": "image", "label": ["car"], "confidence": -0.0}]}])
@example([{"rois": [{"type": "box2d", "poly": [1, 2, -3, 4]}]}])
@example([{"rois": [{"type": "mask", "label": ["car"]}]}])
@example([{"rois": [{"type": "\ud800"}]}, {"id": "\ud800"}])
@example([{"rois": ["type", "label"]}, 7, {"rois": None}, {"sources": []}])
def test_wire_form(given):
    fast = encoded(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "read_plain", lambda _: None)
        assert encoded(given) == fast


def test_plain_frames_in_wire_form_are_read_together():
    given = [
        {
            "id": f"{number}",
            "context_id": "video",
            "timestamp": 40,
            "sources": [{"id": "default", "uri": f"/data/{number}.jpg", "timestamp": 40, "hash": "md5:0"}],
            "rois": [
                {"type": "box2d", "label": ["car"], "poly": [1, 2, 3, 4.5], "confidence": 1, "id": "a"},
                {"type": "polygon2d", "poly": [1, 2, 3, 4], "meta": {"a": [1, {"b": None}]}},
                {"type": "image", "label": ["é"]},
            ],
            "meta": {"a": 1.5, "b": [True]},
        }
        for number in range(3)
    ]
    assert len(read_plain(given)) == 3


def test_one_odd_frame_does_not_slow_the_others(monkeypatch):
    given = [{"id": f"{number}", "meta": {"number": number}} for number in range(500)]
    given[321]["meta"] = {"number": np.int64(321)}
    careful = []
    monkeypatch.setattr(
        encoder, "frame_from_dict", lambda wire: careful.append(wire) or frame_from_dict(wire)
    )
    found, refusals = WireEncoder(lambda: "new").encode(given)
    assert (len(found), refusals) == (500, [])
    assert len(careful) <= 16
