"""CSV and Parquet tables of annotations: columns as people name them, and what is flawed."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from data_sets import HEIGHT, WIDTH, boxes, frames, image, make, plain, polygons, read, whole, write
from exchanged import assert_equal, bccd, imported, random_version, real, shapes_of
from hypothesis import given
from hypothesis import strategies as st
from late import Late
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, UsageError
from framelode.adapters.formats.registry import find_format, sniff_format
from framelode.adapters.formats.report import Report

pl = Late("polars")

values = (
    st.integers(-5, 5)
    | st.text(st.characters(codec="utf-8"), max_size=4)
    | st.none()
    | st.just([1, {"a": 2}])
)


@st.composite
def annotations(draw):
    made = draw(boxes(turned=False) | whole)
    made.confidence = draw(st.none() | st.floats(0, 1))
    made.metadata = draw(
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), values, max_size=2)
    )
    return made


@pytest.mark.parametrize("name", ["csv", "parquet"])
@examples(30, 1000)
@given(frames(annotations(), st.just({}) | st.just({"splits": ["train"]})))
def test_what_is_written_is_read_again(name, listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write(name, made, Path(folder, "to"))
        assert report.losses == []
        found, again, _ = read(name, Path(folder, "to"))
    assert (again.problems, again.losses) == ([], [])
    assert [plain(frame) for frame in found.values()] == [plain(frame) for frame in made]


@examples(20, 200)
@given(frames(polygons | boxes(), st.just({}) | st.just({"camera": 1}) | st.just({"splits": ["a", "b"]})))
def test_what_is_lost_is_reported(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("csv", made, Path(folder, "to"))
        found, _, _ = read("csv", Path(folder, "to"))
    same = [plain(frame) for frame in found.values()] == [plain(frame) for frame in made]
    assert same == (not report.losses)


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_versions_go_out_and_come_in(engine, tmp_path, name):
    for number in range(2):
        image(tmp_path / "from" / f"{number}.png", number)
    (tmp_path / "from" / "boxes.csv").write_text(
        "image,xmin,ymin,xmax,ymax,label\n0.png,1,2,3,4,car\n0.png,5,6,7,8,bus\n"
    )
    done = DatasetVersion.from_csv(tmp_path / "from", "d")
    assert (done.added, done.annotations, done.problems) == (2, 2, [])
    out = done.version.export(name, tmp_path / "to")
    assert (out.images, out.losses) == (2, [])
    assert sniff_format(tmp_path / "to").name == name
    again = DatasetVersion.import_from(name, tmp_path / "to", "e")
    assert (again.added, again.annotations, again.problems) == (2, 2, [])
    assert DatasetVersion.from_csv(tmp_path / "from", "d").unchanged == 2


BOX = [6.4, 4.8, 32.0, 24.0]
"""Left, top, width and height that all tables below give."""

TABLES = {
    "RetinaNet": ("0.png,6.4,4.8,38.4,28.8,cat\n1.png,,,,,\n", {}),
    "Vertex": (
        "TRAIN,gs://b/0.png,cat,0.1,0.1,,,0.6,0.6,,\nTEST,0.png,cat,0.1,0.1,0.6,0.1,0.6,0.6,0.1,0.6\n",
        {},
    ),
    "AutoML": ("0.png,cat,0.1,0.1,,,0.6,0.6,,\n", {}),
    "TensorFlow": (
        "filename,width,height,class,xmin,ymin,xmax,ymax\n0.png,64,48,cat,6.4,4.8,38.4,28.8\n",
        {},
    ),
    "Kaggle": (
        'image_id,width,height,bbox,source\n0,64,48,"[6.4, 4.8, 32.0, 24.0]",usask\n',
        {"source": "usask"},
    ),
    "Open Images": (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n0,xclick,/m/01,1,0.1,0.6,0.1,0.6,0\n",
        {"Source": "xclick", "IsOccluded": "0"},
    ),
    "box size": ("image;x;y;width;height;label\n0.png;6.4;4.8;32;24;cat\n", {}),
    "tabs": (
        "image_path\tclass_name\tbbox_x\tbbox_y\tbbox_width\tbbox_height\n/data/0.png\tcat\t6.4\t4.8\t32\t24\n",
        {},
    ),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_tables_as_people_have_them(tmp_path, kind, start):
    for number in range(2):
        image(tmp_path / "images" / f"{number}.png", number)
    text, metadata = TABLES[kind]
    (tmp_path / "train.csv").write_bytes((start + text.replace("\n", "\r\n")).encode())
    found, report, _ = read("csv", tmp_path)
    assert report.problems == []
    assert {name for name in found if "://" not in name} == {"images/0.png", "images/1.png"}
    annotation = found["images/0.png"].annotations[0]
    assert annotation.values == pytest.approx(BOX)
    assert annotation.metadata == metadata
    assert (found["images/0.png"].width, found["images/0.png"].height) == (WIDTH, HEIGHT)
    assert found["images/1.png"].annotations == []


def test_columns_of_other_names_are_mapped(tmp_path):
    image(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text("photo,links,oben,rechts,unten,art\n0.png,0.1,0.1,0.6,0.6,cat\n")
    (tmp_path / "t.csv.columns.json").write_text("{}")
    _, report, _ = read("csv", tmp_path / "t.csv")
    assert "name them in t.csv.columns.json" in report.problems[0].reason
    given = {
        "image": "photo",
        "xmin": "links",
        "ymin": "oben",
        "xmax": "rechts",
        "ymax": "unten",
        "label": "art",
    }
    (tmp_path / "t.csv.columns.json").write_text(json.dumps({**given, "normalized": False}))
    found, report, _ = read("csv", tmp_path / "t.csv")
    assert report.problems == []
    assert found["0.png"].annotations[0].values == pytest.approx([0.1, 0.1, 0.5, 0.5])
    for flawed, told in (
        ({**given, "label": "kind"}, "names the column 'kind'"),
        ({"colour": "art"}, "has the key"),
        ([], "must be an object"),
    ):
        (tmp_path / "t.csv.columns.json").write_text(json.dumps(flawed))
        _, report, _ = read("csv", tmp_path / "t.csv")
        assert told in report.problems[0].reason


def test_parquet_columns_of_lists_are_boxes(tmp_path):
    image(tmp_path / "0.png")
    rows = {
        "file_name": ["0.png", "0.png"],
        "bbox": [[1.0, 2, 3, 4], None],
        "category": [7, 8],
        "area": [12.0, None],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    found, report, _ = read("parquet", tmp_path)
    assert report.problems == []
    box, label = found["0.png"].annotations
    assert (box.values, box.labels, box.metadata) == ([1, 2, 3, 4], ["7"], {"area": 12.0})
    assert (label.type, label.labels, label.metadata) == ("image", ["8"], {})


def test_a_parquet_file_of_frames_and_a_damaged_one_are_listed(tmp_path, engine):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    draft.to_parquet(tmp_path / "frames.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    _, report, _ = read("parquet", tmp_path)
    assert ["is not Parquet" in report.problems[0].reason, "add_table" in report.problems[1].reason] == [
        True,
        True,
    ]


FLAWED = {
    "0.png,1,2,x,4,cat": "a coordinate must be a finite number",
    "0.png,1,2,,4,cat": "a coordinate must be a finite number",
    "0.png,9,2,3,4,cat": "negative size",
    "0.png,1,2,3,4,": "no label",
    "0.png,1,2,3,4": "no label",
    ",1,2,3,4,cat": "names no image",
}


@pytest.mark.parametrize("row", FLAWED)
def test_a_flawed_row_is_listed_and_the_rest_is_imported(tmp_path, row):
    image(tmp_path / "0.png")
    good = "0.png,1,2,3,4,cat\n"
    (tmp_path / "t.csv").write_text(f"image,xmin,ymin,xmax,ymax,label\n{good}{row}\n{good}")
    found, report, _ = read("csv", tmp_path)
    (problem,) = report.problems
    assert (problem.file, "row 3" in problem.reason, FLAWED[row] in problem.reason) == ("t.csv", True, True)
    assert len(found["0.png"].annotations) == 2


def test_a_field_that_is_too_long_is_listed_and_rows_before_it_are_kept(tmp_path):
    image(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text("image,label\n0.png,cat\n0.png," + "x" * 2**21 + "\n")
    reading = find_format("csv").read(tmp_path, report := Report())
    (item,) = reading.items
    assert "field larger than" in report.problems[0].reason
    assert (item.frame["rois"][0]["label"], item.is_whole) == (["cat"], False)


def test_tables_of_other_things_are_passed_over_unless_their_columns_are_mapped(tmp_path):
    image(tmp_path / "0.png")
    (tmp_path / "results.csv").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "t.csv").write_text("photo,art\n0.png,cat\n")
    with pytest.raises(UsageError, match="has no CSV file with columns of images"):
        read("csv", tmp_path)
    (tmp_path / "t.csv.columns.json").write_text(json.dumps({"image": "photo", "label": "art"}))
    found, report, _ = read("csv", tmp_path)
    assert report.problems == []
    assert [each.labels for each in found["0.png"].annotations] == [["cat"]]


@pytest.fixture
def in_memory():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.close()


LIBRARIES = {
    ("csv", "pandas"): lambda path: pd.read_csv(path).to_dict("records"),
    ("csv", "polars"): lambda path: pl.read_csv(path).to_dicts(),
    ("parquet", "pandas"): lambda path: pd.read_parquet(path).to_dict("records"),
    ("parquet", "polars"): lambda path: pl.read_parquet(path).to_dicts(),
}


def shapes_in(rows):
    """Return the shapes in the rows of a table by the names of their images."""
    found = {}
    for row in rows:
        some = found.setdefault(Path(row["image"]).name, [])
        numbers = [
            row[each] for each in ("xmin", "ymin", "xmax", "ymax", "confidence") if not pd.isna(row[each])
        ]
        if not pd.isna(row["label"]):
            some.append(("box" if numbers else "label", row["label"], numbers))
    return found


def theirs(version):
    """Return a table as people make it of boxes, with the columns of TensorFlow's object detection."""
    sizes = {Path(frame.source).name: (frame.width, frame.height) for frame in version}
    columns = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
    rows = [
        (name, *sizes[name], label, *numbers)
        for name, some in shapes_of(version).items()
        for _, label, numbers in some
    ]
    return pd.DataFrame(rows, columns=columns)


