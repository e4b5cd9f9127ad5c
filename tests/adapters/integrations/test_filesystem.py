"""The filesystem `framelode://`: the files of versions, read-only."""

from __future__ import annotations

import pickle

import fsspec
import pytest
from blake3 import blake3
from fsspec.core import url_to_fs

import framelode
from framelode import DatasetVersion, IntegrityError, SingleFrame, UsageError

NAMES = ("day/a.jpg", "day/b.jpg", "night/a.jpg")


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def version(engine, pictures):
    DatasetVersion.create_new_dataset("food", dataset_project="kitchen")
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.add_frames(
        [SingleFrame(id=str(n), source=file) for n, file in enumerate(sorted(pictures.rglob("*.jpg")))],
        auto_upload_destination="blobs:",
        local_dataset_root_path=pictures,
    )
    draft.rename("v1")
    return draft


def test_every_file_is_found_and_read(version):
    files = fsspec.open_files("framelode://food@v1/**/*.jpg")
    assert [file.path for file in files] == [f"food@v1/{name}" for name in NAMES]
    with files as opened:
        assert [file.read().decode() for file in opened] == list(NAMES)
    with fsspec.open("framelode://kitchen/food@v1/day/b.jpg", "rt") as file:
        assert file.read() == "day/b.jpg"
    with fsspec.open(f"framelode://id:{version.version_id[:8]}/day/b.jpg") as file:
        assert file.read() == b"day/b.jpg"


def test_folders(version, tmp_path):
    system = fsspec.filesystem("framelode")
    assert system.ls("framelode://", detail=False) == ["kitchen"]
    assert system.ls("kitchen", detail=False) == ["kitchen/food@v1"]
    assert system.ls("food@v1", detail=False) == ["food@v1/day", "food@v1/night"]
    assert system.ls("food@v1/day/a.jpg", detail=False) == ["food@v1/day/a.jpg"]
    assert system.find("") == [f"kitchen/food@v1/{name}" for name in NAMES]
    assert system.isdir("food@v1/day")
    assert system.isdir("kitchen")
    assert system.isfile("food@v1/day/a.jpg")
    assert system.du("food@v1") == sum(map(len, NAMES))
    entry = system.info("food@v1/day/a.jpg")
    frame = version.get_single_frame("0")
    assert entry == {
        "name": "food@v1/day/a.jpg",
        "size": len("day/a.jpg"),
        "type": "file",
        "uri": frame.source,
        "hash": frame.sources[0].hash,
    }
    assert system.ukey("food@v1/day/a.jpg") == entry["hash"] != system.ukey("food@v1/night/a.jpg")
    assert system.cat_file("food@v1/day/a.jpg", 4, 5) == b"a"
    system.get("food@v1/", str(tmp_path / "out"), recursive=True)
    assert {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.jpg")} == set(
        NAMES
    )


def test_a_draft_is_read_as_it_is_and_the_past_as_it_was(version, engine):
    position = engine.log.head().position
    system = fsspec.filesystem("framelode")
    assert len(system.find("food@v1")) == 3
    version.delete_frames(["1"])
    assert len(system.find("food@v1")) == 2
    before = fsspec.filesystem("framelode", as_of=position)
    assert before.cat("food@v1/day/b.jpg") == b"day/b.jpg"
    assert not system.exists("food@v1/day/b.jpg")
    version.delete_frames(["0", "2"])
    assert system.ls("food@v1") == []


def test_an_engine_of_its_own(version, engine, tmp_path):
    system, path = url_to_fs("framelode://food@v1/day/a.jpg", engine=str(tmp_path / "engine"))
    again = pickle.loads(pickle.dumps(system))
    engine.close()
    assert again.cat(path) == system.cat(path) == b"day/a.jpg"
    with pytest.raises(UsageError, match="there is no engine at"):
        fsspec.filesystem("framelode", engine=str(tmp_path / "none")).ls("")


