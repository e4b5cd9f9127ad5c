"""How the time of every public operation and command grows with n: sizes n, 2n, 4n and 8n, and the ratio of each doubling.

Run ``python tests/benchmarks/growth.py``; ``--only NAME`` runs the operations whose name holds NAME, ``--quick`` leaves
8n and the repetitions out. The time is that of the processor, best of a few repetitions. An operation marked ``each`` is called once for each
of the n items, so that a ratio of 2 says that one call takes the same time at every size. A ratio above 2.3 is marked
with ``!`` and reasons for those that stay are in decision 0036.

A world is what is measured: a chain of n versions, n datasets, n frames, n keys, n stores, n pins, n files. To make it is
an operation, too. The operations of a world run in the order in which they are listed.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import framelode
from framelode import BoundingBox2D, Dataset, DatasetVersion, DataView, ExecutionStore, SingleFrame
from framelode.adapters.datalake import Client, Datalake
from framelode.adapters.formats.names import BUILT_IN
from framelode.adapters.pinned_datasets.datasets import Datasets

LIMIT = 2.3
NOTICEABLE = 0.02
"""Seconds: what takes less is not judged."""


class World:
    """An engine in a folder of its own, with n of something."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n
        self.engine = framelode.connect(folder / "engine")
        self.fresh = itertools.count()
        self.held: dict[str, Any] = {}

    def each(self, call: Callable[[int], object]) -> None:
        for number in range(self.n):
            call(number)

    def ids(self, version: DatasetVersion) -> list[str]:
        if "ids" not in self.held:
            self.held["ids"] = [frame.id for frame in version.get_iterator()]
        return self.held["ids"]

    def cli(self, *arguments: object) -> None:
        """Run a command in this process."""
        from typer.testing import CliRunner

        from framelode.adapters.cli.app import app

        command = [str(each) for each in ("--engine", self.folder / "engine", *arguments)]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code in {0, 1}, (command, done.output)

    def path(self, name: str) -> Path:
        """A path that is not there yet."""
        return self.folder / f"{next(self.fresh)}-{name}"


class Operation(NamedTuple):
    """What is measured.

    Attributes
    ----------
    world : str
        Which world it is called in.
    names : tuple of str
        The public operations that it calls.
    call : callable
        Calls them, with the world.
    times : int
        How often; the best counts.
    """

    world: str
    names: tuple[str, ...]
    call: Callable[[World], object]
    times: int

    @property
    def title(self) -> str:
        return f"{self.world}: {' + '.join(self.names)}"


OPERATIONS: list[Operation] = []
SIZES = {
    "versions": 100,
    "datasets": 125,
    "frames": 250,
    "keys": 125,
    "stores": 125,
    "pins": 10,
    "files": 100,
    "lakes": 100,
    "one": 100,
}
"""The smallest n of each world."""


def operation(world: str, *names: str, times: int = 3) -> Callable[[Callable[[World], object]], None]:
    """List an operation."""

    def add(call: Callable[[World], object]) -> None:
        OPERATIONS.append(Operation(world, names, call, times))

    return add


def listed(world: str, calls: dict[str, Callable[[World], object]], times: int = 3) -> None:
    """List operations, several names of one call separated by spaces."""
    for names, call in calls.items():
        OPERATIONS.append(Operation(world, tuple(names.split(", ")), call, times))


def each(call: Callable[[World, int], object]) -> Callable[[World], None]:
    """Call once for each of the n items."""
    return lambda world: world.each(lambda number: call(world, number))


def frame(number: int) -> SingleFrame:
    return SingleFrame(
        source=f"s3://bucket/{number:07d}.jpg",
        annotations=[BoundingBox2D(1, 2, 3, 4, labels=[f"label {number % 7}"])],
        metadata={"number": number},
    )


# A chain of n versions, each with a frame of its own.


@operation("versions", "DatasetVersion.create_snapshot each", times=1)
def _(world: World) -> None:
    DatasetVersion.create_new_dataset("chain")
    DatasetVersion.get_current(dataset_name="chain").add_frames([frame(-1)])
    current = DatasetVersion.get_current(dataset_name="chain")
    world.held["versions"] = versions = [current]

    def go_on(number: int) -> None:
        nonlocal current
        current.add_frames([frame(number)])
        current = current.create_snapshot(publish_name=f"v{number}")
        versions.append(current)

    world.each(go_on)
    # A blob that no frame names, for gc and scrub.
    (world.folder / "file").write_bytes(b"content")
    world.engine.blobs.put_files([str(world.folder / "file")])
    world.ids(current)


def versions(world: World) -> list[DatasetVersion]:
    return world.held["versions"]


def last(world: World) -> DatasetVersion:
    return versions(world)[-1]


def reconnected(world: World) -> framelode.Engine:
    """An engine that has nothing in memory."""
    return framelode.connect(world.folder / "engine")


def cold_states(world: World) -> None:
    with reconnected(world) as engine:
        for version_id in engine.session.version_ids():
            engine.version(version_id).get_single_frame(world.held["ids"][0])


def export_import(world: World) -> None:
    file, target = world.path("log.jsonl.zst"), world.path("imported")
    world.cli("export", "log", file)
    world.cli("init", target)
    world.cli("--engine", target, "import", "log", file)


