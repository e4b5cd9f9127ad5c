"""A blob store belongs to the log that wrote to it first; others join it by `share`, and foreign files are left alone."""

import json
import os
import shutil
import threading
from datetime import timedelta

import fsspec
import pytest
from command_line import run, run_json
from patience import join

import framelode
from framelode import ConcurrencyError, DatasetVersion, IntegrityError, NotFoundError, SingleFrame, UsageError
from framelode.engine.blobs.backend import MARKER
from framelode.engine.blobs.store import BlobStore
from framelode.engine.blobs.uris import blob_uri

NOW = timedelta(0)


def collect(engine):
    return engine.gc(NOW, young=NOW, dry_run=False)


def current(engine):
    with engine:
        return DatasetVersion.get_current(dataset_name="food")


def add(engine, content):
    """Store a content and add a frame that names it; returns the digest."""
    digest = engine.blobs.put(content).digest
    with engine:
        DatasetVersion.create_new_dataset("food")
        current(engine).add_frames([SingleFrame(id="a", source=blob_uri(digest, "a"))])
    return digest


@pytest.fixture
def connect(tmp_path):
    """Opens engines in folders by their names, closed at the end; others are at other URLs."""
    opened = []

    def open_one(name, **arguments):
        opened.append(framelode.connect(name if "://" in name else tmp_path / name, **arguments))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    """A place that two engines may have for their blobs."""
    return str(tmp_path / "place") if request.param == "folder" else f"memory://shared-{tmp_path.name}"


