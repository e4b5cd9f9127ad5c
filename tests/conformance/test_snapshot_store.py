"""What every store of state snapshots does: in a table of the projections, and as objects of a store."""

from __future__ import annotations

import logging
import threading
import uuid

import msgspec
import numpy as np
import pytest
from patience import join
from s3_server import s3_filesystem, s3_prefix

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.storage.objects import ObjectPrefix
from framelode.projections.states import snapshot_objects, snapshots
from framelode.projections.states.cache import StateCache
from framelode.projections.states.snapshot_objects import SnapshotObjects
from framelode.projections.states.snapshot_table import SnapshotTable
from framelode.projections.states.snapshots import Snapshot, SnapshotKey, Snapshots

KINDS = ("table", "memory", "s3")


@pytest.fixture(autouse=True)
def always_due(monkeypatch):
    monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture(params=KINDS)
def store_of(request, engine):
    """Return what opens the same store anew, for an engine's log, as another process would."""
    url = s3_prefix() if request.param == "s3" else f"memory://store-{uuid.uuid4().hex}"
    filesystem = s3_filesystem(keeps_listings=True) if request.param == "s3" else None

    def open_store(other=None):
        log = (other or engine).log
        if request.param == "table":
            return SnapshotTable(engine.session.database, log)
        return SnapshotObjects(lambda: ObjectPrefix(url, filesystem), log)

    open_store.tamper = lambda name, change: _tamper(ObjectPrefix(url, filesystem), name, change)
    open_store.damage = lambda name: _damage(request.param, engine, ObjectPrefix(url, filesystem), name)
    return open_store


def _damage(kind, engine, objects, name):
    if kind == "table":
        with engine.session.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE state_snapshot_v2 SET positions = x'00' WHERE version_id = ?", (name.version_id,)
            )
        return
    _tamper(objects, name, lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])


def _tamper(objects, name, change):
    (path,) = [path for path in objects.find("") if name.digest.hex() in path]
    objects.fs.pipe_file(objects.at(path), change(objects.read(path)))


def snapshot(engine, version_id, position, filling=b"mixed"):
    name = SnapshotKey(version_id, position, position.to_bytes(32, "big"), 10)
    return Snapshot(name, engine.log.uuid, 3, 9, filling, b"positions" * 1000, b"batches")


def test_what_is_written_is_read_again(engine, store_of):
    one, two = snapshot(engine, "v/1 ä%", 5), snapshot(engine, "v2", 2**40)
    store = store_of()
    assert store.kept() == []
    store.write(one, [])
    store.write(two, [])
    for asked in (store, store_of()):
        assert sorted(asked.kept(), key=str) == sorted([one.name, two.name], key=str)
        assert asked.kept(["v2", "v3"]) == [two.name]
        assert asked.kept([]) == []
        assert asked.read(one.name) == one
        assert asked.read(two.name) == two


def test_writing_removes_what_is_replaced(engine, store_of):
    old, other, new = (snapshot(engine, version, at) for version, at in (("v1", 5), ("v2", 6), ("v3", 9)))
    store = store_of()
    store.write(old, [])
    store.write(other, [])
    store.write(new, [old.name])
    assert sorted(store.kept(), key=str) == sorted([other.name, new.name], key=str)
    assert store.read(old.name) is None
    newer = snapshot(engine, "v3", 20)
    store.write(newer, [new.name])
    assert store.kept(["v3"]) == [newer.name]
    assert store.read(new.name) is None


def test_the_same_may_be_written_twice(engine, store_of):
    one = snapshot(engine, "v", 5)
    for store in (store_of(), store_of()):
        store.write(one, [])
    assert store_of().kept() == [one.name]
    assert store_of().read(one.name) == one


def test_damage_is_noticed_and_what_is_written_again_is_whole(engine, store_of, caplog):
    one = snapshot(engine, "v", 5)
    store_of().write(one, [])
    store_of.damage(one.name)
    with caplog.at_level(logging.WARNING, "framelode.states"):
        assert store_of().read(one.name) is None
    assert "the state is replayed" in caplog.text
    store_of().write(one, [])
    assert store_of().read(one.name) == one


def test_programs_that_keep_whole_mixes_have_snapshots_of_their_own(engine, store_of, request):
    one = snapshot(engine, "v", 5)
    store_of().write(one, [])
    if request.node.callspec.params["store_of"] == "table":
        with engine.session.database.read() as connection:
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name LIKE 'state%'")
            assert "state_snapshot_v1" not in names.scalars().all()
        return
    store_of.tamper(one.name, lambda data: data.replace(b"framelode state 2\n", b"framelode state 1\n"))
    assert store_of().read(one.name) is None


