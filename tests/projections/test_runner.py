"""The runner: each event counts exactly once, whatever fails, whoever else runs, and whichever log is there."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import ClassVar

import histories
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from projection_tables import rows_by_table
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame, UsageError
from framelode.adapters.execution_store import ExecutionStore
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.projections import runner as runner_module
from framelode.projections.projection import Projection
from framelode.projections.runner import Runner
from framelode.projections.tables.stores import Stores


class Seen(Projection):
    """Keeps every batch it is given, and fails when told to."""

    name: ClassVar[str] = "seen"
    code_version: ClassVar[int] = 1
    fail_at: int | None = None

    def define_tables(self):
        self.batch = self.table(
            "batch",
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("first_position", sa.Integer, nullable=False),
            sa.Column("count", sa.Integer, nullable=False),
        )

    def apply(self, connection, batches):
        for header in batches:
            values = {"first_position": header.first_position, "count": header.count}
            connection.execute(self.batch.insert(), values)
            if self.fail_at is not None and header.last_position >= self.fail_at:
                raise RuntimeError("the fold failed")

    def rows(self, store):
        with store.read() as connection:
            query = sa.select(self.batch.c.first_position, self.batch.c.count).order_by(self.batch.c.number)
            return [tuple(row) for row in connection.execute(query)]


class Newer(Seen):
    """The same projection in a later release."""

    code_version: ClassVar[int] = 2

    def apply(self, connection, batches):
        super().apply(connection, [*batches, *batches])


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 4)


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    return DatasetVersion.get_current(dataset_name="d")


@pytest.fixture
def store(tmp_path):
    with closing(SqliteDatabase(tmp_path / "seen.db", durable=False)) as opened:
        opened.adopt()
        yield opened


def grow(draft, count=10, start=0):
    draft.add_frames(
        [SingleFrame(id=f"{n:032x}") for n in range(start, start + count)],
        batch_size=3,
        refresh_version_stats=False,
    )


def expected(engine):
    return [(header.first_position, header.count) for header in engine.log.headers()]


def tables(store):
    with store.read() as connection:
        return set(sa.inspect(connection).get_table_names())


class TestCatchUp:
    def test_each_batch_once_and_in_order(self, engine, draft, store, small_pages):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        for start in range(0, 40, 10):
            grow(draft, start=start)
            runner.catch_up(seen)
            runner.catch_up(seen)
            assert seen.rows(store) == expected(engine)
            assert runner.position(seen) == engine.log.head().position

    def test_an_empty_log(self, engine, store):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        runner.catch_up_all()
        assert seen.rows(store) == []
        assert runner.position(seen) == 0

    def test_nothing_new_touches_nothing(self, engine, draft, store, monkeypatch):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        runner.catch_up(seen)
        monkeypatch.setattr(store, "write", None)
        monkeypatch.setattr(store, "read", None)
        runner.catch_up(seen)

    def test_a_failing_fold_leaves_the_pages_before_it(self, engine, draft, store, small_pages):
        grow(draft, 12)
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        seen.fail_at = engine.log.head().position - 4
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the fold failed"):
                runner.catch_up(seen)
            rows = seen.rows(store)
            assert rows == expected(engine)[: len(rows)]
            assert 0 < len(rows) < len(expected(engine))
            assert runner.position(seen) == sum(count for _, count in rows), (
                "the tracking row is of the same page"
            )
        grow(draft, 5, start=50)
        seen.fail_at = None
        runner.catch_up(seen)
        assert seen.rows(store) == expected(engine)

    def test_progress_ends_at_the_head(self, engine, draft, store, small_pages):
        grow(draft, 20)
        told = []
        seen = Seen(engine.log)
        Runner(engine.log, store, [seen]).catch_up_all(lambda done, total: told.append((done, total)))
        head = engine.log.head().position
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert told[-1] == (head, head)
        assert {total for _, total in told} == {head}
        assert len(told) > 2

    def test_two_runners_on_one_store(self, engine, draft, store, tmp_path, small_pages):
        others = [SqliteDatabase(store.path, durable=False) for _ in range(3)]
        runners = [Runner(engine.log, each, [Seen(engine.log)]) for each in (store, *others)]
        barrier = threading.Barrier(len(runners) + 1, timeout=PATIENCE)

        def follow(runner):
            barrier.wait()
            while runner.position(runner.projections[0]) < 43:
                runner.catch_up_all()

        with ThreadPoolExecutor(len(runners)) as pool:
            following = [pool.submit(follow, runner) for runner in runners]
            barrier.wait()
            for start in range(0, 40, 8):
                grow(draft, 8, start)
            for future in following:
                future.result()
        assert engine.log.head().position == 44
        runners[0].catch_up_all()
        assert runners[0].projections[0].rows(store) == expected(engine)
        for other in others:
            other.close()

    def test_a_process_that_is_behind_the_store(self, engine, draft, store):
        seen = Seen(engine.log)
        slow, fast = (Runner(engine.log, store, [seen]) for _ in range(2))
        slow.catch_up(seen)
        grow(draft)
        fast.catch_up(seen)
        grow(draft, start=20)
        slow.catch_up(seen)
        fast.catch_up(seen)
        assert seen.rows(store) == expected(engine)


class Turns(threading.Event):
    """What `follow` waits on: each wait takes the next turn, and the last one stops it."""

    def __init__(self, *turns):
        super().__init__()
        self.turns = list(turns)

    def wait(self, timeout=None):
        assert timeout > 0
        if self.turns:
            self.turns.pop(0)()
        else:
            self.set()
        return self.is_set()


@pytest.mark.parametrize("engine", ["memory", "file"], indirect=True)
class TestFollow:
    def test_yields_each_position_that_all_have_reached(self, engine, draft, store, small_pages):
        seen, other = Seen(engine.log), Newer(engine.log)
        runner = Runner(engine.log, store, [seen, other])
        stop = Turns(lambda: grow(draft), lambda: None, lambda: grow(draft, start=50))
        heads = []
        for position in runner.follow(stop):
            heads.append((position, engine.log.head().position))
            assert seen.rows(store) == expected(engine)
            assert runner.position(seen) == runner.position(other) == position
        assert len(heads) == 3
        assert all(position == head for position, head in heads)

    def test_ends_at_once_when_stopped(self, engine, draft, store):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        stop = threading.Event()
        stop.set()
        assert list(runner.follow(stop)) == []
        assert runner.position(seen) == 0

    def test_goes_on_in_another_runner(self, engine, draft, store):
        seen = Seen(engine.log)
        list(Runner(engine.log, store, [seen]).follow(Turns(lambda: grow(draft))))
        grow(draft, start=20)
        positions = list(Runner(engine.log, store, [seen]).follow(Turns()))
        assert positions == [engine.log.head().position]
        assert seen.rows(store) == expected(engine)


class TestRebuild:
    def test_equals_what_was_followed(self, engine, draft, store, small_pages):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        runner.catch_up(seen)
        grow(draft)
        runner.catch_up(seen)
        before = seen.rows(store)
        with store.write() as connection:
            connection.execute(sa.delete(seen.batch))
        runner.rebuild(seen)
        assert seen.rows(store) == before == expected(engine)
        assert tables(store) == {"projection_owner_v1", "projection_tracking_v1", "seen_batch_v1"}
        grow(draft, start=20)
        runner.catch_up(seen)
        assert seen.rows(store) == expected(engine)

    def test_readers_keep_the_live_tables_until_the_swap(self, engine, draft, store, small_pages):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        grow(draft)
        runner.catch_up(seen)
        looked = []
        runner.rebuild(seen, lambda done, total: looked.append(seen.rows(store)))
        assert len(looked) > 1
        assert all(rows == expected(engine) for rows in looked)

    def test_that_fails_leaves_the_live_tables(self, engine, draft, store, small_pages, monkeypatch):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        grow(draft, 12)
        runner.catch_up(seen)
        monkeypatch.setattr(Seen, "fail_at", 8)
        with pytest.raises(RuntimeError):
            runner.rebuild(seen)
        assert seen.rows(store) == expected(engine)
        monkeypatch.setattr(Seen, "fail_at", None)
        runner.rebuild(seen)
        assert seen.rows(store) == expected(engine)

    def test_after_a_swap_that_failed(self, engine, draft, store, monkeypatch):
        seen = Seen(engine.log)
        runner = Runner(engine.log, store, [seen])
        grow(draft)
        runner.catch_up(seen)

        def refuse(*arguments):
            raise RuntimeError("no swap")

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no swap"):
            patch.setattr(runner, "_swap", refuse)
            runner.rebuild(seen)
        runner.rebuild(seen)
        assert seen.rows(store) == expected(engine)
        assert runner.position(seen) == engine.log.head().position

    @examples(8, 25)
    @given(histories.steps, st.integers(1, 3), st.integers(2, 9))
    def test_stats_and_catalog_equal_a_fresh_fold(self, history, batch_size, page):
        with pytest.MonkeyPatch.context() as patch, framelode.connect("sqlite://") as engine:
            patch.setattr(runner_module, "_PAGE_EVENTS", page)
            histories.play(engine, history, batch_size)
            engine.catch_up()
            fresh = SqliteDatabase(None, durable=False)
            folded = Runner(
                engine.log, fresh, [type(kept)(engine.log) for kept in engine.session.runner.projections]
            )
            folded.catch_up_all()
            live = self.dump(engine.session.database, engine.session.runner)
            assert live == self.dump(fresh, folded)
            engine.rebuild()
            assert self.dump(engine.session.database, engine.session.runner) == live
            fresh.close()
        engine.close()

    def dump(self, store, runner):
        return rows_by_table(store, runner.projections)


class TestTables:
    """Tables of projections that name topics are created when an event or a reader needs them."""

    @pytest.fixture
    def named(self, engine, store):
        """Makes runners with a projection of topics, as several processes would."""
        return lambda: Runner(engine.log, store, [Stores(engine.log)])

    def created(self, store):
        return any(name.startswith("stores_") for name in tables(store))

    def test_an_event_needs_them(self, engine, draft, store, named, small_pages):
        runner = named()
        runner.catch_up_all()
        assert runner.position(runner.projections[0]) == engine.log.head().position > 0
        assert not self.created(store)
        ExecutionStore.create("a").set("k", 1)
        grow(draft)
        runner.catch_up_all()
        found = rows_by_table(store, runner.projections)
        engine.session.runner.catch_up_all()
        assert found == rows_by_table(engine.session.database, [engine.session.projection(Stores)])
        assert len(found["stores_document_v1"]) == 1

    def test_a_reader_needs_them_and_replays_nothing(self, engine, draft, store, named, monkeypatch):
        grow(draft)
        runner = named()
        runner.catch_up_all()
        monkeypatch.setattr(Stores, "apply", lambda *_: pytest.fail("there is nothing to replay"))
        (stores,) = runner.projections
        runner.catch_up(stores)
        assert self.created(store)
        assert set(map(len, rows_by_table(store, [stores]).values())) == {0}
        assert runner.position(stores) == engine.log.head().position

    def test_another_process_creates_them_once(self, engine, draft, store, named):
        one, other = named(), named()
        one.catch_up_all()
        other.catch_up(other.projections[0])
        ExecutionStore.create("a").set("k", 1)
        other.catch_up_all()
        ExecutionStore.create("b").set("k", 1)
        one.catch_up_all()
        one.catch_up(one.projections[0])
        assert len(rows_by_table(store, one.projections)["stores_store_v1"]) == 2

    def test_a_rebuild_without_an_event_creates_none_and_keeps_them(self, engine, draft, store, named):
        runner = named()
        (stores,) = runner.projections
        runner.catch_up_all()
        runner.rebuild()
        assert not self.created(store)
        runner.catch_up(stores)
        runner.rebuild()
        assert self.created(store)
        assert runner.position(stores) == engine.log.head().position
        grow(draft)
        ExecutionStore.create("a").set("k", 1)
        runner.catch_up(stores)
        assert len(rows_by_table(store, [stores])["stores_document_v1"]) == 1

    def test_a_rebuild_after_an_event_creates_them(self, engine, draft, store, named):
        runner = named()
        runner.catch_up_all()
        ExecutionStore.create("a").set("k", 1)
        runner.rebuild()
        assert len(rows_by_table(store, runner.projections)["stores_document_v1"]) == 1

    def test_verify_misses_those_that_an_event_needs(self, tmp_path):
        engine = framelode.connect(tmp_path / "engine")
        ExecutionStore.create("a").set("k", 1)
        engine.verify()
        engine.close()
        with closing(sqlite3.connect(tmp_path / "engine" / "projections.db")) as database, database:
            for table in ("stores_store_v1", "stores_document_v1", "stores_expiring_v1"):
                database.execute(f"DROP TABLE {table}")
            database.execute("UPDATE projection_tracking_v1 SET shape = '' WHERE projection LIKE 'stores%'")
        with framelode.connect(tmp_path / "engine") as engine:
            with pytest.raises(framelode.IntegrityError, match="stores_store_v1 differs from a fresh replay"):
                engine.verify()
            engine.rebuild()
            engine.verify()
            assert ExecutionStore.create("a").get("k") == 1
        engine.close()


class TestReleases:
    def test_old_and_new_code_stand_side_by_side(self, engine, draft, store):
        old, new = Seen(engine.log), Newer(engine.log)
        runner = Runner(engine.log, store, [old, new])
        grow(draft)
        runner.catch_up(old)
        runner.catch_up(new)
        grow(draft, start=20)
        runner.catch_up(new)
        runner.catch_up(old)
        assert tables(store) == {
            "projection_owner_v1",
            "projection_tracking_v1",
            "seen_batch_v1",
            "seen_batch_v2",
        }
        assert old.rows(store) == expected(engine)
        assert len(new.rows(store)) == 2 * len(expected(engine))
        runner.rebuild(new)
        assert old.rows(store) == expected(engine)


class TestLogs:
    @pytest.fixture
    def folder(self, tmp_path):
        with framelode.connect(tmp_path / "engine") as engine:
            DatasetVersion.create_new_dataset("d")
            grow(DatasetVersion.get_current(dataset_name="d"))
        engine.close()
        return tmp_path / "engine"

    def follow(self, folder, store, *starts):
        """Grow the log, follow it, and return what was seen and what there is to see."""
        engine = framelode.connect(folder)
        with engine:
            for start in starts:
                grow(DatasetVersion.get_current(dataset_name="d"), start=start)
            seen = Seen(engine.log)
            Runner(engine.log, store, [seen]).catch_up_all()
            found = seen.rows(store), expected(engine)
        engine.close()
        return found

    @pytest.mark.parametrize("starts", [(), (200,), (200, 300, 400)], ids=["shorter", "as long", "longer"])
    def test_a_restored_log_is_folded_afresh(self, folder, store, starts):
        shutil.copy(folder / "log.db", folder / "copy.db")
        seen, there = self.follow(folder, store, 100)
        assert seen == there
        shutil.move(folder / "copy.db", folder / "log.db")
        seen, there = self.follow(folder, store, *starts)
        assert seen == there

    def test_another_log_is_refused(self, folder, store, tmp_path):
        seen, there = self.follow(folder, store)
        with framelode.connect(tmp_path / "other") as engine:
            DatasetVersion.create_new_dataset("d")
        engine.close()
        with pytest.raises(UsageError, match="holds the projections of the log"):
            self.follow(tmp_path / "other", store, 0)
        assert self.follow(folder, store) == (seen, there)

    def test_a_changed_tracking_row_is_noticed(self, folder, store):
        self.follow(folder, store)
        for change in (
            "position = position - 1",
            "digest = x'00'",
            "log_uuid = 'x'",
            "position = position + 1000",
        ):
            with store.write() as connection:
                connection.exec_driver_sql(f"UPDATE projection_tracking_v1 SET {change}")
            seen, there = self.follow(folder, store)
            assert seen == there


def test_tables_of_another_shape_are_folded_afresh(tmp_path):
    """A developer who forgets to raise the code version gets a slow start, not an error."""
    with framelode.connect(tmp_path) as engine:
        DatasetVersion.create_new_dataset("food")
        engine.catch_up()
        before = [dataset.name for dataset in DatasetVersion.get_datasets()]
        engine.close()
    with closing(sqlite3.connect(tmp_path / "projections.db")) as connection:
        connection.execute("ALTER TABLE catalog_version_v3 DROP COLUMN tags")
        connection.execute("UPDATE projection_tracking_v1 SET shape = 'old'")
        connection.commit()
    with framelode.connect(tmp_path) as engine:
        assert [dataset.name for dataset in DatasetVersion.get_datasets()] == before
        assert DatasetVersion.get_current(dataset_name="food").tags == []
        engine.verify()
        engine.close()
