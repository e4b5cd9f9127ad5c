"""The whole engine on PostgreSQL, and what only a server has: roles, passwords, connections that are lost."""

from __future__ import annotations

import os
import pickle
import re
import secrets
import sys
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
import rich_log
import sqlalchemy as sa
from command_line import run
from eventsourcing.persistence import Tracking
from forked import FORKED
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from patience import join
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.session import location
from framelode.adapters.sql import recorder as recorder_module
from framelode.adapters.sql.log.log import SqlLog
from framelode.adapters.sql.log.tables import LOG_TABLES
from framelode.adapters.sql.open import open_database
from framelode.adapters.sql.postgres import notify as postgres_watch
from framelode.adapters.sql.postgres.database import PostgresDatabase
from framelode.adapters.sql.recorder import SqlFactory
from framelode.adapters.sql.urls import postgres_schema, with_password_of, without_password
from framelode.engine.errors import IntegrityError, StorageError, UsageError
from framelode.engine.log.contract import Append, AppendExistsError
from framelode.engine.log.event_batch import pack_states


@pytest.fixture
def engine(postgres_url, ticks):
    with framelode.connect(postgres_url, clock=ticks.clock, new_id=ticks.new_id) as opened:
        yield opened
        opened.verify()
    opened.close()


class TestConnect:
    def test_is_found_again(self, engine, postgres_url):
        DatasetVersion.create_new_dataset("d")
        with closing(framelode.connect(postgres_url)) as again:
            assert again.log.uuid == engine.log.uuid
            assert again.dataset("d").name == "d"
        with closing(pickle.loads(pickle.dumps(engine))) as other:
            assert other.log.head() == engine.log.head()

    def test_blobs_have_no_place_until_they_are_told(self, engine, postgres_url, tmp_path):
        with pytest.raises(UsageError, match="no place for file contents.*blobs="):
            engine.blobs.put(b"content")
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        with pytest.raises(UsageError, match="no place for file contents"):
            draft.get_bulk_context(auto_upload_destination="blobs:", local_dataset_root_path=tmp_path)
        with closing(framelode.connect(postgres_url, blobs=tmp_path / "blobs")) as told:
            digest = told.blobs.put(b"content").digest
        with closing(framelode.connect(postgres_url)) as again:
            assert again.blobs.read(digest) == b"content"
        assert list((tmp_path / "blobs").iterdir())

    def test_projections_elsewhere_are_remembered(self, postgres_url, tmp_path):
        for options in ({"projections": tmp_path / "p.db"}, {}):
            with framelode.connect(postgres_url, **options) as engine:
                DatasetVersion.create_new_dataset(f"d{len(options)}")
                engine.verify()
            engine.close()
            assert engine.session.location.projections == tmp_path / "p.db"
        assert (tmp_path / "p.db").exists()


