"""Data sets of Hugging Face `datasets`: versions out, data sets in, and what is flawed."""

from __future__ import annotations

import math
from pathlib import Path

import any_frames
import pytest
from data_sets import HEIGHT, WIDTH, image
from exchanged import SPLITS, assert_equal, into, new_name, random_version, shapes_of
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import strategies as st
from late import Late
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, FrameGroup, SingleFrame
from framelode.engine.annotations.types import BoundingBox2D
from framelode.engine.errors import UsageError
from framelode.engine.frames.frame_group import frame_from_dict
from framelode.engine.frames.record import READ_ONLY_FIELDS

datasets = Late("datasets")


@pytest.fixture(autouse=True)
def _no_bars():
    datasets.disable_progress_bars()


@pytest.fixture
def version(engine, tmp_path):
    """A draft with a frame of each kind: boxes and a label, a polygon alone, and a group."""
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    one = SingleFrame(
        id="1",
        source=image(tmp_path / "in" / "1.png"),
        width=WIDTH,
        height=HEIGHT,
        metadata={"splits": ["train"], "a": [1]},
    )
    one.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"], id="x", confidence=0.5)
    one.add_annotation(box2d_xywh=(5, 6, 7.5, 8), labels=["dog", "big"])
    one.add_annotation(frame_class=["night"])
    two = SingleFrame(id="2", source=image(tmp_path / "in" / "2.png", 2))
    two.add_annotation(poly2d_xy=(0, 0, 5, 0, 5, 5), labels=["dog"])
    group = FrameGroup("3", frames={"left": SingleFrame(source="s3://b/left.png")})
    draft.add_frames([one, two, group])
    draft.set_metadata({"categories": [{"name": "night"}]})
    return draft


def test_versions_are_data_sets(version, tmp_path):
    data = version.to_hf()
    assert data.num_rows == 3
    assert (
        data.features["label"].names
        == data.features["objects"]["category"].feature.names
        == ["night", "big", "cat", "dog"]
    )
    one, two, group = data
    assert (one["id"], one["image"].size, one["width"], one["splits"]) == (
        "1",
        (WIDTH, HEIGHT),
        WIDTH,
        ["train"],
    )
    assert one["objects"] == {"id": ["x", None], "bbox": [[1, 2, 3, 4], [5, 6, 7.5, 8]], "category": [2, 3]}
    assert one["label"] == data.features["label"].str2int("night")
    assert (two["label"], two["objects"]["bbox"], two["image"].getpixel((0, 0))) == (None, [], (2, 0, 0))
    assert (group["id"], group["image"]) == ("3", None)
    some = version.to_hf(query="meta.splits:train", images=False)
    assert [(row["id"], row["image"]) for row in some] == [("1", None)]


def test_a_version_without_labels_and_an_empty_one_are_data_sets(engine, tmp_path):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    assert draft.to_hf().num_rows == 0
    draft.add_frames([SingleFrame(source=image(tmp_path / "1.png"))])
    assert draft.to_hf()[0]["label"] is None


def test_frames_come_back_as_they_were(version, tmp_path):
    version.to_hf().save_to_disk(tmp_path / "saved")
    done = DatasetVersion.from_hf(datasets.load_from_disk(tmp_path / "saved"), "e", folder=tmp_path / "out")
    assert (done.added, done.problems, done.losses) == (3, [], [])
    version.commit_version()
    assert {each.id: each for each in done.version.get_iterator()} == {
        each.id: each for each in version.get_iterator()
    }
    assert DatasetVersion.from_hf(version.to_hf(), "e").unchanged == 3


def test_images_that_are_in_the_data_set_are_written_where_their_files_are_gone(version, tmp_path):
    version.to_hf().save_to_disk(tmp_path / "saved")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    data = datasets.load_from_disk(tmp_path / "saved")
    with pytest.raises(UsageError, match="pass a folder"):
        DatasetVersion.from_hf(data, "e")
    done = DatasetVersion.from_hf(data, "e", folder=tmp_path / "out")
    assert (done.problems, len(done.version)) == ([], 3)
    frames = {frame.id: frame for frame in done.version.get_iterator()}
    assert {Path(frames[each].source).parent for each in "12"} == {tmp_path / "out"}
    assert {name: Path(frames[name[0]].source).read_bytes() for name in contents} == contents
    assert frames["1"].annotations == version.get_single_frame("1").annotations


