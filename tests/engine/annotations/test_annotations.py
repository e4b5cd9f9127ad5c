"""The annotation types: what they take, what they refuse, and that nothing of them is lost."""

import copy
import math
import pickle

import msgspec
import numpy as np
import pytest

from framelode.engine.annotations.base import Annotation, register_annotation
from framelode.engine.annotations.registry import UnknownAnnotation, annotation_from_dict
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
from framelode.engine.errors import ConflictError, InvalidTypeError, InvalidValueError, UsageError
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.single_frame import SingleFrame, decode_record

COMMON = {
    "id": "7",
    "labels": ["car", "red"],
    "confidence": 0.25,
    "metadata": {"by": {"who": [1, None, True]}},
}


def examples():
    return [
        BoundingBox2D(1, 2, 30, 40, **COMMON),
        BoundingBox2D(1, 2, 30, 40, 0.5),
        BoundingBox3D([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], **COMMON),
        Polygon2D([(0, 0), (4, 0), (4, 3)], **COMMON),
        Polygon3D([(0, 0, 1), (4, 0, 1), (4, 3, 2)]),
        ComplexPolygon2D([[(0, 0), (9, 0), (9, 9)], [1, 1, 2, 1, 2, 2, 1, 2]], **COMMON),
        ComplexPolygon3D([[(0, 0, 0), (9, 0, 0), (9, 9, 0)]]),
        Ellipse2D(5, 6, 3, 2, 0.1, **COMMON),
        KeyPoints2D([1, 2, 3, 4], **COMMON),
        KeyPoints3D([1, 2, 3, 4, 5, 6]),
        Mask((1, 2, 255), "00", **COMMON),
        Mask((0, 0, 0)),
        ImageAnnotation(**COMMON),
        UnknownAnnotation("acme.elsewhere", [1, 2.5], **COMMON),
    ]


def name_of(annotation):
    return annotation.type


@pytest.mark.parametrize("annotation", examples(), ids=name_of)
class TestNothingIsLost:
    def test_wire_form(self, annotation):
        assert annotation_from_dict(annotation.to_dict()) == annotation

    def test_wire_form_is_plain_json(self, annotation):
        wire = annotation.to_dict()
        assert msgspec.json.decode(msgspec.json.encode(wire)) == wire

    def test_stored_form(self, annotation):
        payload = encode_record(SingleFrame(annotations=[annotation]))
        record = decode_record(payload)
        assert record.annotations == [annotation]
        assert type(record.annotations[0]) is type(annotation)
        assert encode_record(record) == payload

    @pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
    def test_copies(self, annotation, twin):
        assert twin(annotation) == annotation

    def test_repr_names_the_type(self, annotation):
        assert repr(annotation).startswith(type(annotation).__name__ + "(")


