"""Uploads through the public API: what is sent, what is linked, what frames name, and what happens when it fails."""

import os
import pickle
import tempfile
import threading
import uuid
from datetime import timedelta
from pathlib import Path

import fsspec
import msgspec
import pytest
import workers
from blake3 import blake3
from destination_places import Place
from forked import FORKED
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from patience import join
from sizes import examples, sized

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    FrameGroup,
    FramesRejected,
    PublishedError,
    SingleFrame,
    UsageError,
)
from framelode.adapters.uploads import destination as destinations
from framelode.adapters.uploads import open as opening
from framelode.adapters.uploads.local import LocalDestination
from framelode.adapters.uploads.objects import ObjectDestination
from framelode.adapters.uploads.target import routes_of
from framelode.engine.frames.source import path_or_uri
from framelode.engine.log.event_batch import read_events
from framelode.engine.storage.base import BackendError

KINDS = ("blobs", "folder", "s3", "memory", "http")
"""The first three in every run; how each destination works is tested in `conformance`."""


class Destination:
    """A destination for a test, and what is really in it."""

    def __init__(self, kind, folder, environment):
        self.kind = kind
        self.place = None if kind == "blobs" else Place(kind, folder, environment)
        self.url = self.place.url if self.place else "blobs:"

    def read(self, engine, source):
        if self.kind == "blobs":
            return engine.blobs.read(source[6:70])
        return Path(source).read_bytes() if self.kind == "folder" else self.place.read(source)

    def objects(self, engine):
        if self.kind == "blobs":
            return sorted(engine.blobs.read(entry.digest) for entry in engine.blobs.entries())
        return sorted(self.place.everything().values())

    def close(self):
        if self.place:
            self.place.close()


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        yield engine
    engine.close()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture(params=[*KINDS[:3], *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[3:])])
def destination(request, tmp_path, monkeypatch):
    made = Destination(request.param, tmp_path, monkeypatch.setenv)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return Destination("folder", tmp_path, monkeypatch.setenv)


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food")
    return DatasetVersion.get_current(dataset_name="food")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, tmp_path):
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("framelode.adapters.uploads.uploader.growing_waits", lambda retries: [0.0] * retries)


def file(root, name, data):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def contents(engine):
    return Destination("blobs", None, None).objects(engine)


def upload_events(engine):
    return [h for h in engine.log.headers() if h.topics == ["FilesUploaded"] or "FilesUploaded" in h.topics]


def sources(version):
    return {frame.id: frame.source for frame in version}


@pytest.mark.parametrize("destination", KINDS, indirect=True)
def test_files_go_to_the_destination_and_frames_name_what_was_sent(engine, draft, destination, root):
    paths = [file(root, f"images/{n:02d}/1.jpg", f"picture {n}".encode()) for n in range(3)]
    mask, preview = file(root, "mask.png", b"mask"), file(root, "small.jpg", b"small")
    frames = [SingleFrame(source=path, mask_source=[mask], preview_uri=preview) for path in paths]
    ids = [frame.derive_id(root) for frame in frames]
    failures = draft.add_frames(frames, auto_upload_destination=destination.url, local_dataset_root_path=root)
    assert failures == []
    assert [frame.id for frame in draft] == ids == [frame.id for frame in frames]
    for stored, frame, path in zip(draft, frames, paths, strict=True):
        assert stored == frame
        data = path.read_bytes()
        assert (frame.size, frame.hash) == (len(data), f"blake3:{blake3(data).hexdigest()}")
        assert destination.read(engine, frame.source) == data
        assert destination.read(engine, frame.masks_source["00"]) == b"mask"
        assert destination.read(engine, frame.preview_uri) == b"small"
        assert frame.content_type == "image/jpeg"
        assert Path(frame.get_local_source()).read_bytes() == data
    assert destination.objects(engine) == sorted([b"mask", b"small", *(p.read_bytes() for p in paths)])
    engine.verify(blobs=True)


def test_objects_keep_the_paths_below_the_root(engine, draft, root, tmp_path):
    draft.rename("a/b: c")
    odd = "sub dir/ä#%?\n.jpg"
    frame = SingleFrame(source=file(root, odd, b"x"))
    for url in (f"memory://up-{uuid.uuid4().hex}/data", str(tmp_path / "up")):
        single = SingleFrame(source=file(root, odd, b"x"))
        draft.add_frames([single], auto_upload_destination=url + "/", local_dataset_root_path=f"{root}/")
        folder = f"{draft.dataset_id}/a%252Fb%3A%20c.{draft.version_id}"
        if url.startswith("memory"):
            assert single.source == f"{url}/{folder}/sub%20dir/%C3%A4%23%25%3F%0A.jpg"
        else:
            assert single.source == f"{url}/{draft.dataset_id}/a%2Fb: c.{draft.version_id}/{odd}"
            assert Path(single.source).read_bytes() == b"x"
    assert frame.derive_id(root) == single.id


def test_content_that_is_known_is_linked(engine, draft, destination, root):
    options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
    first = SingleFrame(source=file(root, "a.jpg", b"same"))
    draft.add_frames([first, SingleFrame(source=file(root, "b/c.jpg", b"same"))], **options)
    DatasetVersion.create_new_dataset("other")
    other = DatasetVersion.get_current(dataset_name="other")
    again = SingleFrame(source=file(root, "d.jpg", b"same"))
    other.add_frames([again], **options)
    assert destination.objects(engine) == [b"same"]
    if destination.kind != "blobs":
        assert again.source == first.source
        assert len(upload_events(engine)) == 1


def test_the_same_call_again_changes_nothing(engine, draft, destination, root):
    paths = [file(root, f"{n}.jpg", bytes([n])) for n in range(5)]
    for _ in range(2):
        head = engine.log.head().position
        frames = [SingleFrame(source=path) for path in paths]
        assert draft.add_frames(frames, False, 2, False, destination.url, root) == []
    assert engine.log.head().position == head
    frames = list(draft)
    frames[0].metadata = {"seen": True}
    assert (
        draft.add_frames(frames, auto_upload_destination=destination.url, local_dataset_root_path=root) == []
    )
    assert len(destination.objects(engine)) == 5


def test_a_file_that_changed_goes_under_another_name(engine, draft, destination, root):
    options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
    draft.add_frames([SingleFrame(source=file(root, "a.jpg", b"old"))], **options)
    before = next(iter(draft)).source
    draft.add_frames([SingleFrame(source=file(root, "a.jpg", b"new"))], **options)
    after = next(iter(draft)).source
    assert before != after
    assert destination.read(engine, before) == b"old"
    assert destination.read(engine, after) == b"new"


