"""Garbage collection keeps the files of versions as stored views read them, until the versions are removed."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from framelode import DatasetVersion, DataView, NotFoundError, SingleFrame
from framelode.engine.blobs.uris import blob_uri, parse_blob_uri
from framelode.engine.datasets.aggregate import Aggregate
from framelode.engine.events.views import ViewStored


def view_of(version):
    view = DataView()
    view.add_query(version_id=version.version_id)
    return view


def blob_frame(engine, name):
    content = name.encode()
    return SingleFrame(id=name, source=blob_uri(engine.blobs.put(content).digest, f"{name}.jpg"))


def collect(engine):
    now = timedelta(0)
    return [engine.gc(now, young=now, dry_run=False).collected for _ in range(2)][1]


def test_gc_keeps_what_a_view_of_a_draft_reads(engine, draft):
    draft.add_frames([blob_frame(engine, name) for name in ("deleted", "updated", "kept")])
    view = view_of(draft)
    view.store()
    later = blob_frame(engine, "later")
    draft.add_frames([later])
    draft.delete_frames(["deleted", "later"])
    draft.update_frames([SingleFrame(id="updated", source="s3://b/new.jpg")])
    assert collect(engine) == [parse_blob_uri(later.source).digest]
    draft.publish_version()
    assert collect(engine) == []
    found = {frame.id: Path(frame.get_local_source()).read_bytes() for frame in DataView.get(view.id)}
    assert found == {name: name.encode() for name in ("deleted", "updated", "kept")}
    assert engine.verify(blobs=True).blobs == 3
    DatasetVersion.remove_version(version_id=draft.version_id, force=True)
    assert len(collect(engine)) == 3
    assert len(DataView.get(view.id).to_list()) == 3


def test_gc_deletes_what_only_a_deleted_view_reads(engine, draft):
    draft.add_frames([blob_frame(engine, "a"), blob_frame(engine, "b")])
    views = [view_of(draft) for _ in range(2)]
    for view in views:
        view.store()
    draft.delete_frames(["a"])
    views[0].delete()
    assert collect(engine) == []
    views[1].delete()
    assert len(collect(engine)) == 1
    assert engine.verify(blobs=True).problems == []


def test_sources_of_deleted_frames_are_kept_too(engine, draft):
    draft.add_frames([blob_frame(engine, "a"), blob_frame(engine, "b")])
    view = view_of(draft)
    view.add_query(version_id=draft.version_id)
    view.store()
    gone = draft.delete_frames(["a"], delete_sources=True)
    assert (len(gone.deleted), len(gone.kept)) == (0, 1)
    assert Path(next(iter(view)).get_local_source()).read_bytes() == b"a"


def test_what_was_deleted_before_the_view_was_stored_is_not_missing(engine, draft):
    draft.add_frames([blob_frame(engine, "a")])
    view = view_of(draft)
    (frame,) = view
    draft.delete_frames(["a"])
    assert collect(engine) == [parse_blob_uri(frame.source).digest]
    view.store()
    assert engine.verify(blobs=True).blobs == 0
    assert collect(engine) == []
    with pytest.raises(NotFoundError, match="garbage collection deleted it"):
        frame.get_local_source(raise_on_error=True)


def test_what_was_marked_before_the_view_was_stored_is_unmarked(engine, draft):
    draft.add_frames([blob_frame(engine, "a")])
    view = view_of(draft)
    assert len(view) == 1
    draft.delete_frames(["a"])
    engine.gc(young=timedelta(0), dry_run=False)
    view.store()
    assert collect(engine) == []
    assert engine.verify(blobs=True).blobs == 1


def test_a_strange_log_may_name_versions_and_positions_that_are_not_there(engine, draft):
    definition = view_of(draft)._definition()
    (known,) = definition["versions"]
    definition["versions"] = [
        msgspec.structs.replace(known, position=10**9),
        msgspec.structs.replace(known, version="0" * 32),
    ]
    aggregate = Aggregate("view-" + "0" * 32)
    aggregate.trigger(ViewStored, **definition)
    engine.session.writes.application.run(["store_view"], None, lambda: ([aggregate], {}))
    assert collect(engine) == []
