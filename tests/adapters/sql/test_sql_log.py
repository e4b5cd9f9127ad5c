"""The log in SQL: appends whole or not at all, positions without gap, time that never runs backwards, reads by page."""

from __future__ import annotations

import gc
import itertools
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE, join
from sizes import examples
from sqlalchemy import event

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.sql.log import reads as log_reads
from framelode.adapters.sql.log import stored_batches
from framelode.adapters.sql.log.log import SqlLog
from framelode.adapters.sql.open import open_database
from framelode.adapters.sql.recorder import SqlFactory
from framelode.adapters.sql.sqlite import database as database_module
from framelode.adapters.sql.sqlite import write_lock
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.adapters.sql.sqlite.write_lock import WriteLock
from framelode.engine.errors import (
    ConcurrencyError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    StorageError,
    UsageError,
)
from framelode.engine.log.batch import EVENTS_SCHEMA, FRAMES_SCHEMA, genesis_digest, pack_batch
from framelode.engine.log.contract import Append, AppendExistsError, StreamConflictError
from framelode.projections.statements import CompiledStatement

commands = itertools.count()


def batch(stream="s", first_version=1, count=1, schema=EVENTS_SCHEMA):
    keys = bytes(33 * count) if schema == FRAMES_SCHEMA else b""
    return pack_batch(stream, first_version, schema, ["T"], [b"\xc0"] * count, keys)


def append(*batches, command_id=None, **values):
    command_id = command_id or f"command {next(commands)}"
    return Append(batches=batches, command_id=command_id, request_digest=b"", actor="me", **values)


class Clock:
    def __init__(self):
        self.now = 1000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "file", "postgres"])
def log(request, place_of, clock):
    with closing(SqlLog(open_database(place_of(request.param)), clock, lambda: "the log")) as opened:
        yield opened


class TestAppend:
    def test_positions_and_versions_run_on(self, log):
        first = log.append(append(batch("a", 1, 3), batch("b", 1, 2)))
        second = log.append(append(batch("a", 4, 1)))
        assert (first.append_id, first.first_position, first.last_position) == (1, 1, 5)
        assert (second.append_id, second.first_position, second.last_position) == (2, 6, 6)
        found = [
            (h.first_position, h.count, h.stream_id, h.first_version, h.append_id) for h in log.headers()
        ]
        assert found == [(1, 3, "a", 1, 1), (4, 2, "b", 1, 1), (6, 1, "a", 4, 2)]
        assert (log.stream_version("a"), log.stream_version("b"), log.stream_version("c")) == (4, 2, None)

    def test_the_chain_runs_from_genesis_to_head(self, log):
        assert log.head().digest == genesis_digest("the log")
        assert (log.head().position, log.head().recorded_at) == (0, 0)
        log.append(append(batch("a", 1, 3), batch("b", 1, 2)))
        one, two = log.headers()
        assert one.previous_digest == genesis_digest("the log")
        assert two.previous_digest == one.digest != two.digest
        assert log.head().digest == two.digest

    def test_a_time_never_runs_backwards(self, log, clock):
        for now in (1000, 500, 2000, 1999, -5):
            clock.now = now
            log.append(append(batch(f"s{now}")))
        assert [header.recorded_at for header in log.headers()] == [1000, 1000, 2000, 2000, 2000]
        assert log.head().recorded_at == 2000

    @pytest.mark.parametrize("first_version", [1, 2, 4, 5, 0, -1])
    def test_a_batch_must_follow_its_stream(self, log, first_version):
        log.append(append(batch("a", 1, 2)))
        with pytest.raises(
            StreamConflictError, match=f"stream a is at version 2, the append expected {first_version - 1}"
        ):
            log.append(append(batch("b"), batch("a", first_version)))
        assert log.head().position == 2
        assert log.stream_version("b") is None, "all of an append or nothing"
        assert list(log.appends())[-1].last_position == 2

    def test_a_stream_conflict_is_what_both_worlds_expect(self, log):
        from eventsourcing.persistence import IntegrityError as Theirs
        from eventsourcing.persistence import StoredEvent

        from framelode.adapters.sql.recorder import SqlAggregateRecorder

        recorder = SqlAggregateRecorder(log, lambda: "command")
        log.append(append(batch("a", 1, 2)))
        with pytest.raises(Theirs) as caught:
            recorder.insert_events([StoredEvent("a", 7, "Topic", b"")])
        assert isinstance(caught.value, StreamConflictError)
        assert isinstance(caught.value, ConcurrencyError)
        assert str(caught.value).startswith("stream a is at version 2, the append expected 6")

    def test_a_stream_may_begin_anywhere(self, log):
        log.append(append(batch("a", 17, 2)))
        assert log.stream_version("a") == 18
        log.append(append(batch("a", 19)))

    def test_two_batches_of_one_stream_in_one_append(self, log):
        log.append(append(batch("a", 1, 2), batch("b"), batch("a", 3, 2)))
        assert log.stream_version("a") == 4
        with pytest.raises(StreamConflictError):
            log.append(append(batch("c", 1, 2), batch("c", 2)))
        assert log.stream_version("c") is None

    def test_each_part_of_a_command_once(self, log):
        log.append(append(batch("a"), command_id="c", part=0, is_last=False, result=b"r"))
        log.append(append(batch("a", 2), command_id="c", part=2))
        with pytest.raises(AppendExistsError, match="part 2 of command c"):
            log.append(append(batch("a", 3), command_id="c", part=2))
        assert issubclass(AppendExistsError, ConflictError)
        assert log.head().position == 2
        assert log.find_append("c").part == 2
        assert log.find_append("c", 0).result == b"r"
        assert log.find_append("c", 0).is_last is False
        assert log.find_append("c", 1) is log.find_append("d") is None

    def test_an_append_needs_a_batch(self, log):
        with pytest.raises(UsageError, match="at least one batch"):
            log.append(append())

    def test_what_runs_along_fails_together(self, log):
        def refuse(connection):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            log.append(append(batch("a")), refuse)
        assert log.head().position == 0
        log.append(append(batch("a")), lambda connection: None)
        assert log.head().position == 1

    def test_many_threads(self, log):
        def write(number):
            for version in range(1, 11):
                log.append(append(batch(f"s{number}", version)))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert [header.first_position for header in log.headers()] == list(range(1, 41))
        assert [log.stream_version(f"s{number}") for number in range(4)] == [10] * 4


