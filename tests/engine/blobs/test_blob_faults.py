"""Storing files when something goes wrong: each failure is listed, nothing half is seen, a second call finishes."""

from __future__ import annotations

import errno
import os
import signal
import threading
import tracemalloc
from pathlib import Path

import pytest
from blake3 import blake3
from blob_places import Refusing, Waits, make_place, quick_store
from forked import Program
from patience import PATIENCE

from framelode.engine.blobs import content as blob_sources
from framelode.engine.blobs import fsspec as blob_objects
from framelode.engine.blobs import ingest as blob_intake
from framelode.engine.blobs import local as blob_folder
from framelode.engine.blobs.store import BlobStore
from framelode.engine.errors import StorageError, UsageError
from framelode.engine.storage import local as local_files
from framelode.engine.storage.base import CHUNK_BYTES


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    paths = [folder / f"{number:03d}" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_bytes(f"content {number}".encode() * 20)
    return paths


def assert_finished(store, files):
    """Check that a second call brings everything in."""
    report = store.put_files(files)
    assert report.failures == []
    assert len(report.stored) == len(files)
    names = {blake3(path.read_bytes()).hexdigest() for path in files}
    assert store.scrub(expected=names).is_sound
    assert {entry.digest for entry in store.entries()} == names


def test_every_third_write_is_refused_and_tried_again(tmp_path, files):
    waits = Waits()
    store = BlobStore(Refusing(tmp_path / "blobs", every=3), sleep=waits, retries=20)
    report = store.put_files(files)
    assert report.failures == []
    assert len(report.stored) == len(files)
    assert waits.seconds == sorted(waits.seconds)
    assert len(set(waits.seconds)) == len(waits.seconds) > 1
    assert_finished(store, files)


def test_storage_that_dies_in_the_middle(tmp_path, files):
    store = quick_store(Refusing(tmp_path / "blobs", dies_after=80), retries=2)
    report = store.put_files(files)
    assert len(report.stored) + len(report.failures) == len(files)
    assert report.stored
    assert report.failures
    assert {failure.kind for failure in report.failures} == {"storage"}
    for stored in report.stored:
        assert store.read(stored.digest) == Path(stored.source).read_bytes()
    assert {entry.digest for entry in store.entries()} == {stored.digest for stored in report.stored}
    store.place.heal()
    assert store.clean(older_than=-1) == 0
    assert_finished(store, files)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "it is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")],
)
def test_a_store_that_cannot_be_written_is_not_asked_again(tmp_path, files, monkeypatch, number, words):
    waits = Waits()
    store = BlobStore(tmp_path / "blobs", sleep=waits)

    def refuse(path, mode):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(local_files, "_create", refuse)
    report = store.put_files(files)
    assert len(report.failures) == len(files)
    assert all(
        words in failure.error and str(tmp_path / "blobs") in failure.error for failure in report.failures
    )
    assert waits.seconds == []
    with pytest.raises(StorageError, match=words):
        store.put(b"x")
    monkeypatch.undo()
    assert_finished(store, files)


def test_a_disk_that_fills_up_in_the_middle(tmp_path, files, monkeypatch):
    store = quick_store(tmp_path / "blobs")
    write, left = os.write, [30]

    def fill(descriptor, data):
        if data.startswith(b"content"):
            left[0] -= 1
            if left[0] < 0:
                write(descriptor, data[:5])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(local_files.os, "write", fill)
    report = store.put_files(files)
    assert (len(report.stored), len(report.failures)) == (30, 30)
    assert store.clean(older_than=-1) == 0
    monkeypatch.undo()
    assert_finished(store, files)


