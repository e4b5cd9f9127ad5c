"""Frames give their files as local paths: fetched into a cache, verified, bounded."""

import errno
import os
import pwd
import sys
import threading
import time
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import FileIO
from pathlib import Path

import fsspec
import pytest
from blake3 import blake3
from fsspec.registry import _registry
from patience import join

import framelode
from framelode import (
    IntegrityError,
    InvalidValueError,
    LocalCache,
    NotFoundError,
    SingleFrame,
    StorageError,
    UsageError,
)
from framelode.adapters.files import fetch as fetching


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
    return LocalCache.of_user()


@pytest.fixture
def afar(tmp_path):
    """A filesystem that stands for one on another machine: its files can be written, replaced and removed."""
    filesystem = fsspec.filesystem("memory")
    root = f"/afar-{time.monotonic_ns()}"
    yield lambda name, data: filesystem.pipe_file(f"{root}/{name}", data) or f"memory:/{root}/{name}"
    if filesystem.exists(root):
        filesystem.rm(root, recursive=True)


def hash_of(data):
    return f"blake3:{blake3(data).hexdigest()}"


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FRAMELODE_CACHE", "~/here")
    assert LocalCache.of_user().folder == tmp_path / "here"
    monkeypatch.delenv("FRAMELODE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert LocalCache.of_user().folder == tmp_path / ".cache/framelode"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert LocalCache.of_user().folder == tmp_path / "caches/framelode"


def test_who_has_no_home_has_to_name_the_folder(tmp_path, monkeypatch):
    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    assert LocalCache.of_user().folder == tmp_path / "cache"
    monkeypatch.delenv("FRAMELODE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UsageError, match="set FRAMELODE_CACHE to a folder"):
        LocalCache.of_user()


def contents(cache):
    return sorted(path.read_bytes() for path in (cache.folder / "contents").glob("*/*"))


def test_a_local_file_is_given_as_it_is(tmp_path, cache):
    path = tmp_path / "a b#%.jpg"
    path.write_bytes(b"picture")
    assert SingleFrame(source=path).get_local_source() == str(path)
    frame = SingleFrame(source=path, size=7, hash=hash_of(b"picture"))
    assert frame.get_local_source() == str(path)
    assert not cache.folder.exists()


@pytest.mark.parametrize(
    ("registered", "what"),
    [
        ({"size": 8}, "size"),
        ({"hash": hash_of(b"another")}, "hash"),
        ({"hash": "md5:" + "0" * 32}, "hash"),
        ({"hash": "sha256:" + "0" * 64}, "hash"),
    ],
)
def test_a_file_that_changed_after_it_was_registered_is_noticed(tmp_path, afar, registered, what):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    for source in (path, afar("a.jpg", b"picture")):
        with pytest.raises(IntegrityError, match=f"has the {what} .*changed after it was registered"):
            SingleFrame(source=source, **registered).get_local_source(raise_on_error=True)


def test_a_file_is_hashed_again_when_it_changes_between_two_calls(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    frame = SingleFrame(source=path, hash=hash_of(b"picture"))
    assert frame.get_local_source() == frame.get_local_source()
    path.write_bytes(b"PICTURE")
    os.utime(path, ns=(0, 0))
    with pytest.raises(IntegrityError):
        frame.get_local_source(raise_on_error=True)


def test_hashes_of_algorithms_that_python_lacks_are_passed_over(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    assert SingleFrame(source=path, hash="crc64:12").get_local_source() == str(path)


def test_a_content_is_fetched_once_and_kept_under_its_digest(afar, cache):
    uri = afar("dir/a.jpg", b"picture")
    frame = SingleFrame(source=uri, size=7, hash=hash_of(b"picture"))
    path = Path(frame.get_local_source())
    assert path.read_bytes() == b"picture"
    assert path.name == f"{blake3(b'picture').hexdigest()}.jpg"
    fsspec.filesystem("memory").rm(uri.removeprefix("memory:/"))
    assert frame.get_local_source() == str(path)
    assert contents(cache) == [b"picture"]


def test_nothing_wrong_or_half_stays_in_the_cache(afar, cache):
    frame = SingleFrame(source=afar("a.jpg", b"another"), hash=hash_of(b"picture"))
    with pytest.raises(IntegrityError):
        frame.get_local_source(raise_on_error=True)
    assert contents(cache) == []
    assert list((cache.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("damaged", [b"", b"PICTURE"])
def test_what_is_in_the_cache_is_verified_before_it_is_given(afar, damaged):
    uri = afar("a.jpg", b"picture")
    path = Path(SingleFrame(source=uri, hash=hash_of(b"picture")).get_local_source())
    path.unlink()
    path.write_bytes(damaged)
    assert SingleFrame(source=uri, hash=hash_of(b"picture")).get_local_source() == str(path)
    assert path.read_bytes() == b"picture"
    with pytest.raises(IntegrityError, match="has the size 7, but the frame has 8"):
        SingleFrame(source=uri, size=8, hash=hash_of(b"picture")).get_local_source(raise_on_error=True)


def test_what_somebody_writes_into_the_cache_is_noticed_also_after_it_was_verified(afar):
    frame = SingleFrame(source=afar("a.jpg", b"picture"), hash=hash_of(b"picture"))
    path = Path(frame.get_local_source())
    for damaged in (b"PICTURE", b"longer than before"):
        assert frame.get_local_source() == frame.get_local_source() == str(path)
        changed = path.stat().st_mtime_ns
        path.write_bytes(damaged)
        os.utime(path, ns=(changed, changed + 1))
        assert Path(frame.get_local_source()).read_bytes() == b"picture"


@pytest.mark.parametrize("registered", [{"size": 8}, {"hash": "md5:" + "0" * 32}])
def test_what_was_fetched_for_one_frame_is_compared_with_what_another_says(tmp_path, monkeypatch, registered):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    uri = f"local://{tmp_path}/a.jpg"
    path = SingleFrame(source=uri).get_local_source()
    assert SingleFrame(source=uri).get_local_source() == path
    with pytest.raises(IntegrityError, match="changed after it was registered"):
        SingleFrame(source=uri, **registered).get_local_source(raise_on_error=True)


def test_what_others_drop_while_it_is_compared_is_fetched_again(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    frame = SingleFrame(source=f"local://{tmp_path}/a.jpg", hash=f"md5:{md5(b'picture').hexdigest()}")
    for compared in (1, 2):
        path, real, times = frame.get_local_source(), fetching._sum_of, iter(range(compared))
        fetching._sum_of.cache_clear()

        def drop(*arguments):
            if next(times, None) == compared - 1:  # noqa: B023
                Path(path).unlink()  # noqa: B023
            real(*arguments)  # noqa: B023

        with monkeypatch.context() as patched:
            patched.setattr(fetching, "_sum_of", drop)
            assert frame.get_local_source() == path
        assert Path(path).read_bytes() == b"picture"


def test_a_hash_that_is_no_digest_leads_nowhere(tmp_path, afar):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    uri = afar("a.jpg", b"picture")
    for name in (f"{tmp_path}/secret", "../../../secret", "zz", ""):
        with pytest.raises(IntegrityError, match="changed after it was registered"):
            SingleFrame(source=uri, hash=f"blake3:{name}").get_local_source(raise_on_error=True)
    frame = SingleFrame(source=uri, hash=hash_of(b"picture").upper().replace("BLAKE", "blake"))
    assert Path(frame.get_local_source()).read_bytes() == b"picture"


def test_what_a_killed_process_left_in_the_cache_is_dropped(afar, cache):
    (cache.folder / "tmp").mkdir(parents=True)
    left, at_work, foreign = (cache.folder / "tmp" / name for name in ("0" * 32, "1" * 32, "notes.txt"))
    for path in (left, at_work, foreign):
        path.write_bytes(b"half")
    for path in (left, foreign):
        os.utime(path, (1, 1))
    SingleFrame(source=afar("a.jpg", b"picture")).get_local_source()
    assert not left.exists()
    assert at_work.exists()
    assert foreign.exists()


def test_previews_and_masks_are_fetched_anew_when_nobody_says_whether_they_changed(afar):
    uri = afar("mask.png", b"one")
    frame = SingleFrame(source="s3://b/a.jpg", mask_source=[uri, uri], preview_uri=uri)
    assert Path(frame.get_local_mask_source()).read_bytes() == b"one"
    afar("mask.png", b"two")
    assert Path(frame.get_local_mask_source(mask_id="01")).read_bytes() == b"two"
    assert Path(frame.get_local_preview_source()).read_bytes() == b"two"
    assert {key: Path(path).read_bytes() for key, path in frame.get_local_masks_source().items()} == {
        "00": b"two",
        "01": b"two",
    }


def test_the_cache_is_bounded_and_drops_what_was_not_used_for_longest(afar, cache, monkeypatch):
    monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "250")
    frames = []
    for number in range(3):
        data = bytes([number]) * 100
        frames.append(SingleFrame(source=afar(f"{number}.bin", data), hash=hash_of(data)))
    first = frames[0].get_local_source()
    os.utime(frames[1].get_local_source(), (1, 1))
    assert frames[0].get_local_source() == first
    frames[2].get_local_source()
    assert contents(cache) == [bytes([number]) * 100 for number in (0, 2)]


def test_a_content_larger_than_the_bound_is_still_given(afar, cache, monkeypatch):
    monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "10")
    frame = SingleFrame(source=afar("a.bin", b"x" * 100), hash=hash_of(b"x" * 100))
    assert Path(frame.get_local_source()).read_bytes() == b"x" * 100
    monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "")
    assert Path(frame.get_local_source()).read_bytes() == b"x" * 100
    monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "ten")
    with pytest.raises(
        InvalidValueError, match="FRAMELODE_CACHE_BYTES must be an integer number of bytes, not 'ten'"
    ):
        frame.get_local_source(raise_on_error=True)


def test_on_a_full_disk_what_was_not_used_for_longest_makes_room(afar, cache, monkeypatch):
    class SmallDisk(FileIO):
        def write(self, data):
            taken = sum(path.stat().st_size for path in cache.folder.glob("[ct]*/**/*") if path.is_file())
            if taken >= 250:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[: 250 - taken])

    frames = [
        SingleFrame(source=afar(f"{size}.bin", b"x" * size), hash=hash_of(b"x" * size))
        for size in (100, 99, 98, 300)
    ]
    with monkeypatch.context() as patched:
        patched.setattr("framelode.adapters.files.cache.FileIO", SmallDisk)
        os.utime(frames[0].get_local_source(), (2, 2))
        os.utime(frames[1].get_local_source(), (1, 1))
        assert Path(frames[2].get_local_source()).read_bytes() == b"x" * 98
        assert sorted(path.stat().st_size for path in cache.folder.glob("contents/*/*")) == [98, 100]
        with pytest.raises(StorageError, match="No space left on device: set FRAMELODE_CACHE"):
            frames[3].get_local_source(raise_on_error=True)
    assert list(cache.folder.glob("tmp/*")) == []


def test_what_is_in_a_cache_of_somebody_else_is_read(afar, monkeypatch):
    frame = SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x"))
    path = frame.get_local_source()

    def refuse(*arguments, **named):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    assert frame.get_local_source() == path
    with pytest.raises(StorageError, match="Operation not permitted: set FRAMELODE_CACHE to another folder"):
        SingleFrame(source=afar("b.bin", b"y"), hash=hash_of(b"y")).get_local_source(raise_on_error=True)


def test_a_blob_of_a_local_store_is_given_as_it_is(tmp_path, monkeypatch):
    with framelode.connect(tmp_path / "engine") as engine:
        stored = engine.blobs.put(b"picture")
        frame = SingleFrame(source=f"blobs:{stored.digest}/a.jpg", size=7)
        path = Path(frame.get_local_source())
        assert path.read_bytes() == b"picture"
        path.write_bytes(b"PICTURE")
        os.utime(path, (1, 1))
        with pytest.raises(IntegrityError):
            frame.get_local_source(raise_on_error=True)
        with monkeypatch.context() as patched:
            identity = fetching._identity
            patched.setattr(fetching, "_identity", lambda path: Path(path).unlink() or identity(path))
            with pytest.raises(NotFoundError, match="there is no file 'blobs:"):
                frame.get_local_source(raise_on_error=True)
        missing = SingleFrame(source=f"blobs:{'0' * 64}/a.jpg")
        with pytest.raises(NotFoundError):
            missing.get_local_source(raise_on_error=True)
        engine.close()


@pytest.mark.parametrize("blobs", [None, "memory://blobs-of-another-hash"])
def test_a_blob_is_compared_with_the_hash_that_the_frame_gives(tmp_path, blobs):
    with framelode.connect(tmp_path / "engine", blobs=blobs) as engine:
        stored = engine.blobs.put(b"picture")
        for given in (hash_of(b"another"), "md5:" + "0" * 32):
            frame = SingleFrame(source=f"blobs:{stored.digest}/a.jpg", hash=given)
            with pytest.raises(IntegrityError, match="has the hash .*, but the frame has"):
                frame.get_local_source(raise_on_error=True)
        right = SingleFrame(source=f"blobs:{stored.digest}/a.jpg", hash=f"md5:{md5(b'picture').hexdigest()}")
        assert Path(right.get_local_source()).read_bytes() == b"picture"
        engine.close()


def test_a_blob_of_a_store_elsewhere_is_fetched(tmp_path, cache):
    engine = framelode.connect(tmp_path / "engine", blobs=f"memory://blobs-{time.monotonic_ns()}")
    with engine:
        stored = engine.blobs.put(b"picture")
        path = Path(SingleFrame(source=f"blobs:{stored.digest}/x/a.jpg").get_local_source())
        assert path.read_bytes() == b"picture"
        assert path.suffix == ".jpg"
        assert contents(cache) == [b"picture"]
    engine.close()


def test_a_blob_that_another_engine_has_says_which_engine_was_asked(tmp_path):
    digests = {}
    for name, blobs in (("one", None), ("two", None), ("far", "memory://test-far-blobs")):
        with framelode.connect(tmp_path / name, blobs=blobs) as engine:
            digests[name] = engine.blobs.put(name.encode()).digest
            engine.close()
    frame = SingleFrame(source=f"blobs:{digests['one']}/a.jpg")
    for other in ("two", "far"):
        with framelode.connect(tmp_path / other) as engine:
            with pytest.raises(NotFoundError) as caught:
                frame.get_local_source(raise_on_error=True)
            engine.close()
        assert f"the current engine is {tmp_path / other}: to read files of another engine" in str(
            caught.value
        )
    with framelode.connect(tmp_path / "one") as engine:
        assert Path(frame.get_local_source()).read_bytes() == b"one"
        engine.close()


def test_what_is_not_there_is_said(tmp_path):
    frame = SingleFrame(id="f", source=tmp_path / "none.jpg", mask_source={"cat": tmp_path / "m.png"})
    with pytest.raises(NotFoundError, match=r"none\.jpg"):
        frame.get_local_source(raise_on_error=True)
    with pytest.raises(NotFoundError, match="frame 'f' has no mask 'dog'; it has 'cat'"):
        frame.get_local_mask_source(raise_on_error=True, mask_id="dog")
    with pytest.raises(NotFoundError, match="frame 'f' has no preview"):
        frame.get_local_preview_source(raise_on_error=True)
    with pytest.raises(NotFoundError, match="the frame has no source"):
        SingleFrame().get_local_source(raise_on_error=True)
    assert SingleFrame().get_local_masks_source() == {}
    with pytest.raises(InvalidValueError, match="must be a path without NUL characters"):
        SingleFrame(source="/none/\0.jpg").get_local_source(raise_on_error=True)


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self):
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_a_server_that_refuses_or_is_down_does_not_say_that_nothing_is_there():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            for status in (403, 500):
                with pytest.raises(StorageError, match=f"the server answered {status}"):
                    SingleFrame(source=f"{url}/{status}/a.jpg").get_local_source(raise_on_error=True)
            with pytest.raises(NotFoundError, match="there is no file"):
                SingleFrame(source=f"{url}/404/a.jpg", hash=hash_of(b"a")).get_local_source(
                    raise_on_error=True
                )
        finally:
            server.shutdown()
            join(thread)
    with pytest.raises(StorageError, match="cannot be read: ClientConnector"):
        SingleFrame(source=f"{url}/a.jpg").get_local_source(raise_on_error=True)


@pytest.mark.parametrize("place", ["memory://", "/", "http://127.0.0.1:9/"])
def test_what_cannot_be_had_is_named_whole(place):
    source = f"{place}{'a folder/' * 20}a.jpg"
    with pytest.raises((NotFoundError, StorageError), match=repr(source)):
        SingleFrame(source=source).get_local_source(raise_on_error=True)


def test_paths_in_the_cache_are_absolute(afar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMELODE_CACHE", "here")
    path = Path(SingleFrame(source=afar("a.jpg", b"picture")).get_local_source())
    assert path.is_relative_to(tmp_path / "here")


def test_a_cache_that_cannot_be_written_says_how_to_choose_another(tmp_path, afar, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "file" / "cache"))
    frame = SingleFrame(source=afar("a.jpg", b"x"), hash=hash_of(b"x"))
    with pytest.raises(StorageError, match="set FRAMELODE_CACHE to another folder"):
        frame.get_local_source(raise_on_error=True)


def test_without_the_library_of_a_scheme_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(UsageError, match=r"s3fs.*pip install 'framelode\[s3\]'"):
        SingleFrame(source="s3://bucket/a.jpg").get_local_source(raise_on_error=True)
    with framelode.connect(tmp_path / "engine", blobs="s3://bucket/food") as engine:
        with pytest.raises(UsageError, match=r"s3fs.*pip install 'framelode\[s3\]'"):
            engine.blobs.put(b"a")
        engine.close()


class TestCacheFolder:
    def test_the_marker(self, afar, cache):
        SingleFrame(source=afar("a.bin", b"x")).get_local_source()
        tag = (cache.folder / "CACHEDIR.TAG").read_text()
        assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
        assert "framelode" in tag
        assert cache.folder.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("name", ["notes.txt", "CACHEDIR.TAG", "contents.txt"])
    def test_a_folder_that_is_not_ours_is_refused(self, afar, cache, name):
        cache.folder.mkdir()
        (cache.folder / name).write_text("Signature: of another program")
        with pytest.raises(
            UsageError,
            match="is not empty and not a cache of framelode: set FRAMELODE_CACHE to an empty or new folder",
        ):
            SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x")).get_local_source(raise_on_error=True)
        assert [path.name for path in cache.folder.iterdir()] == [name]

    def test_one_made_before_is_adopted(self, afar, cache):
        frame = SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x"))
        path = frame.get_local_source()
        for name in ("CACHEDIR.TAG", "total"):
            (cache.folder / name).unlink()
        assert frame.get_local_source() == path
        SingleFrame(source=afar("b.bin", b"y"), hash=hash_of(b"y")).get_local_source()
        assert (cache.folder / "CACHEDIR.TAG").exists()
        assert int((cache.folder / "total").read_text()) == 2

    def test_files_of_others_are_not_evicted(self, afar, cache, monkeypatch):
        monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "100")
        SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x")).get_local_source()
        (cache.folder / "contents/ab").mkdir(exist_ok=True)
        precious = [
            cache.folder / "contents" / name for name in ("ab/notes.txt", f"ab/{'a' * 64}.tar.gz", "notes")
        ]
        for path in precious:
            path.write_bytes(b"x" * 100)
            os.utime(path, (1, 1))
        for number in range(5):
            data = bytes([number]) * 60
            SingleFrame(source=afar(f"{number}.bin", data), hash=hash_of(data)).get_local_source()
        assert all(path.exists() for path in precious)

    def test_files_are_read_only(self, afar):
        path = SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x")).get_local_source()
        assert Path(path).stat().st_mode & 0o777 == 0o444

    def test_a_fifo_in_place_of_a_content_is_replaced(self, afar):
        frame = SingleFrame(source=afar("a.bin", b"x"), hash=hash_of(b"x"))
        path = Path(frame.get_local_source())
        path.unlink()
        os.mkfifo(path)
        assert Path(frame.get_local_source()).read_bytes() == b"x"

    @pytest.mark.parametrize("limit", [10**9, 1000])
    def test_contents_are_looked_at_a_constant_number_of_times(self, afar, cache, monkeypatch, limit):
        """Of 400 fetches of 20 bytes each, with room for all of them and for fifty."""
        monkeypatch.setenv("FRAMELODE_CACHE_BYTES", str(limit))
        looked_at = []
        held = LocalCache._held
        monkeypatch.setattr(LocalCache, "_held", lambda cache: looked_at.append(held(cache)) or looked_at[-1])
        for number in range(400):
            data = f"{number:020}".encode()
            SingleFrame(source=afar(f"{number}.bin", data), hash=hash_of(data)).get_local_source()
        assert sum(map(len, looked_at)) <= 400 * 12
        assert sum(map(len, contents(cache))) <= limit

    def test_processes_share_the_total(self, afar, cache, monkeypatch):
        monkeypatch.setenv("FRAMELODE_CACHE_BYTES", "1000")
        frames = []
        for number in range(80):
            data = f"{number:020}".encode()
            frames.append(SingleFrame(source=afar(f"{number}.bin", data), hash=hash_of(data)))
        children = []
        for at in range(4):
            child = os.fork()
            if not child:
                status = 1
                try:
                    for frame in frames[at::4]:
                        frame.get_local_source()
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        there = sum(map(len, contents(cache)))
        assert there <= 1000
        assert int((cache.folder / "total").read_text()) == there
