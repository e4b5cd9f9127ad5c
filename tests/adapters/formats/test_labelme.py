"""LabelMe JSON: shapes of all versions, embedded images, and what is flawed."""

from __future__ import annotations

import base64
import json
import math
import tempfile
from pathlib import Path

import pytest
from data_sets import (
    HEIGHT,
    WIDTH,
    boxes,
    eighths,
    ellipses,
    frames,
    image,
    keypoints,
    labels,
    lengths,
    make,
    pixel_polygons,
    plain,
    polygons,
    read,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode import DatasetVersion
from framelode.adapters.formats.registry import sniff_format
from framelode.engine.annotations.types import Ellipse2D, ImageAnnotation, KeyPoints2D

values = st.integers(-5, 5) | st.text(st.characters(codec="utf-8"), max_size=4) | st.booleans()
details = st.fixed_dictionaries(
    {},
    optional={
        "group_id": st.integers(0, 9),
        "description": st.text(st.characters(codec="utf-8"), min_size=1, max_size=4),
        "flags": st.dictionaries(st.sampled_from("abc"), st.booleans(), min_size=1),
        "difficult": values,
    },
)
circles = st.builds(
    lambda x, y, r, label: Ellipse2D(x, y, r, r, labels=label), eighths, eighths, lengths, labels
)
lines = st.builds(
    lambda points, label: KeyPoints2D(points, labels=label, metadata={"shape": "polyline"}),
    st.lists(st.tuples(eighths, eighths), min_size=2, max_size=4),
    labels,
)


@st.composite
def shapes(draw, more=keypoints):
    shape = draw(st.one_of(boxes(turned=False), polygons, keypoints, circles, pixel_polygons(), lines, more))
    shape.metadata = {**shape.metadata, **draw(details)}
    shape.confidence = draw(st.none() | st.floats(0, 1))
    return shape


metadata = st.dictionaries(
    st.sampled_from(["camera", "splits", "note"]), values | st.lists(values, max_size=2)
)
flags = st.lists(labels, unique=True, max_size=2).map(
    lambda some: [ImageAnnotation(labels=each) for each in some]
)
listed = st.lists(
    st.tuples(st.tuples(flags, st.lists(shapes(), max_size=3)).map(lambda two: two[0] + two[1]), metadata),
    min_size=1,
    max_size=3,
)


@examples(40, 1000)
@given(listed)
def test_what_is_written_is_read_again(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("labelme", made, Path(folder, "to"))
        assert report.losses == []
        found, again, _ = read("labelme", Path(folder, "to"))
    assert (again.problems, again.losses) == ([], [])
    assert [plain(frame) for frame in found.values()] == [plain(frame) for frame in made]


@examples(30, 300)
@given(frames(shapes(ellipses | boxes())))
def test_what_cannot_be_held_is_reported(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("labelme", made, Path(folder, "to"))
        found, _, _ = read("labelme", Path(folder, "to"))
    lost = sum(each.count for each in report.losses)
    pairs = [
        (before, after)
        for one, other in zip(made, found.values(), strict=True)
        for before, after in zip(one.annotations, other.annotations, strict=True)
    ]
    assert lost == sum(before.type != after.type for before, after in pairs)
    for before, after in pairs:
        assert after.get_bounding_box() == pytest.approx(before.get_bounding_box(), abs=0.1)


def document(*shapes, **more):
    given = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "0.png", "imageData": None}
    return {**given, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more}


def shape(kind="rectangle", points=((1, 2), (11, 22)), label="car", **more):
    return {
        "label": label,
        "points": [list(point) for point in points],
        "shape_type": kind,
        "flags": {},
        **more,
    }


@pytest.fixture
def labelme(tmp_path):
    """Write a file of LabelMe beside two images, and read it."""

    def make(given, name="0.json"):
        for number in range(2):
            image(tmp_path / f"{number}.png", number)
        content = given if isinstance(given, bytes) else json.dumps(given).encode()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        found, report, _ = read("labelme", tmp_path)
        return found, report

    return make


def test_versions_go_out_and_come_in(engine, tmp_path):
    image(tmp_path / "from" / "0.png")
    given = document(
        shape(), shape("circle", ((10, 10), (13, 14))), flags={"night": True, "rain": False}, camera=3
    )
    (tmp_path / "from" / "0.json").write_text(json.dumps(given))
    done = DatasetVersion.from_labelme(tmp_path / "from", "d")
    assert (done.added, done.annotations, done.problems) == (1, 3, [])
    (frame,) = done.version.get_iterator()
    assert [each.labels for each in frame.annotations] == [["night"], ["car"], ["car"]]
    assert frame.annotations[2].values == [10, 10, 5, 5, 0]
    assert frame.metadata == {"camera": 3, "flags": {"rain": False}}
    out = done.version.to_labelme(tmp_path / "to")
    assert (out.images, out.losses) == (1, [])
    assert sniff_format(tmp_path / "to").name == "labelme"
    assert DatasetVersion.from_labelme(tmp_path / "from", "d").unchanged == 1


def test_an_embedded_image_is_compared_but_not_recorded(labelme, tmp_path):
    small = base64.b64encode(image(tmp_path / "s" / "small.png", size=(3, 5)).read_bytes()).decode()
    found, report = labelme(document(shape(), imageData=small))
    assert [each.reason for each in report.problems] == ["size is 64 x 48, that of the embedded image 3 x 5"]
    assert small not in str(found["0.png"].to_dict())


def test_an_image_that_is_only_embedded_is_listed(labelme, tmp_path):
    data = base64.b64encode(image(tmp_path / "s" / "0.png").read_bytes()).decode()
    _, report = labelme(document(shape(), imagePath="gone.png", imageData=data))
    assert "it is only embedded" in report.problems[0].reason


@pytest.mark.parametrize("path", ["..\\0.png", "C:\\data\\0.png", "../0.png", "/data/set/0.png", "0.png"])
def test_paths_of_other_machines_are_understood(labelme, path):
    found, report = labelme(document(shape(), imagePath=path), "json/0.json")
    assert report.problems == []
    assert found["0.png"].annotations[0].values == [1, 2, 10, 20]


def test_corners_in_any_order_and_four_corners_are_boxes(labelme):
    turned = ((0, 3), (4, 0), (10, 8), (6, 11))
    found, report = labelme(
        document(
            shape(points=((11, 2), (1, 22))),
            shape("rotation", turned),
            shape("rectangle", ((1, 2), (11, 2), (11, 22), (1, 22))),
            {"label": "old", "points": [[1, 1], [2, 1], [2, 2]]},
        )
    )
    assert report.problems == []
    box, rotated, four, old = found["0.png"].annotations
    assert box.values == four.values == [1, 2, 10, 20]
    assert rotated.angle == pytest.approx(math.atan2(-3, 4))
    assert old.type == "polygon2d"


FLAWED = [
    (shape(points=((1, 2),)), "cannot have 1 points"),
    (shape("polygon"), "cannot have 2 points"),
    (shape("heart"), "not known"),
    (shape(label=""), "no label"),
    (shape(label=None), "no label"),
    (shape(points=((1, "x"), (2, 3))), "finite numbers"),
    ({"label": "a", "points": "no"}, "pairs of x and y"),
    (shape(score=2), "from 0 to 1"),
    (shape("mask", mask="AAAA"), "no image"),
    (shape("mask"), "no image"),
    ("no object", "must be an object"),
]


@pytest.mark.parametrize(("flawed", "told"), FLAWED)
def test_a_flawed_shape_is_listed_and_the_rest_is_imported(labelme, flawed, told):
    found, report = labelme(document(shape(), flawed, shape()))
    (problem,) = report.problems
    assert (problem.file, dict(report.flaws)) == ("0.json", {"annotation": 1})
    assert told in problem.reason
    assert len(found["0.png"].annotations) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b'{"shapes": ' + b"[" * 10**6, "not valid JSON"),
        (b'["shapes"]', "no list of shapes"),
        (b'{"shapes": [], "note": "\\ud800"}', "not valid JSON"),
        (document(shape(), imageWidth="wide"), "wide x 48"),
    ],
)
def test_a_flawed_file_is_listed(labelme, given, told):
    found, report = labelme(given)
    assert told in report.problems[0].reason
    assert sorted(found) == ["0.png", "1.png"]
