"""Destinations of uploads when something goes wrong, and what URLs lead to them."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import time
import tracemalloc
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from destination_places import Place
from forked import Program
from patience import PATIENCE
from s3_server import BUCKET, s3_environment, s3_filesystem
from web_server import WebServer

from framelode.adapters.uploads import local, objects, remote
from framelode.adapters.uploads import open as opening
from framelode.adapters.uploads.destination import UploadItem, beside
from framelode.adapters.uploads.local import LocalDestination
from framelode.adapters.uploads.objects import ObjectDestination
from framelode.adapters.uploads.open import open_destination
from framelode.engine.blobs.content import SourceError
from framelode.engine.blobs.store import BlobStore
from framelode.engine.errors import UsageError
from framelode.engine.storage import local as local_files
from framelode.engine.storage.base import BackendError
from framelode.engine.storage.objects import ANSWER_SECONDS
from framelode.engine.storage.urls import fsspec_url


@pytest.fixture
def items(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}").write_bytes(f"content {number}".encode() * 20)
    return [UploadItem(str(path), f"up/{path.name}") for path in sorted(folder.iterdir())]


@pytest.fixture
def open_place(tmp_path, monkeypatch):
    opened = []

    def make(kind):
        opened.append(Place(kind, tmp_path, monkeypatch.setenv))
        return opened[-1]

    yield make
    for place in opened:
        place.close()


@pytest.fixture
def web(open_place):
    return open_place("http")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(objects, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(remote, "WHOLE_BYTES", 1 << 20)


def errors(items):
    return [str(item.error) for item in items if item.error is not None]


def assert_finished(place, items):
    """Check that a second call sends everything, once."""
    place.destination.read(items)
    place.destination.send(items)
    assert errors(items) == []
    assert [item.uri for item in items] == [f"{place.destination.root}/{item.name}" for item in items]
    assert place.everything() == {item.name: Path(item.path).read_bytes() for item in items}
    assert place.leftovers() == []


def stage(place, items):
    place.destination.read(items)
    place.destination.stage(items, items)


class TestLocal:
    @pytest.fixture
    def place(self, open_place):
        return open_place("folder")

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.ENOSPC, "it is full"),
            (errno.EROFS, "it is read-only"),
            (errno.EACCES, "permission denied"),
            (errno.EDQUOT, "quota"),
        ],
    )
    def test_a_folder_that_cannot_be_written(self, place, items, monkeypatch, number, words):
        def refuse(path, mode):
            raise OSError(number, os.strerror(number), path)

        place.destination.read(items)
        monkeypatch.setattr(local_files, "_create", refuse)
        place.destination.send(items)
        assert len(errors(items)) == len(items)
        assert all(words in error and place.destination.root in error for error in errors(items))
        assert not any(item.may_try_again for item in items)
        assert place.everything() == {}
        monkeypatch.undo()
        assert_finished(place, items)

    def test_a_disk_that_fills_up_in_the_middle(self, place, items, monkeypatch):
        write, left = os.write, [25]

        def fill(descriptor, data):
            if data.startswith(b"content"):
                left[0] -= 1
                if left[0] < 0:
                    write(descriptor, data[:5])
                    raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data)

        monkeypatch.setattr(local_files.os, "write", fill)
        place.destination.read(items)
        place.destination.send(items)
        assert len(errors(items)) == 15
        assert len(place.everything()) == 25
        assert place.leftovers() == []
        monkeypatch.undo()
        assert_finished(place, items)

    @pytest.mark.parametrize("failing", ["first", "second"])
    def test_a_sync_that_fails_fails_its_files(self, place, items, monkeypatch, failing):
        sync, calls = local_files._sync_file_system, []

        def fail(folder, descriptor):
            calls.append(folder)
            if len(calls) == (1 if failing == "first" else 2):
                raise OSError(errno.EIO, "Input/output error")
            return sync(folder, descriptor)

        monkeypatch.setattr(local_files, "_sync_file_system", fail)
        place.destination.read(items)
        place.destination.send(items)
        assert len(errors(items)) == len(items)
        assert all(item.may_try_again and not item.uri for item in items)
        assert len(place.everything()) == (0 if failing == "first" else len(items))
        assert_finished(place, items)

    def test_contents_are_durable_before_their_names_and_those_before_the_end(
        self, place, items, monkeypatch
    ):
        order, link = [], os.link
        monkeypatch.setattr(local_files, "_sync_file_system", lambda *arguments: order.append("sync") or True)
        monkeypatch.setattr(local.os, "link", lambda *names: (order.append("link"), link(*names)))
        place.destination.read(items)
        place.destination.send(items)
        folders = 1  # a link that misses its folder is made again
        assert order[0] == order[-1] == "sync"
        assert set(order[1:-1]) == {"link"}
        assert len(order) - 2 in range(len(items), len(items) + 4 + folders)

    def test_few_files_are_synced_with_the_folders_that_lead_to_them(self, tmp_path, items, monkeypatch):
        synced, sync = [], local_files.sync
        monkeypatch.setattr(local_files, "sync", lambda path: (synced.append(path), sync(path)))
        destination = open_destination(tmp_path / "new" / "deep" / "uploads")
        destination.read(items[:1])
        destination.send(items[:1])
        named = [path for path in synced if local.TEMPORARY not in path]
        root = f"{tmp_path}/new/deep/uploads"
        assert named == [
            f"{root}/up/00",
            f"{root}/up",
            root,
            f"{tmp_path}/new/deep",
            f"{tmp_path}/new",
            str(tmp_path),
        ]
        assert len(synced) == len(named) + 1

    @pytest.fixture
    def links(self, monkeypatch):
        """The names that files were linked to."""
        made, link = [], os.link
        monkeypatch.setattr(local.os, "link", lambda old, new: (made.append(new), link(old, new)))
        return made

    def test_the_files_of_a_new_folder_are_named_together(self, place, items, links):
        for number, item in enumerate(items):
            item.name = f"{'deep/' * (number % 4)}{quote(Path(item.path).name)}"
        Path(items[6].path).write_bytes(b"large" * 500_000)
        stage(place, items)
        place.destination.send(items)
        assert errors(items) == []
        assert place.everything() == {item.name: Path(item.path).read_bytes() for item in items}
        in_root_or_large = {f"{place.folder}/{item.name}" for item in [*items[::4], items[6]]}
        assert set(links) == in_root_or_large
        assert list((place.folder / local.TEMPORARY).glob("*/*")) == []

    @pytest.mark.parametrize("others", [[], ["other"], ["00"]])
    def test_a_new_folder_that_somebody_makes_meanwhile(self, place, items, links, others):
        stage(place, items)
        (place.folder / "up").mkdir()
        for name in others:
            (place.folder / "up" / name).write_bytes(b"theirs")
        place.destination.send(items)
        assert errors(items) == []
        assert bool(links) == bool(others)
        found = place.everything()
        assert [found.pop(f"up/{name}") for name in others] == [b"theirs"] * len(others)
        assert list(found.values()) == [Path(item.path).read_bytes() for item in items]
        assert place.leftovers() == []

    def test_of_a_new_folder_only_what_is_sent_gets_a_name(self, place, items):
        stage(place, items)
        place.destination.send(items[:5])
        assert sorted(place.everything()) == [f"up/0{number}" for number in range(5)]
        place.destination.send(items[5:])
        assert len(place.everything()) == len(items)
        assert place.leftovers() == []

    def test_what_is_wanted_is_written_as_soon_as_it_is_read(self, place, items):
        place.destination.read(items, lambda item: item is not items[3])
        assert len(place.leftovers()) == len(items) - 1
        place.destination.stage(items[2:4], items)
        assert len(place.leftovers()) == 2
        place.destination.send(items[2:4])
        assert sorted(place.everything()) == ["up/02", "up/03"]
        assert place.leftovers() == []

    def test_a_new_folder_that_is_not_sent_leaves_nothing(self, place, items):
        stage(place, items)
        assert len(place.leftovers()) == len(items)
        place.destination.discard(items)
        assert list((place.folder / local.TEMPORARY).glob("*/*")) == []
        assert place.everything() == {}

    def test_a_file_where_a_folder_should_be(self, place, items):
        place.folder.mkdir()
        (place.folder / "up").write_bytes(b"a file")
        place.destination.read(items)
        place.destination.send(items)
        assert all("a part of its path is a file" in error for error in errors(items))
        assert not any(item.may_try_again for item in items)
        assert place.leftovers() == []

    def test_a_destination_that_is_a_file(self, tmp_path, items):
        (tmp_path / "taken").write_bytes(b"a file")
        destination = LocalDestination(str(tmp_path / "taken"))
        destination.read(items)
        destination.send(items)
        assert len(errors(items)) == len(items)
        assert not any(item.may_try_again for item in items)

    @pytest.mark.parametrize("can_rename", [True, False])
    def test_a_file_system_without_links(self, place, items, monkeypatch, can_rename):
        def refuse(*names):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(local.os, "link", refuse)
        if can_rename:
            # Where a name can be taken by the move itself, no empty file is left when the process is killed.
            monkeypatch.setattr(local.os, "rename", refuse)
        else:
            monkeypatch.setattr(local_files, "rename_to_new", lambda *_: False)
        assert_finished(place, items)
        Path(items[0].path).write_bytes(b"other")
        place.destination.read(items[:1])
        place.destination.send(items[:1])
        assert place.read(items[0].uri) == b"other"
        assert place.everything()["up/00"] == b"content 0" * 20

    def test_a_link_is_not_taken_for_its_content(self, place, items, tmp_path):
        (place.folder / "up").mkdir(parents=True)
        (place.folder / "up" / "00").symlink_to(items[0].path)
        place.destination.read(items[:1])
        place.destination.send(items[:1])
        assert items[0].uri.endswith(f"/up/00.{items[0].digest[:16]}")

    def test_temporary_files_of_killed_processes_are_dropped_by_age(self, place, items):
        folder = place.folder / local.TEMPORARY / "0"
        folder.mkdir(parents=True)
        old, young, foreign = (f"{'0' * 32}-1-1", f"{'0' * 32}-1-2", "notes.txt")
        for name, age in ((old, 2), (young, 0), (foreign, 2)):
            (folder / name).write_bytes(b"half")
            os.utime(folder / name, (time.time() - age * local.LEFTOVER_SECONDS,) * 2)
        place.destination.read(items)
        assert sorted(path.name for path in place.leftovers()) == [young, foreign]

    def test_the_folder_of_temporary_files_is_no_name(self, place, items):
        items[0].name = f"{local.TEMPORARY}/0/x"
        place.destination.read(items[:1])
        place.destination.send(items[:1])
        assert "temporary" in errors(items)[0]
        assert place.leftovers() == []

    def test_a_name_that_is_no_text(self, place, items):
        items[0].name = "up/%FF%FE"
        assert_finished_bytes = b"content 0" * 20
        place.destination.read(items[:1])
        place.destination.send(items[:1])
        assert errors(items) == []
        assert place.read(items[0].uri) == assert_finished_bytes
        assert items[0].uri.endswith("/up/%FF%FE")

    def test_what_cannot_be_deleted(self, place, items, monkeypatch):
        assert_finished(place, items)
        unlink = os.unlink

        def refuse(path):
            if path.endswith("03"):
                raise PermissionError(errno.EACCES, "Permission denied")
            unlink(path)

        monkeypatch.setattr(local.os, "unlink", refuse)
        with pytest.raises(BackendError, match=r"03 cannot be deleted: .*permission denied") as caught:
            place.destination.delete([item.uri for item in items])
        assert caught.value.permanent
        monkeypatch.undo()
        assert list(place.everything()) == ["up/03"]


class TestWeb:
    @pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
    def test_a_server_that_fails_for_a_while(self, web, items, status):
        web.server.fail("PUT", status, times=5)
        web.server.fail("HEAD", status, times=5)
        web.destination.read(items)
        web.destination.send(items)
        failed = [item for item in items if item.error is not None]
        assert len(failed) == 10
        assert all(item.may_try_again and f"answered {status}" in str(item.error) for item in failed)
        web.destination.send(failed)
        assert_finished(web, items)

    @pytest.mark.parametrize(
        ("status", "words"),
        [(403, "permission denied"), (401, "permission denied"), (405, "405"), (507, "507"), (301, "301")],
    )
    def test_a_server_that_refuses_for_good(self, web, items, status, words):
        web.server.fail("PUT", status, times=len(items))
        web.destination.read(items)
        web.destination.send(items)
        assert len(errors(items)) == len(items)
        assert all(words in error and web.destination.root in error for error in errors(items))
        assert not any(item.may_try_again for item in items)
        assert_finished(web, items)

    def test_a_server_that_is_down_is_not_asked_for_every_file(self, web, items):
        many = [UploadItem(items[0].path, f"up/{number}") for number in range(120)]
        web.server.refuse = lambda method, path: 503
        web.destination.read(many)
        web.destination.send(many)
        first = len(web.server.requests)
        assert 32 <= first < 100
        assert len(errors(many)) == 120
        assert all(item.may_try_again and "answered 503" in str(item.error) for item in many)
        web.destination.send(many)
        assert len(web.server.requests) - first < 100
        web.server.refuse = lambda method, path: None
        while failed := [item for item in many if item.error is not None]:
            web.destination.send(failed)
        assert len(web.everything()) == 120

    def test_an_object_without_an_end_is_another_one(self, web, items, monkeypatch):
        assert_finished(web, items[:1])
        monkeypatch.setattr(type(web.destination), "_chunks", lambda *_: itertools.repeat(b"endless"))
        again = [UploadItem(items[0].path, items[0].name)]
        web.destination.read(again)
        web.destination.send(again)
        assert errors(again) == []
        assert again[0].uri != items[0].uri

    def test_answers_that_are_lost(self, web, items):
        web.server.answers_lost = 7
        web.destination.read(items)
        web.destination.send(items)
        failed = [item for item in items if item.error is not None]
        assert len(failed) == 7
        assert all(item.may_try_again for item in failed)
        assert_finished(web, items)

    def test_a_server_that_overlooks_conditions(self, web, items):
        web.server.overlooks_conditions = True
        assert_finished(web, items)
        before = web.everything()
        for item in items:
            Path(item.path).write_bytes(b"other")
        web.destination.read(items)
        web.destination.send(items)
        assert errors(items) == []
        assert {name: web.everything()[name] for name in before} == before

    def test_credentials_of_netrc_are_used(self, web, items, tmp_path, monkeypatch):
        web.server.require("me@home", "s3cret/#")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        (tmp_path / "netrc").write_text('machine 127.0.0.1 login me@home password "s3cret/#"\n')
        destination = open_destination(web.url)
        destination.read(items)
        destination.send(items)
        assert errors(items) == []
        assert all(item.uri.startswith(web.destination.root) for item in items)
        assert destination.holds(items[0].uri, items[0].size)
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me@home password wr0ng\n")
        wrong = open_destination(web.url)
        wrong.send(items)
        assert all("permission denied" in error and "wr0ng" not in error for error in errors(items))
        with pytest.raises(BackendError, match="permission denied"):
            wrong.delete([f"{destination.root}/up/00"])

    def test_a_server_that_is_not_there(self, tmp_path, items):
        server = WebServer(tmp_path / "gone")
        server.close()
        destination = open_destination(server.url)
        destination.read(items)
        destination.send(items)
        assert all(item.may_try_again for item in items)
        assert all(server.url in error for error in errors(items))
        with pytest.raises(BackendError, match="HEAD failed"):
            destination.holds(f"{destination.root}/x", 1)


class TestS3:
    @pytest.fixture
    def bucket(self, open_place):
        return open_place("s3")

    @pytest.mark.parametrize("size", [1_000, 11_000_000])
    def test_the_condition_itself_keeps_objects(self, bucket, tmp_path, monkeypatch, small_parts, size):
        monkeypatch.setattr(ObjectDestination, "_is_there", lambda self, uri: False)
        for number, data in enumerate((b"a" * size, b"a" * size, b"b" * size)):
            (tmp_path / f"{number}").write_bytes(data)
        sent = [UploadItem(str(tmp_path / f"{number}"), "x.bin") for number in range(3)]
        for item in sent:
            bucket.destination.read([item])
            bucket.destination.send([item])
        assert errors(sent) == []
        assert [item.uri.removeprefix(f"{bucket.url}/") for item in sent] == [
            "x.bin",
            "x.bin",
            beside("x.bin", sent[2].digest[:16]),
        ]
        assert {len(data) for data in bucket.everything().values()} == {size}
        assert bucket.leftovers() == []

    def test_parts_of_a_file_that_changed_are_dropped(self, bucket, tmp_path, small_parts):
        path = tmp_path / "large"
        path.write_bytes(b"a" * 12_000_000)
        item = UploadItem(str(path), "large")
        bucket.destination.read([item])
        path.write_bytes(b"a" * 11_999_999 + b"b")
        bucket.destination.send([item])
        assert isinstance(item.error, SourceError)
        assert bucket.everything() == {}
        assert bucket.leftovers() == []

    def test_a_store_that_does_not_answer_is_asked_again_by_boto_alone(self, bucket, tmp_path):
        assert bucket.destination._fs.retries == 1
        assert BlobStore(bucket.url).place.objects.fs.retries == 1
        assert s3_filesystem().retries > 1

    def test_no_such_bucket(self, bucket, items):
        destination = open_destination("s3://framelode-no-such-bucket/x")
        items = items[:2]
        destination.read(items)
        destination.send(items)
        assert all("no such bucket" in error for error in errors(items))
        assert not any(item.may_try_again for item in items)

    def test_the_content_type_is_told(self, bucket, items):
        items[0].name = "up/0.jpg"
        assert_finished(bucket, items)
        found = s3_filesystem().call_s3("head_object", Bucket=BUCKET, Key=items[0].uri.split("/", 3)[3])
        assert found["ContentType"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("status", "code", "again", "words"),
        [
            (403, "AccessDenied", False, "permission denied"),
            (503, "ServiceUnavailable", True, "later"),
            (400, "KeyTooLongError", False, "longer"),
            (400, "InvalidArgument", False, "later"),
        ],
    )
    def test_what_a_server_says(self, bucket, tmp_path, items, monkeypatch, status, code, again, words):
        import s3fs

        server = WebServer(tmp_path / "s3")
        body = f"<Error><Code>{code}</Code><Message>come later</Message></Error>".encode()
        server.fail("HEAD", 404, times=10)
        server.fail("PUT", status, times=10, body=body)
        for name, value in {**s3_environment(server.url), "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            destination = open_destination(f"s3://{BUCKET}")
            destination.read(items[:1])
            destination.send(items[:1])
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.close()
        assert words in errors(items)[0]
        assert items[0].may_try_again == again


@pytest.mark.parametrize("kind", ["folder", "s3", "http"])
def test_a_large_file_never_enters_memory(open_place, tmp_path, small_parts, kind):
    size = 40_000_000
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"not only zeros")
    place = open_place(kind)
    small = tmp_path / "small"
    small.write_bytes(b"whatever is loaded once")
    items = [
        UploadItem(str(small), "small"),
        UploadItem(str(path), "large"),
        UploadItem(str(path), "large"),
    ]
    place.destination.read(items[:1])
    place.destination.send(items[:1])
    tracemalloc.start()
    try:
        for item in items[1:]:
            place.destination.read([item])
            place.destination.send([item])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors(items) == []
    assert items[1].uri == items[2].uri
    assert place.destination.holds(items[1].uri, size)
    assert peak < {"folder": 10_000_000, "s3": 30_000_000, "http": 15_000_000}[kind]


def start(place, source):
    return Program("destination_worker", place.url, source)


@pytest.mark.parametrize("kind", ["folder", "s3"])
class TestProcesses:
    @pytest.fixture
    def source(self, tmp_path, kind):
        folder = tmp_path / "source"
        folder.mkdir()
        for number in range(300 if kind == "folder" else 16):
            (folder / f"{number}").write_bytes(f"{number}".encode() * 500)
        (folder / "big").write_bytes(b"big" * 4_000_000)
        return folder

    def test_kill_in_the_middle(self, open_place, source, kind):
        place = open_place(kind)
        whole = {f"up/{path.name}": path.read_bytes() for path in source.iterdir()}
        process = start(place, source)
        try:
            while not place.everything() and process.poll() is None:
                time.sleep(0.002)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
        left = place.everything()
        assert left
        assert left.items() <= whole.items()
        process = start(place, source)
        sent = json.loads(process.communicate(timeout=PATIENCE)[0])
        assert len(sent) == len(whole)
        assert place.everything() == whole

    def test_two_processes_send_the_same_at_once(self, open_place, source, tmp_path, kind):
        place = open_place(kind)
        other = tmp_path / "other"
        other.mkdir()
        for path in source.iterdir():
            same = path.name == "big" or int(path.name) % 2
            (other / path.name).write_bytes(path.read_bytes() if same else b"other" * 300)
        processes = [start(place, folder) for folder in (source, other)]
        sent = {}
        for process in processes:
            sent |= json.loads(process.communicate(timeout=PATIENCE)[0])
        files = len(list(source.iterdir()))
        assert len(sent) == 2 * files
        assert len(set(sent.values())) == files + files // 2
        contents = place.everything()
        assert len(contents) == files + files // 2
        root = place.destination.root
        for path, uri in sent.items():
            assert contents[uri.removeprefix(f"{root}/")] == Path(path).read_bytes()
        assert place.leftovers() == []


def test_googles_store_is_not_waited_for_without_an_end(monkeypatch):
    pytest.importorskip("gcsfs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    destination = open_destination("gs://bucket/up")
    for filesystem in (destination._fs, BlobStore("gs://bucket/blobs").place.objects.fs):
        assert filesystem.requests_timeout.sock_read == ANSWER_SECONDS
    monkeypatch.setitem(fsspec.config.conf, "gcs", {"requests_timeout": 5})
    assert open_destination("gs://bucket/up")._fs.requests_timeout == 5


class TestOpening:
    @pytest.mark.parametrize(
        ("url", "root"),
        [
            ("/data/up", "file:///data/up"),
            ("/data//up/", "file:///data/up"),
            ("file:///data/x/../up/", "file:///data/up"),
            ("FILE:///data/up", "file:///data/up"),
            ("file:///data/a%20b%23", "file:///data/a%20b%23"),
            ("/data/a b#%", "file:///data/a%20b%23%25"),
            (Path("/data/up"), "file:///data/up"),
            ("/", "file:///"),
            ("memory://up/", "memory://up"),
            ("Memory://up//x/", "memory://up/x"),
            ("s3://bucket", "s3://bucket"),
            ("S3://Bucket/a/b/", "s3://Bucket/a/b"),
            ("gcs://bucket/a", "gs://bucket/a"),
            ("gs://bucket/a", "gs://bucket/a"),
            ("az://container/a/", "az://container/a"),
            (
                "azure://account.blob.core.windows.net/container/a",
                "azure://account.blob.core.windows.net/container/a",
            ),
            ("https://Example.com:443/up/", "https://example.com/up"),
            ("HTTP://example.com:8080", "http://example.com:8080"),
            ("http://[::1]:80/up", "http://[::1]/up"),
            ("http://example.com/a@b/c", "http://example.com/a@b/c"),
        ],
    )
    def test_the_same_place_has_the_same_root(self, url, root):
        if url.__class__ is str and url.startswith(("gs:", "gcs:", "az")):
            pytest.importorskip("gcsfs" if url.startswith("g") else "adlfs")
        assert open_destination(url).root == root

    @pytest.mark.parametrize(
        ("url", "spelled", "path"),
        [
            ("azure://container/a", "abfs://container/a", "container/a"),
            (
                "azure://acc.blob.core.windows.net/cont/a%20b/c",
                "abfs://cont@acc.dfs.core.windows.net/a%20b/c",
                "cont/a%20b/c",
            ),
            ("azure://acc.blob.core.windows.net", "abfs://acc.dfs.core.windows.net/", ""),
        ],
    )
    def test_azure_as_fsspec_spells_it(self, url, spelled, path):
        pytest.importorskip("adlfs")
        assert fsspec_url(url) == spelled
        destination = open_destination(url)
        assert destination._at(f"{url}/x") == f"{path}/x".lstrip("/")
        assert destination._options.get("account_name") == ("acc" if "acc." in url else None)

    def test_other_urls_stay(self):
        for url in ("s3://bucket/a", "memory://x", "file:///a", "/a/b", "blobs:abc/x", "https://e.com/a"):
            assert fsspec_url(url) == url

    def test_a_relative_path_and_a_home_are_absolute(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", "/home/somebody")
        assert open_destination("up").root == f"file://{tmp_path}/up"
        assert open_destination("~/up").root == "file:///home/somebody/up"

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("ftp://host/x", "memory, s3, gs, az"),
            ("nosuch:x", "the scheme must be one of"),
            ("s3://", "has no bucket"),
            ("s3:bucket", "write s3://"),
            ("s3://bucket/../x", "not allowed"),
            ("s3://bucket/x?versionId=1", "not allowed"),
            ("s3://bucket/a::b", "not allowed"),
            ("file://host/x", "another machine"),
            ("/a\0b", "contains a NUL character"),
            ("~nosuchuser/a", "home folder"),
            ("http://", "has no server"),
            ("http://me:s3cr3t@", "contains a password"),
            ("http://me:s3cr3t@example.com/up", "contains a password, .* in ~/.netrc"),
            ("http://example.com/a?b", "not allowed"),
            ("http://example.com?b", "has no server"),
            ("s3://bucket?b", "not allowed"),
            ("http://example.com:port/a", "is not a URL"),
        ],
    )
    def test_what_is_no_destination(self, url, words):
        with pytest.raises(UsageError, match=words) as caught:
            open_destination(url)
        assert "s3cr3t" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "extra"),
        [("s3://b", "s3"), ("gs://b", "gcs"), ("azure://c", "azure"), ("https://e.com", "http")],
    )
    def test_a_library_that_is_missing(self, monkeypatch, url, extra):
        monkeypatch.setattr(opening, "find_spec", lambda name: None)
        with pytest.raises(UsageError, match=rf"pip install 'framelode\[{extra}\]'"):
            open_destination(url)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images/1.jpg", "images/1.T.jpg"),
        ("1", "1.T"),
        ("a.b/c", "a.b/c.T"),
        (".hidden", ".hidden.T"),
        ("x.tar.gz", "x.tar.T.gz"),
        ("a/" + "n" * 253, "a/" + "n" * 253 + ".T"),
        ("a/" + "n" * 254, "a/" + "n" * 253 + ".T"),
        ("n" * 251 + ".jpg", "n" * 249 + ".T.jpg"),
        ("%E6%97%A5" * 84 + ".jp", "%E6%97%A5" * 83 + ".T.jp"),
        ("%FF" * 250 + ".jpg", "%FF" * 249 + ".T.jpg"),
        ("x." + "s" * 253, "x." + "s" * 251 + ".T"),
    ],
)
def test_beside(name, expected):
    assert beside(name, "T") == expected
