"""What frames know about the version they were read from, and groups of one frame in an engine."""

import pickle

import pytest

import framelode
from framelode import DatasetVersion, FrameGroup, SingleFrame


@pytest.fixture
def draft(tmp_path):
    with framelode.connect(tmp_path / "engine"):
        DatasetVersion.create_new_dataset("data")
        draft = DatasetVersion.get_current(dataset_name="data")
        draft.set_metadata({"site": "north"})
        yield draft


def test_a_frame_that_was_read_names_its_version(draft):
    frame = SingleFrame(id="a", source="s3://b/a.jpg")
    pair = FrameGroup(
        id="g", left=SingleFrame(source="s3://b/l.jpg"), right=SingleFrame(source="s3://b/r.jpg")
    )
    assert (
        (frame.origin, frame.dataset_version_metadata)
        == (pair.origin, pair.dataset_version_metadata)
        == ({}, {})
    )
    draft.add_frames([frame, pair])
    expected = {
        "dataset_id": draft.dataset_id,
        "dataset_name": "data",
        "version_id": draft.version_id,
        "version_name": draft.version_name,
    }
    read = [
        *(draft.get_single_frame(each) for each in "ag"),
        *draft.get_frames_by_ids(["a", "g"]),
        *draft.get_frames_by_source("s3://b/*"),
        *draft.get_iterator(),
        *draft.get_iterator(order_by="context"),
        *draft.find_frames(source="s3://b/*"),
    ]
    assert len(read) == 12
    for each in read:
        assert each.origin == expected
        assert each.dataset_version_metadata == {"site": "north"}
        assert each in (frame, pair)
        twin = pickle.loads(pickle.dumps(each))
        assert (twin.origin, each.copy().origin) == ({}, {})


def test_a_group_of_a_default_frame_stays_one_wherever_it_goes(draft, tmp_path):
    group = FrameGroup(id="g", default=SingleFrame(source="s3://b/a.jpg"), metadata={"n": 1})
    group["default"].add_annotation(frame_class="night")
    draft.add_frames([group])
    assert draft["g"] == group
    assert list(draft) == [group]
    group.metadata["n"] = 2
    draft.update_frames([group], without_fields=["sources"])
    assert draft["g"] == group
    engine = framelode.current_engine()
    engine.export_log(tmp_path / "log.jsonl")
    with framelode.connect(tmp_path / "other") as other:
        other.import_log(tmp_path / "log.jsonl")
        assert other.version(draft.version_id)["g"] == group
        assert other.version(draft.version_id).fingerprint == draft.fingerprint
