"""A small log attacked exhaustively: every bit of every stored value, every row, every byte of its file.

Without ``-m long`` a part of it, chosen evenly, is attacked.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from base64 import b64encode
from contextlib import closing
from itertools import combinations

import pytest
from raw_logs import TABLES, raw, unguarded
from sizes import sized

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import FramelodeError, IntegrityError, UsageError
from framelode.engine.log.batch import body_checksum, stored_hash

TEXT = {"uuid", "command_id", "stream_id", "topics", "schema", "actor", "context", "codec"}
COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]

every = pytest.mark.parametrize(
    "part",
    [
        pytest.param(397, id="some"),
        pytest.param(5, id="many", marks=pytest.mark.long),
        pytest.param(1, id="every", marks=pytest.mark.long),
    ],
)
"""Of what is attacked one in so many."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A log of a few batches, closed, in a file with little free space."""
    folder = tmp_path_factory.mktemp("small")
    with framelode.connect(folder) as engine, framelode.acting(actor="me", context={"run": 1}):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        frames = [SingleFrame(id=name, source=f"s3://b/{name}.jpg") for name in ("pizza", "f" * 32)]
        draft.add_frames(frames, batch_size=1, refresh_version_stats=False, command_id="add")
        draft.delete_frames(["pizza"])
        draft.publish_version()
        engine.verify()
    engine.close()
    (folder / "projections.db").unlink()
    with raw(folder) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
    return folder


@pytest.fixture
def folder(small, tmp_path):
    return shutil.copytree(small, tmp_path / "engine")


class Attacked:
    """A log that is changed and changed back under an engine that stays open."""

    def __init__(self, folder):
        self.folder = folder
        self.engine = framelode.connect(folder)
        self.connection = sqlite3.connect(folder / "log.db", isolation_level=None)
        self.connection.text_factory = bytes
        self.sound, self.kinds = self.rows(), self.types()
        names = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            self.connection.execute(f"DROP TRIGGER {name.decode()}")

    def rows(self):
        return {
            table: self.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES
        }

    def types(self):
        return {
            table: self.connection.execute(
                f"SELECT {', '.join(f'typeof({column})' for column in columns)} FROM {table} ORDER BY {columns[0]}"
            ).fetchall()
            for table, columns in TABLES.items()
        }

    def keys(self, table):
        return [row[0] for row in self.sound[table]]

    def run(self, *statements):
        """Change the log; False when the database's own rules refuse it, or nothing has changed."""
        self.connection.execute("BEGIN")
        try:
            for statement, values in statements:
                self.connection.execute(statement, values)
        except sqlite3.IntegrityError:
            self.connection.execute("ROLLBACK")
            return False
        self.connection.execute("COMMIT")
        return self.rows() != self.sound or self.types() != self.kinds

    def restore(self):
        self.connection.execute("BEGIN")
        for table, columns in TABLES.items():
            marks = ", ".join(
                "CAST(? AS TEXT)" if column in TEXT or (table, column) == ("log_info", "uuid") else "?"
                for column in columns
            )
            self.connection.execute(f"DELETE FROM {table}")
            self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", self.sound[table])
        self.connection.execute("COMMIT")

    def problems(self, reopened=False):
        """Return what is found, missing triggers aside; a log's identity is read when it is opened."""
        try:
            if reopened:
                self.engine.close()
                self.engine = framelode.connect(self.folder)
            self.engine.verify()
        except (IntegrityError, UsageError) as error:
            return [p for p in getattr(error, "problems", [str(error)]) if "trigger" not in p]
        return []

    def close(self):
        self.connection.close()
        self.engine.close()


@pytest.fixture
def attacked(folder):
    with closing(Attacked(folder)) as opened:
        yield opened


