"""What every projection keeps to: however the log is cut, restarted, restored or shared, it comes to the same tables."""

from __future__ import annotations

import functools
import itertools
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise

import histories
import pytest
import rich_log
import sqlalchemy as sa
import toy_api
import worker_parts
from forked import FORKED
from hypothesis import given
from hypothesis import strategies as st
from projection_tables import rows_by_table
from sizes import examples

import framelode
from framelode import DatasetVersion
from framelode.adapters.sql.projections import open_projections
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.adapters.sql.urls import postgres_schema
from framelode.engine.errors import UsageError
from framelode.projections import runner as runner_module
from framelode.projections.projection import FoldedProjection
from framelode.projections.queries.stored import FrameColumns
from framelode.projections.runner import Runner
from framelode.projections.stretches import fold_stretch, fold_stretches
from framelode.projections.tables.stores import Stores

with framelode.connect("sqlite://") as _engine:
    PROJECTIONS = [type(projection) for projection in _engine.session.runner.projections]
_engine.close()
PROJECTIONS.append(toy_api.Toys)
"""All that an engine keeps, and that of an API that is attached for these tests."""

FOLDED = [kind for kind in PROJECTIONS if issubclass(kind, FoldedProjection)]

each = pytest.mark.parametrize("kind", PROJECTIONS, ids=lambda kind: kind.name)
each_folded = pytest.mark.parametrize("kind", FOLDED, ids=lambda kind: kind.name)


@pytest.fixture(scope="module", autouse=True)
def _attached():
    with pytest.MonkeyPatch.context() as patch:
        toy_api.attach(patch.setattr)
        patch.setattr(FrameColumns, "stretch_bits", 4)
        yield


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    engine = framelode.connect(folder)
    rich_log.play(engine)
    engine.verify()
    engine.close()
    return folder


@pytest.fixture
def folder(rich, tmp_path):
    shutil.copytree(rich, tmp_path / "engine")
    return tmp_path / "engine"


@pytest.fixture(scope="module")
def log(rich):
    """The log of it all, which is only read."""
    with closing(framelode.connect(rich)) as engine:
        opener = engine.log.opener()
    with opener() as opened:
        yield opened


@contextmanager
def scratch(path=None):
    with closing(SqliteDatabase(path, durable=False)) as store:
        store.adopt()
        yield store


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.long)])
def stores(request):
    """Makes empty stores, in memory and in schemas of PostgreSQL."""
    if request.param == "memory":
        return scratch
    schemas = (
        postgres_schema(f"{request.getfixturevalue('postgres_url')}&schema=p{number}")
        for number in itertools.count()
    )

    @contextmanager
    def in_schema():
        with closing(open_projections(next(schemas))) as store:
            yield store

    return in_schema


on_both = pytest.mark.parametrize(
    ("kind", "stores"),
    [
        pytest.param(
            kind,
            place,
            id=f"{kind.name}-{place}",
            marks=[pytest.mark.long] if place == "postgres" and kind.name not in {"lakes", "columns"} else [],
        )
        for kind in PROJECTIONS
        for place in ("memory", "postgres")
    ],
    indirect=["stores"],
)
"""On both databases. By default two projections are on PostgreSQL: one of many tables, and one that is folded on demand."""


def dump(store, *projections):
    return rows_by_table(store, projections)


def folded(log, kind, page_events=50_000, stops=()):
    """Fold the whole log afresh and return the tables; with `stops` in several runners one after the other."""
    with scratch() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_module, "_PAGE_EVENTS", page_events)
        for _ in stops:
            projection = kind(log)
            runner = Runner(log, store, [projection])
            runner._step([projection], log.head())
        projection = kind(log)
        Runner(log, store, [projection]).catch_up_all()
        return dump(store, projection)


def folded_together(log, kinds):
    """Fold the whole log afresh for several projections, which read it once, and return the tables of each."""
    with scratch() as store:
        projections = [kind(log) for kind in kinds]
        Runner(log, store, projections).catch_up_all()
        return {type(projection): dump(store, projection) for projection in projections}


@pytest.fixture(scope="module")
def whole(rich):
    """The tables of each projection, folded alone from the whole log at once."""
    with closing(framelode.connect(rich)) as engine:
        return {kind: folded(engine.log, kind) for kind in PROJECTIONS}


