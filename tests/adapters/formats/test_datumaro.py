"""datumaro reads what was written as framelode reads it, and framelode reads what it writes.

``FRAMELODE_TEST_DATUMARO`` names a Python that has it: ``python -m venv FOLDER && FOLDER/bin/pip install datumaro==1.13.12``.
It has no place beside the other libraries, because it needs an older Pillow.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from exchanged import LABELS, asked, assert_equal, imported, random_version, shapes_of
from PIL import Image
from sizes import sized

import framelode
from framelode.adapters.formats.coco.rle import encode_rle

VARIABLE = "FRAMELODE_TEST_DATUMARO"
pytestmark = [
    pytest.mark.sized,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no Python that has datumaro"),
]
ROUNDED = 0.012
"""It rounds coordinates, sizes and degrees to two decimals."""

SCRIPT = """
import logging, math, os
import datumaro as dm
import numpy as np
from datumaro.components.annotation import AnnotationType as Type
from pycocotools import mask

logging.disable()

def answer(kind, folder, target=None, there=None):
    data = dm.Dataset.import_from(folder, kind)
    if target is None:
        return shapes_of(data)
    data.export(there, target, save_media=True)
    return shapes_of(dm.Dataset.import_from(there, target.replace("yolo_ultralytics", "yolo")))

def shapes_of(data):
    labels = [each.name for each in data.categories()[Type.label]] if Type.label in data.categories() else []
    return {
        os.path.basename(item.media.path): shapes(item.annotations, labels) for item in data
    }

def shapes(annotations, labels):
    of_polygon = {each.id for each in annotations if each.id and each.type in {Type.polygon, Type.mask}}
    found, parts = [], {}
    for each in annotations:
        if each.type == Type.bbox and each.id in of_polygon:
            continue  # COCO: the box around a segmentation
        if each.type == Type.polygon and each.id in parts:
            parts[each.id][2].extend(each.points)
            continue
        label = labels[each.label] if getattr(each, "label", None) is not None else None
        shape = (*shape_of(each, label),)
        found.append(shape)
        if each.type == Type.polygon and each.id:
            parts[each.id] = shape
    return found

def shape_of(each, label):
    if each.type == Type.bbox:
        return "box", label, list(each.points)
    if each.type == Type.rotated_bbox:
        cx, cy, w, h, degrees = each.points
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        corners = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
        return "rotated", label, [n for x, y in corners for n in (cx + x * c - y * s, cy + x * s + y * c)]
    if each.type == Type.polygon:
        return "polygon", label, list(each.points)
    if each.type == Type.polyline:
        return "polyline", label, list(each.points)
    if each.type == Type.points:
        return "points", label, [*each.points, *map(int, each.visibility)]
    if each.type == Type.mask:
        rle = mask.encode(np.asfortranarray(each.image, np.uint8))
        return "mask", label, rle["counts"].decode()
    if each.type == Type.label:
        return "label", label, []
    return "caption", None, each.caption
