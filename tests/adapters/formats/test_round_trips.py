"""What goes out in a format and comes back is equal, but for what the export has named as lost."""

from __future__ import annotations

import math
import shutil
from itertools import count
from pathlib import Path

import any_frames
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from PIL import Image
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.formats import report as reports
from framelode.adapters.formats.names import BUILT_IN
from framelode.adapters.formats.registry import find_format, sniff_format

TRIPS = examples(
    6,
    1000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    phases=[Phase.generate],  # to shrink an example takes longer than to understand it
)
SIZES = [(64, 48), (640, 480), (33, 77)]
_numbers = count()

# What each format holds as it is: annotations are inside of the image, with numbers that floats hold in any unit.
coordinates = st.integers(0, 8 * 32).map(lambda n: n / 8)
extents = st.integers(1, 8 * 16).map(lambda n: n / 8)
labels = st.sampled_from(["cat", "dog", "a b", "\u732b", "x:y", "1"])
words = st.sampled_from(["a", "left", "b  c", "\u732b", "1.5", "no"])
angles = st.integers(-31, 31).map(lambda n: n / 10)


def annotation(geometry, **more):
    return st.tuples(geometry, labels, st.fixed_dictionaries({}, optional=more)).map(
        lambda drawn: {**drawn[0], "labels": [drawn[1]], **drawn[2]}
    )


boxes = st.tuples(coordinates, coordinates, extents, extents).map(lambda box: {"box2d_xywh": box})
sides = extents.map(lambda length: length + 1)
"""Sides of rotated boxes: millionths of a pixel, to which YOLO is rounded, would turn shorter ones too far."""
rotated = st.tuples(coordinates, coordinates, sides, sides, angles.filter(bool)).map(
    lambda box: {"box2d_xywh": box}
)
points = st.tuples(coordinates, coordinates)
polygons = (
    st.tuples(*[points] * 5)
    .filter(lambda given: len(set(given)) == 5)
    .map(lambda given: {"poly2d_xy": given})
)
visibilities = st.sampled_from([[0, 1, 2], [2, 2, 0], [1, 1, 1], [0, 0, 2]])
poses = st.tuples(
    st.tuples(*[points] * 3).map(lambda given: {"points2d_xy": given}),
    visibilities | st.none(),
).map(lambda drawn: drawn[0] | ({} if drawn[1] is None else {"metadata": {"visibility": drawn[1]}}))
json_metadata = any_frames.objects.map(
    lambda given: {
        key: value for key, value in given.items() if key not in {"iscrowd", "visibility", "caption"}
    }
)
texts = st.fixed_dictionaries({}, optional=dict.fromkeys(["note", "who", "a.b", "_x"], words))
attributes = st.fixed_dictionaries({"note": words}, optional=dict.fromkeys(["who", "a b"], words))
scores = st.integers(0, 8).map(lambda n: n / 8)
pairs = st.tuples(annotation(boxes | polygons), poses).map(
    lambda drawn: [{**drawn[0], "id": 1}, {**drawn[1], "labels": drawn[0]["labels"], "id": 1}]
)
"""A shape and its key points. The test gives them an id."""

HELD = {
    "coco": annotation(boxes | polygons, metadata=json_metadata, confidence=scores)
    | pairs
    | labels.map(lambda label: {"frame_class": [label]})
    | words.map(lambda caption: {"frame_class": [], "metadata": {"caption": caption}}),
    "voc": annotation(
        boxes | rotated | polygons, metadata=texts | attributes.map(lambda some: {"attributes": some})
    ),
    "yolo": annotation(boxes) | annotation(rotated),
}
FRAME_METADATA = {
    "coco": st.dictionaries(
        st.sampled_from(["camera", "hour", "x"]),
        any_frames.leaves.filter(lambda v: v is not None),
        max_size=2,
    )
    | st.just({"splits": ["train", "val"]}),
    "voc": texts | st.just({"splits": ["test", "train"], "segmented": True, "depth": 3}),
    "yolo": st.sampled_from([{"splits": [name]} for name in ("train", "val", "test")]),
}


