"""Frames as JSON of ClearML: any frame goes out and comes in, and what is flawed is listed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import any_frames
import pytest
from data_sets import read, write
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode import DatasetVersion, FrameGroup, SingleFrame
from framelode.adapters.formats.registry import find_format, sniff_format
from framelode.adapters.formats.report import Report
from framelode.engine.errors import InvalidValueError
from framelode.engine.frames.frame_group import frame_from_dict


@examples(25, 1000)
@given(st.lists(any_frames.frames, min_size=1, max_size=3, unique_by=lambda frame: frame.id))
def test_any_frames_are_read_as_they_were_written(given):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frames.json")
        written = []
        for number, frame in enumerate(given):
            frame.id = frame.id or f"new {number}"
            try:
                frame.validated()
            except InvalidValueError:
                continue
            written.append(frame)
        report = write("clearml", written, path)
        report_in = Report()
        items = list(find_format("clearml").read(path, report_in).items)
    assert (report_in.losses, report_in.problems) == ([], [])
    if report.losses:
        assert any(isinstance(frame, FrameGroup) and list(frame) == ["default"] for frame in written)
        return
    assert [frame_from_dict(item.frame).to_dict() for item in items] == [frame.to_dict() for frame in written]


def test_versions_go_out_and_come_in_with_their_ids(engine, tmp_path):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    (tmp_path / "left.jpg").write_bytes(b"left")
    single = SingleFrame(
        id="one", source=tmp_path / "left.jpg", metadata={"a": [1]}, timestamp=5, context_id="drive"
    )
    single.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["car"], confidence=0.5, id="x")
    left = SingleFrame(source=tmp_path / "left.jpg", width=4)
    right = SingleFrame(source="s3://b/right.jpg", mask_source="s3://b/mask.png")
    group = FrameGroup("two", {"k": 1}, {"left": left, "right": right})
    group.add_global_annotation(frame_class=["night"])
    draft.add_frames([single, group])
    out = draft.to_clearml(tmp_path / "frames.json")
    assert (out.frames, out.losses) == (2, [])
    assert sniff_format(tmp_path / "frames.json").name == "clearml"
    done = DatasetVersion.from_clearml(tmp_path / "frames.json", "e")
    assert (done.added, done.problems, done.losses) == (2, [], [])
    draft.commit_version()
    other = done.version
    assert {each.id: each for each in other.get_iterator()} == {
        each.id: each for each in draft.get_iterator()
    }
    again = DatasetVersion.from_clearml(tmp_path / "frames.json", "e")
    assert (again.unchanged, again.added, again.updated) == (2, 0, 0)


FRAME = {
    "id": "f1",
    "timestamp": 3,
    "context_id": "ctx",
    "meta": {"alive": "yes"},
    "sources": [
        {
            "id": "default",
            "uri": "https://x.invalid/a.jpg",
            "content_type": "image/jpeg",
            "width": 512,
            "height": 512,
            "timestamp": 3,
            "preview": {"uri": "https://x.invalid/p.jpg", "content_type": "image/jpeg", "timestamp": 0},
        }
    ],
    "rois": [
        {"label": ["seat"], "poly": [1, 2, 30, 40], "confidence": 1.0, "sources": ["default"]},
        {"label": ["road"], "mask": {"id": "00", "value": [1, 2, 3]}},
        {"label": ["area"], "poly": [0, 0, 1, 0, 1, 1]},
        {"label": ["day"]},
    ],
    "dataset": {"id": "a", "version": "b"},
}  # fmt: skip

WRAPPED = {
    "list": [FRAME],
    "object": FRAME,
    "frames": {"frames": [FRAME]},
    "answer": {"meta": {"result_code": 200}, "data": {"frames": [FRAME], "total": 1}},
}


@pytest.mark.parametrize("kind", [*WRAPPED, "lines"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_lists_lines_objects_and_answers_are_read(tmp_path, kind, start):
    text = json.dumps(FRAME) + "\r\n\r\n" if kind == "lines" else json.dumps(WRAPPED[kind], indent=2)
    path = tmp_path / "frames.jsonl"
    path.write_bytes((start + text).encode())
    found, report, _ = read("clearml", path)
    assert report.problems == []
    (frame,) = found.values()
    assert [each.type for each in frame.annotations] == ["box2d", "mask", "polygon2d", "image"]
    assert (frame.id, frame.timestamp, frame.context_id, frame.metadata) == ("f1", 3, "ctx", {"alive": "yes"})


def test_many_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "frames.jsonl"
    path.write_text("".join(json.dumps({**FRAME, "id": str(number)}) + "\n" for number in range(300)))
    _, report, _ = read("clearml", path)
    assert (len(report.problems), path.stat().st_size > 2**16) == (0, True)
    reading = find_format("clearml").read(path, Report())
    assert [item.frame["id"] for item in reading.items] == [str(number) for number in range(300)]


def test_paths_are_relative_to_the_file(engine, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "frames.json").write_text(
        json.dumps([{"sources": [{"uri": "a.jpg"}]}, {"sources": [{"uri": "a.jpg", "timestamp": 7}]}])
    )
    done = DatasetVersion.from_clearml(tmp_path / "frames.json", "d")
    assert (done.added, done.problems) == (2, [])
    assert {frame.source for frame in done.version.get_iterator()} == {str(tmp_path / "a.jpg")}


def test_flawed_frames_are_listed_and_unknown_keys_are_losses(tmp_path):
    flawed = [
        {**FRAME, "id": "f2", "rois": [{"poly": [1, 2, "x", 3]}]},
        {**FRAME, "id": "f3", "sources": [{"uri": "s3://b/a", "colour": 3}]},
        "no frame",
        {**FRAME, "id": "f1"},
    ]
    path = tmp_path / "frames.json"
    path.write_text(json.dumps([{**FRAME, "video_gop": None}, *flawed]))
    found, report, _ = read("clearml", path)
    assert [frame.id for frame in found.values()] == ["f1"]
    assert dict(report.flaws) == {"frame": 4}
    for problem, told in zip(
        report.problems, ("rois[0]", "colour", "must be an object", "twice"), strict=True
    ):
        assert told in problem.reason
    assert [each.kind for each in report.losses] == ["key 'video_gop' that frames do not have: left out"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"sources": "uri"', "is not valid JSON"),
        ('{"data": {}, "sources of": "uri"}', "has neither sources nor frames"),
    ],
)
def test_a_flawed_file_is_listed(tmp_path, content, reason):
    path = tmp_path / "frames.json"
    path.write_text(content)
    found, report, _ = read("clearml", path)
    assert (found, dict(report.flaws)) == ({}, {"file": 1})
    assert reason in report.problems[0].reason
