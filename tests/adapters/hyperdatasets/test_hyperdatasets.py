"""The hyper-datasets API: the life of datasets and versions, and the frames in them."""

from __future__ import annotations

import logging
import pickle
import sqlite3
import tracemalloc
import types
import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fsspec.callbacks import Callback
from making import make

import framelode
from framelode import (
    BoundingBox2D,
    ConflictError,
    Dataset,
    DatasetVersion,
    FrameGroup,
    FramesRejected,
    InvalidValueError,
    NotFoundError,
    PublishedError,
    SingleFrame,
    UsageError,
)
from framelode.engine.frames.record import partial_record
from framelode.engine.keys import frame_key


class TestDatasets:
    def test_a_new_dataset_has_one_empty_draft_named_current(self, engine):
        dataset = DatasetVersion.create_new_dataset("food", description="eaten", tags=["a"])
        assert isinstance(dataset, Dataset)
        assert (dataset.name, dataset.project, dataset.description, dataset.tags) == (
            "food",
            "default",
            "eaten",
            ["a"],
        )
        assert dataset.created.tzinfo is not None
        (version,) = dataset.versions()
        assert (version.version_name, version.draft, len(version), version.get_parent()) == (
            "Current",
            True,
            0,
            None,
        )

    def test_an_existing_name_is_returned_and_gets_the_tags(self, engine):
        first = DatasetVersion.create_new_dataset("food", tags=["a"])
        again = DatasetVersion.create_new_dataset("food", tags=["b", "a"])
        assert again == first
        assert again.tags == ["a", "b"]
        with pytest.raises(ValueError, match="'food' exists already in project 'default'"):
            DatasetVersion.create_new_dataset("food", raise_if_exists=True)

    def test_a_name_in_several_projects_needs_the_project(self, engine):
        one = DatasetVersion.create_new_dataset("food", dataset_project="one")
        two = DatasetVersion.create_new_dataset("food", dataset_project="two")
        assert one != two
        with pytest.raises(ConflictError, match="projects 'one', 'two'"):
            DatasetVersion.get_current(dataset_name="food")
        version = DatasetVersion.get_current(dataset_name="food", dataset_project="two")
        assert version.dataset_id == two.id
        assert engine.dataset("food", "one") == one

    @pytest.mark.parametrize("name", ["", "  ", None, 7, "\ud800"])
    def test_a_bad_name_is_refused(self, engine, name):
        with pytest.raises((InvalidValueError, UsageError)):
            DatasetVersion.create_new_dataset(name)

    def test_tags_must_be_a_list_of_strings(self, engine):
        with pytest.raises(InvalidValueError, match="not 'abc'"):
            DatasetVersion.create_new_dataset("food", tags="abc")
        with pytest.raises(InvalidValueError, match="tag"):
            DatasetVersion.create_new_dataset("food", tags=[1])


class TestSelection:
    def test_selectors_that_exclude_each_other(self, draft):
        with pytest.raises(UsageError, match="dataset_id and dataset_name exclude each other"):
            DatasetVersion.get_version(dataset_id="x", dataset_name="food")
        with pytest.raises(UsageError, match="version_id and version_name"):
            DatasetVersion.get_version(dataset_name="food", version_id="x", version_name="y")
        with pytest.raises(UsageError, match="only_published and only_draft"):
            DatasetVersion.get_versions("food", only_published=True, only_draft=True)
        with pytest.raises(UsageError, match="dataset_id or dataset_name"):
            DatasetVersion.get_version()

    def test_what_is_not_there(self, engine, draft):
        with pytest.raises(NotFoundError, match="no dataset with name 'fod'"):
            DatasetVersion.get_current(dataset_name="fod")
        with pytest.raises(NotFoundError, match="no dataset with name 'food' in project 'x'"):
            DatasetVersion.get_current(dataset_name="food", dataset_project="x")
        with pytest.raises(NotFoundError, match="no version named 'v9'"):
            DatasetVersion.get_version(dataset_name="food", version_name="v9")
        with pytest.raises(KeyError):
            engine.version("f" * 32)

    def test_a_version_of_another_dataset_is_not_found(self, draft):
        DatasetVersion.create_new_dataset("other")
        with pytest.raises(NotFoundError, match="belongs to dataset 'food' .* not to one with name 'other'"):
            DatasetVersion.get_version(dataset_name="other", version_id=draft.version_id)

    def test_do_not_instantiate(self):
        for arguments in ((), ("food",)):
            with pytest.raises(UsageError, match="get_version"):
                DatasetVersion(*arguments)

    def test_current_is_the_draft_farthest_from_the_root(self, draft):
        side = DatasetVersion.create_version("side", dataset_name="food")
        assert DatasetVersion.get_current(dataset_name="food") == side  # the newest of equals
        child = draft.create_snapshot()
        assert DatasetVersion.get_current(dataset_name="food") == child
        child.publish_version()
        assert DatasetVersion.get_current(dataset_name="food") == side
        side.publish_version()
        assert DatasetVersion.get_version(dataset_name="food") == side  # the one published last

    def test_of_several_versions_with_a_name_in_an_old_log_the_newest(self, draft, monkeypatch):
        monkeypatch.setattr(draft._session.writes.application, "versions_named", lambda *_: [])
        draft.add_frames([make(1)])
        draft.rename("same")
        child = DatasetVersion.create_version("same", dataset_name="food")
        assert DatasetVersion.get_version(dataset_name="food", version_name="same") == child
        with pytest.raises(ValueError, match="2 versions named 'same'"):
            DatasetVersion.get_version(dataset_name="food", version_name="same", raise_on_multiple=True)

    def test_versions_come_latest_updated_first(self, draft):
        side = DatasetVersion.create_version("side", dataset_name="food")
        assert DatasetVersion.get_versions("food") == [side, draft]
        draft.add_frames([make(1)])
        assert DatasetVersion.get_versions("food") == [draft, side]
        draft.publish_version()
        assert DatasetVersion.get_versions("food", only_published=True) == [draft]
        assert DatasetVersion.get_versions("food", only_draft=True) == [side]