FORMATS = [pytest.param(name, id=name) for name in HELD]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate(SIZES):
        Image.new("L", size).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def frame_of(pictures, folder, number, picture, annotations, metadata):
    file = folder / f"{number}.png"
    shutil.copyfile(pictures / f"{picture}.png", file)
    width, height = SIZES[picture]
    frame = SingleFrame(source=file, width=width, height=height, size=file.stat().st_size, metadata=metadata)
    for place, some in enumerate(annotations):
        for each in some if isinstance(some, list) else [some]:
            frame.add_annotation(**each | ({"id": str(10**6 + 100 * number + place)} if "id" in each else {}))
    return frame


def into(frames):
    """Return a new version with these frames."""
    name = f"d{next(_numbers)}"
    DatasetVersion.create_new_dataset(name)
    version = DatasetVersion.get_current(dataset_name=name)
    assert version.add_frames(frames) == []
    return version


def round_trip(version, name, folder, **options):
    """Return the version that an export of this one is imported to, and what the export has said."""
    out = folder / f"out{next(_numbers)}"
    done = version.export(name, out, **options)
    assert done.problems == []
    assert sniff_format(out).name == name
    back = DatasetVersion.import_from("auto", out, f"d{next(_numbers)}")
    assert back.problems == []
    again = DatasetVersion.import_from(name, out, back.version.dataset_name)
    assert (again.added, again.updated, again.unchanged) == (0, 0, back.frames)
    return back.version, done


def by_name(version):
    """Return the frames in wire form by the name of their image, without what belongs to the file."""
    found = {}
    for frame in version:
        wire = frame.to_dict()
        source = wire["sources"][0]
        for key in ("uri", "size", "hash", "content_type"):
            source.pop(key, None)
        name = Path(frame.source or "").name
        found[name] = {key: value for key, value in wire.items() if key not in {"id", "context_id"}}
    return found


def settled(wire, other, name):
    """Leave out the numbers that COCO asks for and frames need not have, and the ids that join poses."""
    wire = {**wire, "meta": dict(wire.get("meta", {})), "rois": [dict(roi) for roi in wire.get("rois", ())]}
    if name == "coco" and "coco_id" not in other.get("meta", {}):
        wire["meta"].pop("coco_id", None)
    for roi, before in zip(wire["rois"], other.get("rois", ()), strict=False):
        if "id" not in before:
            roi.pop("id", None)
    return wire


def close(one, other):
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=2e-6)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == other


def assert_close(one, other):
    assert close(one, other), (one, other)


def sorted_rois(wire, name):
    """Labels and captions of a frame are in files of their own, which come after the instances."""
    if name == "coco":
        wire = {**wire, "rois": sorted(wire.get("rois", ()), key=_rank)}
    return wire


def _rank(roi):
    return (
        0 if roi["type"] != "image" else 1 if "caption" in roi.get("meta", {}) and not roi.get("label") else 2
    )


@pytest.mark.parametrize("name", FORMATS)
@TRIPS
@given(data=st.data())
def test_what_a_format_holds_comes_back_equal(name, data, engine, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_EXAMPLES", 10_000)
    folder = tmp_path / str(next(_numbers))
    folder.mkdir()
    drawn = data.draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1]), st.lists(HELD[name], max_size=4), FRAME_METADATA[name]),
            min_size=1,
            max_size=3,
        )
    )
    version = into([frame_of(pictures, folder, number, *each) for number, each in enumerate(drawn)])
    back, done = round_trip(version, name, folder)
    allowed = {
        "box that is partly outside of the image: clipped",
        "shape that is partly outside of the image: clipped",
    }
    assert [loss for loss in done.losses if loss.kind not in allowed] == []
    lost = {place for loss in done.losses for place in loss.examples}
    before, after = by_name(version), by_name(back)
    assert before.keys() == after.keys()
    ids = {Path(frame.source).name: frame.id for frame in version}
    for key, wire in before.items():
        if ids[key] not in lost:
            expected = sorted_rois(settled(wire, wire, name), name)
            found = sorted_rois(after[key], name)
            assert_close(expected, settled(found, expected, name))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", FORMATS)
