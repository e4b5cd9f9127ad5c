"""Other libraries read what was written as framelode reads it, and framelode reads what they write."""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sizes import sized

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.formats.coco.rle import decode_rle, encode_rle, fill, rings_of

_numbers = count()
BCCD = os.environ.get("FRAMELODE_TEST_VOC")
real = pytest.mark.skipif(not BCCD, reason="FRAMELODE_TEST_VOC names no VOC folder")
SIZES = [(64, 48), (40, 90)]
LABELS = ["cat", "dog", "bird"]


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def random_version(folder, seed, kinds=("box",)):
    """Return a version of three pictures with random annotations inside of them."""
    pick = np.random.default_rng(seed)
    frames = []
    for number in range(3):
        width, height = SIZES[number % 2]
        file = folder / f"{seed}-{number}.png"
        Image.new("RGB", (width, height)).save(file)
        split = ["train", "val"][number % 2]
        frame = SingleFrame(source=file, width=width, height=height, metadata={"splits": [split]})
        for _ in range(pick.integers(0, 5)):
            label = [LABELS[pick.integers(3)]]
            x, y = (round(float(pick.uniform(1, side / 2)), 2) for side in (width, height))
            w, h = (round(float(pick.uniform(2, side / 2 - 2)), 2) for side in (width, height))
            kind = kinds[pick.integers(len(kinds))]
            if kind == "box":
                frame.add_annotation(box2d_xywh=(x, y, w, h), labels=label)
            elif kind == "polygon":
                frame.add_annotation(poly2d_xy=[(x, y), (x + w, y), (x + w / 2, y + h)], labels=label)
            else:
                inner = [(x + 1, y + 1), (x + w - 1, y + 1), (x + w - 1, y + h - 1), (x + 1, y + h - 1)]
                outer = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
                frame.add_annotation(poly2d_xy=[outer, inner], labels=label)
        frames.append(frame)
    return into(frames)


def into(frames):
    name = f"d{next(_numbers)}"
    DatasetVersion.create_new_dataset(name)
    version = DatasetVersion.get_current(dataset_name=name)
    assert version.add_frames(frames) == []
    return version


def bccd():
    return DatasetVersion.from_voc(BCCD, f"d{next(_numbers)}").version


def boxes_of(version, split=None):
    """Return label and corners of each box by the name of the image."""
    found = {}
    for frame in version:
        if split is None or split in frame.metadata.get("splits", ()):
            boxes = [(each.labels[0], *each.get_bounding_box()) for each in frame.get_annotations()]
            found[Path(frame.source).name] = sorted((name, x, y, x + w, y + h) for name, x, y, w, h in boxes)
    return found


def assert_equal(one, other, tolerance=1e-3):
    assert one.keys() == other.keys()
    for name, boxes in one.items():
        assert [box[0] for box in boxes] == [box[0] for box in other[name]], name
        assert np.allclose([box[1:] for box in boxes], [box[1:] for box in other[name]], atol=tolerance), name


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestPycocotools:
    @pytest.fixture(autouse=True)
    def library(self):
        self.coco = pytest.importorskip("pycocotools.coco").COCO
        self.mask = pytest.importorskip("pycocotools.mask")

    def read(self, file):
        coco = self.coco(str(file))
        found = {image["file_name"]: [] for image in coco.imgs.values()}
        for each in coco.anns.values():
            x, y, w, h = each["bbox"]
            box = (coco.cats[each["category_id"]]["name"], x, y, x + w, y + h)
            found[coco.imgs[each["image_id"]]["file_name"]].append(box)
        return coco, {name: sorted(boxes) for name, boxes in found.items()}

    def compare(self, version, folder):
        version.to_coco(folder)
        for split in ("train", "val"):
            coco, found = self.read(folder / "annotations" / f"instances_{split}.json")
            assert_equal(found, boxes_of(version, split), 1e-9)
            self.compare_pixels(coco, version)
        return coco

    def compare_pixels(self, coco, version):
        frames = {Path(frame.source).name: frame for frame in version}
        for each in coco.anns.values():
            image = coco.imgs[each["image_id"]]
            if not each["segmentation"]:
                continue
            pixels = coco.annToMask(each)
            assert pixels.shape == (image["height"], image["width"])
            # Polygons are drawn differently at their edges; run lengths are exact.
            assert abs(int(pixels.sum()) - each["area"]) <= (
                0 if isinstance(each["segmentation"], dict) else 2 * (image["width"] + image["height"])
            )
            assert frames[image["file_name"]].get_annotations()

    @pytest.mark.sized
    def test_random_versions(self, engine, tmp_path, capsys):
        for seed in range(sized(6, 200)):
            version = random_version(tmp_path, seed, ("box", "polygon", "holes"))
            self.compare(version, tmp_path / f"out{seed}")

    @real
    def test_real_data(self, engine, tmp_path, capsys):
        version = bccd()
        version.to_coco(tmp_path / "out", images=False)
        coco, found = self.read(tmp_path / "out" / "annotations" / "instances_trainval.json")
        assert_equal(found, boxes_of(version, "trainval"), 1e-9)
        assert len(coco.anns) > 3000

    @pytest.mark.sized
    def test_masks_of_others_are_read_to_the_pixel(self, engine, tmp_path):
        pick = np.random.default_rng(1)
        Image.new("L", (20, 30)).save(tmp_path / "a.png")
        annotations, masks = [], []
        for number in range(sized(20, 300)):
            pixels = pick.random((30, 20)) < pick.random()
            if not pixels.any():
                continue
            rle = self.mask.encode(np.asfortranarray(pixels, np.uint8))
            counts = rle["counts"].decode()
            assert encode_rle(pixels) == counts
            assert (decode_rle(counts, 30, 20) == pixels).all()
            assert (fill(rings_of(pixels), 30, 20) == pixels).all()
            if number % 2:
                runs = np.diff(
                    np.flatnonzero(np.diff(np.concatenate(([2], pixels.T.ravel(), [2])))), prepend=0
                )
                counts = [0, *runs[1:].tolist()] if pixels[0, 0] else runs[1:].tolist()
            annotation = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 1}
            annotations.append({**annotation, "segmentation": {"size": [30, 20], "counts": counts}})
            masks.append(pixels)
        images = [{"id": 1, "file_name": "a.png", "width": 20, "height": 30}]
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
        (tmp_path / "coco.json").write_text(json.dumps(document))
        done = DatasetVersion.from_coco(tmp_path, "d")
        assert done.problems == []
        assert len(masks) == done.annotations
        assert done.version.to_coco(tmp_path / "out").losses == []
        coco, _ = self.read(tmp_path / "out" / "annotations" / "instances_default.json")
        for each, pixels in zip(coco.loadAnns(sorted(coco.anns)), masks, strict=True):
            assert (coco.annToMask(each).astype(bool) == pixels).all()
            assert (each["iscrowd"], each["area"]) == (1, pixels.sum())


