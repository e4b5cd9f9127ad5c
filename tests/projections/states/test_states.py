"""The states of versions: current, at any position, after a snapshot, and rebuilt; all are the reference fold."""

from __future__ import annotations

import inspect
import sqlite3
import sys

import histories
import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from reference_state import reference_fold
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.engine.errors import NotFoundError, StorageError, UsageError
from framelode.engine.keys import KEY_SIZE, KeyRow, frame_key
from framelode.projections.states import snapshots
from framelode.projections.states.cache import StateCache
from framelode.projections.states.fingerprint import fingerprint
from framelode.projections.states.fold import TOMBSTONE, live_positions
from framelode.projections.states.snapshot_table import SnapshotTable
from framelode.projections.states.snapshots import Snapshots


def parent_of(engine):
    return lambda version_id: engine.session.writes.application.version(version_id).parent_id


def events_of(engine, version_id):
    """Return ``(position, key, operation)`` of the frame events of a version's own stream."""
    return [
        (page.first_position + index, row[:KEY_SIZE], row[KEY_SIZE])
        for page in engine.log.stream_rows(version_id)
        for index in range(page.count)
        for row in [page.keys[index * KeyRow.itemsize : (index + 1) * KeyRow.itemsize]]
    ]


def reference(engine, version_id, upto):
    parent = parent_of(engine)(version_id)
    inherited = reference(engine, parent, upto) if parent else {}
    return reference_fold([event for event in events_of(engine, version_id) if event[0] <= upto], inherited)


def content(state):
    """Return the positions by key."""
    positions = live_positions(state.settled())
    rows = state.rows(positions)
    keys = [rows[index : index + 1].tobytes()[:KEY_SIZE] for index in range(len(rows))]
    found = dict(zip(keys, positions.tolist(), strict=True))
    assert len(found) == state.total
    return found


@pytest.fixture
def always_snapshots(monkeypatch):
    monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)