@TRIPS
@given(data=st.data())
def test_any_frames_come_back_equal_but_for_the_losses(name, data, engine, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_EXAMPLES", 10_000)
    folder = tmp_path / str(next(_numbers))
    folder.mkdir()
    frames = []
    for number, (picture, frame) in enumerate(
        data.draw(
            st.lists(st.tuples(st.sampled_from([0, 1, 2]), any_frames.singles()), min_size=1, max_size=3)
        )
    ):
        plain = frame_of(pictures, folder, number, picture, [], {})
        frame.id = None
        frame.source, frame.width, frame.height = plain.source, plain.width, plain.height
        frame.timestamp = 0
        frame.size = plain.size
        frame.hash = None
        frame.content_type = "image/png"
        frames.append(frame)
    frames += [data.draw(any_frames.groups())] if data.draw(st.booleans()) else []
    version = into(frames)
    back, done = round_trip(version, name, folder)
    lost = {place for loss in done.losses for place in loss.examples}
    after = by_name(back)
    for key, frame in {
        Path(frame.source).name: frame for frame in version if isinstance(frame, SingleFrame)
    }.items():
        if frame.id not in lost:
            before = by_name([frame])[key]
            expected = sorted_rois(settled(before, before, name), name)
            assert_close(expected, settled(sorted_rois(after[key], name), expected, name))
    # What came back is what the format holds: it goes and comes back once more without a loss.
    again, second = round_trip(back, name, folder)
    assert second.losses == []
    assert_close(by_name(back), by_name(again))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_strict_exports_nothing_if_something_would_be_lost(name, engine, pictures, tmp_path):
    frame = frame_of(
        pictures, tmp_path, 0, 0, [{"mask_rgb": (1, 2, 3), "labels": ["x"]}], {"splits": ["train"]}
    )
    version = into([frame])
    with pytest.raises(framelode.UsageError, match="annotation of type mask: left out"):
        version.export(name, tmp_path / "out", strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png"]
    frame.clear_annotations()
    version.update_frames([frame])
    assert version.export(name, tmp_path / "out", strict=True).frames == 1


def test_each_format_is_recognized_by_its_own_sniffer_only(engine, pictures, tmp_path):
    version = into([frame_of(pictures, tmp_path, 0, 0, [{"box2d_xywh": (1, 2, 3, 4), "labels": ["x"]}], {})])
    for name in HELD:
        version.export(name, tmp_path / name)
        fitting = [other for other in BUILT_IN if find_format(other).sniff(tmp_path / name)]
        assert fitting == [name]


ANNOTATIONS = {"coco": "annotations", "voc": "Annotations", "yolo": "labels"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_folder_of_the_annotations_stands_for_the_data_set(name, engine, pictures, tmp_path):
    box = {"box2d_xywh": (1, 2, 3, 4), "labels": ["x"]}
    version = into([frame_of(pictures, tmp_path, number, 0, [box], {}) for number in range(2)])
    version.export(name, tmp_path / "out")
    DatasetVersion.import_from(name, tmp_path / "out", "all")
    again = DatasetVersion.import_from(name, tmp_path / "out" / ANNOTATIONS[name], "all")
    assert (again.added, again.unchanged, again.problems) == (0, 2, [])


def test_only_the_annotations_of_the_given_folder_are_read(engine, pictures, tmp_path):
    version = into([frame_of(pictures, tmp_path, 0, 0, [{"box2d_xywh": (1, 2, 3, 4), "labels": ["x"]}], {})])
    version.export("coco", tmp_path / "out")
    (tmp_path / "out" / "other.json").write_text('{"images": [], "annotations": 7, "categories": []}')
    assert DatasetVersion.import_from("coco", tmp_path / "out", "all").problems != []
    assert DatasetVersion.import_from("coco", tmp_path / "out" / "annotations", "some").problems == []


def test_annotations_with_their_images_beside_them_are_a_data_set(pictures, tmp_path, engine):
    version = into([frame_of(pictures, tmp_path, 0, 0, [{"box2d_xywh": (1, 2, 3, 4), "labels": ["x"]}], {})])
    version.export("labelme", tmp_path / "labels")
    back = DatasetVersion.import_from("labelme", tmp_path / "labels", "back")
    assert (back.frames, back.problems) == (1, [])
    assert Path(next(iter(back.version)).source).parent == (tmp_path / "labels").resolve()
