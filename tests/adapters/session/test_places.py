"""Nothing is deleted or used that is not known to be the engine's own: files, settings, logs and projections."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from command_line import run
from patience import PATIENCE
from sizes import sized

import framelode
from framelode import DatasetVersion, FramelodeError, IntegrityError, SingleFrame, UsageError
from framelode.adapters.execution_store import EngineStoreRepo


def is_marked(file):
    """Say whether the header of a database has our mark for projections."""
    return file.read_bytes()[68:72] == b"FLpr"


SUPPORT = Path(__file__).parents[2] / "support"


def fill(engine, name="food"):
    DatasetVersion.create_new_dataset(name)
    draft = DatasetVersion.get_current(dataset_name=name)
    draft.add_frames([SingleFrame(id=f"f{number}", source=f"s3://b/{number}") for number in range(20)])
    assert draft.get_stats().total == 20
    engine.catch_up()


def make(folder, name="food", **places):
    with framelode.connect(folder, **places) as engine, closing(engine):
        fill(engine, name)
    return folder


def total(folder, name="food", **places):
    with framelode.connect(folder, **places) as engine, closing(engine):
        return DatasetVersion.get_current(dataset_name=name).get_stats().total


def database(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def content(folder):
    return {
        file.relative_to(folder): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(("-lock", "-turn", "-checked"))
    }


def foreign_files(folder):
    folder.mkdir()
    (folder / "precious.csv").write_text("a,b\n1,2\n")
    database(folder / "theirs.db", "CREATE TABLE customers (id)", "INSERT INTO customers VALUES (7)")
    database(folder / "marked.db", "PRAGMA application_id=7", "CREATE TABLE log_info (id)")
    shutil.copy(folder / "theirs.db", folder / "cut.db")
    os.truncate(folder / "cut.db", 5000)
    shutil.copy(folder / "theirs.db", folder / "damaged.db")
    with (folder / "damaged.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\x5a" * 3000)
    (folder / "new.db-wal").write_text("notes")
    make(folder / "engine")
    return folder


@pytest.mark.parametrize("from_settings", [False, True])
def test_a_foreign_file_given_as_projections_is_left_as_it_is(tmp_path, from_settings):
    folder = foreign_files(tmp_path / "theirs")
    before = content(folder)
    names = ["precious.csv", "theirs.db", "marked.db", "cut.db", "damaged.db", "new.db", "engine/log.db"]
    for name in [*names, "engine/projections.db"]:
        if from_settings:
            make(tmp_path / f"mine-{len(name)}-{name[0]}")
            settings = tmp_path / f"mine-{len(name)}-{name[0]}/framelode.toml"
            settings.write_text(
                settings.read_text().replace('"projections.db"', json.dumps(str(folder / name)))
            )
            place, given = settings.parent, {}
        else:
            place, given = tmp_path / "mine", {"projections": folder / name}
        with pytest.raises(UsageError, match=name.partition("/")[2] or name):
            framelode.connect(place, **given)
        assert content(folder) == before, name
    # What was refused is not remembered.
    if not from_settings:
        assert make(tmp_path / "mine") == tmp_path / "mine"


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is not a regular file"):
        framelode.connect(tmp_path / "mine", projections=tmp_path / "pipe")
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other/framelode.toml")
    with pytest.raises(UsageError, match=r"framelode\.toml must be a regular file"):
        framelode.connect(tmp_path / "other")


@pytest.mark.parametrize("database", ["log.db", "projections.db"])
@pytest.mark.parametrize("suffix", ["-lock", "-turn", "-wal", "-journal", "-shm"])
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_regular_file_beside_a_database_is_told(tmp_path, database, suffix, kind):
    file = make(tmp_path / "food") / f"{database}{suffix}"
    file.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "link":
            file.symlink_to("nowhere/at-all")
        case _:
            file.mkdir()
    with pytest.raises(FramelodeError, match="must be a regular file|unable to open"):
        total(tmp_path / "food")
    assert not (tmp_path / "food" / "nowhere").exists()


@pytest.mark.parametrize("name", ["a%41", "a?b", "a#b", "%00", "a%"])
def test_a_path_means_itself(tmp_path, name):
    folder = make(tmp_path / name, projections=tmp_path / name / f"{name}.db")
    assert {path.name for path in folder.iterdir()} >= {"log.db", "framelode.toml", f"{name}.db"}
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert total(folder) == 20


@pytest.mark.parametrize("part", ["log", "projections", "blobs"])
def test_settings_with_nul_are_refused(tmp_path, part):
    settings = make(tmp_path / "food") / "framelode.toml"
    settings.write_text(re.sub(f"(?m)^{part} = .*$", f'{part} = "\\\\u0000"', settings.read_text()))
    with pytest.raises(UsageError, match="NUL"):
        total(tmp_path / "food")


def test_a_log_replaced_by_an_earlier_copy_is_told(tmp_path, caplog):
    folder = make(tmp_path / "food")
    shutil.copy(folder / "log.db", tmp_path / "earlier.db")
    with framelode.connect(folder) as engine, closing(engine):
        DatasetVersion.get_current(dataset_name="food").add_frames([SingleFrame(id="later")])
    shutil.copy(tmp_path / "earlier.db", folder / "log.db")
    assert total(folder) == 20
    (message,) = [record.message for record in caplog.records if "earlier copy" in record.message]
    assert str(folder / "log.db") in message


def test_settings_of_many_dotted_keys_are_refused(tmp_path):
    settings = make(tmp_path / "food") / "framelode.toml"
    settings.write_text(settings.read_text() + ".".join(["a"] * 5000) + " = 1\n")
    with pytest.raises(UsageError, match="more than 500 dots"):
        total(tmp_path / "food")


@pytest.mark.parametrize("place", ["own.db", "../elsewhere.db"])
def test_damaged_projections_of_ours_are_made_anew_wherever_they_are(tmp_path, place):
    folder = make(tmp_path / "food", projections=tmp_path / "food" / place)
    file = tmp_path / "food" / place
    assert is_marked(file)
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\x5a" * 8192)
    assert total(folder) == 20


def test_projections_without_our_mark_are_ours_by_their_tables_or_their_name(tmp_path):
    folder = make(tmp_path / "food")
    database(folder / "projections.db", "PRAGMA application_id=0")
    assert total(folder) == 20
    assert is_marked(folder / "projections.db")
    (folder / "projections.db").write_bytes(b"nothing that a database begins with")
    assert total(folder) == 20


def test_a_foreign_file_with_the_default_name_is_left_as_it_is(tmp_path):
    (tmp_path / "food").mkdir()
    file = tmp_path / "food/projections.db"
    file.write_text("precious")
    for _ in range(2):
        with pytest.raises(UsageError, match="and was not changed"):
            framelode.connect(tmp_path / "food")
    assert file.read_text() == "precious"


def test_a_foreign_file_in_the_place_of_the_note_is_left_as_it_is(tmp_path, monkeypatch):
    from framelode.adapters.sql import projections as projection_store

    monkeypatch.setattr(projection_store, "_SETTLED_SECONDS", 0.0)
    folder = make(tmp_path / "food")
    (folder / "projections.db-checked").write_text("precious")
    assert total(folder) == 20
    assert (folder / "projections.db-checked").read_text() == "precious"


class TestStrangersSettings:
    @pytest.fixture
    def theirs(self, tmp_path, monkeypatch):
        """An engine whose settings belong to another user."""
        folder = make(tmp_path / "theirs", blobs=tmp_path / "outside")
        if os.geteuid() == 0:
            os.chown(folder / "framelode.toml", 4321, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        return folder

    def test_places_outside_of_their_folder_are_refused(self, tmp_path, theirs):
        settings = theirs / "framelode.toml"
        inside = settings.read_text().replace(str(tmp_path / "outside"), "blobs")
        for line in (
            'projections = "../victim"',
            'projections = "/etc/passwd"',
            'projections = "link"',
            'blobs = "s3://bucket"',
        ):
            name = line.partition(" ")[0]
            (tmp_path / "victim").write_text("precious")
            (theirs / "link").unlink(missing_ok=True)
            (theirs / "link").symlink_to(tmp_path / "victim")
            settings.write_text(
                "".join(
                    f"{line}\n" if each.startswith(f"{name} =") else f"{each}\n"
                    for each in inside.splitlines()
                )
            )
            with pytest.raises(
                UsageError, match=f"belongs to another user and names a place outside.*{name}"
            ):
                framelode.connect(theirs)
            assert (tmp_path / "victim").read_text() == "precious"
        settings.write_text(inside)
        assert total(theirs) == 20

    def test_places_that_the_caller_names_are_used(self, tmp_path, theirs):
        with pytest.raises(UsageError, match="blobs="):
            framelode.connect(theirs)
        assert total(theirs, blobs=tmp_path / "outside") == 20

    def test_they_are_found_only_when_they_are_named(self, theirs, monkeypatch):
        (theirs / "below").mkdir()
        monkeypatch.chdir(theirs / "below")
        with pytest.raises(UsageError, match="belongs to another user.*--engine"):
            framelode.current_engine()
        monkeypatch.setenv("FRAMELODE_URL", str(theirs))
        with pytest.raises(UsageError, match="blobs="):
            framelode.current_engine()


class TestLostLogs:
    def test_an_emptied_log_is_not_replaced(self, tmp_path):
        folder = make(tmp_path / "food")
        (folder / "log.db").write_bytes(b"")
        before = content(folder)
        for url in (folder, f"sqlite:///{folder}/log.db"):
            with pytest.raises(IntegrityError, match=r"log\.db is empty, but .*restore it from a copy"):
                framelode.connect(url)
        assert content(folder) == before

    def test_a_log_without_tables_is_not_replaced(self, tmp_path):
        folder = make(tmp_path / "food")
        (folder / "log.db").unlink()
        database(folder / "log.db", "VACUUM", "CREATE TABLE t (a)", "DROP TABLE t")
        with pytest.raises(IntegrityError, match="has none of the tables of its log"):
            framelode.connect(folder)

    def test_another_log_is_not_taken(self, tmp_path):
        folder, other = make(tmp_path / "food"), make(tmp_path / "other")
        shutil.copy(other / "log.db", folder / "log.db")
        with pytest.raises(IntegrityError, match=r"belongs to the log .*restore that log"):
            framelode.connect(folder)
        (folder / "framelode.toml").unlink()
        with pytest.raises(
            IntegrityError, match="holds the projections of the log .* delete these projections"
        ):
            framelode.connect(folder)
        (folder / "projections.db").unlink()
        assert total(folder) == 20

    def test_changes_that_wait_beside_an_emptied_log_are_kept(self, tmp_path):
        folder = make(tmp_path / "food")
        with framelode.connect(folder) as engine:
            DatasetVersion.create_new_dataset("more")
            shutil.copytree(folder, tmp_path / "crashed")
            engine.close()
        crashed = tmp_path / "crashed"
        (crashed / "framelode.toml").unlink()
        os.truncate(crashed / "log.db", 0)
        before = content(crashed)
        assert before[Path("log.db-wal")]
        with pytest.raises(IntegrityError, match=r"log\.db-wal has uncommitted changes of it"):
            framelode.connect(crashed)
        assert content(crashed) == before

    def test_settings_of_an_older_release_get_the_identity(self, tmp_path):
        folder = make(tmp_path / "food")
        settings = folder / "framelode.toml"
        with framelode.connect(folder) as engine, closing(engine):
            line = f'log_id = "{engine.log.uuid}"\n'
        assert line in settings.read_text()
        settings.write_text(settings.read_text().replace(line, ""))
        assert total(folder) == 20
        assert line in settings.read_text()

    def test_an_empty_log_that_takes_over_another_one_is_known_by_its_new_identity(self, tmp_path):
        folder = make(tmp_path / "food")
        with framelode.connect(folder) as engine, closing(engine):
            framelode.connect(tmp_path / "copy").close()
            engine.copy_to(tmp_path / "copy")
        assert total(tmp_path / "copy") == 20

    def test_a_second_log_in_one_folder_is_refused(self, tmp_path):
        folder = make(tmp_path / "food")
        with pytest.raises(UsageError, match=r"already holds the engine of log\.db"):
            framelode.connect(f"sqlite:///{folder}/other.db")
        assert total(folder) == 20
        (folder / "log.db").rename(folder / "main.db")
        assert total(f"sqlite:///{folder}/main.db") == 20
        assert total(folder) == 20


class TestOneEngineForEachProjections:
    def test_a_second_engine_is_refused(self, tmp_path):
        one = make(tmp_path / "one", "first", projections=tmp_path / "p.db")
        with pytest.raises(UsageError, match=r"p\.db holds the projections of the log .*one/log\.db, not of"):
            framelode.connect(tmp_path / "two", projections=tmp_path / "p.db")
        assert total(one, "first") == 20

    def test_of_two_that_were_empty_the_first_to_write_has_it(self, tmp_path):
        places = {"projections": tmp_path / "p.db"}
        one = framelode.connect(tmp_path / "one", **places)
        with closing(one), framelode.connect(tmp_path / "two", **places) as two, closing(two):
            with one:
                fill(one)
            DatasetVersion.create_new_dataset("drink")
            with pytest.raises(UsageError, match="holds the projections of the log"):
                DatasetVersion.get_current(dataset_name="drink")
        assert total(tmp_path / "one") == 20

    def test_a_copied_folder_is_refused_where_both_would_use_one(self, tmp_path):
        make(tmp_path / "one", projections=tmp_path / "p.db")
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        with pytest.raises(UsageError, match="two/log.db is a copy of it"):
            framelode.connect(tmp_path / "two")
        assert total(tmp_path / "one") == 20
        assert total(tmp_path / "two", projections=tmp_path / "two/p.db") == 20

    def test_a_moved_folder_keeps_its_projections(self, tmp_path):
        make(tmp_path / "one", projections=tmp_path / "p.db")
        (tmp_path / "one").rename(tmp_path / "two")
        assert total(tmp_path / "two") == 20
        assert total(make(tmp_path / "two", "drink"), "drink") == 20
        make(tmp_path / "three")
        shutil.copytree(tmp_path / "three", tmp_path / "four")
        assert total(tmp_path / "three") == total(tmp_path / "four") == 20

    def test_a_second_engine_is_refused_in_postgresql(self, tmp_path, postgres_url):
        make(postgres_url, blobs=tmp_path / "blobs")
        schema = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema=framelode_projections"
        with pytest.raises(UsageError, match="holds the projections of the log"):
            framelode.connect(tmp_path / "two", projections=schema)
        other = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema=other"
        with pytest.raises(UsageError, match="holds the projections of the log"):
            framelode.connect(other, projections=schema)
        assert total(postgres_url) == 20


class TestAtOnce:
    @pytest.mark.parametrize("count", [12])
    def test_threads_that_connect_to_one_new_folder_all_get_it(self, tmp_path, count):
        def connect(folder, barrier, failures):
            barrier.wait()
            try:
                framelode.connect(folder).close()
            except Exception as error:
                failures.append(repr(error))

        for round_ in range(5):
            folder, failures = tmp_path / f"{round_}/new", []
            barrier = threading.Barrier(count)
            threads = [
                threading.Thread(target=connect, args=(folder, barrier, failures), daemon=True)
                for _ in range(count)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            assert failures == []
            assert {file.name for file in folder.iterdir()} == {
                "framelode.toml",
                *(f"{name}.db{end}" for name in ("log", "projections") for end in ("", "-lock", "-turn")),
            }

    def test_settings_written_by_processes_with_one_id_never_mix(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        from framelode.adapters.session.settings_file import Settings, read_settings, write_settings

        def write(number, failures):
            try:
                for _ in range(20):
                    write_settings(tmp_path, Settings(blobs=f"s3://bucket/{number}"))
            except Exception as error:
                failures.append(repr(error))

        failures = []
        threads = [
            threading.Thread(target=write, args=(number, failures), daemon=True) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert failures == []
        assert read_settings(tmp_path).blobs.startswith("s3://bucket/")
        assert [file.name for file in tmp_path.iterdir()] == ["framelode.toml"]

    def test_threads_that_find_damaged_projections_replace_them_once(self, tmp_path):
        folder, failures = make(tmp_path / "food"), []

        def read(barrier):
            barrier.wait()
            try:
                engine = framelode.connect(folder)
                with closing(engine):
                    assert sum(engine.session.version_totals().values()) == 20
            except Exception as error:
                failures.append(repr(error))

        for _ in range(3):
            (folder / "projections.db").write_bytes(b"\x5a" * 9000)
            barrier = threading.Barrier(6)
            threads = [threading.Thread(target=read, args=(barrier,), daemon=True) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            assert failures == []


class TestModes:
    @pytest.fixture(autouse=True)
    def _open_umask(self):
        before = os.umask(0)
        yield
        os.umask(before)

    def modes(self, folder):
        return {
            file.name: stat.S_IMODE(file.stat().st_mode)
            for file in (folder, *folder.iterdir())
            if file == folder or file.is_file()
        }

    def test_only_the_owner_can_read_what_an_engine_makes(self, tmp_path):
        with framelode.connect(tmp_path / "deep/food") as engine, closing(engine):
            fill(engine)
            found = self.modes(tmp_path / "deep/food")
        assert found.pop("food") == 0o700
        assert {"framelode.toml", "log.db", "log.db-wal", "log.db-shm", "log.db-lock"} < set(found)
        assert set(found.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700

    @pytest.mark.parametrize("umask", [0, 0o077])
    def test_a_shared_engine_is_its_groups(self, tmp_path, umask):
        os.umask(umask)
        make(tmp_path / "food")
        with framelode.connect(tmp_path / "food", shared=True) as engine, closing(engine):
            fill(engine, "more")
            found = self.modes(tmp_path / "food")
        assert found.pop("food") == 0o2770
        assert {"framelode.toml", "log.db", "log.db-wal", "log.db-shm", "log.db-turn"} < set(found)
        assert set(found.values()) == {0o660}
        assert "shared = true" in (tmp_path / "food/framelode.toml").read_text()
        # The settings alone are enough, as after a copy that lost the modes.
        (tmp_path / "food").chmod(0o755)
        assert total(tmp_path / "food") == 20
        assert self.modes(tmp_path / "food")["food"] == 0o2775

    def test_init_shares(self, tmp_path):
        run("init", "--shared", str(tmp_path / "food"))
        assert self.modes(tmp_path / "food")["food"] == 0o2770

    def test_only_folders_are_shared(self):
        with pytest.raises(UsageError, match="for an engine in a folder"):
            framelode.connect("sqlite://", shared=True)
        with pytest.raises(UsageError, match="shared must be True or False"):
            framelode.connect("food", shared="yes")


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """The library that makes reads fail."""
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    library = tmp_path_factory.mktemp("preloaded") / "failing_reads.so"
    source = SUPPORT / "failing_reads.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=PATIENCE)
    return library


@pytest.mark.sized
def test_a_read_that_fails_is_an_error_of_ours(tmp_path, preloaded):
    make(tmp_path / "food")
    step = str(sized(3, 1))
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "failing_reads.py"), str(tmp_path / "food"), step, "300"],
        env=os.environ | {"LD_PRELOAD": str(preloaded)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bare"] == {}
    assert "wrong" not in found["outcomes"]
    assert found["outcomes"].keys() - {"read"}
    assert sum(found["outcomes"].values()) > sized(15, 45)


BAD = ["NULL", "'nonsense'", "x'00ff'", "'9' || hex(zeroblob(40))", "-1", "''", "1e300"]


def bad_values(folder):
    """Yield every column of every table with rows that can take a value of another kind, with such a value."""
    with closing(sqlite3.connect(folder / "projections.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for table in tables:
            if connection.execute(f"SELECT 1 FROM {table}").fetchone() is None:
                continue
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                yield from ((table, column, value) for value in BAD)


def read_everything(folder):
    with framelode.connect(folder) as engine, closing(engine):
        version = DatasetVersion.get_version(dataset_name="food")
        assert version.get_stats() is not None
        assert list(version.history("f1")) is not None
        len(version), version.get_single_frame("f7"), engine.session.version_totals()
        list(engine.history()), list(engine.at(5).history()), version.get_stats(as_of=5)
        keys = EngineStoreRepo(engine)
        keys.list_keys("s"), keys.get_key("s", "k"), keys.list_stores_global(), keys.count_keys("s")


def check_bad_values(folder, cases, tmp_path):
    bare = []
    for number, (table, column, value) in enumerate(cases):
        copy = Path(shutil.copytree(folder, tmp_path / str(number)))
        with closing(sqlite3.connect(copy / "projections.db")) as connection:
            try:
                connection.execute("PRAGMA writable_schema = 1")
                connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
                connection.commit()
                connection.execute(f"UPDATE {table} SET {column} = {value}")
                connection.commit()
            except sqlite3.Error:
                continue
        try:
            read_everything(copy)
        except FramelodeError:
            pass
        except Exception as error:
            bare.append((table, column, value, repr(error)))
        shutil.rmtree(copy)
    return bare


def test_a_bad_value_in_the_statistics_is_an_error_of_ours(tmp_path):
    folder = make(tmp_path / "food")
    cases = [case for case in bad_values(folder) if case[0].startswith("stats") and case[1] == "count"]
    assert len(cases) == len(BAD)
    assert check_bad_values(folder, cases, tmp_path) == []
    database(folder / "projections.db", "UPDATE stats_count_v3 SET count = 'nonsense'")
    with pytest.raises(IntegrityError, match=r"projections\.db: .*'nonsense'.*framelode rebuild"):
        total(folder)
    run("--engine", folder, "rebuild")
    assert total(folder) == 20


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """An engine with rows in most projections."""
    folder = make(tmp_path_factory.mktemp("varied") / "food")
    with framelode.connect(folder) as engine, closing(engine):
        EngineStoreRepo(engine).set_key("s", "k", 1, ttl=3600)
        engine.catch_up()
    return folder


def test_no_value_in_any_projection_is_an_error_of_ours(varied, tmp_path):
    cases = [case for case in bad_values(varied) if case[2] == "'nonsense'"]
    assert {table.partition("_")[0] for table, *_ in cases} >= {"catalog", "stats", "history", "stores"}
    assert check_bad_values(varied, cases, tmp_path) == []


@pytest.mark.long
def test_a_bad_value_in_any_projection_is_an_error_of_ours(varied, tmp_path):
    assert check_bad_values(varied, bad_values(varied), tmp_path) == []


def close_and_reopen(folder):
    """Open and close the log in another process, which takes the write-ahead log along if it finds no other user."""
    program = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM append').close()"
    )
    subprocess.run([sys.executable, "-I", "-c", program, folder / "log.db"], check=True, timeout=PATIENCE)


def second(folder):
    framelode.connect(folder)


def second_closed(folder):
    framelode.connect(folder).close()


def past(folder):
    framelode.connect(folder, as_of=1).close()


def as_projections(folder):
    with pytest.raises(UsageError):
        framelode.connect(f"{folder}-2", projections=folder / "log.db")


def imported(folder):
    with pytest.raises(FramelodeError):
        framelode.current_engine().import_log(folder / "log.db")


def uploaded(folder):
    frames = [SingleFrame(id="own", source=folder / "log.db")]
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.add_frames(frames, auto_upload_destination="blobs:", local_dataset_root_path=folder)


def as_checkpoint(folder):
    with pytest.raises(FramelodeError):
        framelode.current_engine().verify(against=folder / "log.db")


@pytest.mark.parametrize(
    "way", [second, second_closed, past, as_projections, imported, uploaded, as_checkpoint]
)
def test_reading_the_file_of_a_log_keeps_its_locks(tmp_path, way):
    """Closing any descriptor of a file drops the locks of the process on it: others would delete the write-ahead log."""
    with framelode.connect(tmp_path / "food") as engine, closing(engine):
        fill(engine)
        way(tmp_path / "food")
        close_and_reopen(tmp_path / "food")
        assert (tmp_path / "food/log.db-wal").exists()
        version = DatasetVersion.get_current(dataset_name="food")
        version.add_frames([SingleFrame(id="later")])
        count = len(version)
        close_and_reopen(tmp_path / "food")
    assert total(tmp_path / "food") == count


FDS = Path("/proc/self/fd")


@pytest.mark.skipif(not FDS.exists(), reason="counts descriptors in /proc")
def test_descriptors_that_waited_are_closed_with_the_last_connection(tmp_path):
    folder = make(tmp_path / "food")
    before = len(list(FDS.iterdir()))
    with framelode.connect(folder) as engine, closing(engine):
        second_closed(folder)
        opened = len(list(FDS.iterdir()))
        for _ in range(10):
            second_closed(folder)
        assert len(list(FDS.iterdir())) == opened
    assert len(list(FDS.iterdir())) == before


def test_a_log_with_several_names_is_refused(tmp_path):
    folder = make(tmp_path / "food")
    os.link(folder / "log.db", tmp_path / "other.db")
    with pytest.raises(UsageError, match="has 2 hard links"):
        total(folder)
    (tmp_path / "other.db").unlink()
    assert total(folder) == 20