def test_names_with_reserved_characters(engine, pictures):
    DatasetVersion.create_new_dataset("a/b@c", dataset_project="p")
    draft = DatasetVersion.get_current(dataset_name="a/b@c")
    draft.add_frames([SingleFrame(id="1", source=pictures / "day" / "a.jpg")])
    draft.rename("v 1")
    system = fsspec.filesystem("framelode")
    (found,) = system.find("")
    assert found == "p/a%2Fb%40c@v 1/a.jpg"
    assert system.cat(found) == b"day/a.jpg"
    for path in ("p/a%2Fb%40c@v 1", "a%2Fb%40c@v 1"):
        assert system.ls(path, detail=False) == [f"{path}/a.jpg"]


def test_a_file_beside_a_folder_of_its_name(engine, pictures):
    """A file system has no such pair, but object stores do."""
    DatasetVersion.create_new_dataset("objects")
    draft = DatasetVersion.get_current(dataset_name="objects")
    stored = engine.blobs.put_files([pictures / "day" / "a.jpg", pictures / "day" / "b.jpg"]).stored
    uris = [f"blobs:{each.digest}/{path}" for each, path in zip(stored, ("a", "a/b"), strict=True)]
    draft.add_frames([SingleFrame(id=uri[-3:], source=uri) for uri in uris])
    draft.rename("v")
    system = fsspec.filesystem("framelode")
    assert system.cat("objects@v/a") == b"day/a.jpg"
    assert system.cat("objects@v/a/b") == b"day/b.jpg"


def test_a_file_that_changed_is_refused(engine, pictures):
    DatasetVersion.create_new_dataset("local")
    draft = DatasetVersion.get_current(dataset_name="local")
    file = pictures / "day" / "a.jpg"
    digest = blake3(file.read_bytes()).hexdigest()
    draft.add_dicts([{"id": "1", "sources": [{"uri": file.as_uri(), "hash": f"blake3:{digest}"}]}])
    draft.rename("v")
    assert fsspec.filesystem("framelode").cat("local@v/a.jpg") == b"day/a.jpg"
    file.write_text("another")
    with pytest.raises(IntegrityError, match="changed after it was registered"):
        fsspec.filesystem("framelode").cat("local@v/a.jpg")


@pytest.mark.parametrize(
    "path",
    ["food@v1/none.jpg", "food@v2/day/a.jpg", "fod@v1", "nowhere", "id:0000000000000000/a", "kitchen/x@v1/a"],
)
def test_what_is_not_there(version, path):
    system = fsspec.filesystem("framelode")
    assert not system.exists(path)
    for call in (system.ls, system.info, system.cat_file):
        with pytest.raises(FileNotFoundError):
            call(path)


def test_wrong_paths_and_writes(version):
    system = fsspec.filesystem("framelode")
    with pytest.raises(
        UsageError, match=r"'kitchen/food/a.jpg' has no version: write \[project/\]dataset@version/path"
    ):
        system.info("framelode://kitchen/food/a.jpg")
    with pytest.raises(UsageError, match="is not an address"):
        system.info("food@v1@v2/a")
    with pytest.raises(IsADirectoryError):
        system.open("food@v1/day")
    for change in (
        lambda: system.open("food@v1/x", "wb"),
        lambda: system.pipe("food@v1/x", b""),
        lambda: system.mkdir("food@v1/x"),
        lambda: system.makedirs("food@v1/x", exist_ok=True),
        lambda: system.rm("food@v1/day/a.jpg"),
        lambda: system.mv("food@v1/day/a.jpg", "food@v1/x"),
        lambda: system.cp_file("food@v1/day/a.jpg", "food@v1/x"),
        lambda: system.touch("food@v1/x"),
        lambda: system.write_text("food@v1/x", ""),
        lambda: system.put_file(__file__, "food@v1/x"),
    ):
        with pytest.raises(UsageError, match="is read-only"):
            change()