class TestSupervision:
    @pytest.fixture(autouse=True)
    def library(self):
        self.sv = pytest.importorskip("supervision")

    def boxes(self, dataset):
        return {
            Path(path).name: sorted(
                (dataset.classes[index], *map(float, box))
                for box, index in zip(found.xyxy, found.class_id if len(found) else (), strict=True)
            )
            for path, _, found in dataset
        }

    def yolo(self, folder, split):
        return self.sv.DetectionDataset.from_yolo(
            str(folder / "images" / split), str(folder / "labels" / split), str(folder / "data.yaml")
        )

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.sized
    def test_random_versions(self, engine, tmp_path):
        for seed in range(sized(3, 100)):
            version = random_version(tmp_path, seed)
            folder = tmp_path / f"yolo{seed}"
            version.to_yolo(folder)
            for split in ("train", "val"):
                assert_equal(self.boxes(self.yolo(folder, split)), boxes_of(version, split))
            folder = tmp_path / f"voc{seed}"
            version.to_voc(folder)
            voc = self.sv.DetectionDataset.from_pascal_voc(
                str(folder / "JPEGImages"), str(folder / "Annotations")
            )
            # It counts pixels from one, and framelode writes coordinates as they are.
            assert_equal(self.boxes(voc), shifted(boxes_of(version), -1), 1.01)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.sized
    def test_the_reverse(self, engine, tmp_path):
        for seed in range(sized(2, 100)):
            version = random_version(tmp_path, seed)
            folder = tmp_path / f"yolo{seed}"
            version.to_yolo(folder)
            there = tmp_path / f"there{seed}"
            self.yolo(folder, "train").as_yolo(
                str(there / "images"), str(there / "labels"), str(there / "data.yaml")
            )
            back = DatasetVersion.from_yolo(there, f"d{next(_numbers)}")
            assert back.problems == []
            assert_equal(boxes_of(back.version), boxes_of(version, "train"), 1e-2)


def shifted(found, by):
    return {
        name: [(box[0], *(each + by for each in box[1:])) for box in boxes] for name, boxes in found.items()
    }


class TestLabelformat:
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("labelformat")

    def boxes(self, reader):
        return {
            Path(label.image.filename).name: sorted(
                (each.category.name, each.box.xmin, each.box.ymin, each.box.xmax, each.box.ymax)
                for each in label.objects
            )
            for label in reader.get_labels()
        }

    def compare(self, version, folder, images):
        from labelformat.formats import (
            COCOObjectDetectionInput,
            PascalVOCObjectDetectionInput,
            YOLOv8ObjectDetectionInput,
        )

        version.to_coco(folder / "coco", images=images)
        for split in ("train", "val"):
            coco = COCOObjectDetectionInput(folder / "coco" / "annotations" / f"instances_{split}.json")
            assert_equal(self.boxes(coco), boxes_of(version, split))
        version.to_yolo(folder / "yolo")
        for split in ("train", "val"):
            yolo = YOLOv8ObjectDetectionInput(folder / "yolo" / "data.yaml", split)
            assert_equal(self.boxes(yolo), boxes_of(version, split))
        version.to_voc(folder / "voc")
        names = ",".join(sorted({name for boxes in boxes_of(version).values() for name, *_ in boxes}))
        voc = PascalVOCObjectDetectionInput(folder / "voc" / "Annotations", names)
        assert_equal(self.boxes(voc), boxes_of(version))

    @pytest.mark.sized
    def test_random_versions(self, engine, tmp_path):
        for seed in range(sized(3, 100)):
            (folder := tmp_path / str(seed)).mkdir()
            self.compare(random_version(folder, seed + 1), folder / "out", images=False)
            shutil.rmtree(folder)

    @real
    def test_real_data(self, engine, tmp_path):
        self.compare(bccd(), tmp_path, images=False)
