"""Image folders: classes and splits by folder, metadata beside, and what is flawed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from data_sets import boxes, frames, image, labels, make, plain, read, whole, write
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode import DatasetVersion
from framelode.adapters.formats.registry import sniff_format
from framelode.engine.annotations.types import ImageAnnotation

values = (
    st.integers(-5, 5)
    | st.text(st.characters(codec="utf-8"), max_size=4)
    | st.booleans()
    | st.just({"a": [1]})
)
metadata = st.dictionaries(st.sampled_from(["camera", "note"]), values)
names = labels | st.sampled_from(["train", "..", " a. ", "images"])
one_class = st.lists(names, max_size=1).map(lambda some: [ImageAnnotation(labels=each) for each in some])
annotated = st.tuples(one_class, st.lists(boxes(turned=False), max_size=2)).map(lambda two: two[0] + two[1])


@st.composite
def listed(draw):
    some = draw(st.lists(st.tuples(annotated, metadata), min_size=1, max_size=4))
    if draw(st.booleans()):
        for _, meta in some:
            meta["splits"] = [draw(st.sampled_from(["train", "test"]))]
    return some


@examples(60, 1000)
@given(listed())
def test_what_is_written_is_read_again(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("imagefolder", made, Path(folder, "to"))
        assert report.losses == []
        found, again, _ = read("imagefolder", Path(folder, "to"))
    assert (again.problems, again.losses) == ([], [])
    by_name = {Path(name).name: plain(frame) for name, frame in found.items()}
    assert by_name == {f"{frame.id}.png": plain(frame) for frame in made}


@examples(20, 200)
@given(frames(boxes() | whole, st.just({}) | st.just({"splits": ["train"]}) | st.just({"label": None})))
def test_what_is_lost_is_reported(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("imagefolder", made, Path(folder, "to"))
        found, _, _ = read("imagefolder", Path(folder, "to"))
    by_name = {Path(name).name: parts(frame) for name, frame in found.items()}
    is_same = by_name == {f"{frame.id}.png": parts(frame) for frame in made}
    assert is_same == (not report.losses)


def parts(frame):
    """Return a frame whose annotations have no order."""
    known = plain(frame)
    return {**known, "rois": sorted(map(repr, known["rois"]))}


def test_versions_go_out_and_come_in(engine, tmp_path):
    for number, name in enumerate(("train/cat/1.png", "train/dog/big/2.png", "test/cat/3.png", "test/4.png")):
        image(tmp_path / "from" / name, number)
    assert sniff_format(tmp_path / "from").name == "imagefolder"
    done = DatasetVersion.from_imagefolder(tmp_path / "from", "d")
    assert (done.added, done.annotations, done.problems, done.losses) == (4, 3, [], [])
    assert done.version.get_metadata()["categories"] == [{"name": "cat"}, {"name": "dog"}]
    found = {Path(frame.source).name: frame for frame in done.version.get_iterator()}
    assert {name: [each.labels for each in frame.annotations] for name, frame in found.items()} == {
        "1.png": [["cat"]], "2.png": [["dog"]], "3.png": [["cat"]], "4.png": []
    }  # fmt: skip
    assert found["1.png"].metadata == {"splits": ["train"]}
    out = done.version.to_imagefolder(tmp_path / "to")
    assert (out.images, out.losses) == (4, [])
    files = sorted(str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*.*"))
    both = ["test/metadata.jsonl", "train/metadata.jsonl"]
    assert files == sorted([*both, "test/4.png", "test/cat/3.png", "train/cat/1.png", "train/dog/2.png"])
    done.version.to_imagefolder(tmp_path / "classes", query="meta.splits:train")
    assert list((tmp_path / "classes").rglob("*.jsonl")) == []
    assert DatasetVersion.from_imagefolder(tmp_path / "from", "d").unchanged == 4


def test_folders_of_classes_named_as_splits_beside_others_are_classes(tmp_path):
    for name in ("train/1.png", "bus/2.png"):
        image(tmp_path / name)
    found, _, _ = read("imagefolder", tmp_path)
    assert [frame.annotations[0].labels for frame in found.values()] == [["bus"], ["train"]]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_may_hold_other_ends_of_lines(tmp_path, name):
    image(tmp_path / "1.png")
    text = (
        '{"file_name": "1.png", "note": "a\x85b\u2028"}'
        if "json" in name
        else "file_name,note\r\n1.png,a\x85b\u2028"
    )
    (tmp_path / name).write_bytes(text.encode())
    found, report, _ = read("imagefolder", tmp_path)
    assert (report.problems, found["1.png"].metadata) == ([], {"note": "a\x85b\u2028"})


def test_metadata_of_csv_is_read(tmp_path):
    for name in ("1.png", "2.png"):
        image(tmp_path / "train" / name)
    (tmp_path / "train" / "metadata.csv").write_bytes(
        '\ufefffile_name,label,text\r\n1.png,cat,"a, b"\r\n2.png,,Ä\r\n'.encode()
    )
    found, report, _ = read("imagefolder", tmp_path)
    assert report.problems == []
    one, two = found.values()
    assert (one.annotations[0].labels, one.metadata) == (["cat"], {"text": "a, b", "splits": ["train"]})
    assert (two.annotations, two.metadata) == ([], {"text": "Ä", "splits": ["train"]})


FLAWED = {
    '{"text": "x"}': "must have a file_name",
    '{"file_name": "2.png", "objects": {"bbox": [[1, 2, 3]], "categories": [0]}}': "left, top, width and height",
    '{"file_name": "2.png", "objects": {"bbox": [[1, 2, 3, -4]], "categories": [0]}}': "left, top, width and height",
    '{"file_name": "2.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": []}}': "as many boxes as categories",
    '{"file_name": "2.png", "objects": [1]}': "as many boxes as categories",
    "[1, 2]": "must have a file_name",
    '{"file_name": "2.png", ': "not valid JSON",
}


@pytest.mark.parametrize("line", FLAWED)
def test_a_flawed_row_is_listed_and_the_rest_is_imported(tmp_path, line):
    for name in ("1.png", "2.png", "3.png"):
        image(tmp_path / name)
    rows = [
        json.dumps({"file_name": "1.png", "objects": {"bbox": [[1, 2, 3, 4]], "category": ["cat"]}}),
        line,
        json.dumps({"file_name": "3.png", "label": 7}),
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    found, report, _ = read("imagefolder", tmp_path)
    (problem,) = report.problems
    assert FLAWED[line] in problem.reason
    assert problem.file == "metadata.jsonl"
    assert [[each.labels for each in frame.annotations] for frame in found.values()] == [
        [["cat"]],
        [],
        [["7"]],
    ]


def test_an_empty_image_is_listed(tmp_path):
    image(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "2.png").touch()
    found, report, _ = read("imagefolder", tmp_path)
    assert dict(report.flaws) == {"image": 1}
    assert list(found) == ["cat/1.png"]
