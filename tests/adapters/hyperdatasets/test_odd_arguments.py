"""Arguments of odd types and values: taken for what they mean, or refused in our own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from making import make

from framelode import (
    DatasetVersion,
    ExecutionStore,
    FramelodeError,
    FramesRejected,
    InvalidValueError,
    SingleFrame,
    UsageError,
)

NO_TEXT = (5, 1.5, np.int64(3), True, b"x", [], {}, "\ud800", 2**70, float("nan"), object())


class TestOddArguments:
    """What is passed by mistake is refused in our words, before anything is recorded."""

    @pytest.mark.parametrize("value", [np.array([1, 2]), "no", []], ids=["array", "text", "list"])
    def test_flags_that_are_no_booleans(self, engine, draft, value):
        head = engine.log.head()
        bulk = draft.get_bulk_context()
        calls = {
            "raise_if_exists": [
                lambda: DatasetVersion.create_new_dataset("food", raise_if_exists=value),
                lambda: DatasetVersion.create_version("v", dataset_name="food", raise_if_exists=value),
            ],
            "raise_on_multiple": [
                lambda: DatasetVersion.get_version(dataset_name="food", raise_on_multiple=value)
            ],
            "only_draft": [lambda: DatasetVersion.get_versions(dataset_name="food", only_draft=value)],
            "force": [lambda: DatasetVersion.remove_version(version_id=draft.version_id, force=value)],
            "refresh_version_stats": [
                lambda: draft.add_frames([make(1)], refresh_version_stats=value),
                lambda: draft.update_frames([make(1)], refresh_version_stats=value),
                lambda: draft.flush(refresh_version_stats=value),
            ],
            "force_upload": [lambda: draft.add_frames([make(1)], force_upload=value)],
            "delete_sources": [
                lambda: draft.delete_frames(["a"], delete_sources=value),
                lambda: bulk.delete_frame("a", delete_sources=value),
            ],
            "warn_on_duplicate_frames": [lambda: bulk.add_frame(make(1), warn_on_duplicate_frames=value)],
        }
        for name, of_name in calls.items():
            for call in of_name:
                with pytest.raises(InvalidValueError, match=f"{name} must be True or False, not "):
                    call()
        assert engine.log.head() == head
        draft.add_frames([make(1)], refresh_version_stats=np.bool_(False))
        assert len(draft) == 1

    @pytest.mark.parametrize("value", NO_TEXT, ids=lambda value: f"{type(value).__name__}")
    def test_selectors_that_are_no_text(self, engine, draft, value):
        head = engine.log.head()
        calls = [
            lambda: DatasetVersion.get_version(dataset_name=value),
            lambda: DatasetVersion.get_version(dataset_id=value),
            lambda: DatasetVersion.get_version(version_id=value),
            lambda: DatasetVersion.get_version(dataset_name="food", version_name=value),
            lambda: DatasetVersion.get_version(dataset_name="food", dataset_project=value),
            lambda: DatasetVersion.get_versions(dataset_name=value),
            lambda: DatasetVersion.remove_version(dataset_name="food", version_name=value),
            lambda: DatasetVersion.create_version("v", dataset_name="food", parent_version_ids=[value]),
            lambda: DatasetVersion.create_version("v", dataset_name="food", parent_version_names=[value]),
            lambda: engine.version(value),
            lambda: engine.dataset(value),
            lambda: list(draft.get_iterator([value])),
            lambda: draft.update_frames([make(1)], without_fields=[value]),
        ]
        if not isinstance(value, str):
            calls.append(lambda: DatasetVersion.get_datasets([value]))
            calls.append(lambda: draft.get_frames_by_source(value))
        for call in calls:
            with pytest.raises(InvalidValueError):
                call()
        assert engine.log.head() == head

    @pytest.mark.parametrize("value", [5, 1.5, np.int64(3), np.array(5), True, "text", b"text"])
    def test_lists_that_are_none(self, draft, value):
        calls = [
            lambda: DatasetVersion.get_datasets(value),
            lambda: DatasetVersion.create_new_dataset("food", tags=value),
            lambda: DatasetVersion.create_version("v", dataset_name="food", parent_version_ids=value),
            lambda: draft.get_iterator(value),
            lambda: draft.get_iterator(order_by=[value]),
            lambda: draft.get_frames_by_ids(value),
            lambda: draft.set_tags(value),
        ]
        if not isinstance(value, str):  # that is an id
            calls += [lambda: draft.delete_frames(value), lambda: draft.add_frames(value)]
        if value is not True:  # that is a value which is not None
            calls.append(lambda: draft.update_frames([make(1)], without_fields=value))
        for call in calls:
            with pytest.raises(UsageError):
                call()

    def test_a_parent_that_is_none_is_not_the_current_version(self, draft):
        draft.publish_version()
        with pytest.raises(InvalidValueError, match="the parent must be a string, not None"):
            DatasetVersion.create_version("v", dataset_name="food", parent_version_ids=[None])

    @pytest.mark.parametrize("wrap", [tuple, iter, np.array])
    def test_a_parent_may_come_in_any_sequence(self, draft, wrap):
        draft.publish_version()
        for by in ("parent_version_ids", "parent_version_names"):
            parent = draft.version_id if by == "parent_version_ids" else "Current"
            child = DatasetVersion.create_version(by, dataset_name="food", **{by: wrap([parent])})
            assert child.get_parent() == draft.version_id
            with pytest.raises(UsageError, match="at most one parent"):
                DatasetVersion.create_version("v", dataset_name="food", **{by: wrap([parent, "other"])})

    def test_numbers_may_be_numpy_s(self, draft):
        one = np.int64(1)
        assert (
            draft.add_frames([make(1), make(2)], batch_size=one, progress_report=one, upload_retries=one)
            == []
        )
        draft.update_frames([make(1)], batch_size=one)
        draft.delete_frames(draft, batch_size=np.uint8(1))
        draft.get_bulk_context(flush_threshold=one).add_frame(make(3))
        assert len(draft) == 1

    def test_a_pattern_may_be_a_path(self, draft):
        draft.add_frames([SingleFrame(source="/data/a.jpg")])
        assert len(draft.get_frames_by_source(Path("/data/*.jpg"))) == 1

    def test_ids_are_read_and_deleted_as_they_are_added(self, draft):
        numbers = [7, np.int64(8), 9.0, -0.0]
        draft.add_frames([SingleFrame(id=number) for number in numbers])
        assert [draft.get_single_frame(number).id for number in numbers] == ["7", "8", "9.0", "0.0"]
        assert len(draft.get_frames_by_ids(numbers)) == 4
        draft.delete_frames(numbers)
        assert len(draft) == 0

    @pytest.mark.parametrize("value", [None, True, b"x", [], {}, "", "\ud800"])
    def test_what_is_no_id(self, draft, value):
        with pytest.raises(InvalidValueError, match="frame_id"):
            draft.get_single_frame(value)
        with pytest.raises(InvalidValueError, match=r"frame_ids\[1\]"):
            draft.get_frames_by_ids(["a", value])
        with pytest.raises(FramesRejected, match="has no frame id"):
            draft.delete_frames([value])

    def test_a_projection_may_come_from_a_generator(self, draft):
        draft.add_frames([make(1, id="a")])
        assert list(draft.get_iterator(path for path in ("id", "sources.0.width"))) == [
            {"id": "a", "sources": [{"width": 640}]}
        ]
        for path in ("sources.00.uri", "sources.\u0660.uri", "sources.-1.uri"):
            with pytest.raises(InvalidValueError, match="a number or"):
                draft.get_iterator([path])


class TestUnshowable:
    """Values that Python itself cannot show: integers of thousands of digits, lists nested too deeply."""

    def test_they_are_refused_in_our_words(self, engine, draft):
        huge, deep = 10**5000, []
        for _ in range(100_000):
            deep = [deep]
        store = ExecutionStore.create("s")
        draft.add_frames([SingleFrame(id="a")])
        calls = [
            lambda: SingleFrame(id=huge),
            lambda: SingleFrame(source="/x.jpg", width=huge),
            lambda: SingleFrame(source="/x.jpg", metadata={"a": huge}),
            lambda: store.set("k", huge),
            lambda: store.set("k", 1, ttl=huge),
            lambda: store.set("k", 1, ttl=10**400),
            lambda: store.update_ttl("k", 10**400),
            lambda: engine.at(huge),
            lambda: engine.gc(deep),
            lambda: engine.verify(against=deep),
            lambda: engine.blobs.read(deep),
            lambda: engine.export_log(deep),
            lambda: ExecutionStore.create("x", dataset_id=deep),
            lambda: draft.add_frames([SingleFrame(id="b")], local_dataset_root_path=deep),
        ]
        for call in calls:
            with pytest.raises(FramelodeError, match="too large to show|digits|\\[\\[|goes beyond|nested"):
                call()

    def test_others(self, engine, tmp_path):
        for call, expected in (
            (lambda: engine.blobs.put(None), "must be bytes or an open binary file"),
            (lambda: engine.blobs.put("text"), "must be bytes or an open binary file"),
            (lambda: engine.export_log(tmp_path / ("a" * 300)), "File name too long"),
            (lambda: SingleFrame(source="a\0b"), "without NUL"),
        ):
            with pytest.raises(FramelodeError, match=expected):
                call()
        assert list(engine.history(limit=10**30)) == list(engine.history())