class TestVersions:
    def test_a_draft_cannot_be_a_parent(self, draft):
        with pytest.raises(UsageError, match="'Current'.*is a draft: publish it first"):
            DatasetVersion.create_version("v2", dataset_name="food", parent_version_ids=[draft.version_id])

    def test_a_child_inherits_frames_and_metadata_and_leaves_its_parent_alone(self, draft):
        draft.add_frames([make(1), make(2)])
        assert draft.set_metadata({"camera": {"height": 2}}) is True
        draft.publish_version()
        child = DatasetVersion.create_version("v2", dataset_name="food", parent_version_names=["Current"])
        assert child.get_parent() == draft.version_id
        assert child.get_metadata() == {"camera": {"height": 2}}
        assert list(child) == list(draft)
        child.delete_frames([make(1).derive_id()])
        assert (len(child), len(draft)) == (1, 2)
        assert draft.set_metadata({}) is False

    def test_parents_are_at_most_one_by_id_or_by_name(self, draft):
        draft.publish_version()
        with pytest.raises(UsageError, match="parent_version_ids and parent_version_names"):
            DatasetVersion.create_version(
                "v",
                dataset_name="food",
                parent_version_ids=[draft.version_id],
                parent_version_names=["Current"],
            )
        with pytest.raises(UsageError, match="at most one parent"):
            DatasetVersion.create_version("v", dataset_name="food", parent_version_names=["a", "b"])

    def test_an_existing_draft_of_that_name_is_returned(self, draft):
        one = DatasetVersion.create_version("v", dataset_name="food", description="first")
        assert DatasetVersion.create_version("v", dataset_name="food") == one
        assert one.comment == "first"
        with pytest.raises(ValueError, match="named 'v' already, a draft"):
            DatasetVersion.create_version("v", dataset_name="food", raise_if_exists=True)
        one.publish_version()
        with pytest.raises(ValueError, match="named 'v' already, published"):
            DatasetVersion.create_version("v", dataset_name="food")

    def test_a_snapshot_keeps_the_id_and_returns_a_new_draft(self, draft):
        draft.add_frames([make(1)])
        child = DatasetVersion.create_snapshot(
            dataset_name="food",
            publish_name="v1",
            publish_comment="done",
            publish_metadata={"a": 1},
            child_comment="next",
        )
        assert (draft.version_name, draft.comment, draft.draft, draft.get_metadata()) == (
            "v1",
            "done",
            False,
            {"a": 1},
        )
        assert (child.version_name, child.comment, child.draft) == ("Current", "next", True)
        assert child.get_parent() == draft.version_id
        assert child.get_metadata() == {"a": 1}
        assert list(child) == list(draft)

    def test_a_snapshot_s_default_names(self, draft):
        child = draft.create_snapshot(child_metadata={"b": 2})
        assert draft.version_name.startswith("snapshot 2023-11-14T")
        assert draft.comment.startswith("published at 2023-11-14T")
        assert draft.comment.endswith(" by tester")
        assert child.get_metadata() == {"b": 2}
        with pytest.raises(PublishedError):
            draft.create_snapshot()

    def test_publish_freezes_and_says_whether_it_did(self, draft):
        draft.add_frames([make(1)])
        fingerprint = draft.fingerprint
        assert draft.publish_version() is True
        assert draft.publish_version() is False
        assert draft.fingerprint == fingerprint
        for write in (draft.add_frames, draft.update_frames, draft.delete_frames):
            with pytest.raises(PublishedError, match="create a child version"):
                write([make(2)])
        with pytest.raises(PublishedError):
            draft.commit_version()
        assert len(draft) == 1

    def test_commit_counts_what_changed_since_the_last_one(self, draft, engine):
        draft.add_frames([make(1), make(2), make(3)], refresh_version_stats=False)
        draft.delete_frames([make(3).derive_id()], refresh_version_stats=False)
        draft.update_frames([make(2, metadata={"a": 1})], refresh_version_stats=False)
        expected = {"added": 3, "updated": 1, "deleted": 1, "total": 2, "failed": 0, "errors": []}
        assert draft.commit_version() == expected
        head = engine.log.head().position
        assert draft.commit_version()["added"] == 0
        assert engine.log.head().position == head  # nothing to commit leaves no event

    def test_removal(self, engine, draft):
        draft.add_frames([make(1)])
        child = draft.create_snapshot()
        with pytest.raises(UsageError, match="needs version_id or version_name"):
            DatasetVersion.remove_version(dataset_name="food")
        with pytest.raises(PublishedError, match="force=True"):
            DatasetVersion.remove_version(version_id=draft.version_id)
        with pytest.raises(ConflictError, match=f"has children: 'Current' \\({child.version_id}\\)"):
            DatasetVersion.remove_version(version_id=draft.version_id, force=True)
        DatasetVersion.remove_version(version_id=child.version_id)
        DatasetVersion.remove_version(version_id=draft.version_id, force=True)
        with pytest.raises(NotFoundError, match="was removed"):
            _ = draft.version_name
        with pytest.raises(NotFoundError, match="was removed"):
            draft.add_frames([make(2)])
        assert DatasetVersion.get_versions("food") == []
        with pytest.raises(NotFoundError, match="no version left"):
            DatasetVersion.get_current(dataset_name="food")

    @pytest.mark.parametrize(
        "metadata", [{"a.b": 1}, {"a": [{"$set": 1}]}, {"a": float("nan")}, {"a": {1, 2}}, []]
    )
    def test_metadata_that_is_refused(self, draft, metadata):
        with pytest.raises(ValueError):
            draft.set_metadata(metadata)

    def test_last_updated_is_of_the_last_frame_event(self, draft):
        created = draft.last_updated
        draft.set_metadata({"a": 1})
        assert draft.last_updated == created
        draft.add_frames([make(1)])
        assert draft.last_updated > created

    def test_versions_pickle_as_their_url(self, tmp_path):
        with framelode.connect(tmp_path / "e") as opened:
            DatasetVersion.create_new_dataset("food")
            version = DatasetVersion.get_current(dataset_name="food")
            version.add_frames([make(1)])
            copy = pickle.loads(pickle.dumps(version))
            assert copy == version
            assert list(copy) == list(version)
            copy._session.close()
            opened.close()

    def test_a_repr_is_short(self, draft):
        dataset = DatasetVersion.create_new_dataset("d" * 5000, dataset_project="p" * 5000)
        version = dataset.versions()[0]
        version.rename("v" * 5000)
        for value in (dataset, version, version.get_bulk_context(), version.diff(version)):
            assert len(repr(value)) < 300

    def test_repr_tells_what_it_is(self, draft):
        assert repr(draft) == f"DatasetVersion('food', 'Current', draft, id='{draft.version_id}')"

    def test_what_is_read_of_a_version_may_be_changed_without_changing_it(self, draft):
        draft.set_metadata({"a": {"b": [1]}})
        draft.set_tags(["x"])
        draft.get_metadata()["a"]["b"].append(2)
        draft.tags.append("y")
        assert draft.get_metadata() == {"a": {"b": [1]}}
        assert draft.tags == ["x"]

    def test_a_version_without_frames_is_true(self, draft):
        assert draft
        assert len(draft) == 0

    def test_versions_of_a_subclass_stay_of_it(self, draft):
        class Own(DatasetVersion):
            pass

        own = Own.get_current(dataset_name="food")
        assert own == draft
        made = [
            own,
            own.create_snapshot(),
            Own.create_snapshot(dataset_name="food"),
            *Own.get_versions("food"),
        ]
        assert {type(version) for version in made} == {Own}

    def test_a_comment_may_be_published_as_nothing(self, draft):
        child = draft.create_snapshot(publish_comment="", child_comment="")
        assert (draft.comment, child.comment) == ("", "")

    def test_subclasses_of_text_are_text(self, engine, draft):
        dataset = DatasetVersion.create_new_dataset(
            np.str_("n"), np.str_("d"), [np.str_("t")], dataset_project=np.str_("p")
        )
        assert (dataset.name, dataset.description, dataset.tags, dataset.project) == ("n", "d", ["t"], "p")
        dataset.rename(np.str_("m"))
        dataset.move(np.str_("q"))
        version = DatasetVersion.create_version(np.str_("v"), np.str_("c"), dataset_name=np.str_("m"))
        version.rename(np.str_("w"))
        child = version.create_snapshot(
            publish_name=np.str_("pn"),
            publish_comment=np.str_("pc"),
            child_name=np.str_("cn"),
            child_comment=np.str_("cc"),
        )
        said = [version.version_name, version.comment, child.version_name, child.comment]
        assert [type(text) for text in (*said, dataset.project)] == [str] * 5
        assert said == ["pn", "pc", "cn", "cc"]