class TestReading:
    @pytest.fixture
    def small_pages(self, monkeypatch):
        monkeypatch.setattr(log_reads, "PAGE_ROWS", 3)
        monkeypatch.setattr(log_reads, "_FIRST_PAGE_ROWS", 2)

    @examples(10, 30)
    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.booleans()), max_size=12), st.data()
    )
    def test_headers_by_range_and_stream(self, written, data):
        with (
            pytest.MonkeyPatch.context() as patch,
            closing(SqlLog(SqliteDatabase(None), lambda: 0, lambda: "x")) as log,
        ):
            patch.setattr(log_reads, "PAGE_ROWS", 3)
            versions = dict.fromkeys("ab", 1)
            for stream, count, frames in written:
                log.append(
                    append(batch(stream, versions[stream], count, FRAMES_SCHEMA if frames else EVENTS_SCHEMA))
                )
                versions[stream] += count
            everything = list(log.headers())
            head = log.head().position
            gt, lte = data.draw(st.integers(0, head + 2)), data.draw(st.none() | st.integers(0, head + 2))
            stream = data.draw(st.sampled_from([None, "a", "b", "c"]))
            schema = data.draw(st.sampled_from([None, FRAMES_SCHEMA, EVENTS_SCHEMA]))
            assert list(log.headers(gt=gt, lte=lte, stream_id=stream, schema=schema)) == [
                header
                for header in everything
                if header.last_position > gt
                and (lte is None or header.first_position <= lte)
                and stream in {None, header.stream_id}
                and schema in {None, header.schema}
            ]
            for position in range(1, head + 1):
                (holding,) = [h for h in everything if h.first_position <= position <= h.last_position]
                assert log.batch_at(position) == holding
            positions = data.draw(st.lists(st.integers(1, head), max_size=20)) if head else []
            wanted = {log.batch_at(position).first_position for position in positions}
            found = log.first_positions(positions)
            assert wanted <= {first for first, _ in found}
            assert found == sorted(set(found))

    def test_positions_that_are_not_there(self, log):
        for position in (0, 1, -1):
            with pytest.raises(NotFoundError, match=f"no position {position}"):
                log.batch_at(position)
        log.append(append(batch("a", 1, 3)))
        assert log.batch_at(3).first_position == 1
        with pytest.raises(NotFoundError):
            log.batch_at(4)

    def test_stream_rows_in_pages(self, log, small_pages):
        version = 1
        for count in (3, 1, 4, 1, 5, 9, 2):
            log.append(
                append(batch("a", version, count, FRAMES_SCHEMA), batch("b", version, count, FRAMES_SCHEMA))
            )
            version += count
        log.append(append(batch("a", version)))
        pages = list(log.stream_rows("a"))
        assert [page.count for page in pages] == [3, 1, 4, 1, 5, 9, 2]
        assert [page.first_version for page in pages] == [1, 4, 5, 9, 10, 15, 24]
        assert [page.first_version for page in log.stream_rows("a", after=8)] == [9, 10, 15, 24]
        assert [page.first_position for page in log.stream_rows("a", lte=9)] == [1, 7, 9]
        assert list(log.stream_rows("nobody")) == []

    def test_rows_and_bodies_at_positions(self, log):
        for version in range(1, 21):
            log.append(append(batch("a", version, 1, FRAMES_SCHEMA)))
        wanted = [1, 5, 6, 7, 11, 12, 13, 14, 15, 20]
        assert list(log.rows_at(wanted)) == wanted
        assert [body.first_position for body in log.bodies(wanted)] == wanted
        assert log.rows_at([]) == {}
        assert list(log.bodies([])) == []
        for read in (log.rows_at, lambda positions: list(log.bodies(positions))):
            with pytest.raises(IntegrityError, match="lacks a batch") as error:
                read([20, 21])
            assert error.value.position == 21

    def test_a_reader_of_pages_sees_a_prefix(self, log, small_pages):
        for version in range(1, 11):
            log.append(append(batch("a", version)))
        reading = log.headers()
        seen = [next(reading).first_position for _ in range(4)]
        log.append(append(batch("a", 11)))
        seen += [header.first_position for header in reading]
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) in {10, 11}

    def test_appends_in_pages(self, log, small_pages):
        for version in range(1, 8):
            log.append(append(batch("a", version)))
        assert [found.append_id for found in log.appends()] == list(range(1, 8))
        assert log.append_header(3).first_position == 3
        with pytest.raises(IntegrityError, match="append 9 is missing"):
            log.append_header(9)

    def test_a_sound_log_has_nothing_to_report(self, log):
        log.append(append(batch("a")))
        assert log.check_tables() == []