class TestOwner:
    def test_the_marker_names_the_log(self, connect, tmp_path):
        engine = connect("one")
        assert not (tmp_path / "one/blobs").exists()
        engine.blobs.put(b"a")
        marker = json.loads((tmp_path / "one/blobs" / MARKER).read_text())
        assert marker == {"format": 1, "logs": [{"log": engine.log.uuid, "engine": str(tmp_path / "one")}]}
        assert engine.scrub().stray == []

    def test_a_second_log_is_refused(self, connect, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        digest = add(one, b"a")
        for call in (
            lambda: other.blobs.put(b"b"),
            lambda: collect(other),
            lambda: other.blobs.delete([digest]),
        ):
            with pytest.raises(UsageError, match=r"is used by .*one.*framelode share"):
                call()
        with pytest.raises(UsageError, match="is used by"):
            other.gc()
        assert other.blobs.read(digest) == b"a"
        assert one.verify(blobs=True).blobs == 1

    def test_a_new_log_in_place_of_one_that_was_deleted_is_refused(self, connect, tmp_path):
        engine = connect("one")
        digest = add(engine, b"a")
        engine.close()
        for path in (tmp_path / "one").iterdir():
            if path.is_file():
                path.unlink()
        again = connect("one")
        with pytest.raises(UsageError, match="is used by"):
            collect(again)
        assert again.blobs.read(digest) == b"a"

    def test_a_moved_engine_keeps_its_store(self, connect, tmp_path, place):
        engine = connect("one", blobs=place)
        digest = add(engine, b"a")
        engine.close()
        (tmp_path / "one").rename(tmp_path / "moved")
        moved = connect("moved")
        moved.blobs.put(b"b")
        assert collect(moved).referenced == 1
        assert moved.blobs.read(digest) == b"a"

    def test_an_engine_restored_from_a_copy_keeps_its_store(self, connect, tmp_path):
        engine = connect("one")
        add(engine, b"a")
        engine.close()
        shutil.copytree(tmp_path / "one", tmp_path / "backup")
        shutil.rmtree(tmp_path / "one")
        shutil.copytree(tmp_path / "backup", tmp_path / "one")
        restored = connect("one")
        restored.blobs.put(b"b")
        assert collect(restored).referenced == 1
        connect("backup").blobs.put(b"b")  # it has a copy of the store, too

    def test_a_copied_engine_on_the_same_store_is_refused(self, connect, tmp_path, place):
        engine = connect("one", blobs=place)
        add(engine, b"a")
        engine.close()
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        with pytest.raises(UsageError, match="framelode share"):
            collect(connect("copy"))

    def test_an_engine_that_was_replaced_does_not_take_the_store(self, connect, tmp_path):
        former = connect("food")
        (tmp_path / "food").rename(tmp_path / "moved")
        newer = connect("food")
        with pytest.raises(IntegrityError, match="moved or replaced"):
            former.blobs.put(b"a")
        assert newer.blobs.put(b"b").is_new

    def test_one_engine_under_two_names(self, connect, tmp_path, place):
        engine = connect("one", blobs=place)
        add(engine, b"a")
        (tmp_path / "link").symlink_to(tmp_path / "one")
        connect("link").blobs.put(b"b")
        engine.blobs.put(b"c")

    def test_threads_that_write_first_at_once(self, connect, place):
        engines = [connect(f"e{number}", blobs=place) for number in range(6)]
        start, refused = threading.Barrier(len(engines)), []

        def write(engine):
            start.wait()
            try:
                engine.blobs.put(b"a")
            except UsageError:
                refused.append(engine)

        threads = [threading.Thread(target=write, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        join(*threads)
        assert len(refused) == len(engines) - 1


class TestShare:
    def test_a_store_that_nobody_uses_yet_is_joined(self, connect, place):
        connect("one", blobs=place).share_blobs()
        with pytest.raises(UsageError, match="framelode share"):
            connect("other", blobs=place).blobs.put(b"a")

    def test_gc_of_each_honours_all(self, connect, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        mine = add(one, b"mine")
        other.share_blobs()
        theirs, garbage = add(other, b"theirs"), one.blobs.put(b"garbage").digest
        for engine in (one, other):
            assert mine not in collect(engine).condemned
        assert one.blobs.present([mine, theirs, garbage]) == [mine, theirs]
        assert one.verify(blobs=True).blobs == other.verify(blobs=True).blobs == 1

    def test_what_both_named_goes_when_neither_does(self, connect, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        digest = add(one, b"both")
        other.share_blobs()
        assert add(other, b"both") == digest
        for engine, left in ((one, [digest]), (other, [])):
            current(engine).delete_frames(["a"])
            collect(engine)
            collect(engine)
            assert one.blobs.present([digest]) == left

    def test_one_condemned_blob_that_the_other_stores_again_stays(self, connect, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        garbage = one.blobs.put(b"again").digest
        other.share_blobs()
        collect(one)
        assert add(other, b"again") == garbage
        collect(one)
        assert other.verify(blobs=True).blobs == 1
        assert garbage not in one.session.writes.blob_commands.blob_ledger.condemned()

    def test_deleted_sources_that_another_log_names_stay(self, connect, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        digest = add(one, b"both")
        other.share_blobs()
        add(other, b"both")
        report = current(one).delete_frames(["a"], delete_sources=True)
        assert report.deleted == []
        assert other.blobs.read(digest) == b"both"

    def test_one_that_joins_while_gc_runs(self, connect, place, monkeypatch):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        digest = one.blobs.put(b"garbage").digest
        collect(one)
        entries = one.blobs.entries

        def share_meanwhile():
            other.share_blobs()
            return entries()

        monkeypatch.setattr(one.blobs, "entries", share_meanwhile)
        with pytest.raises(ConcurrencyError, match="joined"):
            collect(one)
        assert digest in one.blobs

    def test_one_that_cannot_be_opened(self, connect, tmp_path, place):
        one, other = connect("one", blobs=place), connect("other", blobs=place)
        add(one, b"a")
        other.share_blobs()
        theirs = add(other, b"b")
        other.close()
        (tmp_path / "other").rename(tmp_path / "away")
        with pytest.raises(UsageError, match=r"other .*framelode share --forget"):
            collect(one)
        with pytest.raises(UsageError, match="no other engine"):
            one.share_blobs(forget=[tmp_path / "away"])
        one.share_blobs(forget=[tmp_path / "other"])
        assert collect(one).condemned == [theirs]

    def test_on_the_command_line(self, connect, tmp_path):
        for name in ("one", "other"):
            connect(name, blobs=tmp_path / "place").close()
        one, other = str(tmp_path / "one"), str(tmp_path / "other")
        assert "used by one engine" in run("--engine", one, "share").stdout
        assert sorted(run_json("--engine", other, "share")["used_by"]) == [one, other]
        assert run_json("--engine", one, "share", "--forget", other)["used_by"] == [one]

    def test_a_copy_on_the_place_of_its_source_shares_it(self, connect, tmp_path, place):
        one = connect("one", blobs=place)
        digest = add(one, b"a")
        assert one.copy_to(tmp_path / "other", blobs=place).missing_blobs == []
        other = connect("other")
        theirs = add_another(other)
        for engine in (one, other):
            collect(engine)
            collect(engine)
        assert one.blobs.present([digest, theirs]) == [digest, theirs]

    @pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
    def test_a_copy_on_the_place_of_a_source_that_was_moved(self, connect, tmp_path, move):
        digest = add(connect("base"), b"a")
        connect("base").close()
        move(tmp_path / "base", tmp_path / "food")
        source = connect("food")
        source.copy_to(tmp_path / "copy", blobs=tmp_path / "food/blobs")
        copy = connect("copy")
        current(copy).delete_frames(["a"])
        for _ in range(2):
            assert collect(copy).collected == []
        assert source.blobs.read(digest) == b"a"
        assert source.verify(blobs=True).blobs == 1

    def test_sharing_with_an_engine_that_has_another_store(self, connect, tmp_path):
        """The store of a copied folder is still listed under the engine that it was copied from."""
        base = connect("base")
        digest = add(base, b"a")
        base.close()
        shutil.copytree(tmp_path / "base", tmp_path / "food")
        current(connect("base")).delete_frames(["a"])
        other = connect("other", blobs=tmp_path / "food/blobs")
        with pytest.raises(UsageError, match="which has another store"):
            other.share_blobs()
        collect(connect("food"))
        other.share_blobs()
        for _ in range(2):
            assert collect(other).collected == []
        assert connect("food").blobs.read(digest) == b"a"

    def test_an_import_into_an_engine_that_has_blobs(self, connect, tmp_path):
        one = connect("one")
        digest = add(one, b"a")
        one.export_log(tmp_path / "log.jsonl")
        other = connect("other")
        assert other.blobs.put(b"a").digest == digest
        other.import_log(tmp_path / "log.jsonl")
        assert collect(other).referenced == 1


def add_another(engine):
    digest = engine.blobs.put(b"another").digest
    frame = SingleFrame(id="b", source=blob_uri(digest, "b"))
    current(engine).add_frames([frame])
    return digest


def test_a_second_log_in_postgresql(connect, postgres_url, tmp_path):
    one, other = connect(postgres_url, blobs=tmp_path / "place"), connect("other", blobs=tmp_path / "place")
    mine = add(one, b"a")
    with pytest.raises(UsageError, match="framelode share"):
        other.blobs.put(b"b")
    other.share_blobs()
    theirs = add(other, b"b")
    for engine in (one, other):
        collect(engine)
        collect(engine)
    assert one.blobs.present([mine, theirs]) == [mine, theirs]


class TestForeignFiles:
    @pytest.mark.parametrize("name", ["notes.txt", "ab/notes.txt", f"ab/{'cd' * 32}", f"ab/ab{'0' * 62}"])
    def test_a_place_that_is_not_ours_is_refused(self, tmp_path, name, place):
        filesystem = fsspec.filesystem("memory" if "://" in place else "file", auto_mkdir=True)
        filesystem.pipe_file(f"{place}/{name}", b"precious")
        store = BlobStore(place)
        for write in (lambda: store.put(b"a"), store.clean, lambda: store.delete(["0" * 64])):
            with pytest.raises(UsageError, match=f"is not a blob store.*{MARKER}"):
                write()
        assert [entry.name for entry in store.entries()] == [name]

    def test_a_store_without_a_marker_made_before_is_adopted(self, connect, tmp_path):
        engine = connect("one")
        digest = add(engine, b"a")
        (tmp_path / "one/blobs" / MARKER).unlink()
        engine.close()
        again = connect("one")
        assert collect(again).referenced == 1
        assert (tmp_path / "one/blobs" / MARKER).exists()
        assert again.blobs.read(digest) == b"a"

    @pytest.mark.parametrize("folder", ["blobs/tmp", "blobs/tmp/0", "blobs/tmp/0/sub"])
    def test_old_files_among_temporary_ones_stay(self, tmp_path, folder):
        store = BlobStore(tmp_path / "blobs")
        store.put(b"a")
        precious = tmp_path / folder / "precious.txt"
        precious.parent.mkdir(parents=True, exist_ok=True)
        precious.write_text("precious")
        os.utime(precious, (1, 1))
        (tmp_path / "file").write_bytes(b"b")
        store.put_files([tmp_path / "file"])
        assert store.clean(older_than=-1) == 0
        assert precious.read_text() == "precious"

    def test_a_link_in_place_of_the_temporary_folder_is_not_followed(self, tmp_path):
        store = BlobStore(tmp_path / "blobs")
        store.put(b"a")
        left = tmp_path / "elsewhere/0" / f"{'a' * 32}-1-1"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"precious")
        shutil.rmtree(tmp_path / "blobs/tmp")
        (tmp_path / "blobs/tmp").symlink_to(tmp_path / "elsewhere")
        assert store.clean(older_than=-1) == 0
        assert left.exists()

    @pytest.mark.parametrize(
        ("content", "error"),
        [(b"[]", IntegrityError), (b'{"format": 2}', UsageError)],
    )
    def test_a_marker_that_cannot_be_read(self, tmp_path, content, error):
        (tmp_path / "blobs").mkdir()
        (tmp_path / "blobs" / MARKER).write_bytes(content)
        with pytest.raises(error, match=MARKER):
            BlobStore(tmp_path / "blobs").put(b"a")

    def test_reading_writes_nothing(self, connect, tmp_path):
        engine = connect("one")
        assert engine.gc().blobs == 0
        assert engine.scrub().is_sound
        with pytest.raises(NotFoundError):
            engine.blobs.read("0" * 64)
        assert not (tmp_path / "one/blobs").exists()