class TestFrames:
    def test_ids_are_set_on_the_objects(self, draft):
        frame, other = make(1), SingleFrame(metadata={"no": "source"})
        assert draft.add_frames([frame, other]) == []
        assert frame.id == make(1).derive_id()
        assert len(other.id) == 32
        assert draft.get_single_frame(frame.id) == frame
        assert draft.get_single_frame(other.id) == other

    @pytest.mark.parametrize("wrap", [list, tuple, iter, lambda frames: (frame for frame in frames)])
    def test_any_iterable_will_do(self, draft, wrap):
        frames = [make(number) for number in range(25)]
        assert draft.add_frames(wrap(frames), batch_size=2) == []
        assert list(draft) == frames

    def test_one_frame_alone_will_do(self, draft):
        draft.add_frames(make(1))
        draft.update_frames(make(1, metadata={"a": 1}))
        assert next(iter(draft)).metadata == {"a": 1}
        draft.delete_frames(make(1).derive_id())
        assert len(draft) == 0

    def test_a_generator_is_consumed_part_by_part(self, engine, draft):
        heads = []

        def frames():
            for number in range(40):
                heads.append(engine.log.head().position)
                yield make(number)

        draft.add_frames(frames(), batch_size=1, refresh_version_stats=False)
        assert len(set(heads)) > 3

    def test_a_call_that_is_cut_off_tells_what_failed_before(self, engine, draft):
        def frames():
            yield "no frame"
            for number in range(20):
                yield make(number)
            engine.version(draft.version_id).publish_version()
            yield make(21)

        with pytest.raises(PublishedError) as cut_off:
            draft.add_frames(frames(), batch_size=1)
        assert "1 frame failed before that, the first, 'no frame'" in cut_off.value.__notes__[0]
        assert len(draft) == 15

    def test_an_id_that_is_held_is_overwritten(self, draft):
        draft.add_frames([make(1)])
        newer = make(1, metadata={"a": 1})
        assert draft.add_frames([newer]) == []
        assert draft.commit_version()["total"] == 1
        assert draft.get_single_frame(newer.id).metadata == {"a": 1}

    def test_an_id_twice_in_one_call_the_last_wins(self, draft):
        draft.add_frames([make(1, id="x"), make(2, id="y"), make(3, id="x")])
        assert {frame.id: frame.source for frame in draft} == {
            "x": "s3://bucket/3.jpg",
            "y": "s3://bucket/2.jpg",
        }

    def test_ids_of_one_key_are_one_frame(self, draft, engine):
        twin = frame_key("pizza").hex()
        draft.add_frames([make(1, id="pizza"), make(2, id=twin)])
        assert (len(draft), [frame.id for frame in draft]) == (1, [twin])
        draft.add_frames([make(3, id="pizza")])
        assert (len(draft), [frame.id for frame in draft]) == (1, ["pizza"])
        draft.delete_frames([twin, "pizza"])
        assert len(draft) == 0

    def test_duplicates_are_warned_of_when_asked(self, draft):
        other = framelode.current_engine().version(draft.version_id)
        other.add_frames([make(9, id="theirs")])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draft.add_frames([make(1, id="x"), make(2, id="y")], warn_on_duplicate_frames=True)
            draft.add_frames([make(1, id="theirs")], warn_on_duplicate_frames=True)
            draft.add_frames([make(3, id="x")])
        with pytest.warns(
            UserWarning, match="2 frames with an id that was already added through this object"
        ):
            draft.add_frames(
                [make(4, id="x"), make(5, id="z"), make(6, id="y")], warn_on_duplicate_frames=True
            )
        with pytest.warns(UserWarning, match="1 frame "):
            draft.add_frames([make(4, id="n"), make(5, id="n")], warn_on_duplicate_frames=True)

    def test_numbers_become_ids_and_ids_may_be_any_text(self, draft):
        ids = [7, "plain", "ÄÖ 漢", "A" * 32, "a" * 32, "x" * 5000]
        draft.add_frames([make(place, id=frame_id) for place, frame_id in enumerate(ids)])
        assert [frame.id for frame in draft.get_frames_by_ids([str(frame_id) for frame_id in ids])] == list(
            map(str, ids)
        )
        assert [frame.id for frame in draft] == list(map(str, ids))

    def test_refused_frames_are_listed_and_the_rest_is_added(self, draft):
        bad, worse, huge = make(1), make(2), make(4)
        bad.metadata["camera"] = object()
        worse.annotations[0].labels.append(5.5)
        huge.metadata["blob"] = "x" * (16 * 1024 * 1024)
        failures = draft.add_frames([bad, make(3), worse, "no frame", huge, FrameGroup()])
        assert [failure["error_type"] for failure in failures] == ["validation"] * 5
        assert [failure["frame"] for failure in failures[:3]] == [bad, worse, "no frame"]
        assert "metadata.camera" in failures[0]["error"]
        assert "annotations[0].labels" in failures[1]["error"]
        assert "str is no frame" in failures[2]["error"]
        assert "the limit is 16777216" in failures[3]["error"]
        assert [frame.source for frame in draft] == ["s3://bucket/3.jpg"]

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
    def test_a_number_that_is_not_finite_never_enters(self, draft, number):
        with pytest.raises(ValueError, match="finite"):
            BoundingBox2D(number, 0, 1, 1)
        frame = make(1)
        frame.metadata["depth"] = [1.0, number]
        (failure,) = draft.add_frames([frame, make(2)])
        assert "metadata.depth[1]" in failure["error"]
        assert len(draft) == 1

    def test_negative_zero_is_stored_as_zero(self, draft):
        frame, same = make(1, metadata={"a": 0.0}), make(1)
        same.metadata["a"] = -0.0
        draft.add_frames([frame])
        assert draft.add_frames([same]) == []
        assert draft.commit_version()["updated"] == 0
        assert str(draft.get_single_frame(frame.id).metadata["a"]) == "0.0"

    def test_replace_and_merge(self, draft):
        frame = make(1, metadata={"a": {"x": 1, "y": 2}, "b": 3})
        draft.add_frames([frame])
        sent = SingleFrame(id=frame.id, source=frame.source, metadata={"a": {"x": 9}, "c": 4})
        draft.update_frames([sent], without_fields=["sources"])
        merged = draft.get_single_frame(frame.id)
        assert merged.metadata == {"a": {"x": 9, "y": 2}, "b": 3, "c": 4}
        assert (merged.width, len(merged.annotations)) == (640, 1)  # not sent, not removed
        draft.update_frames([sent], without_fields=[])
        assert draft.get_single_frame(frame.id).width is None  # sources are replaced as a whole
        draft.update_frames([sent])
        assert draft.get_single_frame(frame.id) == sent
        with pytest.raises(InvalidValueError, match="without_fields names 'metadata'"):
            draft.update_frames([sent], without_fields=["metadata"])

    def test_updates_create_what_is_not_there(self, draft):
        draft.update_frames([make(1), make(2, id="given")])
        draft.update_frames([make(3)], without_fields=False)
        assert len(draft) == 3

    def test_refused_updates_are_raised_after_the_rest_is_written(self, draft):
        bad = make(1)
        bad.metadata[1] = "key is no text"
        with pytest.raises(FramesRejected, match="a frame was rejected") as caught:
            draft.update_frames([bad, make(2)])
        assert caught.value.failures[0]["frame"] is bad
        assert len(draft) == 1

    def test_deletes_take_ids_frames_and_dicts(self, draft):
        frames = [make(number, id=f"f{number}") for number in range(5)]
        draft.add_frames(frames)
        draft.delete_frames(["f0", frames[1], {"id": "f2"}])
        assert [frame.id for frame in draft] == ["f3", "f4"]
        with pytest.warns(UserWarning, match="2 frames to delete not found in the version"):
            draft.delete_frames(["f0", "nobody", "f3"])
        with pytest.raises(FramesRejected, match="has no frame id"):
            draft.delete_frames([make(9), "f4"])
        assert len(draft) == 0

    def test_of_a_published_version_no_source_is_looked_at(self, draft):
        draft.add_frames([SingleFrame(id="a", source="s3://nowhere/a.jpg")])
        draft.publish_version()
        with pytest.raises(PublishedError, match="is published"):
            draft.delete_frames(["a"], delete_sources=True)

    def test_groups_come_back_as_groups(self, draft):
        group = FrameGroup(metadata={"moment": 1})
        group["left"], group["right"] = make(1), make(2)
        draft.add_frames([group, make(3)])
        found = list(draft)
        assert found[0] == group
        assert isinstance(found[0], FrameGroup)
        assert draft.get_single_frame(group.id) == group
        assert draft.get_stats().total == 2

    def test_what_is_not_iterable_is_refused(self, draft):
        with pytest.raises(InvalidValueError, match="not int"):
            draft.add_frames(7)
        for batch_size in (0, -1, True, 2.5, "10"):
            with pytest.raises(InvalidValueError, match="batch_size"):
                draft.add_frames([make(1)], batch_size=batch_size)

    @pytest.mark.parametrize(
        ("every", "reports"), [(1, [8, 16, 20]), (9, [16]), (16, [16]), (21, []), (0, [])]
    )
    def test_progress(self, draft, caplog, every, reports):
        callback = Callback()
        with caplog.at_level(logging.INFO, "framelode"):
            draft.add_frames(
                [make(number) for number in range(20)],
                batch_size=1,
                progress_report=every,
                callback=callback,
            )
        assert callback.value == 20
        told = [record.message for record in caplog.records]
        assert told == [f"{count} frames registered" for count in reports]

    def test_ids_agree_between_machines_below_a_root(self, draft, tmp_path):
        here, there = tmp_path / "here", tmp_path / "there"
        one, two = SingleFrame(source=here / "a/1.jpg"), SingleFrame(source=there / "a/1.jpg")
        draft.add_frames([one], local_dataset_root_path=here)
        draft.add_frames([two], local_dataset_root_path=there)
        assert one.id == two.id
        assert draft.get_single_frame(one.id).source == str(there / "a/1.jpg")


