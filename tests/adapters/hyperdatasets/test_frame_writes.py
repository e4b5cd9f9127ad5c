"""Writing frames: commands that are repeated, merges, dicts, and what is refused before anything is recorded."""

from __future__ import annotations

import logging
import pickle

import pytest
from fsspec.callbacks import Callback

from framelode import (
    DatasetVersion,
    FrameGroup,
    FramesRejected,
    InvalidValueError,
    NotFoundError,
    PublishedError,
    SingleFrame,
)


def make(*names, **values):
    return [SingleFrame(id=name, source=f"s3://bucket/{name}.jpg", **values) for name in names]


COMMANDS = {
    "add": lambda draft, **named: draft.add_frames([*make("a", "b"), "no frame"], **named),
    "dicts": lambda draft, **named: draft.add_dicts([{"id": "d"}, {"idd": "e"}], **named),
    "update": lambda draft, **named: draft.update_frames(make("x", size=7), **named),
    "merge": lambda draft, **named: draft.update_frames(make("y", size=7), without_fields=[], **named),
    "delete": lambda draft, **named: draft.delete_frames(["x"], **named),
}


class TestRepeatedCommands:
    @pytest.fixture(params=COMMANDS)
    def command(self, request, draft):
        draft.add_frames(make("x", "y"))
        return COMMANDS[request.param]

    def test_after_a_publish(self, engine, draft, command):
        first = command(draft, command_id="c")
        draft.publish_version()
        head = engine.log.head()
        assert command(draft, command_id="c") == first
        assert engine.log.head() == head
        with pytest.raises(PublishedError):
            command(draft, command_id="new")

    def test_after_a_removal(self, engine, draft, command):
        first = command(draft, command_id="c")
        DatasetVersion.remove_version(version_id=draft.version_id)
        head = engine.log.head()
        assert command(draft, command_id="c") == first
        assert engine.log.head() == head
        with pytest.raises(NotFoundError, match="was removed"):
            command(draft, command_id="new")

    def test_they_leave_the_changes_of_others_uncommitted(self, engine, draft, command):
        command(draft, command_id="c")
        draft.add_frames(make("later"), refresh_version_stats=False)
        head = engine.log.head()
        command(draft, command_id="c")
        assert engine.log.head() == head

    def test_they_finish_a_commit_that_was_left(self, engine, draft, command, monkeypatch):
        def fail(*arguments, **named):
            raise KeyboardInterrupt

        monkeypatch.setattr(engine.session.writes.versions, "commit_version", fail)
        with pytest.raises(KeyboardInterrupt):
            command(draft, command_id="c")
        monkeypatch.undo()
        command(draft, command_id="c")
        assert list(engine.log.headers())[-1].topics == ("VersionCommitted",)

    def test_a_publish_between_the_write_and_its_commit(self, engine, draft, command, monkeypatch):
        commit = engine.session.writes.versions.commit_version

        def commit_late(*arguments, **named):
            engine.session.writes.versions.publish_version(draft.version_id)
            return commit(*arguments, **named)

        monkeypatch.setattr(engine.session.writes.versions, "commit_version", commit_late)
        command(draft)
        assert not draft.draft


