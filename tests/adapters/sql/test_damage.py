"""Whatever is changed, dropped, doubled, swapped or cut off in a log is found and located; projections come back."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import histories
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from raw_logs import TABLES, raw, unguarded
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import FramelodeError, IntegrityError, UsageError

COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]


def numbered(start, stop, **values):
    return [SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", **values) for n in range(start, stop)]


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """A small log of all kinds of batches, closed."""
    folder = tmp_path_factory.mktemp("sound")
    with framelode.connect(folder) as engine, framelode.acting(actor="me", context={"run": 1}):
        DatasetVersion.create_new_dataset("d", tags=["t"])
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames(
            [*numbered(0, 5), SingleFrame(id="pizza")], batch_size=3, refresh_version_stats=False
        )
        draft.add_frames(numbered(4, 14, width=1), batch_size=1, command_id="parts")
        child = DatasetVersion.create_snapshot(dataset_name="d", publish_name="v1")
        child.delete_frames(["pizza", f"{0:032x}"])
        child.add_frames([SingleFrame(id="pizza", metadata={"a": "x" * 100})])
        engine.verify()
    engine.close()
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "engine"))


def examine(folder):
    """Open, read everything and verify; return the error, or what was read."""
    engine = None
    try:
        engine = framelode.connect(folder)
        with engine:
            engine.verify()
            return content(engine)
    except FramelodeError as error:
        return error
    finally:
        if engine:
            engine.close()


def content(engine):
    found = {}
    with engine.session.read_catalog() as connection:
        rows = engine.session.catalog.versions(connection, removed=True)
    for row in rows:
        version = engine.version(row.version_id)
        frames = [frame.to_dict() for frame in version]
        found[row.version_id] = (row, version.get_stats(), version.fingerprint, frames)
    return found


def check_located(error, folder, *positions):
    assert isinstance(error, IntegrityError), error
    places = {int(number) for number in re.findall(r"position (\d+)", str(error))}
    assert places or error.file or str(folder) in str(error)
    if positions:
        assert places & set(positions), f"{error} is about {places}, not {positions}"


def others(value):
    """Values that a stored one may be changed to, of its own kind and of others."""
    match value:
        case int():
            made = [value + 1, value - 1, -value, 0, 2**62, "x", 0.5]
        case str():
            made = [value + "x", value[:-1], "", value.upper(), value + " ", " " + value, b"\xff", 7]
        case bytes():
            flipped = [
                value[:at] + bytes([value[at] ^ bit]) + value[at + 1 :]
                for at, bit in ((0, 1), (len(value) // 2, 16), (-1 % max(len(value), 1), 128))
                if value
            ]
            made = [*flipped, value[:-1], value + b"\0", b"", "x", 7]
    return [other for other in made if type(other) is not type(value) or other != value]


def keys_of(folder, table):
    with raw(folder) as connection:
        return [key for (key,) in connection.execute(f"SELECT {TABLES[table][0]} FROM {table} ORDER BY 1")]


def change(folder, table, column, key, value):
    """Change one stored value; False when the database's own rules refuse it."""
    primary = TABLES[table][0]
    try:
        with unguarded(folder) as connection:
            # Text that is no UTF-8 can only be written as a cast blob.
            text = column in {
                "uuid",
                "command_id",
                "stream_id",
                "topics",
                "schema",
                "actor",
                "context",
                "codec",
            }
            given = "CAST(? AS TEXT)" if text and isinstance(value, bytes) else "?"
            connection.execute(f"UPDATE {table} SET {column} = {given} WHERE {primary} = ?", (value, key))
    except sqlite3.IntegrityError:
        return False
    return True


def value_of(folder, table, column, key):
    with raw(folder) as connection:
        connection.text_factory = lambda data: data.decode(errors="surrogateescape")
        query = f"SELECT {column} FROM {table} WHERE {TABLES[table][0]} = ?"
        row = connection.execute(query, (key,)).fetchone()
        return row and row[0]


def places_of(sound, table, key):
    """Return the positions at which a change of a row may be noticed."""
    with raw(sound) as connection:
        if table == "append":
            query = "SELECT first_position, last_position + 1 FROM append WHERE append_id = ?"
        elif table == "log_info":
            return ()
        else:
            query = "SELECT first_position, first_position + count FROM record_batch WHERE first_position = ?"
        first, last = connection.execute(query, (key,)).fetchone()
    return range(first, last + 1)


