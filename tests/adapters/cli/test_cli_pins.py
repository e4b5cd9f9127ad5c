"""`framelode pin` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from command_line import run, run_json
from git_repository import GitRepository, silent_server

import framelode


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A project inside a repository, and the working directory in it."""
    repository = GitRepository(tmp_path / "work")
    (repository.folder / "sub").mkdir()
    (repository.folder / "raw").mkdir()
    (repository.folder / "raw" / "a").write_text("a")
    monkeypatch.chdir(repository.folder / "sub")
    return repository


def test_a_round(work):
    assert (
        run("pin", "add", "raw", "raw", "--type", "url", "--actor", "me").stdout
        == "added raw: 1 file, 1 byte\n"
    )
    assert (work.folder / "dvc.yaml").exists()
    assert work.git("status", "--porcelain").splitlines() == ["?? dvc.lock", "?? dvc.yaml", "?? raw/"]
    commit = work.commit()
    added = run_json("pin", "add", "self", ".", "--type", "dvc", "--path", "raw", "--rev", "main")["dataset"]
    assert added["lock"]["rev_lock"] == commit
    assert added["manifest"] == "dvc.yaml"
    (work.folder / "raw" / "b").write_text("bb")
    assert run_json("pin", "status", "--check", status=1)["datasets"][0]["status"] == "stale"
    assert "stale" in run("pin", "status").stdout
    assert run("pin", "update", "raw").stdout == "updated raw: 1 file, 1 byte -> 2 files, 3 bytes\n"
    assert run("pin", "update", "raw").stdout == "raw is unchanged: 2 files, 3 bytes\n"
    assert run_json("pin", "update", "self", "--rev", commit[:8])["changed"]
    run("pin", "status", "--check")
    recorded = [json.loads(line) for line in run("history", "--kind", "added", "--json").stdout.splitlines()]
    assert [(line["subject"], line["kind"]) for line in recorded] == [("pin", "added")] * 2
    listed = run_json("pin", "ls")["datasets"]
    assert [(each["name"], each["type"], each["invalidated"]) for each in listed] == [
        ("raw", "url", False),
        ("self", "dvc", False),
    ]
    assert [each["lock"]["meta"]["nfiles"] for each in run_json("pin", "ls", "--as-of", "1")["datasets"]] == [
        1
    ]
    lines = run("pin", "log").stdout.splitlines()
    assert [line.split()[4:6] for line in lines] == [
        ["self", "updated"],
        ["raw", "locked"],
        ["self", "added"],
        ["raw", "added"],
    ]
    assert lines[-1].split()[3] == "me"
    assert lines[1].endswith("raw locked  1 file, 1 byte -> 2 files, 3 bytes")
    told = [json.loads(line) for line in run("pin", "log", "raw", "--reverse", "--json").stdout.splitlines()]
    assert [each["kind"] for each in told] == ["added", "locked"]
    assert told[1]["before"] == told[0]["after"]
    assert "folder work  pin raw added" in run("--engine", work.folder / ".framelode", "log").stdout
    run("--engine", work.folder / ".framelode", "verify")
    run("--engine", work.folder / ".framelode", "rebuild")


def test_the_engine_named(work, tmp_path):
    framelode.connect(tmp_path / "engine").close()
    run("--engine", tmp_path / "engine", "pin", "add", "raw", "raw", "--type", "url")
    assert not (work.folder / ".framelode" / "log.db").exists()
    assert len(run("--engine", tmp_path / "engine", "pin", "log", "--all").stdout.splitlines()) == 1


def test_another_folder(work, tmp_path):
    (tmp_path / "other").mkdir()
    run(
        "pin",
        "add",
        "raw",
        work.folder / "raw",
        "--type",
        "url",
        "--folder",
        tmp_path / "other",
        "--manifest",
        "a.yaml",
    )
    assert (tmp_path / "other" / "a.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("update", "none"), 4, "dataset not found: 'none' is not in any dvc.yaml of"),
        (("status", "none"), 4, "dataset not found: 'none'"),
        (("add", "a", "none", "--type", "url"), 4, "there is no file or folder"),
        (("add", "a", "none", "--type", "dvc"), 4, "there is no git repository"),
        (("add", "a", "raw", "--type", "url", "--rev", "x"), 2, "type url has no option 'rev'"),
        (("add", "a", "raw", "--type", "dc", "--version", "0"), 2, "version must be at least 1"),
        (("add", "a", "raw", "--type", "cd"), 2, ""),
        (("ls", "--folder", "/no/such"), 2, "there is no folder"),
    ],
)
def test_what_is_refused(work, arguments, status, problem):
    assert problem in run("pin", *arguments, status=status).stderr


def test_a_broken_manifest(work):
    (work.folder / "dvc.yaml").write_text("datasets: [\n")
    for arguments in (("ls",), ("status",), ("log",), ("add", "a", "raw", "--type", "url")):
        assert "dvc.yaml:2:1: " in run("pin", *arguments, status=2).stderr


def test_sources_that_cannot_be_read_do_not_hide_the_others(work):
    run("pin", "add", "raw", "raw", "--type", "url")
    with silent_server() as host:
        (work.folder / "dvc.yaml").write_text(
            (work.folder / "dvc.yaml").read_text() + f"- {{name: far, url: 'http://{host}/x', type: url}}\n"
        )
        locked = f"- {{name: far, url: 'http://{host}/x', type: url, meta: {{size: 1}}}}\n"
        text = (work.folder / "dvc.lock").read_text()
        (work.folder / "dvc.lock").write_text(text.replace("stages:", f"{locked}stages:"))
        done = run("pin", "status", "--timeout", "0.3", status=6)
    assert "far: 'http://" in done.stderr
    assert "did not answer within 0.3 seconds" in done.stderr
    assert "raw   url   ok" in done.stdout


def test_without_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['attrs'] = None; sys.argv[1:] = ['pin', 'ls']\n"
        "from framelode.adapters.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: pinned datasets need attrs: pip install 'framelode[pins]'\n"