class TestProcesses:
    @pytest.fixture
    def engine(self, postgres_url):
        """An engine of random ids: a child would make the same ones."""
        with framelode.connect(postgres_url) as opened, closing(opened):
            yield opened
            opened.verify()

    def test_a_child_has_connections_of_its_own(self, engine):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames([SingleFrame(id="before")])
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                draft.add_frames([SingleFrame(id="child")])
                os.write(writing, repr(len(draft)).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"2"
        os.close(reading)
        os.close(writing)
        assert len(draft) == 2
        draft.add_frames([SingleFrame(id="after")])
        assert {frame.id for frame in draft} == {"before", "child", "after"}

    def test_a_rebuild_in_other_processes(self, engine):
        rich_log.play(engine)
        with ProcessPoolExecutor(1, mp_context=FORKED) as pool:
            engine.rebuild(executor=pool)
            assert engine.verify(executor=pool).events == engine.log.head().position


class TestCarried:
    def test_a_log_goes_there_and_back(self, postgres_url, tmp_path):
        with closing(framelode.connect(tmp_path / "one")) as first:
            rich_log.play(first)
            first.export_log(tmp_path / "log.jsonl")
            with closing(framelode.connect(postgres_url)) as second:
                report = second.import_log(tmp_path / "log.jsonl")
                assert report.missing_blobs == sorted(first.referenced_blobs()) != []
                assert (second.log.uuid, second.log.head()) == (first.log.uuid, first.log.head())
                second.verify(against=first.checkpoint())
                second.export_log(tmp_path / "again.jsonl")
        assert (tmp_path / "log.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()

    def test_the_past(self, engine, postgres_url):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        head = engine.log.head().position
        draft.add_frames([SingleFrame(id="a")])
        with framelode.connect(postgres_url, as_of=head) as past, closing(past):
            assert len(past.version(draft.version_id)) == 0
            with pytest.raises(UsageError, match="read-only"):
                past.version(draft.version_id).add_frames([SingleFrame(id="b")])


class TestDamage:
    def test_projections_that_are_gone_come_back(self, engine, postgres_url, server):
        rich_log.play(engine)
        totals = engine.session.version_totals()
        server.execute("DROP SCHEMA framelode_projections CASCADE")
        with pytest.raises(IntegrityError, match="drop the schema and connect again"):
            engine.session.version_totals()
        with closing(framelode.connect(postgres_url)) as again:
            assert again.session.version_totals() == totals
            again.verify()

    def test_a_log_without_one_of_its_tables_is_damaged(self, log, postgres_url, server):
        fill(log)
        server.execute("DROP TABLE record_body")
        with pytest.raises(
            IntegrityError, match='relation "record_body" does not exist: the database is damaged'
        ):
            list(log.bodies([1]))
        with pytest.raises(IntegrityError, match="has lost its tables record_body"):
            framelode.connect(postgres_url)


CHANGES = {
    int: ["{0} + 1", "0", "-{0}"],
    str: ["{0} || ' '", "''"],
    bytes: ["{0} || '\\x00'::bytea", "''::bytea", "substr({0}, 2)"],
}


class TestValues:
    """What `test_bit_flips` does to a log on SQLite, on a server, by somebody who has switched the triggers off."""

    @pytest.fixture
    def harmed(self, postgres_url, server):
        """Changes the log, tells whether that is found, and changes it back."""
        with closing(framelode.connect(postgres_url)) as engine, engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            frames = [SingleFrame(id=name, source=f"s3://b/{name}.jpg") for name in ("pizza", "f" * 32)]
            draft.add_frames(frames, batch_size=1, refresh_version_stats=False)
            draft.publish_version()
            for table in LOG_TABLES:
                server.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")

            def harmed(statement):
                kept = {table: server.execute(f"SELECT * FROM {table}").fetchall() for table in LOG_TABLES}
                try:
                    changed = server.execute(statement).rowcount
                except psycopg.errors.UniqueViolation:
                    return None
                rows = {table: server.execute(f"SELECT * FROM {table}").fetchall() for table in LOG_TABLES}
                found = self.found(postgres_url)
                for table, before in kept.items():
                    server.execute(f"DELETE FROM {table}")
                    with server.cursor() as cursor:
                        marks = ", ".join(["%s"] * len(before[0]))
                        cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", before)
                return found if changed and sorted(rows.items()) != sorted(kept.items()) else None

            yield harmed
            assert not self.found(postgres_url)

    def found(self, url):
        try:
            with closing(framelode.connect(url)) as engine:
                engine.verify()
        except (IntegrityError, UsageError) as error:
            return [line for line in getattr(error, "problems", [str(error)]) if "trigger" not in line]
        return []

    @pytest.mark.parametrize("rows", [1, pytest.param(100, marks=pytest.mark.long)])
    @pytest.mark.parametrize("table", LOG_TABLES)
    def test_a_changed_value_is_found(self, harmed, server, table, rows):
        described = server.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT {rows}")
        names, tried = [column.name for column in described.description], 0
        for row in described.fetchall():
            key = f"{names[0]} = '{row[0]}'"
            for name, value in zip(names, row, strict=True):
                for change in CHANGES[type(value)][: 1 if rows == 1 else None]:
                    found = harmed(f"UPDATE {table} SET {name} = {change.format(name)} WHERE {key}")
                    assert found is None or found, (table, name, change)
                    tried += found is not None
        assert tried >= len(names)

    @pytest.mark.sized
    @pytest.mark.parametrize("place", [0, pytest.param(-5, marks=pytest.mark.long)])
    @pytest.mark.parametrize("table", LOG_TABLES[1:])
    def test_a_row_before_the_first_position_is_found(self, harmed, server, table, place):
        described = server.execute(f"SELECT * FROM {table} ORDER BY 1")
        first, *names = [column.name for column in described.description]
        others = ", ".join(f"{name} + 100" if name in {"part", "first_version"} else name for name in names)
        keys = [key for key, *_ in described.fetchall()]
        for key in sized([keys[0], keys[-1]], keys):
            assert harmed(f"UPDATE {table} SET {first} = {place} WHERE {first} = {key}")
            assert harmed(f"INSERT INTO {table} SELECT {place}, {others} FROM {table} WHERE {first} = {key}")
            # For the tail there are checkpoints.
            if table != "record_batch":
                assert harmed(f"DELETE FROM {table} WHERE {first} = {key}")


@pytest.fixture
def log(postgres_url):
    database = open_database(postgres_schema(postgres_url))
    with closing(SqlLog(database, lambda: 0, lambda: "the log")) as opened:
        yield opened


@pytest.fixture
def server(postgres_url):
    """A connection of somebody else, who owns everything."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET search_path TO framelode")
        yield connection


def fill(log, count=3):
    for version in range(1, count + 1):
        log.append(one_event("a", version))


def one_event(stream, version, **values):
    batch = pack_states(stream, version, [("T", b"\xc0")])
    values = {"command_id": f"{stream} {version}", "request_digest": b"", "actor": "me"} | values
    return Append(batches=[batch], **values)


class TestGuards:
    @pytest.mark.parametrize("table", LOG_TABLES)
    @pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
    def test_nothing_is_changed(self, log, server, table, change):
        fill(log)
        column = server.execute(f"SELECT * FROM {table} LIMIT 0").description[0].name
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="the log is append-only"):
            server.execute(change.format(table, column, column))
        assert log.check_tables() == []

    @pytest.mark.parametrize("table", LOG_TABLES)
    @pytest.mark.parametrize(
        "conflict", ["", "ON CONFLICT DO NOTHING", "ON CONFLICT ({0}) DO UPDATE SET {0} = EXCLUDED.{0}"]
    )
    def test_nothing_is_put_in_out_of_order(self, log, server, table, conflict):
        fill(log)
        column = server.execute(f"SELECT * FROM {table} LIMIT 0").description[0].name
        again = f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1 {conflict.format(column)}"
        with pytest.raises(
            psycopg.errors.IntegrityConstraintViolation, match="append-only|must|already|once"
        ):
            server.execute(again)
        if table == "record_batch":
            for skew in ("first_position + 9", "first_position + 1"):
                with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="head of the log"):
                    server.execute(
                        f"""INSERT INTO record_batch SELECT {skew}, count, append_id, 'z', 7, topics, schema,
                        recorded_at, actor, context, previous_digest, keys_digest, body_digest, digest, keys
                        FROM record_batch ORDER BY first_position LIMIT 1"""
                    )

    def test_they_hold_for_a_replica_too(self, log, server):
        fill(log)
        server.execute("SET session_replication_role TO replica")
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            server.execute("DELETE FROM record_body")

    @pytest.mark.parametrize(
        "harm",
        [
            "DROP TRIGGER append_no_delete ON append",
            "ALTER TABLE append DISABLE TRIGGER append_no_delete",
            "ALTER TABLE append ENABLE REPLICA TRIGGER append_no_delete",
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "ALTER FUNCTION refuse() SET search_path TO evil, pg_catalog",
            "ALTER TABLE append ENABLE TRIGGER append_no_delete",
            *(
                f"CREATE OR REPLACE TRIGGER append_no_delete {rule} EXECUTE FUNCTION refuse();"
                "ALTER TABLE append ENABLE ALWAYS TRIGGER append_no_delete"
                for rule in (
                    "BEFORE UPDATE ON append FOR EACH STATEMENT",
                    "AFTER DELETE ON append FOR EACH STATEMENT",
                    "BEFORE DELETE ON append FOR EACH ROW",
                    "BEFORE DELETE ON append FOR EACH STATEMENT WHEN (false)",
                    "BEFORE DELETE OR UPDATE OF part ON append FOR EACH STATEMENT",
                )
            ),
        ],
    )
    def test_verify_misses_them(self, log, server, harm):
        fill(log)
        server.execute(harm)
        (problem, *_) = [line for line in log.check_tables() if "append_no_delete" in line]
        assert (
            "the trigger append_no_delete is missing or was changed, so the log can be overwritten" in problem
        )

    @pytest.mark.parametrize(
        "index", ["append_pkey", "record_batch_stream_id_first_version_key", "record_body_pkey"]
    )
    def test_an_index_that_misses_an_entry_is_found(self, log, server, index):
        fill(log)
        change = f"UPDATE pg_index SET indisready = {{}} WHERE indexrelid = '{index}'::regclass"
        server.execute(change.format("false"))
        log.append(one_event("a", 4))
        server.execute(change.format("true"))
        (problem,) = log.check_tables()
        assert f"the index {index} of table" in problem
        assert problem.endswith("is damaged: it has 3 entries for 4 rows, or different values")

    def test_an_index_that_is_not_valid_is_found(self, log, server):
        fill(log)
        assert log.check_tables() == []
        server.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'append_pkey'::regclass")
        (problem,) = log.check_tables()
        assert "the index append_pkey of table append is damaged: it is not valid" in problem


class TestText:
    @given(st.lists(st.text(st.sampled_from("\0\1\2a\uffff"), max_size=5), min_size=1, max_size=8))
    @examples(10, 30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_comes_back_in_the_order_of_its_bytes(self, log, texts):
        rows = sa.Table(
            f"texts_{uuid4().hex}", sa.MetaData(), sa.Column("text", sa.Text), sa.Column("n", sa.BigInteger)
        )
        with log.database.write() as connection:
            rows.create(connection)
            connection.execute(rows.insert(), [{"text": text, "n": n} for n, text in enumerate(texts)])
        with log.database.read() as connection:
            found = connection.execute(sa.select(rows.c.text).order_by(rows.c.text)).scalars().all()
            assert found == sorted(texts, key=str.encode)
            these = sa.select(sa.func.count()).where(rows.c.text == texts[0])
            assert connection.execute(these).scalar() == texts.count(texts[0])

    def test_whatever_a_user_writes_is_kept(self, engine):
        odd = "a\0b\1c\U0001f600"
        DatasetVersion.create_new_dataset("d", description=odd)
        draft = DatasetVersion.get_current(dataset_name="d")
        frame = SingleFrame(id=odd, source="s3://b/a.jpg")
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[odd, "x" * 5000, secrets.token_hex(5000)])
        with framelode.acting(secrets.token_hex(3000), {"why": odd}):
            draft.add_frames([frame])
        assert engine.dataset("d").description == odd
        assert engine.session.version_counts(draft.version_id)["label", odd] == 1
        assert draft.get_single_frame(odd).id == odd
        assert [change.kind for change in engine.history(actor="nobody")] == []

    def test_a_command_id_too_long_for_an_index_is_refused(self, engine):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        with pytest.raises(UsageError, match="too long for an index of PostgreSQL"):
            draft.add_frames([SingleFrame(id="a")], command_id=secrets.token_hex(5000))
        assert len(draft) == 0


class TestConnections:
    """A connection that is lost is opened again; what was acknowledged is there once."""

    def kill(self, server):
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        server.execute(f"SELECT pg_terminate_backend(pid) {others}")
        # A server that is told to wait looks only every tenth of a second.
        while server.execute(f"SELECT 1 {others}").fetchone():
            pass

    def test_sound_ones_are_used_again(self, log):
        def pids():
            for connect in (log.database.read, log.database.write):
                with connect() as connection:
                    yield connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

        assert list(pids()) == list(pids())

    def test_lost_between_two_calls(self, engine, server):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        for number in range(3):
            self.kill(server)
            draft.add_frames([SingleFrame(id=f"{number}")])
            self.kill(server)
            assert len(draft) == draft.get_stats().total == number + 1

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_append_whose_answer_was_lost_is_recorded_once(self, log, server, when, monkeypatch):
        fill(log)
        commit, lost = PostgresDatabase._commit, []

        def lose(database, connection):
            if when == "after":
                commit(database, connection)
            if not lost:
                lost.append(self.kill(server))
            if when == "before":
                commit(database, connection)
            elif len(lost) == 1:
                lost.append(connection.exec_driver_sql("SELECT 1"))

        monkeypatch.setattr(PostgresDatabase, "_commit", lose)
        along = []
        header = log.append(one_event("a", 4), along.append)
        assert (header.first_position, log.head().position) == (4, 4)
        assert len(along) == (2 if when == "before" else 1)
        with pytest.raises(AppendExistsError):
            log.append(one_event("a", 4))

    def test_a_failed_transaction_is_not_taken_for_committed(self, log):
        with (
            pytest.raises(StorageError, match="the transaction failed and was rolled back"),
            log.database.write() as connection,
            suppress(sa.exc.ProgrammingError),
        ):
            connection.exec_driver_sql("nonsense")
        fill(log)

    def test_lost_inside_exclusive(self, log, server):
        fill(log)
        with pytest.raises(StorageError, match="others may have written since"), log.exclusive():
            self.kill(server)
            log.append(one_event("a", 4))
        with pytest.raises(StorageError), log.exclusive():
            log.require_exclusive()
            self.kill(server)
            log.require_exclusive()
        assert log.append(one_event("a", 4)).first_position == 4

    def test_nobody_is_left_idle_in_a_transaction(self, engine, server):
        DatasetVersion.create_new_dataset("d")
        DatasetVersion.get_current(dataset_name="d").add_frames([SingleFrame(id="a")])
        engine.verify()
        next(engine.history())
        states = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        assert server.execute(states).fetchone() == (0,)

    def test_the_log_is_durable(self, log, engine):
        with log.database.read() as connection, engine.session.runner.store.read() as other:
            found = [one.exec_driver_sql("SHOW synchronous_commit").scalar() for one in (connection, other)]
        assert found == ["on", "off"]


class TestWatching:
    def test_an_append_of_another_process_wakes_at_once(self, log, postgres_url, monkeypatch):
        """Polling would take longer than the test has patience."""
        monkeypatch.setattr(postgres_watch, "_FALLBACK_SECONDS", 1000.0)
        monkeypatch.setattr(recorder_module, "_POLL_SECONDS", 1000.0)
        recorder = SqlFactory(log, lambda: uuid4().hex).application_recorder()
        with (
            recorder.subscribe(gt=0) as subscription,
            closing(SqlLog(open_database(postgres_schema(postgres_url)), lambda: 0, str)) as other,
        ):
            for version in range(1, 4):
                other.append(one_event("a", version))
                assert next(subscription).id == version

    def test_follow(self, engine, postgres_url, monkeypatch):
        monkeypatch.setattr(postgres_watch, "_FALLBACK_SECONDS", 1000.0)
        stop = threading.Event()
        reached = engine.session.runner.follow(stop, 1000.0)
        assert next(reached) == 0
        with closing(framelode.connect(postgres_url)) as other:
            writing = threading.Thread(target=lambda: other.session.writes.datasets.create_dataset("d"))
            writing.start()
            assert next(reached) > 0
            join(writing)
        stop.set()
        assert not list(reached)


class TestUrls:
    @pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
    def test_a_password_is_shown_nowhere(self, scheme):
        url = f"{scheme}://me:s%40cret@127.0.0.1:1/d?connect_timeout=1"
        place = postgres_schema(url)
        assert place.name == "postgresql+psycopg://me:***@127.0.0.1:1/d?connect_timeout=1"
        assert "cret" not in repr(place) + without_password(place) + repr(location.locate(url))
        with pytest.raises(StorageError) as caught:
            framelode.connect(url)
        chain = "".join(traceback.format_exception(caught.value))
        assert "cret" not in chain
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("postgresql+asyncpg://me:s3cr3t@h/d", "names the driver asyncpg"),
            ("postgresql://me:s3cr3t@h", "names no database"),
            ("postgresql://me:s3cr3t@h/d?schema=pg_x", "schema must consist of up to 48"),
            ("postgresql://me:s3cr3t@h/d?schema=a-b", "schema must consist of up to 48"),
            ("postgresql://me:s3cr3t@h/d?nonsense=1", "is not a valid PostgreSQL URL"),
            ("postgresql://me:s3cr3t@h:port/d", "is not a valid URL|invalid"),
            ("mysql://me:s3cr3t@h/d", "contains a password"),
        ],
    )
    def test_one_that_cannot_be_used(self, url, message):
        with pytest.raises(UsageError, match=message) as caught:
            framelode.connect(url)
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))

    def test_a_missing_database_or_engine_is_a_usage_error(self, postgres_url):
        parts = urlsplit(postgres_url)
        with pytest.raises(UsageError, match="does not exist"):
            framelode.connect(urlunsplit(parts._replace(path="/nowhere")))
        with pytest.raises(UsageError, match="there is no engine at .*framelode init"):
            framelode.connect(postgres_url, as_of=0)

    def test_schemas_are_engines_of_their_own(self, postgres_url):
        with (
            closing(framelode.connect(postgres_url)) as one,
            closing(framelode.connect(f"{postgres_url}&schema=other")) as other,
        ):
            one.session.writes.datasets.create_dataset("d")
            assert (one.log.head().position > 0, other.log.head().position) == (True, 0)
            assert one.log.uuid != other.log.uuid

    def test_a_password_is_not_written_into_settings(self, postgres_url, server, tmp_path):
        elsewhere = postgres_url.replace("://postgres@", "://postgres:s3cr3t@") + "&schema=p"
        with closing(framelode.connect(postgres_url, projections=elsewhere)) as engine:
            engine.verify()
        with closing(framelode.connect(tmp_path / "folder", projections=elsewhere)) as engine:
            engine.verify()
        assert "s3cr3t" not in str(server.execute("SELECT * FROM settings").fetchall())
        assert "schema=p" in (tmp_path / "folder/framelode.toml").read_text()
        assert "s3cr3t" not in (tmp_path / "folder/framelode.toml").read_text()

    def test_the_password_of_the_log_serves_for_projections_on_the_same_server(self):
        log = postgres_schema("postgresql://me:pw@h/d")
        for url, found in (
            ("postgresql://me@h/e", "postgresql://me:pw@h/e"),
            ("postgresql://me:other@h/e", "postgresql://me:other@h/e"),
            ("postgresql://you@h/e", "postgresql://you@h/e"),
            ("postgresql://me@i/e", "postgresql://me@i/e"),
        ):
            assert with_password_of(log, postgres_schema(url)).url == found


class TestRoles:
    """The set-up of docs/how-to/postgresql.md, run as it stands there."""

    @pytest.fixture
    def roles(self, postgres_url):
        page = (Path(framelode.__file__).parent / "docs/how-to/postgresql.md").read_text("utf-8")
        first, second = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[:2]
        owner, app = (f"{name}_{uuid4().hex}" for name in ("owner", "app"))
        run_as = {"food_owner": owner, "food_app": app, "food": urlsplit(postgres_url).path.strip("/")}

        def execute(role, statements):
            for name, other in run_as.items():
                statements = re.sub(rf"\b{name}\b", other, statements)
            with psycopg.connect(
                self.url_of(postgres_url, role).replace("+psycopg", ""), autocommit=True
            ) as server:
                server.execute(statements)

        execute("postgres", first)
        framelode.connect(self.url_of(postgres_url, owner)).close()
        execute(owner, second)
        yield self.url_of(postgres_url, owner), self.url_of(postgres_url, app)
        execute("postgres", f"DROP OWNED BY {owner}, {app} CASCADE; DROP ROLE {owner}, {app}")

    def url_of(self, url, role):
        return url.replace("://postgres@", f"://{role}@")

    def test_the_application_works(self, roles):
        _, app = roles
        with framelode.connect(app) as engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            draft.add_frames([SingleFrame(id="a", source="s3://b/a.jpg")])
            DatasetVersion.create_snapshot(dataset_name="d", publish_name="v1")
            for _ in range(2):
                engine.rebuild()
            assert engine.verify().events == engine.log.head().position > 3
            engine.catch_up()
            SqlFactory(engine.log, engine.session.new_id).process_recorder().insert_tracking(
                Tracking("other", 3)
            )
        engine.close()

    @pytest.mark.parametrize(
        "harm",
        [
            "UPDATE append SET result = ''",
            "UPDATE log_info SET uuid = 'x'",
            "DELETE FROM record_body",
            "TRUNCATE record_batch",
            "TRUNCATE append, record_batch, record_body, log_info CASCADE",
            "DROP TRIGGER append_no_delete ON append",
            "ALTER TABLE append DISABLE TRIGGER append_no_delete",
            "ALTER TABLE append DISABLE TRIGGER ALL",
            "ALTER TABLE append DROP COLUMN result",
            "ALTER TABLE append RENAME TO other",
            "DROP TABLE record_body",
            "DROP SCHEMA framelode CASCADE",
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "SET session_replication_role TO replica",
            "INSERT INTO settings VALUES ('blobs', '/elsewhere')",
            "INSERT INTO log_info VALUES ('x', 1)",
        ],
    )
    def test_the_application_cannot_alter_the_log(self, roles, harm):
        _, app = roles
        with psycopg.connect(app.replace("+psycopg", ""), autocommit=True) as server:
            server.execute("SET search_path TO framelode")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                server.execute(harm)

    def test_a_shadow_of_a_table_does_not_fool_the_triggers(self, roles):
        _, app = roles
        with framelode.connect(app) as engine:
            DatasetVersion.create_new_dataset("d")
        engine.close()
        with psycopg.connect(app.replace("+psycopg", ""), autocommit=True) as server:
            server.execute("CREATE TEMPORARY TABLE record_batch (LIKE framelode.record_batch)")
            again = "INSERT INTO framelode.record_batch SELECT * FROM framelode.record_batch LIMIT 1"
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="head of the log"):
                server.execute(again)

    def test_what_the_role_may_not_is_a_usage_error(self, roles, tmp_path):
        owner, app = roles
        with pytest.raises(UsageError, match="permission denied"):
            framelode.connect(app, blobs=tmp_path / "blobs")
        with closing(framelode.connect(owner, blobs=tmp_path / "blobs")) as engine:
            engine.verify()
        with closing(framelode.connect(app)) as engine:
            assert engine.blobs.put(b"x").size == 1


def test_a_missing_driver_is_told_of(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'framelode\[postgres\]'"):
        framelode.connect("postgresql://me@h/d")


def test_on_the_command_line(postgres_url, monkeypatch):
    url = postgres_url.replace("://postgres@", "://postgres:s3cr3t@")
    printed = [run("init", url)]
    assert "created an engine in postgresql+psycopg://postgres:***@" in printed[0].stdout
    with closing(framelode.connect(url)) as engine:
        engine.session.writes.datasets.create_dataset("meals", project="p")
    monkeypatch.setenv("FRAMELODE_URL", url)
    printed += [run("init"), run("ls"), run("verify", "--json"), run("rebuild"), run("log")]
    assert "nothing changed" in printed[1].stdout
    assert "meals" in printed[2].stdout
    assert "s3cr3t" not in "".join(done.stdout + done.stderr for done in printed)