"""

READ = [
    ("cvat", "cvat", ("box", "rotated", "polygon", "polyline", "points", "pixels", "label")),
    ("coco", "coco_instances", ("box", "polygon", "parts", "holes")),
    ("coco", "coco_labels", ("label",)),
    ("coco", "coco_captions", ("caption",)),
    ("coco", "coco_person_keypoints", ("pose",)),
    ("voc", "voc_detection", ("box",)),
    ("yolo", "yolo", ("box",)),
    ("imagefolder", "imagenet", ("label",)),
]
"""The format of framelode, that of the library, and the shapes."""


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def export(version, kind, name, folder):
    """Export frames as the library can read them, and return the folder; None if it cannot."""
    if not any(shapes_of(version, "train").values()):
        return None
    if name == "imagenet":
        version.export(kind, folder, query="meta.splits:train")
        # It refuses folders of classes with other files beside them.
        return None if (folder / "train" / "metadata.jsonl").exists() else folder / "train"
    if name == "coco_person_keypoints":
        points = {"keypoints": ["a", "b", "c", "d"], "skeleton": []}
        version.set_metadata({"categories": [{"name": label, **points} for label in LABELS]})
    version.export(kind, folder)
    if name == "coco_person_keypoints":
        # framelode has poses and other instances in one file.
        for file in (folder / "annotations").glob("instances_*.json"):
            file.rename(file.with_name(file.name.replace("instances", name.removeprefix("coco_"))))
    return folder


def expected(version, name):
    """Return the shapes of those images that the library knows of: of COCO it reads one task, of folders one split."""
    split = "train" if name == "imagenet" else None
    found = shapes_of(version, split, parts=name == "coco_instances")
    if name in {"coco_labels", "coco_captions", "imagenet"}:
        found = {image: some for image, some in found.items() if some}
    return found


def test_it_reads_the_same(engine, tmp_path):
    jobs, wanted = [], []
    for seed in range(sized(2, 200)):
        for kind, name, shapes in READ:
            version = random_version(tmp_path / "in", seed, shapes)
            if (folder := export(version, kind, name, tmp_path / f"{name}{seed}")) is not None:
                jobs.append((name, str(folder)))
                wanted.append(expected(version, name))
    for found, shapes in zip(asked(VARIABLE, SCRIPT, jobs, tmp_path), wanted, strict=True):
        assert_equal(found, shapes, ROUNDED)


WRITTEN = [
    ("cvat", "cvat", ("box", "rotated", "polygon", "polyline", "points", "pixels", "label")),
    ("coco", "coco_instances", ("box", "polygon", "pixels")),
    ("coco", "coco_captions", ("caption",)),
    ("coco", "coco_person_keypoints", ("pose",)),
    ("voc", "voc_detection", ("box",)),
    ("yolo", "yolo_ultralytics", ("box",)),
    ("imagefolder", "imagenet", ("label",)),
]


def test_what_it_writes_is_read_the_same(engine, tmp_path):
    jobs, kinds = [], []
    for seed in range(sized(2, 200)):
        for kind, name, shapes in WRITTEN:
            version = random_version(tmp_path / "in", seed, shapes)
            of_coco = name in {"coco_captions", "coco_person_keypoints"}
            source = "coco" if of_coco else kind if name == "imagenet" else "cvat"
            folder, there = (
                export(version, source, name, tmp_path / f"{name}{seed}"),
                tmp_path / f"there-{name}{seed}",
            )
            if folder is not None:
                jobs.append(("cvat" if source == "cvat" else name, str(folder), name, str(there)))
                kinds.append((kind, there))
    for found, (kind, there) in zip(asked(VARIABLE, SCRIPT, jobs, tmp_path), kinds, strict=True):
        assert_equal(shapes_of(imported(kind, there)), found, ROUNDED)


def test_masks_of_voc_that_it_writes_are_read_to_the_pixel(engine, tmp_path):
    jobs, folders = [], []
    for seed in range(sized(3, 200)):
        # One shape of each image: it writes the masks of several into one file, the last above.
        version = random_version(tmp_path / "in", seed, ("pixels",), most=2)
        if any(each[0] == "mask" for some in shapes_of(version, "train").values() for each in some):
            version.to_cvat(tmp_path / f"cvat{seed}")
            folders.append(tmp_path / f"there{seed}")
            jobs.append(("cvat", str(tmp_path / f"cvat{seed}"), "voc_segmentation", str(folders[-1])))
    assert jobs
    for found, there in zip(asked(VARIABLE, SCRIPT, jobs, tmp_path), folders, strict=True):
        masks = {Path(frame.source).name: list(masks_of(frame)) for frame in imported("voc", there)}
        expected = {name: [each for each in some if each[0] == "mask"] for name, some in found.items()}
        assert any(masks.values())
        assert_equal(
            {name: some for name, some in masks.items() if some},
            {name: some for name, some in expected.items() if some},
        )


def masks_of(frame):
    """Yield the pixels of the colours of the mask file of a frame."""
    for each in frame.annotations:
        with Image.open(frame.masks_source["SegmentationClass"]) as file:
            pixels = np.asarray(file.convert("RGB"))
        yield "mask", each.labels[0], encode_rle((pixels == each.mask_rgb).all(2))
