"""supervision reads what was written as framelode reads it, and framelode reads what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from exchanged import (
    LABELS,
    SPLITS,
    assert_equal,
    bccd,
    imported,
    random_version,
    real,
    shapes_of,
)
from late import Late
from PIL import Image
from sizes import sized

import framelode
from framelode.adapters.formats.coco.rle import encode_rle
from framelode.adapters.formats.geometry import flat_rings, without_holes

pytestmark = [pytest.mark.sized, pytest.mark.filterwarnings("ignore")]  # it says that it has no OpenCV
sv = Late("supervision")

ALL_AT_ONCE = {"voc", "labelme"}
"""Formats without a folder or a file for each split."""

FROM_ONE = (-1, -1, 0, 0)
"""In VOC it counts the left and upper pixels from 1. framelode writes and reads coordinates as they are."""


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def read(kind, folder, split="train"):
    """Return the data set of a format that the library reads."""
    match kind:
        case "coco":
            file = folder / "annotations" / f"instances_{split}.json"
            return sv.DetectionDataset.from_coco(str(folder / "images"), str(file))
        case "voc":
            return sv.DetectionDataset.from_pascal_voc(
                str(folder / "JPEGImages"), str(folder / "Annotations")
            )
        case "labelme":
            return sv.DetectionDataset.from_labelme(str(folder), str(folder))
        case _:
            places = [str(folder / each / split) for each in ("images", "labels")]
            return sv.DetectionDataset.from_yolo(*places, str(folder / "data.yaml"), is_obb=kind == "obb")


def write(kind, data, folder):
    """Write a data set in a format."""
    match kind:
        case "coco":
            data.as_coco(str(folder / "images"), str(folder / "annotations" / "instances_train.json"))
        case "voc":
            data.as_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
        case "labelme":
            data.as_labelme(str(folder), str(folder))
        case _:
            places = [str(folder / each / "train") for each in ("images", "labels")]
            data.as_yolo(*places, str(folder / "data.yaml"), is_obb=kind == "obb")


def theirs(data):
    """Return the shapes of a data set. Whatever it has a mask for is pixels."""
    found = {}
    for path, each in data.annotations.items():
        corners = each.data.get("xyxyxyxy")
        some = found[Path(path).name] = []
        for number in range(len(each)):
            label = data.classes[each.class_id[number]]
            if each.mask is not None:
                some.append(("mask", label, encode_rle(each.mask[number])))
            elif corners is not None:
                some.append(("rotated", label, corners[number].ravel().tolist()))
            else:
                some.append(("box", label, each.xyxy[number].tolist()))
    return found


def ours(kind, version, split=None):
    """Return the shapes of frames as the library would have them."""
    found = shapes_of(version, None if kind in ALL_AT_ONCE else split)
    frames = {Path(frame.source).name: frame for frame in version}
    for name, some in found.items():
        for at, (shape, label, numbers) in enumerate(some):
            annotation = frames[name].annotations[at]
            if shape == "polygon":
                some[at] = "mask", label, drawn(kind, [numbers], frames[name])
            elif shape == "mask" and len(without_holes(rings := flat_rings(annotation))) == len(rings):
                some[at] = "mask", label, drawn(kind, rings, frames[name])
            elif shape == "box" and kind == "obb":
                some[at] = "rotated", label, np.ravel(annotation.vertices).tolist()
            elif shape == "box" and kind == "voc":
                some[at] = shape, label, [n + by for n, by in zip(numbers, FROM_ONE, strict=True)]
    return found


def drawn(kind, rings, frame):
    """Return the pixels of rings as the library draws them: with corners in whole pixels, and with all of the edge."""
    size = np.array([frame.width, frame.height])
    pixels = np.zeros(size[::-1], bool)
    for ring in rings:
        points = np.reshape(ring, (-1, 2)) + (-1 if kind == "voc" else 0)
        if kind == "yolo":
            # It reads the relative numbers with 32 bits.
            points = (points / size).astype(np.float32) * size.astype(np.float32)
        corners = np.round(points.astype(np.float32)).astype(np.int32)
        pixels |= sv.polygon_to_mask(corners, tuple(size)).astype(bool)
    return encode_rle(pixels)


OUT = [
    ("coco", ("box",)),
    ("coco", ("polygon", "holes", "pixels")),
    ("voc", ("box",)),
    ("voc", ("polygon",)),
    ("yolo", ("box",)),
    ("yolo", ("polygon",)),
    ("obb", ("rotated", "box")),
    ("labelme", ("box",)),
    ("labelme", ("polygon",)),
]


@pytest.mark.parametrize(("kind", "shapes"), OUT)
def test_it_reads_random_versions_the_same(kind, shapes, engine, tmp_path):
    for seed in range(sized(1, 200)):
        version = random_version(tmp_path / "in", seed, shapes)
        folder = tmp_path / f"out{seed}"
        version.export(kind.replace("obb", "yolo"), folder)
        has_angles = any(
            each.type == "box2d" and each.angle for frame in version for each in frame.annotations
        )
        task = kind if has_angles else kind.replace("obb", "yolo")
        for split in SPLITS[: 1 if kind in ALL_AT_ONCE else 2]:
            assert_equal(theirs(read(task, folder, split)), ours(task, version, split))
        shutil.rmtree(folder)


def random_data(folder, seed, kind):
    """Return a data set of three images with boxes, rotated boxes or blobs of pixels."""
    pick = np.random.default_rng(seed)
    folder.mkdir()
    annotations = {}
    for number in range(3):
        width, height = 60, 50
        file = folder / f"{number}.png"
        Image.fromarray(pick.integers(0, 256, (height, width, 3), np.uint8)).save(file)
        count = pick.integers(1, 5)
        low = pick.uniform(10, 20, (count, 2))
        xyxy = np.concatenate([low, low + pick.uniform(4, 25, (count, 2))], 1).astype(np.float32)
        found = sv.Detections(xyxy=xyxy, class_id=pick.integers(0, 3, count))
        if kind == "obb":
            found.data["xyxyxyxy"] = np.stack([turned(each, pick.uniform(-3, 3)) for each in xyxy])
        elif kind == "mask":
            found.mask = np.stack([blob(each, (height, width)) for each in xyxy])
        annotations[str(file)] = found
    return sv.DetectionDataset(LABELS, list(annotations), annotations)


def turned(box, angle):
    """Return the corners of a box of half the size, turned around its middle."""
    (x1, y1, x2, y2) = map(float, box)
    sides = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (x2 - x1, y2 - y1) / 4
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    return (sides @ turn + ((x1 + x2) / 2, (y1 + y2) / 2)).astype(np.float32)


def blob(box, shape):
    """Return the pixels of the ellipse in a box."""
    x1, y1, x2, y2 = map(float, box)
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    return ((xs - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((ys - (y1 + y2) / 2) / (y2 - y1)) ** 2 <= 0.25


@pytest.mark.parametrize("shape", ["box", "mask"])
@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "labelme"])
def test_what_it_writes_is_read_the_same(kind, shape, engine, tmp_path):
    for seed in range(sized(1, 200)):
        check_written(kind, random_data(tmp_path / f"in{seed}", seed, shape), tmp_path / f"out{seed}")


def test_rotated_boxes_that_it_writes_are_read_the_same(engine, tmp_path):
    for seed in range(sized(1, 200)):
        check_written("obb", random_data(tmp_path / f"in{seed}", seed, "obb"), tmp_path / f"out{seed}")


def check_written(kind, data, folder):
    write(kind, data, folder)
    version = imported(kind.replace("obb", "yolo"), folder)
    # It writes 5 decimals, from which framelode makes the rectangle next to the corners.
    assert_equal(theirs(read(kind, folder)), ours(kind, version), 0.01 if kind == "obb" else 1e-3)
    shutil.rmtree(folder)


@real
@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "labelme"])
def test_real_data_there_and_back(kind, engine, tmp_path):
    version = bccd(sized(15, 1000))
    version.export(kind, tmp_path / "out")
    data = read(kind, tmp_path / "out")
    assert_equal(theirs(data), ours(kind, version, "train"))
    check_written(kind, data, tmp_path / "there")


def test_folders_of_classes(engine, tmp_path):
    for seed in range(sized(1, 200)):
        version = random_version(tmp_path / f"in{seed}", seed, ("label",), most=9)
        labelled = [frame for frame in version if frame.annotations]
        if not labelled:
            continue
        version.delete_frames([frame for frame in version if not frame.annotations])
        version.to_imagefolder(tmp_path / f"out{seed}")
        found = {}
        for split in (tmp_path / f"out{seed}").iterdir():
            data = sv.ClassificationDataset.from_folder_structure(str(split))
            for path, each in data.annotations.items():
                found[Path(path).name] = [("label", data.classes[each.class_id[0]], [])]
            data.as_folder_structure(str(tmp_path / f"there{seed}" / split.name))
        assert_equal(found, shapes_of(version))
        assert_equal(shapes_of(imported("imagefolder", tmp_path / f"there{seed}")), found)
