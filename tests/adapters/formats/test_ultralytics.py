"""Ultralytics reads YOLO as it was written, framelode reads what it writes, and torchvision reads image folders.

``FRAMELODE_TEST_ULTRALYTICS`` names a Python that has ultralytics and torchvision. They are too large for the other tests.
"""

from __future__ import annotations

import os
import shutil

import pytest
import yaml
from exchanged import asked, assert_equal, bccd, imported, random_version, real, shapes_of
from sizes import sized

import framelode

VARIABLE = "FRAMELODE_TEST_ULTRALYTICS"
pytestmark = [
    pytest.mark.sized,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no Python that has ultralytics"),
]

SCRIPT = """
import contextlib, os, sys
import numpy as np
os.environ["YOLO_VERBOSE"] = "false"
from ultralytics.data.converter import convert_coco
from ultralytics.data import utils
from ultralytics.data.utils import check_det_dataset, img2label_paths, verify_image_label

utils.check_font = lambda name: None  # which it would download, for drawings

def answer(task, folder, source=None):
    if task == "imagefolder":
        return classes(folder)
    if source is not None:
        with contextlib.redirect_stdout(sys.stderr):
            convert_coco(source, folder, task == "segment", task == "pose", cls91to80=False)
        return None
    data = check_det_dataset(os.path.join(folder, "data.yaml"), autodownload=False)
    found = {}
    for split in ("train", "val"):
        images = data.get(split)
        for each in os.listdir(images) if images and os.path.isdir(images) else ():
            found[each] = read(task, os.path.join(images, each), data)
    return found

def read(task, image, data):
    (label,) = img2label_paths([image])
    count, ndim = data.get("kpt_shape", (0, 0))
    got = verify_image_label((image, label, "", task == "pose", data["nc"], count, ndim, False))
    _, rows, size, segments, keypoints, *_, corrupt, message = got
    assert not corrupt, message
    height, width = size
    names = [data["names"][int(row[0])] for row in rows]
    if task in {"segment", "obb"} and segments:
        kind = "polygon" if task == "segment" else "rotated"
        return [
            (kind, name, (points * (width, height)).ravel().tolist())
            for name, points in zip(names, segments, strict=True)
        ]
    found = []
    for place, (name, (_, cx, cy, w, h)) in enumerate(zip(names, rows.astype(float), strict=True)):
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        found.append(("box", name, [n * (height if at % 2 else width) for at, n in enumerate(corners)]))
        if task == "pose" and keypoints[place][:, 2].any():
            points = keypoints[place].astype(float)
            flat = (points[:, :2] * (width, height)).ravel().tolist()
            found.append(("points", name, flat + points[:, 2].tolist()))
    return found

def classes(folder):
    from torchvision.datasets import ImageFolder
    data = ImageFolder(folder)
    return {os.path.basename(path): [("label", data.classes[index], [])] for path, index in data.samples}
"""

TASKS = {"detect": ("box",), "segment": ("polygon",), "obb": ("rotated", "box"), "pose": ("pose",)}


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def has_task(task, version):
    """Whether annotations are there that make it a data set for this task."""
    kinds = {each[0] for some in shapes_of(version).values() for each in some}
    return "rotated" in kinds if task == "obb" else bool(kinds)


def cornered(shapes, task):
    """Return the shapes of rotated boxes as corners, also those without an angle."""
    if task != "obb":
        return shapes
    return {name: [cornered_one(each) for each in some] for name, some in shapes.items()}


def cornered_one(shape):
    kind, label, numbers = shape
    if kind != "box":
        return shape
    x1, y1, x2, y2 = numbers
    return "rotated", label, [x1, y1, x2, y1, x2, y2, x1, y2]


def test_it_reads_random_versions_the_same(engine, tmp_path):
    jobs, wanted = [], []
    for seed in range(sized(2, 200)):
        for task, shapes in TASKS.items():
            version = random_version(tmp_path / "in", seed, shapes)
            if has_task(task, version):
                folder = tmp_path / f"{task}{seed}"
                version.to_yolo(folder)
                jobs.append((task, str(folder)))
                wanted.append(cornered(shapes_of(version), task))
    for found, shapes in zip(asked(VARIABLE, SCRIPT, jobs, tmp_path), wanted, strict=True):
        assert_equal(found, shapes)


def test_what_it_makes_of_coco_is_read_the_same(engine, tmp_path):
    jobs, made = [], []
    for seed in range(sized(2, 200)):
        for task in ("detect", "segment", "pose"):
            version = random_version(tmp_path / "in", seed, TASKS[task])
            if not has_task(task, version):
                continue
            source, folder = tmp_path / f"coco-{task}{seed}", tmp_path / f"{task}{seed}"
            version.to_coco(source)
            jobs.append((task, str(folder), str(source / "annotations")))
            made.append((task, version, folder))
    asked(VARIABLE, SCRIPT, jobs, tmp_path)
    for task, version, folder in made:
        finish(task, version, folder)
    read = asked(VARIABLE, SCRIPT, [(task, str(folder)) for task, _, folder in made], tmp_path)
    for found, (_, _, folder) in zip(read, made, strict=True):
        assert_equal(shapes_of(imported("yolo", folder)), found)


def finish(task, version, folder):
    """Put the images and the definition beside the labels that it has made."""
    shutil.rmtree(folder / "images")
    names = sorted({each.labels[0] for frame in version for each in frame.annotations})
    for frame in version:
        there = folder / "images" / frame.metadata["splits"][0]
        there.mkdir(parents=True, exist_ok=True)
        shutil.copy(frame.source, there)
    given = {"train": "images/train", "val": "images/val", "names": names, "task": task}
    if task == "pose":
        given["kpt_shape"] = [4, 3]
    (folder / "data.yaml").write_text(yaml.safe_dump(given, allow_unicode=True), "utf-8")


def test_both_read_coordinates_a_little_outside(engine, tmp_path):
    version = random_version(tmp_path / "in", 1)
    version.to_yolo(tmp_path / "out")
    file = next(iter(sorted((tmp_path / "out" / "labels" / "train").iterdir())))
    file.write_text("0 1.005 0.5 0.02 0.2\n0 0.5 -0.005 0.1 0.02\n")
    (found,) = asked(VARIABLE, SCRIPT, [("detect", str(tmp_path / "out"))], tmp_path)
    assert len(found[f"{file.stem}.png"]) == 2
    assert_equal(shapes_of(imported("yolo", tmp_path / "out")), found)


@real
def test_real_data(engine, tmp_path):
    version = bccd(sized(30, 1000))
    version.to_yolo(tmp_path / "out")
    (found,) = asked(VARIABLE, SCRIPT, [("detect", str(tmp_path / "out"))], tmp_path)
    assert_equal(found, {**shapes_of(version, "train"), **shapes_of(version, "val")}, 2e-3)


def test_image_folders(engine, tmp_path):
    jobs, wanted = [], []
    for seed in range(sized(2, 200)):
        version = random_version(tmp_path / "in", seed, ("label",), most=9)
        shapes = {name: some for name, some in shapes_of(version, "train").items() if some}
        if shapes:
            version.delete_frames([frame for frame in version if not frame.annotations])
            version.to_imagefolder(tmp_path / f"out{seed}")
            jobs.append(("imagefolder", str(tmp_path / f"out{seed}" / "train")))
            wanted.append(shapes)
    for found, shapes in zip(asked(VARIABLE, SCRIPT, jobs, tmp_path), wanted, strict=True):
        assert_equal(found, shapes)
