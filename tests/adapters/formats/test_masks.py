"""Masks beside images: palettes, colours, numbers of 8 and 16 bits, and what is flawed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from data_sets import (
    HEIGHT,
    WIDTH,
    boxes,
    ellipses,
    frames,
    image,
    make,
    pixel_polygons,
    plain,
    polygons,
    read,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sizes import examples

from framelode import DatasetVersion, SingleFrame
from framelode.adapters.formats.coco.rle import fill
from framelode.adapters.formats.geometry import flat_rings
from framelode.adapters.formats.registry import sniff_format

colours = st.tuples(*[st.integers(0, 255)] * 3).filter(any)


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array), mode).save(path)
    return path


def numbers(dtype=np.uint8, **areas):
    """Return numbers of the size of the images; each keyword is the number of the first columns of a row of pixels."""
    array = np.zeros((HEIGHT, WIDTH), dtype)
    for row, number in enumerate(areas.values()):
        array[row * 2 : row * 2 + 2, : 3 + row] = number
    return array


@examples(30, 1000)
@given(frames(boxes() | polygons | ellipses | pixel_polygons()))
def test_shapes_are_the_pixels_that_are_read_again(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("masks", made, Path(folder, "to"))
        count = sum(len(frame.annotations) for frame in made)
        assert sum(each.count for each in report.losses) == count
        if not count:
            return
        found, again, _ = read("masks", Path(folder, "to"))
        assert (again.problems, again.losses) == ([], [])
        for before in made:
            after = found[f"images/{before.id}.png"]
            expected = np.full((HEIGHT, WIDTH), "", object)
            for annotation in before.annotations:
                expected[fill(flat_rings(annotation), HEIGHT, WIDTH)] = annotation.labels[0]
            read_again = np.full((HEIGHT, WIDTH), "", object)
            if before.annotations:
                pixels = np.asarray(Image.open(after.mask_source).convert("RGB"))
                for annotation in after.annotations:
                    read_again[(pixels == annotation.mask_rgb).all(axis=2)] = annotation.labels[0]
            assert (expected == read_again).all()


@examples(30, 300)
@given(
    st.dictionaries(st.sampled_from(["cat", "dog", "sky"]), colours, min_size=1).filter(
        lambda some: len(set(some.values())) == len(some)
    )
)
def test_mask_files_are_written_as_they_are(classes):
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for row, colour in enumerate(classes.values()):
            pixels[row] = colour
        mask = save(Path(folder, "m.png"), pixels)
        frame = SingleFrame(
            id="0", source=image(Path(folder, "0.png")), width=WIDTH, height=HEIGHT, mask_source=mask
        )
        for label, colour in sorted(classes.items(), key=lambda item: item[1]):
            frame.add_annotation(mask_rgb=colour, labels=[label])
        report = write("masks", [frame], Path(folder, "to"))
        assert report.losses == []
        found, again, _ = read("masks", Path(folder, "to"))
        assert again.problems == []
        (after,) = found.values()
        assert Path(after.mask_source).read_bytes() == mask.read_bytes()
        assert [(each.labels, each.mask_rgb) for each in after.annotations] == [
            (each.labels, each.mask_rgb) for each in frame.annotations
        ]


def test_versions_go_out_and_come_in(engine, tmp_path):
    image(tmp_path / "from" / "images" / "a.jpg")
    palette = Image.fromarray(numbers(a=1, b=2), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    (tmp_path / "from" / "masks").mkdir()
    palette.save(tmp_path / "from" / "masks" / "a.png")
    (tmp_path / "from" / "classes.txt").write_text("background\ncat\ndog\n")
    assert sniff_format(tmp_path / "from").name == "masks"
    done = DatasetVersion.from_masks(tmp_path / "from", "d")
    assert (done.added, done.annotations, done.problems, done.losses) == (1, 2, [], [])
    assert done.version.get_metadata()["categories"] == [{"name": "cat"}, {"name": "dog"}]
    (frame,) = done.version.get_iterator()
    assert [(each.labels, each.mask_rgb) for each in frame.annotations] == [
        (["cat"], (128, 0, 0)),
        (["dog"], (0, 128, 0)),
    ]
    assert Path(frame.mask_source).name == "a.png"
    out = done.version.to_masks(tmp_path / "to")
    assert (out.images, out.losses) == (2, [])
    again = DatasetVersion.from_masks(tmp_path / "to", "e")
    assert [plain(each)["rois"] for each in again.version.get_iterator()] == [plain(frame)["rois"]]
    assert DatasetVersion.from_masks(tmp_path / "from", "d").unchanged == 1


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("classes.json", '["background", "cat"]', ["cat"]),
        ("classes.json", '{"cat": 1, "dog": 7}', ["cat", "dog"]),
        ("classes.json", '{"1": "cat", "7": "dog"}', ["cat", "dog"]),
        ("classes.json", '[{"name": "cat", "id": 1}, {"name": "dog", "color": [7, 7, 7]}]', ["cat", "dog"]),
        ("labelmap.txt", "# label:color\r\nbackground:0,0,0::\r\ncat:1,1,1::\r\n", ["cat"]),
        ("classes.txt", "\ufeff_background_\ncat", ["cat"]),
        ("other.md", "", ["1", "7"]),
    ],
)
def test_names_of_classes(tmp_path, name, text, labels):
    image(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png", numbers(a=1, b=7, c=255))
    (tmp_path / name).write_text(text)
    found, report, _ = read("masks", tmp_path)
    assert [each.labels[0] for each in found["images/a.png"].annotations] == labels
    reasons = [f"number 7 is not in {name}"] if len(labels) < 2 else []
    assert [each.reason for each in report.problems] == reasons


def test_numbers_of_16_bits_are_instances_as_in_cityscapes(tmp_path):
    stem = "aachen_000000_000019"
    image(tmp_path / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    pixels = numbers(np.uint16, car=26001, other=26002, road=7)
    save(tmp_path / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_instanceIds.png", pixels)
    save(tmp_path / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_labelIds.png", numbers(a=26))
    (tmp_path / "classes.json").write_text(json.dumps({"road": 7, "car": 26}))
    found, report, _ = read("masks", tmp_path)
    assert report.problems == []
    (frame,) = found.values()
    assert [(each.labels, each.id) for each in frame.annotations] == [
        (["road"], None),
        (["car"], "26001"),
        (["car"], "26002"),
    ]
    for annotation, number in zip(frame.annotations, (7, 26001, 26002), strict=True):
        assert (fill([annotation.poly], HEIGHT, WIDTH) == (pixels == number)).all()


def test_an_instance_of_parts_and_holes_has_the_same_pixels(tmp_path):
    image(tmp_path / "a.png")
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    pixels[4:20, 4:20] = 3001
    pixels[8:10, 8:10] = 0
    pixels[30, 30] = 3001
    save(tmp_path / "a_mask.png", pixels)
    found, _, _ = read("masks", tmp_path)
    (annotation,) = found["a.png"].annotations
    assert (fill(flat_rings(annotation), HEIGHT, WIDTH) == (pixels > 0)).all()


def test_flawed_masks_are_listed_and_the_rest_is_imported(tmp_path):
    for name in "abcd":
        image(tmp_path / "images" / f"{name}.png")
    save(tmp_path / "masks" / "a.png", numbers(a=1))
    (tmp_path / "masks" / "b.png").write_bytes(b"no image")
    save(tmp_path / "masks" / "c.png", np.zeros((5, 5), np.uint8))
    noise = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3)
    save(tmp_path / "masks" / "gone.png", (noise % 251).astype(np.uint8))
    (tmp_path / "classes.json").write_text('{"cat": "one"}')
    found, report, _ = read("masks", tmp_path)
    assert sorted(found) == [f"images/{name}.png" for name in "abcd"]
    told = {each.file: each.reason for each in report.problems}
    assert list(told) == ["classes.json", "masks/gone.png", "masks/b.png", "masks/c.png"]
    for reason, part in zip(
        told.values(), ("number or a colour", "missing image", "no image", "5 x 5"), strict=True
    ):
        assert part in reason
    assert [each.labels for each in found["images/a.png"].annotations] == [["1"]]


def test_masks_of_equal_names_belong_to_the_images_beside_them(tmp_path):
    for value, split in enumerate(("train", "val"), 1):
        image(tmp_path / split / "images" / "a.png")
        save(tmp_path / split / "masks" / "a.png", numbers(a=value))
        image(tmp_path / split / "images" / "b.png")
    image(tmp_path / "val" / "images" / "b.jpg")
    save(tmp_path / "masks" / "b.png", numbers(a=3))
    found, report, _ = read("masks", tmp_path)
    labels = {name: [each.labels[0] for each in frame.annotations] for name, frame in found.items()}
    assert {name: some for name, some in labels.items() if some} == {
        "train/images/a.png": ["1"],
        "val/images/a.png": ["2"],
    }
    assert ["several images" in each.reason for each in report.problems] == [True]
