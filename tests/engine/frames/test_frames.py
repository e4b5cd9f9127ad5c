"""Frames and groups of frames: their fields, their wire form, their ids, and what they refuse."""

import copy
import inspect
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

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
from framelode.engine.errors import (
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    UnreadableError,
    UsageError,
)
from framelode.engine.frames.frame_group import FrameGroup, frame_from_dict, wrap, wrap_all
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.single_frame import SingleFrame, decode_record, screen

GOLDEN = Path(__file__).parents[2] / "golden" / "frames.json"


def full_frame():
    return SingleFrame(
        id="f1",
        source="/data/a b/é#1%.jpg",
        width=640,
        height=480,
        timestamp=40,
        size=1234,
        hash="blake3:00ff",
        preview_uri="s3://b/p.jpg",
        preview_uri_timestamp=41,
        metadata={"camera": {"k": [1, 2.5, None, True]}, "n": 2**64 - 1},
        annotations=[BoundingBox2D(1, 2, 3, 4, 0.5, labels=["pizza"], confidence=0.9), Mask((1, 2, 3), "01")],
        mask_source=["/data/m0.png", "s3://b/m1.png"],
        context_id="video 1",
    )


def full_group():
    left = SingleFrame(source="s3://b/l.jpg", width=10, metadata={"gain": 2})
    left.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["a"])
    group = FrameGroup(
        id="g1",
        metadata={"run": 7},
        frames={"left": left, "right": SingleFrame(source="/d/r.jpg", timestamp=5)},
    )
    group.add_global_annotation(labels=["moment"])
    return group


def golden_frames():
    plain = SingleFrame(id="plain", source="s3://b/i/0.png", metadata={"b": -0.0, "a": "é", "c": 2**63})
    shapes = SingleFrame(id="shapes", source="/d/x.jpg", timestamp=7)
    shapes.add_annotation(
        poly2d_xy=[(0, 0), (4, 0), (4, 3)],
        poly3d_xyz=[0, 0, 0, 4, 0, 0, 4, 3, 0],
        points2d_xy=[1, 2],
        points3d_xyz=[1, 2, 3],
        box2d_xywh=(1, 2, 3, 4),
        box3d_xyzwhxyzwh=range(10),
        ellipse2d_xyrrt=(1, 2, 3, 4, 0.5),
        mask_rgb=(1, 2, 3),
        frame_class="whole",
        id="s",
        labels=["l"],
        confidence=0.5,
        metadata={"k": [1]},
    )
    shapes.add_annotation(poly2d_xy=[[(0, 0), (9, 0), (9, 9)], [(1, 1), (2, 1), (2, 2)]])
    return [SingleFrame(id="empty"), plain, full_frame(), shapes, full_group()]


def golden_rows():
    """Return what `tests/golden/frames.json` holds; write it anew only with a new version of the log format."""
    return [
        {
            "id": frame.id,
            "payload": encode_record(frame.record() if isinstance(frame, FrameGroup) else frame).hex(),
            "derived_id": frame.derive_id(),
            "derived_id_in_root": frame.derive_id("/data"),
            "wire": frame.to_dict(),
        }
        for frame in golden_frames()
    ]


class TestCanonicalForm:
    def test_golden(self):
        assert golden_rows() == json.loads(GOLDEN.read_text())

    def test_golden_payloads_are_read(self):
        frames = {frame.id: frame for frame in golden_frames()}
        for row in json.loads(GOLDEN.read_text()):
            record = decode_record(bytes.fromhex(row["payload"]))
            record.id = row["id"]
            assert wrap(record) == frames[row["id"]]
            assert record.to_wire(row["id"]) == row["wire"]
            assert encode_record(record).hex() == row["payload"]

    def test_equal_content_gives_equal_payloads(self):
        plain = SingleFrame(
            source="s3://b/a.png",
            width=640,
            metadata={"a": [1, 0.0], "b": 0.5, "t": "x"},
            context_id="s3://b/a.png",
        )
        other = SingleFrame(
            width=np.int16(640), metadata={"t": np.str_("x"), "b": np.float64(0.5), "a": (1, -0.0)}
        )
        other.source = "s3://b/a.png"
        assert encode_record(plain) == encode_record(other)
        other.size = 5
        other.size = None
        assert encode_record(plain) == encode_record(other)

    def test_what_is_unset_again_leaves_nothing(self):
        frame = full_frame()
        for field in [
            "source",
            "width",
            "height",
            "timestamp",
            "size",
            "hash",
            "preview_uri",
            "preview_uri_timestamp",
        ]:
            setattr(frame, field, None)
        frame.metadata = frame.annotations = frame.mask_source = frame.context_id = None
        assert encode_record(frame) == encode_record(SingleFrame()) == b"\x80"

    def test_damaged_bytes(self):
        payload = encode_record(full_frame())
        for damaged in (b"", b"\xc1", payload[:-1], payload + b"\x00", b"\x81\xa4rois\x91\x80", b"\x90"):
            with pytest.raises(IntegrityError, match="a stored frame cannot be read"):
                decode_record(damaged)