listed(
    "versions",
    {
        "DatasetVersion.get_version each": each(
            lambda w, i: DatasetVersion.get_version(dataset_name="chain", version_name=f"v{i}")
        ),
        "DatasetVersion.get_version by id each, Engine.version": each(
            lambda w, i: w.engine.version(versions(w)[i].version_id)
        ),
        "DatasetVersion.get_current each": each(
            lambda w, i: DatasetVersion.get_current(dataset_name="chain")
        ),
        "DatasetVersion.get_single_frame of each version": each(
            lambda w, i: versions(w)[i].get_single_frame(w.held["ids"][0])
        ),
        "DatasetVersion.get_single_frame of each version, new engine": cold_states,
        "DatasetVersion.get_stats each": each(lambda w, i: versions(w)[i].get_stats()),
        "DatasetVersion.get_parent each": each(lambda w, i: versions(w)[i].get_parent()),
        "DatasetVersion.fingerprint each": each(lambda w, i: versions(w)[i].fingerprint),
        "DatasetVersion.version_name each, version_id, dataset_id, dataset_name, draft, last_updated, comment, tags": each(
            lambda w, i: [
                getattr(versions(w)[i], name)
                for name in [
                    "version_name",
                    "version_id",
                    "dataset_id",
                    "dataset_name",
                    "draft",
                    "last_updated",
                    "comment",
                    "tags",
                ]
            ]
        ),
        "DatasetVersion.get_metadata each": each(lambda w, i: versions(w)[i].get_metadata()),
        "DatasetVersion.get_masks_labels each": each(lambda w, i: versions(w)[i].get_masks_labels()),
        "DatasetVersion.history each": each(lambda w, i: list(versions(w)[i].history(limit=1))),
        "DatasetVersion.history of one frame": lambda w: list(last(w).history(w.held["ids"][0])),
        "DatasetVersion.blame each": each(lambda w, i: last(w).blame(w.held["ids"][i])),
        "DatasetVersion.diff each": each(lambda w, i: versions(w)[i + 1].diff(versions(w)[i]).stats),
        "DatasetVersion.diff": lambda w: last(w).diff(versions(w)[0]).stats,
        "DatasetVersion.get_versions": lambda w: DatasetVersion.get_versions("chain"),
        "DatasetVersion.get each": each(lambda w, i: versions(w)[i].get("none")),
        "DatasetVersion.keys": lambda w: list(last(w).keys()),
        "DatasetVersion.at each": each(lambda w, i: versions(w)[i].at(w.engine.log.head().position)),
        "DatasetVersion.rename each": each(lambda w, i: last(w).rename(f"v{next(w.fresh)}")),
        "DatasetVersion.describe each": each(lambda w, i: versions(w)[i].describe(f"d{next(w.fresh)}")),
        "DatasetVersion.set_tags each": each(lambda w, i: versions(w)[i].set_tags([f"t{next(w.fresh)}"])),
        "DatasetVersion.set_metadata each": each(lambda w, i: last(w).set_metadata({"n": next(w.fresh)})),
        "DatasetVersion.set_masks_labels each": each(
            lambda w, i: last(w).set_masks_labels({(next(w.fresh) % 256, 0, 0): ["a"]})
        ),
        "Dataset.versions": lambda w: w.engine.dataset("chain").versions(),
        "Engine.at of one moment each": each(
            lambda w, i: w.engine.at(9).session.version_row(versions(w)[0].version_id)
        ),
        "Engine.at of another moment each": each(
            lambda w, i: w.engine.at(5 + i).session.version_row(versions(w)[0].version_id)
        ),
        "Engine.history": lambda w: list(w.engine.history()),
        "Engine.history of a version each": each(
            lambda w, i: list(w.engine.history(version=versions(w)[i], limit=1))
        ),
        "Engine.referenced_blobs": lambda w: w.engine.referenced_blobs(),
        "Engine.missing_blobs": lambda w: w.engine.missing_blobs(),
        "Engine.gc": lambda w: w.engine.gc(timedelta(0), young=timedelta(0)),
        "Engine.gc of a new engine": lambda w: reconnected(w).gc(timedelta(0), young=timedelta(0)),
        "Engine.scrub": lambda w: w.engine.scrub(),
        "Engine.verify": lambda w: w.engine.verify(),
        "Engine.rebuild": lambda w: w.engine.rebuild(),
        "Engine.catch_up": lambda w: w.engine.catch_up(),
        "Engine.checkpoint each": each(lambda w, i: w.engine.checkpoint()),
        "Engine.export_log": lambda w: w.engine.export_log(w.path("log.jsonl.zst")),
        "Engine.export_log of a dataset": lambda w: w.engine.export_log(
            w.path("log.jsonl.zst"), dataset="chain"
        ),
        "Engine.copy_to": lambda w: w.engine.copy_to(w.path("copy")),
        "framelode ls DATASET": lambda w: w.cli("ls", "chain"),
        "framelode log": lambda w: w.cli("log"),
        "framelode log --graph": lambda w: w.cli("log", "--graph"),
        "framelode log --graph --json": lambda w: w.cli("log", "--graph", "--json"),
        "framelode history": lambda w: w.cli("history"),
        "framelode diff": lambda w: w.cli("diff", "chain@v0", "chain"),
        "framelode stats, show": lambda w: (w.cli("stats", "chain"), w.cli("show", "chain")),
        "framelode blame": lambda w: w.cli("blame", "chain", w.held["ids"][0]),
        "framelode verify": lambda w: w.cli("verify"),
        "framelode rebuild": lambda w: w.cli("rebuild"),
        "framelode gc": lambda w: w.cli("gc"),
        "framelode scrub": lambda w: w.cli("scrub"),
        "framelode copy": lambda w: w.cli("copy", w.folder / "engine", w.path("copy")),
        "framelode export log, framelode import log": export_import,
        "framelode checkpoint export": lambda w: w.cli("checkpoint", "export", w.path("checkpoint")),
    },
)


