"""Folders and files that framelode makes are for their owner alone, or for the group of a shared folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from framelode import UsageError
from framelode.engine.storage.atomic_files import new_file, replace_file, temporary_name
from framelode.engine.storage.modes import create_file, make_folder, share


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(params=[False, True], ids=["private", "shared"])
def folder(request, tmp_path):
    """A folder, and the modes of folders and files in it."""
    made = tmp_path / "top"
    make_folder(made)
    if request.param:
        share([made])
    return made, (0o2770, 0o660) if request.param else (0o700, 0o600)


def test_new_folders_and_files_have_the_mode_of_their_folder(folder):
    top, (folder_mode, file_mode) = folder
    make_folder(top / "a/b/c")
    make_folder(top / "a/b/c")
    os.close(create_file(top / "a/b/file"))
    with new_file(top / "a/export") as file:
        file.write(b"x")
    assert [mode(top / name) for name in ("a", "a/b", "a/b/c")] == [folder_mode] * 3
    assert [mode(top / name) for name in ("a/b/file", "a/export")] == [file_mode] * 2


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a file system that has no new folders")  # noqa: PTH112
def test_a_folder_that_no_one_can_make():
    with pytest.raises(FileNotFoundError):
        make_folder("/proc/one/two")


def test_a_strict_umask_does_not_keep_the_group_out_of_a_shared_folder(tmp_path):
    make_folder(tmp_path / "top")
    share([tmp_path / "top"])
    os.umask(0o077)
    make_folder(tmp_path / "top/a")
    os.close(create_file(tmp_path / "top/a/file"))
    assert (mode(tmp_path / "top/a"), mode(tmp_path / "top/a/file")) == (0o2770, 0o660)


def test_a_new_file_never_follows_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    file = tmp_path / "settings"
    replace_file(file, b"1", mode=0o600)
    assert mode(file) == 0o600
    file.chmod(0o640)
    replace_file(file, b"2", mode=0o600)
    assert (mode(file), file.read_bytes()) == (0o640, b"2")


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(OSError, match="file"):
            make_folder(tmp_path / path)


def test_what_cannot_be_shared_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be shared with its group"):
        share([tmp_path / "missing"])


def test_temporary_names_are_never_the_same_and_never_too_long():
    path = Path("\N{SNOWMAN}" * 80)
    names = {temporary_name(path) for _ in range(100)}
    assert len(names) == 100
    assert all(len(os.fsencode(name)) < 150 for name in names)


def test_a_folder_is_shared_before_another_thread_makes_one_in_it(tmp_path, monkeypatch):
    top = tmp_path / "top"
    make_folder(top)
    share([top])
    change_mode = os.chmod

    def another_is_faster(path, mode):
        monkeypatch.setattr(os, "chmod", change_mode)
        make_folder(top / "a" / "child")
        change_mode(path, mode)

    monkeypatch.setattr(os, "chmod", another_is_faster)
    make_folder(top / "a")
    assert mode(top / "a") == mode(top / "a" / "child") == 0o2770
    assert [path.name for path in top.iterdir()] == ["a"]