class TestCommonFields:
    def test_values_are_read_back(self):
        box = BoundingBox2D(1, 2, 3, 4, **COMMON)
        assert (box.id, box.labels, box.confidence, box.metadata) == tuple(COMMON.values())
        assert box.sources == ()

    def test_what_is_given_is_copied(self):
        labels, metadata = ["a"], {"k": [1]}
        box = BoundingBox2D(1, 2, 3, 4, labels=labels, metadata=metadata)
        labels.append("b")
        metadata["k"].append(2)
        assert (box.labels, box.metadata) == (["a"], {"k": [1]})

    def test_forms_that_are_taken(self):
        assert ImageAnnotation(labels="one").labels == ["one"]
        assert ImageAnnotation(labels=("a", "b")).labels == ["a", "b"]
        assert ImageAnnotation(labels=np.array(["a", "b"])).labels == ["a", "b"]
        assert ImageAnnotation(id=12).id == "12"
        assert ImageAnnotation(id=np.int64(12)).id == "12"
        confidence = ImageAnnotation(confidence=np.float32(0.5)).confidence
        assert (confidence, type(confidence)) == (0.5, float)

    def test_properties_can_be_set_and_unset(self):
        note = ImageAnnotation(**COMMON)
        note.id = note.labels = note.confidence = note.metadata = None
        assert note == ImageAnnotation()
        note.id, note.labels, note.confidence, note.metadata = COMMON.values()
        assert note == ImageAnnotation(**COMMON)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("confidence", 1.5, r"confidence must be a number in \[0, 1\].*, not 1.5"),
            ("confidence", -0.1, r"confidence must be .*, not -0.1"),
            ("confidence", True, "confidence must be a finite number, not True"),
            ("confidence", math.nan, "confidence must be .*, not nan"),
            ("confidence", "0.5", "confidence must be .*, not '0.5'"),
            ("labels", 5.5, "labels must be a list of strings, not 5.5"),
            ("labels", ["a", 5.5], r"labels\[1\] must be a string, not 5.5"),
            ("labels", {"a"}, r"labels must be .*, not {'a'}"),
            ("labels", ["\ud800"], r"labels\[0\] must be a string without lone surrogates"),
            ("id", "", "id must be .*, not ''"),
            ("id", True, "id must be .*, not True"),
            ("id", ["a"], r"id must be a string or a number, not \['a'\]"),
            ("metadata", [1], r"metadata must be a dict.*, not \[1\]"),
            ("metadata", {"a": {1: 2}}, "each key of metadata.a must be a string, not 1"),
            ("metadata", {"a": object}, "metadata.a must be a string, a number, a boolean, None.*, not "),
        ],
    )
    def test_refused_at_birth_and_when_set(self, field, value, message):
        with pytest.raises(InvalidValueError, match=message):
            ImageAnnotation(**{field: value})
        note = ImageAnnotation(**COMMON)
        with pytest.raises(InvalidValueError, match=message):
            setattr(note, field, value)
        assert note == ImageAnnotation(**COMMON)


