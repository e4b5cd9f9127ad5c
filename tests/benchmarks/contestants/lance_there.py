"""Lance, by its Python library `pylance`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
from workload import Changes, size_of

from .arrow import id_list, label_counts, table
from .contestant import Contestant, Figure, measure, of_children


class Lance(Contestant):
    packages = ("pylance", "pyarrow")
    open_anew = """import sys, lance
found = lance.dataset(sys.argv[1], version="base").to_table(filter=f"id = '{sys.argv[2]}'").to_pylist()
assert found[0]["id"] == sys.argv[2]
"""

    def ingest(self, write: Callable[[Path], lance.LanceDataset], *, keep: bool = False) -> Figure:
        folder = self.new_folder()
        taken = measure(lambda: write(folder))
        assert lance.dataset(folder).count_rows() == self.count
        self.keep(folder, keep=keep)
        return taken

    def dicts_documented(self) -> Figure:
        return self.ingest(lambda folder: lance.write_dataset(pa.Table.from_pylist(self.rows), folder))

    def dicts(self) -> Figure:
        # Stable row ids cost nothing here, and its differences of versions need them.
        return self.ingest(
            lambda folder: lance.write_dataset(table(self.rows), folder, enable_stable_row_ids=True),
            keep=True,
        )

    def table(self) -> Figure:
        ready = table(self.rows)
        return self.ingest(lambda folder: lance.write_dataset(ready, folder))

    def prepare(self) -> Figure:
        data = size_of(self.store)
        dataset = lance.dataset(self.store)

        def work() -> None:
            dataset.create_scalar_index("id", "BTREE")
            dataset.tags.create("base", dataset.version)

        indexed = measure(work)
        self.base = lance.dataset(self.store, version="base")
        one(self.base, next(self.asked))
        return {
            "ready": indexed,
            "bytes": {"amount": data},
            "bytes_all": {"amount": size_of(self.store)},
        }

    def one(self) -> Figure:
        return measure(lambda: one(self.base, next(self.asked)), times=1000)

    def many_ids(self) -> Figure:
        return measure(lambda: self.base.to_table(filter=f"id IN {id_list(self.many)}").to_pylist(), times=5)

    def iterate(self) -> Figure:
        return measure(lambda: sum(1 for batch in self.base.to_batches() for _ in batch.to_pylist()))

    def iterate_arrow(self) -> Figure:
        return measure(lambda: sum(batch.num_rows for batch in self.base.to_batches()), times=3)

    def statistics(self) -> Figure:
        return measure(lambda: label_counts(self.base.to_table(columns=["boxes"])["boxes"]), times=20)

    def child(self) -> Figure:
        self.latest = lance.dataset(self.store)
        return self.make_child("child", self.child_changes)

    def make_child(self, name: str, made: Changes) -> Figure:
        dataset = self.latest

        def work() -> None:
            upsert = dataset.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            upsert.execute(table(made.changed + made.new))
            dataset.delete(f"id IN {id_list(made.deleted)}")
            dataset.tags.create(name, dataset.version)

        taken = measure(work)
        assert dataset.count_rows() == self.count
        return taken

    def child_documented(self) -> Figure:
        made, dataset = self.documented_changes, self.latest
        self.before = dataset.version

        def work() -> None:
            dataset.merge_insert("id").when_matched_update_all().execute(table(made.changed))
            dataset.delete(f"id IN {id_list(made.deleted)}")
            dataset.insert(table(made.new))
            dataset.tags.create("documented", dataset.version)

        taken = measure(work)
        assert dataset.count_rows() == self.count
        return taken

    def children(self) -> Figure:
        before = size_of(self.store)
        taken = [self.make_child(f"child{n}", made) for n, made in enumerate(self.children_changes)]
        return of_children(taken, size_of(self.store) - before)

    def past(self) -> Figure:
        gone = itertools.cycle(self.child_changes.deleted)
        return measure(lambda: one(self.latest.checkout_version("base"), next(gone)), times=1000)

    def difference(self) -> Figure:
        """Read the rows that a child added and changed as they are now, and which it removed; it does not tell fields."""
        child = lance.dataset(self.store, version="documented")

        def work() -> None:
            delta = child.delta(compared_against=self.before)
            parts = delta.get_inserted_rows(), delta.get_updated_rows(), delta.get_deleted_row_ids()
            found = [row for part in parts for row in part.read_all().to_pylist()]
            assert len(found) == 3 * len(self.documented_changes.new)

        return measure(work)

    def rebuild(self) -> Figure:
        return measure(lambda: lance.dataset(self.store).create_scalar_index("id", "BTREE", replace=True))


def one(dataset: lance.LanceDataset, frame_id: str) -> dict[str, Any]:
    (found,) = dataset.to_table(filter=f"id = '{frame_id}'").to_pylist()
    return found
