"""Properties that hold for every frame: nothing is lost, and one content has one payload."""

import contextlib
import json
import math
import pickle

import msgspec
import numpy as np
import pytest
from any_frames import annotations, frames, json_values, members, numbers, objects, text
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode.engine.annotations.types import ImageAnnotation, KeyPoints2D, Polygon2D
from framelode.engine.errors import IntegrityError, InvalidValueError
from framelode.engine.frames.frame_group import FrameGroup, wrap
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.single_frame import SingleFrame, decode_record, screen
from framelode.engine.frames.wire_records import wires_of

few = examples(25, 80)


def record_of(frame):
    return frame.record() if isinstance(frame, FrameGroup) else frame


@few
@given(frames)
def test_stored_form_is_lossless_and_canonical(frame):
    payload = encode_record(record_of(frame))
    record = decode_record(payload)
    assert encode_record(record) == payload
    assert record.to_wire(frame.id) == frame.to_dict()
    read = wrap(record)
    read.id = frame.id
    assert read == frame
    assert encode_record(record_of(read)) == payload


@few
@given(st.lists(frames, max_size=4))
def test_many_wire_forms_are_those_of_each(some):
    payloads = [encode_record(record_of(frame)) for frame in some]
    ids = [f"frame {place}" for place in range(len(some))]
    each = [decode_record(payload).to_wire(frame_id) for payload, frame_id in zip(payloads, ids, strict=True)]
    # As text, because the order of the fields counts, too.
    assert json.dumps(wires_of(ids, payloads)) == json.dumps(each)


@few
@given(frames)
def test_wire_form_is_lossless(frame):
    wire = frame.to_dict()
    # The wire form does not tell a group of a sole `default` from a single frame.
    read = type(frame).from_dict(json.loads(json.dumps(wire)))
    assert type(read) is type(frame)
    assert read == frame
    assert read.to_dict() == wire
    assert encode_record(record_of(read)) == encode_record(record_of(frame))
    assert read.derive_id() == frame.derive_id()


@few
@given(frames)
def test_copies_are_equal(frame):
    assert pickle.loads(pickle.dumps(frame)) == frame
    twin = frame.copy()
    assert twin.id != frame.id
    twin.id = frame.id
    assert twin == frame


@few
@given(frames)
def test_a_clean_frame_stays_as_it_is(frame):
    payload = encode_record(record_of(frame))
    frame.validated()
    assert encode_record(record_of(frame)) == payload
    if isinstance(frame, SingleFrame):
        assert screen([frame])


@few
@given(objects)
def test_order_of_keys_does_not_count(metadata):
    turned = dict(reversed(metadata.items()))
    assert encode_record(SingleFrame(metadata=metadata)) == encode_record(SingleFrame(metadata=turned))


plain = json_values
odd = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, "\ud800", b"x", {1}, object(), 1j]),
    st.sampled_from([-0.0, np.float64(1.5), np.int8(3), np.bool_(1), np.str_("x"), (1, 2), {"a": (-0.0,)}]),
    st.dictionaries(st.integers(), plain, min_size=1, max_size=2),
)
mixed = st.recursive(
    plain | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def refusal_of(call):
    try:
        call()
    except InvalidValueError as error:
        return str(error)
    return None


@few
@given(mixed, st.sampled_from(["frame", "annotation"]))
def test_whatever_is_put_in_is_refused_or_becomes_canonical(value, place):
    frame = SingleFrame(id="f", annotations=[ImageAnnotation(labels="a")])
    holder = frame if place == "frame" else frame.annotations[0]
    holder.metadata["value"] = value
    passed = screen([frame])
    message = refusal_of(frame.validated)
    if message is not None:
        assert message.startswith("frame 'f': ")
        assert "metadata.value" in message
        with pytest.raises(InvalidValueError):
            SingleFrame(metadata={"value": value})
        return
    assert screen([frame])
    assert SingleFrame(metadata={"value": value}).metadata == {"value": holder.metadata["value"]}
    payload = encode_record(frame)
    assert encode_record(decode_record(payload)) == payload
    # Without an exact type to change, only -0.0 can have been brought into canonical form.
    if passed and "-0.0" not in repr(value):
        assert holder.metadata["value"] == value


@few
@given(st.lists(st.lists(numbers | st.just(np.float32(0.1)), min_size=2, max_size=2), min_size=1, max_size=5))
def test_nested_flat_and_array_coordinates_agree(given_points):
    nested = KeyPoints2D(given_points)
    flat = KeyPoints2D([n for point in given_points for n in point])
    array = KeyPoints2D(np.array(given_points, dtype=np.float64))
    assert nested == flat == array
    assert all(math.copysign(1, n) == 1 for n in nested.poly if n == 0)


@few
@given(annotations)
def test_bounding_box_holds_the_points(annotation):
    left, top, width, height = annotation.get_bounding_box()
    assert width >= 0
    assert height >= 0
    if isinstance(annotation, (KeyPoints2D, Polygon2D)):
        for x, y in annotation.points:
            assert left <= x
            assert top <= y


@few
@given(
    st.binary(max_size=60)
    | members.map(encode_record).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: p[:n]))
)
def test_any_bytes_are_read_or_refused_clearly(payload):
    with contextlib.suppress(IntegrityError):
        assert isinstance(decode_record(payload), SingleFrame)


def test_payloads_are_plain_msgpack():
    frame = SingleFrame(source="s3://b/a.png", metadata={"b": 1, "a": 2.0})
    assert msgspec.msgpack.decode(encode_record(frame)) == {
        "meta": {"a": 2.0, "b": 1},
        "sources": [{"content_type": "image/png", "uri": "s3://b/a.png"}],
    }