class TestCoordinates:
    @pytest.mark.parametrize("kind", [tuple, np.array, lambda v: np.array(v, np.float32), iter])
    def test_flat_forms(self, kind):
        assert KeyPoints2D(kind([1, 2, 3, 4])).points == [(1.0, 2.0), (3.0, 4.0)]

    @pytest.mark.parametrize("kind", [list, np.array, lambda v: zip([1, 3], [2, 4], strict=True)])
    def test_nested_forms(self, kind):
        assert KeyPoints2D(kind([(1, 2), (3, 4)])).points == [(1.0, 2.0), (3.0, 4.0)]

    def test_all_are_plain_floats_without_negative_zero(self):
        box = BoundingBox2D(np.float32(1.5), -0.0, np.int8(3), 4, np.float64(-0.0))
        assert set(map(type, box.poly)) == {float}
        assert box.poly == (1.5, 0.0, 3.0, 4.0)
        assert math.copysign(1, box.y) == 1

    def test_large_finite_numbers_are_allowed(self):
        assert KeyPoints2D([1.7e308, 1.7e308]).points == [(1.7e308, 1.7e308)]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: BoundingBox2D(math.nan, 0, 1, 1), "x must be a finite number, not nan"),
            (lambda: BoundingBox2D(0, math.inf, 1, 1), "y must be .*, not inf"),
            (lambda: BoundingBox2D(0, 10**400, 1, 1), "y must be .*, not 1000.*"),
            (lambda: BoundingBox2D(True, 0, 1, 1), "x must be .*, not True"),
            (lambda: BoundingBox2D("1", 0, 1, 1), "x must be .*, not '1'"),
            (
                lambda: BoundingBox2D(0, 0, -1, 1),
                "width must be a size of at least 0, not -1.0",
            ),
            (lambda: BoundingBox2D(0, 0, 1, -1), "height must be .*, not -1.0"),
            (lambda: BoundingBox2D(0, 0, 1, 1, None), "angle must be .*, not None"),
            (lambda: BoundingBox3D([1, 2, 3]), "poly must be the numbers front_x, front_y"),
            (lambda: BoundingBox3D([0] * 9 + [-1]), "back_height must be .*, not -1.0"),
            (lambda: Ellipse2D(0, 0, -1, 1), "rx must be .*, not -1.0"),
            (lambda: Polygon2D([1, 2, 3]), "points must be one or more points of 2 numbers"),
            (lambda: Polygon2D([]), "points must be one or more points of 2 numbers"),
            (lambda: Polygon3D([(1, 2)]), r"points\[0\] must be a point of 3 numbers.*, not \(1, 2\)"),
            (lambda: Polygon2D([(1, 2), 3]), r"points\[1\] must be .*, not 3"),
            (lambda: Polygon2D("1234"), "points must be .*, not '1234'"),
            (lambda: KeyPoints2D([1, None]), r"points\[1\] must be .*, not None"),
            (lambda: KeyPoints2D(np.array([True, False])), r"points\[0\] must be .*, not True"),
            (lambda: ComplexPolygon2D([]), "rings must be one or more rings"),
            (lambda: ComplexPolygon2D([[1, 2], [3]]), r"rings\[1\] must be one or more points"),
            (lambda: Mask((1, 2)), "mask_rgb must be red, green and blue, each from 0 to 255"),
            (lambda: Mask((1, 2, 256)), "mask_rgb must be red, green and blue"),
            (lambda: Mask((1, 2, 2.5)), r"mask_rgb\[2\] must be a 64-bit integer, not 2.5"),
            (lambda: Mask((1, 2, 3), ""), "mask_id must be .*, not ''"),
            (
                lambda: UnknownAnnotation("box2d"),
                r"type must be an unregistered type \(this one is BoundingBox2D.*, not 'box2d'",
            ),
        ],
    )
    def test_refused(self, make, message):
        with pytest.raises(InvalidValueError, match=message):
            make()

    def test_each_coordinate_is_checked_when_set(self):
        box = BoundingBox2D(1, 2, 3, 4, 0.5)
        box.x, box.y, box.width, box.height, box.angle = np.float32(5), 6, 7, 8, 0
        assert box == BoundingBox2D(5, 6, 7, 8)
        with pytest.raises(InvalidValueError, match=r"width must be .*, not -1.0"):
            box.width = -1
        with pytest.raises(InvalidValueError, match="angle must be .*, not nan"):
            box.angle = math.nan
        assert box == BoundingBox2D(5, 6, 7, 8)

    def test_other_geometries_can_be_set(self):
        ellipse = Ellipse2D(1, 2, 3, 4)
        ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry, ellipse.theta = 5, 6, 7, 8, 9
        assert ellipse == Ellipse2D(5, 6, 7, 8, 9)
        box = BoundingBox3D(range(10))
        box.front, box.back = box.back, box.front
        assert box.poly == (5, 6, 7, 8, 9, 0, 1, 2, 3, 4)
        polygon = Polygon2D([0, 0])
        polygon.points = [(1, 2), (3, 4)]
        assert polygon == Polygon2D([1, 2, 3, 4])
        rings = ComplexPolygon2D([[0, 0]])
        rings.rings = [[(1, 2), (3, 4)], [(5, 6)]]
        assert rings.rings == [[(1, 2), (3, 4)], [(5, 6)]]
        mask = Mask((1, 2, 3))
        mask.mask_rgb, mask.mask_id = (4, 5, 6), "01"
        assert (mask.mask_rgb, mask.mask_id) == ((4, 5, 6), "01")


NAMED = [
    (BoundingBox2D, "bounding_box_xywh", [1, 2, 3, 4], "b2d"),
    (BoundingBox3D, "bounding_box_3d_xyzwhxyzwh", list(range(10)), "b3d"),
    (Polygon2D, "polygon_xy", [(0, 0), (4, 0), (4, 3)], "p2d"),
    (Polygon3D, "polygon_xyz", [(0, 0, 1), (4, 0, 1)], "p3d"),
    (ComplexPolygon2D, "polygons_xy", [[(0, 0), (4, 0)], [(1, 1)]], "cp2d"),
    (ComplexPolygon3D, "polygons_xyz", [[(0, 0, 1), (4, 0, 1)]], "cp3d"),
    (KeyPoints2D, "keypoints_xy", [(1, 2), (3, 4)], "k2d"),
    (KeyPoints3D, "keypoints_xyz", [(1, 2, 3)], "k3d"),
    (Ellipse2D, "ellipse2d_xyrrt", [1, 2, 3, 4, 0.5], "elp"),
    (Mask, "mask_rgb", (1, 2, 3), "mask"),
    (ImageAnnotation, "image_classes", ["a", "b"], "im"),
]