class TestSingleFrame:
    def test_everything_is_optional(self):
        frame = SingleFrame()
        assert (frame.id, frame.source, frame.context_id, frame.timestamp) == (None, None, None, 0)
        assert (frame.metadata, frame.annotations, frame.mask_source, frame.content_type) == (
            {},
            [],
            None,
            None,
        )
        assert frame.to_dict() == {}

    def test_fields_are_read_back(self):
        frame = full_frame()
        assert (frame.id, frame.source, frame.width, frame.height) == ("f1", "/data/a b/é#1%.jpg", 640, 480)
        assert (frame.timestamp, frame.size, frame.hash) == (40, 1234, "blake3:00ff")
        assert (frame.preview_uri, frame.preview_uri_timestamp) == ("s3://b/p.jpg", 41)
        assert frame.mask_source == {"00": "/data/m0.png", "01": "s3://b/m1.png"}
        assert (frame.context_id, frame.content_type) == ("video 1", "image/jpeg")

    def test_fields_can_be_set(self):
        frame = SingleFrame()
        for field in [
            "id",
            "source",
            "width",
            "height",
            "timestamp",
            "size",
            "hash",
            "preview_uri",
            "preview_uri_timestamp",
            "metadata",
            "annotations",
            "mask_source",
            "context_id",
        ]:
            setattr(frame, field, getattr(full_frame(), field))
        assert frame == full_frame()

    def test_what_is_given_is_copied(self):
        metadata, box = {"a": [1]}, BoundingBox2D(1, 2, 3, 4, labels=["x"], metadata={"k": [1]})
        frame = SingleFrame(metadata=metadata, annotations=[box])
        metadata["a"].append(2)
        box.labels.append("y")
        box.metadata["k"].append(2)
        box.x = 9
        assert frame.metadata == {"a": [1]}
        assert frame.annotations == [BoundingBox2D(1, 2, 3, 4, labels=["x"], metadata={"k": [1]})]

    def test_ids(self):
        assert [SingleFrame(id=i).id for i in ("a", 5, np.int32(5), 2**70, 1.5)] == [
            "a",
            "5",
            "5",
            str(2**70),
            "1.5",
        ]
        for wrong in ("", True, b"a", ["a"], math.nan, "\ud800"):
            with pytest.raises(InvalidValueError, match=r"^id must be .*, not "):
                SingleFrame(id=wrong)

    def test_context_defaults_to_the_uri(self):
        frame = SingleFrame(source="/d/a b.mp4")
        assert frame.context_id == "file:///d/a%20b.mp4"
        frame.source = "s3://b/c.mp4"
        assert frame.context_id == "s3://b/c.mp4"
        frame.context_id = "shoot"
        frame.source = "s3://b/d.mp4"
        assert frame.context_id == "shoot"

    def test_equality(self):
        assert full_frame() == full_frame()
        for field, value in {
            "id": "f2",
            "width": 641,
            "metadata": {},
            "context_id": "x",
            "annotations": [],
        }.items():
            other = full_frame()
            setattr(other, field, value)
            assert other != full_frame()
        assert full_frame() != "f1"
        with pytest.raises(TypeError, match="unhashable"):
            hash(full_frame())

    def test_copy_has_a_new_id(self):
        frame = full_frame()
        twin = frame.copy()
        assert twin.id != frame.id
        assert len(twin.id) == 32
        assert set(twin.id) <= set("0123456789abcdef")
        twin.metadata["camera"]["k"].append(1)
        twin.annotations[0].labels.append("x")
        assert frame == full_frame()
        twin = frame.copy()
        twin.id = frame.id
        assert twin == frame

    @pytest.mark.parametrize("make", [full_frame, full_group, SingleFrame, FrameGroup])
    @pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
    def test_python_copies(self, make, twin):
        frame = make()
        assert twin(frame) == frame
        assert type(twin(frame)) is type(frame)
        assert twin(frame).id == frame.id

    def test_repr(self):
        assert repr(SingleFrame()) == "SingleFrame(id=None, source=None)"
        shown = repr(full_frame())
        assert "id='f1'" in shown
        assert "width=640" in shown
        assert "annotations=2" in shown
        assert len(shown) < 300
        assert repr(full_group()).startswith("FrameGroup(id='g1', frames=['left', 'right']")
        assert "sources=2" in repr(full_group().record())

    def test_signature_is_that_of_the_constructor(self):
        assert list(inspect.signature(SingleFrame).parameters) == [
            "id",
            "source",
            "width",
            "height",
            "timestamp",
            "size",
            "hash",
            "preview_uri",
            "preview_uri_timestamp",
            "metadata",
            "annotations",
            "mask_source",
            "context_id",
            "other_names",
        ]
        assert list(inspect.signature(BoundingBox2D).parameters)[:5] == ["x", "y", "width", "height", "angle"]

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("source", "", "source must be a path or a URI, not ''"),
            ("source", 5, "source must be .*, not 5"),
            ("source", b"/a", "source must be .*, not b'/a'"),
            ("source", "s3://b/\ud800", "source must be a string without lone surrogates"),
            ("source", "/d/\ud800", "source must be a string without lone surrogates"),
            ("width", -1, "width must be an integer of at least 0, not -1"),
            ("height", 1.5, "height must be a 64-bit integer, not 1.5"),
            ("size", True, "size must be .*, not True"),
            ("size", 2**63, "size must be .*, not 9223372036854775808"),
            ("size", "5", "size must be .*, not '5'"),
            ("timestamp", math.inf, "timestamp must be .*, not inf"),
            ("hash", 5, "hash must be a string, not 5"),
            ("preview_uri", 5, "preview_uri must be .*, not 5"),
            ("preview_uri_timestamp", "x", "preview_uri_timestamp must be .*, not 'x'"),
            ("metadata", 5, "metadata must be a dict.*, not 5"),
            (
                "metadata",
                {"a": {"b": [1, math.nan]}},
                r"metadata.a.b\[1\] must be a finite number, not nan",
            ),
            (
                "metadata",
                {"a": 2**64},
                r"metadata.a must be an integer from.*, not 18446744073709551616",
            ),
            ("metadata", {"a": -(2**63) - 1}, "metadata.a must be .*, not -9223372036854775809"),
            ("metadata", {"a": "\udfff"}, "metadata.a must be a string without lone surrogates"),
            ("metadata", {"\udfff": 1}, "metadata must be a string without lone surrogates"),
            ("metadata", {5: 1}, "each key of metadata must be a string, not 5"),
            (
                "metadata",
                {"a": {1, 2}},
                "metadata.a must be a string, a number, a boolean, None.*, not {1, 2}",
            ),
            ("metadata", {"a": b"x"}, "metadata.a must be .*, not b'x'"),
            ("metadata", {"a": np.array([1j])}, r"metadata.a\[0\] must be .*, not 1j"),
            ("metadata", {"a": 1j}, "metadata.a must be .*, not 1j"),
            ("annotations", 5, "annotations must be a list of annotations, not 5"),
            (
                "annotations",
                [ImageAnnotation(), 5],
                r"annotations\[1\] must be an annotation, not 5",
            ),
            ("mask_source", 5, "mask_source must be .*, not 5"),
            ("mask_source", ["a", 5], r"mask_source\['01'\] must be .*, not 5"),
            ("mask_source", {5: "a"}, "mask_source must be a string, not 5"),
            ("context_id", "", "context_id must be .*, not ''"),
            ("context_id", 5, "context_id must be .*, not 5"),
        ],
    )
    def test_refused_at_birth_and_when_set(self, field, value, message):
        with pytest.raises(InvalidValueError, match=f"^frame 'f1': {message}"):
            SingleFrame(**{"id": "f1", field: value})
        frame = full_frame()
        with pytest.raises(InvalidValueError, match=f"^frame 'f1': {message}"):
            setattr(frame, field, value)
        assert frame == full_frame()

    def test_long_values_are_cut_in_messages(self):
        with pytest.raises(InvalidValueError) as caught:
            SingleFrame(metadata={"a" * 10_000: {"x": {"y" * 10_000}}})
        assert len(str(caught.value)) < 600


