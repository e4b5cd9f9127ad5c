"""A state machine over the public API beside a model of plain dicts that is assumed to be perfect."""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import histories
import pytest
import reader
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from sizes import sized

import framelode
from framelode import DatasetVersion
from framelode.engine.errors import ConflictError, NotFoundError, PublishedError
from framelode.projections.states import snapshots

FRAMES_AT_ONCE = 4
"""Of a record batch; a part of a call has eight batches, so that lists here are one part."""


def wire(frame):
    """Return the model's form of a frame: its wire form without what reading adds."""
    return {key: copy.deepcopy(value) for key, value in frame.to_dict().items() if key != "id"}


def merge_deep(old, new):
    merged = dict(old)
    for key, value in new.items():
        nested = isinstance(value, dict) and isinstance(old.get(key), dict)
        merged[key] = merge_deep(old[key], value) if nested else value
    return merged


def merged(held, sent, without):
    """Merge the wire form of an update into what is held, as the semantics say."""
    result = copy.deepcopy(held)
    for field in ("sources", "rois"):
        if field in sent and field not in without:
            result[field] = sent[field]
    if "meta" in sent and "meta" not in without:
        result["meta"] = merge_deep(held.get("meta", {}), sent["meta"])
    return result


def first_uri(record):
    return next((source.get("uri") for source in record.get("sources", [])), None)


class Held:
    """A version of the model: its frames with the order of their last changes."""

    def __init__(self, parent=None):
        self.parent = parent
        self.frames: dict[str, dict[str, Any]] = dict(parent.frames) if parent else {}
        self.order: dict[str, int] = dict(parent.order) if parent else {}
        self.metadata: dict[str, Any] = parent.metadata if parent else {}
        self.published = False
        self.removed = False
        self.since_commit = Counter()
        self.children = 0

    def put(self, frame_id, record, tick):
        if self.frames.get(frame_id) == record:
            return
        self.since_commit["updated" if frame_id in self.frames else "added"] += 1
        self.frames[frame_id] = record
        self.order[frame_id] = tick

    def drop(self, frame_id):
        if self.frames.pop(frame_id, None) is not None:
            self.since_commit["deleted"] += 1
            del self.order[frame_id]

    def stats(self):
        records = list(self.frames.values())
        sources = [source for record in records for source in record.get("sources", [])]
        labels = Counter(
            label for record in records for roi in record.get("rois", []) for label in roi.get("label", [])
        )
        return {
            "total": len(records),
            "annotated": sum(bool(record.get("rois")) for record in records),
            "labels": dict(labels),
            "content_types": dict(Counter(source.get("content_type", "unknown") for source in sources)),
            "sources": dict(Counter(source["id"] for source in sources)),
            "bytes": sum(source.get("size", 0) for source in sources),
        }