@each
class TestCuts:
    def test_the_log_has_something_for_every_table(self, whole, kind):
        assert whole[kind]
        assert all(whole[kind].values()), "rich_log.steps does nothing that this projection reads"

    @pytest.mark.parametrize("page_events", [1, 2, 7, 20])
    def test_page_by_page(self, log, whole, kind, page_events):
        assert folded(log, kind, page_events) == whole[kind]

    def test_restarted_after_every_page(self, log, whole, kind):
        batches = sum(1 for _ in log.headers())
        assert folded(log, kind, 1, stops=range(batches)) == whole[kind]

    def test_rebuilt(self, log, whole, kind, stores):
        with stores() as store:
            projection = kind(log)
            runner = Runner(log, store, [projection])
            runner.catch_up_all()
            with store.write() as connection:
                for table in projection.metadata.sorted_tables:
                    connection.execute(sa.delete(table))
            runner.rebuild(projection)
            assert dump(store, projection) == whole[kind]
            assert runner.position(projection) == log.head().position

    def test_a_rebuild_goes_on_where_one_was_interrupted(self, log, whole, kind, monkeypatch, stores):
        monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 5)
        told = []

        def interrupt(done, total):
            told.append(done)
            if len(told) == 4:
                raise KeyboardInterrupt

        with stores() as store:
            projection = kind(log)
            with pytest.raises(KeyboardInterrupt):
                Runner(log, store, [projection]).rebuild(projection, interrupt)
            interrupted = told.copy()
            Runner(log, store, [projection]).rebuild(projection, lambda done, total: told.append(done))
            assert dump(store, projection) == whole[kind]
            assert told[len(interrupted)] > interrupted[-1]

    def test_what_others_record_changes_nothing(self, folder, whole, kind):
        """Rows of its own for a foreign stream are all that it may leave."""
        with closing(framelode.connect(folder)) as engine:
            rich_log.append_foreign_events(engine, "another application")
            found = folded(engine.log, kind)
        for table, rows in found.items():
            assert [row for row in rows if "another application" not in row] == whole[kind][table]


def test_followed_while_it_grows(stores):
    with closing(framelode.connect("sqlite://")) as engine, engine, ExitStack() as stack:
        followed = []
        for kind in PROJECTIONS:
            store, projection = stack.enter_context(stores()), kind(engine.log)
            followed.append((store, projection, Runner(engine.log, store, [projection])))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for _ in rich_log.steps(engine):
            fresh = folded_together(engine.log, PROJECTIONS)
            for store, projection, runner in followed:
                runner.catch_up(projection)
                assert dump(store, projection) == fresh[type(projection)]
                assert runner.position(projection) == engine.log.head().position


@examples(8, 20)
@given(histories.steps, st.data())
def test_any_partition_merged_in_any_nesting(history, data):
    with closing(framelode.connect("sqlite://")) as engine, engine, scratch() as store:
        histories.play(engine, history)
        head = engine.log.head().position
        cuts = sorted(data.draw(st.sets(st.integers(1, head), max_size=6)) | {0, head})
        stretches = [
            stretch
            for start, stop in pairwise(cuts)
            if (stretch := fold_stretch(lambda: closing_not(engine.log), FOLDED, start, stop))
        ]
        for number, kind in enumerate(FOLDED):
            projection = kind(engine.log)
            parts = [stretch.folded[number] for stretch in stretches]
            while len(parts) > 1:
                at = data.draw(st.integers(0, len(parts) - 2))
                parts[at : at + 2] = [projection.merge(*parts[at : at + 2])]
            with store.write() as connection:
                projection.metadata.create_all(connection)
                for part in parts:
                    projection.write(connection, part)
            assert dump(store, projection) == folded(engine.log, kind)


def test_parts_of_a_store_that_is_deleted_and_made_again():
    with closing(framelode.connect("sqlite://")) as engine, engine, scratch() as store:
        for value in (1, 2):
            settings = framelode.ExecutionStore.create("settings")
            settings.set(f"key {value}", value)
            if value == 1:
                settings.service.delete_store("settings")
        head = engine.log.head().position
        projection = Stores(engine.log)
        parts = [
            fold_stretch(lambda: closing_not(engine.log), [Stores], start, start + 1).folded[0]
            for start in range(head)
        ]
        with store.write() as connection:
            projection.metadata.create_all(connection)
            projection.write(connection, functools.reduce(projection.merge, parts))
        assert dump(store, projection) == folded(engine.log, Stores)