class TestSources:
    @pytest.mark.parametrize(
        ("given", "uri", "back"),
        [
            ("/d/a.jpg", "file:///d/a.jpg", "/d/a.jpg"),
            (Path("/d/a.jpg"), "file:///d/a.jpg", "/d/a.jpg"),
            ("/d/../e/a.jpg", "file:///e/a.jpg", "/e/a.jpg"),
            ("/d/a b#c%d?e\n.jpg", "file:///d/a%20b%23c%25d%3Fe%0A.jpg", "/d/a b#c%d?e\n.jpg"),
            ("/d/é.jpg", "file:///d/%C3%A9.jpg", "/d/é.jpg"),
            (os.fsdecode(b"/d/\xff.jpg"), "file:///d/%FF.jpg", os.fsdecode(b"/d/\xff.jpg")),
            ("file:///d/a%20b.jpg", "file:///d/a%20b.jpg", "/d/a b.jpg"),
            ("file:///d/a b.jpg", "file:///d/a%20b.jpg", "/d/a b.jpg"),
            ("FILE://localhost/d/a.jpg", "file:///d/a.jpg", "/d/a.jpg"),
            ("file:/d/a.jpg", "file:///d/a.jpg", "/d/a.jpg"),
            ("file://host/d/a.jpg", "file://host/d/a.jpg", "file://host/d/a.jpg"),
            ("s3://b/a b.jpg", "s3://b/a b.jpg", "s3://b/a b.jpg"),
            ("blobs:00ff/a.jpg", "blobs:00ff/a.jpg", "blobs:00ff/a.jpg"),
            ("memory:a.jpg", "memory:a.jpg", "memory:a.jpg"),
            ("data:image/png;base64,AA==", "data:image/png;base64,AA==", "data:image/png;base64,AA=="),
        ],
    )
    def test_paths_and_uris(self, given, uri, back):
        frame = SingleFrame(source=given, preview_uri=given, mask_source=given)
        assert frame.source == frame.preview_uri == back
        assert frame.mask_source == back
        assert frame.masks_source == {"00": back}
        assert frame.to_dict()["sources"][0]["uri"] == uri
        assert SingleFrame(source=back) == SingleFrame(source=given)
        assert SingleFrame.from_dict(frame.to_dict()) == frame

    def test_relative_paths(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert SingleFrame(source="a.jpg").source == str(tmp_path / "a.jpg")
        assert SingleFrame(source=Path("sc:heme.jpg")).source == str(tmp_path / "sc:heme.jpg")
        assert SingleFrame(source="c:heme.jpg").source == str(tmp_path / "c:heme.jpg")

    @pytest.mark.parametrize(
        ("source", "content_type"),
        [
            ("/d/a.JPG", "image/jpeg"),
            ("s3://b/a.png?versionId=1.mp4", "image/png"),
            ("https://h/a.mp4#t=1.5", "video/mp4"),
            ("data:image/png;base64,AA==", "image/png"),
            ("data:,text", None),
            ("/d.png/a", None),
            ("/d/png", None),
            ("/d/a.unknown", None),
        ],
    )
    def test_content_type(self, source, content_type):
        assert SingleFrame(source=source).content_type == content_type

    def test_content_type_follows_the_source(self):
        frame = SingleFrame(source="/d/a.png")
        frame.content_type = "image/x-own"
        assert SingleFrame.from_dict(frame.to_dict()).content_type == "image/x-own"
        frame.source = "/d/a.jpg"
        assert frame.content_type == "image/jpeg"
        frame.source = None
        assert frame == SingleFrame()

    def test_forms_of_masks(self):
        assert SingleFrame(mask_source="s3://b/m").mask_source == "s3://b/m"
        assert SingleFrame(mask_source=Path("/m")).mask_source == "/m"
        assert SingleFrame(mask_source=["/a", "/b"]).mask_source == {"00": "/a", "01": "/b"}
        assert SingleFrame(mask_source={"x": "/a"}).mask_source == {"x": "/a"}
        assert SingleFrame(mask_source=[]) == SingleFrame(mask_source={}) == SingleFrame()

    def test_sizes_in_other_number_types(self):
        frame = SingleFrame(width=640.0, height=np.int64(480), timestamp=np.float32(40))
        assert (frame.width, frame.height, frame.timestamp) == (640, 480, 40)
        assert {type(frame.width), type(frame.height), type(frame.timestamp)} == {int}


class TestDerivedIds:
    def test_same_source_same_id(self):
        assert (
            SingleFrame(source="s3://b/a").derive_id() == SingleFrame(source="s3://b/a", width=5).derive_id()
        )
        assert len(SingleFrame(source="s3://b/a").derive_id()) == 32

    def test_uri_and_timestamp_count(self):
        frames = [SingleFrame(source=s, timestamp=t) for s in ("s3://b/a", "s3://b/b") for t in (0, 1)]
        assert len({frame.derive_id() for frame in frames}) == 4

    def test_no_source(self):
        assert SingleFrame(width=5).derive_id() is None
        assert FrameGroup().derive_id() is None

    def test_machines_agree_below_a_root(self):
        here, there = SingleFrame(source="/home/a/set/x/é 1.jpg"), SingleFrame(source="/mnt/set/x/é 1.jpg")
        assert here.derive_id() != there.derive_id()
        assert here.derive_id("/home/a/set") == there.derive_id(Path("/mnt/set/"))
        assert here.derive_id("/home/a/se") == here.derive_id()
        assert here.derive_id("/") != here.derive_id()
        odd = SingleFrame(source=os.fsdecode(b"/r/\xff.jpg"))
        assert odd.derive_id("/r") != odd.derive_id()

    def test_order_of_a_group_does_not_count(self):
        frames = {"l": SingleFrame(source="s3://b/l"), "r": SingleFrame(source="s3://b/r")}
        swapped = {"l": frames["r"], "r": frames["l"]}
        derived = FrameGroup(frames=frames).derive_id()
        assert derived == FrameGroup(frames=dict(reversed(frames.items()))).derive_id()
        assert derived != FrameGroup(frames=swapped).derive_id()


class TestAnnotationsOfAFrame:
    def test_one_for_each_geometry(self):
        frame = SingleFrame()
        assert frame.add_annotation(labels="whole") == [0]
        added = frame.add_annotation(
            poly2d_xy=[0, 0, 1, 0, 1, 1],
            poly3d_xyz=[(0, 0, 0)],
            points2d_xy=np.array([[1, 2]]),
            points3d_xyz=[1, 2, 3],
            box2d_xywh=(1, 2, 3, 4, 0.5),
            box3d_xyzwhxyzwh=list(range(10)),
            ellipse2d_xyrrt=(1, 2, 3, 4, 5),
            mask_rgb=(1, 2, 3),
            frame_class=["day"],
            id=5,
            labels=["car"],
            confidence=0.5,
            metadata={"k": 1},
        )
        common = {"id": "5", "labels": ["car"], "confidence": 0.5, "metadata": {"k": 1}}
        assert added == list(range(1, 10))
        assert frame.annotations == [
            ImageAnnotation(labels=["whole"]),
            Polygon2D([0, 0, 1, 0, 1, 1], **common),
            Polygon3D([0, 0, 0], **common),
            KeyPoints2D([1, 2], **common),
            KeyPoints3D([1, 2, 3], **common),
            BoundingBox2D(1, 2, 3, 4, 0.5, **common),
            BoundingBox3D(range(10), **common),
            Ellipse2D(1, 2, 3, 4, 5, **common),
            Mask((1, 2, 3), **common),
            ImageAnnotation(**{**common, "labels": ["day"]}),
        ]
        frame.annotations[1].metadata["k"] = 2
        assert frame.annotations[2].metadata == {"k": 1}

    def test_rings(self):
        frame = SingleFrame()
        frame.add_annotation(poly2d_xy=[[0, 0, 9, 0, 9, 9], [1, 1, 2, 1, 2, 2]])
        frame.add_annotation(poly2d_xy=[[(0, 0), (9, 0)], [(1, 1)]])
        frame.add_annotation(poly3d_xyz=[[0, 0, 0, 9, 0, 0]])
        frame.add_annotation(poly2d_xy=[(0, 0), (9, 0), (9, 9)])
        kinds = [ComplexPolygon2D, ComplexPolygon2D, ComplexPolygon3D, Polygon2D]
        assert [type(annotation) for annotation in frame.annotations] == kinds

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "an annotation needs a geometry, frame_class or labels: pass at least one"),
            ({"id": "x", "confidence": 0.5}, "an annotation needs a geometry"),
            (
                {"box2d_xywh": (1, 2, 3)},
                r"box2d_xywh: poly must be the numbers x, y, width, height.*, not .*\(1, 2, 3\)",
            ),
            ({"box2d_xywh": (1, 2, -3, 4)}, "box2d_xywh: width must be a size of at least 0, not -3.0"),
            ({"box2d_xywh": 5}, "box2d_xywh: .* must be .*, not 5"),
            (
                {"ellipse2d_xyrrt": (1, 2, 3, 4)},
                "ellipse2d_xyrrt: poly must be the numbers cx, cy, rx, ry, theta",
            ),
            ({"box3d_xyzwhxyzwh": (1, 2)}, "box3d_xyzwhxyzwh: poly must be the numbers front_x"),
            ({"poly2d_xy": [1]}, "poly2d_xy: points must be one or more points of 2 numbers"),
            ({"poly3d_xyz": [(1, 2, None)]}, r"poly3d_xyz: points\[2\] must be .*, not None"),
            ({"points2d_xy": 5}, "points2d_xy: points must be .*, not 5"),
            ({"mask_rgb": "abc"}, "mask_rgb: mask_rgb must be .*, not 'abc'"),
            ({"labels": [5.5]}, r"labels\[0\] must be .*, not 5.5"),
            ({"frame_class": 5.5}, "frame_class must be .*, not 5.5"),
            ({"frame_class": "a", "labels": "b"}, "labels must be unset if frame_class.*, not 'b'"),
            ({"labels": "a", "confidence": 2}, "confidence must be .*, not 2"),
        ],
    )
    def test_refused_and_nothing_added(self, arguments, message):
        frame = SingleFrame(id=1)
        with pytest.raises(InvalidValueError, match=f"^frame '1': {message}"):
            frame.add_annotation(**arguments)
        with pytest.raises(InvalidValueError, match="box2d_xywh: width"):
            frame.add_annotation(points2d_xy=(1, 2), box2d_xywh=(1, 2, -3, 4))
        assert frame.annotations == []

    @pytest.fixture
    def frame(self):
        frame = SingleFrame()
        for i, labels in enumerate([["a"], ["a", "b"], ["b", "a"], ["c"]]):
            frame.add_annotation(points2d_xy=(i, i), id=f"i{i % 2}", labels=labels)
        return frame

    def indices(self, annotations):
        return [int(annotation.points[0][0]) for annotation in annotations]

    @pytest.mark.parametrize(
        ("selectors", "found"),
        [
            ({}, [0, 1, 2, 3]),
            ({"id": "i1"}, [1, 3]),
            ({"index": 2}, [2]),
            ({"index": -1}, [3]),
            ({"label": "a"}, [0, 1, 2]),
            ({"labels": ["a", "b"]}, [1]),
            ({"labels": "a"}, [0]),
            ({"labels": []}, []),
            ({"label": "a", "id": "i0"}, [0, 2]),
            ({"label": "zzz"}, []),
        ],
    )
    def test_get(self, frame, selectors, found):
        assert self.indices(frame.get_annotations(**selectors)) == found

    @pytest.mark.parametrize("value", ["0", 1.5, True, [0], np.array([0, 1])])
    def test_what_is_no_index_and_no_label(self, frame, value):
        for call in (frame.get_annotations, frame.remove_annotation):
            with pytest.raises(InvalidValueError, match="index must be a 64-bit integer"):
                call(index=value)
        if not isinstance(value, str):
            for call in (frame.get_annotations, frame.remove_annotations):
                with pytest.raises(InvalidValueError, match="label must be a string"):
                    call(label=value)
        assert self.indices(frame.annotations) == [0, 1, 2, 3]

    def test_get_gives_the_annotations_themselves(self, frame):
        frame.get_annotations(index=0)[0].labels.append("new")
        assert frame.annotations[0].labels == ["a", "new"]

    def test_unknown_ones(self, frame):
        for call in (
            lambda: frame.get_annotations(index=4),
            lambda: frame.get_annotations(id="i9"),
            lambda: frame.remove_annotation(index=-5),
            lambda: frame.remove_annotation(id="i9"),
            lambda: frame.remove_annotations(id="i9"),
        ):
            with pytest.raises(NotFoundError, match=r"no annotation (at index|with the id)"):
                call()
        assert self.indices(frame.annotations) == [0, 1, 2, 3]

    def test_remove_one(self, frame):
        assert self.indices([frame.remove_annotation(1)]) == [1]
        assert self.indices([frame.remove_annotation(id="i1")]) == [3]
        assert self.indices(frame.annotations) == [0, 2]
        for arguments in ({}, {"index": 0, "id": "i0"}):
            with pytest.raises(UsageError, match="either an index or an id"):
                frame.remove_annotation(**arguments)

    def test_remove_several(self, frame):
        assert self.indices(frame.remove_annotations(label="b")) == [1, 2]
        assert self.indices(frame.remove_annotations(labels=["c"], id="i1")) == [3]
        assert frame.remove_annotations(label="zzz") == []
        assert self.indices(frame.annotations) == [0]
        with pytest.raises(UsageError, match="clear_annotations"):
            frame.remove_annotations()
        frame.clear_annotations()
        assert frame.annotations == []


