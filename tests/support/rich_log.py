"""A log in which every projection finds something to fold: whoever adds a projection adds here what it reads."""

from __future__ import annotations

import warnings

import toy_api
from toy_api.api import ToyBox

from framelode import DatasetVersion, DataView, F, SingleFrame
from framelode.adapters.execution_store.engine_repo import EngineStoreRepo
from framelode.adapters.execution_store.service import ExecutionStoreService
from framelode.adapters.execution_store.store import ExecutionStore
from framelode.engine.blobs.uris import blob_uri
from framelode.engine.datasets.aggregate import Aggregate
from framelode.engine.events import alf, lakes, registry
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
    view = DataView("train", tags=["t"], iteration_order="random")
    view.add_query(dataset_name="meals", version_name="v1", roi_query="cat")
    view.store()
    view.add_query(
        version_id=branch.version_id,
        frame_query=F.meta.a == 1,
        label_rules=[{"label": "dog", "count_range": [1, -1]}],
    )
    view.add_mapping_rule("cat", "animal")
    view.set_labels({"animal": 1})
    view.store()
    view.store("test")
    view.store("unwanted")
    view.delete()
    yield
    DatasetVersion.create_new_dataset("empty", description="nothing yet")
    DatasetVersion.remove_version(dataset_id=dataset.id, version_name="left")
    yield
    yield from lake(engine)
    yield from alf_folder(engine)
    if toy_api.TOYS in registry.STREAMS:
        box = ToyBox("red")
        box.pack("car", {"wheels": 4})
        yield
        box.pack("doll")
        yield


def record(engine, stream_id, *events):
    """Append events, each a class and its fields, to a stream."""
    application = engine.session.writes.application

    def decide():
        stream = Aggregate(stream_id)
        stream.version = engine.log.stream_version(stream_id) or 0
        for event, fields in events:
            stream.trigger(event, **fields)
        return [stream], {}

    application.run(["record"], None, decide)


def alf_folder(engine):
    """Yield after each step of the history of a folder with ALF files."""
    root = "1" * 32
    eids = [f"00000000-0000-4000-8000-{n:012}" for n in range(3)]

    def happen(*events):
        record(
            engine,
            f"alf-{root}",
            *((event, {"root": root, "folder": "data", **more}) for event, more in events),
        )

    def session(n, kind=alf.AlfSessionRegistered, subject="m"):
        path = f"{subject}/2021-02-0{n + 1}/001"
        fields = {"subject": subject, "date": f"2021-02-0{n + 1}", "number": 1, "path": path}
        return kind, {"eid": eids[n], "lab": "lab" if n else None, **fields}

    def datasets(kind, n, **state):
        made = [alf.AlfDataset(f"{m:08}{eids[n][8:]}", f"alf/a.b{m}.npy", **state) for m in range(3)]
        return kind, {"eid": eids[n], "datasets": made}

    happen(*(each for n in range(3) for each in (session(n), datasets(alf.AlfDatasetsRegistered, n, size=n))))
    yield
    happen(
        session(1, alf.AlfSessionChanged, subject="m2"),
        datasets(alf.AlfFilesChanged, 0, size=9, hash="0" * 32),
        datasets(alf.AlfQcChanged, 1, qc=40),
    )
    happen(
        (alf.AlfTagged, {"name": "paper", "position": 3}), (alf.AlfTagged, {"name": "other", "position": 4})
    )
    yield
    happen(
        datasets(alf.AlfRevisionsChanged, 0, is_default=False),
        datasets(alf.AlfDatasetsMissing, 1, exists=False),
        datasets(alf.AlfDatasetsMissing, 2, exists=False),
        datasets(alf.AlfDatasetsFound, 2),
    )
    happen(
        (alf.AlfDatasetsLoaded, {"eid": eids[0], "datasets": ["a", "b"]}),
        (alf.AlfUntagged, {"name": "other"}),
    )
    yield


def lake(engine):
    """Yield after each step of the history of a datalake."""
    ids = [f"{n:032x}" for n in range(20)]
    lake, source, _, job, upload = ids[10:15]

    def happen(*events):
        record(engine, f"lake-{lake}", *((event, {"lake": "default", **fields}) for event, fields in events))

    def content(kind, n, **fields):
        return kind(id=ids[n], filename=f"{n}.jpg", object_name=f"{n}.jpg", digest=f"{n:064x}", **fields)

    for number in (0, 1):
        named = {"id": ids[10 + number], "name": f"thing {number}"}
        record(engine, "lakes", (lakes.LakeCreated, named), (lakes.SourceCreated, named))
        record(engine, "lakes", (lakes.ProcessingCreated, {"definition": {"n": number}, **named}))
    yield
    happen(
        (lakes.TagsCreated, {"tags": [lakes.TagRecord(id=ids[n], name=f"tag {n}") for n in range(3)]}),
        (
            lakes.DataUploaded,
            {
                "data": [
                    content(
                        lakes.DataRecord, n, metadata={"n": n, "at": {"$datetime": "2024-02-29T12:00:00"}}
                    )
                    for n in range(6)
                ],
                "tags": ids[:2],
                "source": source,
            },
        ),
        (lakes.UploadStarted, {"id": upload, "request": "x", "paths": 9}),
        (lakes.UploadStarted, {"id": job, "request": "y", "paths": 9}),
    )
    yield
    happen((lakes.TagsAttached, {"tags": ids[1:3], "data": ids[2:8]}))
    happen((lakes.TagsDetached, {"tags": ids[:1], "data": ids[:2]}))
    happen(
        (lakes.DataUpdated, {"data": ids[:4], "metadata": {"n": None, "a": 1}, "custom_metadata": {"b": 2}})
    )
    happen((lakes.DataUpdated, {"data": ids[3:5], "cleared": ["metadata"], "metadata": {"c": 3}}))
    yield
    for n in (0, 1, 5):
        derived = content(lakes.StoredContent, 15 + n % 3)
        happen(
            (lakes.ProjectionCreated, {"data": ids[n], "name": "mask", "content": derived, "infos": {"n": n}})
        )
    happen((lakes.ProjectionDeleted, {"id": ids[16], "data": ids[1], "name": "mask"}))
    happen((lakes.DataDeleted, {"data": ids[5:7]}))
    happen(
        (lakes.TagUpdated, {"id": ids[1], "name": "new name"}),
        (lakes.TagDeleted, {"id": ids[2], "name": "tag 2"}),
    )
    happen((lakes.UploadFinished, {"id": upload}))
    yield
    happen((lakes.JobCreated, {"id": job, "name": "import", "request": {"prefixes": [""]}, "host": "here"}))
    happen((lakes.JobUpdated, {"id": job, "name": "import", "status": "RUNNING", "done": 1, "log": ["one"]}))
    happen(
        (lakes.JobUpdated, {"id": job, "name": "import", "status": "FAILED", "log": ["two"], "error": "no"})
    )
    record(
        engine,
        "lakes",
        (lakes.LakeConnected, {"id": lake, "name": "default", "bucket": "s3://b"}),
        (lakes.SourceUpdated, {"id": source, "name": "camera"}),
        (lakes.SourceDeleted, {"id": lake, "name": "thing 0"}),
        (lakes.ProcessingUpdated, {"id": source, "name": "other", "definition": {}}),
        (lakes.ProcessingDeleted, {"id": lake, "name": "thing 0"}),
    )
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