class TestReading:
    def test_a_frame_that_is_not_there(self, draft):
        with pytest.raises(NotFoundError, match="'Current'.* has no frame 'nobody'"):
            draft.get_single_frame("nobody")

    def test_an_iterator_is_a_generator(self, draft):
        draft.add_frames([make(number) for number in range(3)])
        for iterator in (
            draft.get_iterator(),
            draft.get_iterator(["id"]),
            draft.get_iterator(order_by="context"),
        ):
            assert isinstance(iterator, types.GeneratorType)
            next(iterator)
            iterator.close()
            assert list(iterator) == []

    def test_by_ids_in_the_order_asked(self, draft):
        draft.add_frames([make(number, id=f"f{number}") for number in range(10)])
        asked = ["f7", "f1", "f1", "f4"]
        assert [frame.id for frame in draft.get_frames_by_ids(asked)] == asked
        with pytest.warns(UserWarning, match="1 of 2 frames not found in version"):
            assert [frame.id for frame in draft.get_frames_by_ids(["nobody", "f2"])] == ["f2"]
        assert draft.get_frames_by_ids([]) == []
        with pytest.raises(InvalidValueError, match="frame_ids must be a list of ids, not '"):
            draft.get_frames_by_ids("f1")

    def test_reading_on_the_class(self, draft):
        draft.add_frames([make(1, id="x")])
        selector = {"dataset_name": "food", "version_name": "Current"}
        assert DatasetVersion.get_single_frame("x", **selector).id == "x"
        assert DatasetVersion.get_frames_by_source("*.jpg", **selector)[0].id == "x"
        with pytest.warns(DeprecationWarning, match="call it on a version"):
            assert DatasetVersion.get_frames_by_ids(["x"], **selector)[0].id == "x"
        with pytest.raises(UsageError, match="dataset_id or dataset_name"):
            DatasetVersion.get_single_frame("x")

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("s3://bucket/a/1.jpg", {"1"}),
            ("s3://bucket/a/*", {"1", "2"}),
            ("s3://bucket/", {"1", "2", "3"}),
            ("*/b/*", {"2"}),
            ("*", {"1", "2", "3", "4"}),
            ("/home/my folder/*", {"4"}),
            ("/home/my folder/4.jpg", {"4"}),
            ("file:///home/my%20folder/", {"4"}),
            ("s3://bucket/a", set()),
            ("s3://bucket/.", set()),
        ],
    )
    def test_by_source(self, draft, pattern, found):
        sources = {
            "1": "s3://bucket/a/1.jpg",
            "2": "s3://bucket/a/b/2.jpg",
            "3": "s3://bucket/3.jpg",
            "4": "/home/my folder/4.jpg",
        }
        draft.add_frames([SingleFrame(id=frame_id, source=source) for frame_id, source in sources.items()])
        assert {frame.id for frame in draft.get_frames_by_source(pattern)} == found

    def test_log_order_follows_the_last_change(self, draft):
        frames = [make(number, id=f"f{number}") for number in range(6)]
        draft.add_frames(frames, batch_size=2)
        frames[1].metadata = {"a": 1}
        draft.update_frames([frames[1]])
        assert [frame.id for frame in draft] == ["f0", "f2", "f3", "f4", "f5", "f1"]

    def test_order_by_context(self, draft):
        frames = [
            SingleFrame(id="9", source="s3://b/2.mp4", timestamp=20),
            SingleFrame(id="8", source="s3://b/1.mp4", timestamp=10),
            SingleFrame(id="7", source="s3://b/2.mp4", timestamp=10),
            SingleFrame(id="6", source="s3://b/9.jpg", timestamp=5, context_id="s3://b/1.mp4"),
            SingleFrame(id="5", source="s3://b/2.mp4", timestamp=10),
            SingleFrame(id="4"),
        ]
        draft.add_frames(frames, batch_size=1)
        ordered = [frame.id for frame in draft.get_iterator(order_by="context")]
        assert ordered == ["4", "6", "8", "5", "7", "9"]
        assert list(draft.get_iterator(["id"], order_by="context")) == [
            {"id": frame_id} for frame_id in ordered
        ]
        draft.delete_frames(["8"])
        assert len(list(draft.get_iterator(order_by="context"))) == 5
        with pytest.raises(ValueError, match="order_by"):
            draft.get_iterator(order_by="size")

    def test_order_by_context_over_many_windows(self, draft):
        draft.add_frames(
            SingleFrame(id=f"{number:05d}", source=f"s3://b/{number % 7}.mp4", timestamp=-number)
            for number in range(9000)
        )
        rows = draft.get_iterator(["context_id", "timestamp"], order_by="context")
        keys = [(row["context_id"], row["timestamp"]) for row in rows]
        assert len(keys) == 9000
        assert keys == sorted(keys)

    def test_projection(self, draft):
        frame = make(1, id="x", metadata={"a": {"b": 1}})
        frame.add_annotation(box2d_xywh=(5, 6, 7, 8), labels=["bus", "red"], confidence=0.5)
        draft.add_frames([frame])
        (row,) = draft.get_iterator(
            ["id", "dataset.id", "rois.1.label", "sources.*.uri", "meta.a", "rois.*.confidence"]
        )
        assert row == {
            "id": "x",
            "dataset": {"id": draft.dataset_id},
            "rois": [{"label": ["bus", "red"], "confidence": 0.5}],
            "sources": [{"uri": "s3://bucket/1.jpg"}],
            "meta": {"a": {"b": 1}},
        }
        (whole,) = draft.get_frames_by_ids(["x"], projection=["rois", "rois.0.label", "meta.zzz"])
        assert whole == {"rois": frame.to_dict()["rois"]}

    def test_a_projection_decodes_only_what_it_returns(self, draft):
        full = make(1, id="x", timestamp=40, context_id="ride", metadata={"a": 1}).to_dict()
        full = SingleFrame.from_dict(full | {"num_frames": 3})
        group = FrameGroup(id="y")
        group["left"] = make(2, id=None, mask_source="m.png")
        custom = SingleFrame.from_dict({"id": "z", "rois": [{"type": "acme.star", "poly": [1, 2]}]})
        draft.add_frames([full, group, custom])
        fields = ["id", "context_id", "timestamp", "sources", "rois", "meta", "num_frames"]
        wires = [frame.to_dict() for frame in draft]
        for chosen in [*([field] for field in fields), ["id", "meta"], ["sources", "context_id"], fields]:
            expected = [{field: wire[field] for field in chosen if field in wire} for wire in wires]
            assert list(draft.get_iterator(chosen)) == expected
        assert not msgspec.structs.fields(partial_record(frozenset({"id", "updated"})))
        assert [each.encode_name for each in msgspec.structs.fields(partial_record(frozenset({"meta"})))] == [
            "meta"
        ]

    def test_ids_alone_are_less_work_than_frames(self, draft):
        """Counted in bytes that are taken to read a block: those of what is decoded of it."""
        draft.add_frames(
            [make(number, metadata={f"k{n}": [n, []] for n in range(100)}) for number in range(60)]
        )

        def taken(projection):
            assert sum(1 for _ in draft.get_iterator(projection)) == 60  # what is loaded once is loaded
            tracemalloc.start()
            try:
                assert sum(1 for _ in draft.get_iterator(projection)) == 60
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        assert taken(["id"]) < taken(None) / 3

    def test_a_batch_is_looked_up_once_for_its_frames(self, draft, engine, monkeypatch):
        draft.add_frames([make(number) for number in range(100)])
        engine.session.runner.catch_up_all()
        looked_up, batch_at = [], engine.log.batch_at
        monkeypatch.setattr(engine.log, "batch_at", lambda at: (looked_up.append(at), batch_at(at))[1])
        rows = list(draft.get_iterator(["updated", "saved_in_version"]))
        assert {row["saved_in_version"] for row in rows} == {draft.version_id}
        assert len(rows) == 100
        assert len(looked_up) == 1

    def test_saved_and_updated(self, draft):
        frame = make(1, id="x")
        draft.add_frames([frame])
        child = draft.create_snapshot()
        fields = ["saved", "saved_in_version", "updated", "updated_in_version"]
        (before,) = child.get_iterator(fields)
        assert before["saved"] == before["updated"]
        assert before["updated_in_version"] == draft.version_id
        child.update_frames([make(1, id="x", metadata={"a": 1})])
        (after,) = child.get_iterator(fields)
        assert (after["saved"], after["saved_in_version"]) == (before["saved"], draft.version_id)
        assert after["updated"] > before["updated"]
        assert after["updated_in_version"] == child.version_id

    @pytest.mark.parametrize(
        "path", ["", "source", "id.x", "sources.uri", "rois.first", "rois.*.0", 5, "dataset.name"]
    )
    def test_a_path_that_no_frame_can_have(self, draft, path):
        with pytest.raises(ValueError):
            draft.get_iterator([path])