# n datasets.


def one_version(world: World, number: int) -> None:
    version = DatasetVersion.create_version(f"x{next(world.fresh)}", dataset_name=f"d{number}")
    version.add_frames([frame(number)])
    version.commit_version()
    version.publish_version()
    DatasetVersion.remove_version(version_id=version.version_id, force=True)


@operation("datasets", "DatasetVersion.create_new_dataset each", times=1)
def _(world: World) -> None:
    world.each(lambda number: DatasetVersion.create_new_dataset(f"d{number}", tags=["a"]))


def dataset(world: World, number: int) -> Any:
    return world.engine.dataset(f"d{number}")


def delete_another(world: World) -> None:
    made = Dataset.create(f"deleted {next(world.fresh)}")
    Dataset.delete(made.id, delete_all_versions=True)


listed(
    "datasets",
    {
        "DatasetVersion.get_datasets": lambda w: DatasetVersion.get_datasets(tags=["a"]),
        "DatasetVersion.get_current of each": each(
            lambda w, i: DatasetVersion.get_current(dataset_name=f"d{i}")
        ),
        "DatasetVersion.create_version each, publish_version, commit_version, remove_version": each(
            one_version
        ),
        "Dataset.name each, project, description, tags, id, created": each(
            lambda w, i: [
                getattr(dataset(w, i), name)
                for name in ["name", "project", "description", "tags", "id", "created"]
            ]
        ),
        "Dataset.create of each, Dataset.get, get_version, get_versions": each(
            lambda w, i: (
                Dataset.create(f"d{i}").get_version(),
                Dataset.get(dataset_name=f"d{i}").get_versions(),
            )
        ),
        "Dataset.create_version of each, delete_version": each(
            lambda w, i: dataset(w, i).delete_version(
                dataset(w, i).create_version(f"c{next(w.fresh)}").version_id
            )
        ),
        "Dataset.add_tags each, remove_tags": each(
            lambda w, i: (dataset(w, i).add_tags(["b"]), dataset(w, i).remove_tags(["b"]))
        ),
        "Dataset.delete each": each(lambda w, i: delete_another(w)),
        "Dataset.at each": each(lambda w, i: dataset(w, i).at(w.engine.log.head().position)),
        "Dataset.rename each": each(lambda w, i: dataset(w, i).rename(f"d{i}")),
        "Dataset.describe each": each(lambda w, i: dataset(w, i).describe(f"d{next(w.fresh)}")),
        "Dataset.set_tags each": each(lambda w, i: dataset(w, i).set_tags(["a", f"{next(w.fresh)}"])),
        "Dataset.move each": each(lambda w, i: dataset(w, i).move(f"p{next(w.fresh)}")),
        "Engine.dataset each": each(dataset),
        "Engine.verify of datasets": lambda w: w.engine.verify(),
        "Engine.gc of datasets": lambda w: w.engine.gc(timedelta(0), young=timedelta(0)),
        "Engine.rebuild of datasets": lambda w: w.engine.rebuild(),
        "Engine.status": lambda w: w.engine.status(),
        "framelode status": lambda w: w.cli("status"),
        "framelode rename, describe, tag, mv, rm": lambda w: (
            w.cli("rename", "d2", "d2"),
            w.cli("describe", "d2", f"x{next(w.fresh)}"),
            w.cli("tag", "d2", f"t{next(w.fresh)}"),
            Dataset.create("moved"),
            w.cli("mv", "moved", "elsewhere"),
            w.cli("rm", "elsewhere/moved", "--yes"),
        ),
        "framelode ls": lambda w: w.cli("ls"),
        "framelode ls --json": lambda w: w.cli("ls", "--json"),
        "framelode log of datasets": lambda w: w.cli("log"),
        "framelode log --graph of datasets": lambda w: w.cli("log", "--graph"),
        "framelode draft, publish, snapshot": lambda w: (
            w.cli("draft", "d1", f"x{next(w.fresh)}", "--empty"),
            w.cli("publish", "d1"),
            w.cli("snapshot", "d0", "--name", f"x{next(w.fresh)}"),
        ),
    },
)

# n frames of one version.


@operation("frames", "DatasetVersion.add_frames one by one", times=1)
def _(world: World) -> None:
    DatasetVersion.create_new_dataset("one")
    draft = DatasetVersion.get_current(dataset_name="one")
    world.each(lambda number: draft.add_frames([frame(number)]))


@operation("frames", "DatasetVersion.add_frames at once", "DatasetVersion.flush", times=1)
def _(world: World) -> None:
    DatasetVersion.create_new_dataset("frames")
    world.held["draft"] = draft = DatasetVersion.get_current(dataset_name="frames")
    draft.add_frames(frame(number) for number in range(world.n))
    draft.flush()
    world.ids(draft)


