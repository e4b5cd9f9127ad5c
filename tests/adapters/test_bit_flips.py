"""A small log attacked exhaustively: every bit of every stored value, every row, every byte of its file.

Without ``-m long`` a part of it, chosen evenly, is attacked.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from itertools import combinations

import pytest
from raw_logs import TABLES, raw

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import FramelodeError, IntegrityError, UsageError

TEXT = {"uuid", "command_id", "stream_id", "topics", "schema", "actor", "context", "codec"}
COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]

every = pytest.mark.parametrize(
    "part", [pytest.param(97, id="some"), pytest.param(1, id="every", marks=pytest.mark.long)]
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
        self.sound = self.rows()
        names = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            self.connection.execute(f"DROP TRIGGER {name.decode()}")

    def rows(self):
        return {
            table: self.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES
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
        return self.rows() != self.sound

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

    def test_cut(self, attacked, table):
        primary = TABLES[table][0]
        for row in attacked.sound[table]:
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
        made = (versions(engine), frames, engine.version(version).fingerprint, engine.version_counts(version))
    with raw(folder) as connection:
        return made, [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES]


def attempt(folder):
    try:
        return content(folder)
    except FramelodeError as error:
        return error


def versions(engine):
    with engine.read_catalog() as connection:
        return engine.catalog.versions(connection)


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
