"""Logs that a stranger wrote, their chains well formed: errors of ours, where they belong, and bounded memory."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import hostile_logs as hostile
import hostile_reads
import msgspec
import numpy as np
import pytest
from blake3 import blake3
from command_line import run
from forked import Program

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.canonical import MAX_DEPTH
from framelode.engine.errors import FramelodeError, IntegrityError, UnreadableError
from framelode.engine.events import domain as e
from framelode.engine.events.stores import KeySet
from framelode.projections.states import snapshots
from framelode.projections.states.snapshots import Snapshot, SnapshotKey

DEEP = 300_000
FRAME = f"{1:032x}"
NEW, OTHER = "f" * 32, "e" * 32
EMPTY = hostile.record()
MEGABYTES = 600


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two datasets, each with a published version and a draft, and where they are."""
    folder = tmp_path_factory.mktemp("base")
    versions = {}
    with framelode.connect(folder) as engine:
        for name in ("good", "bad"):
            DatasetVersion.create_new_dataset(name)
            draft = DatasetVersion.get_current(dataset_name=name)
            frames = [
                SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", metadata={"n": n}) for n in range(3)
            ]
            draft.add_frames(frames)
            child = DatasetVersion.create_snapshot(dataset_name=name, publish_name="v1")
            child.add_frames([SingleFrame(id=FRAME, source="s3://b/x.jpg")])
            versions[name] = child
        engine.verify()
        found = {
            "bad": versions["bad"].version_id,
            "good": versions["good"].version_id,
            "published": draft.version_id,
            "dataset": engine.dataset("bad").id,
            "head": engine.log.head().position,
        }
        engine.close()
    return folder, found


class Forged:
    """Batches that no engine writes; each is given the versions, the dataset and the head of the log."""

    @staticmethod
    def deep_metadata(at):
        return [frame_of(at, hostile.record(meta=hostile.record(a=hostile.nested(DEEP))))]

    @staticmethod
    def deep_unknown_field(at):
        return [frame_of(at, hostile.record(zz=hostile.nested(DEEP, "map")))]

    @staticmethod
    def deep_annotation(at):
        own = hostile.record(type=hostile.encode("own.type"), meta=hostile.record(a=hostile.nested(DEEP)))
        return [frame_of(at, hostile.record(rois=b"\x91" + own))]

    @staticmethod
    def no_record(at):
        return [frame_of(at, b"\x07")]

    @staticmethod
    def values_that_json_does_not_have(at):
        values = hostile.record(a=b"\xd4\x05\x00", b=b"\x81\x01\x02", c=b"\xc4\x01\xff")
        return [frame_of(at, hostile.record(meta=values))]

    @staticmethod
    def deep_lifecycle_field(at):
        state = hostile.state(metadata=hostile.record(a=hostile.nested(DEEP)))
        return [hostile.events(at["bad"], ("VersionMetadataSet", state))]

    @staticmethod
    def lifecycle_field_of_no_json(at):
        state = hostile.state(metadata=hostile.record(a=b"\xd4\x05\x00"))
        return [hostile.events(at["bad"], ("VersionMetadataSet", state))]

    @staticmethod
    def lifecycle_field_one_level_too_deep(at):
        state = hostile.state(metadata=hostile.record(a=hostile.nested(MAX_DEPTH)))
        return [hostile.events(at["bad"], ("VersionMetadataSet", state))]

    @staticmethod
    def previous_itself(at):
        return [frame_of(at, EMPTY, operation=2, previous=at["head"] + 1, saved=1)]

    @staticmethod
    def previous_later(at):
        return [frame_of(at, EMPTY, operation=2, previous=at["head"] + n, saved=1) for n in (2, 1)]

    @staticmethod
    def previous_beyond_all_positions(at):
        return [frame_of(at, EMPTY, operation=2, previous=2**63 + 5, saved=1)]

    @staticmethod
    def previous_of_no_frame(at):
        return [frame_of(at, EMPTY, operation=2, previous=1, saved=1)]

    @staticmethod
    def unknown_operation(at):
        batch = frame_of(at, EMPTY)
        keys = batch.keys[:16] + b"\x09" + batch.keys[17:]
        return [msgspec.structs.replace(batch, keys=keys, keys_digest=blake3(keys).digest())]

    @staticmethod
    def own_parent(at):
        created = created_version(NEW, dataset_id=OTHER, parent_id=NEW)
        return [hostile.events(NEW, created), hostile.frames(NEW, {FRAME: EMPTY})]

    @staticmethod
    def parents_in_a_circle(at):
        versions = ((NEW, OTHER), (OTHER, NEW))
        made = [created_version(one, dataset_id=at["dataset"], parent_id=other) for one, other in versions]
        return [hostile.events(event.originator_id, event) for event in made]

    @staticmethod
    def unknown_parent(at):
        return [hostile.events(NEW, created_version(NEW, dataset_id=at["dataset"], parent_id=OTHER))]

    @staticmethod
    def unknown_dataset(at):
        return [hostile.events(NEW, created_version(NEW, dataset_id=OTHER))]

    @staticmethod
    def version_created_twice(at):
        again = created_version(at["published"], dataset_id=at["dataset"], parent_id=at["bad"])
        return [hostile.events(at["published"], again)]

    @staticmethod
    def dataset_created_twice(at):
        again = e.DatasetCreated(originator_id="", originator_version=1, name="again", project="p")
        return [hostile.events(at["dataset"], again)]

    @staticmethod
    def uploaded_size_beyond_a_column(at):
        state = hostile.state(
            destination=hostile.encode("d"),
            files=hostile.encode([{"uri": "u", "digest": "d", "size": 2**64 - 1}]),
        )
        return [hostile.events("uploads", ("FilesUploaded", state))]

    @staticmethod
    def deep_stored_value(at):
        return [hostile.events("exec-x", key_set(hostile.nested(DEEP)))]

    @staticmethod
    def key_set_twice_for_the_first_time(at):
        return [hostile.events("exec-x", key_set(b"\x01")) for _ in range(2)]


