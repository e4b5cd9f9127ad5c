"""Published versions in Croissant 1.1, read with mlcroissant."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile

import any_frames
import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st
from late import Late
from sizes import examples

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    FrameGroup,
    InvalidValueError,
    SingleFrame,
    UsageError,
    acting,
)

mlc = Late("mlcroissant")
Image = pytest.importorskip("PIL.Image")

# mlcroissant uses parts of rdflib, ply and pandas that are deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LICENSE = "https://creativecommons.org/licenses/by/4.0/"


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("day/a.jpg", "day/b.jpg", "night/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (200, len(name), 10)).save(folder / name)
    return folder


@pytest.fixture
def version(engine, pictures):
    DatasetVersion.create_new_dataset("food", description="what people eat", dataset_project="kitchen")
    draft = DatasetVersion.get_current(dataset_name="food")
    frames = []
    for number, (name, splits) in enumerate(
        {"day/a.jpg": ["train"], "day/b.jpg": ["train", "val"], "night/c.png": []}.items()
    ):
        # Ids that a table without types would turn into numbers.
        metadata = {"splits": splits, "camera": "ü"} if splits else {}
        frame = SingleFrame(id=f"000{number}", source=pictures / name, width=8, height=6, metadata=metadata)
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4.5), labels=["pizza", "hot"], confidence=0.5)
        frame.add_annotation(poly2d_xy=[1, 1, 4, 1, 4, 4], labels=["salad"], metadata={"by": "jane"})
        frames.append(frame)
    draft.add_frames(frames, auto_upload_destination="blobs:", local_dataset_root_path=pictures)
    with acting("jane"):
        DatasetVersion.create_snapshot(dataset_name="food", publish_name="1.0.0", publish_comment="")
    return DatasetVersion.get_version(dataset_name="food", version_name="1.0.0")


def records(made, name):
    """Return the records of a set with texts instead of bytes, as mlcroissant loads them."""
    # A dataset cannot read a record set after another one that refers to it.
    found = mlc.Dataset(made.path).records(name)
    return [{key.removeprefix(f"{name}/"): plain(value) for key, value in each.items()} for each in found]


def plain(value):
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def test_records_are_loaded_as_they_are(version, tmp_path, pictures):
    made = version.to_croissant(tmp_path / "out", license=LICENSE, citation="@misc{food}")
    assert (made.frames, made.sources, made.annotations, made.files) == (3, 3, 6, 3)
    assert made.failures == made.missing == []
    frames = records(made, "frames")
    assert [each["id"] for each in frames] == ["0000", "0001", "0002"]
    assert [each["split"] for each in frames] == ["train", "train", None]
    assert [each["splits"] for each in frames] == [["train"], ["train", "val"], []]
    assert json.loads(frames[0]["metadata"]) == {"splits": ["train"], "camera": "ü"}
    assert {each["context_id"] for each in frames} == {None}
    source = version["0001"].sources[0]
    assert records(made, "sources")[1] == {
        "frame_id": "0001",
        "name": "default",
        "path": "files/day/b.jpg",
        "url": "framelode://kitchen/food@1.0.0/day/b.jpg",
        "content_type": "image/jpeg",
        "width": 8,
        "height": 6,
        "timestamp": 0,
        "size": source.size,
        "hash": source.hash,
        "masks": [],
    }
    box, polygon = records(made, "annotations")[:2]
    assert (box["frame_id"], box["number"], box["type"]) == ("0000", 0, "box2d")
    assert (box["label"], box["labels"], box["confidence"]) == ("pizza", ["pizza", "hot"], 0.5)
    assert box["box"] == [1, 2, 3, 4.5]
    assert (polygon["box"], polygon["geometry"]) == ([1, 1, 3, 3], [1, 1, 4, 1, 4, 4])
    assert json.loads(polygon["metadata"]) == {"by": "jane"}
    assert polygon["confidence"] is None
    assert sorted(each["name"] for each in records(made, "labels")) == ["hot", "pizza", "salad"]
    assert records(made, "splits") == [
        {"name": "train", "url": "cr:TrainingSplit"},
        {"name": "val", "url": "cr:ValidationSplit"},
    ]


def test_images_are_loaded(version, tmp_path):
    made = version.to_croissant(tmp_path / "out")
    jpegs, (png,) = records(made, "images-jpeg"), records(made, "images-png")
    assert [each["path"] for each in jpegs] == ["files/day/a.jpg", "files/day/b.jpg"]
    assert (png["path"], png["image"].size) == ("files/night/c.png", (8, 6))
    assert png["image"].getpixel((0, 0)) == (200, len("night/c.png"), 10)


def test_nothing_is_wrong_for_the_validator(version, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        made = version.to_croissant(tmp_path / "out", license=LICENSE, citation="@misc{food}")
        metadata = mlc.Dataset(made.path).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert not caplog.records
    assert metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert {each.uuid for each in metadata.record_sets} == {
        *("frames", "sources", "annotations", "labels", "splits", "images-jpeg", "images-png")
    }


def test_what_is_said_of_the_dataset(version, engine, tmp_path):
    version.set_tags(["gold"])
    made = version.to_croissant(tmp_path / "one")
    described = json.loads((tmp_path / "one" / "croissant.json").read_text("utf-8"))
    published = next(iter(engine.history(kinds="published")))
    assert described["@type"] == "sc:Dataset"
    assert (described["name"], described["description"]) == ("food", "what people eat")
    assert described["version"] == "1.0.0"
    assert described["creator"] == [{"@type": "sc:Person", "name": "jane"}]
    assert described["url"] == "framelode://kitchen/food@1.0.0"
    assert described["datePublished"] == published.at.isoformat(timespec="seconds")
    assert described["identifier"]["value"] == version.fingerprint
    assert described["keywords"] == ["gold"]
    assert made.missing == ["license"]
    for each in described["distribution"][:3]:
        content = (tmp_path / "one" / each["contentUrl"]).read_bytes()
        assert each["sha256"] == hashlib.sha256(content).hexdigest()
        assert each["contentSize"] == f"{len(content)} B"
    version.to_croissant(
        tmp_path / "two",
        name="meals",
        description="other",
        url="https://example.org/food",
        creators=("Jane", "Joe"),
    )
    described = json.loads((tmp_path / "two" / "croissant.json").read_text("utf-8"))
    assert (described["name"], described["description"]) == ("meals", "other")
    assert described["url"] == "https://example.org/food"
    assert described["sameAs"] == f"framelode://id:{version.version_id}"
    assert [each["name"] for each in described["creator"]] == ["Jane", "Joe"]


def test_without_files_urls_lead_to_them(version, tmp_path):
    made = version.to_croissant(tmp_path / "out", files=False)
    assert made.files == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["croissant.json", "records"]
    sources = records(made, "sources")
    assert {each["path"] for each in sources} == {None}
    assert [each["url"].rpartition("/")[2] for each in sources] == ["a.jpg", "b.jpg", "c.png"]
    assert not [
        each for each in mlc.Dataset(made.path).metadata.record_sets if each.uuid.startswith("images")
    ]


def test_groups_masks_shared_files_and_nothing(engine, tmp_path):
    DatasetVersion.create_new_dataset("odd")
    draft = DatasetVersion.get_current(dataset_name="odd")
    draft.publish_version()
    made = draft.to_croissant(tmp_path / "empty")
    assert made.frames == 0
    assert records(made, "frames") == []

    child = DatasetVersion.create_version("1.1.0", dataset_name="odd", parent_version_ids=[draft.version_id])
    group = FrameGroup(id="group", context_id="drive")
    for name in ("left", "right"):
        group[name] = SingleFrame(source=f"s3://bucket/{name}.jpg")
    video = [SingleFrame(id=str(n), source="s3://bucket/film.png", timestamp=n) for n in range(2)]
    masked = SingleFrame(id="m", source="s3://bucket/m.jpg", mask_source="s3://bucket/m.png")
    assert not child.add_frames([group, *video, masked, SingleFrame(id="bare", metadata={"a": 1})])
    child.publish_version()
    made = child.to_croissant(tmp_path / "out", files=False)
    sources = records(made, "sources")
    assert [(each["frame_id"], each["name"]) for each in sources if each["frame_id"] == "group"] == [
        ("group", "left"),
        ("group", "right"),
    ]
    assert [each["masks"] for each in sources if each["frame_id"] == "m"] == [
        ["framelode://default/odd@1.1.0/m.png"]
    ]
    assert {each["context_id"] for each in records(made, "frames")} >= {"drive"}
    described = json.loads((tmp_path / "out" / "croissant.json").read_text("utf-8"))
    assert described["prov:wasDerivedFrom"] == {"@id": f"framelode://id:{draft.version_id}"}


def rounded(value):
    """Return a whole number as mlcroissant gets it from pandas, which makes floats of columns that have gaps."""
    return None if value is None else float(value)


@examples(2, 100)
@given(st.lists(any_frames.frames, min_size=10, max_size=30))
def test_any_frames_are_loaded_as_they_are(given_frames):
    with framelode.connect("sqlite://") as engine, tempfile.TemporaryDirectory() as folder:
        DatasetVersion.create_new_dataset("any")
        draft = DatasetVersion.get_current(dataset_name="any")
        draft.add_frames(given_frames)
        draft.publish_version()
        made = draft.to_croissant(folder, files=False)
        held = list(draft)
        loaded = {name: records(made, name) for name in ("frames", "sources", "annotations")}
        engine.close()
    assert [each["id"] for each in loaded["frames"]] == [frame.id for frame in held]
    assert [json.loads(each["metadata"] or "{}") for each in loaded["frames"]] == [
        frame.metadata for frame in held
    ]
    wires = [frame.to_dict() for frame in held]
    assert [
        (
            each["frame_id"],
            each["name"],
            *map(rounded, (each["width"], each["height"], each["size"])),
            each["hash"],
        )
        for each in loaded["sources"]
    ] == [
        (
            wire["id"],
            source["id"],
            *map(rounded, map(source.get, ("width", "height", "size"))),
            source.get("hash"),
        )
        for wire in wires
        for source in wire.get("sources", [])
    ]
    assert [
        (each["frame_id"], each["number"], each["type"], each["labels"], each["geometry"], each["confidence"])
        for each in loaded["annotations"]
    ] == [
        (wire["id"], number, roi["type"], roi.get("label", []), roi.get("poly"), roi.get("confidence"))
        for wire in wires
        for number, roi in enumerate(wire.get("rois", []))
    ]


def test_files_that_cannot_be_fetched_are_listed(engine, tmp_path, pictures):
    DatasetVersion.create_new_dataset("lost")
    draft = DatasetVersion.get_current(dataset_name="lost")
    draft.add_frames([SingleFrame(id=name[0], source=pictures / "day" / name) for name in ("a.jpg", "b.jpg")])
    draft.publish_version()
    (pictures / "day" / "a.jpg").unlink()
    made = draft.to_croissant(tmp_path / "out")
    assert made.files == 1
    assert [failure.uri.rpartition("/")[2] for failure in made.failures] == ["a.jpg"]


def test_refusals(version, tmp_path):
    with pytest.raises(UsageError, match="is a draft"):
        DatasetVersion.get_current(dataset_name="food").to_croissant(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConflictError, match="new or empty folder"):
        version.to_croissant(tmp_path / "full")
    with pytest.raises(InvalidValueError, match="license"):
        version.to_croissant(tmp_path / "out", license=4)
    with pytest.raises(UsageError, match="url"):
        version.to_croissant(tmp_path / "out", url="https://me:secret@example.org/food")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["engine", "full", "pictures"]


def test_the_command(version, engine, tmp_path):
    done = run(
        *("--engine", engine.url, "export", "croissant", str(tmp_path / "out"), "--version", "food@1.0.0"),
        *("--creator", "Jane", "--creator", "Joe", "--json"),
    )
    answer = json.loads(done.stdout)
    assert (answer["frames"], answer["files"], answer["missing"]) == (3, 3, ["license"])
    assert "license" in done.stderr
    described = json.loads((tmp_path / "out" / "croissant.json").read_text("utf-8"))
    assert [each["name"] for each in described["creator"]] == ["Jane", "Joe"]
