"""Several engines, logs and releases on one PostgreSQL server, and its own upkeep: nobody stands in another's way."""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack, closing

import postgres_server
import pytest
from patience import join

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.sql.postgres import guards as postgres_guards
from framelode.adapters.sql.postgres.database import PostgresDatabase
from framelode.engine.errors import StorageError
from framelode.projections.runner import Runner
from framelode.projections.tables.stats import Stats

AT_ONCE = "SET lock_timeout TO '100ms'"
"""Whoever would have to wait for a lock is refused it."""


@pytest.fixture
def maintenance(postgres_url):
    """A session of the server's administrator."""
    with postgres_server._connect(postgres_url) as connection:
        connection.execute(AT_ONCE)
        yield connection


@pytest.fixture
def engine(postgres_url):
    with framelode.connect(postgres_url) as opened, closing(opened):
        yield opened
        opened.verify()


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    made = DatasetVersion.get_current(dataset_name="d")
    made.add_frames(frames(0, 20), batch_size=2)
    return made


def frames(start, stop):
    return [SingleFrame(id=f"{number:032x}", metadata={"number": number}) for number in range(start, stop)]


def tables(maintenance):
    query = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname LIKE 'framelode%'"
    return [name for (name,) in maintenance.execute(query)]


def sessions(maintenance):
    """Return the state of every other session, and whether it keeps old rows from being removed."""
    query = """SELECT state, backend_xmin IS NOT NULL OR backend_xid IS NOT NULL FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
    return set(maintenance.execute(query).fetchall())


class TestUpkeep:
    def test_an_idle_engine_holds_nothing(self, engine, draft, maintenance):
        draft.get_stats()
        list(draft.history(f"{1:032x}"))
        some = iter(draft), engine.log.headers(), engine.log.appends()
        for each in some:
            next(each)
        assert sessions(maintenance) == {("idle", False)}
        with pytest.raises(StorageError), engine.log.database.write() as connection:
            connection.exec_driver_sql("SELECT 1 / 0")
        assert sessions(maintenance) == {("idle", False)}

    def test_a_writer_does_not_keep_it_off(self, engine, draft, maintenance, monkeypatch):
        draft.get_stats()
        append, vacuumed = engine.log.append, []

        def vacuum_amid(request):
            return append(request, vacuum)

        def vacuum(log_connection):
            with engine.session.database.write() as connection:
                for table in engine.session.projection(Stats).metadata.sorted_tables:
                    column = table.columns[0].name
                    connection.exec_driver_sql(f"UPDATE {table.name} SET {column} = {column}")
                assert ("idle in transaction", True) in sessions(maintenance)
                for name in tables(maintenance):
                    maintenance.execute(f"VACUUM (FREEZE, ANALYZE) {name}".encode())
                    vacuumed.append(name)

        monkeypatch.setattr(engine.log, "append", vacuum_amid)
        draft.add_frames(frames(20, 21), refresh_version_stats=False)
        written = {
            f"framelode_projections.{table.name}"
            for table in engine.session.projection(Stats).metadata.sorted_tables
        }
        assert {"framelode.record_batch", "framelode.record_body", *written} <= set(vacuumed)
        assert len(draft) == 21

    def test_a_long_reader_keeps_nobody_off(self, engine, draft, postgres_url, maintenance):
        with postgres_server._connect(postgres_url) as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            counted = "SELECT sum(count) FROM framelode.record_batch"
            before = reader.execute(counted).fetchone()
            draft.add_frames(frames(20, 30))
            draft.publish_version()
            engine.rebuild()
            maintenance.execute("VACUUM framelode.record_batch")
            assert reader.execute(counted).fetchone() == before
            reader.execute("COMMIT")
            assert reader.execute(counted).fetchone()[0] == engine.log.head().position

    def test_a_long_log_makes_no_append_slow(self, engine, draft, maintenance):
        """The triggers look everything up by indexes, also by the plans of a session that has lasted."""
        draft.add_frames(frames(20, 320), batch_size=1)
        maintenance.execute("SET plan_cache_mode TO force_generic_plan")
        for table in ("append", "record_batch", "record_body"):
            condition = postgres_guards._IN_ORDER[table][0].format(schema="framelode")
            given = sorted(set(re.findall(r"NEW\.\w+", condition)))
            for number, name in enumerate(given, 1):
                condition = condition.replace(name, f"${number}")
            maintenance.execute(f"PREPARE {table} AS SELECT {condition}".encode())
            plan = f"EXPLAIN EXECUTE {table}({', '.join(['NULL'] * len(given))})"
            lines = [line for (line,) in maintenance.execute(plan.encode())]
            assert "Index" in "".join(lines)
            assert "Seq Scan" not in "".join(lines), lines


class TestTwoLogs:
    @pytest.fixture
    def engines(self, postgres_url):
        mark = "&" if "?" in postgres_url else "?"
        with ExitStack() as opened:
            yield [
                opened.enter_context(closing(framelode.connect(f"{postgres_url}{mark}schema={name}")))
                for name in ("one", "two")
            ]

    def test_each_is_whole(self, engines):
        for number, engine in enumerate(engines, 1):
            with engine:
                DatasetVersion.create_new_dataset("d")
                draft = DatasetVersion.get_current(dataset_name="d")
                draft.add_frames(frames(0, 10 * number))
                draft.publish_version()
        for number, engine in enumerate(engines, 1):
            assert engine.log.head().position == 6 + 10 * number
            assert list(engine.session.version_totals().values()) == [10 * number]
            engine.rebuild()
            engine.verify()
        assert engines[0].log.uuid != engines[1].log.uuid

    def test_writers_of_one_do_not_wait_for_those_of_the_other(self, engines):
        one, two = engines
        keys = {engine.log.database.lock_key for engine in engines}
        keys |= {engine.session.database.lock_key for engine in engines}
        assert len(keys) == 4
        with ExitStack() as held:
            held.enter_context(one.log.exclusive())
            held.enter_context(one.session.database.write())
            with two:
                DatasetVersion.create_new_dataset("d")
                assert two.session.version_totals() == {}

    def test_a_second_writer_of_one_waits(self, engines, postgres_url):
        place = engines[0].log.database.place
        with closing(PostgresDatabase(place)) as rival:
            order = []

            def write():
                with rival.write():
                    order.append("rival")

            writing = threading.Thread(target=write)
            with engines[0].log.exclusive():
                writing.start()
                waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                with postgres_server._connect(postgres_url) as connection:
                    while not connection.execute(waiting).fetchone()[0]:
                        assert writing.is_alive()
                order.append("first")
            join(writing)
            assert order == ["first", "rival"]


class NextStats(Stats):
    code_version = Stats.code_version + 1


class TestTwoReleases:
    def test_projections_of_both_stand_side_by_side(self, engine, draft, postgres_url):
        with closing(framelode.connect(postgres_url)) as other:
            new = NextStats(other.log)
            runner = Runner(other.log, other.session.database, [new])
            for number in range(3):
                with engine:
                    draft.add_frames(frames(20 + number, 21 + number))
                runner.catch_up_all()
                engine.catch_up()
                runner.rebuild()
                with other.session.database.read() as connection:
                    assert (
                        new.totals(connection)
                        == engine.session.version_totals()
                        == {draft.version_id: 21 + number}
                    )
            old = Runner(engine.log, engine.session.database, [engine.session.projection(Stats)])
            assert (
                old.position(engine.session.projection(Stats))
                == runner.position(new)
                == engine.log.head().position
            )