class TestTwoLogsOnOneDatabase:
    @pytest.fixture(params=["file", "postgres"])
    def place(self, request, place_of):
        return place_of(request.param)

    @pytest.fixture
    def pair(self, place, clock):
        uuids = map("log {}".format, itertools.count()).__next__
        logs = [SqlLog(open_database(place), clock, uuids) for _ in range(2)]
        yield logs
        for log in logs:
            log.close()

    def test_are_one_log(self, pair):
        one, other = pair
        assert one.uuid == other.uuid == "log 0"
        for version in range(1, 6):
            (one, other)[version % 2].append(append(batch("a", version)))
            assert one.head() == other.head()
            assert one.head().position == version
        assert list(one.headers()) == list(other.headers())

    def test_see_each_other_while_a_reader_pages(self, pair):
        one, other = pair
        one.append(append(batch("a")))
        held = other.headers()
        next(held)
        one.append(append(batch("a", 2)))
        assert other.head().position == 2

    def test_conflicts_are_seen_across(self, pair):
        one, other = pair
        one.append(append(batch("a"), command_id="c"))
        with pytest.raises(StreamConflictError):
            other.append(append(batch("a")))
        with pytest.raises(AppendExistsError):
            other.append(append(batch("a", 2), command_id="c"))

    def test_created_at_once_they_have_one_identity(self, place):
        barrier = threading.Barrier(4, timeout=PATIENCE)

        def create(number):
            barrier.wait()
            with closing(SqlLog(open_database(place), lambda: 0, lambda: f"log {number}")) as log:
                log.append(append(batch(f"s{number}")))
                return log.uuid

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(create, range(4)))) == 1
        with closing(SqlLog(open_database(place), lambda: 0, lambda: "x")) as log:
            assert log.head().position == 4

    def test_a_writer_that_stays_away_is_a_storage_error(self, tmp_path, monkeypatch):
        monkeypatch.setattr(database_module, "LOCK_TIMEOUT_SECONDS", 0.05)
        with closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as log:
            with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as rival:
                rival.execute("BEGIN IMMEDIATE")
                with pytest.raises(StorageError, match="locked"):
                    log.append(append(batch("a")))
                assert log.head().position == 0
                rival.execute("ROLLBACK")
            assert log.append(append(batch("a"))).last_position == 1


