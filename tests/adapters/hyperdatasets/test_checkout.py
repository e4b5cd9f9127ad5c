"""`DatasetVersion.checkout`: the files of a version in a folder."""

from __future__ import annotations

import os

import pytest

import framelode
from framelode import DatasetVersion, SingleFrame, UsageError
from framelode.adapters.hyperdatasets.checkout import relative_names


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("day/a.jpg", "day/b.jpg", "night/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def version(engine, pictures):
    DatasetVersion.create_new_dataset("food")
    draft = DatasetVersion.get_current(dataset_name="food")
    frames = [SingleFrame(id=str(n), source=file) for n, file in enumerate(sorted(pictures.rglob("*.jpg")))]
    draft.add_frames(frames, auto_upload_destination="blobs:", local_dataset_root_path=pictures)
    return draft


def contents(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


EXPECTED = {name: name for name in ("day/a.jpg", "day/b.jpg", "night/a.jpg")}


def test_blobs_get_their_paths_back(version, tmp_path):
    seen = []
    done = version.checkout(tmp_path / "out", callback=lambda *amount: seen.append(amount))
    assert contents(tmp_path / "out") == EXPECTED
    assert (done.files, done.written, done.present, done.failures) == (3, 3, 0, [])
    assert done.bytes == sum(map(len, EXPECTED))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("link", [True, False])
def test_hard_links_or_copies(version, tmp_path, link):
    version.checkout(tmp_path / "out", link=link)
    found = (tmp_path / "out" / "day" / "a.jpg").stat()
    assert (found.st_nlink == 2) is link
    assert bool(found.st_mode & 0o200) is not link


def test_an_interrupted_one_goes_on(version, tmp_path):
    out = tmp_path / "out"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        version.checkout(out, callback=interrupt)
    assert contents(out).items() <= EXPECTED.items()
    (out / "day" / "b.jpg").unlink(missing_ok=True)
    done = version.checkout(out)
    assert (done.written + done.present, done.failures) == (3, [])
    assert done.present >= 1
    assert contents(out) == EXPECTED


def test_other_files_are_kept_unless_forced(version, tmp_path):
    out = tmp_path / "out"
    (out / "day").mkdir(parents=True)
    (out / "day" / "a.jpg").write_text("my own")
    (out / "mine.txt").write_text("mine")
    done = version.checkout(out)
    (failure,) = done.failures
    assert f"{out / 'day' / 'a.jpg'} is another file" in failure.error
    assert done.written == 2
    assert contents(out)["day/a.jpg"] == "my own"
    done = version.checkout(out, force=True)
    assert (done.written, done.present, done.failures) == (1, 2, [])
    assert contents(out) == EXPECTED | {"mine.txt": "mine"}


def test_a_link_is_replaced_and_not_followed(version, tmp_path):
    out, victim = tmp_path / "out", tmp_path / "victim"
    (out / "day").mkdir(parents=True)
    victim.write_text("outside")
    (out / "day" / "a.jpg").symlink_to(victim)
    assert len(version.checkout(out).failures) == 1
    assert version.checkout(out, force=True).failures == []
    assert victim.read_text() == "outside"
    assert contents(out) == EXPECTED


def test_nothing_is_written_through_a_folder_that_is_a_link(version, tmp_path):
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    out.mkdir()
    (out / "day").symlink_to(outside)
    done = version.checkout(out, force=True)
    assert len(done.failures) == 2
    assert "is outside of" in done.failures[0].error
    assert list(outside.iterdir()) == []


def test_local_files_are_copied_and_missing_ones_listed(engine, pictures, tmp_path):
    DatasetVersion.create_new_dataset("local")
    draft = DatasetVersion.get_current(dataset_name="local")
    draft.add_frames([SingleFrame(source=file) for file in sorted(pictures.rglob("*.jpg"))])
    (pictures / "night" / "a.jpg").unlink()
    done = draft.checkout(tmp_path / "out")
    assert contents(tmp_path / "out") == {name: name for name in ("day/a.jpg", "day/b.jpg")}
    (failure,) = done.failures
    assert "there is no file" in failure.error
    assert (tmp_path / "out" / "day" / "a.jpg").stat().st_nlink == 1


def test_the_past(version, tmp_path, engine):
    position = engine.log.head().position
    version.delete_frames([frame.id for frame in version])
    assert version.checkout(tmp_path / "now").files == 0
    assert version.checkout(tmp_path / "then", as_of=position).written == 3


def test_a_file_is_no_folder(version, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file: give a folder"):
        version.checkout(tmp_path / "file")


@pytest.mark.parametrize(
    ("uris", "names"),
    [
        (["s3://b/x/1.jpg", "s3://b/x/y/2.jpg"], ["1.jpg", "y/2.jpg"]),
        (["s3://b/x/1.jpg", "gs://b/x/1.jpg"], ["1-", "1.jpg"]),
        (["s3://b/../../etc/passwd", "s3://b/./1.jpg"], ["etc/passwd", "1.jpg"]),
        (["file:///data/%2e%2e/%2E%2E/x%20y.jpg"], ["x y.jpg"]),
        (["blobs:" + "0" * 64 + "/day/a.jpg", "blobs:" + "1" * 64 + "/day/a.jpg"], ["day/a.jpg", "day/a-"]),
        (["blobs:" + "0" * 64 + "/"], ["0" * 64]),
        (["data:text/plain,hello"], [""]),
    ],
)
def test_names(uris, names):
    found = relative_names(uris)
    assert len(set(found.values())) == len(uris)
    for uri, name in zip(uris, names, strict=True):
        assert found[uri].startswith(name)
        assert not os.path.isabs(found[uri])  # noqa: PTH117
        assert ".." not in found[uri].split("/")