@pytest.mark.parametrize(("cls", "name", "value", "short"), NAMED, ids=[cls.__name__ for cls, *_ in NAMED])
class TestGeometriesByTheNamesOfTheFollowedApi:
    def test_as_keyword_first_argument_and_attribute(self, cls, name, value, short):
        made = cls(**{name: value}, id="a")
        assert made == cls(value, id="a")
        assert getattr(made, name) == value
        setattr(made, name, value)
        assert made == cls(value, id="a")
        assert made.get_type() == cls.get_type() == short

    def test_values_give_the_same_geometry_back(self, cls, name, value, short):
        made = cls(**{name: value})
        if made.poly:
            other = made.copy()
            other.values = made.values
            assert other == made


class TestNamesOfTheFollowedApi:
    def test_a_turned_box(self):
        box = BoundingBox2D(bounding_box_xywh=(1, 2, 3, 4, 0.5))
        assert box == BoundingBox2D((1, 2, 3, 4), angle=0.5) == BoundingBox2D(1, 2, 3, 4, 0.5)
        assert box.bounding_box_xywh == [1, 2, 3, 4]
        assert box.bounding_box_xywha == [1, 2, 3, 4, 0.5]
        box.bounding_box_xywha = [5, 6, 7, 8, 0]
        assert box == BoundingBox2D(5, 6, 7, 8)

    def test_an_ellipse(self):
        ellipse = Ellipse2D(5, 6, 3, 2)
        assert (ellipse.center, ellipse.radii, ellipse.angle) == ((5, 6), (3, 2), 0)
        assert ellipse.get_polygon() == [pytest.approx(p) for p in [(8, 6), (5, 8), (2, 6), (5, 4)]]
        assert len(ellipse.get_polygon(num_point=7)) == 7
        with pytest.raises(InvalidValueError, match="num_point must be an integer of at least 3, not 2"):
            ellipse.get_polygon(2)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: BoundingBox2D(1, bounding_box_xywh=(1, 2, 3, 4)),
            lambda: BoundingBox2D((1, 2, 3, 4), width=3),
            lambda: BoundingBox2D(1, 2, 3, 4, bounding_box_xywh=(1, 2, 3, 4)),
            lambda: Ellipse2D((1, 2, 3, 4), theta=1),
            lambda: ImageAnnotation(image_classes="a", labels="a"),
        ],
    )
    def test_one_value_twice_is_refused(self, make):
        with pytest.raises(InvalidValueError, match="pass either"):
            make()

    def test_a_copy_is_another_object_and_another_id(self):
        box = BoundingBox2D(1, 2, 3, 4, **COMMON)
        copied = box.copy()
        assert copied.id not in {None, box.id}
        copied.labels.append("blue")
        copied.id = box.id
        assert copied != box
        assert ImageAnnotation(labels="a").copy() == ImageAnnotation(labels="a")