@pytest.mark.parametrize("version", ["v" * 400, "日" * 90, "/" * 100], ids=("v", "日", "slash"))
def test_names_as_long_as_a_file_system_takes(engine, draft, folder, root, version):
    options = {"auto_upload_destination": folder.url, "local_dataset_root_path": root}
    draft.rename(version)
    for name in ("n" * 251 + ".jpg", "日" * 83 + ".jpeg"):
        for data in (b"old", b"new"):
            frame = SingleFrame(id=name[:9], source=file(root, name, data))
            assert draft.add_frames([frame], **options) == []
            assert Path(frame.source).read_bytes() == data


def test_force_upload_sends_again_under_a_name_of_its_own(engine, draft, root, folder):
    destination = folder
    options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
    path = file(root, "a.jpg", b"same")
    names = set()
    for force in (False, True, True):
        frame = SingleFrame(source=path)
        assert draft.add_frames([frame], force_upload=force, **options) == []
        names.add(frame.source)
    assert len(names) == 3
    assert destination.objects(engine) == [b"same"] * 3


def test_content_that_went_from_the_destination_is_sent_again(engine, draft, root, tmp_path):
    options = {"auto_upload_destination": str(tmp_path / "up"), "local_dataset_root_path": root}
    frame = SingleFrame(source=file(root, "a.jpg", b"same"))
    draft.add_frames([frame], **options)
    Path(frame.source).unlink()
    again = SingleFrame(source=root / "a.jpg")
    assert draft.add_frames([again], **options) == []
    assert Path(again.source).read_bytes() == b"same"


