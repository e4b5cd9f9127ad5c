"""What a type checker makes of the public API; checked, never run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, assert_type

from PIL.Image import Image

import framelode
from framelode import (
    Blame,
    BoundingBox2D,
    Change,
    Checkpoint,
    Dataset,
    DatasetVersion,
    Diff,
    DiffStats,
    Engine,
    FrameDiff,
    ImageAnnotation,
    Polygon2D,
    SingleFrame,
    Statistics,
)
from framelode.adapters.one import One

engine = framelode.connect("./food")
assert_type(engine, Engine)
assert_type(engine.checkpoint(), Checkpoint)
assert_type(Checkpoint.read("checkpoint.json").position, int)
assert_type(engine.export_log("log.jsonl", dataset="food").events, int)
assert_type(engine.import_log("log.jsonl").missing_blobs, list[str])
assert_type(DatasetVersion.create_new_dataset("food"), Dataset)
draft = DatasetVersion.get_current(dataset_name="food")
assert_type(draft, DatasetVersion)
assert_type(draft.create_snapshot(), DatasetVersion)
assert_type(DatasetVersion.create_snapshot(dataset_name="food"), DatasetVersion)
assert_type(DatasetVersion.get_versions("food"), list[DatasetVersion])

frame = SingleFrame(source="a.jpg", annotations=[BoundingBox2D(1, 2, 3, 4, labels=["cat"])])
frame.annotations = [Polygon2D([(0, 0), (1, 0), (1, 1)], labels=["dog"]), ImageAnnotation(labels=["day"])]
assert_type(frame.id, str | Any)
assert_type(frame.width, int | None)
assert_type(frame.add_annotation(box2d_xywh=(1, 2, 3, 4)), list[int])
assert_type(framelode.draw(frame), Image)
assert_type(draft.get_single_frame("x"), SingleFrame | Any)
assert_type(draft.get_stats(), Statistics)
assert_type(draft.last_updated, datetime)
assert_type(draft.get_parent(), str | None)
assert_type(draft.at(5), DatasetVersion)
assert_type(engine.at(datetime.now(UTC)), Engine)
assert_type(draft.get_stats(as_of=5), Statistics)
assert_type(DatasetVersion.get_datasets(as_of=datetime.now(UTC)), list[Dataset])
assert_type(engine.dataset("food").at(None), Dataset)
assert_type(framelode.connect("./food", as_of=5), Engine)
assert_type(draft.publish_version(), bool)
with draft.get_bulk_context() as bulk:
    bulk.add_frame(frame)
for found in draft:
    assert_type(found, SingleFrame | Any)

assert_type(engine.sql("SELECT 1", [1], timeout=5).fetchall(), list[tuple[Any, ...]])
assert_type(engine.count("meta.a:1", ["food@*", draft]), int)
for version, _ in engine.query("meta.a:1", "food@*", limit=5):
    assert_type(version, DatasetVersion)

assert_type(draft.history("x"), list[Change])
assert_type(draft.history(), Iterator[Change])
assert_type(engine.history("food", kinds="published", newest_first=True), Iterator[Change])
assert_type(draft.blame("x"), Blame)
diff = draft.diff(draft)
assert_type(diff, Diff)
assert_type(diff.stats, DiffStats)
assert_type(diff.added.ids, list[str])
for entry in diff.changed:
    assert_type(entry, FrameDiff)
    assert_type(entry.labels_gained, dict[str, int])

one = One("data", mode="local")
assert_type(one.list_subjects(as_of="paper"), list[str])
one.search(subject="mouse", details=True, as_of=["paper", 12])
one.load_object("2021-02-05_001_mouse", "wheel", collection="alf", as_of=12)
one.list_datasets("2021-02-05_001_mouse", colection="alf")  # type: ignore[call-arg]
one.load_datasets("2021-02-05_001_mouse")  # type: ignore[call-arg]