class TestStoredBatches:
    def test_they_are_read_in_pages_of_bounded_size(self, log, monkeypatch):
        monkeypatch.setattr(stored_batches, "PAGE_BYTES", 1000)
        content, pages, read = random.Random(0), [], log._stored
        sizes = [1500, 100, 300, 300, 300, 1200, 2000, 10, 10]
        given = [
            pack_batch("s", version, EVENTS_SCHEMA, ["T"], [content.randbytes(size)])
            for version, size in enumerate(sizes, 1)
        ]
        log.append(append(*given))

        def noted(headers):
            page = list(read(headers))
            pages.append([len(batch.body) for _, batch in page])
            yield from page

        monkeypatch.setattr(log, "_stored", noted)
        assert [batch.body for _, batch in log.stored_batches(gt=0, lte=len(sizes))] == [
            batch.body for batch in given
        ]
        assert all(len(page) == 1 or sum(page) <= 1000 for page in pages)
        assert all(sum(page) + after[0] > 1000 for page, after in itertools.pairwise(pages))


class TestInterrupts:
    """KeyboardInterrupt at each statement in turn: what was acknowledged is there, and the engine works on."""

    @pytest.fixture(params=["sqlite://", "folder"])
    def engine(self, request, tmp_path):
        with framelode.connect(tmp_path if request.param == "folder" else request.param) as engine:
            yield engine
            engine.verify()
        engine.close()

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_the_engine_works_on(self, engine, when, monkeypatch):
        DatasetVersion.create_new_dataset("d")
        version = DatasetVersion.get_current(dataset_name="d")
        left = []

        def interrupt(*_):
            if left and left.pop() == 0:
                raise KeyboardInterrupt

        def interrupting(function):
            def run(*given):
                if when == "before":
                    interrupt()
                done = function(*given)
                if when == "after":
                    interrupt()
                return done

            return run

        alone = {"before": "do_execute", "after": "after_cursor_execute"}[when]
        for database in (engine.log.database, engine.session.runner.store):
            event.listen(database._engine, alone, interrupt)
        for owner, name in (
            (CompiledStatement, "execute"),
            (CompiledStatement, "execute_many"),
            (database_module, "run"),
        ):
            monkeypatch.setattr(owner, name, interrupting(getattr(owner, name)))
        for statements in range(100):
            count = len(version)
            left[:] = range(statements + 1)
            try:
                version.add_frames([SingleFrame(id=f"{statements}")])
                version.get_stats()
            except KeyboardInterrupt:
                assert len(version) in {count, count + 1}
            else:
                left.clear()
                assert len(version) == count + 1
                break
            assert version.get_stats().total == len(version) == sum(1 for _ in version)
            version.commit_version()
        assert 10 < statements < 99

    @pytest.mark.parametrize("way", ["write", "exclusive"])
    def test_one_that_was_entered_and_never_left_takes_nothing_along(self, tmp_path, way):
        """An interrupt right after the entry, or right before the exit, leaves the block to its traceback."""
        with (
            closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as log,
            closing(sqlite3.connect(tmp_path / "log.db")) as rival,
        ):
            left = getattr(log.database, way)()
            connection = left.__enter__()
            if connection is not None:
                connection.exec_driver_sql("CREATE TABLE half_done (a)")
            for version in (1, 2):
                log.append(append(batch("a", version)))
                recorded = "SELECT count(*) FROM record_batch"
                assert rival.execute(recorded).fetchone() == (version,), "what is acknowledged is committed"
            with log.database.write() as connection:
                connection.exec_driver_sql("CREATE TABLE done (a)")
                del left
            tables = "SELECT name FROM sqlite_master WHERE name LIKE '%done'"
            assert rival.execute(tables).fetchall() == [("done",)]

    def test_exclusive_keeps_others_out_up_to_the_first_append(self, tmp_path, monkeypatch):
        monkeypatch.setattr(database_module, "LOCK_TIMEOUT_SECONDS", 0.05)
        with (
            closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as log,
            closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as rival,
        ):
            with pytest.raises(ZeroDivisionError), log.exclusive():
                1 / 0  # noqa: B018
            with log.exclusive():
                with pytest.raises(StorageError, match="locked"):
                    rival.append(append(batch("b")))
                log.append(append(batch("a")))
                assert rival.head().position == 1
            assert rival.append(append(batch("b"))).last_position == 2

    def test_a_transaction_left_open_is_rolled_back(self, tmp_path):
        with closing(SqliteDatabase(tmp_path / "a.db")) as database:
            database._writer.exec_driver_sql("BEGIN IMMEDIATE")
            with database.write() as connection:
                connection.exec_driver_sql("CREATE TABLE a (b)")
            with database.read() as connection:
                assert connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all() == ["a"]