def draft_of(world: World) -> DatasetVersion:
    return world.held["draft"]


def view_of(world: World, **arguments: Any) -> DataView:
    view = DataView(engine=world.engine, **arguments)
    view.add_query(version_id=draft_of(world).version_id, roi_query="car")
    return view


def a_frame(world: World, number: int) -> Any:
    return draft_of(world).get_single_frame(world.held["ids"][number])


def changed(world: World, number: int) -> Any:
    found = a_frame(world, number)
    found.metadata = {"changed": next(world.fresh)}
    return found


def in_bulk(world: World) -> None:
    with draft_of(world).get_bulk_context(allow_update=True) as bulk:
        added = [frame(10**6 + number) for number in range(world.n)]
        for each_frame in added:
            bulk.add_frame(each_frame)
        bulk.flush()
        for number in range(world.n):
            bulk.update_frame(changed(world, number))
        for each_frame in added:
            bulk.delete_frame(each_frame)


def add_and_delete(world: World, *, one_by_one: bool) -> None:
    frames = [frame(2 * 10**6 + number) for number in range(world.n)]
    draft_of(world).add_frames(frames)
    for some in [[each] for each in frames] if one_by_one else [frames]:
        draft_of(world).delete_frames(some)


def in_tables(world: World) -> None:
    draft = draft_of(world)
    with tempfile.TemporaryDirectory() as folder:
        draft.to_parquet(Path(folder) / "frames.parquet")
        draft.add_table(Path(folder) / "frames.parquet")
    draft.add_table(draft.to_arrow_reader())
    draft.add_table(draft.to_arrow())
    draft.to_pandas()
    draft.to_polars()
    draft.to_dask()


def revert_some(world: World) -> None:
    before = world.engine.log.head().position
    draft_of(world).update_frames(changed(world, number) for number in range(world.n))
    draft_of(world).revert(before)


listed(
    "frames",
    {
        "DatasetVersion.add_dicts": lambda w: draft_of(w).add_dicts(
            {"id": f"dict {number}", "sources": [{"id": "default", "uri": f"s3://bucket/{number}"}]}
            for number in range(w.n)
        ),
        "DatasetVersion.to_arrow, to_arrow_reader, to_pandas, to_polars, to_dask, to_parquet, add_table": in_tables,
        "DatasetVersion.get_single_frame each": each(a_frame),
        "DatasetVersion.get_frames_by_ids": lambda w: draft_of(w).get_frames_by_ids(w.held["ids"]),
        "DatasetVersion.get_frames_by_ids, one by one": each(
            lambda w, i: draft_of(w).get_frames_by_ids([w.held["ids"][i]])
        ),
        "DatasetVersion.get_frames_by_source": lambda w: draft_of(w).get_frames_by_source("*00001.jpg"),
        "DatasetVersion.get_iterator": lambda w: sum(1 for _ in draft_of(w).get_iterator()),
        "DatasetVersion.update_frames one by one": each(
            lambda w, i: draft_of(w).update_frames([changed(w, i)])
        ),
        "DatasetVersion.update_frames": lambda w: draft_of(w).update_frames(
            changed(w, i) for i in range(w.n)
        ),
        "DatasetVersion.delete_frames": lambda w: add_and_delete(w, one_by_one=False),
        "DatasetVersion.delete_frames one by one": lambda w: add_and_delete(w, one_by_one=True),
        "BulkContext.add_frame each, DatasetVersion.get_bulk_context, BulkContext.update_frame, delete_frame, flush": in_bulk,
        "DatasetVersion.find_frames": lambda w: sum(1 for _ in draft_of(w).find_frames(label="car")),
        "DatasetVersion.query": lambda w: sum(1 for _ in draft_of(w).query("rois.label:car")),
        "Engine.query": lambda w: sum(1 for _ in w.engine.query("rois.label:car", "frames")),
        "Engine.count": lambda w: w.engine.count("rois.label:car", "frames"),
        "Engine.sql": lambda w: w.engine.sql("select count(id) from frames('frames')").fetchall(),
        "framelode sql": lambda w: w.cli("sql", "select id from frames('frames') limit 100"),
        "DatasetVersion.count": lambda w: draft_of(w).count("rois.label:car"),
        "DatasetVersion.to_torch": lambda w: sum(1 for _ in draft_of(w).to_torch(iterable=True)),
        "DataView.get_iterator": lambda w: sum(1 for _ in view_of(w, iteration_order="random")),
        "DataView.store each, get": each(lambda w, i: DataView.get(view_of(w).store(f"view {i}"))),
        "DatasetVersion.find_frame_id each": each(lambda w, i: draft_of(w).find_frame_id(w.held["ids"][i])),
        "DatasetVersion.revert": revert_some,
        "DatasetVersion.add_tags each, remove_tags": each(
            lambda w, i: (draft_of(w).add_tags(["a"]), draft_of(w).remove_tags(["a"]))
        ),
        "framelode views": lambda w: w.cli("views"),
        "framelode query": lambda w: w.cli("query", "frames", "rois.label:car", "--limit", "100"),
        "framelode frames": lambda w: w.cli("frames", "frames", "--limit", "100"),
        "framelode revert": lambda w: w.cli("revert", "frames", "--as-of", w.engine.log.head().position),
        "DatasetVersion.commit_version after each": each(
            lambda w, i: (draft_of(w).update_frames([changed(w, i)]), draft_of(w).commit_version())
        ),
        "DatasetVersion.get_stats after each": each(
            lambda w, i: (draft_of(w).update_frames([changed(w, i)]), draft_of(w).get_stats())
        ),
        "DatasetVersion.history of each frame": each(
            lambda w, i: list(draft_of(w).history(w.held["ids"][i]))
        ),
        "DatasetVersion.history of a version": lambda w: list(draft_of(w).history()),
        "DatasetVersion.blame of each frame": each(lambda w, i: draft_of(w).blame(w.held["ids"][i])),
        "Engine.gc of frames": lambda w: w.engine.gc(timedelta(0), young=timedelta(0)),
        "Engine.verify of frames": lambda w: w.engine.verify(),
        "Engine.rebuild of frames": lambda w: w.engine.rebuild(),
        "Engine.export_log of frames": lambda w: w.engine.export_log(w.path("log.jsonl.zst")),
        "Engine.copy_to of frames": lambda w: w.engine.copy_to(w.path("copy")),
        "framelode history of frames": lambda w: w.cli("history"),
        "framelode log of frames": lambda w: w.cli("log"),
        "SingleFrame of empty lists": lambda w: draft_of(w).add_frames(
            [SingleFrame(source="s3://bucket/lists", metadata={"lists": [[] for _ in range(20 * w.n)]})]
        ),
    },
)