def flips(value, part):
    """Yield a value with one bit changed, for every bit or one in so many."""
    if isinstance(value, int):
        for bit in range(0, 64, 1 if part == 1 else 24):
            flipped = value ^ (1 << bit)
            yield flipped - (1 << 64) if flipped >= 1 << 63 else flipped
    else:
        for bit in range(0, 8 * len(value), part):
            yield value[: bit // 8] + bytes([value[bit // 8] ^ (1 << bit % 8)]) + value[bit // 8 + 1 :]


def places(attacked, table, key):
    """Return where damage of a row may be noticed: in it, or where the next one follows."""
    if table == "log_info":
        return None
    if table == "append":
        row = dict(zip(TABLES[table], next(r for r in attacked.sound[table] if r[0] == key), strict=True))
        return range(row["first_position"], row["last_position"] + 2)
    row = next(r for r in attacked.sound["record_batch"] if r[0] == key)
    return range(row[0], row[0] + row[1] + 1)


def check(found, where):
    assert found
    told = {int(number) for problem in found for number in re.findall(r"position (\d+)", problem)}
    located = told or any("log.db" in problem for problem in found)
    assert located, found
    if where is not None:
        assert not told or told & set(where), (found, where)


@every
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_bit_of_every_stored_value(attacked, table, column, part):
    primary, tried = TABLES[table][0], 0
    mark = "CAST(? AS TEXT)" if column in TEXT else "?"
    at = TABLES[table].index(column)
    for row in attacked.sound[table]:
        for flipped in flips(row[at], part):
            key = "CAST(? AS TEXT)" if primary in TEXT else "?"
            change = f"UPDATE {table} SET {column} = {mark} WHERE {primary} = {key}"
            if attacked.run((change, (flipped, row[0]))):
                found = attacked.problems(reopened=table == "log_info")
                check(found, None if column == primary else places(attacked, table, row[0]))
                tried += 1
                attacked.restore()
    assert tried or not any(row[at] for row in attacked.sound[table])
    assert attacked.problems(reopened=True) == []


def other_kinds(value):
    """Return values of other types that look like a stored one, or are read as the same."""
    if isinstance(value, int):
        return [str(value), float(value), value + 0.5, b"%d" % value, f"{value}x", ""]
    text = value.decode(errors="replace")
    return [b64encode(value).decode(), value.hex(), text, value, len(value), 0, "", b""]


@pytest.mark.sized
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_values_of_other_types(attacked, table, column):
    """A BLOB as base64 text, empty text for no bytes, bytes for text: columns of SQLite hold any type."""
    primary, at, tried = TABLES[table][0], TABLES[table].index(column), 0
    rows = attacked.sound[table]
    for row in (rows[len(rows) // 2], rows[0], rows[-1])[: sized(1, 3)]:
        key = "CAST(? AS TEXT)" if primary in TEXT else "?"
        for other in other_kinds(row[at]):
            if attacked.run((f"UPDATE {table} SET {column} = ? WHERE {primary} = {key}", (other, row[0]))):
                check(attacked.problems(reopened=table == "log_info"), None)
                attacked.restore()
                tried += 1
    # The keys of these tables hold numbers only.
    assert tried or (table, column) in {(name, TABLES[name][0]) for name in list(TABLES)[1:]}
    assert attacked.problems(reopened=table == "log_info") == []


@pytest.mark.parametrize("place", [0, -1, -(1 << 63)])
@pytest.mark.parametrize("table", list(TABLES)[1:])
class TestBeforeTheFirst:
    def test_moved(self, attacked, table, place):
        primary = TABLES[table][0]
        for key in attacked.keys(table):
            assert attacked.run((f"UPDATE {table} SET {primary} = ? WHERE {primary} = ?", (place, key)))
            check(attacked.problems(), None)
            attacked.restore()

    def test_doubled(self, attacked, table, place):
        for row in attacked.sound[table]:
            assert attacked.run(doubled(table, row, place))
            found = attacked.problems()
            check(found, None)
            assert any(
                f"(position {place})" in p or f"append {place} " in p or str(place) in p for p in found
            )
            attacked.restore()


def doubled(table, row, place):
    """Return the statement that puts a copy of a row at a place, as the next of its stream or command."""
    values = dict(zip(TABLES[table], row, strict=True)) | {TABLES[table][0]: place}
    for name in {"first_version", "part"} & set(values):
        values[name] += 100
    marks = ", ".join("CAST(? AS TEXT)" if name in TEXT else "?" for name in values)
    return f"INSERT INTO {table} VALUES ({marks})", list(values.values())


@pytest.mark.parametrize("place", [0, -1])
def test_no_read_gives_what_lies_before_the_first_position(folder, place):
    """A forged batch that goes on with a version's stream, its body and checksum included."""
    with unguarded(folder) as connection:
        batch = connection.execute(
            "SELECT * FROM record_batch WHERE topics = '[\"FrameAdded\"]' ORDER BY 1 LIMIT 1"
        ).fetchone()
        _, codec, _, body = connection.execute(
            "SELECT * FROM record_body WHERE first_position = ?", batch[:1]
        ).fetchone()
        connection.execute(*doubled("record_batch", batch, place))
        checksum = body_checksum(0, stored_hash(codec, body)) if place == 0 else b""
        connection.execute("INSERT INTO record_body VALUES (?, ?, ?, ?)", (place, codec, checksum, body))
    with closing(framelode.connect(folder)) as engine:
        (version,) = [row.version_id for row in versions(engine)]
        for read in (
            lambda: engine.version(version).get_single_frame("pizza"),
            lambda: list(engine.version(version)),
            engine.verify,
        ):
            with pytest.raises(IntegrityError, match=rf"\(position {place}\)"):
                read()


@pytest.mark.parametrize("table", list(TABLES)[1:])
class TestRows:
    def test_dropped(self, attacked, table):
        primary = TABLES[table][0]
        for key in attacked.keys(table)[: -1 if table == "record_batch" else None]:
            assert attacked.run((f"DELETE FROM {table} WHERE {primary} = ?", (key,)))
            check(attacked.problems(), places(attacked, table, key))
            attacked.restore()

    def test_doubled(self, attacked, table):
        """Under the next free keys, or under those right behind it."""
        columns, done = TABLES[table], 0
        for row in attacked.sound[table]:
            for step in (1, 100):
                values = dict(zip(columns, row, strict=True))
                values[columns[0]] += step
                for name, other in (("first_version", 100), ("part", 100)):
                    if name in values:
                        values[name] += other
                marks = ", ".join("CAST(? AS TEXT)" if name in TEXT else "?" for name in columns)
                if attacked.run((f"INSERT INTO {table} VALUES ({marks})", list(values.values()))):
                    check(attacked.problems(), None)
                    attacked.restore()
                    done += 1
        assert done

    def test_swapped(self, attacked, table):
        primary = TABLES[table][0]
        move = f"UPDATE {table} SET {primary} = ? WHERE {primary} = ?"
        for one, other in combinations(attacked.keys(table), 2):
            assert attacked.run((move, (-1, one)), (move, (one, other)), (move, (other, -1)))
            check(attacked.problems(), [*places(attacked, table, one), *places(attacked, table, other)])
            attacked.restore()

    @pytest.mark.sized
    def test_cut(self, attacked, table):
        primary = TABLES[table][0]
        for row in attacked.sound[table][:: sized(3, 1)]:
            for column, value in zip(TABLES[table], row, strict=True):
                if isinstance(value, int):
                    continue
                mark = "CAST(? AS TEXT)" if column in TEXT else "?"
                for kept in {value[1:], value[:-1], value[: len(value) // 2], b""} - {value}:
                    if attacked.run(
                        (f"UPDATE {table} SET {column} = {mark} WHERE {primary} = ?", (kept, row[0]))
                    ):
                        check(attacked.problems(), places(attacked, table, row[0]))
                        attacked.restore()


def test_cut_off_at_every_batch_but_the_end(attacked):
    """Whatever is gone from the middle is found; for the tail there are checkpoints."""
    firsts = attacked.keys("record_batch")
    for start in range(len(firsts) - 1):
        gone = firsts[start : len(firsts) - 1]
        marks = ", ".join("?" * len(gone))
        assert attacked.run(
            *(
                (f"DELETE FROM {table} WHERE first_position IN ({marks})", gone)
                for table in ("record_batch", "record_body")
            )
        )
        check(attacked.problems(), gone)
        attacked.restore()


def content(folder):
    """Return every stored value, and what the engine makes of it."""
    with closing(framelode.connect(folder)) as engine:
        engine.verify()
        (version,) = [row.version_id for row in versions(engine)]
        frames = [frame.to_dict() for frame in engine.version(version)]
        made = (
            versions(engine),
            frames,
            engine.version(version).fingerprint,
            engine.session.version_counts(version),
        )
    with raw(folder) as connection:
        triggers = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY 1"
        queries = [*(f"SELECT * FROM {table} ORDER BY 1" for table in TABLES), triggers]
        return made, [connection.execute(query).fetchall() for query in queries]


def attempt(folder):
    try:
        return content(folder)
    except FramelodeError as error:
        return error


def versions(engine):
    with engine.session.read_catalog() as connection:
        return engine.session.catalog.versions(connection)


EIGHTHS = [pytest.param(start, 8, id=f"every_{start + 1}_of_8", marks=pytest.mark.long) for start in range(8)]


@pytest.mark.parametrize(("start", "step"), [pytest.param(0, 997, id="some"), *EIGHTHS])
def test_every_byte_of_the_file(small, folder, start, step):
    expected = content(shutil.copytree(small, folder.parent / "sound"))
    whole = (small / "log.db").read_bytes()
    found = harmless = 0
    for at in range(start, len(whole), step):
        for file in folder.iterdir():
            file.unlink()
        flipped = whole[at] ^ (1 << at % 8)
        (folder / "log.db").write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])
        told = attempt(folder)
        if isinstance(told, FramelodeError):
            located = str(folder) in str(told) or re.search(r"position \d+", str(told))
            assert isinstance(told, IntegrityError | UsageError), f"byte {at}: {told!r}"
            assert located, f"byte {at}: {told}"
            found += 1
        else:
            assert told == expected, f"byte {at} changed what is read, and nobody told"
            harmless += 1
    assert found > harmless / 2
