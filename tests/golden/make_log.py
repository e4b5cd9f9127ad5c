"""Writes the golden log: `python make_log.py FOLDER` makes an engine there whose log has every kind of event.

Clock, ids and actor are fixed, so that each run gives the same positions and digests. With `--replace` the log also
becomes `log.db` beside this file, and what it holds `log.json`; that is done only with a new version of the log format,
and the old ones are kept under another name.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import reader

import framelode
from framelode import (
    BoundingBox2D,
    BoundingBox3D,
    ComplexPolygon2D,
    ComplexPolygon3D,
    DatasetVersion,
    Ellipse2D,
    FrameGroup,
    ImageAnnotation,
    KeyPoints2D,
    KeyPoints3D,
    Mask,
    Polygon2D,
    Polygon3D,
    SingleFrame,
)
from framelode.adapters.execution_store.store import ExecutionStore
from framelode.engine.events.domain import SourcesDeleted, UploadedFile
from framelode.engine.events.pins import PinAdded, PinLocked, PinUpdated
from framelode.engine.events.registry import encode_event
from framelode.engine.log.contract import Append
from framelode.engine.log.event_batch import pack_states
from framelode.engine.pins import record_pins

HERE = Path(__file__).parent


def annotations():
    return [
        BoundingBox2D(1, 2, 30, 40.5, labels=["cat", "pet"], confidence=0.75, id="b"),
        BoundingBox2D(1, 2, 30, 40, 0.5, metadata={"truncated": True}),
        BoundingBox3D([0, 0, 1, 10, 10, 1, 1, 2, 9, 9], labels="box"),
        Polygon2D([(0, 0), (4, 0), (4, 3)], labels="cat"),
        Polygon3D([(0, 0, 0), (4, 0, 1), (4, 3, 2)]),
        ComplexPolygon2D([[(0, 0), (9, 0), (9, 9)], [(1, 1), (2, 1), (2, 2)]], labels="ring"),
        ComplexPolygon3D([[(0, 0, 0), (9, 0, 0), (9, 9, 0)]]),
        Ellipse2D(5, 5, 3, 2, 0.25, labels="eye"),
        KeyPoints2D([(1, 1), (2, 2)]),
        KeyPoints3D([(1, 1, 1)]),
        Mask((1, 2, 3), "00", labels="sky"),
        ImageAnnotation(labels=["indoor"]),
    ]


def group():
    left = SingleFrame(source="s3://bucket/left.png", width=4, height=3)
    left.add_annotation(box2d_xywh=(0, 0, 1, 1), labels="cat")
    right = SingleFrame(source="s3://bucket/right.png", timestamp=7, mask_source=["s3://bucket/m.png"])
    made = FrameGroup(id="stereo 1", metadata={"rig": "a"}, frames={"left": left, "right": right})
    made.add_global_annotation(labels=["pair"])
    return made


def numbered(start, stop, **values):
    return [
        SingleFrame(id=f"{number:032x}", source=f"s3://bucket/{number}.jpg", **values)
        for number in range(start, stop)
    ]


def write(engine):
    """Write datasets, versions and frames through the public API."""
    food = DatasetVersion.create_new_dataset("food", description="meals", tags=["a"])
    DatasetVersion.create_new_dataset("food", tags=["b"])
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.set_metadata({"licence": "none", "numbers": [1, 1.0, -2, 2**64 - 1, None]})
    rich = SingleFrame(
        id="pizza é\U0001f355",
        source="/photos/pizza 1.jpg",
        width=640,
        height=480,
        timestamp=-5,
        size=123456,
        hash="blake3:00ff",
        preview_uri="https://host/p.jpg",
        preview_uri_timestamp=3,
        metadata={"b": [1.5, {"z": 0.0, "a": "é"}], "a": None, "": False},
        annotations=annotations(),
        mask_source={"00": "s3://bucket/mask.png"},
        context_id="video 1",
    )
    draft.add_frames([rich, group(), *numbered(0, 3)], refresh_version_stats=False)
    with framelode.acting(actor="writer é", context={"run": "r1", "nested": {"b": 1, "a": [2.5]}}):
        draft.add_frames(numbered(3, 30), batch_size=2, command_id="import 1", refresh_version_stats=False)
    draft.add_frames([SingleFrame(), SingleFrame(source="https://host/x.png")], refresh_version_stats=False)
    draft.commit_version()
    draft.add_frames(numbered(4, 8, metadata={"again": 1}))
    draft.update_frames(numbered(8, 10, metadata={"merged": {"x": 1}}), without_fields=["sources"])
    draft.delete_frames([f"{number:032x}" for number in (10, 11)], command_id="drop")
    draft.add_frames(numbered(11, 12, width=8))
    child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1", publish_comment="first")
    child.update_frames([SingleFrame(id="pizza é\U0001f355", metadata={"inherited": True})])
    child.delete_frames(["stereo 1", "0" * 32])
    child.add_frames([*numbered(0, 1, height=9), *numbered(100, 400)], batch_size=200)
    engine.session.writes.versions.create_snapshot(
        child.version_id, child_name="unused", command_id="snapshot 2"
    )
    unused = DatasetVersion.get_version(dataset_name="food", version_name="unused")
    DatasetVersion.remove_version(dataset_name="food", version_id=unused.version_id)
    twin = DatasetVersion.create_version("twin", dataset_id=food.id, parent_version_names=["v1"])
    twin.delete_frames([frame.id for frame in twin])
    other = DatasetVersion.create_new_dataset("food", dataset_project="lab")
    DatasetVersion.get_current(other.id).publish_version()
    other.rename("meals")
    other.move("kitchen")
    other.describe("what is cooked")
    twin.set_tags(["empty"])
    sent = UploadedFile("s3://bucket/up/1.jpg", "0c" * 32, 5)
    engine.session.writes.upload_commands.record_uploads(
        "s3://bucket/up", [sent, UploadedFile("s3://bucket/up/2.jpg", "0d" * 32, 0)]
    )
    write_pins(engine)
    write_stores(engine)

    delete_sources_as_before(engine, [sent.uri])
    named = [f"s3://bucket/{number}.jpg" for number in range(3)]
    twin.add_frames([SingleFrame(id=f"source {uri}", source=uri) for uri in named])
    engine.session.writes.frames.delete(
        twin.version_id,
        [f"source {uri}" for uri in named],
        sources={f"source {uri}": [uri] for uri in named},
    )
    condemned = engine.session.writes.source_commands.source_ledger.condemned()
    engine.session.writes.source_commands.restore_sources({uri: condemned[uri] for uri in named[:1]})
    engine.session.writes.source_commands.delete_sources(
        {uri: condemned[uri] for uri in named[1:2]}, list, list
    )
    engine.session.writes.blob_commands.condemn_blobs(["0a" * 32, "0b" * 32])
    engine.session.writes.blob_commands.restore_blobs(["0a" * 32], list)
    condemned = engine.session.writes.blob_commands.blob_ledger.condemned()
    engine.session.writes.blob_commands.collect_blobs(
        {digest: when.position for digest, when in condemned.items()}, list
    )


def write_pins(engine):
    spec = {"name": "train é", "url": "https://host/data.git", "type": "dvc"}
    lock = {**spec, "rev_lock": "0f" * 20}
    moved = {**spec, "rev": "v2"}
    listed = {"name": "raw", "url": "s3://bucket/raw", "type": "url"}
    of_files = {"spec": listed, "lock": {**listed, "meta": {"isdir": True, "size": 7, "mtime": 1.5}}}
    found = {
        ("dvc.yaml", "train é"): {"spec": spec, "invalidated": True},
        ("sub/dvc.yaml", "raw"): {**of_files, "files": {"count": 2000, "digest": "0b" * 16}},
    }

    def change(pins):
        pins.record(PinAdded, "work", ("dvc.yaml", "train é"), {"spec": spec, "lock": lock})
        pins.record(PinAdded, "work", ("dvc.yaml", "gone"), {"spec": {**spec, "name": "gone"}})
        pins.record(PinUpdated, "work", ("dvc.yaml", "train é"), {"spec": moved, "lock": {**moved, **lock}})
        pins.record(PinLocked, "work", ("dvc.yaml", "train é"), {"spec": moved, "lock": {**lock, **moved}})
        pins.observe("moved", found)

    record_pins(engine.session.writes.application, "0e" * 16, change)


def write_stores(engine):
    values = {
        "text é": "\U0001f355",
        "none": None,
        "many": [1, 2.5, True, -(2**63), 2**64 - 1],
        "bytes": b"\0\xff",
    }
    moment = datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5)))
    store = ExecutionStore.create("settings")
    store.service.create_store("settings", {"made": "here"}, "evict")
    store.set_many({**values, "when": [moment, UUID(int=7)]}, command_id="settings 1")
    # Keys in order, and the policy that a key with a time to live had in the schema of this log.
    store.set("none", {"a": {"c": []}, "b": 1})
    store.set("short", "lived", ttl=0, policy="evict")
    store.set("short", "again", ttl=3600, policy="evict")
    store.update_ttl("short", None)
    store.update_policy("many", "evict")
    store.delete("bytes")
    store.clear_cache()
    of_dataset = ExecutionStore.create("settings", "65f0c0ffee65f0c0ffee0000", "evict", "others")
    of_dataset.set("kept", 1, ttl=0.25)
    gone = ExecutionStore.create("gone")
    gone.set_many({"a": 1, "b": 2})
    gone.service.delete_store("gone")


def delete_sources_as_before(engine, uris):
    """Record deleted sources in the stream ``uploads``, as the first logs have them."""
    version = engine.log.stream_version("uploads") + 1
    event = SourcesDeleted(originator_id="uploads", originator_version=version, uris=uris)
    batch = pack_states("uploads", version, [encode_event(event)])
    engine.log.append(
        Append(batches=[batch], command_id=engine.session.new_id(), request_digest=b"", actor="golden")
    )


def make(folder):
    """Make the engine, and return the path of its log."""
    times, ids = itertools.count(1_700_000_000_000_000, 250_000), itertools.count(1)
    engine = framelode.connect(folder, clock=lambda: next(times), new_id=lambda: f"{next(ids):032x}")
    with engine, framelode.acting(actor="golden", context={}):
        write(engine)
        engine.verify()
    engine.close()
    return Path(folder) / "log.db"


if __name__ == "__main__":
    made = make(sys.argv[1])
    if "--replace" in sys.argv:
        shutil.copy(made, HERE / "log.db")
        summary = reader.read_log(str(made)).summary()
        (HERE / "log.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", "utf-8")
