"""Flawed annotations of COCO and rows of YOLO, and what the command says of them."""

from __future__ import annotations

import json
import os

import pytest
from command_line import run, run_json
from PIL import Image

import framelode
from framelode import DatasetVersion, UsageError

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
ROW = "0 0.5 0.5 0.25 0.25\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with the pictures a and b of 64 x 48 pixels in images/train."""
    images = tmp_path / "set" / "images" / "train"
    images.mkdir(parents=True)
    for name in "ab":
        Image.new("L", (64, 48)).save(images / f"{name}.png")
    return tmp_path / "set"


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def coco(folder, *annotations, images=(), **more):
    listed = [{"id": n, "file_name": f"{c}.png", "width": 64, "height": 48} for n, c in enumerate("ab", 1)]
    document = {
        "images": [*listed, *images],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "cat"}],
        **more,
    }
    file = folder / "annotations" / "instances_train.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def yolo(folder, *, definition="train: images/train\nnames: [cat]\n", **rows):
    (folder / "data.yaml").write_text(definition)
    (folder / "labels" / "train").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "labels" / "train" / f"{name}.txt").write_text(rows.get(name, ROW))
    return folder


def boxes(done):
    return sorted(
        (os.path.basename(frame.source), *annotation.labels)  # noqa: PTH119
        for frame in done.version
        for annotation in frame.get_annotations()
    )


GOOD = {**BOX, "id": 9, "image_id": 2}
COCO = {
    "no category": ({**BOX, "category_id": None}, "annotation 1: has no category_id"),
    "unknown image": ({**BOX, "image_id": 7}, "annotation 1: image 7 is not in images"),
    "negative size": ({**BOX, "bbox": [1, 2, -3, 4]}, "annotation 1: bbox has a negative size"),
    "NaN": (
        {**BOX, "bbox": [1, float("nan"), 3, 4]},
        "annotation 1: Expected `float`, got `str` - at `$.bbox[1]`: bbox is [1, 'NaN', 3, 4]",
    ),
    "NaN as a score": ({**BOX, "score": float("nan")}, "annotation 1: Expected `float | null`, got `str`"),
    "huge number": ({**BOX, "bbox": [1, 10**400, 3, 4]}, "annotation 1: Number out of range"),
    "text": ({**BOX, "bbox": ["1", 2, 3, 4]}, "annotation 1: Expected `float`, got `str`"),
    "few numbers": ({**BOX, "bbox": [1, 2, 3]}, "annotation 1: Expected `array` of length 4"),
    "few points": ({**BOX, "segmentation": [[1, 2, 3, 4]]}, "annotation 1: segmentation must have pairs"),
    "short RLE": ({**BOX, "segmentation": {"counts": [3], "size": [2, 2]}}, "annotation 1: RLE has runs"),
    "odd RLE": (
        {**BOX, "segmentation": {"counts": "~~", "size": [2, 2]}},
        "annotation 1: RLE has a character",
    ),
    "huge RLE": (
        {**BOX, "segmentation": {"counts": [9], "size": [10**6, 10**6]}},
        "annotation 1: RLE has the size",
    ),
    "key points": ({**BOX, "keypoints": [1, 2]}, "annotation 1: keypoints must be triples"),
}


@pytest.mark.parametrize(("flawed", "reason"), COCO.values(), ids=COCO.keys())
def test_flawed_annotations_of_coco(folder, engine, flawed, reason):
    file = coco(folder, GOOD, flawed)
    done = DatasetVersion.from_coco(folder, "d")
    (problem,) = done.problems
    assert problem.file == "annotations/instances_train.json"
    assert problem.reason.startswith(reason)
    assert boxes(done)[-1:] == [("b.png", "cat")]
    assert (done.frames, done.flaws) == (2, {"annotation": 1})
    with pytest.raises(UsageError, match="nothing of .* was imported, because it is strict: 1 flaw"):
        DatasetVersion.from_coco(file, "other", strict=True)
    assert [each.name for each in DatasetVersion.get_datasets()] == ["d"]


IMAGES = {
    "duplicate id": ({"id": 2, "file_name": "c.png"}, "image 2: duplicate id, the first is used"),
    "duplicate name": ({"id": 3, "file_name": "a.png"}, "image 3: 'a.png' is already image 1"),
    "no name": ({"id": 3}, "images[2]: Object missing required field `file_name`"),
}


@pytest.mark.parametrize(("flawed", "reason"), IMAGES.values(), ids=IMAGES.keys())
def test_flawed_images_of_coco(folder, engine, flawed, reason):
    coco(folder, GOOD, images=[flawed])
    done = DatasetVersion.from_coco(folder, "d")
    (problem,) = done.problems
    assert problem.reason.startswith(reason)
    assert (done.frames, boxes(done)) == (2, [("b.png", "cat")])


