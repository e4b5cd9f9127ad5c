"""CVAT XML: images, tracks of videos, and what is flawed."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
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
    make,
    pixel_polygons,
    plain,
    polygons,
    read,
    whole,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode import DatasetVersion
from framelode.adapters.formats.coco.rle import fill
from framelode.adapters.formats.geometry import flat_rings
from framelode.adapters.formats.registry import sniff_format
from framelode.engine.annotations.types import KeyPoints2D

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    max_size=5,
)
details = st.fixed_dictionaries(
    {},
    optional={
        "occluded": st.just(True),
        "z_order": st.integers(1, 9),
        "group_id": st.integers(0, 9),
        "source": st.just("auto"),
        "attributes": st.dictionaries(texts, texts, min_size=1, max_size=2),
    },
)


@st.composite
def skeletons(draw):
    names = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    points = draw(st.lists(st.tuples(eighths, eighths), min_size=len(names), max_size=len(names)))
    metadata = {"points": names}
    seen = draw(st.lists(st.integers(0, 2), min_size=len(names), max_size=len(names)))
    if any(seen) and set(seen) != {2}:
        metadata["visibility"] = seen
    return KeyPoints2D(points, labels=draw(labels), metadata=metadata)


def lines(shape, least, most):
    return st.lists(st.tuples(eighths, eighths), min_size=least, max_size=most).flatmap(
        lambda points: labels.map(lambda label: KeyPoints2D(points, labels=label, metadata={"shape": shape}))
    )


@st.composite
def shapes(draw):
    kinds = (
        boxes(),
        polygons,
        keypoints,
        ellipses,
        pixel_polygons(),
        skeletons(),
        lines("polyline", 2, 4),
        lines("cuboid", 8, 8),
    )
    shape = draw(st.one_of(*kinds))
    shape.metadata = {**shape.metadata, **draw(details)}
    return shape


@examples(40, 1000)
@given(frames(shapes() | whole, st.just({}) | st.just({"splits": ["train"]})))
def test_what_is_written_is_read_again(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("cvat", made, Path(folder, "to"), [{"name": "cat", "color": "#ff0000"}])
        assert report.losses == []
        found, again, reading = read("cvat", Path(folder, "to"))
    assert (again.problems, again.losses) == ([], [])
    assert [plain(frame) for frame in found.values()] == [plain(frame) for frame in made]
    assert reading.categories == [{"name": "cat", "color": "#ff0000"}]


def test_versions_go_out_and_come_in(engine, tmp_path):
    for number in range(2):
        image(tmp_path / "from" / "images" / f"{number}.png", number)
    (tmp_path / "from" / "annotations.xml").write_text(
        xml(
            image_of('<box label="car" xtl="1" ytl="2" xbr="11.5" ybr="22" rotation="350"/>', name="0.png")
            + image_of('<tag label="night"/>', name="1.png", number=1)
        )
    )
    done = DatasetVersion.from_cvat(tmp_path / "from", "d")
    assert (done.added, done.annotations, done.problems, done.losses) == (2, 2, [], [])
    first = done.version.get_frames_by_source("*/0.png")[0].annotations[0]
    assert first.values == pytest.approx([1, 2, 10.5, 20, -math.radians(10)])
    out = done.version.to_cvat(tmp_path / "to")
    assert (out.frames, out.images, out.losses) == (2, 2, [])
    assert sniff_format(tmp_path / "to").name == "cvat"
    again = DatasetVersion.from_cvat(tmp_path / "from", "d")
    assert (again.unchanged, again.added, again.updated) == (2, 0, 0)


def test_splits_are_the_subsets_of_a_project(tmp_path):
    """datumaro reads the images of a task without a subset only, and those of a project by subset."""
    given = [([], {"splits": [split]} if split else {}) for split in ("train", "val", "")]
    write("cvat", make(tmp_path / "from", given), tmp_path / "to", [{"name": "car"}])
    root = ET.parse(tmp_path / "to" / "annotations.xml").getroot()
    assert [each.text for each in root.iterfind("meta/project/tasks/task/subset")] == ["train", "val"]
    assert [each.text for each in root.iterfind("meta/project/labels/label/name")] == ["car"]
    found, report, reading = read("cvat", tmp_path / "to")
    assert report.problems == []
    assert [frame.metadata for frame in found.values()] == [{"splits": ["train"]}, {"splits": ["val"]}, {}]
    assert reading.categories == [{"name": "car"}]


def xml(inside, meta=""):
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>{meta}</meta>{inside}</annotations>'


def image_of(inside, name="0.png", number=0, size=(WIDTH, HEIGHT)):
    return f'<image id="{number}" name="{name}" width="{size[0]}" height="{size[1]}">{inside}</image>'


@pytest.fixture
def cvat(tmp_path):
    """Write a file of CVAT beside two images, and read it."""

    def make(text, encoding="utf-8"):
        for number in range(2):
            image(tmp_path / f"{number}.png", number)
        (tmp_path / "annotations.xml").write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read("cvat", tmp_path)

    return make


def test_masks_are_the_pixels_of_their_runs(cvat):
    mask = '<mask label="m" rle="1, 2, 1, 1, 4" left="10" top="20" width="3" height="3"/>'
    found, report, _ = cvat(xml(image_of(mask)))
    assert report.problems == []
    (annotation,) = found["0.png"].annotations
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20, 11:13] = expected[21, 11] = True
    assert (fill(flat_rings(annotation), HEIGHT, WIDTH) == expected).all()


FLAWED = {
    '<box label="a" xtl="5" ytl="1" xbr="2" ybr="4"/>': "must not be less",
    '<box label="a" xtl="5" ytl="1" xbr="9"/>': "has no ybr",
    '<box xtl="1" ytl="1" xbr="2" ybr="4"/>': "no label",
    '<polygon label="a" points="1,2;3,4"/>': "3 or more pairs",
    '<polygon label="a" points="1,2;3,4;5"/>': "3 or more pairs",
    '<points label="a" points="1,x"/>': "pairs of numbers",
    '<points label="a" points="1,inf"/>': "finite",
    '<ellipse label="a" cx="1" cy="1" rx="-1" ry="1"/>': "not be negative",
    '<mask label="a" rle="1, 100" left="0" top="0" width="3" height="3"/>': "do not fit",
    '<mask label="a" rle="9" left="0" top="0" width="3" height="3"/>': "empty",
    '<mask label="a" rle="1" left="0" top="0" width="300000" height="3000000"/>': "has the size",
    '<mask label="a" rle="" left="0" top="0" width="3" height="3"/>': "integers",
    '<skeleton label="a"/>': "no points",
    '<sphere label="a"/>': "does not have",
    '<box label="a" z_order="1.5" xtl="1" ytl="1" xbr="2" ybr="4"/>': "integer",
}


@pytest.mark.parametrize("flawed", FLAWED)
def test_a_flawed_shape_is_listed_and_the_rest_is_imported(cvat, flawed):
    good = '<box label="b" xtl="1" ytl="1" xbr="2" ybr="4"/>'
    found, report, _ = cvat(xml(image_of(good + flawed + good)))
    (problem,) = report.problems
    assert (problem.file, dict(report.flaws)) == ("annotations.xml", {"annotation": 1})
    assert FLAWED[flawed] in problem.reason
    assert [each.labels for each in found["0.png"].annotations] == [["b"], ["b"]]


def test_an_endless_element_is_not_kept(cvat, monkeypatch):
    monkeypatch.setattr("framelode.adapters.formats.cvat.reader._MAX_ELEMENT", 2**17)
    found, report, _ = cvat(xml(image_of('<tag label="a"/>') + image_of("x" * 2**18, "1.png")))
    assert report.problems[0].reason == "has an element of more than 131,072 characters"
    assert (list(found), found["0.png"].annotations[0].labels) == (["0.png", "1.png"], ["a"])


def test_a_file_with_entities_is_listed(cvat):
    found, report, _ = cvat(
        xml(image_of("")).replace("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>")
    )
    assert "DOCTYPE" in report.problems[0].reason
    assert "1.png" in found


def box_at(frame, x, outside=0, keyframe=1, more=""):
    return f'<box frame="{frame}" outside="{outside}" keyframe="{keyframe}" xtl="{x}" ytl="1" xbr="{x + 4}" ybr="5"{more}/>'


def test_a_track_moves_between_its_key_frames(tmp_path):
    for number in range(8):
        image(tmp_path / "images" / f"frame_{number:06d}.png", number)
    track = f'<track id="7" label="car" source="auto">{box_at(0, 0)}{box_at(4, 8)}{box_at(5, 9, outside=1)}{box_at(6, 1)}</track>'
    (tmp_path / "a.xml").write_text(xml(track, "<task><size>8</size></task>"))
    found, report, _ = read("cvat", tmp_path)
    assert report.problems == []
    lefts = {name[-8:-4]: [each.x for each in frame.annotations] for name, frame in found.items()}
    assert lefts == {
        "0000": [0], "0001": [2], "0002": [4], "0003": [6], "0004": [8], "0005": [], "0006": [1], "0007": [1]
    }  # fmt: skip
    second = found["images/frame_000001.png"].annotations[0]
    assert (second.id, second.labels, second.metadata) == (
        "7",
        ["car"],
        {"source": "auto", "interpolated": True},
    )
    assert found["images/frame_000000.png"].annotations[0].metadata == {"source": "auto"}


def test_a_rotated_box_turns_the_shorter_way(tmp_path):
    for number in range(3):
        image(tmp_path / f"frame_{number:06d}.png", number)
    boxes = box_at(0, 0, more=' rotation="350"') + box_at(2, 0, more=' rotation="20"')
    (tmp_path / "a.xml").write_text(xml(f'<track id="0" label="car">{boxes}</track>'))
    found, _, _ = read("cvat", tmp_path)
    assert found["frame_000001.png"].annotations[0].angle == pytest.approx(math.radians(5))


def test_frames_of_a_video_file_are_moments_of_it(engine, tmp_path):
    av = pytest.importorskip("av")
    folder = tmp_path / "from"
    folder.mkdir()
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    meta = "<task><size>5</size></task><source>clip.mp4</source>"
    (folder / "a.xml").write_text(
        xml(f'<track id="0" label="car">{box_at(1, 0)}{box_at(3, 4, outside=1)}</track>', meta)
    )
    done = DatasetVersion.from_cvat(folder, "d")
    assert (done.added, done.problems) == (2, [])
    frames = sorted(done.version.get_iterator(), key=lambda frame: frame.timestamp)
    assert [(frame.timestamp, frame.metadata) for frame in frames] == [
        (100, {"frame": 1}),
        (200, {"frame": 2}),
    ]
    assert {frame.content_type for frame in frames} == {"video/mp4"}
    again = DatasetVersion.from_cvat(folder, "d")
    assert (again.unchanged, again.added) == (2, 0)
    (folder / "clip.mp4").unlink()
    gone = DatasetVersion.from_cvat(folder, "d")
    assert "no file is the video 'clip.mp4'" in gone.problems[0].reason