# n keys of one store, and n stores.


@operation("keys", "ExecutionStore.set each", times=1)
def _(world: World) -> None:
    world.held["store"] = ExecutionStore.create("store")
    world.each(lambda number: store(world).set(f"k{number}", {"n": number}))


def store(world: World) -> ExecutionStore:
    return world.held["store"]


listed(
    "keys",
    {
        "ExecutionStore.get each": each(lambda w, i: store(w).get(f"k{i}")),
        "ExecutionStore.has each": each(lambda w, i: store(w).has(f"k{i}")),
        "ExecutionStore.get_metadata each": each(lambda w, i: store(w).get_metadata(f"k{i}")),
        "ExecutionStore.set_cache each": each(lambda w, i: store(w).set_cache(f"c{i}", i)),
        "ExecutionStore.set_if_absent each, compare_and_set": each(
            lambda w, i: (store(w).set_if_absent(f"k{i}", 0), store(w).compare_and_set(f"k{i}", 0, 0))
        ),
        "ExecutionStore.subscribe, unsubscribe": lambda w: store(w).unsubscribe(
            store(w).subscribe(lambda _: None)
        ),
        "ExecutionStore.set_many": lambda w: store(w).set_many({f"m{i}": i for i in range(w.n)}),
        "ExecutionStore.update_ttl each": each(
            lambda w, i: store(w).update_ttl(f"c{i}", 1000 + next(w.fresh))
        ),
        "ExecutionStore.update_policy each": each(
            lambda w, i: (
                store(w).update_policy(f"c{i}", "persist"),
                store(w).update_policy(f"c{i}", "evict"),
            )
        ),
        "ExecutionStore.list_keys": lambda w: store(w).list_keys(),
        "ExecutionStore.history of each": each(lambda w, i: list(store(w).history(f"k{i}"))),
        "ExecutionStore.history": lambda w: list(store(w).history()),
        "framelode store ls STORE": lambda w: w.cli("store", "ls", "store"),
        "framelode store set, get, history, rm": lambda w: [
            w.cli("store", *arguments)
            for arguments in (
                ("set", "store", "x", str(next(w.fresh))),
                ("get", "store", "x"),
                ("history", "store", "x"),
                ("rm", "store", "x"),
            )
        ],
        "ExecutionStore.delete each": each(lambda w, i: (store(w).set("gone", i), store(w).delete("gone"))),
        "Engine.verify of keys": lambda w: w.engine.verify(),
        "Engine.rebuild of keys": lambda w: w.engine.rebuild(),
        "ExecutionStore.clear_cache": lambda w: store(w).clear_cache(),
    },
)
listed("keys", {"ExecutionStore.clear": lambda w: store(w).clear()}, times=1)


@operation("stores", "ExecutionStore.create each", times=1)
def _(world: World) -> None:
    world.each(lambda number: ExecutionStore.create(f"s{number}").set("key", number))


listed(
    "stores",
    {
        "ExecutionStore.list_stores": lambda w: ExecutionStore.create("s1").list_stores(),
        "ExecutionStore.get of each": each(lambda w, i: ExecutionStore.create(f"s{i}").get("key")),
        "ExecutionStoreService.list_stores_global": lambda w: ExecutionStore.create(
            "s1"
        ).service.list_stores_global(),
        "ExecutionStoreService.count_stores": lambda w: ExecutionStore.create("s1").service.count_stores(),
        "framelode store ls": lambda w: w.cli("store", "ls"),
        "framelode log of stores": lambda w: w.cli("log"),
    },
)
listed(
    "stores",
    {
        "ExecutionStoreService.delete_store each": each(
            lambda w, i: ExecutionStore.create("s0").service.delete_store(f"s{i}")
        )
    },
    times=1,
)