class TestStates:
    @examples(10, 30)
    @given(histories.steps, st.integers(1, 3))
    def test_are_the_reference_fold_at_every_position(self, history, batch_size):
        with framelode.connect("sqlite://") as engine:
            versions = histories.play(engine, history, batch_size)
            head = engine.log.head().position
            cold = StateCache(engine.log, parent_of(engine))
            for version_id in versions:
                expected = reference(engine, version_id, head)
                current = engine.session.states.current(version_id)
                assert content(current) == content(cold.current(version_id)) == expected
                assert (
                    engine.session.states.fingerprint(version_id).root
                    == fingerprint(cold.at(version_id, head)).root
                )
                for position in range(0, head + 1, 3):
                    assert content(cold.at(version_id, position)) == reference(engine, version_id, position)
            engine.verify()
        engine.close()

    @examples(10, 30)
    @given(histories.steps, histories.steps, st.data())
    def test_are_the_same_after_a_snapshot_and_more(self, before, after, data):
        with pytest.MonkeyPatch.context() as patch, framelode.connect("sqlite://") as engine:
            patch.setattr(snapshots, "MINIMUM_EVENTS", 1)
            versions = histories.play(engine, before)
            saved = [
                v for v in versions if data.draw(st.booleans()) and engine.session.states.save_snapshot(v)
            ]
            versions += histories.play(engine, after)[1:]
            kept = Snapshots(SnapshotTable(engine.session.database, engine.log), engine.log)
            assert not saved or any(kept.load(v, engine.session.states.rows) for v in versions)
            head = engine.log.head().position
            warm = StateCache(engine.log, parent_of(engine), kept)
            for version_id in data.draw(st.permutations(versions)):
                state = warm.current(version_id)
                assert content(state) == reference(engine, version_id, head)
                assert warm.fingerprint(version_id).root == engine.session.states.fingerprint(version_id).root
        engine.close()

    def test_a_line_of_versions_may_be_longer_than_the_stack(self, engine):
        DatasetVersion.create_new_dataset("d")
        version = DatasetVersion.get_current(dataset_name="d")
        for number in range(60):
            version.add_frames([SingleFrame(id=str(number))])
            version = version.create_snapshot()
        parents = {row.version_id: row.get_parent() for row in DatasetVersion.get_versions(dataset_name="d")}
        fresh, limit = StateCache(engine.log, parents.__getitem__), sys.getrecursionlimit()
        try:
            sys.setrecursionlimit(len(inspect.stack()) + 100)
            current = fresh.current(version.version_id)
            earlier = fresh.at(version.version_id, engine.log.head().position)
        finally:
            sys.setrecursionlimit(limit)
        assert current.total == earlier.total == 60
        assert content(current) == content(earlier)

    def test_an_unknown_version_is_not_found(self, engine):
        with pytest.raises(NotFoundError, match="no version with id 'nobody'"):
            engine.session.states.current("nobody")

    def test_a_fingerprint_does_not_depend_on_what_was_asked_before(self, engine):
        DatasetVersion.create_new_dataset("d")
        parent = DatasetVersion.get_current(dataset_name="d")
        parent.add_frames([SingleFrame(id=f"{n:032x}") for n in range(5)])
        child = DatasetVersion.create_snapshot(dataset_name="d")
        child.delete_frames([f"{0:032x}"])
        engine.session.states.forget()
        engine.session.states.fingerprint(parent.version_id)
        child.publish_version()
        other = DatasetVersion.create_version("other", dataset_name="d")
        other.add_frames([SingleFrame(id=f"{n:032x}") for n in range(1, 5)])
        assert child.fingerprint == other.fingerprint != parent.fingerprint

    def test_an_empty_version_has_a_fingerprint(self, engine):
        DatasetVersion.create_new_dataset("d")
        version = DatasetVersion.get_current(dataset_name="d")
        empty = version.fingerprint
        version.add_frames([SingleFrame(id="a")])
        assert version.fingerprint != empty
        version.delete_frames(["a"])
        assert version.fingerprint == empty
        assert version.publish_version()
        assert version.fingerprint == empty


