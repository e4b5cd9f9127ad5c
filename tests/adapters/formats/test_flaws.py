"""Every flaw in every format: it is listed with its file and a reason, the command ends with 1, and the rest is imported."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import resource
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from command_line import run_json
from data_sets import HEIGHT, WIDTH, image
from PIL import Image
from pyarrow import parquet

import framelode
from framelode import DatasetVersion
from framelode.adapters.formats.names import BUILT_IN

GIGABYTE = 2**30


class Edit(NamedTuple):
    """What a cell changes, and what is then listed.

    `old` is replaced by `new` in the file; without `old`, `new` is another file, named by `file`. `reason` is a pattern; None if it is
    no flaw. `lost` are the images that may lose their annotations.
    """

    reason: str | None
    old: str = ""
    new: str = ""
    lost: str = "a"
    file: str = ""
    listed: str = ""


class Kind(NamedTuple):
    """The files of a data set of the images a, b and c, of which `first` is damaged. It describes the images `whole`."""

    files: dict[str, str]
    first: str
    whole: str
    cells: dict[str, Edit | str]


def coco(*names):
    numbers = {"a": 1, "b": 2, "c": 3}
    return json.dumps(
        {
            "images": [
                {"id": numbers[name], "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
                for name in names
            ],
            "annotations": [
                {"id": numbers[name], "image_id": numbers[name], "category_id": 1, "bbox": [1, 2, 3, 4]}
                for name in names
            ],
            "categories": [{"id": 1, "name": "cat"}],
        },
        indent=0,
    )


def voc(name):
    sides = "<xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6</ymax>"
    size = f"<size><width>{WIDTH}</width>\n<height>{HEIGHT}</height></size>"
    box = f"<object><name>cat</name><bndbox>{sides}</bndbox></object>"
    return f"<annotation><filename>{name}.png</filename>{size}\n{box}</annotation>\n"


def cvat(*names):
    box = '<box label="cat" xtl="1" ytl="2" xbr="4" ybr="6"></box>'
    images = "\n".join(
        f'<image name="{name}.png" width="{WIDTH}" height="{HEIGHT}">{box}</image>' for name in names
    )
    return f"<annotations><meta></meta>{images}</annotations>\n"


def labelme(name):
    shape = {"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [4, 6]]}
    return json.dumps(
        {"shapes": [shape], "imagePath": f"{name}.png", "imageWidth": WIDTH, "imageHeight": HEIGHT}, indent=0
    )


def imagefolder(*names):
    objects = {"bbox": [[1, 2, 3, 4]], "categories": ["cat"]}
    return "".join(json.dumps({"file_name": f"{name}.png", "objects": objects}) + "\n" for name in names)


def table(*names):
    rows = "".join(f"{name}.png,{WIDTH},{HEIGHT},1,2,4,6,cat\n" for name in names)
    return f"image,width,height,xmin,ymin,xmax,ymax,label\n{rows}"


def clearml(*names):
    rois = [{"label": ["cat"], "poly": [1, 2, 3, 4]}]
    source = {"width": WIDTH, "height": HEIGHT}
    frames = [
        {"id": name, "rois": rois, "sources": [{"uri": f"images/{name}.png", **source}]} for name in names
    ]
    return "[" + ",\n".join(map(json.dumps, frames)) + "]"


def shard(*names):
    """A line for each member, which `as_shard` packs."""
    return "".join(f'{name}.png=PNG\n{name}.json={{"x": 1}}\n{name}.cls=0\n' for name in names)


def as_shard(content):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for line in content.split(b"\n")[:-1]:
            name, _, inner = line.partition(b"=")
            inner = as_mask(b"0 1 64 48") if inner == b"PNG" else inner
            info = tarfile.TarInfo(name.decode())
            info.size = len(inner)
            archive.addfile(info, io.BytesIO(inner))
    return written.getvalue()


def as_parquet(content):
    """The table of a CSV text, whose texts may be no UTF-8."""
    header, *rows = csv.reader(io.StringIO(content.decode("latin-1")))
    columns = {}
    for name, values in zip(header, zip(*rows, strict=True), strict=True):
        if name in {"image", "label"}:
            bytes_of = pa.array([value.encode("latin-1") for value in values], pa.binary())
            columns[name] = pa.StringArray.from_buffers(len(values), *bytes_of.buffers()[1:])
        else:
            columns[name] = pa.array(map(float, values))
    written = io.BytesIO()
    parquet.write_table(pa.table(columns), written)
    return written.getvalue()


def as_mask(content):
    """A mask of two numbers, and of the size, that a text gives."""
    first, second, width, height = map(int, content.split())
    pixels = np.full((height, width), first, np.uint8)
    pixels[0] = second
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


PACKED = {".tar": as_shard, ".parquet": as_parquet, ".png": as_mask}
SIZE = rf"{WIDTH - 1} x {HEIGHT}.*{WIDTH} x {HEIGHT}"
OUT = "'../a.png' leads out of the folder"
GONE = "missing image: no file is 'gone.png'"
NUMBER = "must be (a )?finite numbers?, not .*nan"
UTF_8 = "UTF-8|utf-8"
LIMIT = "more than the limit of"
WIDE = (f'"width": {WIDTH}', f'"width": {WIDTH - 1}')
NO_INDEX = "classes are names"
NO_NAMES = "files are matched by their names, and name no others"

TABLE = {
    "truncated": Edit("must|is not", ",6,cat\nb", "\nb"),
    "class": NO_INDEX,
    "missing": Edit(GONE, "a.png", "gone.png"),
    "duplicate": "rows have no ids, and several rows about an image are its annotations",
    "NaN": Edit(NUMBER, "1,2,4,6", "1,nan,4,6"),
    "size": Edit(SIZE, f"a.png,{WIDTH}", f"a.png,{WIDTH - 1}", lost=""),
    "dots": Edit(OUT, "a.png", "../a.png"),
}
KINDS = {
    "clearml": Kind(
        {"first.json": clearml("a", "b"), "second.json": clearml("c")},
        "first.json",
        "ab",
        {
            "class": NO_INDEX,
            "missing": Edit("gone.png", "a.png", "gone.png"),
            "duplicate": Edit("frame 2: id 'a' is there twice", '"id": "b"', '"id": "a"', lost="b"),
            "NaN": Edit("frame 1: .*NaN|frame 1: .*nan", "[1, 2", "[NaN, 2"),
            "size": Edit(SIZE, *WIDE, lost=""),
            "Latin-1": Edit(UTF_8, '["cat"]', '["Ä"]'),
            "dots": Edit("'../images/a.png' leads out of the folder", "images/a.png", "../images/a.png"),
        },
    ),
    "coco": Kind(
        {"annotations/train.json": coco("a", "b"), "annotations/val.json": coco("c")},
        "annotations/train.json",
        "ab",
        {
            "class": Edit("category 7 is not in categories", '"category_id": 1', '"category_id": 7'),
            "missing": Edit(f"image 1: {GONE}", "a.png", "gone.png"),
            "duplicate": Edit(
                "annotation 1: duplicate id", '"id": 2,\n"image_id"', '"id": 1,\n"image_id"', lost="b"
            ),
            "NaN": Edit("annotation 1: ", "1,\n2,", "NaN,\n2,"),
            "size": Edit(SIZE, *WIDE, lost=""),
            "dots": Edit(OUT, "a.png", "../a.png"),
        },
    ),
    "csv": Kind({"first.csv": table("a", "b"), "second.csv": table("c")}, "first.csv", "ab", TABLE),
    "cvat": Kind(
        {"first.xml": cvat("a", "b"), "second.xml": cvat("c")},
        "first.xml",
        "ab",
        {
            "class": NO_INDEX,
            "missing": Edit(GONE, "a.png", "gone.png"),
            "duplicate": Edit("image 'a.png': image .* is already described", "b.png", "a.png", lost="b"),
            "NaN": Edit(NUMBER, 'xtl="1"', 'xtl="nan"'),
            "size": Edit(SIZE, f'width="{WIDTH}"', f'width="{WIDTH - 1}"', lost=""),
            "dots": Edit(OUT, "a.png", "../a.png"),
        },
    ),
    "imagefolder": Kind(
        {"train/metadata.jsonl": imagefolder("a", "b"), "test/metadata.jsonl": imagefolder("c")},
        "train/metadata.jsonl",
        "ab",
        {
            "truncated": Edit("row 1: is not valid JSON", ', "categories": ["cat"]}}\n', "\n"),
            "class": NO_INDEX,
            "missing": Edit(f"row 1: {GONE}", "a.png", "gone.png"),
            "duplicate": Edit("row 2: image 'train/a.png' is already described", "b.png", "a.png", lost="b"),
            "NaN": Edit("bbox must be .*nan", "[1, 2", "[NaN, 2"),
            "size": "metadata has no sizes",
            "dots": Edit(OUT, "a.png", "../a.png"),
        },
    ),
    "labelme": Kind(
        {f"{name}.json": labelme(name) for name in "abc"},
        "a.json",
        "a",
        {
            "class": NO_INDEX,
            "missing": Edit(GONE, "a.png", "gone.png"),
            "duplicate": Edit(
                "image .* is already described by 'a.json'", file="again.json", new=labelme("a"), lost=""
            ),
            "NaN": Edit(f"shape 1: points {NUMBER}", "[\n1,", "[\nNaN,"),
            "size": Edit(SIZE, f'"imageWidth": {WIDTH}', f'"imageWidth": {WIDTH - 1}', lost=""),
            "dots": Edit("'../../a.png' leads out of the folder", "a.png", "../../a.png"),
        },
    ),
    "masks": Kind(
        {f"masks/{name}.png": f"0 1 {WIDTH} {HEIGHT}" for name in "abc"}
        | {"classes.txt": "background\ncat\n"},
        "masks/a.png",
        "a",
        {
            "truncated": Edit("is no image that can be read"),
            "class": Edit("number 7 is not in classes.txt", "0 1", "0 7"),
            "missing": Edit("missing image", file="masks/gone.png", new="0 1 4 4", lost=""),
            "duplicate": Edit(
                "the image has the mask 'masks/a.png' already",
                file="masks/a_mask.png",
                new="0 1 4 4",
                lost="",
            ),
            "NaN": "pixels are whole numbers",
            "size": Edit("has the size 4 x 4, its image", f"{WIDTH} {HEIGHT}", "4 4"),
            "BOM": Edit(None, file="classes.txt", new="\ufeffbackground\ncat\n"),
            "CRLF": Edit(None, file="classes.txt", new="background\r\ncat\r\n"),
            "Latin-1": Edit(UTF_8, file="classes.txt", new="background\nÄ\n", lost="abc"),
            "line": Edit(LIMIT, file="classes.txt", lost="abc"),
            "dots": NO_NAMES,
        },
    ),
    "parquet": Kind(
        {"first.parquet": table("a", "b"), "second.parquet": table("c")},
        "first.parquet",
        "ab",
        {
            **TABLE,
            "truncated": Edit("is not Parquet", lost="ab"),
            "BOM": "the file is binary",
            "CRLF": "the file is binary",
            "line": "the file is binary, and read in parts",
        },
    ),
    "voc": Kind(
        {f"Annotations/{name}.xml": voc(name) for name in "abc"},
        "Annotations/a.xml",
        "a",
        {
            "class": NO_INDEX,
            "missing": Edit("missing image", file="Annotations/gone.xml", new=voc("gone"), lost=""),
            "duplicate": Edit(
                "names the image 'images/a.png', which has",
                file="Annotations/again.xml",
                new=voc("a"),
                lost="",
            ),
            "NaN": Edit("xmin must be a finite number, not 'nan'", "<xmin>1", "<xmin>nan"),
            "size": Edit(SIZE, f"<width>{WIDTH}", f"<width>{WIDTH - 1}", lost=""),
            "dots": Edit(OUT, "a.png", "../a.png"),
        },
    ),
    "webdataset": Kind(
        {"first.tar": shard("a", "b"), "second.tar": shard("c"), "classes.txt": "cat\n"},
        "first.tar",
        "ab",
        {
            "truncated": Edit("is no complete tar archive", lost="ab"),
            "class": Edit("'a': class 7 is not in classes.txt", "a.cls=0", "a.cls=7"),
            "missing": Edit("'a': has no image", "a.png=PNG\n", ""),
            "duplicate": Edit("is there twice: the first one is used", "\nb.", "\na.", lost="b"),
            "NaN": Edit("'a': .*(nan|NaN)", '"x": 1', '"x": NaN'),
            "size": Edit(
                SIZE,
                '{"x": 1}',
                f'{{"sources": [{{"width": {WIDTH - 1}, "height": {HEIGHT}}}], "rois": [{{"label": ["cat"]}}]}}',
                lost="",
            ),
            "BOM": Edit(None, "a.cls=", "a.cls=\ufeff"),
            "CRLF": Edit(None, "a.cls=0", "a.cls=0\r"),
            "Latin-1": Edit(UTF_8, "a.cls=0", "a.cls=Ä"),
            "line": Edit(LIMIT),
            "dots": Edit("leads out of the folder", "a.", "../a."),
        },
    ),
    "yolo": Kind(
        {
            "data.yaml": "train: list.txt\nnames: [cat]\n",
            "list.txt": "images/a.png\nimages/b.png\nimages/c.png\n",
            **{f"labels/{name}.txt": "0 0.5 0.5 0.25 0.25\n" for name in "abc"},
        },
        "labels/a.txt",
        "a",
        {
            "truncated": Edit("line 1: a row has a class and 4 numbers", " 0.25 0.25", ""),
            "class": Edit("line 1: class 7 is not in names, which are 1", "0 0.5", "7 0.5"),
            "missing": Edit("missing image", file="labels/gone.txt", new="0 0.5 0.5 0.25 0.25\n", lost=""),
            "duplicate": "labels have no ids",
            "NaN": Edit("line 1: coordinates must be from 0 to 1.* not nan", "0 0.5", "0 nan"),
            "size": "labels have no sizes: they are relative to that of the file",
            "Latin-1": Edit(UTF_8, "0.25\n", "0.25 # Ä\n"),
            "dots": Edit(
                "line 4: file name '../a.png' leads out",
                file="list.txt",
                new="a.png\nb.png\nc.png\n../a.png\n",
                lost="",
            ),
        },
    ),
}
FLAWS = (
    "truncated",
    "class",
    "missing",
    "duplicate",
    "NaN",
    "size",
    "BOM",
    "CRLF",
    "Latin-1",
    "line",
    "loop",
    "dots",
)
COMMON = {
    "truncated": Edit("not valid|not well-formed|is not JSON|cut off", lost="whole"),
    "BOM": Edit(None),
    "CRLF": Edit(None),
    "Latin-1": Edit(UTF_8, "cat", "Ä", lost="whole"),
    "line": Edit(".", lost="whole"),
    "loop": Edit("is a symbolic link to a folder that contains it: not followed", listed="loop", lost=""),
}
CELLS = {
    (name, flaw): cell
    for name in BUILT_IN
    for flaw in FLAWS
    if isinstance(cell := KINDS[name].cells.get(flaw) or COMMON[flaw], Edit)
}

GENERAL = {
    "truncated": lambda content: content[: len(content) // 3],
    "BOM": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "Latin-1": lambda content: content.replace(b"cat", b"\xc4", 1),
}


def put(file, content):
    """Write a file, packed as its suffix asks for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(PACKED.get(file.suffix, bytes)(content))


