"""What every destination of uploads must do; a new kind is added to `destination_places.KINDS`."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from blake3 import blake3
from destination_places import KINDS, Place
from patience import PATIENCE, join

from framelode.adapters.uploads import remote
from framelode.adapters.uploads.destination import UploadItem
from framelode.engine.blobs import content as blob_sources
from framelode.engine.blobs.content import SourceError
from framelode.engine.errors import UsageError
from framelode.engine.storage.base import BackendError

BIG = bytes(range(251)) * 12_000
"""More than is read at once."""

ODD = [
    "a b",
    "a#b",
    "100%",
    "%41",
    "ä",
    "€",
    "new\nline",
    "q?x=1",
    "a+b&c=d;e",
    "*",
    "[x]",
    "'\"",
    "\\",
    "~",
    ":@",
]


@pytest.fixture(params=KINDS)
def place(request, tmp_path, monkeypatch):
    opened = Place(request.param, tmp_path, monkeypatch.setenv)
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path):
    """Write a local file and return its item."""
    folder = tmp_path / "files"
    folder.mkdir()
    numbers = iter(range(10**6))

    def make(data, name="dataset/version/1.jpg", **arguments):
        path = folder / str(next(numbers))
        path.write_bytes(data)
        return UploadItem(str(path), name, **arguments)

    return make


def upload(destination, *items):
    destination.read(items)
    destination.stage([item for item in items if item.error is None], items)
    destination.send(items)
    return [item.uri for item in items]


def test_files_are_sent_under_their_names(place, file):
    contents = {f"data/v.{number}/{number}.bin": f"{number}".encode() * 300 for number in range(24)}
    contents |= {"data/empty": b"", "data/big.bin": BIG}
    items = [file(data, name) for name, data in contents.items()]
    place.destination.read(items)
    assert [item.error for item in items] == [None] * len(items)
    assert [(item.digest, item.size) for item in items] == [
        (blake3(data).hexdigest(), len(data)) for data in contents.values()
    ]
    place.destination.send(items)
    assert [item.error for item in items] == [None] * len(items)
    assert [item.uri for item in items] == [f"{place.destination.root}/{name}" for name in contents]
    assert place.everything() == contents
    assert all(place.destination.holds(item.uri, item.size) for item in items)
    assert not place.destination.holds(items[0].uri, items[0].size + 1)
    assert not place.destination.holds(f"{place.destination.root}/data/none", 1)


@pytest.mark.parametrize("data", [b"content", b"", BIG], ids=len)
def test_an_object_is_never_overwritten(place, file, data):
    first, same, other = file(data), file(data), file(data + b"!")
    name = first.name
    (uri,) = upload(place.destination, first)
    assert upload(place.destination, same) == [uri]
    (beside,) = upload(place.destination, other)
    assert beside == f"{place.destination.root}/dataset/version/1.{other.digest[:16]}.jpg"
    assert upload(place.destination, file(data + b"!")) == [beside]
    assert place.everything() == {name: data, beside.removeprefix(f"{place.destination.root}/"): data + b"!"}


def test_other_content_of_the_same_size_is_another_one(place, file):
    upload(place.destination, file(b"one"))
    (beside,) = upload(place.destination, file(b"two"))
    assert place.read(beside) == b"two"
    assert len(place.everything()) == 2


def test_a_fresh_one_gets_a_name_of_its_own(place, file):
    uris = [upload(place.destination, file(b"content", fresh=True))[0] for _ in range(4)]
    assert len(set(uris)) == 4
    assert uris[0] == f"{place.destination.root}/dataset/version/1.jpg"
    assert list(place.everything().values()) == [b"content"] * 4


@pytest.mark.parametrize("name", ODD)
def test_odd_names(place, file, name):
    encoded = f"folder {name}", name
    wanted = "/".join(quote(part) for part in encoded)
    item = file(b"odd", wanted)
    (uri,) = upload(place.destination, item)
    assert item.error is None
    assert uri == f"{place.destination.root}/{wanted}"
    assert place.read(uri) == b"odd"
    assert place.everything() == {wanted: b"odd"}
    assert place.destination.holds(uri, 3)
    (beside,) = upload(place.destination, file(b"other", wanted))
    assert place.read(beside) == b"other"
    place.destination.delete([uri, beside])
    assert place.everything() == {}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../x",
        "a/..",
        "a/%2e%2e/x",
        "%2E%2E/x",
        "a//x",
        "/x",
        "a/",
        "",
        "a%2Fb",
        "a%00",
        "a b",
        "a/./x",
        "a?b",
    ],
)
def test_a_name_that_is_not_safe_is_refused(place, file, name):
    item, good = file(b"x", name), file(b"y", "good")
    upload(place.destination, item, good)
    assert isinstance(item.error, BackendError)
    assert not item.may_try_again
    assert repr(name) in str(item.error)
    assert place.everything() == {"good": b"y"}


def test_a_name_that_is_too_long(place, file):
    item, good = file(b"x", "n" * 5000), file(b"y", "good")
    upload(place.destination, item, good)
    assert isinstance(item.error, BackendError)
    assert not item.may_try_again
    assert "longer than" in str(item.error)
    assert place.everything() == {"good": b"y"}


def test_delete(place, file):
    kept, gone = upload(place.destination, file(b"a", "kept"), file(b"b", "gone"))
    place.destination.delete([gone, f"{place.destination.root}/never/there"])
    place.destination.delete([gone])
    assert place.everything() == {"kept": b"a"}
    assert place.destination.holds(kept, 1)
    assert not place.destination.holds(gone, 1)
    for outside in ("file:///etc/passwd", place.destination.root, f"{place.destination.root}x/kept"):
        with pytest.raises(UsageError, match="not in the destination"):
            place.destination.delete([outside])
        with pytest.raises(UsageError, match="not in the destination"):
            place.destination.holds(outside, 1)


@pytest.mark.parametrize("size", [100, 3_000_000])
class TestSources:
    @pytest.mark.parametrize("change", ["append", "rewrite", "delete", "truncate"])
    def test_one_that_changes_between_reading_and_sending(self, place, file, monkeypatch, size, change):
        monkeypatch.setattr(remote, "WHOLE_BYTES", 1_000_000)
        item, good = file(b"a" * size), file(b"good", "good")
        place.destination.read([item, good])
        getattr(self, change)(item.path, size)
        place.destination.send([item, good])
        if item.error is None:  # a copy was made when it was read
            assert place.read(item.uri) == b"a" * size
        else:
            assert isinstance(item.error, SourceError)
            assert item.path in str(item.error)
            assert not item.may_try_again
            assert place.everything() == {"good": b"good"}
        assert place.leftovers() == []

    @pytest.mark.parametrize("change", ["append", "rewrite", "delete", "truncate"])
    @pytest.mark.parametrize("when", ["read", "send"])
    def test_one_that_changes_meanwhile(self, place, file, monkeypatch, size, change, when):
        monkeypatch.setattr(remote, "WHOLE_BYTES", 1_000_000)
        item = file(b"a" * size)
        os.utime(item.path, ns=(1, 1))
        read, changed = os.read, []

        def read_and_change(descriptor, length):
            data = read(descriptor, length)
            if data.startswith(b"a") and not changed and len(data) < 2_000_000:
                changed.append(True)
                getattr(self, change)(item.path, size)
            return data

        if when == "read":
            monkeypatch.setattr(blob_sources.os, "read", read_and_change)
            place.destination.read([item])
            assert isinstance(item.error, SourceError)
            return
        place.destination.read([item])
        monkeypatch.setattr(blob_sources.os, "read", read_and_change)
        place.destination.send([item])
        monkeypatch.undo()
        if item.error is None:
            assert place.read(item.uri) == b"a" * size
        else:
            assert isinstance(item.error, SourceError)
            assert place.everything() == {}
        assert place.leftovers() == []

    def append(self, path, size):
        with Path(path).open("ab") as file:
            file.write(b"more")

    def rewrite(self, path, size):
        Path(path).write_bytes(b"b" * size)

    def delete(self, path, size):
        Path(path).unlink()

    def truncate(self, path, size):
        os.truncate(path, size // 2)


def test_a_source_that_is_not_there(place, file, tmp_path):
    bad = [UploadItem(str(tmp_path / "none"), "none"), UploadItem(str(tmp_path), "folder")]
    place.destination.read(bad)
    assert all(isinstance(item.error, SourceError) for item in bad)
    assert place.leftovers() == []


def test_what_is_discarded_leaves_nothing(place, file):
    items = [file(BIG, f"{number}") for number in range(3)]
    place.destination.read(items)
    place.destination.discard(items)
    assert place.leftovers() == []
    assert place.everything() == {}
    assert upload(place.destination, *items) == [f"{place.destination.root}/{number}" for number in range(3)]


@pytest.mark.parametrize("data", [b"content", BIG], ids=len)
def test_threads_that_send_the_same_name_at_once(place, file, data):
    items = [file(data) for _ in range(3)] + [file(data[:-1] + bytes([number])) for number in range(3)]
    barrier = threading.Barrier(len(items), timeout=PATIENCE)

    def work(item):
        barrier.wait()
        upload(place.again(), item)

    threads = [threading.Thread(target=work, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    join(*threads)
    assert [item.error for item in items] == [None] * 6
    assert len(place.everything()) == 4
    for item in items:
        assert place.read(item.uri) == Path(item.path).read_bytes()
    assert place.leftovers() == []
