"""A log in which every projection finds something to fold: whoever adds a projection adds here what it reads."""

from __future__ import annotations

import warnings

import toy_api
from toy_api.api import ToyBox

from framelode import DatasetVersion, SingleFrame
from framelode.adapters.execution_store.engine_repo import EngineStoreRepo
from framelode.adapters.execution_store.service import ExecutionStoreService
from framelode.adapters.execution_store.store import ExecutionStore
from framelode.engine.blobs.uris import blob_uri
from framelode.engine.events import registry
from framelode.engine.events.domain import UploadedFile
from framelode.engine.log.contract import Append
from framelode.engine.log.event_batch import pack_states
from framelode.engine.pins import record_pins


def frames(start, stop, label="cat", **values):
    made = [SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", **values) for n in range(start, stop)]
    for frame in made:
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
    return made


def blob(number):
    return blob_uri(f"{number:064x}", "a.jpg")


def pin(engine, found):
    pins = {("dvc.yaml", name): state for name, state in found.items()}
    record_pins(engine.session.writes.application, "0" * 32, lambda project: project.observe("work", pins))


def steps(engine):
    """Yield after each step of a history of two datasets."""
    arguments = {"batch_size": 3, "refresh_version_stats": False}
    dataset = DatasetVersion.create_new_dataset("food", tags=["t"])
    yield
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.add_frames(frames(0, 10, size=7), **arguments)
    yield
    draft.add_frames([SingleFrame(id=f"blob {n}", source=blob(n)) for n in range(5)], **arguments)
    yield
    draft.add_frames(frames(5, 15, label="dog"), **arguments)
    draft.delete_frames([f"{0:032x}", "blob 1"], **arguments)
    yield
    append_foreign_events(engine)
    yield
    uploaded = [UploadedFile(f"s3://u/{n}.jpg", f"{n:064x}", n) for n in range(6)]
    engine.session.writes.upload_commands.record_uploads("s3://u", uploaded[:4])
    yield
    engine.session.writes.upload_commands.record_uploads(
        "s3://u", [*uploaded[3:], UploadedFile("s3://u/again.jpg", f"{1:064x}", 1)]
    )
    draft.add_frames([SingleFrame(id=f"up {n}", source=f"s3://u/{n}.jpg") for n in (2, 3, 5)], **arguments)
    engine.session.writes.frames.delete(
        draft.version_id,
        [f"up {n}" for n in (2, 3, 5)],
        sources={f"up {n}": [f"s3://u/{n}.jpg"] for n in (2, 3, 5)},
    )
    yield
    condemned = engine.session.writes.source_commands.source_ledger.condemned()
    engine.session.writes.source_commands.restore_sources(
        {uri: at for uri, at in condemned.items() if "3" in uri}
    )
    engine.session.writes.source_commands.delete_sources(
        {uri: at for uri, at in condemned.items() if "2" in uri}, list, list
    )
    yield
    pin(engine, {"a": {"spec": {"url": "x"}}, "b": {"spec": {"url": "y"}}})
    yield
    pin(
        engine,
        {"a": {"spec": {"url": "x"}, "lock": {"rev_lock": "1"}}, "c": {"spec": {}, "invalidated": True}},
    )
    yield
    draft.add_frames([SingleFrame(id="blob 1", source=blob(2))], **arguments)
    draft.describe("first")
    draft.set_metadata({"a": {"b": 1}})
    draft.commit_version()
    yield
    child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    yield
    child.add_frames(frames(3, 8, label="bird"), **arguments)
    child.delete_frames([f"{9:032x}"], **arguments)
    child.publish_version()
    yield
    for name, start in (("left", 4), ("right", 6)):
        branch = DatasetVersion.create_version(
            name, dataset_name="food", parent_version_ids=[child.version_id]
        )
        branch.add_frames(frames(start, start + 4, label=name, width=9), **arguments)
        yield
    settings = store(engine)
    settings.service.create_store("settings", {"for": "tests"}, "evict")
    settings.set_many({f"key {n}": {"n": n} for n in range(7)})
    settings.set("key 1", [b"again", None])
    settings.set("gone", 1, ttl=0)
    settings.set_cache("cached", "x", ttl=10**6)
    yield
    settings.set("gone", 2)
    settings.delete("key 2")
    settings.update_ttl("key 3", 10**6)
    settings.update_policy("key 4", "evict")
    other = store(engine, "scratch", dataset_id=dataset.id, collection_name="elsewhere")
    other.set_many({"a": 1, "b": 2}, ttl=10**6)
    yield
    settings.clear_cache()
    other.service.delete_store("scratch")
    other.set("c", 3)
    settings.set("key 5", "last", ttl=10**6)
    yield
    branch.set_tags(["x"])
    engine.dataset("food").rename("meals")
    yield
    DatasetVersion.create_new_dataset("empty", description="nothing yet")
    DatasetVersion.remove_version(dataset_id=dataset.id, version_name="left")
    yield
    if toy_api.TOYS in registry.STREAMS:
        box = ToyBox("red")
        box.pack("car", {"wheels": 4})
        yield
        box.pack("doll")
        yield


def store(engine, name="settings", **arguments):
    return ExecutionStore(name, ExecutionStoreService(EngineStoreRepo(engine, **arguments)))


def play(engine):
    with engine, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in steps(engine):
            pass


def append_foreign_events(engine, stream_id="orders"):
    """Append what another eventsourcing application would: streams and topics that nobody here knows."""
    version = (engine.log.stream_version(stream_id) or 0) + 1
    states = [("shop.domain:Order.Placed", b"\xff\0 no msgpack"), ("shop.domain:Order.Paid", b"")]
    batch = pack_states(stream_id, version, states)
    engine.log.append(
        Append(batches=[batch], command_id=engine.session.new_id(), request_digest=b"", actor="somebody else")
    )
