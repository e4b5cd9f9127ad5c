"""Values that people have: taken where their meaning is plain, else refused in one line."""

import sys
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest

from framelode.engine.annotations.types import (
    BoundingBox2D,
    ComplexPolygon2D,
    ImageAnnotation,
    KeyPoints2D,
    Polygon2D,
)
from framelode.engine.errors import InvalidValueError
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.single_frame import SingleFrame, decode_record

ID = uuid.UUID(int=7)


class Colour(Enum):
    RED = "red"
    SEVEN = 7


class Level(IntEnum):
    HIGH = 3


VALUES = [
    (np.float32(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (np.int8(-3), -3),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(["a", "b"]), ["a", "b"]),
    (np.array(2.5), 2.5),
    (np.datetime64("2026-03-01"), "2026-03-01"),
    (np.array(["2026-03-01"], "datetime64[ns]"), ["2026-03-01T00:00:00.000000000"]),
    (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
    (date(2026, 3, 1), "2026-03-01"),
    (Path("/a/b.jpg"), "/a/b.jpg"),
    (PurePosixPath("b.jpg"), "b.jpg"),
    (Decimal("0.5"), 0.5),
    (Decimal("0.1"), "0.1"),
    (Decimal("1e400"), "1E+400"),
    (ID, str(ID)),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
]


@pytest.mark.parametrize(("value", "plain"), VALUES, ids=[repr(value) for value, _ in VALUES])
def test_taken_in_metadata(value, plain):
    given = SingleFrame(metadata={"k": value, "in": [{"deep": value}]})
    later = SingleFrame()
    later.metadata["k"] = value
    later.metadata["in"] = [{"deep": value}]
    later.validated()
    for frame in (given, later, decode_record(encode_record(given))):
        assert frame.metadata == {"k": plain, "in": [{"deep": plain}]}
        assert type(frame.metadata["k"]) is type(plain)


@pytest.mark.parametrize(
    "value",
    [
        {1},
        b"x",
        pytest.param(object(), id="an object"),
        1j,
        timedelta(1),
        np.timedelta64(1, "s"),
        np.array([np.nan]),
        Decimal("NaN"),
        np.array([1j]),
    ],
    ids=repr,
)
def test_refused_in_metadata(value):
    with pytest.raises(InvalidValueError, match=r"^frame 'f': metadata\.k.* must be .*, not [^\n]*$"):
        SingleFrame(id="f", metadata={"k": value})


@pytest.fixture
def pandas(monkeypatch):
    class NaTType(datetime):
        def __repr__(self):
            return "NaT"

    fake = SimpleNamespace(NA=object(), NaT=NaTType(1, 1, 1))
    monkeypatch.setitem(sys.modules, "pandas", sys.modules.get("pandas", fake))
    return sys.modules["pandas"]


def test_missing_values_are_left_out_of_dicts_only(pandas):
    for missing in (pandas.NA, pandas.NaT, np.datetime64("NaT")):
        frame = SingleFrame(metadata={"a": missing, "b": {"c": missing, "d": 1}, "e": [{"f": missing}]})
        assert frame.metadata == {"b": {"d": 1}, "e": [{}]}
        frame.metadata["a"] = missing
        frame.validated()
        assert frame.metadata == {"b": {"d": 1}, "e": [{}]}
        with pytest.raises(InvalidValueError, match=r"metadata\.a\[1\] is missing: .* left out of a dict"):
            SingleFrame(metadata={"a": [1, missing]})
        with pytest.raises(InvalidValueError, match=r"labels\[0\] must be a string"):
            ImageAnnotation(labels=[missing])
        with pytest.raises(InvalidValueError, match="x must be a finite number"):
            BoundingBox2D(missing, 2, 3, 4)


def test_labels():
    taken = [3, np.int64(4), Level.HIGH, Colour.RED, Colour.SEVEN, np.str_("a"), Path("b"), ID]
    texts = ["3", "4", "3", "red", "7", "a", "b", str(ID)]
    assert ImageAnnotation(labels=taken).labels == texts
    assert ImageAnnotation(labels=np.array([1, 2])).labels == ["1", "2"]
    assert ImageAnnotation(labels=5).labels == ["5"]
    assert ImageAnnotation(labels=Colour.RED).labels == ["red"]
    assert (
        ImageAnnotation(labels=["dög".encode()]).labels
        == ImageAnnotation(labels="dög".encode()).labels
        == ["dög"]
    )
    with pytest.raises(
        InvalidValueError, match=r"labels\[0\] must be a string, or bytes in UTF-8, not b'.xff'"
    ):
        ImageAnnotation(labels=[b"\xff"])
    frame = SingleFrame(id=ID)
    assert frame.id == str(ID)
    frame.add_annotation(frame_class=[5])
    assert frame.get_annotations(label=5) == frame.get_annotations(labels=[5]) == frame.annotations


@pytest.mark.parametrize("value", [True, 1.5, {1}, date(2026, 3, 1), Decimal(1)], ids=repr)
def test_refused_as_labels(value):
    with pytest.raises(InvalidValueError, match=r"labels\[0\] must be a string, not"):
        ImageAnnotation(labels=[value])


CONTOUR = np.array([[[0, 0]], [[4, 0]], [[4, 3]]], np.int32)
TRIANGLE = Polygon2D([(0, 0), (4, 0), (4, 3)])


@pytest.mark.parametrize(
    "points",
    [CONTOUR, CONTOUR.tolist(), CONTOUR[:, 0], CONTOUR.ravel(), [0, 0, 4, 0, 4, 3], [*CONTOUR[:, 0]]],
    ids=["contour", "list of a contour", "(n, 2)", "flat array", "flat list", "list of arrays"],
)
def test_points(points):
    assert Polygon2D(points) == TRIANGLE
    frame = SingleFrame()
    frame.add_annotation(poly2d_xy=points, points2d_xy=points)
    assert frame.annotations == [TRIANGLE, KeyPoints2D([(0, 0), (4, 0), (4, 3)])]


@pytest.mark.parametrize(
    "rings",
    [[CONTOUR, CONTOUR], (CONTOUR, CONTOUR[:, 0]), np.stack([CONTOUR[:, 0]] * 2), [[0, 0, 4, 0, 4, 3]] * 2],
    ids=["contours", "mixed", "array", "flat rings"],
)
def test_rings(rings):
    frame = SingleFrame()
    frame.add_annotation(poly2d_xy=rings)
    assert frame.annotations == [ComplexPolygon2D([[(0, 0), (4, 0), (4, 3)]] * 2)]


def test_numbers():
    box = BoundingBox2D(Decimal("1.5"), np.array(2), np.float32(3), np.int8(4), confidence=Decimal("0.5"))
    assert (box.poly, box.confidence) == ((1.5, 2, 3, 4), 0.5)
    frame = SingleFrame(width=np.array(640), height=np.int64(480), timestamp=Decimal(7), size=np.uint8(5))
    assert (frame.width, frame.height, frame.timestamp, frame.size) == (640, 480, 7, 5)
    for wrong in (np.array([1, 2]), np.array([1]), "1", True, Decimal("NaN"), 1j):
        with pytest.raises(InvalidValueError, match=r"^x must be a finite number, not [^\n]*$"):
            BoundingBox2D(wrong, 2, 3, 4)
        with pytest.raises(InvalidValueError, match=r"^frame: width must be [^\n]*$"):
            SingleFrame(width=wrong)
