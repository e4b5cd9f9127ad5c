"""pycocotools reads what was written as framelode reads it, and framelode reads what it writes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from exchanged import SPLITS, as_masks, assert_equal, bccd, imported, random_version, real, shapes_of
from PIL import Image
from sizes import sized

import framelode
from framelode import DatasetVersion
from framelode.adapters.formats.coco.rle import decode_rle, encode_rle, fill, rings_of

pytestmark = [
    pytest.mark.sized,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
pycocotools = pytest.importorskip("pycocotools.coco")
mask = pytest.importorskip("pycocotools.mask")

KINDS = ("box", "polygon", "parts", "holes", "pixels", "pose", "label", "caption")


@pytest.fixture
def engine(capsys):
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


def read(file):
    """Return the shapes that the library reads."""
    coco = pycocotools.COCO(str(file))
    found = {image["file_name"]: [] for image in coco.imgs.values()}
    for image in coco.imgs.values():
        for each in coco.loadAnns(coco.getAnnIds(image["id"])):
            found[image["file_name"]] += shapes(each, coco)
    return found


def shapes(each, coco):
    if "caption" in each:
        return [("caption", None, each["caption"])]
    label = coco.cats[each["category_id"]]["name"]
    if "bbox" not in each:
        return [("label", label, [])]
    score = [each["score"]] if "score" in each else []
    given, (x, y, w, h) = each["segmentation"], each["bbox"]
    if isinstance(given, dict):
        rle = mask.encode(np.asfortranarray(coco.annToMask(each)))
        assert mask.area(rle) == each["area"]
        # The box is the one around the polygon, whose numbers have fractions.
        assert np.allclose(mask.toBbox(rle), each["bbox"], atol=1)
        return [("mask", label, rle["counts"].decode())]
    if given:
        return [("polygon", label, [number for part in given for number in part] + score)]
    box = "box", label, [x, y, x + w, y + h, *score]
    if "keypoints" not in each:
        return [box]
    points = each["keypoints"]
    seen = points[2::3]
    assert each["num_keypoints"] == sum(map(bool, seen))
    flat = [number for at in range(0, len(points), 3) for number in points[at : at + 2]]
    return [box, ("points", label, flat + seen)]


def test_random_versions(engine, tmp_path):
    for seed in range(sized(5, 200)):
        version = random_version(tmp_path / "in", seed, KINDS, scores=True)
        folder = tmp_path / f"out{seed}"
        version.to_coco(folder)
        for split in SPLITS:
            expected = shapes_of(version, split, scores=True, parts=True)
            found = {name: [] for name in expected}
            for file in sorted((folder / "annotations").glob(f"*_{split}.json")):
                for name, some in read(file).items():
                    found[name] += some
            assert_equal(found, expected, 1e-9)
        shutil.rmtree(folder)


def test_polygons_along_pixels_are_these_pixels(engine, tmp_path):
    for seed in range(sized(2, 200)):
        version = random_version(tmp_path / "in", seed, ("pixels",))
        version.to_coco(tmp_path / f"out{seed}", images=False)
        found = {}
        for split in SPLITS:
            coco = pycocotools.COCO(str(tmp_path / f"out{seed}" / "annotations" / f"instances_{split}.json"))
            for image in coco.imgs.values():
                some = coco.loadAnns(coco.getAnnIds(image["id"]))
                found[image["file_name"]] = [
                    ("mask", coco.cats[each["category_id"]]["name"], encode_rle(coco.annToMask(each) > 0))
                    for each in some
                ]
        assert_equal(found, as_masks(version))


@real
def test_real_data(engine, tmp_path):
    version = bccd()
    version.to_coco(tmp_path / "out", images=False)
    found = read(tmp_path / "out" / "annotations" / "instances_trainval.json")
    assert_equal(found, shapes_of(version, "trainval"), 1e-9)
    assert sum(map(len, found.values())) > 3000


def test_masks_of_others_are_read_to_the_pixel(engine, tmp_path):
    pick = np.random.default_rng(1)
    Image.new("L", (20, 30)).save(tmp_path / "a.png")
    annotations, masks = [], []
    for number in range(sized(20, 300)):
        pixels = pick.random((30, 20)) < pick.random()
        if not pixels.any():
            continue
        rle = mask.encode(np.asfortranarray(pixels, np.uint8))
        counts = rle["counts"].decode()
        assert encode_rle(pixels) == counts
        assert (decode_rle(counts, 30, 20) == pixels).all()
        assert (fill(rings_of(pixels), 30, 20) == pixels).all()
        if number % 2:
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([2], pixels.T.ravel(), [2])))), prepend=0)
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
    coco = pycocotools.COCO(str(tmp_path / "out" / "annotations" / "instances_default.json"))
    for each, pixels in zip(coco.loadAnns(sorted(coco.anns)), masks, strict=True):
        assert (coco.annToMask(each).astype(bool) == pixels).all()
        assert (each["iscrowd"], each["area"]) == (1, pixels.sum())


@real
def test_masks_of_the_real_boxes(engine, tmp_path):
    """The library makes masks of the boxes of the real data, and they come in as the same pixels."""
    bccd(sized(5, 1000)).to_coco(tmp_path / "out")
    file = tmp_path / "out" / "annotations" / "instances_trainval.json"
    coco = pycocotools.COCO(str(file))
    expected = {image["file_name"]: [] for image in coco.imgs.values()}
    for each in coco.anns.values():
        image = coco.imgs[each["image_id"]]
        rle = mask.frPyObjects(np.array([each["bbox"]], float), image["height"], image["width"])[0]
        counts = rle["counts"].decode()
        each["segmentation"] = {"size": rle["size"], "counts": counts}
        expected[image["file_name"]].append(("mask", coco.cats[each["category_id"]]["name"], counts))
    file.write_text(json.dumps(coco.dataset))
    assert_equal(as_masks(imported("coco", file)), expected)
