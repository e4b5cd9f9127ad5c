"""Names and arguments of frames and groups that the followed API has besides ours."""

import hashlib
from pathlib import Path

import pytest

from framelode.engine.annotations.types import BoundingBox2D, ImageAnnotation
from framelode.engine.errors import InvalidTypeError, InvalidValueError, NotFoundError, UsageError
from framelode.engine.frames.frame_group import FrameGroup
from framelode.engine.frames.record import encode_record
from framelode.engine.frames.single_frame import SingleFrame, decode_record

PAIRS = [
    ("preview_source", "preview_uri", "s3://b/p.png"),
    ("preview_source_timestamp", "preview_uri_timestamp", 40),
    ("masks_source", "mask_source", {"a": "s3://b/m.png", "b": "/m.png"}),
    ("meta", "metadata", {"k": [1]}),
]


@pytest.mark.parametrize(("other", "name", "value"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_two_names_of_one_value(other, name, value):
    frame = SingleFrame(**{other: value})
    assert frame == SingleFrame(**{name: value})
    assert getattr(frame, other) == getattr(frame, name) == value
    setattr(frame, other, None)
    assert frame == SingleFrame()
    setattr(frame, other, value)
    assert getattr(frame, name) == value
    with pytest.raises(UsageError, match=f"pass either {name} or {other}, which are the same"):
        SingleFrame(**{name: value, other: value})


def test_an_unknown_argument_is_refused_with_the_nearest_name():
    with pytest.raises(InvalidTypeError, match=r"no argument 'metdata': did you mean 'metadata'\?"):
        SingleFrame(metdata={})
    with pytest.raises(InvalidTypeError, match=r"no argument 'box2d_xyhw': did you mean 'box2d_xywh'\?"):
        SingleFrame().add_annotation(box2d_xyhw=(1, 2, 3, 4))


def test_one_mask_reads_as_text_and_several_as_a_dict():
    assert SingleFrame(mask_source="/m.png").mask_source == "/m.png"
    assert SingleFrame(mask_source="/m.png").masks_source == {"00": "/m.png"}
    several = SingleFrame(mask_source=["/a.png", "/b.png"])
    assert several.mask_source == several.masks_source == {"00": "/a.png", "01": "/b.png"}
    assert SingleFrame(mask_source={"cat": "/a.png"}).mask_source == {"cat": "/a.png"}
    assert (SingleFrame().mask_source, SingleFrame().masks_source) == (None, {})


def test_source_data_is_stored_with_the_source():
    frame = SingleFrame(source="s3://b/a.jpg")
    frame.sourcedata["camera"] = {"gain": 2}
    read = decode_record(encode_record(frame))
    assert read.sourcedata == {"camera": {"gain": 2}}
    frame.sourcedata["bad"] = object()
    with pytest.raises(InvalidValueError, match=r"sources\[default\].meta.bad must be"):
        frame.validated()
    frame.sourcedata = None
    assert frame == SingleFrame(source="s3://b/a.jpg")
    assert SingleFrame().sourcedata == {}


def test_hashes_of_the_files(tmp_path):
    source, mask = tmp_path / "a.jpg", tmp_path / "m.png"
    source.write_bytes(b"picture")
    mask.write_bytes(b"mask")
    frame = SingleFrame(source=source, mask_source=[mask, "s3://b/m.png"], preview_uri="s3://b/p.png")
    assert frame.get_source_hash() == {}
    frame.update_source_files_hash()
    assert frame.get_source_hash() == frame.sourcedata["hash"]
    assert frame.get_source_hash() == {
        "source": hashlib.sha256(b"picture").hexdigest(),
        "mask_source": [hashlib.sha256(b"mask").hexdigest(), None],
    }
    assert decode_record(encode_record(frame)).get_source_hash() == frame.get_source_hash()
    source.unlink()
    with pytest.raises(NotFoundError, match=r"a\.jpg"):
        frame.update_source_files_hash()
    with pytest.raises(InvalidValueError, match="allow_download must be True or False"):
        frame.update_source_files_hash(allow_download="no")


class TestGroups:
    def test_frames_by_keyword_and_by_dict(self):
        left, right = SingleFrame(source="s3://b/l"), SingleFrame(source="s3://b/r")
        expected = FrameGroup(id="g", frames={"left": left, "right": right})
        assert FrameGroup("g", left=left, right=right) == expected
        assert FrameGroup("g", None, {"left": left}, {"right": right}) == expected
        assert FrameGroup("g", meta={"k": 1}, left=left).metadata == {"k": 1}
        with pytest.raises(InvalidValueError, match=r"frame 'g': frames\['metdata'\] must be a SingleFrame"):
            FrameGroup("g", metdata={"k": 1})
        with pytest.raises(InvalidValueError, match="frames must be a dict of SingleFrames by name"):
            FrameGroup("g", None, left)

    def test_a_copy_of_an_annotation_is_added_to_the_whole_group(self):
        group = FrameGroup(image=SingleFrame(source="s3://b/a"))
        note = ImageAnnotation(labels="night", id="n")
        assert group.add_global_annotation(note) == [0]
        note.labels.append("changed")
        assert group.add_global_annotation(annotation=BoundingBox2D(1, 2, 3, 4)) == [1]
        assert group.get_global_annotations() == group.global_annotations
        assert group.get_global_annotations() == [
            ImageAnnotation(labels="night", id="n"),
            BoundingBox2D(1, 2, 3, 4),
        ]
        with pytest.raises(InvalidValueError, match=r"annotation\[0\] must be an annotation, not 'night'"):
            group.add_global_annotation("night")

    def test_an_equal_annotation_is_removed(self):
        group = FrameGroup(image=SingleFrame(source="s3://b/a"))
        group.add_global_annotation(frame_class="night")
        assert group.remove_global_annotation(ImageAnnotation(labels="day")) is False
        assert group.remove_global_annotation(ImageAnnotation(labels="night")) is True
        assert group.global_annotations == []
        group.add_global_annotation(frame_class="night", id="n")
        group.add_global_annotation(frame_class="day")
        assert group.remove_global_annotation(1).labels == ["day"]
        assert group.remove_global_annotation(id="n").labels == ["night"]


@pytest.fixture
def missing(tmp_path):
    return SingleFrame(
        id="f", source=tmp_path / "a.jpg", preview_uri=tmp_path / "p.jpg", mask_source=tmp_path / "m.png"
    )


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("get_local_source", "a.jpg"),
        ("get_local_preview_source", "p.jpg"),
        ("get_local_mask_source", "m.png"),
    ],
)
def test_a_file_that_is_not_there_is_none_or_an_error(missing, method, name):
    with pytest.warns(UserWarning, match=rf"no local \w+ of frame 'f': there is no file .*{name}") as caught:
        assert getattr(missing, method)() is None
    assert caught[0].filename == __file__
    with pytest.raises(NotFoundError, match=name):
        getattr(missing, method)(raise_on_error=True)


def test_masks_that_are_not_there_are_none(missing):
    with pytest.warns(UserWarning, match="no local mask '00' of frame 'f'"):
        assert missing.get_local_masks_source() == {"00": None}


def test_an_empty_file_is_only_given_when_the_size_is_not_checked(tmp_path):
    path = tmp_path / "a.jpg"
    path.touch()
    with pytest.warns(UserWarning, match="is empty: pass skip_size_check=True to accept it"):
        assert SingleFrame(source=path).get_local_source() is None
    assert SingleFrame(source=path).get_local_source(skip_size_check=True) == str(path)
    assert SingleFrame(source=path, size=0).get_local_source() == str(path)
    Path(path).write_bytes(b"grown")
    assert SingleFrame(source=path, size=3).get_local_source(skip_size_check=True) == str(path)


@pytest.mark.parametrize("name", ["raise_on_error", "skip_size_check", "force_download"])
def test_flags_are_true_or_false(tmp_path, name):
    with pytest.raises(InvalidValueError, match=rf"{name} must be True or False, not \[1, 2\]"):
        SingleFrame(source=tmp_path).get_local_source(**{name: [1, 2]})