class TestWireForm:
    def test_a_full_frame(self):
        assert full_frame().to_dict() == {
            "id": "f1",
            "context_id": "video 1",
            "timestamp": 40,
            "sources": [
                {
                    "id": "default",
                    "uri": "file:///data/a%20b/%C3%A9%231%25.jpg",
                    "content_type": "image/jpeg",
                    "width": 640,
                    "height": 480,
                    "timestamp": 40,
                    "size": 1234,
                    "hash": "blake3:00ff",
                    "masks": [
                        {"id": "00", "uri": "file:///data/m0.png"},
                        {"id": "01", "uri": "s3://b/m1.png"},
                    ],
                    "preview": {"uri": "s3://b/p.jpg", "timestamp": 41},
                }
            ],
            "rois": [
                {"type": "box2d", "label": ["pizza"], "poly": [1.0, 2.0, 3.0, 4.0, 0.5], "confidence": 0.9},
                {"type": "mask", "mask": {"id": "01", "value": [1, 2, 3]}},
            ],
            "meta": {"camera": {"k": [1, 2.5, None, True]}, "n": 2**64 - 1},
        }

    def test_what_is_unset_is_left_out(self):
        assert SingleFrame(source="s3://b/a").to_dict() == {
            "context_id": "s3://b/a",
            "timestamp": 0,
            "sources": [{"id": "default", "uri": "s3://b/a", "timestamp": 0}],
        }

    @pytest.mark.parametrize("frame", golden_frames(), ids=lambda frame: frame.id)
    def test_round_trip(self, frame):
        wire = frame.to_dict()
        assert frame_from_dict(wire) == frame
        assert type(frame).from_dict(json.loads(json.dumps(wire))) == frame
        assert frame_from_dict(wire).to_dict() == wire

    def test_changing_it_does_not_change_the_frame(self):
        frame = full_frame()
        wire = frame.to_dict()
        wire["meta"]["camera"]["k"].append(1)
        wire["rois"][0]["label"].append("x")
        read = SingleFrame.from_dict(wire)
        wire["meta"]["camera"]["k"].append(2)
        assert frame == full_frame()
        assert read.metadata["camera"]["k"] == [1, 2.5, None, True, 1]

    def test_read_only_fields_and_none_are_ignored(self):
        wire = {
            **full_frame().to_dict(),
            "dataset": {"id": "d", "version": "v"},
            "saved": 1,
            "saved_in_version": "v",
            "updated": 2,
            "updated_in_version": "w",
        }
        assert SingleFrame.from_dict(wire) == full_frame()
        nothing = dict.fromkeys(("id", "context_id", "timestamp", "sources", "rois", "meta"))
        assert frame_from_dict(nothing) == SingleFrame()
        assert frame_from_dict({"sources": [{"id": "default", "timestamp": 0}]}) == SingleFrame()

    def test_timestamp_of_the_frame_is_that_of_its_first_source(self):
        assert frame_from_dict({"timestamp": 5}) == SingleFrame(timestamp=5)
        assert frame_from_dict({"timestamp": 5, "sources": [{"uri": "s3://b/a"}]}).timestamp == 5
        with pytest.raises(
            InvalidValueError, match="timestamp must be equal to that of the first source, 6.*, not 5"
        ):
            frame_from_dict({"timestamp": 5, "sources": [{"timestamp": 6}]})

    def test_paths_become_uris(self):
        wire = {"sources": [{"uri": "/d/a b.png", "masks": [{"id": "00", "uri": "/d/m.png"}]}]}
        read = frame_from_dict(wire)
        assert read == SingleFrame(source="/d/a b.png", mask_source="/d/m.png")

    def test_metadata_of_the_source_is_kept(self):
        wire = {"sources": [{"uri": "s3://b/a", "meta": {"iso": 100}}], "meta": {"k": 1}}
        frame = frame_from_dict(wire)
        assert frame.metadata == {"k": 1}
        assert frame.to_dict()["sources"][0]["meta"] == {"iso": 100}
        assert decode_record(encode_record(frame)).sources[0].metadata == {"iso": 100}
        assert pickle.loads(pickle.dumps(frame)) == frame
        group = FrameGroup(frames={"l": frame})
        assert group.to_dict()["sources"][0]["meta"] == {"iso": 100, "k": 1}

    def test_a_frame_as_clearml_shows_it(self):
        wire = {
            "timestamp": 1234567889,
            "context_id": "car_1",
            "num_frames": 1,
            "meta": {"velocity": "60"},
            "sources": [
                {
                    "id": "front",
                    "content_type": "video/mp4",
                    "width": 800,
                    "height": 600,
                    "uri": "https://host/car_1/front.mp4",
                    "timestamp": 1234567889,
                    "meta": {"angle": 45, "fov": 129},
                    "preview": {"content_type": "image/jpg", "uri": "https://host/car_1.jpg", "timestamp": 0},
                    "masks": [
                        {
                            "id": "seg",
                            "content_type": "video/mp4",
                            "uri": "https://host/s.mp4",
                            "timestamp": 12,
                        }
                    ],
                },
                {"id": "rear", "uri": "https://host/rear.mp4", "content_type": "video/mp4", "timestamp": 5},
            ],
            "rois": [
                {"sources": ["front"], "label": ["lane"], "mask": {"id": "seg", "value": [-1, 1, 255]}},
                {
                    "sources": ["front"],
                    "label": ["bike"],
                    "poly": [30, 50, 50, 50, 100, 100],
                    "meta": {"v": 5.4},
                },
                {"sources": ["front", "rear"], "label": ["car"], "poly": [30, 50, 50, 50]},
                {"sources": ["front", "rear"], "label": ["city"], "confidence": 1},
            ],
            "dataset": {"id": "f7edb3", "version": "6ad8b1"},
            "saved": 1598982880693,
            "saved_in_version": "6ad8b1",
        }
        group = FrameGroup.from_dict(wire)
        front = group["front"].annotations
        assert [type(annotation) for annotation in front] == [Mask, Polygon2D]
        assert front[0].mask_rgb == (-1, 1, 255)
        assert [type(annotation) for annotation in group.global_annotations] == [
            BoundingBox2D,
            ImageAnnotation,
        ]
        back = FrameGroup.from_record(decode_record(encode_record(group.record()))).to_dict()
        assert {key: back[key] for key in ("timestamp", "context_id", "num_frames", "meta")} == {
            key: wire[key] for key in ("timestamp", "context_id", "num_frames", "meta")
        }
        assert back["sources"] == wire["sources"]
        assert [roi["type"] for roi in back["rois"]] == ["mask", "polygon2d", "box2d", "image"]
        assert [roi["label"] for roi in back["rois"]] == [["lane"], ["bike"], ["car"], ["city"]]

    def test_rois_as_clearml_writes_them(self):
        separator = -999999999
        wire = {
            "rois": [
                {
                    "id": "r",
                    "label": ["x"],
                    "poly": [0, 0, 4, 0, 4, 4, separator, 1, 1, 2, 1, 2, 2],
                    "confidence": 1,
                },
                {"labels": ["alias"], "poly": []},
            ]
        }
        rings, image = SingleFrame.from_dict(wire).annotations
        assert rings == ComplexPolygon2D(
            [[0, 0, 4, 0, 4, 4], [1, 1, 2, 1, 2, 2]], id="r", labels=["x"], confidence=1
        )
        assert image == ImageAnnotation(labels=["alias"])

    @pytest.mark.parametrize(
        ("roi", "message"),
        [
            (
                {"poly": [1, 2]},
                r"rois\[0\].poly must be a box of 4 numbers or a polygon of at least 6.*, not \[1, 2\]",
            ),
            ({"poly": [1, 2, 3, 4, 5, 6, 7]}, r"rois\[0\].poly must be one or more points"),
            (
                {"label": ["a"], "labels": ["b"]},
                r"rois\[0\].labels must be equal to label, \['a'\].*, not \['b'\]",
            ),
            (
                {"mask": {"value": [-2, 0, 0]}},
                r"rois\[0\].mask.value must be .* from -1 to 255, not \[-2, 0, 0\]",
            ),
            ({"box": []}, r"rois\[0\].box is an unknown field: it must be one of confidence, id, label"),
        ],
    )
    def test_refused_rois_without_a_type(self, roi, message):
        with pytest.raises(InvalidValueError, match=f"^frame 'w': {message}"):
            frame_from_dict({"id": "w", "rois": [roi]})

    def test_rois_may_name_the_default_source(self):
        frame = frame_from_dict({"rois": [{"type": "image", "label": ["a"], "sources": ["default"]}]})
        assert frame.annotations == [ImageAnnotation(labels=["a"])]

    def test_the_kind_is_told_by_the_sources(self):
        two = [{"id": "default"}, {"id": "other"}]
        assert type(frame_from_dict({})) is SingleFrame
        assert type(frame_from_dict({"sources": two[:1]})) is SingleFrame
        assert type(frame_from_dict({"sources": two[1:]})) is FrameGroup
        assert type(frame_from_dict({"sources": two})) is FrameGroup
        with pytest.raises(InvalidValueError, match=r"frame 'x': sources: .* FrameGroup.from_dict"):
            SingleFrame.from_dict({"id": "x", "sources": two})
        alone = FrameGroup.from_dict({"id": "x", "sources": [{"uri": "s3://b/a"}]})
        assert alone == FrameGroup(id="x", default=SingleFrame(source="s3://b/a"))

    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            ({"rios": []}, "rios is an unknown field: it must be one of context_id, dataset"),
            ({5: 1}, "5 is an unknown field"),
            ({"sources": {}}, "sources must be a list of dicts, not {}"),
            ({"sources": [5]}, r"sources\[0\] must be a dict.*, not 5"),
            ({"sources": [{"url": "a"}]}, r"sources\[0\].url is an unknown field"),
            ({"sources": [{"uri": 5}]}, r"sources\[0\].uri must be .*, not 5"),
            ({"sources": [{"width": -1}]}, r"sources\[0\].width must be .*, not -1"),
            ({"sources": [{"id": ""}]}, r"sources\[0\].id must be .*, not ''"),
            (
                {"sources": [{"id": "a"}, {"id": "a"}]},
                r"sources\[1\].id must be unique within the frame, not 'a'",
            ),
            ({"sources": [{"masks": [{"id": "0"}]}]}, r"sources\[0\].masks\[0\].uri must be .*, not None"),
            (
                {"sources": [{"masks": [{"id": "0", "uri": "/a"}] * 2}]},
                r"sources\[0\].masks\[1\].id must be .*, not '0'",
            ),
            ({"sources": [{"preview": {"url": "a"}}]}, r"sources\[0\].preview.url is an unknown field"),
            (
                {"sources": [{"preview": {"timestamp": "a"}}]},
                r"sources\[0\].preview.timestamp must be .*, not 'a'",
            ),
            ({"sources": [{"meta": {"a": math.nan}}]}, r"sources\[0\].meta.a must be .*, not nan"),
            ({"rois": [{"type": "box2d", "poly": [1, 2, -3, 4]}]}, r"rois\[0\].width must be .*, not -3.0"),
            (
                {"rois": [{"type": "image", "sources": ["q"]}]},
                r"rois\[0\].sources\[0\] must be one of the s.*, not 'q'",
            ),
            ({"rois": "x"}, "rois must be .*, not 'x'"),
            ({"meta": []}, r"meta must be .*, not \[\]"),
            ({"meta": {"a": [math.inf]}}, r"meta.a\[0\] must be .*, not inf"),
            ({"timestamp": "x"}, "timestamp must be .*, not 'x'"),
            ({"context_id": ""}, "context_id must be .*, not ''"),
        ],
    )
    def test_refused(self, wire, message):
        with pytest.raises(InvalidValueError, match=f"^frame 'w': {message}"):
            frame_from_dict({"id": "w", **wire})

    def test_refused_as_a_whole(self):
        with pytest.raises(InvalidValueError, match="^frame: the value must be a dict, not 5"):
            frame_from_dict(5)
        with pytest.raises(InvalidValueError, match="id must be .*, not True"):
            frame_from_dict({"id": True})