class EngineMachine(RuleBasedStateMachine):
    """Versions of one dataset; `place` makes the engine."""

    drafts = Bundle("drafts")
    published = Bundle("published")

    def __init__(self):
        super().__init__()
        self.versions: dict[str, Held] = {}
        self.handles: dict[str, DatasetVersion] = {}
        self.roots: dict[str, str] = {}
        self.ticks = itertools.count(1)
        self.times = itertools.count(1_700_000_000_000_000)
        self.head = 0
        self.pending: list[str] = []
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(snapshots, "MINIMUM_EVENTS", 3)
        self.patch.setenv("FRAMELODE_ACTOR", "machine")
        self.folder = None
        self.engine = self.open()

    def place(self):
        return "sqlite://"

    def open(self):
        return framelode.connect(self.place(), clock=lambda: next(self.times))

    def teardown(self):
        with self.engine:
            self.engine.verify()
            with self.engine.log.database.read() as connection:
                driver = connection.connection.driver_connection
                read = reader.Reader(driver).read()
                driver.row_factory = None
            for version_id, held in self.versions.items():
                assert {change.id for change in read.versions[version_id].frames.values()} == set(held.frames)
            for version_id in self.versions:
                self.check(version_id)
            self.check_history()
        self.engine.close()
        self.patch.undo()
        if self.folder:
            shutil.rmtree(self.folder)

    def handle(self, version_id):
        return self.handles.setdefault(version_id, self.engine.version(version_id))

    def use(self, version_id):
        return self.handle(version_id), self.versions[version_id]

    # Making versions

    @initialize(target=drafts)
    def begin(self):
        with self.engine:
            dataset = DatasetVersion.create_new_dataset("d")
            (version,) = dataset.versions()
        self.dataset_id = dataset.id
        self.versions[version.version_id] = Held()
        return version.version_id

    @rule(target=drafts, parent=published)
    def create_child(self, parent):
        with self.engine:
            name = f"child {len(self.versions)}"
            if self.versions[parent].removed:
                with pytest.raises(NotFoundError):
                    DatasetVersion.create_version(
                        name, dataset_id=self.dataset_id, parent_version_ids=[parent]
                    )
                return multiple()
            child = DatasetVersion.create_version(
                name, dataset_id=self.dataset_id, parent_version_ids=[parent]
            )
        return self.born(child, parent)

    @rule(target=drafts)
    def create_root(self):
        with self.engine:
            made = DatasetVersion.create_version(f"root {len(self.versions)}", dataset_id=self.dataset_id)
        self.versions[made.version_id] = Held()
        return made.version_id

    def born(self, child, parent):
        held = self.versions[parent]
        held.children += 1
        self.versions[child.version_id] = Held(held)
        self.versions[child.version_id].metadata = copy.deepcopy(held.metadata)
        return child.version_id

    # Changing drafts

    @rule(version=drafts, frames=histories.frame_lists, refresh=st.booleans())
    def add(self, version, frames, refresh):
        handle, held = self.use(version)
        records = [(frame.id, wire(frame)) for frame in frames]
        assert handle.add_frames(frames, batch_size=FRAMES_AT_ONCE, refresh_version_stats=refresh) == []
        self.put(held, records)
        if refresh:
            held.since_commit.clear()

    @rule(version=drafts, frames=histories.frame_lists)
    def replace(self, version, frames):
        handle, held = self.use(version)
        records = [(frame.id, wire(frame)) for frame in frames]
        handle.update_frames(frames, batch_size=FRAMES_AT_ONCE, refresh_version_stats=False)
        self.put(held, records)

    @rule(version=drafts, frames=histories.frame_lists, without=histories.without_fields)
    def merge(self, version, frames, without):
        handle, held = self.use(version)
        frames = list({frame.id: frame for frame in frames}.values())
        sent = [(frame.id, wire(frame), frame._context_id) for frame in frames]
        handle.update_frames(
            frames, batch_size=FRAMES_AT_ONCE, refresh_version_stats=False, without_fields=without
        )
        for frame_id, record, context in sent:
            self.merge_one(held, frame_id, record, context if "context_id" not in without else None, without)

    def merge_one(self, held, frame_id, record, context, without):
        before = held.frames.get(frame_id, {})
        result = merged(before, record, without)
        for derived in ("context_id", "timestamp"):
            result.pop(derived, None)
        own = before.get("context_id") if before.get("context_id") != first_uri(before) else None
        context = context or own or first_uri(result)
        if context:
            result["context_id"] = context
        if result.get("sources"):
            result["timestamp"] = result["sources"][0]["timestamp"]
        held.put(frame_id, result, next(self.ticks))

    @rule(version=drafts, frame_ids=histories.id_lists)
    def delete(self, version, frame_ids):
        handle, held = self.use(version)
        unknown = set(frame_ids) - set(held.frames)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            handle.delete_frames(frame_ids, batch_size=FRAMES_AT_ONCE, refresh_version_stats=False)
        assert [str(warning.message).split()[0] for warning in caught] == [str(len(unknown))] * bool(unknown)
        for frame_id in frame_ids:
            held.drop(frame_id)

    @rule(
        version=drafts, frames=histories.frame_lists, threshold=st.sampled_from([None, 1, 2]), data=st.data()
    )
    def bulk(self, version, frames, threshold, data):
        handle, held = self.engine.version(version), self.versions[version]
        changes = []
        with (
            warnings.catch_warnings(action="ignore"),
            handle.get_bulk_context(threshold, refresh_version_stats=False) as bulk,
        ):
            for frame in frames:
                kind = data.draw(st.sampled_from(["add", "delete"]))
                changes.append((kind, (frame.id, wire(frame))))
                (bulk.add_frame if kind == "add" else bulk.delete_frame)(frame)
                if len(changes) == threshold:
                    self.flush(held, changes)
        self.flush(held, changes)

    def flush(self, held, changes):
        """Each run of adds is one call, and so is each run of deletes."""
        for kind, run in itertools.groupby(changes, key=lambda change: change[0]):
            records = [record for _, record in run]
            if kind == "add":
                self.put(held, records)
            else:
                for frame_id, _ in records:
                    held.drop(frame_id)
        changes.clear()

    def put(self, held, records):
        last = {frame_id: index for index, (frame_id, _) in enumerate(records)}
        for index in sorted(last.values()):
            held.put(*records[index], next(self.ticks))

    @rule(version=drafts, metadata=histories.metadata)
    def set_metadata(self, version, metadata):
        handle, held = self.use(version)
        assert handle.set_metadata(metadata)
        held.metadata = handle.get_metadata()
        assert held.metadata == metadata

    # Life of a version

    @rule(version=drafts)
    def commit(self, version):
        handle, held = self.use(version)
        counts = handle.commit_version()
        assert counts["total"] == len(held.frames)
        kinds = ("added", "updated", "deleted")
        assert {kind: counts[kind] for kind in kinds} == {kind: held.since_commit[kind] for kind in kinds}
        held.since_commit.clear()

    @rule(target=published, version=consumes(drafts))
    def publish(self, version):
        handle, held = self.use(version)
        assert handle.publish_version()
        assert not handle.publish_version()
        held.published = True
        return version

    @rule(target=published, version=consumes(drafts))
    def snapshot(self, version):
        handle, held = self.use(version)
        child = handle.create_snapshot()
        held.published = True
        self.pending.append(self.born(child, version))
        return version

    @precondition(lambda self: self.pending)
    @rule(target=drafts)
    def take_up_the_child(self):
        return self.pending.pop()

    @rule(version=published, frames=histories.frame_lists.filter(bool))
    def write_to_a_published_version(self, version, frames):
        if self.versions[version].removed:
            return
        handle = self.handle(version)
        for write in (handle.add_frames, handle.update_frames, handle.delete_frames):
            with pytest.raises(PublishedError):
                write(frames)
        assert handle.set_metadata({"x": 1}) is False

    @rule(version=consumes(drafts))
    def remove_a_draft(self, version):
        self.engine.session.writes.versions.remove_version(version)
        self.gone(version)

    @rule(version=published)
    def remove_a_published_version(self, version):
        held = self.versions[version]
        if held.removed:
            return
        with pytest.raises(PublishedError):
            self.engine.session.writes.versions.remove_version(version)
        if held.children:
            with pytest.raises(ConflictError, match="has children"):
                self.engine.session.writes.versions.remove_version(version, force=True)
            return
        self.engine.session.writes.versions.remove_version(version, force=True)
        self.gone(version)

    def gone(self, version):
        held = self.versions[version]
        held.removed = True
        if held.parent:
            held.parent.children -= 1
        with pytest.raises(NotFoundError):
            self.engine.version(version)

    # What must make no difference

    @rule()
    def rebuild(self):
        self.engine.rebuild()

    @rule()
    def forget(self):
        self.engine.session.states.forget()

    @rule()
    def verify(self):
        self.engine.verify()

    # What holds at all times

    @invariant()
    def positions_run_on(self):
        head = self.engine.log.head().position
        assert head >= self.head
        position = self.engine.log.batch_at(self.head).last_position + 1 if self.head else 1
        for header in self.engine.log.headers(gt=self.head):
            assert header.first_position == position
            position = header.last_position + 1
        assert position == head + 1
        self.head = head

    @invariant()
    def contents_are_those_of_the_model(self):
        for version_id, held in self.versions.items():
            if not held.published:
                self.check(version_id)

    def check(self, version_id):
        held = self.versions[version_id]
        if held.removed:
            assert self.engine.session.states.current(version_id).total == len(held.frames)
            return
        handle = self.handle(version_id)
        assert len(handle) == len(held.frames)
        frames = list(handle)
        assert [frame.id for frame in frames] == sorted(held.frames, key=held.order.__getitem__)
        assert {frame.id: wire(frame) for frame in frames} == held.frames
        some = frames[::2]
        assert handle.get_frames_by_ids([frame.id for frame in some]) == some
        for frame_id in histories.IDS[::4]:
            if frame_id in held.frames:
                assert wire(handle.get_single_frame(frame_id)) == held.frames[frame_id]
            else:
                with pytest.raises(NotFoundError):
                    handle.get_single_frame(frame_id)
        self.check_stats(handle, held)
        self.check_fingerprint(handle, held)
        assert handle.draft == (not held.published)
        assert handle.get_metadata() == held.metadata

    def check_history(self):
        positions = [change.position for change in self.engine.history()]
        assert positions == list(range(1, self.engine.log.head().position + 1))
        for version_id, held in self.versions.items():
            if not held.removed:
                frames = self.handle(version_id).history(kinds=["added", "updated", "deleted"])
                last = {change.frame_id: change for change in frames}
                left = {name: change.after for name, change in last.items() if change.kind != "deleted"}
                assert left.keys() == held.frames.keys()
                assert {
                    name: wire(framelode.frame_from_dict(after)) for name, after in left.items()
                } == held.frames

    def check_stats(self, handle, held):
        stats, expected = handle.get_stats(), held.stats()
        named = lambda entries: {entry["name"]: entry["count"] for entry in entries}
        assert {
            "total": stats.total,
            "annotated": stats.annotated,
            "labels": named(stats.labels),
            "content_types": named(stats.content_types),
            "sources": named(stats.sources),
            "bytes": sum(entry["bytes"] for entry in stats.sources),
        } == expected

    def check_fingerprint(self, handle, held):
        content = repr(sorted((frame_id, repr(record)) for frame_id, record in held.frames.items()))
        assert self.roots.setdefault(content, handle.fingerprint) == handle.fingerprint


class FileMachine(EngineMachine):
    """The same on files, with engines that are opened anew and projections that get lost."""

    def place(self):
        self.folder = self.folder or Path(tempfile.mkdtemp(prefix="framelode-machine-"))
        return self.folder

    def reopen(self, *lost):
        self.engine.close()
        for name in lost:
            (self.folder / name).unlink()
        self.handles.clear()
        self.engine = self.open()

    @rule()
    def open_anew(self):
        self.reopen()

    @rule()
    def lose_the_projections(self):
        self.reopen("projections.db")

    @rule(damage=st.sampled_from([b"", b"garbage", b"SQLite format 3\0" + bytes(range(256)) * 20]))
    def damage_the_projections(self, damage):
        self.engine.close()
        (self.folder / "projections.db").write_bytes(damage)
        self.handles.clear()
        self.engine = self.open()


quick = settings(deadline=None, suppress_health_check=list(HealthCheck))
TestInMemory = EngineMachine.TestCase
TestInMemory.settings = settings(quick, max_examples=sized(7, 400), stateful_step_count=sized(25, 60))
TestOnFile = FileMachine.TestCase
TestOnFile.settings = settings(quick, max_examples=sized(4, 100), stateful_step_count=sized(20, 50))