def test_a_sync_that_fails_fails_its_batch(tmp_path, files, monkeypatch):
    store = quick_store(tmp_path / "blobs", retries=1)

    def fail(folder, descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(local_files, "_sync_file_system", fail)
    report = store.put_files(files)
    assert len(report.failures) == len(files)
    assert list(store.entries()) == []
    monkeypatch.undo()
    assert_finished(store, files)


def test_all_files_of_a_content_that_fails_fail_with_it(tmp_path, files):
    def refuse(kind):
        asked.append(kind)
        raise OSError(errno.EIO, "Input/output error")

    asked = []
    report = quick_store(Noting(tmp_path / "blobs", refuse), retries=1).put_files([files[0]] * 2000)
    assert len(report.failures) == 2000
    assert asked == ["write", "write"]


def test_files_are_synced_one_by_one_where_the_system_cannot_do_more(tmp_path, files, monkeypatch):
    synced = []
    monkeypatch.setattr(local_files, "_sync_file_system", lambda folder, descriptor: False)
    monkeypatch.setattr(local_files, "sync", lambda path: synced.append(str(path)))
    store = quick_store(tmp_path / "blobs")
    store.join()
    synced.clear()
    report = store.put_files(files)
    temporary = [path for path in synced if "/tmp/" in path.removeprefix(str(tmp_path))]
    assert len(temporary) == len(files)
    for stored in report.stored:
        folder = Path(store.place.path(stored.digest)).parent
        assert {str(folder), str(store.place.folder), str(store.place.folder.parent)} <= set(synced)


def test_everything_is_synced_before_it_is_moved_and_reported(tmp_path, files, monkeypatch):
    order = []

    class Watched(blob_folder.LocalBackend):
        def sync_written(self, temporaries, since):
            order.append(("written", len(temporaries)))

        def move(self, temporary, digest):
            order.append(("move", 1))
            super().move(temporary, digest)

        def sync_moved(self, digests, since):
            order.append(("moved", len(digests)))

    quick_store(Watched(tmp_path / "blobs")).put_files(files, on_done=lambda done: order.append(("done", 1)))
    assert order == [("written", 60), *[("move", 1)] * 60, ("moved", 60), *[("done", 1)] * 60]


class Noting(blob_folder.LocalBackend):
    """A folder that notes when each step was done to each file, and asks whether it fails."""

    def __init__(self, folder, before=lambda kind: None):
        super().__init__(folder)
        self._before = before
        self.steps = []

    def begin(self):
        since = super().begin()
        self.steps.append(("begin", since))
        return since

    def create(self):
        self._before("create")
        return super().create()

    def write(self, data):
        self._before("write")
        name = super().write(data)
        self.steps.append(("write", name))
        return name

    def sync_written(self, temporaries, since):
        self._before("sync_written")
        assert since.descriptor is not None
        super().sync_written(temporaries, since)
        self.steps += [("synced", name, since) for name in temporaries]

    def move(self, temporary, digest):
        self._before("move")
        super().move(temporary, digest)
        self.steps.append(("move", temporary, digest))

    def sync_moved(self, digests, since):
        self._before("sync_moved")
        super().sync_moved(digests, since)
        self.steps += [("named", digest) for digest in digests]


class TestBatches:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch):
        monkeypatch.setattr(blob_intake, "BATCH_FILES", 7)

    def test_each_file_passes_all_steps_in_order(self, tmp_path, files):
        place = Noting(tmp_path / "blobs")
        done = lambda stored: place.steps.append(("done", stored.digest))
        report = quick_store(place).put_files(files, on_done=done)
        assert [stored.source for stored in report.stored] == [str(path) for path in files]
        when = {step: number for number, step in enumerate(place.steps)}
        moved = {step[2]: step[1] for step in place.steps if step[0] == "move"}
        watched = {step[1]: step[2] for step in place.steps if step[0] == "synced"}
        for digest, name in moved.items():
            since = watched[name]
            order = [("begin", since), ("write", name), ("synced", name, since), ("move", name, digest)]
            order += [("named", digest), ("done", digest)]
            assert [when[step] for step in order] == sorted(when[step] for step in order)
        assert len(moved) == len(files)
        assert all(since.descriptor is None for since in watched.values())

    def test_one_is_read_while_another_is_synced(self, tmp_path, files):
        written = threading.Semaphore(0)

        def wait(kind):
            if kind == "write":
                written.release()
            elif kind == "sync_written" and not waited:
                waited.append([written.acquire(timeout=PATIENCE) for _ in range(8)])

        waited = []
        report = quick_store(Noting(tmp_path / "blobs", wait)).put_files(files)
        assert len(report.stored) == len(files)
        assert waited == [[True] * 8]

    @pytest.mark.parametrize("step", ["create", "sync_written", "move", "sync_moved"])
    @pytest.mark.parametrize("retries", [0, 2])
    def test_a_file_of_the_next_batch_that_has_a_failed_content(self, tmp_path, files, step, retries):
        failed = []
        files[0].write_bytes(b"large" * CHUNK_BYTES)

        def fail_once(kind):
            if kind == step and not failed:
                failed.append(kind)
                raise OSError(errno.EIO, "Input/output error")

        twice = [*files[:7], *files[:7], *files[7:]]
        store = quick_store(Noting(tmp_path / "blobs", fail_once), retries=retries)
        report = store.put_files(twice)
        assert len(report.stored) + len(report.failures) == len(twice)
        assert bool(report.failures) == (retries == 0)
        for stored in report.stored:
            assert store.read(stored.digest) == Path(stored.source).read_bytes()
        assert store.scrub(expected={stored.digest for stored in report.stored}).is_sound
        assert store.clean(older_than=-1) == 0
        assert len(store.put_files(twice).stored) == len(twice)

    def test_bytes_end_a_batch_too(self, tmp_path, files, monkeypatch):
        monkeypatch.setattr(blob_intake, "BATCH_FILES", 1000)
        monkeypatch.setattr(blob_intake, "BATCH_BYTES", 1000)
        place = Noting(tmp_path / "blobs")
        assert len(quick_store(place).put_files(files).stored) == len(files)
        assert sum(step[0] == "begin" for step in place.steps) >= 5

    def test_nothing_stays_open_when_it_is_broken_off(self, tmp_path, files):
        place = Noting(tmp_path / "blobs")

        def break_off(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            quick_store(place).put_files(files, on_done=break_off)
        assert all(step[1].descriptor is None for step in place.steps if step[0] == "begin")
        assert BlobStore(place).clean(older_than=-1) == 0


class TestSources:
    def test_one_that_vanishes(self, tmp_path, files):
        files[3].unlink()
        report = quick_store(tmp_path / "blobs").put_files(files)
        (failure,) = report.failures
        assert (failure.source, failure.kind) == (str(files[3]), "source")
        assert len(report.stored) == 59

    @pytest.mark.parametrize("size", [100, 3_000_000])
    @pytest.mark.parametrize("change", ["append", "rewrite", "replace", "delete", "truncate"])
    def test_one_that_changes_while_it_is_read(self, tmp_path, monkeypatch, size, change):
        path = tmp_path / "file"
        path.write_bytes(b"a" * size)
        os.utime(path, ns=(1, 1))
        read = os.read
        changed = []

        def read_and_change(descriptor, length):
            data = read(descriptor, length)
            if data.startswith(b"a") and not changed:
                changed.append(True)
                getattr(self, change)(path, size)
            return data

        monkeypatch.setattr(blob_sources.os, "read", read_and_change)
        store = quick_store(tmp_path / "blobs")
        (failure,) = store.put_files([path]).failures
        assert failure.kind == "source"
        assert "file" in failure.error
        assert list(store.entries()) == []
        assert store.clean(older_than=-1) == 0

    def append(self, path, size):
        with path.open("ab") as file:
            file.write(b"more")

    def rewrite(self, path, size):
        path.write_bytes(b"b" * size)

    def replace(self, path, size):
        (path.parent / "new").write_bytes(b"b" * size)
        (path.parent / "new").replace(path)

    def delete(self, path, size):
        path.unlink()

    def truncate(self, path, size):
        os.truncate(path, size // 2)

    def test_what_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        bad = [
            tmp_path / "pipe",
            tmp_path / "folder",
            tmp_path / "loop",
            "/dev/zero",
            tmp_path / ("n" * 300),
            "a\0b",
        ]
        report = quick_store(tmp_path / "blobs").put_files(bad)
        assert report.stored == []
        assert [failure.source for failure in report.failures] == [str(path) for path in bad]
        assert {failure.kind for failure in report.failures} == {"source"}

    def test_a_path_with_dots_and_odd_names(self, tmp_path):
        odd = tmp_path / "a b#%25\né\udc80"
        odd.write_bytes(b"odd")
        report = quick_store(tmp_path / "blobs").put_files([tmp_path / "none" / ".." / odd.name, odd])
        assert [failure.kind for failure in report.failures] in ([], ["source"])
        assert report.stored[-1].digest == blake3(b"odd").hexdigest()


class TestProcesses:
    def test_kill_at_any_step(self, tmp_path):
        source, blobs = tmp_path / "files", tmp_path / "blobs"
        source.mkdir()
        for number in range(700):
            (source / str(number)).write_bytes(str(number).encode() * 2000)
        (source / "big").write_bytes(b"big" * 1_000_000)
        paths = sorted(source.iterdir())
        store = quick_store(blobs)
        # Of each batch of 200, the files are written first and moved then, while the next are written.
        steps = "write:1 write:300 sync_written:1 move:1 sync_moved:1 move:150 sync_written:3 create:1 sync_moved:3"
        for step in steps.split():
            process = self.start(blobs, source, step)
            assert process.communicate(timeout=PATIENCE)[0] == ""
            assert process.returncode == -signal.SIGKILL
            assert store.scrub().is_sound
            assert any(blobs.glob("tmp/*/*")) == (step != "write:1")
        assert 0 < len(list(store.entries())) < 701
        report = store.put_files(paths)
        assert len(report.stored) == 701
        assert store.scrub(expected=[stored.digest for stored in report.stored]).is_sound
        store.clean(older_than=-1)
        assert list(blobs.glob("tmp/*/*")) == []

    def test_two_processes_store_the_same_at_once(self, tmp_path):
        source, blobs = tmp_path / "files", tmp_path / "blobs"
        source.mkdir()
        for number in range(300):
            (source / str(number)).write_bytes(str(number).encode() * 100)
        (source / "big").write_bytes(b"big" * 1_000_000)
        processes = [self.start(blobs, source) for _ in range(2)]
        assert {process.communicate(timeout=PATIENCE)[0] for process in processes} == {"301 0\n"}
        store = quick_store(blobs)
        names = {blake3(path.read_bytes()).hexdigest() for path in source.iterdir()}
        assert store.scrub(expected=names).checked == 301
        assert store.clean(older_than=-1) == 0

    def start(self, blobs, source, *deadly_step):
        return Program("blob_worker", blobs, source, *deadly_step)


@pytest.mark.parametrize(("kind", "size"), [("folder", 300_000_000), ("s3", 60_000_000)])
def test_a_large_file_never_enters_memory(tmp_path, monkeypatch, kind, size):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"not only zeros")
    store = quick_store(make_place(kind, tmp_path))
    store.put(b"whatever is loaded once")
    tracemalloc.start()
    try:
        (stored,) = store.put_files([path]).stored
        with store.open(stored.digest, verify=True) as blob:
            while blob.read(1 << 20):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stored.size == size
    assert peak < (20_000_000 if kind == "folder" else 40_000_000)


def test_the_parts_of_a_very_large_object_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(blob_objects, "_PARTS_OF_ONE_SIZE", 3)
    data = bytes(range(256)) * 120_000
    store = quick_store(make_place("s3", tmp_path))
    place, sizes = store.place, []
    sink = place.create()
    for at in range(0, len(data), 1 << 20):
        sink.write(data[at : at + (1 << 20)])
        sizes.append(sink._file.blocksize)
    sink.close()
    assert sorted(set(sizes)) == [8 << 20, 16 << 20]
    place.move(sink.name, blake3(data).hexdigest())
    assert store.read(blake3(data).hexdigest()) == data


def test_an_unknown_url_is_a_usage_error():
    with pytest.raises(UsageError, match="nosuch"):
        BlobStore("nosuch://bucket/blobs")


def test_files_that_are_no_blobs_are_stray(tmp_path):
    store = quick_store(make_place("folder", tmp_path))
    name = store.put(b"a").digest
    (tmp_path / "blobs" / "README").write_text("x")
    strange = [f"{name[:2]}/{name[2:4]}/{name}", f"{name[:2]}/{name[:-1]}", f"00/{name}", name]
    for place in strange:
        (tmp_path / "blobs" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "blobs" / place).write_text("x")
    assert sorted(store.scrub().stray) == sorted(["README", *strange])
    assert store.scrub().is_sound
