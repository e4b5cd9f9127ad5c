"""framelode, from this checkout."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from workload import Changes, size_of

import framelode
from framelode import BoundingBox2D, DatasetVersion, FrameDiff, SingleFrame

from .arrow import table
from .contestant import Contestant, Figure, measure, of_children

COLUMNS = {"uri": "source", "boxes": "rois", "boxes.box": "rois.poly"}
"""Where `add_table` finds the fields of frames in the table."""


def frame(row: dict[str, Any]) -> SingleFrame:
    return SingleFrame(
        id=row["id"],
        source=row["uri"],
        width=row["width"],
        height=row["height"],
        metadata=row["meta"],
        annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in row["boxes"]],
    )


def wire(row: dict[str, Any]) -> dict[str, Any]:
    """Return the content as `add_dicts` takes it."""
    return {
        "id": row["id"],
        "sources": [{"uri": row["uri"], "width": row["width"], "height": row["height"]}],
        "rois": [{"type": "box2d", "label": [box["label"]], "poly": box["box"]} for box in row["boxes"]],
        "meta": row["meta"],
    }


def version(name: str) -> DatasetVersion:
    return DatasetVersion.get_version(dataset_name="bench", version_name=name)


class Framelode(Contestant):
    packages = ("framelode", "msgspec", "numpy", "SQLAlchemy", "zstandard", "pyarrow")
    open_anew = """import sys, framelode
framelode.connect(sys.argv[1])
version = framelode.DatasetVersion.get_version(dataset_name="bench", version_name="Current")
assert version.get_single_frame(sys.argv[2]).id == sys.argv[2]
"""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        self.wire = [wire(row) for row in self.rows]
        self.objects_ready: list[SingleFrame] = []

    def ingest(self, write: Callable[[DatasetVersion], Any], *, keep: bool = False) -> Figure:
        """Measure writing into the empty draft of a new engine."""
        folder = self.new_folder()
        with closing(framelode.connect(folder)):
            DatasetVersion.create_new_dataset("bench")
            draft = DatasetVersion.get_current(dataset_name="bench")
            taken = measure(lambda: write(draft))
            assert len(draft) == self.count
        self.keep(folder, keep=keep)
        return taken

    def objects(self) -> Figure:
        return self.ingest(lambda draft: draft.add_frames([frame(row) for row in self.rows]))

    def dicts_documented(self) -> Figure:
        return self.ingest(lambda draft: draft.add_dicts(self.wire))

    def dicts(self) -> Figure:
        return self.ingest(lambda draft: draft.add_dicts(self.wire, refresh_version_stats=False), keep=True)

    def ready(self) -> Figure:
        self.objects_ready = [frame(row) for row in self.rows]
        return self.ingest(lambda draft: draft.add_frames(self.objects_ready))

    def ready_unrefreshed(self) -> Figure:
        objects, self.objects_ready = self.objects_ready or [frame(row) for row in self.rows], []
        return self.ingest(lambda draft: draft.add_frames(objects, refresh_version_stats=False))

    def table(self) -> Figure:
        ready = table(self.rows)
        return self.ingest(lambda draft: draft.add_table(ready, COLUMNS, refresh_version_stats=False))

    def iterate_arrow(self) -> Figure:
        return measure(lambda: sum(batch.num_rows for batch in self.base.to_arrow_reader()), times=3)

    def prepare(self) -> Figure:
        self.engine = framelode.connect(self.store)
        self.base = DatasetVersion.get_current(dataset_name="bench")
        published = measure(self.base.publish_version)
        self.engine.close()
        stored = size_of(self.store)
        self.engine = framelode.connect(self.store)
        self.base = version("Current")
        self.base.get_single_frame(next(self.asked))  # as in use: the version has been read before
        return {"ready": published, "bytes": {"amount": stored}, "bytes_all": {"amount": stored}}

    def one(self) -> Figure:
        return measure(lambda: self.base.get_single_frame(next(self.asked)), times=1000)

    def many_ids(self) -> Figure:
        return measure(lambda: self.base.get_frames_by_ids(self.many), times=5)

    def iterate(self) -> Figure:
        return measure(lambda: sum(1 for _ in self.base))

    def statistics(self) -> Figure:
        return measure(self.base.get_stats, times=20)

    def child(self) -> Figure:
        self.latest = self.base
        return self.make_child("child", self.child_changes)

    def child_documented(self) -> Figure:
        """Change and add objects with default arguments, so that statistics are refreshed three times."""
        made = self.documented_changes

        def write(child: DatasetVersion, changed: list[SingleFrame]) -> None:
            child.update_frames(changed)
            child.delete_frames(made.deleted)
            child.add_frames([frame(row) for row in made.new])

        return self.measure_child("documented", made, write)

    def make_child(self, name: str, made: Changes) -> Figure:
        new = [wire(row) for row in made.new]

        def write(child: DatasetVersion, changed: list[SingleFrame]) -> None:
            child.update_frames(changed, refresh_version_stats=False)
            child.delete_frames(made.deleted, refresh_version_stats=False)
            child.add_dicts(new, refresh_version_stats=False)

        return self.measure_child(name, made, write)

    def measure_child(
        self, name: str, made: Changes, write: Callable[[DatasetVersion, list[SingleFrame]], None]
    ) -> Figure:
        parent = self.latest
        changed = parent.get_frames_by_ids([row["id"] for row in made.changed])
        for one in changed:
            one.metadata["exposure"] = -1.0

        def work() -> None:
            self.latest = DatasetVersion.create_version(
                name, dataset_name="bench", parent_version_ids=[parent.version_id]
            )
            write(self.latest, changed)
            self.latest.publish_version()

        taken = measure(work)
        assert len(self.latest) == self.count
        return taken

    def children(self) -> Figure:
        before = self.stored()
        taken = [self.make_child(f"child{n}", made) for n, made in enumerate(self.children_changes)]
        return of_children(taken, self.stored() - before)

    def stored(self) -> int:
        """Return the bytes of the engine as they are when it is closed."""
        self.engine.close()
        stored = size_of(self.store)
        self.engine = framelode.connect(self.store)
        self.base, self.latest = (self.engine.version(one.version_id) for one in (self.base, self.latest))
        return stored

    def past(self) -> Figure:
        gone = itertools.cycle(self.child_changes.deleted)
        return measure(lambda: version("Current").get_single_frame(next(gone)), times=1000)

    def difference(self) -> Figure:
        return self.measure_difference(lambda one: (one.frame_id, one.fields))

    def difference_contents(self) -> Figure:
        return self.measure_difference(lambda one: (one.frame_id, one.fields, one.before, one.after))

    def measure_difference(self, read: Callable[[FrameDiff], tuple[Any, ...]]) -> Figure:
        new, old = version("documented"), version("child")

        def work() -> None:
            found = new.diff(old)
            rows = [read(one) for part in (found.added, found.removed, found.changed) for one in part]
            assert len(rows) == 3 * len(self.documented_changes.new)

        return measure(work)

    def history(self) -> Figure:
        asked = itertools.cycle(row["id"] for row in self.documented_changes.changed)
        return measure(lambda: self.latest.history(next(asked)), times=1000)

    def rebuild(self) -> Figure:
        return measure(self.engine.rebuild)