class TestChangesInPlace:
    def spoil(self, frame, change):
        change(frame)
        return frame

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda f: f.metadata["camera"].update(k=[1, 2, {"x": math.nan}]),
                r"metadata.camera.k\[2\].x must be .*, not nan",
            ),
            (lambda f: f.metadata.update(x=object), "metadata.x must be .*, not .*class 'object'.*"),
            (lambda f: f.metadata.update({5: 1}), "each key of metadata must be a string, not 5"),
            (
                lambda f: f.metadata.update(me=f.metadata),
                "metadata.me.me.* must be nested at most 100 levels",
            ),
            (
                lambda f: f.annotations.append("box"),
                r"annotations\[2\] must be an annotation, not 'box'",
            ),
            (
                lambda f: f.annotations[1].labels.append(5.5),
                r"annotations\[1\].labels\[0\] must be .*, not 5.5",
            ),
            (
                lambda f: f.annotations[0].labels.append("\ud800"),
                r"annotations\[0\].labels\[1\] must be .* surrogates",
            ),
            (
                lambda f: f.annotations[0].metadata.update(a=2**64),
                r"annotations\[0\].metadata.a must be .*, not 18446744073709551616",
            ),
        ],
    )
    def test_caught(self, change, message):
        frame = self.spoil(full_frame(), change)
        for call in (frame.validated, frame.copy, frame.to_dict, lambda: pickle.dumps(frame)):
            with pytest.raises(InvalidValueError, match=f"^frame 'f1': {message}"):
                call()

    def test_brought_into_canonical_form(self):
        class Name(str):
            __slots__ = ()

        frame = full_frame()
        frame.metadata["t"] = (
            1,
            -0.0,
            np.float32(0.5),
            {Name("k"): Name("v")},
            np.bool_(1),
            np.longdouble(2),
        )
        frame.annotations[0].labels.append(Name("x"))
        frame.annotations[0].metadata["a"] = np.int8(5)
        assert not screen([frame])
        frame.validated()
        assert screen([frame])
        clean = full_frame()
        clean.metadata = {**clean.metadata, "t": [1, 0.0, 0.5, {"k": "v"}, True, 2.0]}
        clean.annotations[0].labels = ["pizza", "x"]
        clean.annotations[0].metadata = {"a": 5}
        assert encode_record(frame) == encode_record(clean)
        assert type(frame.metadata["t"][3]["k"]) is str

    def test_negative_zero(self):
        frame = SingleFrame(metadata={"a": [1.0]})
        frame.metadata["a"][0] = -0.0
        frame.validated()
        assert math.copysign(1, frame.metadata["a"][0]) == 1

    def test_references_into_a_clean_frame_stay_good(self):
        frame = full_frame()
        metadata, inner, labels = frame.metadata, frame.metadata["camera"], frame.annotations[0].labels
        frame.validated()
        assert frame.metadata is metadata
        assert frame.metadata["camera"] is inner
        assert frame.annotations[0].labels is labels
        metadata["t"] = (1,)
        frame.validated()
        assert frame.metadata is metadata

    def test_an_annotation_of_a_group_does_not_fit_a_single_frame(self):
        wire = {"sources": [{"id": n} for n in "abc"], "rois": [{"type": "image", "sources": ["a", "b"]}]}
        group = frame_from_dict(wire)
        frame = SingleFrame(id="s")
        frame.annotations.append(group.global_annotations[0])
        assert not screen([frame])
        with pytest.raises(
            InvalidValueError,
            match=r"frame 's': annotations\[0\].sources must be names of sources of the frame \(none\)",
        ):
            frame.validated()


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