def check_both_ways(version, folder, scores=False):
    for (name, _), read_table in LIBRARIES.items():
        out = folder / name
        if not out.exists():
            version.export(name, out)
        assert_equal(
            shapes_in(read_table(out / f"annotations.{name}")), shapes_of(version, scores=scores), 1e-9
        )
    table = theirs(version)
    if table.empty:
        return
    for name in ("csv", "parquet"):
        there = folder / f"there-{name}"
        there.mkdir()
        for frame in version:
            shutil.copyfile(frame.source, there / Path(frame.source).name)
        table.to_csv(there / "boxes.csv", index=False) if name == "csv" else table.to_parquet(
            there / "boxes.parquet"
        )
        expected = {key: some for key, some in shapes_of(version).items() if some}
        assert_equal(
            {key: some for key, some in shapes_of(imported(name, there)).items() if some}, expected, 1e-9
        )


@pytest.mark.sized
def test_pandas_and_polars_read_and_write_the_same(in_memory, tmp_path):
    for seed in range(sized(2, 200)):
        folder = tmp_path / str(seed)
        check_both_ways(random_version(folder / "in", seed, scores=True), folder, scores=True)


@real
@pytest.mark.sized
def test_pandas_and_polars_read_and_write_the_real_data_the_same(in_memory, tmp_path):
    check_both_ways(bccd(sized(20, 1000)), tmp_path)