def test_drop(engine, store_of):
    store = store_of()
    store.drop()
    for version in ("v1", "v2"):
        store.write(snapshot(engine, version, 5), [])
    store.drop()
    assert store.kept() == []
    assert store_of().kept() == []


def test_stores_of_two_logs_do_not_mix(engine, store_of, tmp_path):
    one = snapshot(engine, "v", 5)
    store_of().write(one, [])
    other = framelode.connect(tmp_path / "other")
    assert store_of(other).kept() == []
    assert (
        store_of(other).read(one.name) is None or store_of(other).read(one.name).log_uuid == engine.log.uuid
    )
    store_of(other).write(msgspec.structs.replace(snapshot(other, "w", 6)), [])
    assert store_of().kept() == [one.name]
    other.close()


@pytest.fixture
def version(engine):
    DatasetVersion.create_new_dataset("d")
    version = DatasetVersion.get_current(dataset_name="d")
    version.add_frames([SingleFrame(id=f"{n}") for n in range(50)], refresh_version_stats=False)
    return version


def states_of(engine, store):
    return StateCache(engine.log, engine.session.parent_of, Snapshots(store, engine.log))


def assert_same(one, other):
    one, other = one.settled(), other.settled()
    assert np.array_equal(one.mixed, other.mixed)
    assert np.array_equal(one.positions, other.positions)


class TestStates:
    def test_another_process_begins_with_what_one_has_saved(self, engine, store_of, version, monkeypatch):
        assert states_of(engine, store_of()).save_snapshot(version.version_id)
        version.add_frames([SingleFrame(id="late")], refresh_version_stats=False)
        read = engine.log.stream_rows
        after = []
        monkeypatch.setattr(
            engine.log, "stream_rows", lambda *a, **k: after.append(k["after"]) or read(*a, **k)
        )
        state = states_of(engine, store_of()).current(version.version_id)
        assert min(after) >= 50
        assert_same(state, engine.session.states.current(version.version_id))

    def test_a_damaged_one_is_folded_and_written_again_by_readers(self, engine, store_of, version):
        assert states_of(engine, store_of()).save_snapshot(version.version_id)
        (name,) = store_of().kept()
        store_of.damage(name)
        state = states_of(engine, store_of()).read(version.version_id)
        assert_same(state, engine.session.states.current(version.version_id))
        assert store_of().read(name) is not None

    def test_older_ones_of_the_chain_go(self, engine, store_of, version):
        states = states_of(engine, store_of())
        assert states.save_snapshot(version.version_id)
        child = DatasetVersion.create_snapshot(dataset_name="d")
        child.add_frames([SingleFrame(id=f"c{n}") for n in range(50)], refresh_version_stats=False)
        assert states_of(engine, store_of()).save_snapshot(child.version_id)
        assert [name.version_id for name in store_of().kept()] == [child.version_id]
        assert not states.save_snapshot(child.version_id)
        assert_same(
            states_of(engine, store_of()).current(child.version_id),
            engine.session.states.current(child.version_id),
        )

    def test_one_that_goes_while_it_is_read_is_looked_for_again(self, engine, store_of, version, monkeypatch):
        reader = store_of()
        assert states_of(engine, store_of()).save_snapshot(version.version_id)
        reader.kept(fresh=False)
        version.add_frames([SingleFrame(id=f"c{n}") for n in range(100)], refresh_version_stats=False)
        assert states_of(engine, store_of()).save_snapshot(version.version_id)
        loaded = Snapshots(reader, engine.log).load(version.version_id, engine.session.states.rows)
        assert_same(loaded, engine.session.states.current(version.version_id))

    def test_removing_beside_readers(self, engine, store_of, version, monkeypatch):
        monkeypatch.setattr(snapshot_objects, "MINIMUM_EVENTS", 1)
        failures, loaded, stop = [], [], threading.Event()
        truth = StateCache(engine.log, engine.session.parent_of)

        def read():
            try:
                while not stop.is_set():
                    state = Snapshots(store_of(), engine.log).load(
                        version.version_id, engine.session.states.rows
                    )
                    if state is not None:
                        loaded.append((int(state.batches.first_positions[-1]), state))
            except BaseException as error:
                failures.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for round_ in range(5):
            version.add_frames(
                [SingleFrame(id=f"{round_} {n}") for n in range(100 << round_)], refresh_version_stats=False
            )
            assert states_of(engine, store_of()).save_snapshot(version.version_id)
        while not loaded and not failures:
            pass
        stop.set()
        join(*readers)
        assert failures == []
        for position, state in dict(loaded).items():
            last = engine.log.batch_at(position).last_position
            assert_same(state, truth.at(version.version_id, last))
        assert len(store_of().kept()) == 1