class TestStatistics:
    def test_an_uncommitted_draft_is_counted(self, draft):
        frames = [make(number, size=100) for number in range(4)]
        frames[3].clear_annotations()
        frames[2].add_annotation(box2d_xywh=(1, 1, 1, 1), labels=["bus", "red"])
        draft.add_frames(frames, refresh_version_stats=False)
        stats = draft.get_stats()
        assert (stats.total, stats.annotated) == (4, 3)
        assert stats.labels == [
            {"name": "car", "count": 3},
            {"name": "bus", "count": 1},
            {"name": "red", "count": 1},
        ]
        assert stats.content_types == [{"name": "image/jpeg", "count": 4}]
        assert stats.frames == [{"name": "annotated", "count": 3}, {"name": "unannotated", "count": 1}]
        assert stats.sources == [{"name": "default", "count": 4, "bytes": 400}]

    def test_updates_and_deletes_take_back_what_was_counted(self, draft):
        draft.add_frames([make(number, id=f"f{number}", size=10) for number in range(4)])
        child = draft.create_snapshot()
        changed = make(0, id="f0", size=25)
        changed.annotations[0].labels = ["truck"]
        child.update_frames([changed])
        child.delete_frames(["f1"])
        child.add_frames([make(1, id="f1")])
        child.delete_frames(["f2"])
        assert draft.get_stats().labels == [{"name": "car", "count": 4}]
        stats = child.get_stats()
        assert stats.labels == [{"name": "car", "count": 2}, {"name": "truck", "count": 1}]
        assert stats.sources == [{"name": "default", "count": 3, "bytes": 35}]
        assert stats.to_dict()["total"] == 3

    def test_bytes_may_be_more_than_a_database_integer_holds(self, engine, draft):
        draft.add_frames(SingleFrame(id=str(i), source=f"s3://b/{i}", size=2**63 - 1) for i in range(3))
        (sources,) = draft.get_stats().sources
        assert sources["bytes"] == 3 * (2**63 - 1)
        draft.delete_frames(["0", "1"])
        (sources,) = draft.get_stats().sources
        assert sources["bytes"] == 2**63 - 1

    @pytest.mark.parametrize("engine", ["memory", "file"], indirect=True)
    def test_every_frame_may_have_labels_of_its_own(self, engine, draft):
        def labelled(numbers):
            for i in numbers:
                frame = SingleFrame(id=str(i))
                frame.add_annotation(frame_class=[f"label {i} {j}" for j in range(50)])
                yield frame

        # More than the database takes parameters in one statement: PostgreSQL 65,535, and SQLite as many as it is built for.
        count = 1400
        for connected in (engine.session.database.read, engine.session.database.write):
            with connected() as connection:
                raw = connection.connection.driver_connection
                if isinstance(raw, sqlite3.Connection):
                    count = 100
                    raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 2500)
        draft.add_frames(labelled(range(count)))
        assert len(draft.get_stats().labels) == count * 50
        draft.delete_frames(str(i) for i in range(1, count))
        assert len(draft.get_stats().labels) == 50