def frame_of(at, payload, **values):
    return hostile.frames(at["bad"], {FRAME: payload}, **values)


def created_version(version_id, **values):
    return e.VersionCreated(originator_id=version_id, originator_version=1, name="x", **values)


def key_set(value):
    return KeySet(originator_id="", originator_version=1, store="s", key="k", value=value)


FORGED = [name for name in vars(Forged) if not name.startswith("_")]
SOUND = {"key_set_twice_for_the_first_time", "deep_stored_value", "values_that_json_does_not_have"}
"""What no check of a log as a whole looks at: the values of users."""


@pytest.fixture
def forged(base, tmp_path, request):
    folder, at = base
    copy = Path(shutil.copytree(folder, tmp_path / "engine"))
    hostile.append(copy, *getattr(Forged, request.param)(at))
    return copy, at, request.param


@pytest.mark.parametrize("forged", FORGED, indirect=True)
def test_only_our_errors_and_only_where_they_belong(forged):
    folder, at, name = forged
    with framelode.connect(folder) as engine:
        found = hostile_reads.errors_of(engine, at["bad"], FRAME)
        if name in {"own_parent", "parents_in_a_circle", "unknown_parent"}:
            found |= hostile_reads.errors_of(engine, NEW, FRAME)
            error = found["iterate"]
            assert isinstance(error, IntegrityError)
            assert error.position == at["head"] + 1
        assert [error for error in found.values() if not isinstance(error, FramelodeError)] == []
        positions = {error.position for error in found.values() if isinstance(error, IntegrityError)}
        assert None not in positions
        assert hostile_reads.errors_of(engine, at["good"], FRAME) == {}
        run("--engine", folder, "ls")
        engine.rebuild()
        if name in SOUND:
            engine.verify()
        else:
            with pytest.raises(IntegrityError, match=r"position \d+"):
                engine.verify()
        good = engine.version(at["good"])
        good.add_frames([SingleFrame(id="more", source="s3://b/more.jpg")])
        assert good.get_single_frame("more").source == "s3://b/more.jpg"
        exported = hostile_reads.tried(
            {
                "all": lambda: engine.export_log(folder / "all.jsonl"),
                "bad": lambda: engine.export_log(folder / "bad.jsonl", dataset="bad"),
            }
        )
        assert [error for error in exported.values() if not getattr(error, "position", None)] == []
        engine.close()


