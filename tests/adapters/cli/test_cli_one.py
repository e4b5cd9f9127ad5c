"""`framelode one` on a small folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import run
from read_only import read_only

REF = "2021-02-05_001_mouse"


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    alf = folder / "lab/Subjects/mouse/2021-02-05/001/alf"
    alf.mkdir(parents=True)
    np.save(alf / "_ibl_wheel.position.npy", np.arange(6.0))
    np.save(alf / "_ibl_wheel.velocity.npy", np.arange(6.0))
    monkeypatch.chdir(tmp_path)
    return folder


def told(*arguments):
    return json.loads(run("one", *arguments, "--json").stdout)


def test_the_life_of_a_folder(data):
    assert run("one", "setup", "data").stdout.strip() == (
        "1 session, 2 datasets: 1 session registered, 2 datasets registered"
    )
    assert told("setup", "data")["recorded"] == {}
    (session,) = told("search", "--folder", "data", "--subject", "mou", "--date", "2021-01-01..")["sessions"]
    assert (session["subject"], session["date"], session["number"]) == ("mouse", "2021-02-05", 1)
    assert told("search", "--folder", "data", "--number", "2")["sessions"] == []
    datasets = told("ls", REF, "--folder", "data", "--name", "*position*")["datasets"]
    assert [row["rel_path"] for row in datasets] == ["alf/_ibl_wheel.position.npy"]
    loaded = told("load", REF, "wheel", "--object", "--folder", "data", "--record")
    assert {row["name"]: row["content"] for row in loaded["content"]} == {"position": "6", "velocity": "6"}
    (data / "lab/Subjects/mouse/2021-02-05/001/alf/_ibl_wheel.velocity.npy").unlink()
    run("one", "setup", "data", "--actor", "somebody")
    status = told("status", "--folder", "data")
    assert (status["datasets"], status["missing"], status["loads"], status["tables_up_to_date"]) == (
        2,
        1,
        2,
        True,
    )
    lines = run("one", "history", "--folder", "data", "--by", "somebody", "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["datasets_missing"]
    assert len(run("one", "history", datasets[0]["id"], "--folder", "data").stdout.splitlines()) == 2
    assert len(told("ls", REF, "--folder", "data", "--as-of", "3")["datasets"]) == 2


def test_tables_are_printed(data):
    run("one", "setup", "data", "--hash")
    assert "mouse" in run("one", "search", "--folder", "data").stdout
    assert "_ibl_wheel.position.npy" in run("one", "ls", REF, "--folder", "data").stdout
    file = data / "lab/Subjects/mouse/2021-02-05/001/alf/_ibl_wheel.position.npy"
    np.save(file, np.arange(1.0, 7.0))
    loaded = run("one", "load", REF, "_ibl_wheel.position.npy", "--folder", "data")
    assert "ndarray float64" in loaded.stdout
    assert "its MD5 is" in loaded.stderr
    assert "tables up to date: True" in run("one", "status", "--folder", "data").stdout


def test_tags(data):
    run("one", "setup", "data")
    first = told("tag", "before", "--folder", "data")["tags"]["before"]
    (data / "lab/Subjects/mouse/2021-02-05/001/alf/_ibl_wheel.velocity.npy").rename(data / "gone.npy")
    np.save(data / "lab/Subjects/mouse/2021-02-05/001/alf/_ibl_wheel.new.npy", np.zeros(1))
    run("one", "setup", "data")
    assert len(told("ls", REF, "--folder", "data")["datasets"]) == 3
    assert len(told("ls", REF, "--folder", "data", "--as-of", "before")["datasets"]) == 2
    assert told("tag", "paper", "--at", "before", "--folder", "data")["tags"] == {
        "before": first,
        "paper": first,
    }
    assert "paper" in run("one", "tag", "--folder", "data").stdout
    assert told("tag", "before", "--delete", "--folder", "data")["tags"] == {"paper": first}
    for arguments, status, problem in (
        (("before", "--delete"), 4, "there is no tag 'before'"),
        (("--delete",), 2, "need the name of a tag"),
        (("x", "--delete", "--at", "1"), 2, "exclude each other"),
        (("12",), 2, "not a name for a tag"),
    ):
        assert problem in run("one", "tag", *arguments, "--folder", "data", status=status).stderr


def test_mistakes(data, tmp_path):
    for arguments, status, problem in (
        (("setup", "none"), 2, "there is no folder none"),
        (("status", "--folder", "data"), 4, "nothing is recorded"),
        (("search", "--folder", "none"), 2, "there is no folder none"),
        (("ls", REF, "--folder", "data"), 4, "there is no session"),
    ):
        done = run("one", *arguments, status=status)
        assert problem in done.stderr


def test_commands_where_nothing_is_recorded(data, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, status, problem in (
        (("search",), 0, "framelode one setup"),
        (("ls", REF), 4, "framelode one setup"),
        (("load", REF, "wheel", "--object"), 4, "framelode one setup"),
        (("history",), 0, ""),
        (("status",), 4, "framelode one setup"),
    ):
        done = run("one", *arguments, "--folder", "empty", status=status)
        assert problem in done.stderr, arguments
    assert list(empty.iterdir()) == []


def test_commands_on_a_folder_that_cannot_be_written(data):
    run("one", "setup", "data")
    np.save(data / "lab/Subjects/mouse/2021-02-05/001/alf/_ibl_wheel.timestamps.npy", np.arange(6.0))
    with read_only(data):
        assert told("search", "--folder", "data", "--subject", "mouse")["sessions"]
        assert len(told("ls", REF, "--folder", "data")["datasets"]) == 2
        assert told("load", REF, "_ibl_wheel.position.npy", "--folder", "data")["content"]
        assert run("one", "history", "--folder", "data").stdout
        assert told("status", "--folder", "data")["datasets"] == 2
        done = run("one", "setup", "data", status=2)
        assert "is open read-only" in done.stderr
    assert told("status", "--folder", "data")["datasets"] == 2


def test_an_engine_that_is_given_records(data, tmp_path):
    run("init", "engine")
    run("--engine", "engine", "one", "setup", "data")
    assert not (data / ".framelode" / "log.db").exists()
    assert (
        json.loads(run("--engine", "engine", "one", "status", "--folder", "data", "--json").stdout)[
            "datasets"
        ]
        == 2
    )
