"""The comparison of states: right at any two moments, and no dearer than what was changed between them."""

from __future__ import annotations

import histories
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.keys import key_bytes
from framelode.projections.states.diff import Outcome, compare
from framelode.projections.states.fingerprint import fingerprint
from framelode.projections.states.fold import live_positions


def content(state):
    """Return the payload digests of a state's frames by key."""
    rows = state.rows(np.sort(live_positions(state.settled())))
    keys = key_bytes(rows)
    digests = zip(rows["digest_hi"].tolist(), rows["digest_lo"].tolist(), strict=True)
    return {keys[16 * place : 16 * place + 16]: digest for place, digest in enumerate(digests)}


def expected(old, new):
    before, after = content(old), content(new)
    both = before.keys() & after.keys()
    return {
        Outcome.ADDED: after.keys() - before.keys(),
        Outcome.REMOVED: before.keys() - after.keys(),
        Outcome.CHANGED: {key for key in both if before[key] != after[key]},
    }


def found(old, new):
    difference = compare(old, new, lambda: fingerprint(old), lambda: fingerprint(new))
    assert (np.diff(difference.positions.astype(np.int64)) > 0).all()
    keys = {outcome: difference.of(outcome).keys() for outcome in Outcome}
    return {
        outcome: {joined[at : at + 16] for at in range(0, len(joined), 16)}
        for outcome, joined in keys.items()
    }


@examples(20, 60)
@given(histories.steps, st.integers(1, 4), st.data())
def test_any_two_moments(history, batch_size, data):
    with framelode.connect("sqlite://") as engine:
        versions = histories.play(engine, history, batch_size)
        moments = st.tuples(st.sampled_from(versions), st.integers(0, engine.log.head().position))
        for _ in range(8):
            old, new = (engine.session.states.at(*data.draw(moments)) for _ in range(2))
            assert found(old, new) == expected(old, new)
    engine.close()


class TestCost:
    @pytest.fixture
    def draft(self, engine):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames([SingleFrame(id=f"{n:032x}") for n in range(2000)], batch_size=100)
        return draft

    @pytest.fixture
    def rows_read(self, engine, monkeypatch):
        read = []
        rows_at = engine.log.rows_at

        def counting(positions):
            read.extend(positions)
            return rows_at(positions)

        monkeypatch.setattr(engine.log, "rows_at", counting)
        return read

    def test_what_is_shared_is_not_read(self, engine, draft, rows_read):
        child = draft.create_snapshot()
        changed = [SingleFrame(id=f"{n:032x}", metadata={"x": n}) for n in range(0, 2000, 100)]
        child.update_frames(changed, refresh_version_stats=False)
        child.delete_frames([f"{n:032x}" for n in range(1, 2000, 100)], refresh_version_stats=False)
        engine.session.states.rows.forget()
        rows_read.clear()
        diff = child.diff(draft)
        assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 20, 20)
        assert diff.changed.ids == [frame.id for frame in changed]
        assert len(rows_read) == 2, "the two batches of the child"

    def test_buckets_that_agree_are_not_read(self, engine, draft, rows_read):
        other = DatasetVersion.create_version("other", dataset_name="d")
        for frame in (frames := list(draft))[:3]:
            frame.metadata = {"x": 1}
        other.add_frames(frames, batch_size=10, refresh_version_stats=False)
        for version in (draft, other):
            engine.session.states.fingerprint(version.version_id)
        engine.session.states.rows.forget()
        rows_read.clear()
        diff = other.diff(draft)
        assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 0, 3)
        # A bucket has 256 frames at most of about 2,000, which are in 200 batches of 10.
        assert 0 < len([first for first in rows_read if first > 2100]) < 200

    def test_more_changes_than_frames(self, engine, draft):
        child = draft.create_snapshot()
        for number in range(3):
            frames = [SingleFrame(id=f"{n:032x}", metadata={"round": number}) for n in range(1990)]
            child.update_frames(frames, refresh_version_stats=False)
        diff = child.diff(draft)
        assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 0, 1990)