def test_what_a_crash_left_unrecorded_is_taken_for_sent(engine, draft, root, tmp_path, monkeypatch):
    options = {"auto_upload_destination": str(tmp_path / "up"), "local_dataset_root_path": root}
    path = file(root, "a.jpg", b"same")
    with monkeypatch.context() as patch:
        patch.setattr(
            engine.session.writes.upload_commands,
            "record_uploads",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            draft.add_frames([SingleFrame(source=path)], **options)
    assert len(draft) == 0
    frame = SingleFrame(source=path)
    assert draft.add_frames([frame], **options) == []
    assert Path(frame.source).name == "a.jpg"
    assert len(upload_events(engine)) == 1


class TestFailures:
    @pytest.fixture
    def options(self, root, destination):
        return {"auto_upload_destination": destination.url, "local_dataset_root_path": root}

    def test_a_missing_file_and_one_outside_the_root_fail_alone(self, engine, draft, options, root, tmp_path):
        good = SingleFrame(source=file(root, "a.jpg", b"a"))
        missing, outside = (
            SingleFrame(source=root / "none.jpg"),
            SingleFrame(source=file(tmp_path, "o.jpg", b"o")),
        )
        bad_mask = SingleFrame(source=file(root, "b.jpg", b"b"), mask_source=root / "none.png")
        failures = draft.add_frames([missing, good, outside, bad_mask], **options)
        assert [failure["frame"] for failure in failures] == [missing, outside, bad_mask]
        assert {failure["error_type"] for failure in failures} == {"upload"}
        assert "none.jpg" in failures[0]["error"]
        assert "is not inside local_dataset_root_path" in failures[1]["error"]
        assert sources(draft) == {good.id: good.source}
        file(root, "none.jpg", b"n")
        file(root, "none.png", b"m")
        assert draft.add_frames([missing, bad_mask], **options) == []
        assert len(draft) == 3

    def test_what_fails_is_named_in_one_line_that_can_be_printed(self, draft, root):
        names = (os.fsdecode(b"\xff.jpg"), "line\nbreak.jpg", "\x1b[31m.jpg")
        frames = [SingleFrame(source=root / name) for name in names]
        options = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
        for failure, shown in zip(
            draft.add_frames(frames, **options), (r"/\udcff", r"line\nbreak", r"/\x1b[31m"), strict=True
        ):
            assert f"{shown}.jpg cannot be read" in failure["error"]
            assert failure["error"].isprintable()

    def test_one_failed_source_drops_its_whole_group(self, draft, options, root):
        group = FrameGroup(frames={"left": SingleFrame(source=file(root, "l.jpg", b"l"))})
        group["right"] = SingleFrame(source=root / "none.jpg")
        (failure,) = draft.add_frames([group], **options)
        assert failure["frame"] is group
        assert len(draft) == 0
        file(root, "none.jpg", b"r")
        assert draft.add_frames([group], **options) == []
        (stored,) = draft
        assert {name: frame.size for name, frame in stored.items()} == {"left": 1, "right": 1}
        assert all(frame.hash.startswith("blake3:") for frame in stored.values())

    @pytest.mark.parametrize("register", [False, True])
    @pytest.mark.parametrize("unregister", [False, True])
    def test_the_table_of_what_becomes_of_a_failed_frame(self, draft, options, root, register, unregister):
        held = SingleFrame(id="held", source=file(root, "a.jpg", b"a"))
        draft.add_frames([held], **options)
        before = next(iter(draft)).source
        failing = SingleFrame(id="held", source=root / "none.jpg")
        new = SingleFrame(id="new", source=root / "none.jpg")
        failures = draft.add_frames(
            [failing, new],
            register_on_upload_failure=register,
            unregister_on_upload_fail=unregister,
            **options,
        )
        assert [failure["frame"].id for failure in failures] == ["held", "new"]
        local = str(root / "none.jpg")
        if register:
            assert sources(draft) == {"held": local, "new": local}
        elif unregister:
            assert sources(draft) == {}
        else:
            assert sources(draft) == {"held": before}

    def test_the_last_try_of_an_id_counts(self, draft, options, root):
        good = SingleFrame(id="x", source=file(root, "a.jpg", b"a"))
        bad = SingleFrame(id="x", source=root / "none.jpg")
        assert len(draft.add_frames([bad, good], batch_size=1, **options)) == 1
        assert len(draft) == 1

    def test_a_file_that_is_not_what_the_frame_says(self, draft, options, root):
        path = file(root, "a.jpg", b"abc")
        frames = [SingleFrame(id="size", source=path, size=4)]
        frames.append(SingleFrame(id="hash", source=path, hash=f"blake3:{blake3(b'other').hexdigest()}"))
        frames.append(
            SingleFrame(id="good", source=path, size=3, hash="md5:900150983cd24fb0d6963f7d28e17f72")
        )
        frames.append(SingleFrame(id="md5", source=path, hash=f"MD5:{'0' * 32}"))
        frames.append(SingleFrame(id="unknown", source=path, hash="etag-7"))
        failures = draft.add_frames(frames, **options)
        assert [failure["frame"].id for failure in failures] == ["size", "hash", "md5"]
        assert "has 3 bytes, but the frame has size=4" in failures[0]["error"]
        assert (
            "has the hash MD5:900150983cd24fb0d6963f7d28e17f72, but the frame has MD5:0000"
            in failures[2]["error"]
        )
        stored, unknown = draft
        assert stored.hash == "md5:900150983cd24fb0d6963f7d28e17f72"
        assert unknown.hash == "etag-7"
        upper = SingleFrame(id="upper", source=path, hash=f"blake3:{blake3(b'abc').hexdigest().upper()}")
        assert draft.add_frames([upper], **options) == []

    def test_frames_that_cannot_be_recorded_are_not_uploaded(self, engine, draft, options, root, destination):
        frame = SingleFrame(source=file(root, "a.jpg", b"a"))
        frame.metadata["bad"] = object()
        (failure,) = draft.add_frames([frame], **options)
        assert failure["error_type"] == "validation"
        assert destination.objects(engine) == []

    def test_a_published_version_uploads_nothing(self, engine, draft, options, root, destination):
        draft.publish_version()
        with pytest.raises(PublishedError):
            draft.add_frames([SingleFrame(source=file(root, "a.jpg", b"a"))], **options)
        assert destination.objects(engine) == []


class Refusing(opening.LocalDestination):
    """A folder that refuses what it is told to."""

    refuses = staticmethod(lambda step: False)
    permanent = False
    steps = 0

    def send(self, items):
        super().send([item for item in items if not self._refused(item)])

    def _refused(self, item):
        type(self).steps += 1
        if self.refuses(self.steps):
            item.error = BackendError(f"refused step {self.steps}", permanent=self.permanent)
            return True
        return False


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    kind = type("ThisOne", (Refusing,), {})
    monkeypatch.setattr(
        "framelode.adapters.uploads.service.open_destination", lambda url: kind(str(tmp_path / "up"))
    )
    return kind


class TestRefusals:
    def frames(self, root, count=10):
        return [SingleFrame(source=file(root, f"{n}.jpg", f"{n}".encode())) for n in range(count)]

    def options(self, root, tmp_path):
        return {"auto_upload_destination": str(tmp_path / "up"), "local_dataset_root_path": root}

    def test_every_third_write_refused_is_tried_again(self, engine, draft, refusing, root, tmp_path):
        refusing.refuses = staticmethod(lambda step: step % 3 == 0)
        assert draft.add_frames(self.frames(root), **self.options(root, tmp_path)) == []
        assert len(draft) == 10

    def test_without_retries_failures_are_listed_and_a_second_call_finishes(
        self, engine, draft, refusing, root, tmp_path
    ):
        refusing.refuses = staticmethod(lambda step: step % 3 == 0)
        options = self.options(root, tmp_path)
        failures = draft.add_frames(self.frames(root), upload_retries=0, **options)
        assert [failure["error"] for failure in failures] == [f"refused step {n}" for n in (3, 6, 9)]
        assert len(draft) == 7
        refusing.refuses = staticmethod(lambda step: False)
        assert draft.add_frames([failure["frame"] for failure in failures], **options) == []
        assert all(Path(frame.source).is_file() for frame in draft)
        assert len(draft) == 10

    def test_a_destination_that_dies_or_is_full_fails_the_rest_at_once(
        self, engine, draft, refusing, root, tmp_path
    ):
        refusing.refuses, refusing.permanent = staticmethod(lambda step: step > 4), True
        failures = draft.add_frames(self.frames(root), **self.options(root, tmp_path))
        assert len(failures) == 6
        assert refusing.steps == 10  # what is permanent is not tried again
        assert len(draft) == 4

    def test_an_interrupt_keeps_what_was_registered(self, engine, draft, refusing, root, tmp_path):
        def refuse(step):
            if step == 5:
                raise KeyboardInterrupt
            return False

        refusing.refuses = staticmethod(refuse)
        options = self.options(root, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            draft.add_frames(self.frames(root), batch_size=2, **options)
        assert len(draft) == 4
        assert draft.add_frames(self.frames(root), batch_size=2, **options) == []
        assert len(draft) == 10


def test_a_content_has_the_name_of_its_first_file(draft, root, folder):
    frames = [SingleFrame(source=file(root, f"{n:03d}.jpg", b"%d" % (n // 3 % 40))) for n in range(300)]
    options = {"auto_upload_destination": folder.url, "local_dataset_root_path": root}
    assert draft.add_frames(frames, **options) == []
    assert [int(Path(frame.source).stem) for frame in frames] == [n // 3 % 40 * 3 for n in range(300)]


class TestBatches:
    """Files of one part in several batches: one is prepared while the one before is sent."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch):
        monkeypatch.setattr("framelode.adapters.uploads.uploader.WINDOW_FILES", 1)
        monkeypatch.setattr("framelode.adapters.uploads.uploader.BATCH_FILES", 3)
        monkeypatch.setattr("framelode.engine.blobs.ingest.WINDOW_FILES", 1)
        monkeypatch.setattr("framelode.engine.blobs.ingest.BATCH_FILES", 3)

    def options(self, destination, root):
        return {"auto_upload_destination": destination.url, "local_dataset_root_path": root}

    @pytest.mark.parametrize("held", [1, 10, 1000])
    @pytest.mark.parametrize("others", [0, 1])  # a destination with other files is asked for each content
    def test_a_content_that_comes_in_many_batches_is_sent_once(
        self, engine, draft, destination, root, monkeypatch, held, others
    ):
        monkeypatch.setattr("framelode.engine.blobs.ingest.HELD_BYTES", held)
        monkeypatch.setattr("framelode.adapters.uploads.local.HELD_BYTES", held)
        monkeypatch.setattr("framelode.adapters.uploads.uploader.WINDOW_FILES", 1 if others else 3)
        # Again in the same batch, in the next one, and much later.
        data = {f"{n:02d}.jpg": b"content %d" % ((n + 1) // 3 if n < 14 else n % 2) for n in range(20)}
        frames = [SingleFrame(source=file(root, name, content)) for name, content in data.items()]
        staged = []

        def noted(stage):
            def run(itself, items, window):
                staged.extend(item.digest for item in items)
                stage(itself, items, window)

            return run

        if others:
            draft.add_frames(
                [SingleFrame(source=file(root, "other.jpg", b"other"))], **self.options(destination, root)
            )
        for kind in (destinations.Destination, LocalDestination):
            monkeypatch.setattr(kind, "stage", noted(kind.stage))
        assert draft.add_frames(frames, **self.options(destination, root)) == []
        assert len(staged) == len(set(staged)) == (0 if destination.kind == "blobs" else 5)
        assert [destination.read(engine, frame.source) for frame in frames] == list(data.values())
        assert destination.objects(engine) == sorted({*data.values(), *[b"other"] * others})
        recorded = [
            file
            for header in upload_events(engine)
            for event in read_events(engine.log, header)
            for file in event.files
        ]
        assert len(recorded) == (0 if destination.kind == "blobs" else 5 + others)

    def test_a_content_whose_first_file_is_refused_is_sent_with_the_next_batch(
        self, draft, refusing, root, folder
    ):
        refusing.refuses = staticmethod(lambda step: step == 2)
        data = [b"a", b"b", b"c", b"b", b"d", b"b"]
        frames = [SingleFrame(source=file(root, f"{n}.jpg", content)) for n, content in enumerate(data)]
        failures = draft.add_frames(frames, upload_retries=0, **self.options(folder, root))
        assert [failure["frame"] for failure in failures] == [frames[1]]
        assert [Path(frame.source).read_bytes() for frame in draft] == [b"a", b"c", b"b", b"d", b"b"]
        assert {Path(frame.source).name for frame in draft} == {"0.jpg", "2.jpg", "3.jpg", "4.jpg"}

    def test_what_another_call_sent_meanwhile_is_linked(self, engine, draft, root, folder):
        options = self.options(folder, root)
        first, second = (file(root, f"{n}.jpg", b"%d" % n) for n in range(2))
        again = [SingleFrame(source=file(root, f"again/{n}.jpg", b"%d" % n)) for n in range(2)]
        DatasetVersion.create_new_dataset("other")
        other = DatasetVersion.get_current(dataset_name="other")

        def frames():
            yield again[0]
            # The part before is recorded by now: each has one frame, and the next one is looked at.
            assert other.add_frames([SingleFrame(source=second)], **options) == []
            yield again[1]

        assert other.add_frames([SingleFrame(source=first)], **options) == []
        assert draft.add_frames(frames(), batch_size=1, **options) == []
        assert folder.objects(None) == [b"0", b"1"]
        assert {frame.source for frame in draft} == {frame.source for frame in other}

    def test_an_interrupt_leaves_nothing_temporary(self, draft, refusing, root, tmp_path, folder):
        def interrupt(step):
            if step == 5:
                raise KeyboardInterrupt
            return False

        refusing.refuses = staticmethod(interrupt)
        frames = [SingleFrame(source=file(root, f"{n}.jpg", b"%d" % n)) for n in range(12)]
        with pytest.raises(KeyboardInterrupt):
            draft.add_frames(frames, **self.options(folder, root))
        kept = [path for path in (tmp_path / "up").rglob("*") if path.is_file()]
        assert sorted(path.name for path in kept) == ["0.jpg", "1.jpg", "2.jpg"]
        refusing.refuses = staticmethod(lambda step: False)
        assert draft.add_frames(frames, **self.options(folder, root)) == []
        assert len(draft) == 12

    def test_a_file_that_changes_before_it_is_sent_is_sent_as_it_was_read(
        self, draft, refusing, root, folder
    ):
        path = file(root, "a.jpg", b"as it was")
        frame = SingleFrame(source=path)
        refusing.refuses = staticmethod(lambda step: path.write_bytes(b"other") is None)
        assert draft.add_frames([frame], **self.options(folder, root)) == []
        assert Path(frame.source).read_bytes() == b"as it was"
        assert frame.hash == f"blake3:{blake3(b'as it was').hexdigest()}"


class TestMapping:
    def test_each_source_goes_to_its_own_place(self, engine, draft, root, tmp_path):
        a, b, c = (file(root, name, name.encode()) for name in ("a.jpg", "b.jpg", "c.jpg"))
        bucket = f"memory://map-{uuid.uuid4().hex}"
        mapping = {
            str(a): f"{bucket}/x/1.jpg",
            b.as_uri(): f"{tmp_path}/out/dir/",
        }
        frames = [SingleFrame(source=path) for path in (a, b, c)]
        assert draft.add_frames(frames, src_to_dst_mapping=mapping) == []
        assert [frame.source for frame in draft] == [
            f"{bucket}/x/1.jpg",
            f"{tmp_path}/out/dir/b.jpg",
            str(c),
        ]
        assert fsspec.filesystem("memory").cat_file(f"{bucket}/x/1.jpg") == b"a.jpg"
        assert (tmp_path / "out/dir/b.jpg").read_bytes() == b"b.jpg"
        head = engine.log.head().position
        frames = [SingleFrame(source=path) for path in (a, b, c)]
        assert draft.add_frames(frames, refresh_version_stats=False, src_to_dst_mapping=mapping) == []
        assert engine.log.head().position == head

    def test_a_name_that_is_taken_by_another_content_is_a_failure(self, draft, root, tmp_path):
        path, target = file(root, "a.jpg", b"mine"), file(tmp_path, "out/a.jpg", b"theirs")
        (failure,) = draft.add_frames([SingleFrame(source=path)], src_to_dst_mapping={path: target})
        assert f"{target.as_uri()} already has another content" in failure["error"]
        assert target.read_bytes() == b"theirs"
        target.write_bytes(b"mine")
        assert draft.add_frames([SingleFrame(source=path)], src_to_dst_mapping={path: target}) == []

    def test_equal_contents_keep_their_own_places(self, draft, root, tmp_path):
        a, b = file(root, "a.jpg", b"same"), file(root, "b.jpg", b"same")
        mapping = {a: tmp_path / "out/1.jpg", b: tmp_path / "out/2.jpg"}
        assert (
            draft.add_frames([SingleFrame(source=a), SingleFrame(source=b)], src_to_dst_mapping=mapping) == []
        )
        assert [frame.source for frame in draft] == [str(tmp_path / "out/1.jpg"), str(tmp_path / "out/2.jpg")]

    def test_local_places_that_share_nothing_are_destinations_of_their_own(self, draft, root, tmp_path):
        targets = {"/a": "file:///none-1/x/a", "/b": "file:///none-1/y/b", "/c": "file:///none-2/c"}
        made = {route.destination: route.names for route in routes_of(targets)}
        assert sorted(name for names in made.values() for name in names) == ["/a", "/b", "/c"]
        assert "file:///" not in made
        near = {"/a": f"file://{tmp_path}/o/1/a", "/b": f"file://{tmp_path}/o/b"}
        assert [(route.destination, route.names) for route in routes_of(near)] == [
            (f"file://{tmp_path}/o", {"/a": "1/a", "/b": "b"})
        ]

    @pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file system in memory")
    def test_targets_may_be_on_several_file_systems(self, draft, root, tmp_path):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
            a, b = file(root, "a.jpg", b"a"), file(root, "b.jpg", b"b")
            mapping = {a: f"{other}/x/a.jpg", b: tmp_path / "out/b.jpg"}
            frames = [SingleFrame(source=a), SingleFrame(source=b)]
            assert draft.add_frames(frames, src_to_dst_mapping=mapping, upload_retries=0) == []
            assert [frame.source for frame in frames] == list(map(str, mapping.values()))
            assert Path(frames[0].source).read_bytes() == b"a"

    def test_a_target_in_the_home_folder(self, draft, root, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        a, b = file(root, "a.jpg", b"a"), file(root, "b.jpg", b"b")
        frames = [SingleFrame(source=a), SingleFrame(source=b)]
        assert draft.add_frames(frames, src_to_dst_mapping={a: "~/out/x.jpg", b: "~/out/"}) == []
        assert [frame.source for frame in frames] == [f"{tmp_path}/home/out/{name}.jpg" for name in "xb"]

    def test_bad_mappings(self, draft, root, tmp_path):
        a, b = file(root, "a.jpg", b"a"), file(root, "b.jpg", b"b")
        for mapping, message in (
            ({a: "memory://bucket"}, "has no object name"),
            ({"s3://bucket/a.jpg": "memory://bucket/a.jpg"}, "is not a local file"),
            ({"file://server/a.jpg": "memory://bucket/a.jpg"}, "is not a local file"),
            ({a: "/out/x.jpg", b: "/out/x.jpg"}, "maps two sources"),
            ({a: "/out/x.jpg", a.as_uri(): "/out/y.jpg"}, "to two URLs"),
            ({a: ""}, "must be a URL"),
            ("a", "must map sources to destinations"),
            ({a: "nosuch://bucket/x"}, "nosuch"),
            ({a: "~nosuchuser/x"}, "home folder"),
        ):
            with pytest.raises((UsageError, ValueError), match=message):
                draft.add_frames([SingleFrame(source=a)], src_to_dst_mapping=mapping)
        with pytest.raises(UsageError, match="exclude each other"):
            draft.add_frames([], False, 1000, True, "blobs:", root, src_to_dst_mapping={})
        assert len(draft) == 0


class TestArguments:
    def test_a_destination_needs_a_root(self, draft):
        for call in (
            lambda: draft.add_frames([], auto_upload_destination="blobs:"),
            lambda: draft.get_bulk_context(auto_upload_destination="s3://b"),
            lambda: DatasetVersion.get_current(dataset_name="food", auto_upload_destination="s3://b"),
            lambda: DatasetVersion.create_version("v", dataset_name="food", auto_upload_destination="s3://b"),
        ):
            with pytest.raises(UsageError, match="needs local_dataset_root_path"):
                call()
        wrong = {"auto_upload_destination": "nosuch://b", "local_dataset_root_path": "/"}
        for call in (
            lambda: draft.add_frames([], **wrong),
            lambda: draft.get_bulk_context(**wrong),
            lambda: DatasetVersion.get_current(dataset_name="food", **wrong),
            lambda: DatasetVersion.create_version("v", dataset_name="food", **wrong),
        ):
            with pytest.raises(UsageError, match="nosuch"):
                call()
        assert len(DatasetVersion.get_versions("food")) == 1
        with pytest.raises(UsageError, match="must be a URL"):
            draft.add_frames([], auto_upload_destination=5, local_dataset_root_path="/")
        with pytest.raises(ValueError, match="upload_retries must be an integer of at least 0, not -1"):
            draft.add_frames([], upload_retries=-1)

    def test_passwords_are_in_no_message(self, draft, root):
        path = file(root, "a.jpg", b"a")
        for url in (
            "http://user:s3cr/et@127.0.0.1:9/x",
            "http://user:s3cret@127.0.0.1:99999/x",
            "http://user:s3cret@[::1/x",
            "sftp://user:s3cret@server/x",
            "s3://key:s3cret@bucket/x",
        ):
            for options in (
                {"auto_upload_destination": url, "local_dataset_root_path": root},
                {"src_to_dst_mapping": {path: url}},
                {"src_to_dst_mapping": {path: url, root / "b.jpg": url}},
                {"src_to_dst_mapping": {path: url.rpartition("/")[0]}},
            ):
                with pytest.raises((UsageError, ValueError)) as refused:
                    draft.add_frames([SingleFrame(source=path)], **options)
                assert "s3cr" not in str(refused.value)
                assert refused.value.__cause__ is None

    def test_a_call_may_have_a_root_or_a_destination_of_its_own(self, draft, root, tmp_path):
        version = DatasetVersion.get_version(
            dataset_name="food", auto_upload_destination="blobs:", local_dataset_root_path=root
        )
        elsewhere = SingleFrame(source=file(tmp_path / "other", "sub/a.jpg", b"a"))
        assert version.add_frames([elsewhere], local_dataset_root_path=tmp_path / "other") == []
        same = SingleFrame(source=file(tmp_path / "third", "sub/a.jpg", b"a"))
        assert draft.add_frames([same], local_dataset_root_path=tmp_path / "third") == []
        assert elsewhere.id == same.id
        inside = SingleFrame(source=file(root, "b.jpg", b"b"))
        assert version.add_frames([inside], auto_upload_destination=f"{tmp_path}/out") == []
        assert inside.source.startswith(f"{tmp_path}/out/")

    @pytest.mark.parametrize("allow_update", [True, False])
    def test_what_a_bulk_context_cannot_update_stays(self, draft, root, allow_update):
        path = file(root, "a.jpg", b"a")
        draft.add_frames([SingleFrame(id="a", source=path), SingleFrame(id="b", source=path)])
        place = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
        bulk = draft.get_bulk_context(allow_update=allow_update, **place)
        bulk.update_frame(SingleFrame(id="a", source=root / "none.jpg"))
        bulk.update_frame(SingleFrame(id="b", source=path))
        with pytest.raises(FramesRejected, match=r"none\.jpg"):
            bulk.flush()
        assert draft.get_single_frame("a").source == str(path)
        assert draft.get_single_frame("b").source.startswith("blobs:")

    def test_an_object_made_with_a_root_has_it_for_all_that_it_writes(self, engine, draft, root, tmp_path):
        path = file(root, "sub/a.jpg", b"a")
        expected = SingleFrame(source=path).derive_id(root)
        target = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
        for options in ({"local_dataset_root_path": root}, target):
            version = DatasetVersion.get_version(dataset_name="food", **options)
            version = pickle.loads(pickle.dumps(version))
            frames = [SingleFrame(source=path) for _ in range(5)]
            version.add_frames(frames[:1])
            version.add_frames(frames[1:2], src_to_dst_mapping={path: f"memory://{tmp_path.name}/a.jpg"})
            version.update_frames(frames[2:3], without_fields=["sources"])
            with version.get_bulk_context() as bulk:
                bulk.add_frame(frames[3])
            assert version.get_bulk_context(local_dataset_root_path=root) is bulk
            version.add_frames(frames[4:], auto_upload_destination="blobs:")
            assert {frame.id for frame in frames} == {expected}
            version.add_dicts([{"sources": [{"id": "default", "uri": path.as_uri()}]}])
            assert [frame.id for frame in version] == [expected]
        wrong = {"dataset_name": "food", "local_dataset_root_path": 5}
        for refused in (
            lambda: DatasetVersion.get_current(**wrong),
            lambda: DatasetVersion.create_version("other", **wrong),
        ):
            with pytest.raises(ValueError, match="local_dataset_root_path must be a folder, not 5"):
                refused()
        assert len(DatasetVersion.get_versions("food")) == 1

    def test_the_root_may_be_a_uri_but_must_be_of_this_machine(self, draft, root):
        frame = SingleFrame(source=file(root, "a b.jpg", b"a"))
        options = {"auto_upload_destination": "blobs:", "local_dataset_root_path": f"{root.as_uri()}/"}
        assert draft.add_frames([frame], **options) == []
        assert frame.source.startswith("blobs:")
        for wrong in ("s3://bucket/data", "file://server/data", 5, "", b"/data"):
            with pytest.raises(ValueError, match="local_dataset_root_path"):
                draft.add_frames([], auto_upload_destination="blobs:", local_dataset_root_path=wrong)

    def test_an_object_made_with_a_destination_uploads_whatever_it_writes(
        self, engine, draft, destination, root
    ):
        version = DatasetVersion.get_version(
            dataset_name="food",
            auto_upload_destination=destination.url,
            local_dataset_root_path=root,
        )
        frame = SingleFrame(id="a", source=file(root, "a.jpg", b"a"))
        assert version.add_frames([frame]) == []
        frame.source = file(root, "b.jpg", b"b")
        frame.size = frame.hash = None
        version.update_frames([frame])
        merged = SingleFrame(id="a", source=file(root, "c.jpg", b"c"), metadata={"k": 1})
        version.update_frames([merged], without_fields=[])
        assert destination.objects(engine) == [b"a", b"b", b"c"]
        (stored,) = version
        assert destination.read(engine, stored.source) == b"c"
        copied = pickle.loads(pickle.dumps(version))
        assert copied.add_frames([SingleFrame(id="d", source=file(root, "d.jpg", b"d"))]) == []
        assert b"d" in destination.objects(engine)

    def test_a_refused_update_is_raised(self, draft, root, destination):
        version = (
            DatasetVersion.get_current("", "food")
            if False
            else DatasetVersion.get_current(None, "food", destination.url, root)
        )
        with pytest.raises(framelode.FramesRejected) as rejected:
            version.update_frames([SingleFrame(id="a", source=root / "none.jpg")])
        assert [failure["error_type"] for failure in rejected.value.failures] == ["upload"]

    @pytest.mark.parametrize("without_fields", [None, []])
    def test_an_update_whose_upload_fails_leaves_what_was_held(
        self, draft, root, destination, without_fields
    ):
        version = DatasetVersion.get_current(None, "food", destination.url, root)
        version.add_frames([SingleFrame(id="a", source=file(root, "a.jpg", b"a"))])
        held = sources(draft)
        with pytest.raises(framelode.FramesRejected):
            version.update_frames(
                [SingleFrame(id="a", source=root / "none.jpg")], without_fields=without_fields
            )
        assert sources(draft) == held

    def test_a_repeated_command_unregisters_nothing_that_came_later(self, draft, root, destination):
        options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
        good, bad = file(root, "a.jpg", b"a"), root / "none.jpg"

        def call():
            frames = [SingleFrame(id="a", source=good), SingleFrame(id="b", source=bad)]
            return [failure["frame"].id for failure in draft.add_frames(frames, command_id="once", **options)]

        assert call() == ["b"]
        assert draft.add_frames([SingleFrame(id="b", source=good)], **options) == []
        assert call() == ["b"]
        assert sorted(sources(draft)) == ["a", "b"]
        draft.publish_version()
        assert call() == ["b"]

    def test_a_version_published_meanwhile_does_not_lose_the_failures(self, draft, root):
        def frames():
            yield SingleFrame(id="a", source=file(root, "a.jpg", b"a"))
            yield SingleFrame(id="b", source=root / "none.jpg")
            draft.publish_version()

        options = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
        (failure,) = draft.add_frames(frames(), batch_size=1, **options)
        assert failure["frame"].id == "b"
        assert sorted(sources(draft)) == ["a"]

    def test_the_bulk_context_uploads_with_each_flush(self, engine, draft, destination, root):
        with draft.get_bulk_context(
            2, auto_upload_destination=destination.url, local_dataset_root_path=root
        ) as bulk:
            for n in range(3):
                bulk.add_frame(SingleFrame(source=file(root, f"{n}.jpg", bytes([n]))))
        assert len(destination.objects(engine)) == 3
        assert all(frame.size == 1 for frame in draft)

    def test_a_repeated_command_does_nothing_twice(self, engine, draft, destination, root):
        options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
        paths = [file(root, f"{n}.jpg", bytes([n])) for n in range(5)]
        draft.add_frames([SingleFrame(source=p) for p in paths], batch_size=2, command_id="once", **options)
        head = engine.log.head().position
        draft.add_frames([SingleFrame(source=p) for p in paths], batch_size=2, command_id="once", **options)
        assert engine.log.head().position == head
        with pytest.raises(ConflictError):
            file(root, "0.jpg", b"another")
            draft.add_frames([SingleFrame(source=paths[0])], batch_size=2, command_id="once", **options)

    def test_progress_is_told(self, draft, destination, root):
        calls = []

        class Callback(fsspec.Callback):
            def relative_update(self, inc=1):
                calls.append(inc)

        frames = [SingleFrame(source=file(root, f"{n}.jpg", bytes([n]))) for n in range(5)]
        draft.add_frames(frames, False, 2, True, destination.url, root, callback=Callback())
        assert calls == [2, 2, 1]
        calls.clear()
        frames = [SingleFrame(source=root / f"none-{n}.jpg") for n in range(3)]
        options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
        for register in (True, False):
            draft.add_frames(frames, register_on_upload_failure=register, callback=Callback(), **options)
        assert calls == [3, 3]


class TestDeleteSources:
    def upload(self, draft, root, names, url="blobs:"):
        frames = [SingleFrame(id=name, source=file(root, name, name.encode())) for name in names]
        assert draft.add_frames(frames, auto_upload_destination=url, local_dataset_root_path=root) == []
        return {frame.id: frame.source for frame in frames}

    def test_contents_that_nobody_names_go(self, engine, draft, root):
        uris = self.upload(draft, root, ["a", "b"])
        result = draft.delete_frames(["a"], delete_sources=True)
        assert (result.deleted, result.kept, result.failures) == ([uris["a"]], [], [])
        assert contents(engine) == [b"b"]
        assert set(sources(draft)) == {"b"}
        self.upload(draft, root, ["a"])
        assert len(draft) == 2
        engine.verify(blobs=True)

    def test_a_source_that_another_version_names_is_kept(self, engine, draft, root):
        uris = self.upload(draft, root, ["a", "b"])
        child = DatasetVersion.create_snapshot(dataset_name="food")
        result = child.delete_frames(["a"], delete_sources=True)
        assert (result.deleted, result.kept) == ([], [uris["a"]])
        assert contents(engine) == [b"a", b"b"]

    def test_a_source_that_another_frame_names_is_kept(self, engine, draft, root):
        self.upload(draft, root, ["a"])
        draft.add_frames([SingleFrame(id="twin", source=next(iter(draft)).source)])
        assert draft.delete_frames(["a"], delete_sources=True).deleted == []
        assert len(draft.delete_frames(["twin"], delete_sources=True).deleted) == 1

    def test_sources_elsewhere_are_refused_and_nothing_is_deleted(self, engine, draft, root, tmp_path):
        self.upload(draft, root, ["a"])
        draft.add_frames(
            [SingleFrame(id="l", source=root / "a"), SingleFrame(id="h", source="https://h/x.jpg")]
        )
        for bad in ("l", "h"):
            with pytest.raises(UsageError, match="nothing was deleted"):
                draft.delete_frames(["a", bad], delete_sources=True)
        assert set(sources(draft)) == {"a", "l", "h"}
        assert contents(engine) == [b"a"]

    def test_objects_on_s3_go_but_those_that_others_name(self, engine, draft, root, tmp_path, monkeypatch):
        s3 = Destination("s3", tmp_path, monkeypatch.setenv)
        uris = self.upload(draft, root, ["a", "b", "c"], s3.url)
        draft.add_frames([SingleFrame(id="twin", source=uris["b"])])
        result = draft.delete_frames(["a", "b"], delete_sources=True)
        assert (result.deleted, result.kept, result.failures) == ([uris["a"]], [uris["b"]], [])
        assert s3.objects(engine) == [b"b", b"c"]
        again = self.upload(draft, root, ["a"], s3.url)
        assert s3.read(engine, again["a"]) == b"a"

    @pytest.mark.parametrize(
        ("deleted", "other"), [("gcs", "gs"), ("gs", "gcs"), ("GS", "gs"), ("az", "abfs"), ("abfs", "azure")]
    )
    def test_an_object_that_others_name_by_another_scheme_is_kept(self, draft, deleted, other, monkeypatch):
        pytest.importorskip("gcsfs")
        pytest.importorskip("adlfs")
        asked, gone = [], []
        monkeypatch.setattr(
            ObjectDestination, "holds", lambda store, uri, _: asked.append(store._inside(uri))
        )
        monkeypatch.setattr(
            ObjectDestination, "delete", lambda store, uris: gone.extend(map(store._inside, uris))
        )
        draft.add_frames([SingleFrame(id=name, source=f"{deleted}://c/{name}") for name in "ab"])
        draft.add_frames([SingleFrame(id="other", source=f"{other}://c/a")])
        result = draft.delete_frames(["a", "b"], delete_sources=True)
        assert (result.kept, result.deleted) == ([f"{deleted}://c/a"], [f"{deleted}://c/b"])
        assert [uri.rpartition("/")[2] for uri in asked] == ["a", "b"]
        assert [uri.rpartition("/")[2] for uri in gone] == ["b"]

    def test_one_version_of_an_object_is_not_deleted(self, engine, draft, root, tmp_path, monkeypatch):
        s3 = Destination("s3", tmp_path, monkeypatch.setenv)
        uris = self.upload(draft, root, ["a"], s3.url)
        draft.add_frames([SingleFrame(id="old", source=f"{uris['a']}?versionId=1")])
        with pytest.raises(UsageError, match="one version of an object.*nothing was deleted"):
            draft.delete_frames(["old"], delete_sources=True)
        assert s3.objects(engine) == [b"a"]
        assert len(draft) == 2

    def test_a_store_that_cannot_be_asked_leaves_everything(self, engine, draft, root, tmp_path, monkeypatch):
        s3 = Destination("s3", tmp_path, monkeypatch.setenv)
        uris = self.upload(draft, root, ["a", "b"], s3.url)
        real = ObjectDestination.holds

        def refuse(destination, uri, size):
            if uri == uris["b"]:
                raise BackendError("no connection")
            return real(destination, uri, size)

        monkeypatch.setattr(ObjectDestination, "holds", refuse)
        with pytest.raises(framelode.StorageError, match="no connection"):
            draft.delete_frames(["a", "b"], delete_sources=True)
        assert set(sources(draft)) == {"a", "b"}
        assert s3.objects(engine) == [b"a", b"b"]

    def test_what_cannot_be_deleted_is_listed(self, engine, draft, root, tmp_path, monkeypatch):
        s3 = Destination("s3", tmp_path, monkeypatch.setenv)
        uris = self.upload(draft, root, ["a", "b"], s3.url)
        real = ObjectDestination.delete

        def refuse(destination, doomed):
            if uris["a"] in doomed:
                raise BackendError("not today")
            real(destination, doomed)

        monkeypatch.setattr(ObjectDestination, "delete", refuse)
        with pytest.warns(UserWarning, match="1 source could not be deleted, the first: .*not today"):
            result = draft.delete_frames(["a", "b"], delete_sources=True)
        assert result.deleted == [uris["b"]]
        assert result.failures == [{"uri": uris["a"], "error": "not today"}]
        assert repr(result) == "SourceDeletion(deleted=1, kept=0, failures=1)"
        assert len(draft) == 0

    def test_the_bulk_context_deletes_sources_too(self, engine, draft, root):
        self.upload(draft, root, ["a", "b"])
        with draft.get_bulk_context() as bulk:
            bulk.delete_frame("a", delete_sources=True)
            bulk.delete_frame("b")
        assert contents(engine) == [b"b"]
        assert len(draft) == 0

    @pytest.mark.parametrize("source", ["http://127.0.0.1:9/a.jpg", "s3:///a.jpg"])
    def test_a_source_that_can_never_be_deleted_does_not_hold_a_bulk_context_up(
        self, engine, draft, root, source
    ):
        self.upload(draft, root, ["a"])
        draft.add_frames([SingleFrame(id="far", source=source)])
        bulk = draft.get_bulk_context()
        for frame in ("a", "far"):
            bulk.delete_frame(frame, delete_sources=True)
        bulk.add_frame(SingleFrame(id="later"))
        with pytest.raises(FramesRejected, match="nothing was deleted") as refused:
            bulk.flush()
        assert [failure["frame"] for failure in refused.value.failures] == ["a", "far"]
        assert sorted(frame.id for frame in draft) == ["a", "far", "later"]
        assert contents(engine) == [b"a"]
        assert draft.publish_version()


@pytest.mark.sized
def test_gc_beside_an_upload_of_content_unreferenced_for_long(engine, draft, root):
    options = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
    path = file(root, "a.jpg", b"long ago")
    draft.add_frames([SingleFrame(id="a", source=path)], **options)
    draft.delete_frames(["a"])
    now = timedelta(0)
    assert len(engine.gc(now, young=now, dry_run=False).condemned) == 1
    stop = threading.Event()

    def collect():
        while not stop.is_set():
            engine.gc(now, young=now, dry_run=False)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for n in range(sized(8, 20)):
            frame = SingleFrame(id=f"{n}", source=path)
            assert draft.add_frames([frame], **options) == []
            engine.verify(blobs=True)
            draft.delete_frames([f"{n}"])
    finally:
        stop.set()
        join(collector)


@pytest.mark.parametrize("runs", [1, 2])  # condemned, and deleted, too
def test_a_content_that_gc_takes_before_its_frame_is_appended_is_stored_again(
    engine, draft, root, monkeypatch, runs
):
    options = {"auto_upload_destination": "blobs:", "local_dataset_root_path": root}
    path = file(root, "a.jpg", b"long ago")
    draft.add_frames([SingleFrame(id="a", source=path)], **options)
    draft.delete_frames(["a"])
    admit, times = type(engine.session.writes.frames._blobs).admit, iter(range(runs))

    def late(guard, *arguments):
        for _ in times:
            engine.gc(timedelta(0), young=timedelta(0), dry_run=False)
        return admit(guard, *arguments)

    monkeypatch.setattr(type(engine.session.writes.frames._blobs), "admit", late)
    by_hand = SingleFrame(id="hand", source=f"blobs:{blake3(b'long ago').hexdigest()}/x.jpg")
    frames = [
        SingleFrame(id="b", source=path),
        SingleFrame(id="c", source=file(root, "c.jpg", b"c")),
        by_hand,
    ]
    assert draft.add_frames(frames, **options) == []
    assert contents(engine) == [b"c", b"long ago"]
    engine.verify(blobs=True)


@pytest.mark.parametrize("error", [framelode.StorageError("it is full"), KeyboardInterrupt()])
def test_frames_that_are_not_appended_stay_as_they_were(engine, draft, destination, root, monkeypatch, error):
    options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
    mask = file(root, "a.png", b"mask")
    frames = [SingleFrame(source=file(root, "a.jpg", b"a"), mask_source=[mask], preview_uri=mask)]
    frames += [FrameGroup(frames={"left": SingleFrame(source=file(root, "l.jpg", b"l"))})]
    before = [frame.to_dict() for frame in frames]
    with monkeypatch.context() as patch:
        patch.setattr(engine.log, "append", lambda _: (_ for _ in ()).throw(error))
        patch.setattr(engine.session.writes.upload_commands, "record_uploads", lambda *_: 1)
        with pytest.raises(type(error)):
            draft.add_frames(frames, **options)
    after = [frame.to_dict() for frame in frames]
    assert [wire["sources"] for wire in after] == [wire["sources"] for wire in before]
    assert draft.add_frames(frames, **options) == []
    assert len(draft) == 2
    assert len(destination.objects(engine)) == 3


def test_a_frame_that_is_refused_after_its_upload_stays_as_it_was(engine, draft, destination, root):
    options = {"auto_upload_destination": destination.url, "local_dataset_root_path": root}
    gone = engine.blobs.put(b"gone").digest
    for _ in range(2):
        engine.gc(timedelta(0), young=timedelta(0), dry_run=False)
    path = file(root, "a.jpg", b"a")
    frame = SingleFrame(source=path, preview_uri=f"blobs:{gone}/p.jpg")
    (failure,) = draft.add_frames([frame], **options)
    assert failure["frame"] is frame
    assert "store its content again" in failure["error"]
    assert frame.source == str(path)
    engine.blobs.put(b"gone")
    assert draft.add_frames([frame], **options) == []
    assert destination.read(engine, frame.source) == b"a"


def test_two_processes_upload_the_same_content_at_once(engine, draft, root, tmp_path):
    for n in range(40):
        file(root, f"{n}.jpg", f"{n % 30}".encode())
    start = FORKED.Event()
    arguments = (engine.url, str(root), str(tmp_path / "up"), start)
    processes = [FORKED.Process(target=workers.upload, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    start.set()
    join(*processes)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(draft) == 40
    for frame in draft:
        data = Path(frame.source).read_bytes()
        assert frame.hash == f"blake3:{blake3(data).hexdigest()}"
    engine.verify()


@examples(8, 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_file_name_comes_through(engine, draft, root, tmp_path, name):
    if name in {".", ".."} or len(os.fsencode(name)) > 200:
        return
    path = file(root, name, name.encode())
    for url in ("blobs:", str(tmp_path / "up"), "memory://names/up"):
        frame = SingleFrame(id="x", source=path)
        assert draft.add_frames([frame], auto_upload_destination=url, local_dataset_root_path=root) == []
        local = frame.get_local_source()
        assert Path(local).read_bytes() == name.encode()
        assert msgspec.json.encode(frame.to_dict())
        assert path_or_uri(frame.sources[0].uri) == frame.source
