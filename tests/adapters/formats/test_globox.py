"""globox reads what was written as framelode reads it, and framelode reads what it writes: boxes, in six formats."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from exchanged import assert_equal, bccd, imported, random_version, real, shapes_of
from sizes import sized

import framelode

pytestmark = pytest.mark.sized
globox = pytest.importorskip("globox")

SPLIT = {"coco": "train", "yolo": "train"}
"""The split that is read of formats with a folder or a file for each."""


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def read(kind, folder, suffix=".png"):
    """Return the boxes that the library reads."""
    annotations = globox.AnnotationSet
    match kind:
        case "coco":
            return theirs(annotations.from_coco(folder / "annotations" / "instances_train.json"))
        case "cvat":
            return theirs(annotations.from_cvat(folder / "annotations.xml"))
        case "voc":
            return theirs(annotations.from_pascal_voc(folder / "Annotations"))
        case "labelme":
            return theirs(annotations.from_labelme(folder))
        case "csv":
            return theirs(annotations.from_openimage(folder / "annotations.csv", image_folder=folder))
    places = (folder / each / "train" for each in ("labels", "images"))
    found = theirs(annotations.from_yolo_v5(next(places), image_folder=next(places), image_extension=suffix))
    names = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))["names"]
    return {
        name: [(kind, names[int(label)], box) for kind, label, box in some] for name, some in found.items()
    }


def theirs(annotations):
    found = {}
    for each in annotations:
        found[Path(each.image_id).name] = [
            ("box", box.label, [*box.ltrb, *([] if box.confidence is None else [box.confidence])])
            for box in each.boxes
        ]
    return found


def write(kind, annotations, folder):
    """Write annotations in a format, as `read` reads it."""
    folder.mkdir()
    labels = sorted({box.label for each in annotations for box in each.boxes})
    match kind:
        case "coco":
            (folder / "annotations").mkdir()
            annotations.save_coco(folder / "annotations" / "instances_train.json", auto_ids=True)
        case "cvat":
            annotations.save_cvat(folder / "annotations.xml")
        case "voc":
            annotations.save_pascal_voc(folder / "Annotations")
        case "labelme":
            annotations.save_labelme(folder)
        case "csv":
            annotations.save_openimage(folder / "annotations.csv")
        case _:
            (folder / "labels").mkdir()
            numbers = {label: number for number, label in enumerate(labels)}
            annotations.save_yolo_v5(folder / "labels" / "train", label_to_id=numbers)
            text = yaml.safe_dump({"train": "images/train", "names": labels}, allow_unicode=True)
            (folder / "data.yaml").write_text(text, "utf-8")


IMAGES = {"voc": "JPEGImages", "yolo": "images/train", "labelme": ".", "csv": "."}
WITH_SCORES = {"coco", "yolo", "csv"}


def check_written(kind, version, folder, suffix=".png"):
    """Assert that what the library writes of the boxes of frames is read by framelode as it is by the library."""
    annotations = globox.AnnotationSet()
    scores = kind in WITH_SCORES
    for frame in version:
        boxes = [
            globox.BoundingBox.create(
                label=each.labels[0],
                coords=each.poly,
                box_format=globox.BoxFormat.LTWH,
                confidence=each.confidence if scores else None,
            )
            for each in frame.annotations
        ]
        name = Path(frame.source).name
        annotations.add(globox.Annotation(name, (frame.width, frame.height), boxes))
    write(kind, annotations, folder)
    images = folder / IMAGES.get(kind, "images")
    images.mkdir(parents=True, exist_ok=True)
    for frame in version:
        shutil.copy(frame.source, images)
    found = read(kind, folder, suffix)
    back = shapes_of(imported(kind, folder), scores=scores)
    if kind == "csv":  # has no rows for images without boxes
        back = {name: some for name, some in back.items() if some}
    assert_equal(back, found)
    assert_equal(
        found, {name: some for name, some in shapes_of(version, scores=scores).items() if name in found}
    )
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["coco", "yolo", "voc", "cvat", "labelme"])
def test_it_reads_random_versions_the_same(kind, engine, tmp_path):
    for seed in range(sized(2, 200)):
        scores = kind == "coco"
        version = random_version(tmp_path / "in", seed, scores=scores)
        version.export(kind, tmp_path / f"out{seed}")
        assert_equal(read(kind, tmp_path / f"out{seed}"), shapes_of(version, SPLIT.get(kind), scores=scores))
        shutil.rmtree(tmp_path / f"out{seed}")


@pytest.mark.parametrize("kind", ["coco", "yolo", "voc", "cvat", "labelme", "csv"])
def test_what_it_writes_is_read_the_same(kind, engine, tmp_path):
    for seed in range(sized(2, 200)):
        version = random_version(tmp_path / "in", seed, scores=kind in WITH_SCORES)
        check_written(kind, version, tmp_path / f"there{seed}")


@real
@pytest.mark.parametrize("kind", ["coco", "yolo", "voc", "cvat", "labelme", "csv"])
def test_real_data_there_and_back(kind, engine, tmp_path):
    version = bccd(sized(15, 1000))
    if kind != "csv":  # its own layout, in numbers relative to the image, is only written by the library
        version.export(kind, tmp_path / "out")
        expected = shapes_of(version, SPLIT.get(kind))
        assert_equal(read(kind, tmp_path / "out", ".jpg"), expected)
    check_written(kind, version, tmp_path / "there", ".jpg")