class TestBoundingBoxes:
    @pytest.mark.parametrize(
        ("annotation", "box"),
        [
            (BoundingBox2D(1, 2, 30, 40), [1, 2, 30, 40]),
            (BoundingBox2D(0, 0, 4, 2, math.pi / 2), [1, -1, 2, 4]),
            (BoundingBox2D(0, 0, 2, 2, math.pi / 4), [1 - 2**0.5, 1 - 2**0.5, 2 * 2**0.5, 2 * 2**0.5]),
            (BoundingBox3D([0, 0, 5, 4, 4, 2, -1, 9, 6, 2]), [0, -1, 8, 5]),
            (Polygon2D([(0, 1), (4, 0), (4, 3)]), [0, 0, 4, 3]),
            (Polygon3D([(0, 1, 9), (4, 0, 9), (4, 3, 9)]), [0, 0, 4, 3]),
            (ComplexPolygon2D([[(0, 1), (4, 0)], [(9, 9)]]), [0, 0, 9, 9]),
            (ComplexPolygon3D([[(0, 1, 50), (4, 0, 50)], [(9, 9, 50)]]), [0, 0, 9, 9]),
            (KeyPoints2D([5, 6]), [5, 6, 0, 0]),
            (KeyPoints3D([5, 6, 7]), [5, 6, 0, 0]),
            (Ellipse2D(5, 6, 3, 2), [2, 4, 6, 4]),
            (Ellipse2D(0, 0, 3, 2, math.pi / 2), [-2, -3, 4, 6]),
            (Mask((1, 2, 3)), [0, 0, 0, 0]),
            (ImageAnnotation(labels="a"), [0, 0, 0, 0]),
            (UnknownAnnotation("acme.x", [1, 2]), [0, 0, 0, 0]),
        ],
        ids=lambda value: getattr(value, "type", ""),
    )
    def test_around_the_geometry(self, annotation, box):
        assert annotation.get_bounding_box() == pytest.approx(box)

    @pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 2.5, -4.0])
    def test_a_turned_box_is_exact(self, angle):
        box = BoundingBox2D(3, 4, 10, 2, angle)
        xs, ys = zip(*box.vertices, strict=True)
        assert box.get_bounding_box() == pytest.approx(
            [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        )

    @pytest.mark.parametrize("theta", [0.3, 1.0, 2.5])
    def test_a_turned_ellipse_is_exact(self, theta):
        turns = np.linspace(0, 2 * np.pi, 100_001)
        u, v = 5 * np.cos(turns), 2 * np.sin(turns)
        xs = 1 + u * np.cos(theta) - v * np.sin(theta)
        ys = 2 + u * np.sin(theta) + v * np.cos(theta)
        expected = [xs.min(), ys.min(), np.ptp(xs), np.ptp(ys)]
        assert Ellipse2D(1, 2, 5, 2, theta).get_bounding_box() == pytest.approx(expected, abs=1e-6)

    def test_vertices_of_a_box_in_space(self):
        vertices = BoundingBox3D([0, 0, 5, 4, 3, 1, 1, 9, 2, 2]).vertices
        assert vertices[:4] == [(0, 0, 5), (4, 0, 5), (4, 3, 5), (0, 3, 5)]
        assert vertices[4:] == [(1, 1, 9), (3, 1, 9), (3, 3, 9), (1, 3, 9)]


class TestWireForm:
    def test_a_box(self):
        assert BoundingBox2D(1, 2, 3, 4, **COMMON).to_dict() == {
            "type": "box2d",
            "id": "7",
            "label": ["car", "red"],
            "poly": [1.0, 2.0, 3.0, 4.0],
            "confidence": 0.25,
            "meta": {"by": {"who": [1, None, True]}},
        }

    def test_a_mask(self):
        assert Mask((1, 2, 3), "00").to_dict() == {"type": "mask", "mask": {"id": "00", "value": [1, 2, 3]}}

    def test_none_is_unset(self):
        wire = dict.fromkeys(("id", "label", "poly", "confidence", "meta", "sources", "mask"))
        assert annotation_from_dict({"type": "image", **wire}) == ImageAnnotation()

    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            ("box", "annotation must be a dict.*, not 'box'"),
            ({"type": "", "poly": [1]}, "annotation.type must be .*, not ''"),
            ({"type": "box2d"}, "annotation.poly must be the numbers x, y, width, height, angle"),
            ({"type": "box2d", "poly": [1, 2, -3, 4]}, "annotation.width must be .*, not -3.0"),
            (
                {"type": "box2d", "lables": ["a"]},
                "annotation.lables is an unknown field: it must be one of .*label",
            ),
            ({"type": "polygon2d", "poly": [1, 2, 3]}, "annotation.poly must be one or more points"),
            ({"type": "polygon2d", "poly": {"x": 1}}, "annotation.poly must be a list of numbers"),
            (
                {"type": "complex_polygon2d", "poly": [2, 1, 5, 5]},
                "annotation.poly must be the number of rings",
            ),
            ({"type": "complex_polygon2d", "poly": []}, "annotation.poly must be the number of rings"),
            (
                {"type": "complex_polygon2d", "poly": [1, 1.5, 5, 5, 5]},
                "annotation.poly must be the number of rings",
            ),
            ({"type": "complex_polygon2d", "poly": [1, -1]}, "annotation.poly must be the number of rings"),
            ({"type": "mask"}, "annotation.mask must be .*, not None"),
            ({"type": "mask", "mask": {"value": [1]}}, "annotation.mask.value must be red, green and blue"),
            ({"type": "mask", "mask": {"values": [1]}}, "annotation.mask.values is an unknown field"),
            ({"type": "image", "label": [1.5]}, r"annotation.label\[0\] must be .*, not 1.5"),
            ({"type": "image", "confidence": 2}, "annotation.confidence must be .*, not 2"),
            ({"type": "image", "sources": [""]}, r"annotation.sources\[0\] must be .*, not ''"),
            ({"type": "image", "meta": {"a": math.nan}}, "annotation.meta.a must be .*, not nan"),
        ],
    )
    def test_refused(self, wire, message):
        with pytest.raises(InvalidValueError, match=message):
            annotation_from_dict(wire)