class TestNesting:
    def test_depth(self):
        frame = SingleFrame(metadata={"a": nested(99)})
        assert screen([frame])
        assert decode_record(encode_record(frame)) == frame
        for too_deep in (100, 5000):
            with pytest.raises(InvalidValueError, match=r"metadata.a\[0\].* at most 100 levels"):
                SingleFrame(metadata={"a": nested(too_deep)})
            frame.metadata["a"] = nested(too_deep)
            assert not screen([frame])

    def test_a_container_within_itself(self):
        loop = []
        loop += [loop, loop]
        with pytest.raises(InvalidValueError, match="without cycles"):
            SingleFrame(metadata={"a": loop})
        frame = SingleFrame()
        frame.metadata["a"] = loop
        assert not screen([frame])

    def test_a_container_reached_twice_is_no_loop(self):
        twice = {"k": [1]}
        frame = SingleFrame(metadata={"a": twice, "b": [twice, twice]})
        frame.metadata["a"]["k"].append(2)
        assert frame.metadata["b"] == [{"k": [1]}, {"k": [1]}]


class TestScreen:
    def test_plain_frames_pass(self):
        frames = [SingleFrame(), *golden_frames()[:-1]]
        assert screen(frames)
        assert screen([])
        assert screen([decode_record(encode_record(frame)) for frame in frames])

    @pytest.mark.parametrize(
        "change",
        [
            lambda f: f.metadata.update(x=(1,)),
            lambda f: f.metadata.update(x={"y": [{"z": np.float64(1)}]}),
            lambda f: f.metadata.update({1: 1}),
            lambda f: f.metadata["camera"].update({None: 1}),
            lambda f: f.annotations.append(None),
            lambda f: f.annotations[0].labels.append(np.str_("x")),
            lambda f: f.annotations[0].metadata.update(x={1}),
        ],
    )
    def test_one_odd_value_among_many(self, change):
        odd = full_frame()
        change(odd)
        assert not screen([*[full_frame() for _ in range(20)], odd])


