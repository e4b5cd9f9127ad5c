"""DuckLake, by DuckDB and its extension from PyPI."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_ducklake
import pyarrow as pa
from workload import Changes, size_of

from .arrow import id_list, table
from .contestant import Contestant, Figure, measure, of_children

EXTENSION = next(Path(duckdb_extension_ducklake.__file__).parent.rglob("*.duckdb_extension"))


class DuckLake(Contestant):
    packages = ("duckdb", "duckdb-extension-ducklake", "pyarrow")
    open_anew = f"""import sys, duckdb
connection = duckdb.connect()
connection.load_extension("{EXTENSION}")
connection.execute(f"ATTACH 'ducklake:{{sys.argv[1]}}/lake.ducklake' AS lake")
connection.execute("SELECT * FROM lake.frames WHERE id = ?", [sys.argv[2]])
assert connection.fetchone()[0] == sys.argv[2]
"""

    def ingest(self, rows: Callable[[], pa.Table], *, keep: bool = False, codec: str = "zstd") -> Figure:
        """Measure writing a new table of a new lake."""
        folder = self.new_folder()
        folder.mkdir()
        with attach(folder) as connection:
            connection.execute("CALL lake.set_option('parquet_compression', ?)", [codec])

            def work() -> None:
                connection.register("ready", rows())
                connection.execute("CREATE TABLE frames AS FROM ready")

            taken = measure(work)
            assert connection.execute("SELECT count(*) FROM frames").fetchone() == (self.count,)
        self.keep(folder, keep=keep)
        return taken

    def dicts_documented(self) -> Figure:
        return self.ingest(lambda: pa.Table.from_pylist(self.rows), codec="snappy")

    def dicts(self) -> Figure:
        return self.ingest(lambda: table(self.rows), keep=True)

    def table(self) -> Figure:
        ready = table(self.rows)
        return self.ingest(lambda: ready)

    def prepare(self) -> Figure:
        stored = {"amount": size_of(self.store)}
        self.lake = attach(self.store)
        self.base = self.snapshot()
        return {"bytes": stored, "bytes_all": stored}

    def snapshot(self) -> int:
        return self.lake.execute("SELECT max(snapshot_id) FROM lake.snapshots()").fetchone()[0]

    def fetch(self, what: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.lake.execute(what, values).fetchall()

    def one(self) -> Figure:
        return measure(lambda: self.fetch("FROM frames WHERE id = ?", next(self.asked)), times=1000)

    def many_ids(self) -> Figure:
        asked = f"FROM frames WHERE id IN {id_list(self.many)}"
        return measure(lambda: self.lake.execute(asked).to_arrow_table().to_pylist(), times=5)

    def batches(self) -> pa.RecordBatchReader:
        return self.lake.execute("FROM frames").to_arrow_reader()

    def iterate(self) -> Figure:
        return measure(lambda: sum(1 for batch in self.batches() for _ in batch.to_pylist()))

    def iterate_arrow(self) -> Figure:
        return measure(lambda: sum(batch.num_rows for batch in self.batches()), times=3)

    def statistics(self) -> Figure:
        labels = "SELECT unnest(boxes).label AS label FROM frames"
        counts = f"SELECT label, count(*) FROM ({labels}) GROUP BY label"
        return measure(lambda: self.fetch(counts), times=20)

    def cold(self) -> Figure:
        self.lake.close()  # a catalog in a file serves one process at a time
        taken = super().cold()
        self.lake = attach(self.store)
        return taken

    def child(self) -> Figure:
        """Delete what is changed, too, and insert it again: faster than MERGE."""
        return self.make_child("child", self.child_changes)

    def make_child(self, name: str, made: Changes) -> Figure:
        def work() -> None:
            self.lake.register("written", table(made.changed + made.new))
            self.lake.register(
                "gone", pa.table({"id": [*made.deleted, *(row["id"] for row in made.changed)]})
            )
            self.lake.execute("BEGIN")
            self.lake.execute("DELETE FROM frames WHERE id IN (FROM gone)")
            self.lake.execute("INSERT INTO frames FROM written")
            self.commit(name)

        return self.counted(work)

    def child_documented(self) -> Figure:
        made, self.before = self.documented_changes, self.snapshot()

        def work() -> None:
            self.lake.register("changed", table(made.changed))
            self.lake.register("new", table(made.new))
            self.lake.execute("BEGIN")
            self.lake.execute("MERGE INTO frames USING changed USING (id) WHEN MATCHED THEN UPDATE")
            self.lake.execute(f"DELETE FROM frames WHERE id IN {id_list(made.deleted)}")
            self.lake.execute("INSERT INTO frames FROM new")
            self.commit("documented")

        return self.counted(work)

    def commit(self, name: str) -> None:
        self.lake.execute("CALL lake.set_commit_message('bench', ?)", [name])
        self.lake.execute("COMMIT")

    def counted(self, work: Callable[[], None]) -> Figure:
        taken = measure(work)
        assert self.fetch("SELECT count(*) FROM frames") == [(self.count,)]
        return taken

    def children(self) -> Figure:
        before = self.stored()
        taken = [self.make_child(f"child{n}", made) for n, made in enumerate(self.children_changes)]
        return of_children(taken, self.stored() - before)

    def stored(self) -> int:
        """Return the bytes of the lake as they are when it is closed."""
        self.lake.close()
        stored = size_of(self.store)
        self.lake = attach(self.store)
        return stored

    def past(self) -> Figure:
        gone = itertools.cycle(self.child_changes.deleted)
        return measure(
            lambda: self.fetch(f"FROM frames AT (VERSION => {self.base}) WHERE id = ?", next(gone)),
            times=1000,
        )

    def difference(self) -> Figure:
        """Read the rows that a child added, removed and changed, as they were and as they are; it does not tell fields."""
        first = self.before + 1
        work = lambda: self.fetch(f"FROM lake.table_changes('frames', {first}, {first})")
        assert len(work()) == 4 * len(self.documented_changes.new)
        return measure(work)

    def history(self) -> Figure:
        last = self.snapshot()
        asked = itertools.cycle(row["id"] for row in self.documented_changes.changed)
        changes = f"FROM lake.table_changes('frames', 0, {last}) WHERE id = ?"
        return measure(lambda: self.fetch(changes, next(asked)), times=1000)


def attach(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.load_extension(str(EXTENSION))
    connection.execute(f"ATTACH 'ducklake:{folder}/lake.ducklake' AS lake (DATA_PATH '{folder}/data')")
    connection.execute("USE lake")
    return connection