class TestWarnings:
    def test_they_point_at_the_caller(self, engine, draft):
        draft.add_frames([make(1, id="a")])

        def flush(change, *arguments):
            with draft.get_bulk_context() as bulk:
                getattr(bulk, change)(*arguments)

        calls = [
            lambda: draft.delete_frames(["?"]),
            lambda: draft.add_frames([make(2, id="a")], warn_on_duplicate_frames=True),
            lambda: draft.get_frames_by_ids(["?"]),
            lambda: DatasetVersion.get_frames_by_ids(["a"], dataset_name="food"),
            lambda: flush("delete_frame", "?"),
            lambda: flush("add_frame", make(3, id="a"), True),
            lambda: draft.get_bulk_context(flush_threshold=5),
        ]
        for call in calls:
            with warnings.catch_warnings(record=True, action="always") as caught:
                call()
            assert {Path(warning.filename).name for warning in caught} == {Path(__file__).name}


class TestActing:
    def test_actor_and_context_travel_in_every_batch(self, engine, draft):
        with framelode.acting(actor="ann", context={"run": "7"}):
            draft.add_frames([make(1)])
            with framelode.acting(context={"run": "8"}):
                draft.delete_frames([make(1).derive_id()])
        draft.add_frames([make(2)])
        actors = [
            (header.actor, header.context) for header in engine.log.headers() if header.schema == "frames.1"
        ]
        assert actors == [("ann", '{"run":"7"}'), ("ann", '{"run":"8"}'), ("tester", "{}")]

    def test_bad_arguments(self):
        with pytest.raises(InvalidValueError, match="actor"), framelode.acting(actor=""):
            pass
        with pytest.raises(InvalidValueError, match="context"), framelode.acting(context={"a": object()}):
            pass