@pytest.fixture
def in_memory():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


@examples(6, 1000, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
@example(drawn=[SingleFrame()], images=False, saved=False)
@given(
    drawn=st.lists(
        st.booleans().flatmap(lambda one: any_frames.singles() if one else any_frames.groups()), max_size=4
    ),
    images=st.booleans(),
    saved=st.booleans(),
)
def test_any_version_comes_back_as_it_was(drawn, images, saved, in_memory, tmp_path):
    for number, frame in enumerate(drawn):
        frame.id = f"{number}-{frame.id}"
        if isinstance(frame, SingleFrame) and images:
            frame.source = image(tmp_path / f"{number}.png", number)
            frame.timestamp, frame.content_type = 0, "image/png"
    version = into(drawn)
    data = version.to_hf(images=images)
    assert_boxes_and_labels(data, version)
    if saved and drawn:  # the library does not load an empty data set from a folder
        data.save_to_disk(folder := tmp_path / new_name())
        data = datasets.load_from_disk(folder)
    done = DatasetVersion.from_hf(data, new_name(), folder=tmp_path)
    assert (done.problems, done.losses) == ([], [])
    assert plain_frames(done.version) == plain_frames(version)
    again = DatasetVersion.from_hf(data, done.version.dataset_name, folder=tmp_path)
    assert (again.added, again.updated, again.unchanged) == (0, 0, len(drawn))


def plain_frames(version):
    """Return the frames by their ids, as their wire form gives them, but for what each version says of its own."""
    wires = [frame_from_dict(frame.to_dict()).to_dict() for frame in version.get_iterator()]
    return {
        wire["id"]: {key: value for key, value in wire.items() if key not in READ_ONLY_FIELDS}
        for wire in wires
    }


def assert_boxes_and_labels(data, version):
    """Assert that the library reads the upright boxes and the labels of frames, whatever else they have."""
    assert set(data["id"]) == set(plain_frames(version))
    for row in data.remove_columns("image"):
        frame = version.get_single_frame(row["id"])
        found = frame.annotations if isinstance(frame, SingleFrame) else []
        boxes = [each for each in found if isinstance(each, BoundingBox2D) and not each.angle]
        assert row["objects"]["bbox"] == [list(each.poly) for each in boxes]
        categories = [name_of(data, number) for number in row["objects"]["category"]]
        assert categories == [each.labels[0] if each.labels else None for each in boxes]


def name_of(data, number):
    return number if number is None else data.features["label"].int2str(number)


def detection(paths, **more):
    """A data set of boxes as others make it."""
    names = ["cat", "dog"]
    objects = {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1], "area": [12.0]}
    rows = {
        "image": paths,
        "text": ["a", None][: len(paths)],
        "objects": [objects, {"bbox": [], "category": [], "area": []}][: len(paths)],
    }
    features = {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "objects": {
            "bbox": datasets.Sequence(datasets.Sequence(datasets.Value("float64"), length=4)),
            "category": datasets.Sequence(datasets.ClassLabel(names=names)),
            "area": datasets.Sequence(datasets.Value("float64")),
        },
    }
    return datasets.Dataset.from_dict({**rows, **more}, features=datasets.Features(features))