# n pins of one project.


@operation("pins", "Datasets.add each", times=1)
def _(world: World) -> None:
    world.held["project"] = project = world.path("project")
    (project / "raw").mkdir(parents=True)
    (project / "raw" / "file").write_bytes(b"content")
    world.held["pins"] = Datasets(project, engine=world.engine)
    world.each(lambda number: pins(world).add(f"p{number}", "raw/file", "url"))


def pins(world: World) -> Datasets:
    return world.held["pins"]


def pin(world: World, *arguments: object) -> None:
    world.cli("pin", *arguments, "--folder", world.held["project"])


def update_pin(world: World, number: int) -> None:
    (world.held["project"] / "raw" / "file").write_bytes(b"x" * (8 + next(world.fresh)))
    pins(world).update(f"p{number}")


def read_manifest(world: World) -> None:
    project = world.path("project")
    project.mkdir()
    (project / "dvc.yaml").write_text("vars: [" + "x," * (200 * world.n) + "]")
    list(Datasets(project, engine=world.engine))


listed(
    "pins",
    {
        "Datasets.problems": lambda w: pins(w).problems,
        "Datasets.status": lambda w: pins(w).status(),
        "Datasets.get each, values, items, keys": each(lambda w, i: pins(w)[f"p{i}"]),
        "Datasets.at": lambda w: pins(w).at(w.engine.log.head().position),
        "Datasets.history": lambda w: pins(w).history(),
        "Datasets.update each": each(update_pin),
        "Datasets.dump": lambda w: pins(w).dump(pins(w)["p0"]),
        "framelode pin ls": lambda w: pin(w, "ls"),
        "framelode pin log": lambda w: pin(w, "log"),
        "framelode pin status": lambda w: pin(w, "status"),
        "framelode pin add, update": lambda w: (
            pin(w, "add", "more", "raw/file", "--type", "url"),
            pin(w, "update", "more"),
        ),
        "a manifest of n values, Datasets": read_manifest,
    },
)


# n files to upload.


@operation("files", "uploads of new files", times=1)
def _(world: World) -> None:
    folder = world.path("photos")
    folder.mkdir()
    for number in range(world.n):
        (folder / f"{number}.jpg").write_bytes(b"%d" % number * 50)
    world.held["photos"] = folder
    DatasetVersion.create_new_dataset("files")
    world.held["draft"] = draft = DatasetVersion.get_current(dataset_name="files")
    draft.add_frames(photos(world), auto_upload_destination="blobs:", local_dataset_root_path=folder)


def photos(world: World) -> list[SingleFrame]:
    return [SingleFrame(source=str(path)) for path in sorted(world.held["photos"].iterdir())]


def upload(world: World, destination: object, **options: Any) -> None:
    draft_of(world).add_frames(
        photos(world),
        auto_upload_destination=str(destination),
        local_dataset_root_path=world.held["photos"],
        **options,
    )


def annotated(world: World) -> DatasetVersion:
    """A version of n pictures, each with a box."""
    from PIL import Image

    if "annotated" not in world.held:
        folder = world.path("annotated")
        folder.mkdir()
        DatasetVersion.create_new_dataset("annotated")
        world.held["annotated"] = draft = DatasetVersion.get_current(dataset_name="annotated")
        frames = []
        for number in range(world.n):
            file = folder / f"{number}.png"
            Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(file)
            made = SingleFrame(source=file, width=8, height=8)
            made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[f"label {number % 7}"])
            frames.append(made)
        draft.add_frames(frames)
    return world.held["annotated"]


def exchange(name: str) -> Callable[[World], None]:
    """Export in a format and import again, by methods and by commands."""

    def call(world: World) -> None:
        version = annotated(world)
        suffix = f".{name}" if name in {"csv", "parquet"} else ""
        paths = [world.path(name + suffix) for _ in range(2)]
        version.export(name, paths[0]) if name == "parquet" else getattr(version, f"to_{name}")(paths[0])
        world.cli("export", name, paths[1], "--version", "annotated")
        getattr(DatasetVersion, f"from_{name}")(paths[0], paths[0].name)
        world.cli("import", name, paths[1], "--dataset", paths[1].name)

    return call


def exchange_with_hf(world: World) -> None:
    DatasetVersion.from_hf(annotated(world).to_hf(), str(next(world.fresh)))


def import_auto(world: World) -> None:
    folder = world.path("coco")
    annotated(world).to_coco(folder)
    DatasetVersion.import_from("auto", folder, folder.name)
    world.cli("import", "auto", folder, "--dataset", f"{folder.name} again")


def croissant(world: World) -> None:
    version = annotated(world)
    version.publish_version()
    version.to_croissant(world.path("croissant"))
    world.cli("export", "croissant", world.path("croissant"), "--version", "annotated")