class TestMerges:
    def test_refusals_carry_the_frames(self, engine, draft):
        draft.add_frames(make("a", metadata={"left": 1}))
        clash = FrameGroup(id="a", frames={"left": SingleFrame(source="s3://bucket/l.jpg")})
        with pytest.raises(FramesRejected) as caught:
            draft.update_frames([clash, *make("b")], without_fields=[])
        (failure,) = caught.value.failures
        assert failure["frame"] is clash
        assert failure["error_type"] == "validation"
        assert {frame.id for frame in draft} == {"a", "b"}
        arrived = pickle.loads(pickle.dumps(caught.value))
        assert (str(arrived), arrived.failures) == (str(caught.value), caught.value.failures)

    def test_all_into_one_id_count_in_order(self, engine, draft):
        frames = [
            SingleFrame(id="a", metadata={"x": 1, "y": 1}),
            *make("b", metadata={"of": "b"}),
            SingleFrame(id="a", metadata={"y": 2, "z": 2}, width=5),
            SingleFrame(id="a", metadata={"z": 3}),
        ]
        draft.update_frames(frames, without_fields=[], command_id="c")
        assert draft.get_single_frame("a") == SingleFrame(id="a", metadata={"x": 1, "y": 2, "z": 3}, width=5)
        assert draft.get_single_frame("b").metadata == {"of": "b"}
        head = engine.log.head()
        draft.update_frames(frames, without_fields=[], command_id="c")
        assert engine.log.head() == head
        frames[0].metadata["x"] = 2
        with pytest.raises(ValueError, match="another request"):
            draft.update_frames(frames, without_fields=[], command_id="c")

    def test_one_that_is_refused_leaves_the_others(self, draft):
        group = FrameGroup(id="a", frames={"left": SingleFrame(source="s3://bucket/l.jpg")})
        frames = [
            SingleFrame(id="a", metadata={"left": 1}),
            group,
            SingleFrame(id="a", metadata={"right": 2}),
        ]
        callback = Callback()
        with pytest.raises(FramesRejected) as caught:
            draft.update_frames(frames, without_fields=False, callback=callback)
        assert [failure["frame"] for failure in caught.value.failures] == [group]
        assert draft.get_single_frame("a").metadata == {"left": 1, "right": 2}
        assert callback.value == 3

    def test_all_that_name_a_condemned_blob_are_refused(self, engine, draft, monkeypatch):
        monkeypatch.setattr("framelode.engine.blobs.ledger.BlobLedger.is_banned", lambda *_: True)
        frames = [
            SingleFrame(id="a", metadata={"x": 1}),
            SingleFrame(id="a", source=f"blobs:{'0' * 64}/a.jpg"),
        ]
        with pytest.raises(FramesRejected) as caught:
            draft.update_frames(frames, without_fields=[])
        assert [failure["frame"] for failure in caught.value.failures] == frames
        assert len(draft) == 0

    def test_a_timestamp_that_is_not_sent(self, draft):
        draft.add_frames(make("a", timestamp=10, size=1))
        draft.update_frames(make("a", "new", timestamp=20, size=2), without_fields=["timestamp"])
        held = {frame.id: (frame.timestamp, frame.size) for frame in draft}
        assert held == {"a": (10, 2), "new": (0, 2)}
        draft.update_frames(make("a", timestamp=20), without_fields=[])
        assert draft.get_single_frame("a").timestamp == 20

    def test_a_timestamp_alone_that_is_not_sent_leaves_the_sources(self, draft):
        draft.add_frames(make("a", timestamp=10))
        frame = SingleFrame(id="a", timestamp=20, metadata={"x": 1})
        draft.update_frames([frame], without_fields=["timestamp"])
        assert [draft.get_single_frame("a")] == make("a", timestamp=10, metadata={"x": 1})

    def test_timestamps_of_a_group_that_are_not_sent(self, draft):
        def group(left, right, **more):
            times = {"left": left, "right": right, **more}
            frames = {
                name: SingleFrame(source=f"s3://b/{name}", timestamp=time) for name, time in times.items()
            }
            return FrameGroup(id="a", frames=frames)

        draft.add_frames([group(1, 2)])
        draft.update_frames([group(10, 20, new=30)], without_fields=["timestamp"])
        assert draft.get_single_frame("a") == group(1, 2, new=0)


class TestDicts:
    def test_they_are_the_frames_they_stand_for(self, engine, draft):
        single = SingleFrame(
            id="a", source="s3://bucket/a.jpg", width=5, metadata={"x": [1, {"y": 2.5}]}, timestamp=3
        )
        single.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"], confidence=0.5)
        group = FrameGroup(id="g", frames={"left": SingleFrame(source="s3://bucket/l.jpg")})
        group.add_global_annotation(labels=["night"])
        assert draft.add_dicts([single.to_dict(), group.to_dict()]) == []
        assert {frame.id: frame for frame in draft} == {"a": single, "g": group}
        assert list(engine.log.headers())[-1].topics == ("VersionCommitted",)
        head = engine.log.head()
        assert draft.add_frames([single, group]) == []
        assert engine.log.head() == head, "their payloads are the same"

    def test_ids_are_derived_as_those_of_frames(self, draft):
        wire = {"sources": [{"uri": "/data/a.jpg"}]}
        draft.add_dicts(wire, local_dataset_root_path="/data", refresh_version_stats=False)
        assert wire == {"sources": [{"uri": "/data/a.jpg"}]}
        (frame,) = draft
        assert frame.id == SingleFrame(source="/data/a.jpg").derive_id("/data")

    def test_what_is_read_can_be_added(self, draft):
        draft.add_frames(make("a", "b", metadata={"x": 1}))
        fields = ["id", "sources", "meta", "dataset", "saved", "updated", "updated_in_version"]
        child = draft.create_snapshot()
        rows = list(draft.get_iterator(fields))
        child.delete_frames(["a", "b"])
        assert child.add_dicts(iter(rows)) == []
        assert {frame.id: frame for frame in child} == {frame.id: frame for frame in draft}

    @pytest.mark.parametrize(
        "bad",
        [
            "a",
            None,
            5,
            {"idd": "a"},
            {"id": ""},
            {"id": "a", "sources": [{"uri": "s3://b/a", "width": -1}]},
            {"id": "a", "meta": {"x": float("nan")}},
            {"id": "a", "rois": [{"type": "box2d", "label": ["\ud800"], "poly": [1, 2, 3, 4]}]},
            {"id": "a", "rois": [{"type": "\ud800", "poly": [1, 2, 3, 4]}]},
            {"id": "a", "meta": {"x": {1, 2}}},
            {"id": "a", "rois": [{"label": ["cat"], "poly": [1, 2, float("inf"), 4]}]},
            {"id": "a", "sources": [{"id": "left", "uri": "s3://b/a"}], "meta": {"left": 1}},
            {"id": "a", "meta": {"x": "y" * 2**24}},
            SingleFrame(id="a"),
        ],
        ids=lambda bad: ascii(bad)[:40],
    )
    def test_bad_ones_become_failures(self, draft, bad):
        failures = draft.add_dicts([{"id": "first"}, bad, {"id": "last"}])
        assert [failure["frame"] for failure in failures] == [bad]
        assert failures[0]["error_type"] == "validation"
        assert failures[0]["error"]
        assert {frame.id for frame in draft} == {"first", "last"}

    def test_batches_progress_and_the_last_of_an_id(self, engine, draft):
        callback = Callback()
        wires = ({"id": str(number % 25), "meta": {"n": number}} for number in range(30))
        assert draft.add_dicts(wires, batch_size=2, callback=callback, progress_report=0) == []
        assert callback.value == 30
        assert {int(frame.id): frame.metadata["n"] for frame in draft} == {
            number: number + 25 * (number < 5) for number in range(25)
        }


