"""Damaged blobs are found, told, and stored again: by uploads of their contents, by force, and from other places."""

import os
import socket
import stat
from pathlib import Path

import pytest
from blake3 import blake3
from blob_places import KINDS, make_place, quick_store
from command_line import run, run_json

import framelode
from framelode import DatasetVersion, IntegrityError, SingleFrame, StorageError, UsageError
from framelode.engine.blobs.store import BlobStore

SMALL, LARGE = b"a picture", bytes(range(256)) * 8192


@pytest.fixture
def photos(tmp_path):
    """A folder with files of their own, one readable by its owner alone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in (("small.jpg", SMALL), ("large.jpg", LARGE)):
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def upload(photos, draft):
    """Adds frames about all photos with their files, and returns the digests."""

    def upload_all(destination="blobs:", **arguments):
        frames = [SingleFrame(id=path.name, source=path) for path in sorted(photos.iterdir())]
        draft.add_frames(
            frames, auto_upload_destination=destination, local_dataset_root_path=photos, **arguments
        )
        return [blake3(path.read_bytes()).hexdigest() for path in sorted(photos.iterdir())]

    return upload_all


@pytest.fixture(params=["folder", "bucket"])
def engine(request, tmp_path, ticks):
    blobs = None if request.param == "folder" else f"memory://repair-{tmp_path.name}"
    opened = framelode.connect(tmp_path / "engine", blobs=blobs, clock=ticks.clock, new_id=ticks.new_id)
    with opened:
        yield opened
    opened.close()


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food")
    return DatasetVersion.get_current(dataset_name="food")


def damage(store, digest, content=None):
    """Put other bytes in place of a blob, as many by default."""
    content = bytes(store.size(digest)) if content is None else content
    sink = store.place.create()
    sink.write(content)
    sink.close()
    store.place.move(sink.name, digest)


class TestUploads:
    def test_a_blob_that_scrub_found_is_stored_again(self, engine, upload):
        digests = upload()
        for digest in digests:
            damage(engine.blobs, digest)
        assert sorted(engine.scrub().altered) == sorted(digests)
        upload()
        assert engine.scrub().is_sound
        assert engine.blobs.place.names("damaged") == []

    def test_one_whose_reading_failed(self, engine, draft, upload, monkeypatch, tmp_path):
        monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
        first, second = upload()
        damage(engine.blobs, first)
        damage(engine.blobs, second)
        with engine.blobs.open(first, verify=True) as file, pytest.raises(IntegrityError):
            file.read()
        with pytest.raises(IntegrityError):
            draft.get_single_frame("small.jpg").get_local_source(raise_on_error=True)
        upload()
        assert engine.scrub().is_sound
        assert Path(draft.get_single_frame("small.jpg").get_local_source()).read_bytes() == SMALL

    def test_one_of_another_size(self, engine, upload):
        for digest in upload():
            damage(engine.blobs, digest, b"cut")
        upload()
        assert engine.scrub().is_sound

    def test_force_upload_stores_all_again(self, engine, upload):
        for digest in upload():
            damage(engine.blobs, digest)
        upload(force_upload=True)
        assert engine.scrub().is_sound

    def test_a_sound_blob_is_not_stored_again(self, engine, upload, photos):
        upload()
        report = engine.blobs.put_files(sorted(photos.iterdir()))
        assert [stored.is_new for stored in report.stored] == [False, False]


class TestRepair:
    @pytest.fixture
    def damaged(self, engine, upload):
        """One blob altered, the other missing."""
        digests = upload()
        damage(engine.blobs, digests[0])
        engine.blobs.delete([digests[1]])
        return digests

    def repaired(self, engine, damaged, source):
        found = engine.scrub(repair=source)
        assert found.repaired == sorted(damaged)
        assert (found.missing, found.altered, found.is_sound) == ([], [], True)
        assert engine.verify(blobs=True).blobs == 2
        assert engine.blobs.place.names("damaged") == []

    @pytest.mark.parametrize("opened", [True, False])
    def test_from_an_engine(self, engine, damaged, tmp_path, opened):
        with framelode.connect(tmp_path / "other") as other:
            for content in (SMALL, LARGE):
                other.blobs.put(content)
            self.repaired(engine, damaged, other if opened else tmp_path / "other")
            other.close()

    @pytest.mark.parametrize("url", ["{folder}/store", "memory://backup-{name}"])
    def test_from_a_blob_store(self, engine, damaged, tmp_path, url):
        place = url.format(folder=tmp_path, name=tmp_path.name)
        for content in (SMALL, LARGE):
            BlobStore(place).put(content)
        self.repaired(engine, damaged, place)

    def test_from_the_files_that_they_came_from(self, engine, damaged, photos):
        os.mkfifo(photos / "pipe")
        self.repaired(engine, damaged, photos)

    def test_what_is_damaged_there_too_is_not_taken(self, engine, damaged, tmp_path):
        store = BlobStore(tmp_path / "store")
        store.put(LARGE)
        damage(store, damaged[0])
        found = engine.scrub(repair=tmp_path / "store")
        assert (found.repaired, found.altered, found.missing) == ([], [damaged[0]], [damaged[1]])

    @pytest.mark.parametrize("source", ["nowhere", "engine"])
    def test_a_place_that_cannot_repair(self, engine, damaged, tmp_path, source):
        with pytest.raises(UsageError, match="nowhere is not a folder|from itself"):
            engine.scrub(repair=tmp_path / source)

    @pytest.mark.parametrize("engine", ["folder"], indirect=True)
    def test_on_the_command_line(self, engine, damaged, tmp_path, photos):
        url = str(tmp_path / "engine")
        assert "--repair FROM" in run("--engine", url, "scrub", status=3).stderr
        done = run_json("--engine", url, "scrub", "--repair", str(photos))["scrub"]
        assert (done["repaired"], done["altered"]) == (sorted(damaged), [])


@pytest.mark.parametrize("kind", KINDS)
def test_marks_of_damage_are_no_blobs(tmp_path, kind):
    store = quick_store(make_place(kind, tmp_path))
    digest = store.put(b"a").digest
    damage(store, digest)
    assert store.scrub().altered == [digest]
    assert store.scrub().stray == []
    assert [entry.digest for entry in store.entries()] == [digest]
    assert store.put(b"a", known={digest}).is_new
    assert store.scrub().is_sound


class TestSpecialFiles:
    @pytest.fixture(params=["fifo", "socket", "folder", "device"])
    def special(self, request, tmp_path, monkeypatch):
        """A store with a file of another kind in place of a blob."""
        store = quick_store(make_place("folder", tmp_path))
        digest = store.put(b"a").digest
        path = Path(store.place.path(digest))
        path.unlink()
        match request.param:
            case "fifo":
                os.mkfifo(path)
            case "socket":
                with socket.socket(socket.AF_UNIX) as bound:
                    monkeypatch.chdir(path.parent)
                    bound.bind(digest[:64])
            case "folder":
                path.mkdir()
            case _:
                path.symlink_to("/dev/zero")
        return store, digest, request.param

    def test_it_is_told_and_not_read(self, special, monkeypatch):
        store, digest, kind = special
        for read in (store.open, store.read, store.local_path):
            with pytest.raises(
                IntegrityError, match=f"{digest} is a {kind}, not a regular file".replace("fifo", "FIFO")
            ):
                read(digest)
        assert store.scrub([digest]).altered == [digest]

    def test_it_is_replaced(self, special):
        store, digest, kind = special
        if kind == "folder":  # it may hold something
            with pytest.raises(StorageError):
                store.put(b"a", known={digest})
            assert Path(store.place.path(digest)).is_dir()
            return
        assert store.put(b"a", known={digest}).is_new
        assert store.read(digest) == b"a"


class TestModes:
    def test_blobs_are_read_only(self, tmp_path):
        store = BlobStore(tmp_path / "blobs")
        for content in (SMALL, LARGE):
            path = Path(store.local_path(store.put(content).digest))
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700

    def test_a_group_shares_a_store_in_a_shared_folder(self, tmp_path):
        tmp_path.chmod(0o2770)
        store = BlobStore(tmp_path / "blobs")
        path = Path(store.local_path(store.put(b"a").digest))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2770

    @pytest.mark.parametrize(
        ("mode", "expected"), [(0o600, 0o400), (0o640, 0o440), (0o755, 0o444), (0o200, 0o400)]
    )
    @pytest.mark.parametrize("folder", ["new", "old"])
    def test_a_private_file_stays_private_at_a_destination(
        self, engine, upload, photos, tmp_path, mode, expected, folder
    ):
        for path in photos.iterdir():
            path.chmod(mode)
        if folder == "old":
            (tmp_path / "out").mkdir()
            upload(tmp_path / "out")
        upload(tmp_path / "out", force_upload=True)
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert len(files) == (4 if folder == "old" else 2)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {expected}