listed(
    "files",
    {
        "uploads again": lambda w: upload(w, "blobs:"),
        "uploads to a folder": lambda w: upload(w, w.path("destination")),
        "get_local_source of each": lambda w: [
            frame.get_local_source() for frame in draft_of(w).get_iterator()
        ],
        "Engine.scrub of blobs, blobs": lambda w: w.engine.scrub(),
        "Engine.share_blobs": lambda w: w.engine.share_blobs(),
        "framelode share": lambda w: w.cli("share"),
        "Engine.missing_blobs of blobs": lambda w: w.engine.missing_blobs(),
        "Engine.verify of blobs": lambda w: w.engine.verify(blobs=True),
        "Engine.copy_to with blobs": lambda w: w.engine.copy_to(w.path("copy")),
        "DatasetVersion.checkout, framelode checkout": lambda w: (
            draft_of(w).checkout(w.path("files")),
            w.cli("checkout", "files", w.path("more files")),
        ),
        **{
            f"DatasetVersion.to_{name}, DatasetVersion.from_{name}, framelode export {name}, framelode import {name}": (
                exchange(name)
            )
            for name in BUILT_IN
        },
        "DatasetVersion.import_from, DatasetVersion.export, framelode import auto": import_auto,
        "DatasetVersion.to_hf, DatasetVersion.from_hf": exchange_with_hf,
        "DatasetVersion.to_croissant, framelode export croissant": croissant,
        "Engine.gc of blobs": lambda w: w.engine.gc(timedelta(0), young=timedelta(0)),
    },
)
listed(
    "files",
    {
        "Engine.gc that collects": lambda w: (
            draft_of(w).delete_frames([each.id for each in draft_of(w).get_iterator()]),
            [w.engine.gc(timedelta(0), young=timedelta(0), dry_run=False) for _ in range(2)],
        )
    },
    times=1,
)

# A datalake of n pictures, each with a tag of its own and one of all.


def lake_of(world: World) -> Datalake:
    return Client(engine=world.engine).get_datalake()


def pictures(world: World) -> list[Path]:
    folder = world.path("pictures")
    folder.mkdir()
    for number in range(world.n):
        # The smallest valid picture there is, made different by its comment.
        (folder / f"{number:06d}.pgm").write_bytes(b"P5 # %d\n1 1 255\n0" % number)
    return sorted(folder.iterdir())


@operation("lakes", "Datalake.upload_data", times=1)
def _(world: World) -> None:
    world.held["lake"] = lake_of(world).upload_data(
        pictures(world), tags=["all"], metadata=[{"brand": "a"}] * world.n
    )


def import_bucket(world: World) -> None:
    folder = pictures(world)[0].parent
    world.cli("lake", "import", "", "--bucket", folder)


listed(
    "lakes",
    {
        "Datalake.upload_data of n tags": lambda w: lake_of(w).upload_data(
            pictures(w)[0], tags=[f"{next(w.fresh)}-{number}" for number in range(w.n)]
        ),
        "Datalake.create_data_tag each": each(
            lambda w, i: lake_of(w).create_data_tag(f"{i}-{next(w.fresh)}")
        ),
        "Data.add_tags each": each(lambda w, i: w.held["lake"][i].add_tags(f"own {i}")),
        "MultiData.add_tags": lambda w: w.held["lake"].add_tags("more"),
        "Data.update_metadata each": each(lambda w, i: w.held["lake"][i].update_metadata({"altitude": i})),
        "MultiData.update_metadata": lambda w: w.held["lake"].update_metadata({"brand": f"{next(w.fresh)}"}),
        "Datalake.find_data each": each(lambda w, i: lake_of(w).find_data(id=w.held["lake"][i].id)),
        "Datalake.list_data": lambda w: lake_of(w).list_data(),
        "Datalake.list_data of a tag": lambda w: lake_of(w).list_data(tags="all"),
        "Datalake.list_data of a query": lambda w: lake_of(w).list_data(
            q="tags.name = 'all' and not metadata.altitude < 0 and filename ~ 'P'"
        ),
        "Datalake.list_data of n ids": lambda w: lake_of(w).list_data(
            ids=[each.id for each in w.held["lake"]]
        ),
        "Datalake.list_data of a tag each": each(lambda w, i: lake_of(w).list_data(tags=f"own {i}")),
        "Datalake.list_data ordered": lambda w: lake_of(w).list_data(
            order_by=["-filename", "metadata.brand"]
        ),
        "Datalake.list_data_tags": lambda w: lake_of(w).list_data_tags(),
        "MultiData.to_frames": lambda w: w.held["lake"].to_frames(),
        "MultiData.download": lambda w: w.held["lake"].download(w.path("downloads")),
        "framelode lake upload": lambda w: w.cli("lake", "upload", pictures(w)[0].parent),
        "framelode lake ls": lambda w: w.cli("lake", "ls"),
        "framelode lake find": lambda w: w.cli("lake", "find", "--id", w.held["lake"][0].id),
        "framelode lake tag, framelode lake untag": lambda w: (
            w.cli("lake", "tag", "seen", "--tag", "all"),
            w.cli("lake", "untag", "seen", "--tag", "all"),
        ),
        "framelode lake download": lambda w: w.cli("lake", "download", w.path("downloads"), "--tag", "all"),
        "framelode lake import": import_bucket,
        "framelode lake jobs": lambda w: w.cli("lake", "jobs"),
    },
)
listed(
    "lakes",
    {
        "MultiData.remove_tags": lambda w: w.held["lake"].remove_tags("more"),
        "framelode lake rm": lambda w: w.cli("lake", "rm", "--tag", "all", "--yes"),
    },
    times=1,
)