class TestArguments:
    """What is passed by mistake is refused before anything is recorded."""

    @pytest.mark.parametrize("callback", [5, "x", print, object, Callback])
    def test_callback(self, engine, draft, callback):
        head = engine.log.head()
        for command in COMMANDS.values():
            with pytest.raises(InvalidValueError, match="callback must be"):
                command(draft, callback=callback)
        assert engine.log.head() == head

    @pytest.mark.parametrize("every", [-1, 1.5, "1", True])
    def test_progress_report(self, engine, draft, every):
        head = engine.log.head()
        for name in ("add", "dicts"):
            with pytest.raises(InvalidValueError, match="progress_report must be"):
                COMMANDS[name](draft, progress_report=every)
        assert engine.log.head() == head

    @pytest.mark.parametrize("every", [None, 0])
    def test_no_progress_report(self, draft, caplog, every):
        caplog.set_level(logging.INFO)
        for name in ("add", "dicts"):
            COMMANDS[name](draft, progress_report=every)
        assert "registered" not in caplog.text

    def test_without_fields(self, draft):
        draft.add_frames([SingleFrame(id="a", metadata={"x": 1})])
        for without in (True, False, [], ["dataset", "saved", "updated_in_version"]):
            draft.update_frames([SingleFrame(id="a", metadata={"y": 2})], without_fields=without)
            assert draft.get_single_frame("a").metadata == {"x": 1, "y": 2}
        draft.update_frames([SingleFrame(id="a", metadata={"y": 3})], without_fields=["saved", "meta"])
        assert draft.get_single_frame("a").metadata == {"x": 1, "y": 2}
        with pytest.raises(InvalidValueError, match="without_fields names 'id', 'nothing'; frames have"):
            draft.update_frames([SingleFrame(id="a")], without_fields=["nothing", "id", "meta"])

    @pytest.mark.parametrize("log", [5, "x", print, logging])
    def test_log_of_the_bulk_context(self, draft, log):
        with pytest.raises(InvalidValueError, match=r"log must be a logging\.Logger"):
            draft.get_bulk_context(log=log)
        assert draft.get_bulk_context(log=logging.LoggerAdapter(logging.getLogger("x"), {}))

    def test_selectors_that_do_not_fit_the_version(self, engine, draft):
        DatasetVersion.create_new_dataset("food", dataset_project="other")
        other = DatasetVersion.get_current(dataset_name="food", dataset_project="other")
        right = {
            "dataset_id": draft.dataset_id,
            "dataset_name": "food",
            "dataset_project": "default",
        }
        wrong = {"dataset_id": other.dataset_id, "dataset_name": "drink", "dataset_project": "other"}
        for name, value in wrong.items():
            for selectors in ({name: value}, right | {name: value}):
                if "dataset_name" in selectors and "dataset_id" in selectors:
                    del selectors["dataset_id" if name == "dataset_name" else "dataset_name"]
                for call in (DatasetVersion.get_version, DatasetVersion.create_snapshot):
                    with pytest.raises(NotFoundError, match=f"belongs to dataset 'food' .*{value}"):
                        call(version_id=draft.version_id, **selectors)
                with pytest.raises(NotFoundError, match="belongs to"):
                    DatasetVersion.remove_version(version_id=draft.version_id, **selectors)
                with pytest.raises(NotFoundError, match="belongs to"):
                    draft.get_single_frame("x", version_id=draft.version_id, **selectors)
        for name, value in right.items():
            found = DatasetVersion.get_version(version_id=draft.version_id, **{name: value})
            assert found == draft
        with pytest.raises(InvalidValueError, match="dataset_project"):
            DatasetVersion.get_version(version_id=draft.version_id, dataset_project=5)
