"""Engines in folders that cannot be written, and engines that are opened read-only."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from forked import FORKED
from read_only import read_only

import framelode
from framelode import DatasetVersion, NotFoundError, SingleFrame, UsageError


def frame(name, **fields):
    made = SingleFrame(id=name, **({"source": f"s3://b/{name}.jpg"} | fields))
    made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"])
    return made


def fill():
    DatasetVersion.create_new_dataset("food")
    first = DatasetVersion.get_current(dataset_name="food")
    first.add_frames(map(frame, "abc"))
    second = first.create_snapshot(publish_name="v1", child_name="v2")
    second.delete_frames(["c"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "engine"
    picture = folder.parent / "d.jpg"
    picture.write_bytes(b"a picture")
    with framelode.connect(folder) as engine:
        fill()
        version = DatasetVersion.get_current(dataset_name="food")
        version.add_frames(
            [frame("d", source=picture)],
            auto_upload_destination="blobs:",
            local_dataset_root_path=picture.parent,
        )
        engine.close()
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "engine")


def contents(folder):
    return {
        str(file.relative_to(folder)): (
            file.stat().st_mtime_ns,
            file.read_bytes() if file.is_file() else None,
        )
        for file in sorted(folder.rglob("*"))
    }


def check_reads(engine):
    """Read in every way."""
    version = engine.dataset("food").get_version()
    assert [each.id for each in version] == ["a", "b", "d"]
    assert version["a"].get_annotations()[0].labels == ["cat"]
    assert version.get_stats().total == 3
    (published,) = engine.dataset("food").get_versions(only_published=True)
    assert {each.id for each in published} == {"a", "b", "c"}
    assert version.diff(published).removed.ids == ["c"]
    assert [change.kind for change in version.history("c")] == ["added", "deleted"]
    assert version.blame("a").frame_id == "a"
    assert sum(1 for _ in engine.history(kinds="added")) == 4
    assert [each.name for each in engine.at(engine.log.head().position).dataset("food").versions()[:0]] == []
    assert engine.verify(blobs=True).blobs == 1
    assert engine.referenced_blobs()
    assert engine.missing_blobs() == []
    assert engine.scrub().checked == 1
    assert engine.checkpoint().position == engine.log.head().position
    assert engine.status(blobs=True).blobs.count == 1
    digest = version["d"].source.split(":")[1].split("/")[0]
    assert engine.blobs.read(digest) == b"a picture"
    return version


def changes(version):
    """Return every kind of change, as functions."""
    engine = framelode.current_engine()
    dataset = engine.dataset("food")
    return {
        "add_frames": lambda: version.add_frames([frame("x")]),
        "update_frames": lambda: version.update_frames([frame("a")]),
        "delete_frames": lambda: version.delete_frames(["a"]),
        "upload": lambda: version.add_frames(
            [frame("x", source=__file__)],
            auto_upload_destination="blobs:",
            local_dataset_root_path=os.path.dirname(__file__),  # noqa: PTH120
        ),
        "commit_version": version.commit_version,
        "publish_version": version.publish_version,
        "create_snapshot": version.create_snapshot,
        "set_metadata": lambda: version.set_metadata({"a": 1}),
        "create_new_dataset": lambda: DatasetVersion.create_new_dataset("other"),
        "rename": lambda: dataset.rename("meals"),
        "delete": lambda: dataset.delete(dataset.id, delete_all_versions=True, force=True),
        "blobs.put": lambda: engine.blobs.put(b"x"),
        "gc": engine.gc,
        "rebuild": engine.rebuild,
        "share_blobs": engine.share_blobs,
        "scrub": lambda: engine.scrub(repair="."),
    }


@pytest.mark.parametrize("state", ["closed", "projections behind", "no projections", "foreign projections"])
def test_a_folder_that_cannot_be_written_is_opened_read_only(folder, tmp_path, state, caplog):
    if state == "projections behind":
        old = (folder / "projections.db").read_bytes()
        with framelode.connect(folder) as engine:
            framelode.DatasetVersion.create_new_dataset("late")
            engine.close()
        (folder / "projections.db").write_bytes(old)
    elif state == "no projections":
        (folder / "projections.db").unlink()
    elif state == "foreign projections":
        (folder / "projections.db").write_bytes(b"not a database" * 100)
    before = contents(folder)
    with read_only(folder), caplog.at_level(logging.WARNING), framelode.connect(folder) as engine:
        assert engine.read_only
        (warning,) = [each.getMessage() for each in caplog.records if each.name == "framelode.session"]
        reason = os.strerror(errno.EROFS if os.geteuid() == 0 else errno.EACCES)
        assert warning == f"{folder} is open read-only, because {folder} cannot be written ({reason})"
        version = check_reads(engine)
        for name, change in changes(version).items():
            with pytest.raises(UsageError, match="is open read-only, because .* cannot be written"):
                print(name, change())
        engine.export_log(tmp_path / "log.jsonl")
        engine.copy_to(tmp_path / "copy")
        engine.close()
    assert contents(folder) == before
    with framelode.connect(tmp_path / "copy") as copy:
        check_reads(copy)
        assert not copy.read_only
        copy.close()


def beside(path):
    return {name for name in ("-wal", "-shm") if path.with_name(path.name + name).exists()}


@pytest.mark.parametrize("kept", [{"-wal"}, {"-wal", "-shm"}])
def test_a_copy_of_files_in_use_shows_all_of_them(folder, tmp_path, kept):
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("late")
        for name in ("log.db", "projections.db"):
            assert beside(folder / name) == {"-wal", "-shm"}
        backup = tmp_path / "backup"
        shutil.copytree(folder, backup)
        engine.close()
    for name in {"-wal", "-shm"} - kept:
        for file in backup.glob(f"*{name}"):
            file.unlink()
    before = contents(backup)
    with read_only(backup), framelode.connect(backup) as engine:
        check_reads(engine)
        assert engine.dataset("late").name == "late"
        engine.close()
    assert contents(backup) == before


def test_what_is_written_elsewhere_meanwhile_is_seen(folder, tmp_path):
    """Another machine or container writes to what is mounted read-only here."""
    with framelode.connect(folder, read_only=True) as reader, framelode.connect(folder) as writer:
        assert reader.read_only
        assert len(reader.dataset("food").versions()) == 2
        with writer:
            DatasetVersion.create_new_dataset("late")
        assert reader.dataset("late").name == "late"
        writer.close()
        reader.close()


def test_read_only_can_be_asked_for(folder):
    before = contents(folder)
    with framelode.connect(folder, read_only=True) as engine:
        version = check_reads(engine)
        for change in changes(version).values():
            with pytest.raises(
                UsageError, match="because it was opened with read_only=True: nothing can be recorded"
            ):
                change()
        engine.close()
    after = contents(folder)
    # SQLite may make an index of its own while it reads.
    assert {name: after[name] for name in before} == before
    assert all(name.endswith(("-wal", "-shm")) for name in after.keys() - before.keys())


def test_read_only_makes_nothing(tmp_path):
    with pytest.raises(UsageError, match="there is no engine"):
        framelode.connect(tmp_path / "nowhere", read_only=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="do not pass"):
        framelode.connect(tmp_path, read_only=True, shared=True)


def test_other_processes_open_it_read_only_too(folder):
    with framelode.connect(folder, read_only=True) as engine:
        again = pickle.loads(pickle.dumps(engine))
        assert again.read_only
        again.close()
        with read_only(folder), ProcessPoolExecutor(1, mp_context=FORKED) as executor:
            assert engine.verify(executor=executor).events == engine.log.head().position
        engine.close()


def test_a_folder_without_an_engine_says_why_none_is_made(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with read_only(empty):
        reason = os.strerror(errno.EROFS if os.geteuid() == 0 else errno.EACCES)
        with pytest.raises(
            UsageError, match=f"cannot be written: {reason}; give a folder that can be written"
        ):
            framelode.connect(empty)


def test_a_moment_of_the_past(folder):
    with read_only(folder), framelode.connect(folder, as_of=5) as engine:
        assert engine.read_only
        assert engine.dataset("food").name == "food"
        with pytest.raises(NotFoundError):
            engine.dataset("late")
        engine.close()


def test_a_log_file_that_is_damaged_is_reported(folder):
    with sqlite3.connect(folder / "log.db") as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'append'")
    with read_only(folder), pytest.raises(framelode.IntegrityError):
        framelode.connect(folder)


def test_in_postgresql_all_transactions_are_read_only(postgres_url):
    with framelode.connect(postgres_url) as engine:
        fill()
        position = engine.log.head().position
        engine.close()
    with framelode.connect(postgres_url, read_only=True) as engine:
        version = engine.dataset("food").get_version()
        assert [each.id for each in version] == ["a", "b"]
        assert engine.verify().events == position
        with pytest.raises(UsageError, match="because it was opened with read_only=True"):
            version.add_frames([frame("x")])
        with engine.session.sql_log.database.read() as connection:
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
        engine.close()


AS_NOBODY = """
import os, sys
import framelode
from framelode import DatasetVersion, UsageError