class TestDatabase:
    def test_is_durable_and_in_wal_mode(self, tmp_path):
        with (
            closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as log,
            log.database.write() as connection,
        ):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"

    def test_the_lock_is_held_until_the_commit_has_returned(self, tmp_path):
        with closing(SqlLog(SqliteDatabase(tmp_path / "log.db"), lambda: 0, lambda: "x")) as log:
            lock, held = log.database._file_lock, []
            log.append(append(batch("a")), lambda connection: held.append(lock.is_locked))
            assert held == [True]
            assert not lock.is_locked

    def test_a_lock_whose_file_was_deleted_is_taken_on_the_new_one(self, tmp_path):
        one, two = (WriteLock(str(tmp_path / "lock"), str(tmp_path / "turn")) for _ in range(2))
        one.acquire(1)
        one.release()
        (tmp_path / "lock").unlink()
        two.acquire(1)
        with pytest.raises(TimeoutError):
            one.acquire(0)
        two.release()
        one.acquire(1)
        one.acquire(1)
        one.release()
        assert one.is_locked
        with pytest.raises(TimeoutError):
            two.acquire(0)
        one.release()
        one.close()
        two.close()

    def test_one_that_waits_has_the_lock_before_who_had_it_last(self, tmp_path, monkeypatch):
        hog, other = (WriteLock(str(tmp_path / "lock"), str(tmp_path / "turn")) for _ in range(2))
        waits, order, sleep = threading.Event(), [], time.sleep

        def wait(seconds):
            waits.set()
            sleep(seconds)

        def write():
            other.acquire(PATIENCE)
            order.append("other")
            other.release()

        monkeypatch.setattr(write_lock.time, "sleep", wait)
        hog.acquire(1)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert waits.wait(PATIENCE)
        finally:
            hog.release()
        hog.acquire(PATIENCE)
        order.append("hog")
        hog.release()
        join(writer)
        assert order == ["other", "hog"]
        hog.close()
        other.close()

    def test_closing_twice_is_no_error(self, log):
        log.close()
        log.close()
        with pytest.raises(UsageError, match="is closed"):
            log.head()

    def test_an_engine_that_was_forgotten_says_nothing(self, tmp_path, recwarn):
        engine = framelode.connect(tmp_path)
        with engine:
            DatasetVersion.create_new_dataset("d")
            DatasetVersion.get_current(dataset_name="d").add_frames([SingleFrame(id="a")])
        framelode.adapters.session.current.deactivate(engine)
        del engine
        gc.collect()
        assert not recwarn.list
        again = framelode.connect(tmp_path)
        assert again.log.head().position == 6
        again.verify()
        again.close()


def test_a_subscription_that_cannot_read_from_the_start_says_why(engine, monkeypatch):
    engine.session.writes.datasets.create_dataset("food")
    recorder = SqlFactory(engine.log, engine.session.new_id).application_recorder()

    def refuse(*_, **__):
        raise StorageError("the server is away")

    monkeypatch.setattr(recorder, "select_notifications", refuse)
    with recorder.subscribe(gt=0) as subscription, pytest.raises(StorageError, match="away"):
        next(subscription)
