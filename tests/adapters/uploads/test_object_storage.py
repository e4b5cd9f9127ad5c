"""Blobs and state snapshots on a real S3 server: many writers, outages, cut connections, killed uploads."""

from __future__ import annotations

import gc
import logging
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import object_worker
import pytest
from blake3 import blake3
from forked import FORKED, Program
from object_worker import filesystem_at, options_for
from patience import PATIENCE, join
from refusing_proxy import Outage, RefusingProxy
from s3_server import BUCKET, s3_filesystem, s3_prefix, s3_url

import framelode
from framelode import DatasetVersion, NotFoundError, SingleFrame, StorageError
from framelode.adapters.session.open import open_snapshots
from framelode.engine.blobs.fsspec import FsspecBackend
from framelode.engine.blobs.store import BlobStore
from framelode.engine.storage import objects
from framelode.projections.states import snapshots
from framelode.projections.states.cache import StateCache
from framelode.projections.states.snapshot_objects import SnapshotObjects
from framelode.projections.states.snapshot_table import SnapshotTable

NO_TIME = timedelta(0)


@pytest.fixture
def waits(monkeypatch):
    """Waits that last no time, and how many there were."""
    waited = []
    monkeypatch.setattr(objects, "WAITS", (0.0,) * 5)
    monkeypatch.setattr("framelode.engine.blobs.store.time.sleep", waited.append)
    return waited


@pytest.fixture
def proxy(waits):
    made = RefusingProxy(s3_url())
    yield made
    made.close()


@pytest.fixture
def store(proxy, waits):
    place = FsspecBackend(s3_prefix(), filesystem_at(proxy.url), sleep=waits.append)
    return BlobStore(place, sleep=waits.append)


def files_in(folder, contents):
    folder.mkdir()
    for number, data in enumerate(contents):
        (folder / f"{number:03d}").write_bytes(data)
    return sorted(folder.iterdir())


def digest(data):
    return blake3(data).hexdigest()


def test_four_processes_write_the_same_and_different_contents(tmp_path):
    shared = [b"shared %d" % n for n in range(12)] + [b"large" * 300_000]
    url, context = s3_prefix(), FORKED
    start, results = context.Barrier(4, timeout=PATIENCE), context.Queue()
    processes = []
    for number in range(4):
        files_in(tmp_path / f"{number}", [*shared, *(b"own %d %d" % (number, n) for n in range(6))])
        arguments = (s3_url(), url, str(tmp_path / f"{number}"), start, results)
        processes.append(context.Process(target=object_worker.put, args=arguments))
    for process in processes:
        process.start()
    found = [results.get(timeout=PATIENCE) for _ in processes]
    join(*processes)
    assert [failures for _, failures in found] == [[], [], [], []]
    expected = {digest(data) for data in shared} | {
        digest(b"own %d %d" % (number, n)) for number in range(4) for n in range(6)
    }
    assert {stored for some, _ in found for stored in some} == expected
    store = BlobStore(url, filesystem=s3_filesystem())
    assert store.scrub(expected=expected).is_sound
    assert len(list(store.entries())) == len(expected)
    assert s3_filesystem().find(f"{url.removeprefix('s3://')}/tmp") == []


def test_a_content_that_is_there_is_not_put_again(store, proxy):
    name = digest(b"content")
    store.put(b"content")
    proxy.asked.clear()
    assert store.put(b"content").digest == name
    assert [status for method, path, status in proxy.asked if method == "PUT" and name in path] == [412]
    s3_filesystem().pipe_file(store.place.path(name), b"damaged")
    proxy.asked.clear()
    store.put(b"content")
    assert [status for method, path, status in proxy.asked if method == "PUT" and name in path] == [412, 200]
    assert store.read(name) == b"content"


def test_a_missing_bucket_is_said_and_not_made(tmp_path, waits):
    filesystem = s3_filesystem()
    store = BlobStore("s3://framelode-no-such-bucket/blobs", filesystem=filesystem, sleep=waits.append)
    with pytest.raises(
        StorageError, match=r"no-such-bucket/blobs: there is no such bucket or container: create it"
    ):
        store.put(b"content")
    paths = files_in(tmp_path / "files", [b"small", b"large" * 300_000])
    report = store.put_files(paths)
    assert [failure.kind for failure in report.failures] == ["storage", "storage"]
    assert all("there is no such bucket" in failure.error for failure in report.failures)
    assert waits == []
    with pytest.raises(NotFoundError):
        store.read("0" * 64)
    filesystem.invalidate_cache()
    assert "framelode-no-such-bucket" not in filesystem.ls("")