# A folder of n sessions with two datasets each.


def sessions(world: World) -> Path:
    folder = world.path("sessions")
    for number in range(world.n):
        place = (
            folder / "lab" / "Subjects" / f"s{number % 10}" / "2026-01-01" / f"{1 + number // 10:03d}" / "alf"
        )
        place.mkdir(parents=True)
        for name in ("wheel.position.npy", "wheel.timestamps.npy"):
            np.save(place / name, np.arange(number))
    return folder


@operation("one", "framelode one setup", times=1)
def _(world: World) -> None:
    world.held["folder"] = sessions(world)
    world.cli("one", "setup", world.held["folder"])


def one_command(*arguments: str) -> Callable[[World], None]:
    return lambda world: world.cli("one", *arguments, "--folder", world.held["folder"])


listed(
    "one",
    {
        "framelode one setup again": lambda w: w.cli("one", "setup", w.held["folder"]),
        "framelode one search": one_command("search", "--subject", "s1"),
        "framelode one ls": one_command("ls", "2026-01-01_001_s1"),
        "framelode one load": one_command("load", "2026-01-01_001_s1", "wheel.position"),
        "framelode one history": one_command("history"),
        "framelode one status": one_command("status"),
        "framelode one tag": one_command("tag", "paper"),
    },
)

VALUES = ["as_of", "read_only", "settings", "blobs", "log", "name", "of", "session", "url"]
NOT_MEASURED = {
    **{f"Engine.{name}": "a value, or a part that is measured through others" for name in VALUES},
    "Engine.close": "closes databases",
    "Engine.import_log": "framelode import log",
    "DatasetVersion.of": "DatasetVersion.get_version",
    "DatasetVersion.Frame": "a class",
    **dict.fromkeys(
        ("BulkContext.finish", "BulkContext.is_like", "BulkContext.raise_refused", "BulkContext.record"),
        "a part of BulkContext.flush",
    ),
    **{f"ExecutionStore.{name}": "a value" for name in ("default_policy", "service")},
    **{f"Datasets.{name}": "a value" for name in ("close", "engine", "reach", "root_dir")},
    "framelode completion": "prints a constant",
    "framelode config": "reads or writes one small file",
    "framelode demo": "does always the same",
    "framelode init": "makes an empty engine",
}
"""Public operations whose time cannot grow with what an engine holds, each with the reason."""


def covered() -> set[str]:
    """Return the public operations that are measured: methods with their class, commands with all their words."""
    found: set[str] = set()
    for each_operation in OPERATIONS:
        before: list[str] = []
        for name in each_operation.names:
            words = name.split(" ")
            if words[0] == "framelode" or before[:1] == ["framelode"]:
                before = words if words[0] == "framelode" else before[:-1] + words
                found |= {" ".join(before[:end]) for end in (2, 3)}
            else:
                before = words[0].split(".") if "." in words[0] else [*before[:1], words[0]]
                found.add(".".join(before))
    return found


def measure(operations: list[Operation], n: int, *, quick: bool) -> dict[str, float]:
    """Make a world of size n and run the operations; returns the processor seconds of each."""
    folder = Path(tempfile.mkdtemp(prefix="growth-"))
    try:
        world = World(folder, n)
        with world.engine:
            found = {}
            for each_operation in operations:
                try:
                    found[each_operation.title] = best(each_operation, world, quick=quick)
                except Exception as error:
                    print("FAILED", each_operation.title, repr(error)[:300], file=sys.stderr)
                    found[each_operation.title] = 0.0
        world.engine.close()
        return found
    finally:
        shutil.rmtree(folder)


def best(operation_: Operation, world: World, *, quick: bool) -> float:
    times: list[float] = []
    for _ in range(1 if quick else operation_.times):
        start = time.process_time()
        operation_.call(world)
        times.append(time.process_time() - start)
    return min(times)


def row(title: str, times: list[float]) -> str:
    ratios = [later / max(earlier, 1e-6) for earlier, later in itertools.pairwise(times)]
    bad = any(ratio > LIMIT and later > NOTICEABLE for ratio, later in zip(ratios, times[1:], strict=True))
    cells = [f"{seconds:9.3f}" for seconds in times] + [f"{ratio:6.2f}" for ratio in ratios]
    return f"{'!' if bad else ' '} {title[:76]:<76} {' '.join(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="operations whose name holds this")
    parser.add_argument("--quick", action="store_true", help="sizes n, 2n and 4n, once")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for world_name, smallest in SIZES.items():
        operations = [each for each in OPERATIONS if each.world == world_name]
        wanted = {each.title for each in operations if arguments.only in each.title}
        if not wanted:
            continue
        # What makes the world comes first, and is always run.
        operations = [each for each in operations if each.title in wanted or each.times == 1]
        sizes = [smallest * factor for factor in ((1, 2, 4) if arguments.quick else (1, 2, 4, 8))]
        print(
            f"  {world_name + ': n = ' + ', '.join(map(str, sizes)):<76}", "seconds, then ratios", flush=True
        )
        found = [measure(operations, n, quick=arguments.quick) for n in sizes]
        for each in operations:
            if each.title in wanted:
                print(row(each.title.partition(": ")[2], [times[each.title] for times in found]), flush=True)


if __name__ == "__main__":
    main()