def test_data_sets_of_others_come_in_by_split(engine, tmp_path):
    paths = [str(image(tmp_path / f"{number}.png", number)) for number in range(3)]
    data = datasets.DatasetDict({"train": detection(paths[:2]), "test": detection(paths[2:])})
    done = DatasetVersion.from_hf(data, "d", folder=tmp_path)
    assert (done.added, done.annotations, done.problems) == (3, 2, [])
    assert done.version.get_metadata()["categories"] == [{"name": "cat"}, {"name": "dog"}]
    first, second, third = (done.version.get_frames_by_source(f"*/{number}.png")[0] for number in range(3))
    assert (first.annotations[0].values, first.annotations[0].labels) == ([1, 2, 3, 4], ["dog"])
    assert first.annotations[0].metadata == {"area": 12}
    assert (first.metadata, third.metadata) == (
        {"text": "a", "splits": ["train"]},
        {"text": "a", "splits": ["test"]},
    )
    assert (second.annotations, second.width) == ([], WIDTH)
    again = DatasetVersion.from_hf(data, "d", folder=tmp_path)
    assert (again.unchanged, again.added) == (3, 0)


def test_labels_of_images_and_images_without_names(engine, tmp_path):
    content = image(tmp_path / "1.png").read_bytes()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {
        "image": [{"bytes": content, "path": None}, {"bytes": content, "path": "x.png"}],
        "label": [1, None],
    }
    done = DatasetVersion.from_hf(
        datasets.Dataset.from_dict(rows, features=features), "d", folder=tmp_path / "out"
    )
    assert (done.added, done.problems) == (2, [])
    labels = {
        Path(frame.source).name: [each.labels for each in frame.annotations]
        for frame in done.version.get_iterator()
    }
    assert sorted(labels.values(), key=len) == [[], [["dog"]]]
    assert labels["x.png"] == []


def test_flawed_rows_are_listed_and_the_rest_is_imported(engine, tmp_path):
    paths = [str(image(tmp_path / f"{number}.png", number)) for number in range(2)]
    boxes = [[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, math.nan, 4.0]], [[1.0, 2.0, -3.0, 4.0]]
    objects = [{"bbox": box, "category": [0], "area": [1.0]} for box in (*boxes, boxes[0], boxes[0])]
    rows = [paths[0], paths[1], paths[1], str(tmp_path / "gone.png"), None]
    data = detection(rows, text=[None] * 5, objects=objects)
    done = DatasetVersion.from_hf(data, "d", folder=tmp_path)
    assert (done.added, done.flaws) == (1, {"row": 4})
    for problem, told in zip(
        done.problems, ("left, top", "left, top", "cannot be read", "no image"), strict=True
    ):
        assert told in problem.reason or "twice" in problem.reason


def test_what_is_no_data_set_is_refused(engine):
    with pytest.raises(UsageError, match="must be a Dataset or a DatasetDict"):
        DatasetVersion.from_hf([{"image": "a"}], "d")


@pytest.mark.sized
def test_the_library_reads_image_folders_the_same(in_memory, tmp_path):
    for seed in range(sized(2, 200)):
        kinds = [("label",), ("box", "label"), ("box",)][seed % 3]
        version = random_version(tmp_path / "in", seed, kinds, most=7)
        columns = [
            {each[0] for some in shapes_of(version, split).values() for each in some} for split in SPLITS
        ]
        if columns[0] != columns[1]:
            continue  # it refuses splits whose metadata have columns of other types, or of nothing
        version.to_imagefolder(tmp_path / f"out{seed}")
        data = datasets.load_dataset(
            "imagefolder", data_dir=str(tmp_path / f"out{seed}"), cache_dir=str(tmp_path / "cache")
        )
        found = {}
        for rows in data.values():
            for row in rows.cast_column("image", datasets.Image(decode=False)):
                found[Path(row["image"]["path"]).name] = shapes_in_row(row, rows.features)
        assert_equal(found, shapes_of(version), 1e-9)
        back = DatasetVersion.from_hf(data, f"hf{seed}", folder=tmp_path / f"hf{seed}")
        assert back.problems == []
        assert_equal(shapes_of(back.version), shapes_of(version), 1e-9)


def shapes_in_row(row, features):
    label, objects = row.get("label"), row.get("objects") or {"bbox": [], "categories": []}
    name = features["label"].int2str(label) if isinstance(label, int) else label
    boxes = [
        ("box", category, [x, y, x + w, y + h])
        for (x, y, w, h), category in zip(objects["bbox"], objects["categories"], strict=True)
    ]
    return [("label", name, []), *boxes] if label is not None else boxes