def build(folder, name, flaw):
    """Write a data set with a flaw."""
    kind = KINDS[name]
    places = {"webdataset": (), "imagefolder": ("train/a", "train/b", "test/c")}
    for place in places.get(name, ("images/a", "images/b", "images/c")):
        image(folder / f"{place}.png")
    for file, text in kind.files.items():
        put(folder / file, text.encode())
    edit = CELLS[name, flaw]
    target = folder / (edit.file or kind.first)
    if flaw == "loop":
        (folder / "loop").symlink_to(folder)
    elif flaw == "line":
        make_endless(target)
    elif edit.file:
        put(target, edit.new.encode("latin-1" if flaw == "Latin-1" else "utf-8"))
    elif edit.old:
        text = kind.files[kind.first].replace(
            edit.old, edit.new, -1 if flaw in {"dots", "duplicate"} and name == "webdataset" else 1
        )
        assert text != kind.files[kind.first]
        put(target, text.encode("latin-1" if flaw == "Latin-1" else "utf-8"))
    elif target.suffix in PACKED:
        target.write_bytes(GENERAL[flaw](target.read_bytes()))
    else:
        put(target, GENERAL[flaw](kind.files[kind.first].encode()))


def make_endless(file):
    """Make a text of a gigabyte of a file, or a member of that size the first one of a shard."""
    if file.suffix == ".tar":
        members = file.read_bytes()
        info = tarfile.TarInfo("a.json")
        info.size = GIGABYTE
        file.write_bytes(info.tobuf())
        os.truncate(file, 512 + GIGABYTE)
        with file.open("ab") as opened:
            opened.write(members)
    else:
        os.truncate(file, GIGABYTE)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / ".framelode") as engine:
        yield engine
        engine.close()