@each_folded
class TestPartitions:
    def test_on_threads(self, log, whole, kind, monkeypatch, stores):
        monkeypatch.setattr(runner_module, "_STRETCH_EVENTS", 20)
        with ThreadPoolExecutor(3) as pool, stores() as store:
            projection = kind(log)
            runner = Runner(log, store, [projection])
            told = []
            runner.catch_up_all(lambda done, total: told.append((done, total)), pool)
            assert dump(store, projection) == whole[kind]
            assert len(told) > 3
            assert told[-1] == (log.head().position, log.head().position)
            runner.rebuild(executor=pool)
            assert dump(store, projection) == whole[kind]

    def test_stretches_that_somebody_else_has_folded_are_dropped(self, log, whole, kind, monkeypatch, stores):
        monkeypatch.setattr(runner_module, "_STRETCH_EVENTS", 20)
        with ThreadPoolExecutor(1) as pool, stores() as store:
            projection, other = kind(log), kind(log)
            runner = Runner(log, store, [projection])

            def overtake(done, total):
                Runner(log, store, [other]).catch_up_all()

            runner.catch_up_all(overtake, pool)
            assert dump(store, projection) == whole[kind]


@contextmanager
def closing_not(log):
    """Lend a log that stays open."""
    yield log


class TestTogether:
    @pytest.fixture
    def store(self, stores):
        with stores() as store:
            yield store

    def all_of(self, log):
        return [kind(log) for kind in PROJECTIONS]

    def expected(self, whole):
        return {name: rows for tables in whole.values() for name, rows in tables.items()}

    @pytest.mark.parametrize("page_events", [1, 9, 1000])
    def test_from_different_positions(self, log, whole, store, monkeypatch, page_events):
        projections = self.all_of(log)
        runner = Runner(log, store, projections)
        monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 4)
        for steps, projection in enumerate(projections):
            for _ in range(3 * steps):
                runner._step([projection], log.head())
        monkeypatch.setattr(runner_module, "_PAGE_EVENTS", page_events)
        runner.catch_up_all()
        assert dump(store, *projections) == self.expected(whole)

    def test_in_processes(self, log, whole, store, monkeypatch):
        monkeypatch.setattr(runner_module, "_STRETCH_EVENTS", 20)
        projections = self.all_of(log)
        with ProcessPoolExecutor(2, FORKED, worker_parts.attach_all) as pool:
            Runner(log, store, projections).rebuild(projections, executor=pool)
        assert dump(store, *projections) == self.expected(whole)

    def test_what_fits_no_memory_is_opened_again(self, log, whole, store, monkeypatch):
        monkeypatch.setattr("framelode.projections.pages._KEPT_BYTES", 200)
        projections = self.all_of(log)
        Runner(log, store, projections).catch_up_all()
        assert dump(store, *projections) == self.expected(whole)

    def test_a_body_is_read_once_for_all(self, log, store, monkeypatch):
        asked = []
        read = log.bodies
        monkeypatch.setattr(log, "bodies", lambda firsts: asked.extend(firsts) or read(firsts))
        together = [each for each in self.all_of(log) if each.name != "stats" and not each.on_demand]
        Runner(log, store, together).catch_up_all()
        assert len(asked) == len(set(asked)) > 5

    def test_an_engine_in_memory_has_no_other_processes(self, store):
        with framelode.connect("sqlite://") as engine, ThreadPoolExecutor(1) as pool:
            rich_log.play(engine)
            with pytest.raises(UsageError, match="in memory"):
                engine.rebuild(executor=pool)
        engine.close()

    def test_stretches_come_in_order(self, log):
        with ThreadPoolExecutor(2) as pool:
            stretches = list(fold_stretches(pool, log.opener(), FOLDED, 0, log.head().position, 3))
        reached = [0, *(stretch.position for stretch in stretches)]
        assert [stretch.after for stretch in stretches] == reached[:-1]
        assert reached[-1] == log.head().position
        assert [stretch.digest for stretch in stretches] == [
            log.batch_at(stretch.position).digest for stretch in stretches
        ]