def attack(sound, tmp_path, table, column, keys):
    done = 0
    for key in keys:
        for number, other in enumerate(others(value_of(sound, table, column, key))[:: sized(2, 1)]):
            folder = tmp_path / f"{key}-{number}"
            folder.mkdir()
            shutil.copy(sound / "log.db", folder)
            if not change(folder, table, column, key, other):
                continue
            if value_of(folder, table, column, key) == value_of(sound, table, column, key):
                continue
            error = examine(folder)
            if column == "format" and isinstance(other, int) and other > 1:
                assert isinstance(error, UsageError)
                assert "install a newer framelode" in str(error)
            elif {table, column} & {"log_info", "first_position", "append_id", "count", "last_position"}:
                check_located(error, folder)
            elif other == b"\xff" and "decode" in str(error):
                assert error.file == str(folder / "log.db")
            else:
                check_located(error, folder, *places_of(sound, table, key))
            done += 1
            shutil.rmtree(folder)
    assert done, "nothing could be changed"


class TestStoredValues:
    @pytest.mark.sized
    @pytest.mark.parametrize(("table", "column"), COLUMNS)
    def test_a_changed_value_is_found(self, sound, tmp_path, table, column):
        keys = keys_of(sound, table)
        attack(sound, tmp_path, table, column, {keys[len(keys) // 2]})

    @pytest.mark.long
    @pytest.mark.parametrize(("table", "column"), COLUMNS)
    def test_every_changed_value_is_found(self, sound, tmp_path, table, column):
        attack(sound, tmp_path, table, column, keys_of(sound, table))

    def test_there_is_no_other_column(self, sound):
        with raw(sound) as connection:
            for table, columns in TABLES.items():
                assert (
                    tuple(name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})"))
                    == columns
                )

    def test_the_sound_log_is_sound(self, folder):
        assert isinstance(examine(folder), dict)

    @pytest.mark.parametrize("table", TABLES)
    def test_a_dropped_row_is_found(self, sound, tmp_path, table):
        for key in keys_of(sound, table):
            folder = tmp_path / str(key)
            shutil.copytree(sound, folder)
            with unguarded(folder) as connection:
                connection.execute(f"DELETE FROM {table} WHERE {TABLES[table][0]} = ?", (key,))
            check_located(examine(folder), folder)
            shutil.rmtree(folder)

    @pytest.mark.parametrize("table", TABLES)
    def test_an_emptied_table_is_found(self, folder, table):
        with unguarded(folder) as connection:
            connection.execute(f"DELETE FROM {table}")
        check_located(examine(folder), folder)

    @pytest.mark.parametrize("table", TABLES)
    def test_a_dropped_table_is_found(self, folder, table):
        with raw(folder) as connection:
            connection.execute(f"DROP TABLE {table}")
        error = examine(folder)
        check_located(error, folder)
        assert table in str(error)

    def test_a_batch_dropped_whole_is_found(self, sound, tmp_path):
        *firsts, _ = keys_of(sound, "record_batch")
        for first in firsts:
            folder = tmp_path / str(first)
            shutil.copytree(sound, folder)
            with unguarded(folder) as connection:
                connection.execute("DELETE FROM record_batch WHERE first_position = ?", (first,))
                connection.execute("DELETE FROM record_body WHERE first_position = ?", (first,))
            check_located(examine(folder), folder, first)
            shutil.rmtree(folder)

    @pytest.mark.parametrize(
        ("table", "columns"),
        [
            ("record_body", "codec, checksum, body"),
            ("record_body", "body"),
            ("record_batch", "keys, keys_digest"),
            ("record_batch", "keys"),
            ("record_batch", "actor, context, recorded_at, topics"),
            ("record_batch", "digest"),
            ("record_batch", "append_id"),
            ("append", "result"),
            ("append", "request_digest"),
        ],
    )
    def test_swapped_values_are_found(self, folder, table, columns):
        primary = TABLES[table][0]
        with unguarded(folder) as connection:
            rows = connection.execute(
                f"SELECT {primary}, {columns} FROM {table} ORDER BY {primary}"
            ).fetchall()
            one, other = next(
                (a, b)
                for a in rows
                for b in rows
                if all(x != y for x, y in zip(a, b, strict=True)) or a[1:] != b[1:]
            )
            for (key, *_), (_, *taken) in ((one, other), (other, one)):
                names = ", ".join(f"{name} = ?" for name in columns.split(", "))
                connection.execute(f"UPDATE {table} SET {names} WHERE {primary} = ?", (*taken, key))
        check_located(examine(folder), folder)

    def test_a_doubled_batch_is_found(self, folder):
        with raw(folder) as connection:
            columns = ", ".join(TABLES["record_batch"])
            (row,) = connection.execute(
                f"SELECT {columns} FROM record_batch ORDER BY first_position DESC LIMIT 1"
            ).fetchall()
            body = connection.execute(
                "SELECT * FROM record_body ORDER BY first_position DESC LIMIT 1"
            ).fetchone()
            values = dict(zip(TABLES["record_batch"], row, strict=True))
            values["first_position"] += values["count"]
            values["first_version"] += values["count"]
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO record_batch ({columns}) VALUES ({marks})", list(values.values())
            )
            connection.execute(
                "INSERT INTO record_body VALUES (?, ?, ?, ?)", (values["first_position"], *body[1:])
            )
        check_located(examine(folder), folder, values["first_position"])

    @pytest.mark.parametrize("schema", ["events.1", "frames.1"])
    def test_a_body_of_another_batch_with_a_checksum_of_its_own_is_found(self, folder, schema):
        with unguarded(folder) as connection:
            query = """SELECT first_position, topics, count, codec, body FROM record_batch
                JOIN record_body USING (first_position) WHERE schema = ? ORDER BY first_position"""
            rows = connection.execute(query, (schema,)).fetchall()
            first, codec, body = next(
                (one[0], *other[3:])
                for one in rows
                for other in rows
                if one[1:3] == other[1:3] and one[4] != other[4]
            )
            checksum = blake3(first.to_bytes(8, "little") + blake3(codec.encode() + b"\0" + body).digest())
            connection.execute(
                "UPDATE record_body SET codec = ?, checksum = ?, body = ? WHERE first_position = ?",
                (codec, checksum.digest(16), body, first),
            )
        error = examine(folder)
        check_located(error, folder, first)
        assert any("the body does not match its digest" in each for each in error.problems)

    def test_a_body_without_a_batch_is_found(self, folder):
        with unguarded(folder) as connection:
            connection.execute(
                "INSERT INTO record_body SELECT 10000, codec, checksum, body FROM record_body LIMIT 1"
            )
        check_located(examine(folder), folder, 10000)

    def test_an_append_without_batches_is_found(self, folder):
        with unguarded(folder) as connection:
            connection.execute(
                "INSERT INTO append SELECT max(append_id) + 1, 'x', 0, 1, x'', max(last_position) + 1, max(last_position) + 1, x'' FROM append"
            )
        check_located(examine(folder), folder)

    def test_a_missing_trigger_is_found(self, folder):
        with raw(folder) as connection:
            connection.execute("DROP TRIGGER record_body_no_update")
        error = examine(folder)
        assert isinstance(error, IntegrityError)
        assert "the trigger record_body_no_update is missing" in str(error)

    def test_a_recompressed_body_is_no_damage(self, folder):
        import zstandard

        before = examine(folder)
        with unguarded(folder) as connection:
            for first, body in connection.execute("SELECT first_position, body FROM record_body").fetchall():
                blocks = int.from_bytes(body[:4], "little")
                at, directory, stored = 4 + 12 * blocks, b"", b""
                for number in range(blocks):
                    entry = body[4 + 12 * number : 16 + 12 * number]
                    size = int.from_bytes(entry[4:8], "little")
                    raw_block = zstandard.ZstdDecompressor().decompress(body[at : at + size])
                    block = zstandard.ZstdCompressor(level=19).compress(raw_block)
                    at, stored = at + size, stored + block
                    directory += entry[:4] + len(block).to_bytes(4, "little") + entry[8:]
                again = body[:4] + directory + stored
                stored = blake3(b"zstd\0" + again).digest()
                checksum = blake3(first.to_bytes(8, "little") + stored).digest(16)
                change = "UPDATE record_body SET body = ?, checksum = ? WHERE first_position = ?"
                connection.execute(change, (again, checksum, first))
        assert examine(folder) == before


class TestReading:
    """Damage is also found by whoever happens to read it, without a verification."""

    @pytest.mark.parametrize("column", ["checksum", "body", "codec"])
    def test_a_damaged_body(self, folder, column):
        (first,) = [key for key in keys_of(folder, "record_body") if key == self.frames_at(folder)]
        change(folder, "record_body", column, first, b"damaged")
        with framelode.connect(folder) as engine:
            version = DatasetVersion.get_version(dataset_name="d", version_name="v1")
            with pytest.raises(IntegrityError, match=rf"position {first}\b") as error:
                list(version)
        engine.close()
        assert error.value.position == first
        assert error.value.file == str(folder / "log.db")

    def test_damaged_keys(self, folder):
        first = self.frames_at(folder)
        change(folder, "record_batch", "keys", first, b"damaged")
        (folder / "projections.db").unlink()
        with framelode.connect(folder) as engine:
            version = DatasetVersion.get_version(dataset_name="d", version_name="v1")
            with pytest.raises(IntegrityError, match=rf"position {first}\b") as error:
                version.get_single_frame("pizza")
        engine.close()
        assert error.value.file == str(folder / "log.db")

    def frames_at(self, folder):
        with raw(folder) as connection:
            query = "SELECT first_position FROM record_batch WHERE schema = 'frames.1' ORDER BY 1 LIMIT 1"
            return connection.execute(query).fetchone()[0]


class TestFiles:
    @pytest.mark.parametrize("part", [0.02, 0.25, 0.5, 0.9, 0.999])
    def test_a_file_cut_off(self, folder, part):
        file = folder / "log.db"
        size = int(file.stat().st_size * part)
        os.truncate(file, size)
        error = examine(folder)
        assert isinstance(error, IntegrityError)
        assert error.file == str(file)
        assert str(file) in str(error)
        assert file.stat().st_size == size, "the rest is left for whoever saves it"

    def test_a_file_cut_off_beside_its_write_ahead_log(self, sound, tmp_path):
        engine = framelode.connect(tmp_path / "live")
        with engine:
            histories.play(engine, [("add", numbered(0, 6)), ("snapshot",)])
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "live", copy)
        engine.close()
        assert (copy / "log.db-wal").stat().st_size
        assert isinstance(examine(copy), dict), "main file and write-ahead log together are whole"
        shutil.copy(sound / "log.db", copy)
        os.truncate(copy / "log.db", 8192)
        (copy / "log.db-wal").write_bytes(b"\x37\x7f\x06\x82" + b"garbage" * 100)
        error = examine(copy)
        assert isinstance(error, IntegrityError), error
        assert error.file == str(copy / "log.db")

    @pytest.mark.parametrize(
        "content",
        [b"x", b"garbage" * 1000, bytes(5000), b"SQLite format 3\0", b"SQLite format 3\0" + b"\1" * 5000],
    )
    def test_a_file_of_something_else(self, folder, content):
        file = folder / "log.db"
        file.write_bytes(content)
        error = examine(folder)
        assert isinstance(error, IntegrityError), error
        assert error.file == str(file)
        assert file.read_bytes() == content

    @examples(10, 3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_overwritten_bytes_are_found_or_carry_no_value(self, sound, tmp_path, data):
        whole = (sound / "log.db").read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        written = data.draw(st.binary(min_size=1, max_size=64))
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        (folder / "log.db").write_bytes(whole[:at] + written[: len(whole) - at] + whole[at + len(written) :])
        found = examine(folder)
        if isinstance(found, dict):
            assert found == self.expected(sound, tmp_path)
        else:
            assert isinstance(found, IntegrityError | UsageError), found
        shutil.rmtree(folder)

    def test_a_damaged_definition(self, folder):
        file = folder / "log.db"
        damaged = file.read_bytes().replace(b"CREATE TABLE record_batch", b"CREATE TABLE record_bat\x80\x80")
        assert damaged != file.read_bytes()
        file.write_bytes(damaged)
        error = examine(folder)
        assert isinstance(error, IntegrityError), error
        assert error.file == str(file)

    _expected = None

    def expected(self, sound, tmp_path):
        if TestFiles._expected is None:
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            shutil.copy(sound / "log.db", folder)
            TestFiles._expected = examine(folder)
        return TestFiles._expected

    def test_a_newer_format(self, folder):
        change(folder, "log_info", "format", keys_of(folder, "log_info")[0], 2)
        error = examine(folder)
        assert isinstance(error, UsageError)
        assert "log format 2" in str(error)
        assert "install a newer framelode" in str(error)


class TestPlaces:
    def test_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        for place in ("file", "file/engine", "file/a/b"):
            with pytest.raises(UsageError, match=re.escape(str(tmp_path / "file"))):
                framelode.connect(tmp_path / place)

    @pytest.mark.parametrize("name", ["log.db", "log.db-lock"])
    def test_a_folder_where_a_file_should_be(self, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(UsageError, match=r"log\.db"):
            framelode.connect(tmp_path)

    @pytest.mark.parametrize("read_only", ["folder", "files"])
    def test_without_permission(self, sound, read_only):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "engine"
            shutil.copytree(sound, folder)
            Path(place).chmod(0o755)
            for file in folder.iterdir():
                file.chmod(0o444 if read_only == "files" else 0o666)
            folder.chmod(0o555 if read_only == "folder" else 0o777)
            kind, message = self.as_nobody(folder)
            folder.chmod(0o755)
        assert kind == "UsageError", message
        assert f"is open read-only, because {folder}" in message

    def as_nobody(self, folder):
        """Write in a process without special rights; return the error's kind and text."""
        queue = multiprocessing.get_context("fork").SimpleQueue()
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                with framelode.connect(folder):
                    assert framelode.DatasetVersion.get_datasets()
                    framelode.DatasetVersion.create_new_dataset("another")
                queue.put(("none", ""))
            except BaseException as error:
                queue.put((type(error).__name__, str(error)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert not queue.empty()
        return queue.get()


class TestTriggers:
    @pytest.mark.parametrize(
        "statement",
        [
            *(f"UPDATE {table} SET {columns[-1]} = {columns[-1]}" for table, columns in TABLES.items()),
            *(f"DELETE FROM {table}" for table in TABLES),
            *(
                f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1"
                for table in TABLES
            ),
            *(f"REPLACE INTO {table} SELECT * FROM {table} ORDER BY 1 LIMIT 1" for table in TABLES),
            *(f"INSERT INTO {table} SELECT * FROM {table} ORDER BY 1 LIMIT 1" for table in TABLES),
            "INSERT INTO log_info VALUES ('other', 1)",
            "INSERT INTO append SELECT append_id + 2, 'new', part, is_last, request_digest, 1, 1, result FROM append ORDER BY 1 DESC LIMIT 1",
            "INSERT INTO append SELECT (SELECT max(append_id) + 1 FROM append), command_id, part, is_last, request_digest, 1, 1, result FROM append LIMIT 1",
            "INSERT OR REPLACE INTO append SELECT (SELECT max(append_id) + 1 FROM append), command_id, part, is_last, request_digest, 1, 1, result FROM append LIMIT 1",
            *(
                "INSERT INTO record_batch SELECT first_position + count + {}, count, append_id, stream_id, first_version + count + {}, topics, schema,"
                " recorded_at, actor, context, previous_digest, keys_digest, body_digest, digest, keys FROM record_batch ORDER BY 1 DESC LIMIT 1".format(
                    *gaps
                )
                for gaps in ((1, 0), (-1, 0), (0, 1), (0, -1), (-1000, 0), (1000, 0))
            ),
            "INSERT INTO record_body SELECT first_position + 1, codec, checksum, body FROM record_body ORDER BY 1 DESC LIMIT 1",
            "INSERT INTO record_body SELECT 0, codec, checksum, body FROM record_body ORDER BY 1 DESC LIMIT 1",
            "UPDATE OR REPLACE record_batch SET first_position = 1",
            "INSERT INTO append SELECT * FROM append WHERE true ON CONFLICT(append_id) DO UPDATE SET result = x'00'",
        ],
    )
    def test_refuse(self, folder, statement):
        with raw(folder) as connection:
            before = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
            with pytest.raises(sqlite3.IntegrityError, match=r"append-only|must|already|once"):
                connection.execute(statement)
            assert [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES] == before

    def test_let_the_next_batch_in(self, folder):
        with framelode.connect(folder) as engine:
            DatasetVersion.get_current(dataset_name="d").add_frames([SingleFrame(id="next")])
            engine.verify()
        engine.close()


class TestProjections:
    @pytest.fixture
    def before(self, folder):
        return examine(folder)

    def test_deleted(self, folder, before):
        (folder / "projections.db").unlink()
        assert examine(folder) == before

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
    def test_cut_off(self, folder, before, part):
        file = folder / "projections.db"
        os.truncate(file, int(file.stat().st_size * part))
        assert examine(folder) == before

    def test_replaced_by_garbage(self, folder, before):
        (folder / "projections.db").write_bytes(b"garbage" * 1000)
        assert examine(folder) == before

    @pytest.mark.parametrize("page", range(1, 10, 2))
    def test_pages_overwritten(self, folder, before, page):
        file = folder / "projections.db"
        data = bytearray(file.read_bytes())
        assert len(data) > page * 4096
        data[page * 4096 : (page + 1) * 4096] = b"\x5a" * 4096
        file.write_bytes(data)
        assert examine(folder) == before

    def test_all_rows_deleted(self, folder, before):
        with raw(folder, "projections.db") as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                connection.execute(f"DELETE FROM {name}")
        assert examine(folder) == before

    def test_a_changed_row_is_found_by_verify(self, folder):
        with raw(folder, "projections.db") as connection:
            connection.execute("UPDATE stats_count_v3 SET count = count + 1")
        error = examine(folder)
        assert isinstance(error, IntegrityError)
        assert "stats_count_v3 differs from a fresh replay at" in str(error)
        engine = framelode.connect(folder)
        engine.rebuild()
        engine.verify()
        engine.close()

    @pytest.mark.parametrize(
        "changed",
        [
            "catalog_version_v3 SET depth = x'00'",
            "history_batch_v2 SET dataset_id = x'00'",
            "stats_count_v3 SET kind = x'00'",
            "stats_count_v3 SET count = 'many'",
        ],
    )
    def test_a_value_of_another_type_is_not_built_on(self, folder, changed):
        with raw(folder, "projections.db") as connection:
            connection.execute(f"UPDATE {changed}")
        with framelode.connect(folder) as engine:
            with pytest.raises(IntegrityError, match=r"projections\.db: .* is damaged; connect again"):
                self.go_on(engine)
            engine.close()

    def go_on(self, engine):
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames([SingleFrame(id="next", source="s3://b/next.jpg")])
        draft.publish_version()
        DatasetVersion.create_version("child", dataset_name="d", parent_version_ids=[draft.version_id])
        engine.verify()

    def test_an_older_log_beside_newer_projections(self, folder, before):
        shutil.copy(folder / "log.db", folder / "older.db")
        self.grow(folder, 3)
        shutil.move(folder / "older.db", folder / "log.db")
        assert examine(folder) == before

    @pytest.mark.parametrize("more", [3, 9])
    def test_an_older_log_that_grew_to_the_projections_or_past_them(self, folder, more):
        shutil.copy(folder / "log.db", folder / "older.db")
        self.grow(folder, 3, "lost")
        shutil.move(folder / "older.db", folder / "log.db")
        (folder / "projections.db").rename(folder / "kept.db")
        self.grow(folder, more)
        expected = examine(folder)
        (folder / "kept.db").rename(folder / "projections.db")
        assert examine(folder) == expected

    def test_the_projections_of_another_log(self, folder, before, tmp_path):
        with framelode.connect(tmp_path / "other") as engine:
            histories.play(engine, [("add", numbered(0, 3))])
        engine.close()
        shutil.copy(tmp_path / "other" / "projections.db", folder)
        with pytest.raises(
            IntegrityError, match="holds the projections of the log .*delete these projections"
        ):
            framelode.connect(folder)
        (folder / "projections.db").unlink()
        assert examine(folder) == before

    def grow(self, folder, count, name=""):
        with framelode.connect(folder) as engine:
            draft = DatasetVersion.get_current(dataset_name="d")
            for number in range(count):
                draft.add_frames([SingleFrame(id=f"{name}{count}-{number}")])
        engine.close()