def test_an_empty_file_of_coco(folder, engine):
    coco(folder, GOOD)
    (folder / "annotations" / "instances_val.json").touch()
    done = DatasetVersion.from_coco(folder, "d")
    (problem,) = done.problems
    assert problem.file == "annotations/instances_val.json"
    assert (done.frames, boxes(done)) == (2, [("b.png", "cat")])
    with pytest.raises(UsageError, match="has no file of COCO that can be read"):
        DatasetVersion.from_coco(folder / "annotations" / "instances_val.json", "d")


ROWS = {
    "class name": ("cat 0.5 0.5 0.25 0.25\n", "line 1: class must be an index, not 'cat'"),
    "pixels": ("0 30 20 10 10\n", "line 1: coordinates must be from 0 to 1, relative to the image, not 30"),
    "empty box": ("0 0.5 0.5 0 0.25\n", "line 1: box must have a size, not 0 x 0.25"),
    "text": ("0 0.5 0.5 0.25 x\n", "line 1: could not convert string to float: 'x'"),
}


@pytest.mark.parametrize(("row", "reason"), ROWS.values(), ids=ROWS.keys())
def test_flawed_rows_of_yolo(folder, engine, row, reason):
    done = DatasetVersion.from_yolo(yolo(folder, a=row), "d")
    (problem,) = done.problems
    assert problem.file == "labels/train/a.txt"
    assert problem.reason.startswith(reason)
    assert boxes(done) == [("b.png", "cat")]


def test_an_image_that_is_none_is_listed(folder, engine):
    yolo(folder)
    (folder / "images" / "train" / "a.png").write_bytes(b"no picture")
    done = DatasetVersion.from_yolo(folder, "d")
    ((file, reason),) = [(each.file, each.reason) for each in done.problems]
    assert (file, "its size cannot be read" in reason) == ("images/train/a.png", True)
    assert (done.frames, boxes(done)) == (2, [("b.png", "cat")])


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("names: [cat]\ntrain: elsewhere\n", "train: 'elsewhere' is no folder and no list in this folder"),
        (
            "names: [cat]\ntrain: ../../images\n",
            "train: '../../images' is no folder and no list in this folder",
        ),
        ("names: 7\ntrain: images/train\n", "names must be a list or a mapping of names, not 7"),
        ("names: [cat\n", "is not YAML: while parsing"),
        ("names: {a: cat}\ntrain: images/train\n", "names must be by index from 0, not by ['a']"),
        ("names: [cat]\nnc: 2\n", "nc is 2, but names are 1"),
        ("names:\nnc: many\n", "nc must be a number of classes, not 'many'"),
    ],
)
def test_flawed_definitions_of_yolo(folder, engine, definition, reason):
    yolo(folder, definition=definition)
    done = DatasetVersion.from_yolo(folder, "d")
    assert done.problems[0].file == "data.yaml"
    assert done.problems[0].reason.startswith(reason)


def test_the_command_lists_flaws_and_losses_and_ends_with_1(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coco(folder, GOOD, {**BOX, "category_id": 7}, licenses=[{"id": 1}])
    run("init")
    done = run("import", "auto", folder, "--dataset", "d", status=1)
    assert "annotations/instances_train.json: annotation 1: category 7 is not in categories\n" in done.stderr
    assert "lost: licenses of a file: left out (1, such as annotations/instances_train.json)\n" in done.stderr
    assert (
        "2 frames added, 0 updated, 0 unchanged, 0 refused; 1 annotation; 1 problem; 1 value lost"
        in done.stdout
    )
    run("import", "coco", folder, "--dataset", "e", "--strict", status=2)
    tried = run_json("import", "coco", folder, "--dataset", "e", "--dry-run", status=1)
    assert (tried["version"], tried["added"], tried["flaws"]) == (None, 2, {"annotation": 1})
    assert [each["name"] for each in run_json("ls")["datasets"]] == ["d"]
    run("export", "voc", "out", "--version", "d", "--strict", status=2)
    assert not (tmp_path / "out").exists()
    assert "wrote 2 frames and 2 images to" in run("export", "voc", "out", "--version", "d").stdout
    run("export", "voc", "out", "--version", "d", status=5)
    new = run_json("import", "coco", folder, "--dataset", "d", "--only-new", status=1)
    assert (new["skipped"], new["unchanged"], new["updated"]) == (2, 0, 0)
