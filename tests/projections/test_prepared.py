"""Batches are counted while they are written, and a replay of the log comes to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode import BoundingBox2D, DatasetVersion, FrameGroup, SingleFrame, connect

NAMES = ("a", "b", "c", "d")
URIS = (None, "s3://b/x.jpg", "s3://b/x.mp4", "s3://b/x", "blob://" + "0" * 64)
boxes = st.builds(
    BoundingBox2D,
    st.just([1, 2, 3, 4]),
    labels=st.lists(st.sampled_from(["car", "dog"]), max_size=2),
)
frames = st.builds(
    SingleFrame,
    id=st.sampled_from(NAMES),
    source=st.sampled_from(URIS),
    size=st.none() | st.integers(0, 9),
    annotations=st.lists(boxes, max_size=2),
    metadata=st.sampled_from([{}, {"k": 1}]),
)
groups = st.builds(
    lambda frame_id, uri: FrameGroup(id=frame_id, left=SingleFrame(source=uri)),
    st.sampled_from(NAMES),
    st.sampled_from(URIS[1:4]),
)
steps = st.tuples(st.sampled_from(["frames", "dicts", "delete"]), st.lists(frames | groups, max_size=6))


@examples(15, 100)
@given(st.lists(steps, min_size=1, max_size=4), st.integers(1, 3))
def test_what_is_counted_while_writing_is_what_a_replay_counts(done, batch_size):
    with connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        for how, some in done:
            if how == "frames":
                draft.add_frames(some, batch_size=batch_size)
            elif how == "dicts":
                draft.add_dicts([frame.to_dict() for frame in some], batch_size=batch_size)
            else:
                held = [frame.id for frame in some if frame.id in draft]
                draft.delete_frames(list(dict.fromkeys(held)))
        engine.session.runner.catch_up_all()
        counted = draft.get_stats()
        assert not engine.verify().problems
        engine.rebuild()
        assert draft.get_stats() == counted
        engine.close()


@pytest.mark.parametrize("wires", [False, True])
def test_a_commit_does_not_read_the_frames_that_were_just_added(engine, monkeypatch, wires):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    some = [
        SingleFrame(source=f"s3://b/{n}.jpg", annotations=[BoundingBox2D(0, 0, 1, 1, labels=["car"])])
        for n in range(2500)
    ]
    read, bodies = [], engine.log.bodies

    def counting(positions):
        read.extend(positions)
        return bodies(positions)

    monkeypatch.setattr(engine.log, "bodies", counting)
    draft.add_dicts([frame.to_dict() for frame in some]) if wires else draft.add_frames(some)
    engine.session.runner.catch_up_all()
    frames_begin = [header.first_position for header in engine.log.headers(schema="frames.1")]
    assert len(frames_begin) == 3
    assert not set(read).intersection(frames_begin)
    assert draft.get_stats().total == 2500
    counted = draft.get_stats()
    for frame in (changed := draft.get_frames_by_ids([one.id for one in draft][:1500])):
        frame.metadata["k"] = 1
    draft.update_frames(changed, refresh_version_stats=False)
    read.clear()
    engine.session.runner.catch_up_all()
    assert not set(read).intersection(frames_begin)
    assert draft.get_stats() == counted