class TestFrameGroup:
    @pytest.mark.parametrize("frames", [5, "left", [SingleFrame()], [("left", SingleFrame())], SingleFrame()])
    def test_what_is_no_dict_of_frames(self, frames):
        with pytest.raises(
            InvalidValueError, match="frame 'g': frames must be a dict of SingleFrames by name"
        ):
            FrameGroup(id="g", frames=frames)

    def test_a_mapping(self):
        group = full_group()
        assert list(group) == ["left", "right"]
        assert len(group) == 2
        assert group["right"].source == "/d/r.jpg"
        assert "up" not in group
        group["up"] = SingleFrame(source="s3://b/u.jpg")
        del group["left"]
        assert list(group) == ["right", "up"]
        with pytest.raises(KeyError):
            group["left"]

    def test_frames_are_held_as_they_are(self):
        left = SingleFrame(source="s3://b/l.jpg")
        group = FrameGroup(frames={"left": left})
        group["left"].width = 5
        assert left.width == 5
        assert group.to_dict()["sources"][0]["width"] == 5

    def test_wire_form(self):
        assert full_group().to_dict() == {
            "id": "g1",
            "context_id": "s3://b/l.jpg",
            "timestamp": 0,
            "sources": [
                {
                    "id": "left",
                    "uri": "s3://b/l.jpg",
                    "content_type": "image/jpeg",
                    "width": 10,
                    "timestamp": 0,
                    "meta": {"gain": 2},
                },
                {"id": "right", "uri": "file:///d/r.jpg", "content_type": "image/jpeg", "timestamp": 5},
            ],
            "rois": [
                {"type": "box2d", "label": ["a"], "poly": [1.0, 2.0, 3.0, 4.0], "sources": ["left"]},
                {"type": "image", "label": ["moment"]},
            ],
            "meta": {"run": 7},
        }

    def test_record_and_back(self):
        group = full_group()
        payload = encode_record(group.record())
        read = wrap(decode_record(payload))
        read.id = group.id
        assert type(read) is FrameGroup
        assert read == group
        assert encode_record(read.record()) == payload
        assert read["left"].metadata == {"gain": 2}
        assert read["left"].annotations == group["left"].annotations
        assert read["left"].sources[0].id == "default"
        assert group.record().id == "g1"
        single = full_frame()
        assert wrap(single) is single

    def test_equal_names_give_equal_payloads(self):
        made = "default"
        group = FrameGroup(frames={"default": SingleFrame(), "b": SingleFrame()})
        other = FrameGroup(frames={made: SingleFrame(), "b": SingleFrame()})
        assert encode_record(group.record()) == encode_record(other.record())
        wire = json.loads(json.dumps(full_frame().to_dict()))
        assert encode_record(frame_from_dict(wire)) == encode_record(full_frame())

    def test_an_empty_group_is_refused(self):
        group = FrameGroup(id="g")
        for call in (group.record, group.validated):
            with pytest.raises(InvalidValueError, match=r"frame 'g': frames must be one or more frames"):
                call()

    def test_a_group_of_a_sole_default_frame_stays_a_group(self):
        group = FrameGroup(id="g", default=SingleFrame(source="s3://b/a"))
        group["default"].add_annotation(frame_class="night")
        group.add_global_annotation(frame_class="crossing")
        payload = encode_record(group.record())
        read = wrap(decode_record(payload))
        read.id = "g"
        assert read == group
        assert encode_record(read.record()) == payload
        assert wrap_all([decode_record(payload)]) == [wrap(decode_record(payload))]
        for twin in (
            FrameGroup.from_dict(group.to_dict()),
            copy.copy(group),
            pickle.loads(pickle.dumps(group)),
        ):
            assert twin == group
            assert encode_record(twin.record()) == payload
        single = SingleFrame(source="s3://b/a")
        assert wrap(decode_record(encode_record(single))) == single

    def test_a_damaged_record_that_names_an_unknown_source_is_unreadable(self):
        group = FrameGroup(frames={"left": SingleFrame(), "right": SingleFrame()})
        group["left"].add_annotation(frame_class="night")
        payload = encode_record(group.record())
        assert payload.count(b"left") == 2
        head, _, tail = payload.rpartition(b"left")
        damaged = decode_record(head + b"lost" + tail)
        with pytest.raises(UnreadableError, match=r"names the source 'left', .* one of \['lost', 'right'\]"):
            wrap(damaged)

    def test_several_frames_with_the_default_name(self):
        group = FrameGroup(frames={"default": SingleFrame(), "other": SingleFrame()})
        assert wrap(decode_record(encode_record(group.record()))) == group

    def test_metadata_and_names_do_not_mix(self):
        group = FrameGroup(id="g", metadata={"left": 1})
        message = "frame 'g': metadata: the key 'left' is the name of a frame"
        with pytest.raises(InvalidValueError, match=message):
            group["left"] = SingleFrame()
        with pytest.raises(InvalidValueError, match=message):
            FrameGroup(id="g", metadata={"left": 1}, frames={"left": SingleFrame()})
        group.metadata = None
        group["left"] = SingleFrame()
        with pytest.raises(InvalidValueError, match=message):
            group.metadata = {"left": 1}
        assert group.metadata == {}
        group.metadata["left"] = 1
        for call in (group.validated, group.record, group.to_dict, group.copy, lambda: pickle.dumps(group)):
            with pytest.raises(InvalidValueError, match=message):
                call()

    @pytest.mark.parametrize(
        ("key", "frame", "message"),
        [
            ("", SingleFrame(), "frames must be a non-empty string, not ''"),
            (5, SingleFrame(), "frames must be a string, not 5"),
            ("a", "x.jpg", r"frames\['a'\] must be a SingleFrame, not 'x.jpg'"),
            ("a", full_group(), r"frames\['a'\] must be a SingleFrame"),
            ("a", full_group().record(), r"frames\['a'\] must be a SingleFrame"),
        ],
    )
    def test_refused_frames(self, key, frame, message):
        group = FrameGroup(id=3)
        with pytest.raises(InvalidValueError, match=f"frame '3': {message}"):
            group[key] = frame
        assert len(group) == 0

    def test_changes_in_place_are_caught(self):
        group = full_group()
        group["right"].metadata["a"] = math.nan
        with pytest.raises(
            InvalidValueError, match=r"frame 'g1': frames\['right'\].metadata.a must be .*, not nan"
        ):
            group.validated()
        group["right"].metadata["a"] = (1, -0.0)
        group.global_annotations[0].labels.append(5.5)
        with pytest.raises(
            InvalidValueError, match=r"frame 'g1': annotations\[0\].labels\[1\] must be .*, not 5.5"
        ):
            group.validated()
        group.global_annotations[0].labels.pop()
        group.validated()
        assert group["right"].metadata == {"a": [1, 0.0]}

    def test_context(self):
        group = full_group()
        assert group.context_id == "s3://b/l.jpg"
        group.context_id = "drive 1"
        assert wrap(decode_record(encode_record(group.record()))).context_id == "drive 1"
        assert FrameGroup().context_id is None
        assert FrameGroup(context_id="c").context_id == "c"
        group["left"].context_id = "own"
        with pytest.raises(
            InvalidValueError, match=r"frames\['left'\].context_id must be unset.*, not 'own'"
        ):
            group.validated()

    def test_annotations_of_several_sources_stay_global(self):
        wire = {
            "sources": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
            "rois": [
                {"type": "image", "label": ["x"], "sources": ["a", "b"]},
                {"type": "image", "label": ["y"]},
            ],
        }
        group = frame_from_dict(wire)
        assert [annotation.sources for annotation in group.global_annotations] == [("a", "b"), ()]
        assert group.to_dict()["rois"] == wire["rois"]
        del group["b"]
        with pytest.raises(
            InvalidValueError,
            match=r"annotations\[0\].sources must be names of sources of the frame \(a, c\)",
        ):
            group.validated()

    def test_global_annotations(self):
        group = FrameGroup()
        assert group.add_global_annotation(box2d_xywh=(1, 2, 3, 4), labels=["a"], id="x") == [0]
        assert group.add_global_annotation(labels=["b"]) == [1]
        assert group.remove_global_annotation(id="x") == BoundingBox2D(1, 2, 3, 4, labels=["a"], id="x")
        assert group.remove_global_annotation(0) == ImageAnnotation(labels=["b"])
        with pytest.raises(NotFoundError):
            group.remove_global_annotation(0)
        with pytest.raises(InvalidValueError, match="needs a geometry"):
            group.add_global_annotation()

    def test_equality(self):
        assert full_group() == full_group()
        other = full_group()
        other["left"].width = 11
        assert other != full_group()
        assert full_group() != full_group().record()
        assert FrameGroup(id=1) != FrameGroup(id=2)
        with pytest.raises(TypeError, match="unhashable"):
            hash(full_group())

    def test_copy_has_a_new_id(self):
        group = full_group()
        twin = group.copy()
        assert len(twin.id) == 32
        twin["left"].width = 99
        twin.metadata["x"] = 1
        assert group == full_group()

    def test_id_can_be_set(self):
        group = FrameGroup()
        group.id = 5
        assert group.id == "5"


def test_an_unknown_annotation_survives_in_a_group():
    group = FrameGroup(frames={"a": SingleFrame(annotations=[UnknownAnnotation("acme.z", [1])])})
    assert wrap(decode_record(encode_record(group.record()))) == group
    assert pickle.loads(pickle.dumps(group)) == group
