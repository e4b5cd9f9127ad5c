"""Who loses against other writers too often keeps them out, and so comes to an end."""

from __future__ import annotations

import threading

import pytest
from patience import join

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.log.contract import StreamConflictError


@pytest.fixture
def rivals(tmp_path, ticks, monkeypatch):
    """Two engines on one log; whatever the first one decides, the second is faster unless it is kept out."""
    engine = framelode.connect(tmp_path / "e", clock=ticks.clock, new_id=ticks.new_id)
    rival = framelode.connect(tmp_path / "e")
    with engine:
        DatasetVersion.create_new_dataset("food")
        version_id = DatasetVersion.get_current(dataset_name="food").version_id
    conflicts = []
    append = engine.log.append

    def beaten(*arguments, **named):
        if not engine.log.database.is_exclusive:
            frame = SingleFrame(id=f"rival {len(conflicts)}")
            rival.version(version_id).add_frames([frame], refresh_version_stats=False)
        try:
            return append(*arguments, **named)
        except StreamConflictError:
            conflicts.append(1)
            raise

    monkeypatch.setattr(engine.log, "append", beaten)
    yield engine, version_id, conflicts
    engine.verify()
    rival.close()
    engine.close()


def test_adding(rivals):
    engine, version_id, conflicts = rivals
    version = engine.version(version_id)
    assert version.add_frames([SingleFrame(id="mine")], refresh_version_stats=False) == []
    assert {frame.id for frame in version} == {"mine", *(f"rival {number}" for number in range(5))}
    assert len(conflicts) == 5


def test_publishing(rivals):
    engine, version_id, conflicts = rivals
    assert engine.session.writes.versions.publish_version(version_id) is True
    assert len(conflicts) == 5
    assert len(engine.version(version_id)) == 5


def test_threads_on_an_engine_in_memory_all_come_to_an_end():
    with framelode.connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("food")
        version_id = DatasetVersion.get_current(dataset_name="food").version_id

        def work(name):
            for number in range(30):
                engine.version(version_id).add_frames([SingleFrame(id=f"{name} {number}")])
                engine.session.writes.versions.tag_version(version_id, [f"{name} {number}"])
                assert len(engine.version(version_id)) > number

        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in "abcdef"]
        for thread in threads:
            thread.start()
        join(*threads)
        assert len(engine.version(version_id)) == 180
        engine.verify()
        engine.close()
