"""Bulk contexts: many changes of frames recorded together."""

from __future__ import annotations

import threading

import pytest
from making import make
from patience import PATIENCE

import framelode
from framelode import (
    BulkContext,
    FrameGroup,
    FramesRejected,
    InvalidValueError,
    PublishedError,
    SingleFrame,
    StorageError,
)


class TestBulkContext:
    def test_changes_are_recorded_together_in_order(self, engine, draft):
        draft.add_frames([make(1, id="old")])
        head = engine.log.head().position
        with draft.get_bulk_context() as bulk:
            bulk.add_frame(make(2, id="new"))
            bulk.delete_frame("old")
            bulk.add_frame(make(3, id="old"))
            bulk.update_frame(make(4, id="new"))
            assert engine.log.head().position == head
        assert {frame.id: frame.source for frame in draft} == {
            "old": "s3://bucket/3.jpg",
            "new": "s3://bucket/4.jpg",
        }

    def test_it_flushes_at_the_threshold(self, draft):
        bulk = draft.get_bulk_context(flush_threshold=2)
        bulk.add_frame(make(1))
        assert len(draft) == 0
        bulk.add_frame(make(2))
        assert len(draft) == 2
        bulk.add_frame(make(3))
        draft.flush()
        assert len(draft) == 3
        for threshold in (0, -1, True, "2"):
            other = framelode.current_engine().version(draft.version_id)
            with pytest.raises(InvalidValueError, match="flush_threshold"):
                other.get_bulk_context(flush_threshold=threshold)

    def test_there_is_one_for_each_object(self, draft):
        bulk = draft.get_bulk_context(flush_threshold=5)
        assert draft.get_bulk_context(flush_threshold=5) is bulk
        with pytest.warns(UserWarning, match="the new arguments are ignored"):
            assert draft.get_bulk_context() is bulk

    def test_it_can_be_made_of_its_version(self, draft):
        with BulkContext(draft, 5, None, False, None, None, True) as bulk:
            bulk.update_frame(SingleFrame(id="x", metadata={"a": 1}))
            assert repr(bulk) == f"BulkContext({draft!r}, 1 change pending)"
        with BulkContext(dv=draft, allow_update=True) as bulk:
            bulk.update_frame(SingleFrame(id="x", metadata={"b": 2}))
        assert draft.get_single_frame("x").metadata == {"a": 1, "b": 2}
        with pytest.raises(InvalidValueError, match="dv must be a DatasetVersion, not 'x'"):
            BulkContext("x")

    def test_frames_are_recorded_as_they_were_handed_over(self, draft):
        frame, group = make(1, metadata={"n": 0}), FrameGroup(frames={"left": make(2)})
        with draft.get_bulk_context() as bulk:
            for number in range(3):
                frame.id, frame.metadata["n"] = f"f{number}", number
                bulk.add_frame(frame)
                group.id, group["left"].width = f"g{number}", number
                bulk.add_frame(group)
            frame.metadata["n"] = group["left"].width = 99
            frame.id = "f1"
            bulk.delete_frame(frame)
            frame.id = "f2"
        assert {frame.id for frame in draft} == {"f0", "g0", "g1", "f2", "g2"}
        for number in (0, 2):
            assert draft.get_single_frame(f"f{number}").metadata == {"n": number}
            assert draft.get_single_frame(f"g{number}")["left"].width == number

    def test_ids_are_set_at_once(self, draft):
        frames = [make(1), SingleFrame(), FrameGroup(frames={"left": make(2)})]
        with draft.get_bulk_context() as bulk:
            for frame in frames:
                bulk.add_frame(frame)
            ids = [frame.id for frame in frames]
            assert ids[0] == make(1).derive_id()
            assert len(draft) == 0
        assert [frame.id for frame in draft] == [frame.id for frame in frames] == ids

    @pytest.mark.parametrize("freeze", ["publish_version", "create_snapshot", "commit_version"])
    def test_what_waits_is_recorded_before_the_version_is_frozen(self, draft, freeze):
        bulk = draft.get_bulk_context()
        bulk.add_frame(make(1))
        bulk.add_frame("no frame")
        with pytest.raises(FramesRejected, match="str is no frame"):
            getattr(draft, freeze)()
        assert draft.draft
        bulk.add_frame(make(2))
        result = getattr(draft, freeze)()
        assert len(draft) == 2
        if freeze == "commit_version":
            assert (result["added"], result["total"]) == (1, 2)

    def test_a_version_may_be_published_inside_the_block(self, draft):
        with draft.get_bulk_context() as bulk:
            bulk.add_frame(make(1))
            assert draft.publish_version() is True
        draft.flush()
        assert len(draft) == 1
        bulk.add_frame(make(2))
        with pytest.raises(PublishedError, match="is published"):
            draft.flush()

    def test_a_published_version_has_none(self, draft):
        draft.publish_version()
        with pytest.raises(PublishedError, match="is published"):
            draft.get_bulk_context()

    def test_updates_merge_only_when_allowed(self, engine, draft):
        draft.add_frames([make(1, id="x", metadata={"a": 1})])
        with draft.get_bulk_context(allow_update=True) as bulk:
            bulk.update_frame(SingleFrame(id="x", metadata={"b": 2}))
        assert draft.get_single_frame("x").metadata == {"a": 1, "b": 2}
        with engine.version(draft.version_id).get_bulk_context() as bulk:
            bulk.update_frame(SingleFrame(id="x", metadata={"b": 3}))
        assert draft.get_single_frame("x") == SingleFrame(id="x", metadata={"b": 3})

    def test_an_exception_still_records_what_was_complete(self, draft):
        with pytest.raises(ZeroDivisionError), draft.get_bulk_context() as bulk:
            bulk.add_frame(make(1))
            1 / 0  # noqa: B018
        assert len(draft) == 1

    def test_refused_frames_are_raised_after_the_rest_is_written(self, draft):
        bad = make(1)
        bad.metadata["x"] = {1, 2}
        bulk = draft.get_bulk_context()
        bulk.add_frame(bad)
        bulk.add_frame(make(2))
        with pytest.raises(FramesRejected, match="metadata.x"):
            bulk.flush()
        assert len(draft) == 1

    def test_what_was_written_is_committed_though_frames_are_refused(self, engine, draft):
        with pytest.raises(FramesRejected), draft.get_bulk_context() as bulk:
            bulk.add_frame(make(1))
            bulk.add_frame("no frame")
        assert list(engine.log.headers())[-1].topics == ("VersionCommitted",)
        bulk.add_frame(make(2))
        bulk.add_frame("no frame")
        with pytest.raises(FramesRejected):
            draft.flush()
        assert list(engine.log.headers())[-1].topics == ("VersionCommitted",)
        draft.flush()

    def test_the_exception_of_the_block_wins_over_refused_frames(self, draft):
        with pytest.raises(ZeroDivisionError) as caught, draft.get_bulk_context() as bulk:
            bulk.add_frame("no frame")
            1 / 0  # noqa: B018
        assert "a frame was rejected" in caught.value.__notes__[0]

    @pytest.mark.parametrize("error", [StorageError("the disk is full"), KeyboardInterrupt()])
    def test_what_could_not_be_recorded_waits_for_the_next_flush(self, engine, draft, monkeypatch, error):
        bulk = draft.get_bulk_context()
        bulk.add_frame(make(1, id="a"))
        bulk.add_frame("no frame")
        bulk.delete_frame("a")
        bulk.add_frame(make(2, id="b"))
        append, appends = engine.log.append, []

        def fail_once(*arguments):
            appends.append(arguments)
            if len(appends) == 2:
                raise error
            return append(*arguments)

        monkeypatch.setattr(engine.log, "append", fail_once)
        with pytest.raises(type(error)):
            bulk.flush()
        assert [frame.id for frame in draft] == ["a"]
        with pytest.raises(FramesRejected, match="a frame was rejected"):
            bulk.flush()
        assert [frame.id for frame in draft] == ["b"]
        bulk.flush()

    def test_every_merge_into_one_frame_counts(self, draft):
        with draft.get_bulk_context(allow_update=True, local_dataset_root_path="/data") as bulk:
            for number in range(3):
                bulk.update_frame(SingleFrame(id="a", metadata={str(number): number}))
                bulk.update_frame(SingleFrame(source="/data/b.jpg", metadata={str(number): number}))
        assert draft.get_single_frame("a").metadata == {"0": 0, "1": 1, "2": 2}
        (other,) = draft.get_frames_by_source("/data/b.jpg")
        assert other.metadata == {"0": 0, "1": 1, "2": 2}
        assert other.id == SingleFrame(source="/data/b.jpg").derive_id("/data")

    def test_a_root_that_is_no_folder_is_refused(self, draft):
        with pytest.raises(InvalidValueError, match="local_dataset_root_path must be a folder, not 5"):
            draft.add_frames([make(1)], local_dataset_root_path=5)
        with pytest.raises(InvalidValueError, match="local_dataset_root_path"):
            draft.get_bulk_context(local_dataset_root_path="")