@on_both
class TestExactlyOnce:
    def test_a_fold_that_fails_half_way(self, log, whole, kind, monkeypatch, stores):
        """What a failing page has written is gone, its tracking row too; the next try counts it once."""
        monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 5)
        failures = iter([False, False, True, False, True, True])

        class Failing(kind):
            topics = None  # every page is folded

            def apply(self, connection, batches):
                super().apply(connection, batches)
                if next(failures, False):
                    raise RuntimeError("the fold failed")

        with stores() as store:
            projection = Failing(log)
            runner = Runner(log, store, [projection])
            for _ in range(3):
                with pytest.raises(RuntimeError, match="the fold failed"):
                    runner.catch_up_all()
            runner.catch_up_all()
            assert dump(store, projection) == whole[kind]

    def test_two_runners_take_turns(self, log, whole, kind, monkeypatch, stores):
        monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 5)
        with stores() as store:
            projections = [kind(log), kind(log)]
            runners = [Runner(log, store, [projection]) for projection in projections]
            reached = 0
            while reached < log.head().position:
                for runner, projection in zip(runners, projections, strict=True):
                    runner._step([projection], log.head())
                    reached = runner.position(projection)
            assert dump(store, projections[0]) == whole[kind]


class TestLogs:
    @pytest.fixture
    def stores(self, tmp_path):
        """A database for each projection."""
        with ExitStack() as stack:
            yield {
                kind: stack.enter_context(scratch(tmp_path / f"{number}.db"))
                for number, kind in enumerate(PROJECTIONS)
            }

    @pytest.mark.parametrize("grows", [0, 1, 8], ids=["shorter", "a little", "longer"])
    def test_a_restored_older_log(self, folder, grows, tmp_path, stores):
        shutil.copy(folder / "log.db", tmp_path / "older.db")
        self.grow(folder, 4, "lost")
        self.follow(folder, stores)
        shutil.move(tmp_path / "older.db", folder / "log.db")
        self.grow(folder, grows, "instead")
        assert self.follow(folder, stores) == self.fresh(folder)

    def test_another_log_is_refused(self, folder, tmp_path, stores):
        with closing(framelode.connect(tmp_path / "other")) as engine, engine:
            rich_log.play(engine)
            rich_log.append_foreign_events(engine)
        for kind, store in stores.items():
            before = self.follow(folder, {kind: store})
            with pytest.raises(UsageError, match="holds the projections of the log"):
                self.follow(tmp_path / "other", {kind: store})
            assert self.follow(folder, {kind: store}) == before

    def grow(self, folder, count, label):
        with framelode.connect(folder) as engine:
            draft = DatasetVersion.get_current(dataset_name="meals")
            for number in range(count):
                draft.add_frames(rich_log.frames(number, number + 3, label))
        engine.close()

    def follow(self, folder, stores):
        with closing(framelode.connect(folder)) as engine:
            found = {}
            for kind, store in stores.items():
                projection = kind(engine.log)
                Runner(engine.log, store, [projection]).catch_up_all()
                found[kind] = dump(store, projection)
            return found

    def fresh(self, folder):
        with closing(framelode.connect(folder)) as engine:
            return folded_together(engine.log, PROJECTIONS)


@on_both
class TestReleases:
    def test_another_code_version_has_tables_of_its_own(self, log, whole, kind, stores):
        newer = type("Newer", (kind,), {"code_version": kind.code_version + 1})
        with stores() as store:
            old, new = kind(log), newer(log)
            runner = Runner(log, store, [old])
            runner.catch_up_all()
            Runner(log, store, [new]).catch_up_all()
            assert dump(store, old) == whole[kind]
            assert list(dump(store, new).values()) == list(whole[kind].values())
            assert not set(dump(store, new)) & set(whole[kind])
            runner.rebuild(old)
            assert dump(store, old) == whole[kind]
            assert runner.position(old) == Runner(log, store, [new]).position(new) == log.head().position

    def test_tables_of_another_shape_are_folded_afresh(self, log, whole, kind, stores):
        with stores() as store:
            projection = kind(log)
            Runner(log, store, [projection]).catch_up_all()
            with store.write() as connection:
                for table in projection.metadata.sorted_tables:
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN more TEXT")
                connection.exec_driver_sql("UPDATE projection_tracking_v1 SET shape = 'another'")
            again = kind(log)
            Runner(log, store, [again]).catch_up_all()
            assert dump(store, again) == whole[kind]


def test_a_deleted_projections_database_comes_back(folder, whole):
    (folder / "projections.db").unlink()
    with closing(framelode.connect(folder)) as engine:
        engine.catch_up()
        found = dump(engine.session.runner.store, *engine.session.runner.projections)
        assert found == {name: rows for tables in whole.values() for name, rows in tables.items()}
        engine.verify()