class TestSnapshots:
    @pytest.fixture
    def version(self, engine, always_snapshots):
        DatasetVersion.create_new_dataset("d")
        version = DatasetVersion.get_current(dataset_name="d")
        version.add_frames(
            [SingleFrame(id=name) for name in histories.IDS], batch_size=3, refresh_version_stats=False
        )
        version.delete_frames(histories.IDS[:2])
        return version

    @pytest.fixture
    def kept(self, engine):
        return Snapshots(SnapshotTable(engine.session.database, engine.log), engine.log)

    def rows(self, engine):
        with engine.session.database.read() as connection:
            return connection.exec_driver_sql("SELECT * FROM state_snapshot_v2").mappings().all()

    def test_hold_the_state_with_its_tombstones(self, engine, version, kept):
        (row,) = self.rows(engine)
        assert (row["version_id"], row["total"], row["entries"]) == (
            version.version_id,
            len(histories.IDS) - 2,
            len(histories.IDS),
        )
        loaded = kept.load(version.version_id, engine.session.states.rows)
        now = engine.session.states.current(version.version_id).settled()
        assert np.array_equal(loaded.settled().mixed, now.mixed)
        assert np.array_equal(loaded.settled().positions, now.positions)
        assert (now.positions >= TOMBSTONE).sum() == 2

    def test_have_the_layout_of_the_document(self, engine, version):
        import zstandard

        def numbers(data):
            width, planes = data[0], zstandard.ZstdDecompressor().decompress(data[1:])
            count = len(planes) // width
            return [
                int.from_bytes(bytes(planes[i + p * count] for p in range(width)), "little")
                for i in range(count)
            ]

        (row,) = self.rows(engine)
        state = engine.session.states.current(version.version_id)
        mixed = np.cumsum(numbers(row["mixed"]), dtype=np.uint64).tolist()
        assert mixed == state.settled().mixed.tolist()
        marks = [number // 2 + (number % 2) * int(TOMBSTONE) for number in numbers(row["positions"])]
        assert marks == state.settled().positions.tolist()
        batches = numbers(row["batches"])
        half = len(batches) // 2
        assert np.cumsum(batches[:half]).tolist() == state.batches.first_positions.tolist()
        assert batches[half:] == state.batches.counts.tolist()

    def test_one_for_a_chain_and_children_begin_with_their_parents(self, engine, version, kept):
        child = DatasetVersion.create_snapshot(dataset_name="d")
        assert [row["version_id"] for row in self.rows(engine)] == [version.version_id]
        child.add_frames([SingleFrame(id=f"{n:032x}") for n in range(100, 150)])
        (row,) = self.rows(engine)
        assert (row["version_id"], row["total"]) == (child.version_id, len(histories.IDS) - 2 + 50)
        assert kept.load(version.version_id, engine.session.states.rows) is None
        assert content(
            StateCache(engine.log, parent_of(engine), kept).current(child.version_id)
        ) == reference(engine, child.version_id, engine.log.head().position)

    def test_few_events_are_not_worth_one(self, engine, version):
        before = self.rows(engine)
        version.add_frames([SingleFrame(id=histories.IDS[0])])
        assert self.rows(engine) == before
        assert not engine.session.states.save_snapshot(version.version_id)

    @pytest.mark.parametrize(
        "column", ["mixed", "positions", "batches", "checksum", "digest", "log_uuid", "position"]
    )
    def test_that_do_not_fit_are_ignored(self, engine, version, kept, column):
        (row,) = self.rows(engine)
        value = row[column]
        if isinstance(value, bytes):
            changed = value[:-1] + bytes([value[-1] ^ 1])
        else:
            changed = value + 1000 if isinstance(value, int) else value + "x"
        with engine.session.database.write() as connection:
            connection.execute(sa.text(f"UPDATE state_snapshot_v2 SET {column} = :value"), {"value": changed})
        assert kept.load(version.version_id, engine.session.states.rows) is None
        state = StateCache(engine.log, parent_of(engine), kept).current(version.version_id)
        assert content(state) == reference(engine, version.version_id, engine.log.head().position)

    def test_of_another_log_are_ignored(self, engine, version):
        store = SqliteDatabase(None, durable=False)
        with framelode.connect("sqlite://") as other:
            Snapshots(SnapshotTable(store, other.log), other.log)
            kept = Snapshots(SnapshotTable(store, engine.log), engine.log)
            state = engine.session.states.current(version.version_id)
            assert kept.save(version.version_id, state, parent_of(engine))
            assert (
                Snapshots(SnapshotTable(store, other.log), other.log).load(
                    version.version_id, engine.session.states.rows
                )
                is None
            )
        other.close()
        store.close()

    def test_a_new_engine_begins_with_one(self, tmp_path, always_snapshots, monkeypatch):
        with framelode.connect(tmp_path) as engine:
            history = [("add", [SingleFrame(id=name) for name in histories.IDS]), ("commit",)]
            (version_id,) = histories.play(engine, history)
            before = content(engine.session.states.current(version_id))
        engine.close()
        again = framelode.connect(tmp_path)
        asked = []
        read = again.log.stream_rows
        monkeypatch.setattr(again.log, "stream_rows", lambda *a, **k: asked.append(k) or read(*a, **k))
        assert content(again.session.states.current(version_id)) == before
        assert not any(call.get("after") == 0 for call in asked), "nothing is folded from the start"
        again.close()


class TestSnapshotsLeftByReads:
    @pytest.fixture
    def folder(self, tmp_path, always_snapshots):
        """Frames that were appended and never committed: appends write no snapshot."""
        with framelode.connect(tmp_path) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            version.add_frames([SingleFrame(id=name) for name in histories.IDS], refresh_version_stats=False)
            assert self.rows(engine) == []
            engine.close()
        return tmp_path

    def rows(self, engine):
        if "state_snapshot_v2" not in engine.session.database.table_names():
            return []
        with engine.session.database.read() as connection:
            return connection.execute(sa.text("SELECT version_id, version FROM state_snapshot_v2")).all()

    def read(self, engine):
        version = DatasetVersion.get_version(dataset_name="d")
        return version.version_id, version.get_single_frame(histories.IDS[0]).id

    def test_a_read_that_folded_much_leaves_one_for_the_next_process(self, folder):
        with framelode.connect(folder) as engine:
            version_id, _ = self.read(engine)
            ((kept, version),) = self.rows(engine)
            assert (kept, version) == (version_id, engine.log.stream_version(version_id))
            engine.close()
        with framelode.connect(folder) as engine:
            read = engine.log.stream_rows
            asked = []
            engine.log.stream_rows = lambda *a, **k: asked.append(k) or read(*a, **k)
            assert self.read(engine) == (version_id, histories.IDS[0])
            assert asked == [], "nothing was folded"
            engine.close()

    def test_small_folds_leave_none(self, folder, monkeypatch):
        monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 10_000)
        with framelode.connect(folder) as engine:
            self.read(engine)
            assert self.rows(engine) == []
            engine.close()

    def test_a_child_takes_over_what_its_parent_folded(self, folder):
        with framelode.connect(folder) as engine:
            child = DatasetVersion.create_snapshot(dataset_name="d", publish_name="v1")
            engine.close()
        (folder / "projections.db").unlink()
        with framelode.connect(folder) as engine:
            assert engine.version(child.version_id).get_single_frame(histories.IDS[0]).id == histories.IDS[0]
            assert self.rows(engine) == [(child.version_id, 0)]
            engine.close()

    @pytest.mark.parametrize("error", [StorageError("the disk is full"), UsageError("readonly")])
    def test_a_read_does_not_need_to_write(self, folder, monkeypatch, error, caplog):
        caplog.set_level("INFO", "framelode")

        def refuse(*_):
            raise error

        monkeypatch.setattr(Snapshots, "save", refuse)
        with framelode.connect(folder) as engine:
            assert self.read(engine)[1] == histories.IDS[0]
            engine.close()
        assert str(error) in caplog.text