class TestOutages:
    def test_put_files_goes_on_when_the_store_is_back(self, store, proxy, tmp_path):
        contents = [b"content %d" % n for n in range(30)] + [b"large" * 300_000]
        paths = files_in(tmp_path / "files", contents)
        proxy.refuse = Outage(40)
        report = store.put_files(paths, retries=20)
        assert proxy.refused == 40
        assert report.failures == []
        assert len(report.stored) == len(paths)
        assert store.scrub(expected=map(digest, contents)).is_sound

    def test_put_files_lists_what_a_store_that_stays_away_refused(self, store, proxy, tmp_path):
        contents = [*(b"content %d" % n for n in range(4)), b"large" * 300_000]
        paths = files_in(tmp_path / "files", contents)
        proxy.refuse = lambda method, path: 503
        report = store.put_files(paths)
        asked = len(proxy.asked)
        gc.collect()  # what was given up is not sent again when it is collected
        assert len(proxy.asked) == asked
        assert (len(report.stored), len(report.failures)) == (0, 5)
        assert {failure.kind for failure in report.failures} == {"storage"}
        for ask in (lambda: store.put(b"x"), lambda: store.read(digest(b"x")), lambda: list(store.entries())):
            with pytest.raises(StorageError, match=f"blob store {store.name}"):
                ask()
        proxy.refuse = lambda method, path: None
        assert store.put_files(paths).failures == []
        assert store.scrub(expected=map(digest, contents)).is_sound

    def test_a_store_that_is_down_is_not_asked_for_every_content(self, store, proxy, tmp_path):
        paths = files_in(tmp_path / "files", [b"content %d" % n for n in range(150)])
        store.join()
        proxy.refuse = lambda method, path: 503 if method == "PUT" else None
        report = store.put_files(paths, retries=1)
        assert len(report.failures) == 150
        asked = {path for method, path, status in proxy.asked if method == "PUT"}
        assert 32 <= len(asked) < 100
        proxy.refuse = lambda method, path: None
        assert store.put_files(paths).failures == []

    @pytest.mark.parametrize("how", ["cut", "lost"])
    def test_connections_that_are_cut(self, store, proxy, how):
        proxy.refuse = Outage(1, how, lambda method, path: method == "PUT")
        stored = store.put(b"content")
        assert proxy.refused == 1
        proxy.refuse = Outage(1, how, lambda method, path: method == "GET" and stored.digest in path)
        assert store.read(stored.digest) == b"content"
        assert proxy.refused == 2
        assert [entry.digest for entry in store.entries()] == [stored.digest]

    def test_leftovers_that_cannot_be_dropped_stop_nobody(self, store, proxy, tmp_path, caplog):
        (path,) = files_in(tmp_path / "files", [b"content"])
        store.join()
        proxy.refuse = lambda method, path: 503 if method == "GET" else None
        with caplog.at_level(logging.INFO, "framelode.blobs"):
            assert store.put_files([path]).failures == []
        assert "leftovers" in caplog.text

    def test_a_blob_that_the_store_does_not_delete_is_told(self, store, monkeypatch):
        stored = store.put(b"content")
        answer = {"Errors": [{"Key": stored.digest, "Code": "InternalError"}]}
        call = store.place.objects.fs.call_s3
        answers = iter([answer, answer])
        monkeypatch.setattr(
            store.place.objects.fs,
            "call_s3",
            lambda method, *a, **k: next(answers, None) or call(method, *a, **k),
        )
        store.delete([stored.digest])
        assert stored.digest not in store
        monkeypatch.setattr(
            store.place.objects.fs,
            "call_s3",
            lambda *a, **k: {"Errors": [{"Key": "k", "Code": "AccessDenied"}]},
        )
        with pytest.raises(StorageError, match="k was not deleted: AccessDenied"):
            store.delete([stored.digest])


def test_parts_of_an_upload_that_was_killed_are_dropped_by_age(store, monkeypatch):
    process = Program("object_worker", s3_url(), store.name)
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate(timeout=PATIENCE)
    prefix = store.name.removeprefix(f"s3://{BUCKET}/")

    def unfinished():
        found = s3_filesystem().call_s3("list_multipart_uploads", Bucket=BUCKET, Prefix=prefix)
        return len(found.get("Uploads", ()))

    assert unfinished() == 1
    filesystem = store.place.objects.fs
    call = filesystem.call_s3

    def call_s3(method, **arguments):
        answer = call(method, **arguments)
        for upload in answer.get("Uploads", ()):
            upload["Initiated"] = datetime.now(UTC)  # the server of the tests says 2010 of all of them
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(filesystem, "call_s3", call_s3)
        assert store.clean(older_than=3600) == 0
    assert unfinished() == 1
    assert store.clean(older_than=3600) == 1
    assert unfinished() == 0


