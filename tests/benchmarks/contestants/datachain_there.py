"""DataChain, on its local SQLite databases."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"DATACHAIN_ROOT_DIR": str(Path.cwd()), "DATACHAIN_NO_ANALYTICS": "1", "TQDM_DISABLE": "1"}

import datachain
from datachain import C, DataChain, DataModel
from workload import Changes

from .contestant import Contestant, Figure, measure, of_children


class Box(DataModel):
    label: str
    box: list[float]


class Meta(DataModel):
    camera: str
    split: str
    iso: int
    exposure: float


class Frame(DataModel):
    id: str
    uri: str
    width: int
    height: int
    boxes: list[Box]
    meta: Meta


SCHEMA = {"id": str, "uri": str, "width": int, "height": int, "boxes": list[Box], "meta": Meta}
DATABASE = Path.cwd() / ".datachain" / "db"


class DataChainHere(Contestant):
    packages = ("datachain", "SQLAlchemy", "pydantic")
    open_anew = """import sys, datachain
from datachain import C
((frame_id,),) = datachain.read_dataset(sys.argv[1]).filter(C("id") == sys.argv[2]).to_list("id")
assert frame_id == sys.argv[2]
"""

    def ingest(self, chain: Callable[[], DataChain], *, keep: bool = False) -> Figure:
        name = self.new_folder().name
        taken = measure(lambda: chain().save(name))
        assert datachain.read_dataset(name).count() == self.count
        spare, self.store = (self.store, name) if keep else (name, self.store)
        if spare:
            datachain.delete_dataset(spare, force=True)
        return taken

    def dicts_documented(self) -> Figure:
        return self.ingest(lambda: datachain.read_values(frame=[Frame(**row) for row in self.rows]))

    def dicts(self) -> Figure:
        return self.ingest(lambda: records_of(self.rows), keep=True)

    def prepare(self) -> Figure:
        stored = {"amount": stored_bytes()}
        self.base = datachain.read_dataset(self.store, version="1.0.0")
        return {"bytes": stored, "bytes_all": stored}

    def one(self) -> Figure:
        return measure(lambda: one(self.base, next(self.asked)), times=1000)

    def many_ids(self) -> Figure:
        return measure(lambda: self.base.filter(C("id").in_(self.many)).to_list(), times=5)

    def iterate(self) -> Figure:
        return measure(lambda: sum(1 for _ in self.base))

    def statistics(self) -> Figure:
        """Count over plain dicts, which is 20 times as fast as generating a chain of labels and grouping it."""
        chain = self.base.select("boxes")
        return measure(
            lambda: Counter(box["label"] for row in chain.to_records() for box in row["boxes"]), times=5
        )

    def child(self) -> Figure:
        return self.make_child(self.child_changes)

    def make_child(self, made: Changes) -> Figure:
        """Make the version of a dataset that has the rows untouched, and those changed and new."""
        touched = [*made.deleted, *(row["id"] for row in made.changed)]

        def work() -> None:
            untouched = datachain.read_dataset(self.store).filter(C("id").not_in(touched))
            untouched.union(records_of(made.changed + made.new)).save(self.store)

        taken = measure(work)
        assert datachain.read_dataset(self.store).count() == self.count
        return taken

    def child_documented(self) -> Figure:
        return self.make_child(self.documented_changes)

    def children(self) -> Figure:
        before = stored_bytes()
        taken = [self.make_child(made) for made in self.children_changes]
        return of_children(taken, stored_bytes() - before)

    def past(self) -> Figure:
        gone = itertools.cycle(self.child_changes.deleted)
        return measure(
            lambda: one(datachain.read_dataset(self.store, version="1.0.0"), next(gone)), times=1000
        )

    def difference(self) -> Figure:
        """Read the rows of a child that were added, changed and removed; it does not tell fields."""
        old, new = (datachain.read_dataset(self.store, version=f"1.0.{number}") for number in (1, 2))
        found = []
        taken = measure(lambda: found.extend(new.diff(old, on="id", status_col="status").to_list()))
        assert len(found) == 3 * len(self.documented_changes.new)
        return taken


def records_of(rows: list[dict[str, Any]]) -> DataChain:
    """Return rows as a chain in the fastest way: flat and with a schema."""
    plain = [name for name in SCHEMA if name != "meta"]
    flat = (
        {name: row[name] for name in plain} | {f"meta__{key}": value for key, value in row["meta"].items()}
        for row in rows
    )
    return datachain.read_records(flat, schema=SCHEMA)


def one(chain: DataChain, frame_id: str) -> tuple[Any, ...]:
    (found,) = chain.filter(C("id") == frame_id).to_list()
    return found


def stored_bytes() -> int:
    """Return the bytes of the database without its free pages, in which temporary tables were."""
    copy = DATABASE.with_name("copy")
    with sqlite3.connect(DATABASE) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    stored = copy.stat().st_size
    copy.unlink()
    return stored