def read(folder):
    with framelode.connect(folder) as engine:
        version = engine.dataset("food").get_version()
        names = [each.name for each in framelode.DatasetVersion.get_datasets()]
        print(engine.read_only, [each.id for each in version], names, engine.verify().problems)
        try:
            version.delete_frames(["a"])
        except UsageError as error:
            print(error)
        engine.close()

read(sys.argv[1])  # as root, so that all modules are loaded: nobody may not be able to read them
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
read(sys.argv[2])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("in_use", [False, True])
def test_another_user_reads_what_root_owns(prepared, folder, in_use):
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        owned = shutil.copytree(prepared, Path(parent) / "engine")
        owner = framelode.connect(owned)
        if in_use:
            with owner:
                DatasetVersion.create_new_dataset("late")
        else:
            owner.close()
        for place in (owned, *owned.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, folder, owned], capture_output=True, text=True, check=False
        )
        owner.close()
        assert not done.returncode, done.stderr
        reason = f"{owned} is open read-only, because {owned} cannot be written (Permission denied)"
        datasets = ["food", "late"] if in_use else ["food"]
        assert done.stdout.splitlines()[1:] == [
            f"True {['a', 'b', 'd']} {datasets} []",
            f"{reason}: nothing can be recorded",
        ]
        assert done.stderr == f"{reason}\n"