class Arrow(Annotation, tag="test.arrow"):
    def __init__(self, tail, head, **common):
        super().__init__(**common)
        self.set_geometry([*tail, *head])

    @classmethod
    def check_geometry(cls, poly, path=""):
        numbers = super().check_geometry(poly, path)
        if len(numbers) != 4:
            raise InvalidValueError("an arrow has four numbers")
        return numbers

    @property
    def head(self):
        return self.poly[2:]


class TestTypesOfOnesOwn:
    def test_unregistered_then_registered(self):
        arrow = Arrow((1, 2), (3, 4), labels=["north"])
        stored = SingleFrame(annotations=[UnknownAnnotation("test.arrow", [1, 2, 3, 4], labels=["north"])])
        payload = encode_record(stored)
        before = decode_record(payload)
        assert type(before.annotations[0]) is UnknownAnnotation
        assert before.annotations[0].type == "test.arrow"
        assert encode_record(before) == payload
        with pytest.raises(
            InvalidValueError,
            match=r"annotations\[0\] must be .*registered with register_annotation, not Arrow",
        ):
            SingleFrame(annotations=[arrow])

        assert register_annotation(Arrow) is Arrow
        assert register_annotation(Arrow) is Arrow
        frame = SingleFrame(annotations=[arrow, BoundingBox2D(1, 2, 3, 4)])
        after = decode_record(encode_record(frame))
        assert type(after.annotations[0]) is Arrow
        assert after == frame
        assert after.annotations[0].head == (3, 4)
        assert decode_record(payload).annotations == [arrow]
        assert encode_record(decode_record(payload)) == payload
        assert annotation_from_dict(arrow.to_dict()) == arrow
        assert pickle.loads(pickle.dumps(arrow)) == arrow
        with pytest.raises(InvalidValueError, match="four numbers"):
            annotation_from_dict({"type": "test.arrow", "poly": [1]})
        with pytest.raises(
            InvalidValueError, match=r"must be an unregistered type \(this one is Arrow.*, not 'test.arrow'"
        ):
            UnknownAnnotation("test.arrow")

    def test_a_tag_belongs_to_one_class(self):
        class Other(Annotation, tag="box2d"):
            pass

        with pytest.raises(ConflictError, match="'box2d' is already registered as BoundingBox2D"):
            register_annotation(Other)

    def test_stored_fields_cannot_be_added(self):
        class Wider(Annotation, tag="test.wider"):
            extra: int = 0

        with pytest.raises(UsageError, match="Wider adds stored fields"):
            register_annotation(Wider)

    def test_a_tag_is_needed(self):
        class Bare(Annotation):
            pass

        for wrong in (Bare, int, 5, None):
            with pytest.raises(UsageError, match="must be a subclass of Annotation with its own tag"):
                register_annotation(wrong)

    def test_a_name_registers_a_class_without_a_tag(self):
        @Annotation.register(["test.point"])
        class Point(Annotation):
            """One point."""

        frame = SingleFrame()
        assert frame.add_annotation(**{"test.point": [1, 2], "labels": "corner"}) == [0]
        assert type(frame.annotations[0]) is Point
        assert frame.annotations[0].values == [1, 2]
        assert decode_record(encode_record(frame)).annotations == frame.annotations
        assert (Point.get_type(), Point.__doc__) == ("test.point", "One point.")
        with pytest.raises(InvalidTypeError, match=r"no argument 'test.pont': did you mean 'test.point'\?"):
            frame.add_annotation(**{"test.pont": [1, 2]})
        with pytest.raises(UsageError, match="has one name"):
            Annotation.register(["a", "b"])


def test_what_is_read_shares_nothing_with_its_dict():
    wire = {"rois": [{"type": "polygon2d", "label": ["car"], "poly": [1.0, 2.0]}]}
    SingleFrame.from_dict(wire).annotations[0].labels.append("bus")
    assert wire["rois"][0]["label"] == ["car"]
