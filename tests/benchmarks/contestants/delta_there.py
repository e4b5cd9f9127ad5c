"""Delta tables, by the library `deltalake`, which is delta-rs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, QueryBuilder, WriterProperties, write_deltalake
from workload import Changes, size_of

from .arrow import id_list, label_counts, table
from .contestant import Contestant, Figure, measure, of_children

ZSTD = WriterProperties(compression="ZSTD")
CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}


class Delta(Contestant):
    packages = ("deltalake", "pyarrow")
    open_anew = """import sys
from deltalake import DeltaTable, QueryBuilder
frames = QueryBuilder().register("frames", DeltaTable(sys.argv[1]))
found = frames.execute(f"SELECT * FROM frames WHERE id = '{sys.argv[2]}'").read_all()
assert found.num_rows == 1
"""

    def ingest(self, write: Callable[[Path], None], *, keep: bool = False) -> Figure:
        folder = self.new_folder()
        taken = measure(lambda: write(folder))
        assert DeltaTable(folder).count() == self.count
        self.keep(folder, keep=keep)
        return taken

    def dicts_documented(self) -> Figure:
        return self.ingest(lambda folder: write_deltalake(folder, pa.Table.from_pylist(self.rows)))

    def dicts(self) -> Figure:
        # The feed of changes costs nothing here; differences of versions and histories need it.
        return self.ingest(
            lambda folder: write_deltalake(
                folder, table(self.rows), writer_properties=ZSTD, configuration=CHANGE_FEED
            ),
            keep=True,
        )

    def table(self) -> Figure:
        ready = table(self.rows)
        return self.ingest(lambda folder: write_deltalake(folder, ready, writer_properties=ZSTD))

    def prepare(self) -> Figure:
        stored = {"amount": size_of(self.store)}
        self.latest = DeltaTable(self.store)
        self.dataset = self.latest.to_pyarrow_dataset()
        self.frames = QueryBuilder().register("frames", self.latest)
        return {"bytes": stored, "bytes_all": stored}

    def one(self) -> Figure:
        return measure(lambda: one(self.frames, next(self.asked)), times=1000)

    def many_ids(self) -> Figure:
        return measure(
            lambda: self.dataset.to_table(filter=pc.field("id").isin(self.many)).to_pylist(), times=5
        )

    def iterate(self) -> Figure:
        return measure(lambda: sum(1 for batch in self.dataset.to_batches() for _ in batch.to_pylist()))

    def iterate_arrow(self) -> Figure:
        return measure(lambda: sum(batch.num_rows for batch in self.dataset.to_batches()), times=3)

    def statistics(self) -> Figure:
        return measure(lambda: label_counts(self.dataset.to_table(columns=["boxes"])["boxes"]), times=20)

    def child(self) -> Figure:
        return self.make_child("child", self.child_changes)

    def make_child(self, name: str, made: Changes) -> Figure:
        """Change, delete and add in one merge, which rewrites the data once."""

        def work() -> None:
            rows = table([*made.changed, *made.new, *({"id": gone} for gone in made.deleted)])
            gone = pa.array([row >= rows.num_rows - len(made.deleted) for row in range(rows.num_rows)])
            merge = self.latest.merge(
                rows.append_column("gone", gone),
                "old.id = new.id",
                source_alias="new",
                target_alias="old",
                writer_properties=ZSTD,
                commit_properties=named(name),
            )
            merge.when_matched_delete("new.gone").when_matched_update_all(
                except_cols=["gone"]
            ).when_not_matched_insert_all(except_cols=["gone"]).execute()

        return self.counted(work)

    def child_documented(self) -> Figure:
        made, self.before = self.documented_changes, self.latest.version()

        def work() -> None:
            merge = self.latest.merge(
                table(made.changed), "old.id = new.id", source_alias="new", target_alias="old"
            )
            merge.when_matched_update_all().execute()
            self.latest.delete(f"id IN {id_list(made.deleted)}")
            write_deltalake(
                self.latest, table(made.new), mode="append", commit_properties=named("documented")
            )

        return self.counted(work)

    def counted(self, work: Callable[[], None]) -> Figure:
        taken = measure(work)
        assert DeltaTable(self.store).count() == self.count
        return taken

    def children(self) -> Figure:
        before = size_of(self.store)
        taken = [self.make_child(f"child{n}", made) for n, made in enumerate(self.children_changes)]
        return of_children(taken, size_of(self.store) - before)

    def past(self) -> Figure:
        gone = itertools.cycle(self.child_changes.deleted)

        def work() -> None:
            old = QueryBuilder().register("frames", DeltaTable(self.store, version=0))
            assert one(old, next(gone)).num_rows == 1

        return measure(work, times=1000)

    def changes(self, first: int, last: int, **options: Any) -> pa.Table:
        return pa.table(self.latest.load_cdf(first, last, **options))

    def difference(self) -> Figure:
        """Read the rows that a child added, removed and changed, as they were and as they are; it does not tell fields."""
        first = self.before + 1
        work = lambda: self.changes(first, first + 2).to_pylist()
        assert len(work()) == 4 * len(self.documented_changes.new)
        return measure(work)

    def history(self) -> Figure:
        last = self.latest.version()
        asked = itertools.cycle(row["id"] for row in self.documented_changes.changed)
        return measure(
            lambda: self.changes(0, last, predicate=f"id = '{next(asked)}'").to_pylist(), times=1000
        )


def one(frames: QueryBuilder, frame_id: str) -> pa.Table:
    found = pa.table(frames.execute(f"SELECT * FROM frames WHERE id = '{frame_id}'"))
    found.to_pylist()
    return found


def named(name: str) -> CommitProperties:
    return CommitProperties(custom_metadata={"name": name})