@pytest.fixture
def through(proxy, monkeypatch):
    """Every filesystem on S3 that is opened by a URL goes through the proxy."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {**options_for(proxy.url), "use_listings_cache": False})
    return proxy


class TestGarbageCollection:
    @pytest.fixture
    def engine(self, tmp_path, through):
        with framelode.connect(tmp_path / "engine", blobs=s3_prefix()) as engine:
            DatasetVersion.create_new_dataset("food")
            yield engine
            engine.close()

    def condemned(self, engine):
        for n in range(3):
            engine.blobs.put(b"%d" % n)
        assert len(engine.gc(NO_TIME, young=NO_TIME, dry_run=False).condemned) == 3

    def test_an_outage_for_a_while(self, engine, through):
        self.condemned(engine)
        through.refuse = Outage(5)
        assert len(engine.gc(NO_TIME, young=NO_TIME, dry_run=False).collected) == 3
        assert through.refused == 5
        assert list(engine.blobs.entries()) == []

    def test_one_in_the_middle_of_the_deletion_is_an_error_and_the_next_run_finishes(self, engine, through):
        self.condemned(engine)
        through.refuse = lambda method, path: 503 if method == "POST" and "delete" in path else None
        with pytest.raises(StorageError, match="blob store"):
            engine.gc(NO_TIME, young=NO_TIME, dry_run=False)
        assert len(engine.session.writes.blob_commands.blob_ledger.condemned()) == 3
        through.refuse = lambda method, path: None
        assert len(engine.gc(NO_TIME, young=NO_TIME, dry_run=False).collected) == 3
        assert list(engine.blobs.entries()) == []
        engine.verify(blobs=True)


class TestSnapshots:
    @pytest.fixture
    def url(self, postgres_url, through, monkeypatch):
        monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)
        return postgres_url

    @pytest.fixture
    def engine(self, url):
        with framelode.connect(url, blobs=s3_prefix()) as engine:
            DatasetVersion.create_new_dataset("food")
            yield engine
            engine.close()

    def add(self, name, count):
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([SingleFrame(id=f"{name} {n}") for n in range(count)])
        return draft

    def kept(self, engine):
        return s3_filesystem().find(f"{engine.session.location.blobs.removeprefix('s3://')}/snapshots")

    def assert_folded_alike(self, engine, version_id):
        fresh = StateCache(engine.log, engine.session.parent_of).current(version_id).settled()
        state = engine.session.states.current(version_id).settled()
        assert np.array_equal(state.mixed, fresh.mixed)
        assert np.array_equal(state.positions, fresh.positions)

    def test_another_worker_opens_without_folding(self, engine, url, monkeypatch):
        draft = self.add("a", 30)
        (path,) = self.kept(engine)
        assert f"/snapshots/{engine.log.uuid}/{draft.version_id}/" in path
        engine.blobs.put(b"content")
        assert engine.scrub().is_sound
        other = framelode.connect(url)
        read, after = other.log.stream_rows, []
        monkeypatch.setattr(
            other.log, "stream_rows", lambda *a, **k: after.append(k["after"]) or read(*a, **k)
        )
        assert len(other.version(draft.version_id)) == 30
        self.assert_folded_alike(other, draft.version_id)
        assert min(after[:1]) >= 30
        assert other.verify().snapshots == 1
        other.rebuild()
        assert self.kept(engine) == []
        other.close()

    def test_an_outage_while_one_is_written_hurts_no_commit(self, engine, url, through, caplog):
        through.refuse = lambda method, path: 503 if "snapshots" in path else None
        with caplog.at_level(logging.INFO, "framelode.states"):
            draft = self.add("a", 30)
        assert "no snapshot of version" in caplog.text
        assert len(draft) == 30
        assert self.kept(engine) == []
        through.refuse = Outage(3, matches=lambda method, path: "snapshots" in path)
        self.add("b", 30)
        assert through.refused > 3
        assert len(self.kept(engine)) == 1

    @pytest.mark.parametrize("refused", ["list-type", "GET"])
    def test_an_outage_while_one_is_read_is_folded(self, engine, url, through, caplog, refused):
        draft = self.add("a", 30)

        def refuse(method, path):
            of_snapshots = "snapshots" in path and (refused in path or refused == method)
            return 503 if of_snapshots else None

        through.refuse = refuse
        other = framelode.connect(url)
        with caplog.at_level(logging.WARNING, "framelode.states"):
            assert len(other.version(draft.version_id)) == 30
        assert "replayed, not loaded" in caplog.text
        self.assert_folded_alike(other, draft.version_id)
        other.close()

    def test_connections_cut_while_one_is_written(self, engine, through):
        through.refuse = Outage(1, "lost", lambda method, path: method == "PUT" and "snapshots" in path)
        draft = self.add("a", 30)
        assert through.refused == 1
        assert len(self.kept(engine)) == 1
        self.assert_folded_alike(engine, draft.version_id)

    def test_where_they_are(self, engine, tmp_path):
        assert isinstance(
            open_snapshots(engine.session.location, engine.session.database, engine.log), SnapshotObjects
        )
        folder = framelode.connect(tmp_path / "engine", blobs=s3_prefix())
        assert isinstance(
            open_snapshots(folder.session.location, folder.session.database, folder.log), SnapshotTable
        )
        folder.close()