def test_blocks_that_claim_more_memory_than_a_batch_has(base, tmp_path):
    folder, at = base
    copy = Path(shutil.copytree(folder, tmp_path / "engine"))
    hostile.append(copy, hostile.swollen(at["bad"], 200, 64 * 2**20))
    found = limited(copy, at["bad"])
    assert found.pop("verify").startswith("IntegrityError:")
    assert {"iterate", "get", "stats", "blame", "export"} <= found.keys()
    assert {text.partition(":")[0] for text in found.values()} == {f"UnreadableError@{at['head'] + 1}"}
    assert limited(copy, at["good"]).keys() <= {"verify", "export", "Engine.history", "missing"}


def limited(folder, version_id):
    """Read a version in a process whose memory is limited; returns what was raised."""
    process = Program("hostile_reads", folder, version_id, FRAME, MEGABYTES)
    printed, _ = process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(printed, type=dict[str, str])


def test_keys_that_are_fewer_than_events(base, tmp_path):
    folder, at = base
    copy = Path(shutil.copytree(folder, tmp_path / "engine"))
    batch = msgspec.structs.replace(frame_of(at, EMPTY), keys=b"", keys_digest=blake3().digest())
    hostile.append(copy, batch, count=10**9)
    with framelode.connect(copy) as engine:
        with pytest.raises(IntegrityError, match=f"keys .*position {at['head'] + 1}"):
            list(engine.version(at["bad"]))
        engine.close()


@pytest.mark.parametrize(
    "changed", [{"context": "[" * DEEP}, {"context": "[1]"}, {"context": '{"a":'}, {"recorded_at": 2**62}]
)
def test_headers_that_say_nothing(base, tmp_path, changed):
    folder, at = base
    copy = Path(shutil.copytree(folder, tmp_path / "engine"))
    hostile.append(copy, frame_of(at, EMPTY), **changed)
    with framelode.connect(copy) as engine:
        with pytest.raises(IntegrityError) as caught:
            list(engine.history())
        assert caught.value.position == at["head"] + 1
        assert len(list(engine.version(at["bad"]))) == 3
        engine.close()


def test_what_is_as_deep_as_allowed_is_read_from_a_stack_that_is_nearly_full(tmp_path):
    """The outcome of decoding does not depend on how deep the caller is."""
    deep = value = {}
    for _ in range(MAX_DEPTH - 1):
        value["a"] = value = {}
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames([SingleFrame(id="deep", source="s3://b/1.jpg", metadata=deep)])

        def decode(levels):
            return decode(levels - 1) if levels else change.after

        (change,) = draft.history("deep")
        left = sys.getrecursionlimit() - depth_of(sys._getframe())
        assert decode(left - 60)["meta"] == deep
        engine.close()


def depth_of(frame):
    depth = 0
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def test_a_checkpoint_that_is_nested_too_deeply(tmp_path):
    line = b'{"version":1,"more":' + b"[" * 300_000 + b"]" * 300_000 + b"}"
    with pytest.raises(IntegrityError, match="not a checkpoint"):
        framelode.Checkpoint.decode(line)


@pytest.mark.parametrize("result", [b"", b"\xc1", b"\x91" * 300_000 + b"\xc0"])
def test_a_result_of_a_command_that_cannot_be_read(tmp_path, result):
    with framelode.connect(tmp_path / "e") as engine:
        commands = engine.session.writes.datasets
        commands.create_dataset("food", command_id="once")
        find, log = engine.log.find_append, engine.log
        log.find_append = lambda *asked: msgspec.structs.replace(find(*asked), result=result)
        with pytest.raises(UnreadableError, match="result of command 'once'"):
            commands.create_dataset("food", command_id="once")
        engine.close()


def test_a_snapshot_that_claims_more_numbers_than_the_log_has_events(tmp_path, caplog):
    numbers = np.zeros(1_000_000, np.uint64)
    key = SnapshotKey("v", 10, b"", 3)
    name = Snapshot(
        key, "log", 1, 3, snapshots._pack(numbers), snapshots._pack(numbers), snapshots._pack(numbers)
    )
    with pytest.raises(ValueError, match="more numbers"):
        snapshots._state_of(name, lambda *_: None)
