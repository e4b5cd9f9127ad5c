"""`DatasetVersion.revert`: a draft becomes what it was, by ordinary events."""

from __future__ import annotations

import pytest

import framelode
from framelode import DatasetVersion, NotFoundError, PublishedError, SingleFrame


def frame(name, label="cat"):
    made = SingleFrame(id=name, source=f"s3://b/{name}.jpg")
    made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
    return made


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food")
    first = DatasetVersion.get_current(dataset_name="food")
    first.add_frames([frame("a"), frame("b"), frame("c")])
    return first.create_snapshot(publish_name="v1", child_name="v2")


def test_a_draft_becomes_what_it_was(engine, draft):
    draft.set_metadata({"camera": 1})
    position, before, frames = (
        engine.log.head().position,
        draft.fingerprint,
        {each.id: each for each in draft},
    )
    draft.delete_frames(["a"])
    draft.update_frames([frame("b", "dog")])
    draft.add_frames([frame("d")])
    draft.set_metadata({"camera": 2})
    after, later = engine.log.head().position, draft.fingerprint

    done = draft.revert(position)

    assert (done.added, done.updated, done.deleted, done.metadata) == (1, 1, 1, True)
    assert draft.fingerprint == before
    assert {each.id: each for each in draft} == frames
    assert draft.get_metadata() == {"camera": 1}
    assert draft.get_stats().to_dict() == draft.get_stats(as_of=position).to_dict()
    assert [change.kind for change in draft.history("a")] == ["added", "deleted", "added"]
    draft.revert(after)
    assert draft.fingerprint == later
    left = draft.commit_version()
    assert (left["added"], left["updated"], left["deleted"]) == (0, 0, 0), "a revert is committed"
    engine.verify()


def test_a_revert_to_the_present_records_nothing(engine, draft):
    draft.add_frames([frame("d")])
    position = engine.log.head().position
    done = draft.revert(position)
    assert (done.added, done.updated, done.deleted, done.metadata) == (0, 0, 0, False)
    assert engine.log.head().position == position


def test_a_draft_is_reverted_to_its_beginning(engine, draft):
    start = engine.log.head().position
    draft.delete_frames(["a", "b", "c"])
    assert draft.revert(start).added == 3
    assert (
        draft.diff(DatasetVersion.get_version(dataset_name="food", version_name="v1")).to_dict()["changed"]
        == []
    )
    assert len(draft) == 3


def test_what_cannot_be_reverted(engine, draft):
    published = DatasetVersion.get_version(dataset_name="food", version_name="v1")
    with pytest.raises(PublishedError):
        published.revert(engine.log.head().position)
    with pytest.raises(NotFoundError):
        draft.revert(2)
    with pytest.raises(framelode.UsageError, match="there is no position"):
        draft.revert(10**6)
