"""What an iterator yields is recorded as it was when it was yielded, also when the iterator raises later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from framelode import FrameGroup, NotRecordedWarning, SingleFrame


def one_object(count, *, with_ids=True, fail_at=None):
    """Yield one frame object again and again, changed each time."""
    frame = SingleFrame()
    for number in range(count):
        if number == fail_at:
            raise OSError("the disk is gone")
        if with_ids:
            frame.id = f"f{number}"
        frame.source = f"s3://bucket/{number}.jpg"
        frame.metadata["number"] = number
        frame.clear_annotations()
        frame.add_annotation(box2d_xywh=(number, 0, 1, 1), labels=[f"label {number}"])
        yield frame


def held(version):
    """Return what a version holds: the number and the label of each frame by its source."""
    return {
        frame.source: (frame.metadata["number"], frame.annotations[0].labels[0])
        for frame in version.get_iterator()
    }


def expected(count):
    return {f"s3://bucket/{number}.jpg": (number, f"label {number}") for number in range(count)}


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_one_object_yielded_several_times_is_several_frames(draft, with_ids, batch_size):
    assert draft.add_frames(one_object(30, with_ids=with_ids), batch_size=batch_size) == []
    assert held(draft) == expected(30)


@pytest.mark.parametrize("without_fields", [None, []])
def test_so_it_is_with_updates(draft, without_fields):
    draft.add_frames([SingleFrame(id=f"f{number}", metadata={"old": number}) for number in range(5)])
    draft.update_frames(one_object(5), without_fields=without_fields)
    assert held(draft) == expected(5)


def test_so_it_is_with_dicts(draft):
    def one_dict():
        wire = {"meta": {}}
        for number in range(5):
            wire["id"] = f"f{number}"
            wire["meta"]["number"] = number
            yield wire

    draft.add_dicts(one_dict())
    assert {frame.id: frame.metadata["number"] for frame in draft} == {f"f{n}": n for n in range(5)}


def test_so_it_is_with_groups(draft):
    def one_group():
        group = FrameGroup(id="g")
        for number in range(3):
            group.id = f"g{number}"
            group["left"] = SingleFrame(source=f"s3://bucket/{number}.jpg")
            yield group

    draft.add_frames(one_group())
    assert {group.id: group["left"].source for group in draft} == {
        f"g{n}": f"s3://bucket/{n}.jpg" for n in range(3)
    }


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_so_it_is_with_uploads(draft, tmp_path, batch_size):
    def one_local():
        frame = SingleFrame()
        for number in range(4):
            file = tmp_path / f"{number}.bin"
            file.write_bytes(b"%d" % number)
            frame.source = file
            frame.metadata["number"] = number
            yield frame

    draft.add_frames(
        one_local(), auto_upload_destination="blobs:", local_dataset_root_path=tmp_path, batch_size=batch_size
    )
    stored = {frame.metadata["number"]: frame for frame in draft}
    assert len(stored) == 4
    for number, frame in stored.items():
        assert Path(frame.get_local_source()).read_bytes() == b"%d" % number


def test_two_objects_in_turn_are_recorded_each_time(draft):
    def in_turn():
        both = SingleFrame(), SingleFrame()
        for number in range(6):
            both[number % 2].source = f"s3://bucket/{number}.jpg"
            yield both[number % 2]

    draft.add_frames(in_turn(), batch_size=1)
    assert {frame.source for frame in draft} == {f"s3://bucket/{number}.jpg" for number in range(6)}


def test_a_frame_that_is_changed_after_it_was_yielded_is_recorded_as_it_was(draft):
    def changing():
        frame = SingleFrame(id="a", metadata={"state": "yielded"})
        yield frame
        frame.metadata["state"] = "changed"

    draft.add_frames(changing())
    assert draft.get_single_frame("a").metadata == {"state": "yielded"}


def test_an_object_that_stands_for_several_frames_gets_no_id_and_others_do(draft):
    buffer, alone = SingleFrame(), SingleFrame(source="s3://bucket/alone.jpg")

    def frames(name):
        for number in range(3):
            buffer.source = f"s3://bucket/{name}{number}.jpg"
            yield buffer
        yield alone

    draft.add_frames(frames("a"))
    assert (buffer.id, alone.id) == (None, alone.derive_id())
    draft.add_frames(frames("b"))
    assert len(draft) == 7


def test_what_is_wrong_when_it_is_yielded_is_refused_and_what_can_be_settled_is_settled(draft):
    def frames():
        frame = SingleFrame(id="a")
        for value in (np.float32(0.5), -0.0, float("nan"), object(), 1):
            frame.id = type(value).__name__ + str(value)[:3]
            frame.metadata["value"] = value
            yield frame
        yield "a.jpg"

    with pytest.warns(NotRecordedWarning, match="^3 frames not recorded"):
        failures = draft.add_frames(frames())
    assert [failure["error_type"] for failure in failures] == ["validation"] * 3
    assert {frame.metadata["value"] for frame in draft} == {0.5, 0.0, 1}
    assert "str is no frame" in "".join(failure["error"] for failure in failures)


@pytest.mark.parametrize("fail_at", [1, 7, 8, 9, 20, 23, 24])
@pytest.mark.parametrize("write", ["add_frames", "update_frames"])
def test_what_was_yielded_before_an_error_is_recorded_and_the_error_goes_on(draft, write, fail_at):
    with pytest.raises(OSError, match="the disk is gone"):
        getattr(draft, write)(one_object(30, fail_at=fail_at), batch_size=1)
    assert held(draft) == expected(fail_at)


def test_deletes_before_an_error_are_recorded(draft):
    draft.add_frames(one_object(5))

    def ids():
        yield from ("f0", "f1")
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        draft.delete_frames(ids())
    assert len(draft) == 3


@pytest.mark.parametrize("fail_at", [3, 8, 12])
def test_a_command_whose_iterator_raised_can_be_repeated(engine, draft, fail_at):
    with pytest.raises(OSError, match="the disk is gone"):
        draft.add_frames(one_object(20, fail_at=fail_at), batch_size=1, command_id="import")
    assert len(draft) == fail_at
    for _ in range(2):
        draft.add_frames(one_object(20), batch_size=1, command_id="import")
        assert held(draft) == expected(20)
    assert sum(change.kind == "added" for change in draft.history()) == 20
    assert not any(change.kind == "updated" for change in draft.history())


def test_an_error_of_the_iterator_says_what_was_refused_before(draft):
    def frames():
        yield "a.jpg"
        yield SingleFrame(id="a")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        draft.add_frames(frames())
    assert "1 frame failed before that" in "".join(caught.value.__notes__)
    assert len(draft) == 1


def test_when_the_rest_cannot_be_recorded_both_errors_are_shown(engine, draft):
    def frames():
        yield SingleFrame(id="a")
        draft.publish_version()
        raise OSError("the disk is gone")

    with pytest.raises(ValueError, match="is published") as caught:
        draft.add_frames(frames())
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("batch_size", [2, 1000])
def test_an_iterator_that_has_ended_is_not_asked_again(draft, batch_size):
    class Restless:
        """Yields on after it has ended, as no iterator should."""

        number = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.number += 1
            if self.number == 4:
                raise StopIteration
            return SingleFrame(id=f"f{self.number}")

    assert draft.add_frames(Restless(), batch_size=batch_size) == []
    assert len(draft) == 3