def test_threads_record_in_the_order_in_which_they_gathered(draft, monkeypatch):
    bulk = draft.get_bulk_context(flush_threshold=1)
    write, second_writes = bulk._write, threading.Event()
    second = threading.Thread(target=bulk.add_frame, args=(SingleFrame(id="a", source="s3://b/second.jpg"),))

    def first_waits(run):
        if second.ident is None:
            second.start()
            second_writes.wait(0.3)  # it must not write before this one is done
        else:
            second_writes.set()
        return write(run)

    monkeypatch.setattr(bulk, "_write", first_waits)
    bulk.add_frame(SingleFrame(id="a", source="s3://b/first.jpg"))
    second.join(PATIENCE)
    assert draft.get_single_frame("a").source == "s3://b/second.jpg"


def test_mask_labels_and_metadata_set_at_once_are_both_kept(draft, engine, monkeypatch):
    """Another writer sets metadata after this one has read it and before it writes."""
    other = framelode.DatasetVersion.of(engine.session, draft.version_id)
    monkeypatch.setattr(draft, "get_metadata", dict)
    other.set_metadata({"camera": "phone"})
    draft.set_masks_labels({(1, 2, 3): ["cat"]})
    assert other.get_metadata()["camera"] == "phone"
    assert other.get_masks_labels() == {(1, 2, 3): ("cat",)}