@pytest.fixture
def _half_a_gigabyte():
    """Half of a gigabyte of memory more than there is already."""
    used = int(re.search(r"VmData:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + GIGABYTE // 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.usefixtures("_half_a_gigabyte")
@pytest.mark.parametrize(("name", "flaw"), CELLS)
def test_a_flaw_is_listed_and_the_rest_is_imported(name, flaw, engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "set", name, flaw)
    edit, kind = CELLS[name, flaw], KINDS[name]
    done = run_json("import", "auto", "set", "--dataset", "d", status=0 if edit.reason is None else 1)
    assert done["format"] == name
    if edit.reason is None:
        assert done["problems"] == []
    else:
        assert {each["file"] for each in done["problems"]} == {edit.listed or edit.file or kind.first}
        assert re.search(edit.reason, done["problems"][0]["reason"]), done["problems"]
    lost = kind.whole if edit.lost == "whole" else "" if edit.reason is None else edit.lost
    found = {
        Path(frame.source).stem: [each.labels for each in frame.annotations]
        for frame in DatasetVersion.get_current(dataset_name="d")
    }
    kept = set("abc") - set(lost)
    assert {name: found.pop(name, None) for name in kept} == {name: [["cat"]] for name in kept}
    assert found.keys() <= set(lost)
