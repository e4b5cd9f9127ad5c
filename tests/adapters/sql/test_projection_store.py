"""The database of the projections is checked when it may have changed, and only then."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

import framelode
from framelode import DatasetVersion, IntegrityError, SingleFrame
from framelode.adapters.sql import projections as projection_store
from framelode.adapters.sql.sqlite.database import SqliteDatabase


@pytest.fixture
def checks(monkeypatch):
    """What was checked."""
    checked = []
    check = SqliteDatabase.integrity_report
    monkeypatch.setattr(
        SqliteDatabase, "integrity_report", lambda self, **k: checked.append(k) or check(self, **k)
    )
    monkeypatch.setattr(projection_store, "_SETTLED_SECONDS", 0.0)
    return checked


@pytest.fixture
def folder(tmp_path):
    with framelode.connect(tmp_path / "food") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([SingleFrame(id=f"f{number}", source=f"s3://b/{number}") for number in range(300)])
        engine.close()
    return tmp_path / "food"


def read(folder):
    with framelode.connect(folder) as engine, closing(engine):
        version = DatasetVersion.get_version(dataset_name="food")
        return version.get_single_frame("f7").source, version.get_stats().total


def damage(file, page):
    """Overwrite a page; size and modification time stay as they were."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(page * 4096)
        opened.write(b"\x5a" * 4096)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def test_files_that_nobody_touched_are_not_checked_again(folder, checks):
    assert [read(folder) for _ in range(3)] == [("s3://b/7", 300)] * 3
    assert len(checks) == 1


@pytest.mark.parametrize("page", [1, 4, 8])
def test_damage_after_a_check_is_noticed(folder, checks, page):
    sound = read(folder)
    damage(folder / "projections.db", page)
    assert read(folder) == sound
    assert len(checks) > 1
    with framelode.connect(folder) as engine:
        assert engine.verify().problems == []
        engine.close()


def test_damage_that_no_file_time_shows_is_mended_by_the_next_process(folder, checks):
    sound = read(folder)
    file = folder / "projections.db"
    with closing(sqlite3.connect(file)) as connection:
        roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1").fetchall()
    for (root,) in roots:
        damage(file, root - 1)
    (folder / "projections.db-checked").write_text(projection_store._appearance(file), "utf-8")
    with pytest.raises(IntegrityError, match=r"projections\.db: .* damaged; connect again"):
        read(folder)
    assert len(checks) == 1
    assert read(folder) == sound
    assert len(checks) > 1


def test_writing_makes_the_next_process_check(folder, checks):
    read(folder)
    with framelode.connect(folder) as engine:
        DatasetVersion.get_current(dataset_name="food").delete_frames(["f1"])
        engine.close()
    assert read(folder) == ("s3://b/7", 299)
    assert len(checks) == 2


def test_what_changed_just_now_is_checked_again(folder, checks, monkeypatch):
    monkeypatch.setattr(projection_store, "_SETTLED_SECONDS", 1e9)
    read(folder)
    read(folder)
    assert len(checks) == 2
    assert not (folder / "projections.db-checked").exists()


@pytest.mark.parametrize("note", ["", "nonsense", None])
def test_a_note_that_cannot_be_used_costs_a_check_only(folder, checks, note):
    file = folder / "projections.db-checked"
    if note is None:
        file.mkdir()
    else:
        file.write_text(note, "utf-8")
    assert read(folder) == ("s3://b/7", 300)
    assert len(checks) == 1
    assert not list(folder.glob("projections.db-checked.*"))