def test_keys_are_read_by_position_in_any_order(engine):
    DatasetVersion.create_new_dataset("d")
    version = DatasetVersion.get_current(dataset_name="d")
    version.add_frames([SingleFrame(id=name) for name in histories.IDS], batch_size=2)
    state = engine.session.states.current(version.version_id)
    by_key = content(state)
    positions = [by_key[frame_key(name)] for name in histories.IDS]
    random = np.random.default_rng(1)
    for _ in range(5):
        order = random.integers(0, len(positions), 40)
        rows = state.rows(np.array([positions[i] for i in order], np.uint64))
        assert [rows[i : i + 1].tobytes()[:KEY_SIZE] for i in range(40)] == [
            frame_key(histories.IDS[i]) for i in order
        ]
    assert len(state.rows(np.empty(0, np.uint64))) == 0


def test_the_projections_database_holds_nothing_that_is_lost(tmp_path, always_snapshots):
    with framelode.connect(tmp_path) as engine:
        versions = histories.play(
            engine, [("add", [SingleFrame(id=name) for name in histories.IDS]), ("snapshot",)]
        )
        before = {
            v: (content(engine.session.states.current(v)), engine.session.version_counts(v)) for v in versions
        }
    engine.close()
    (tmp_path / "projections.db").unlink()
    with framelode.connect(tmp_path) as engine:
        assert {
            v: (content(engine.session.states.current(v)), engine.session.version_counts(v)) for v in versions
        } == before
        engine.verify()
    engine.close()
    with sqlite3.connect(tmp_path / "projections.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
