"""labelformat reads what was written as framelode reads it, and framelode reads what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exchanged import (
    LABELS,
    SPLITS,
    as_masks,
    assert_equal,
    bccd,
    imported,
    random_version,
    real,
    shapes_of,
)
from late import Late
from sizes import sized

import framelode
from framelode.adapters.formats.coco.rle import encode_rle

pytestmark = pytest.mark.sized
formats = Late("labelformat.formats")


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def boxes(kind, folder, split, labels=LABELS):
    """Return what the library reads boxes with."""
    match kind:
        case "coco":
            return formats.COCOObjectDetectionInput(folder / "annotations" / f"instances_{split}.json")
        case "voc":
            return formats.PascalVOCObjectDetectionInput(folder / "Annotations", ",".join(labels))
        case "cvat":
            return formats.CVATObjectDetectionInput(folder / "annotations.xml")
        case _:
            return formats.YOLOv8ObjectDetectionInput(folder / "data.yaml", split)


def polygons(kind, folder, split):
    if kind == "coco":
        return formats.COCOInstanceSegmentationInput(folder / "annotations" / f"instances_{split}.json")
    return formats.YOLOv8InstanceSegmentationInput(folder / "data.yaml", split)


def theirs(reader):
    """Return the shapes that the library reads."""
    return {
        Path(label.image.filename).name: [shape(each, each.category.name) for each in label.objects]
        for label in reader.get_labels()
    }


def shape(found, label):
    if hasattr(found, "box"):
        box = found.box
        score = [] if found.confidence is None else [found.confidence]
        return "box", label, [box.xmin, box.ymin, box.xmax, box.ymax, *score]
    if hasattr(found.segmentation, "polygons"):
        points = [number for part in found.segmentation.polygons for point in part for number in point]
        return "polygon", label, points
    return "mask", label, encode_rle(found.segmentation.get_binary_mask().astype(bool))


KINDS = [
    ("coco", ("box",), boxes),
    ("coco", ("polygon", "parts"), polygons),
    ("yolo", ("box",), boxes),
    ("yolo", ("polygon",), polygons),
    ("voc", ("box",), boxes),
    ("cvat", ("box",), boxes),
]
WHOLE = {"voc", "cvat"}
"""Formats that have no file or folder for each split."""


@pytest.mark.parametrize(("kind", "shapes", "reader"), KINDS)
def test_it_reads_random_versions_the_same(kind, shapes, reader, engine, tmp_path):
    for seed in range(sized(1, 200)):
        scores = (kind, shapes) == ("coco", ("box",))
        version = random_version(tmp_path / "in", seed, shapes, scores=scores)
        if not any(shapes_of(version).values()):
            continue  # it reads no file of CVAT without a label
        folder = tmp_path / f"out{seed}"
        version.export(kind, folder)
        for split in [None] if kind in WHOLE else SPLITS:
            found = theirs(reader(kind, folder, split))
            assert_equal(found, shapes_of(version, split, scores=scores, parts=True))
        shutil.rmtree(folder)


def put_images(version, given, folder):
    """Copy the images that the library has read."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {image.filename for image in given.get_images()}
    for frame in version:
        if Path(frame.source).name in names:
            shutil.copy(frame.source, folder)


def write(kind, given, reader, version, folder):
    """Write in a format what the library has read, beside the images."""
    match kind:
        case "coco":
            writer = COCO_OUT[reader](folder / "annotations" / "instances_train.json")
        case "voc":
            writer = formats.PascalVOCObjectDetectionOutput(folder / "Annotations")
        case "cvat":
            writer = formats.CVATObjectDetectionOutput(folder)
        case _:
            writer = YOLO_OUT[reader](folder / "data.yaml", "train")
    writer.save(given)
    put_images(version, given, folder / ("JPEGImages" if kind == "voc" else "images"))


COCO_OUT = {boxes: formats.COCOObjectDetectionOutput, polygons: formats.COCOInstanceSegmentationOutput}
YOLO_OUT = {boxes: formats.YOLOv8ObjectDetectionOutput, polygons: formats.YOLOv8InstanceSegmentationOutput}


def check_written(kind, reader, version, folder, labels=LABELS):
    """Assert that what the library writes of what it has read of a split is read by framelode as it is by the library."""
    # It writes the ids of classes as they are, and reads those of YOLO from 0 only.
    source = kind if kind == "yolo" else "coco"
    version.export(source, folder / "source", images=source == "yolo")
    given = reader(source, folder / "source", "train")
    there = folder / "there"
    write(kind, given, reader, version, there)
    found = theirs(reader(kind, there, "train", labels) if kind == "voc" else reader(kind, there, "train"))
    assert_equal(shapes_of(imported(kind, there), parts=True), found)
    shutil.rmtree(folder)


@pytest.mark.parametrize(("kind", "shapes", "reader"), KINDS)
def test_what_it_writes_is_read_the_same(kind, shapes, reader, engine, tmp_path):
    for seed in range(sized(1, 200)):
        version = random_version(tmp_path / f"in{seed}", seed, shapes)
        if not any(shapes_of(version).values()):
            continue
        check_written(kind, reader, version, tmp_path / f"out{seed}")


@real
@pytest.mark.parametrize("kind", ["coco", "yolo", "voc", "cvat"])
def test_real_data_there_and_back(kind, engine, tmp_path):
    version = bccd(sized(15, 1000))
    labels = ["RBC", "WBC", "Platelets"]
    version.export(kind, tmp_path / "out")
    split = None if kind in WHOLE else "train"
    assert_equal(theirs(boxes(kind, tmp_path / "out", split, labels)), shapes_of(version, split))
    check_written(kind, boxes, version, tmp_path / "there", labels)


def test_masks(engine, tmp_path):
    """Numbers of classes in PNG files, there and back."""
    reader, writer = formats.PascalVOCSemanticSegmentationInput, formats.PascalVOCSemanticSegmentationOutput
    for seed in range(sized(2, 200)):
        version = random_version(tmp_path / f"in{seed}", seed, ("polygon", "pixels"), most=3)
        # One shape of each image, so that none covers another.
        for frame in version:
            frame.annotations = frame.annotations[:1]
            version.update_frames([frame])
        version.delete_frames([frame for frame in version if not frame.annotations])
        if not len(version):
            continue
        out, there = tmp_path / f"out{seed}", tmp_path / f"there{seed}"
        version.to_masks(out)
        names = list(json.loads((out / "classes.json").read_text()))
        given = reader.from_dirs(out / "images", out / "masks", dict(enumerate(["background", *names])))
        found = theirs(given)
        expected = as_masks(version)
        assert_equal({name: some[1:] for name, some in found.items()}, expected)
        writer(there, "masks", "classes.json").save(given)
        put_images(version, given, there / "images")
        for frame in imported("masks", there):
            (mask,) = frame.annotations
            assert mask.labels == [expected[Path(frame.source).name][0][1]]
