"""What every place for blobs must do; a new kind of place is added to `blob_places.KINDS`."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from blake3 import blake3
from blob_places import KINDS, make_place, quick_store
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from patience import join
from sizes import examples

from framelode.engine.errors import IntegrityError, InvalidValueError, NotFoundError
from framelode.engine.storage.base import CHUNK_BYTES, TEMPORARY

BIG = bytes(range(256)) * (CHUNK_BYTES // 256) + b"the rest"


def named(name):
    """Return a content by a short name, for Hypothesis prints what it draws from."""
    return BIG if name == "big" else name.encode()


def digest(data):
    return blake3(data).hexdigest()


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    return quick_store(make_place(request.param, tmp_path))


def overwrite(store, digest, data):
    """Put other bytes under a digest, as damage would."""
    sink = store.place.create()
    sink.write(data)
    sink.close()
    store.place.move(sink.name, digest)


def leave_temporary(store, data=b"half"):
    sink = store.place.create()
    sink.write(data)
    sink.close()
    return sink.name


@pytest.mark.parametrize("data", [b"", b"x", BIG, BIG[:CHUNK_BYTES], BIG[: CHUNK_BYTES - 1]], ids=len)
def test_what_is_put_is_read_again(store, data):
    stored = store.put(data)
    assert (stored.digest, stored.size, stored.is_new) == (digest(data), len(data), True)
    assert store.read(stored.digest) == data
    assert store.size(stored.digest) == len(data)
    assert stored.digest in store
    with store.open(stored.digest) as file:
        assert file.read() == data
    with store.open(stored.digest, verify=True) as file:
        assert file.read() == data


def test_a_stream_is_put_from_where_it_stands(store):
    stream = io.BytesIO(b"skipped" + BIG)
    stream.seek(7)
    assert store.put(stream).digest == digest(BIG)


def test_a_stream_that_cannot_seek_and_gives_little_at_a_time(store):
    class Trickle(io.RawIOBase):
        def readable(self):
            return True

        def read(self, size=-1):
            return left.pop(0) if left else b""

    left = [b"a" * 10, b"b" * CHUNK_BYTES, b"c"]
    assert store.put(Trickle()).digest == digest(b"a" * 10 + b"b" * CHUNK_BYTES + b"c")


def test_ranges(store):
    name = store.put(BIG).digest
    size = len(BIG)
    for start, stop in [(0, 0), (0, 5), (3, 9), (size - 3, None), (size - 3, size + 9), (size, None), (9, 3)]:
        assert store.read(name, start, stop) == BIG[start:stop]
    with store.open(name) as file:
        file.seek(1000)
        assert file.read(10) == BIG[1000:1010]
        file.seek(-4, io.SEEK_END)
        assert file.read() == BIG[-4:]


def test_two_readers_of_one_blob_do_not_share_their_place(store):
    name = store.put(BIG).digest
    with store.open(name) as one, store.open(name) as other:
        assert one.read(100) == BIG[:100]
        assert other.read(50) == BIG[:50]
        assert one.read(100) == BIG[100:200]


def test_files_are_put_together_and_duplicates_once(store, tmp_path):
    contents = [f"content {number // 2}".encode() * 50 for number in range(40)] + [BIG, BIG]
    paths = []
    for number, data in enumerate(contents):
        path = tmp_path / f"{number} ä#%\n.bin"
        path.write_bytes(data)
        paths.append(path)
    done = []
    report = store.put_files(iter(paths), on_done=done.append)
    assert report.failures == []
    assert [stored.source for stored in report.stored] == [str(path) for path in paths]
    assert [stored.digest for stored in report.stored] == [digest(data) for data in contents]
    assert sum(stored.is_new for stored in report.stored) == 21
    assert done == report.stored
    assert {entry.digest for entry in store.entries()} == {digest(data) for data in contents}


def test_only_what_is_known_and_there_is_not_written_again(store, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    name = digest(b"a")
    assert store.put_files([path], known={name}).stored[0].is_new
    assert not store.put_files([path], known={name}).stored[0].is_new
    assert not store.put_files([path], known=lambda asked: asked == name).stored[0].is_new
    assert store.put_files([path]).stored[0].is_new


@pytest.mark.parametrize("data", [b"whole content", BIG], ids=len)
def test_what_a_crash_left_is_replaced(store, data):
    name = digest(data)
    store.join()
    overwrite(store, name, data[: len(data) // 2])
    assert store.put(data, known={name}).is_new
    overwrite(store, name, bytes(len(data)))
    assert store.put(data).is_new
    assert store.read(name) == data


def test_a_missing_blob(store):
    name = digest(b"nothing")
    for read in (store.open, store.read, store.size, lambda name: store.fetch(name, "x")):
        with pytest.raises(NotFoundError, match=name):
            read(name)
    assert name not in store
    store.delete([name])
    assert list(store.entries()) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, None])
def test_a_digest_is_nothing_else(store, name):
    for call in (store.open, store.read, store.size, lambda name: store.delete([name])):
        with pytest.raises(InvalidValueError):
            call(name)


@pytest.mark.parametrize("damaged", [b"short", BIG[:-1] + b"!"], ids=len)
def test_altered_bytes_are_noticed_at_the_end(store, tmp_path, damaged):
    name = store.put(BIG).digest
    overwrite(store, name, damaged)
    with store.open(name, verify=True) as file, pytest.raises(IntegrityError, match=name) as caught:
        file.read()
    assert caught.value.file == store.place.path(name)
    with pytest.raises(IntegrityError):
        store.fetch(name, tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_fetch(store, tmp_path):
    name = store.put(BIG).digest
    assert store.fetch(name, tmp_path / "copy").read_bytes() == BIG
    (tmp_path / "copy").write_bytes(b"other")
    store.fetch(name, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BIG


def test_delete(store):
    kept, gone = store.put(b"kept").digest, store.put(b"gone").digest
    store.delete([gone, digest(b"never there")])
    assert [entry.digest for entry in store.entries()] == [kept]


def test_scrub(store):
    good, altered = store.put(b"good").digest, store.put(b"altered").digest
    overwrite(store, altered, b"changed")
    leave_temporary(store)
    missing = digest(b"missing")
    seen = []
    found = store.scrub(expected={good, missing}, progress=lambda *done: seen.append(done))
    assert (found.missing, found.altered, found.stray) == ([missing], [altered], [])
    assert found.checked == 2
    assert seen[-1] == (2, found.size)
    assert not found.is_sound
    assert store.scrub([good]).is_sound
    assert store.scrub([missing, altered]).missing == [missing]
    assert missing in str(found)


def test_leftovers_are_dropped_by_age(store):
    leave_temporary(store)
    assert store.clean() == 0
    assert store.clean(older_than=-1) == 1
    assert store.clean(older_than=-1) == 0


def test_nothing_temporary_stays_after_a_put(store, tmp_path):
    (tmp_path / "big").write_bytes(BIG)
    store.put_files([tmp_path / "big", tmp_path / "big", tmp_path / "none"])
    assert store.clean(older_than=-1) == 0


def test_many_threads_store_the_same_contents(store, tmp_path):
    contents = [bytes([number]) * 1000 for number in range(20)] + [BIG]
    for number, data in enumerate(contents):
        (tmp_path / str(number)).write_bytes(data)
    paths = [tmp_path / str(number) for number in range(len(contents))]
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(store.put_files(paths))) for _ in range(4)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert [len(report.stored) for report in reports] == [21] * 4
    assert store.scrub(expected={digest(data) for data in contents}).is_sound


class BlobMachine(RuleBasedStateMachine):
    """The store beside a dict."""

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind):
        self.folder = Path(tempfile.mkdtemp())
        self.store = quick_store(make_place(kind, self.folder))
        self.model = {}

    contents = st.one_of(st.binary(max_size=20), st.sampled_from(["", "a", "b", "big"]).map(named))

    @rule(data=contents, known=st.booleans())
    def put(self, data, known):
        stored = self.store.put(data, known=self.model if known else ())
        assert stored.is_new == (not known or stored.digest not in self.model)
        self.model[stored.digest] = data

    @rule(batch=st.lists(contents, max_size=6), known=st.booleans())
    def put_files(self, batch, known):
        paths = [self.folder / f"source {number}" for number in range(len(batch))]
        for path, data in zip(paths, batch, strict=True):
            path.write_bytes(data)
        report = self.store.put_files([*paths, self.folder / "none"], known=self.model if known else None)
        assert [stored.digest for stored in report.stored] == [digest(data) for data in batch]
        assert [failure.source for failure in report.failures] == [str(self.folder / "none")]
        self.model |= {digest(data): data for data in batch}

    @rule(data=contents)
    def delete(self, data):
        self.store.delete([digest(data)])
        self.model.pop(digest(data), None)

    @rule(data=contents, start=st.integers(0, 25), length=st.integers(0, 25))
    def read(self, data, start, length):
        name = digest(data)
        if name in self.model:
            assert self.store.read(name, start, start + length) == data[start : start + length]
        else:
            with pytest.raises(NotFoundError):
                self.store.read(name, start, start + length)

    @rule()
    def scrub(self):
        assert self.store.scrub(expected=self.model).is_sound

    @rule()
    def leave(self):
        leave_temporary(self.store)

    @invariant()
    def holds_what_the_model_holds(self):
        if hasattr(self, "store"):
            found = {entry.digest: entry.size for entry in self.store.entries()}
            assert found == {name: len(data) for name, data in self.model.items()}

    def teardown(self):
        if hasattr(self, "store"):
            shutil.rmtree(self.folder)


TestBlobMachine = BlobMachine.TestCase
TestBlobMachine.settings = examples(10, 25, stateful_step_count=20, deadline=None)


def test_the_layout(store):
    name = store.put(b"pizza").digest
    (entry,) = store.entries()
    assert entry.name == f"{name[:2]}/{name}"
    assert TEMPORARY not in entry.name
