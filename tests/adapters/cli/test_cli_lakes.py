"""`framelode lake`: pictures and videos from the command line."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import lake_files
import pytest
from command_line import run, run_json

import framelode
from framelode.adapters.datalake import Client


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty engine, found from the working directory, and a folder of pictures."""
    monkeypatch.delenv("FRAMELODE_URL", raising=False)
    monkeypatch.setenv("FRAMELODE_ACTOR", "cook")
    framelode.connect(tmp_path / "engine").close()
    monkeypatch.chdir(tmp_path / "engine")
    lake_files.pictures(tmp_path / "in", 5)
    yield tmp_path / "in"
    with framelode.connect(tmp_path / "engine") as engine:
        lake_files.require_whole(engine)
    engine.close()


@pytest.fixture
def uploaded(folder):
    return run_json("lake", "upload", folder, "--tag", "train", "--metadata", '{"weather": "dry"}')["data"]


def test_upload_and_ls(folder, uploaded):
    assert [each["filename"] for each in uploaded] == [f"{number:05}.png" for number in range(5)]
    assert uploaded[0]["metadata"] == {"weather": "dry"}
    found = run_json("lake", "ls", "--tag", "train", "--q", 'filename endswith "3.png"')["data"]
    assert [each["filename"] for each in found] == ["00003.png"]
    shown = run("lake", "ls", "--order-by", "-filename", "-n", "2", "--offset", "1").stdout
    assert [line.split()[1] for line in shown.splitlines()[1:]] == ["00003.png", "00002.png"]
    assert "no data" in run("lake", "ls", "--lake", "default", "--q", "width > 99", status=4).stderr
    assert "expected" in run("lake", "ls", "--q", "width >", status=2).stderr
    assert "no tag 'x'" in run("lake", "ls", "--tag", "x", status=4).stderr


def test_an_empty_lake_has_an_empty_list(folder):
    assert run("lake", "ls").stdout.split() == ["id", "filename", "type", "status", "width", "height", "size"]
    assert run_json("lake", "ls") == {"data": []}


def test_files_that_fail_are_listed(folder):
    (folder / "text.png").write_text("no picture")
    done = run("lake", "upload", folder, folder / "none.png", status=1)
    assert done.stdout == "5 files uploaded, 2 failed\n"
    assert "text.png is no readable picture or video" in done.stderr
    again = run_json("lake", "upload", folder / "none.png", status=1)
    assert (again["data"], again["failed"][0]["path"]) == ([], str(folder / "none.png"))


def test_tag_untag_find_and_rm(folder, uploaded):
    assert run("lake", "tag", "new", "--filename", "00001.png").stdout == "tagged 1 data\n"
    found = run_json("lake", "find", "--filename", "00001.png")["data"]
    assert (found["tags"], found["source"], found["projections"]) == (["train", "new"], None, [])
    assert "00001.png" in run("lake", "find", "--id", found["id"]).stdout
    assert run_json("lake", "untag", "train", "--tag", "new") == {"untagged": [found["id"]]}
    assert "say which data" in run("lake", "rm", status=2).stderr
    assert "add --yes" in run("lake", "rm", "--tag", "new", status=2).stderr
    assert run("lake", "rm", "--tag", "new", "--yes", "--actor", "boss").stdout == "deleted 1 data\n"
    assert len(run_json("lake", "ls")["data"]) == 4
    assert len(run_json("lake", "ls", "--as-of", "4")["data"]) == 5
    line = run("log", "-n", "1").stdout
    assert "boss  lake default  data 1 deleted" in line
    assert "boss  data deleted (lake, data)" in run("history", "-n", "9").stdout


def test_import_download_and_jobs(folder, tmp_path):
    (folder / "readme.txt").write_text("no picture")
    done = run("lake", "import", "0000", "readme", "--bucket", folder, "--tag", "b", "--lake", "other")
    assert done.stdout == "5 registered, 0 known, 1 left out\n"
    assert "left out readme.txt" in done.stderr
    job = run_json("lake", "import", "", "--lake", "other")["job"]
    assert job["result"]["known"] == 5
    assert [each["status"] for each in run_json("lake", "jobs")["jobs"]] == ["SUCCEEDED"] * 2
    assert "SUCCEEDED" in run("lake", "jobs", job["id"]).stdout
    paths = run_json("lake", "download", tmp_path / "out", "--tag", "b", "--lake", "other")["paths"]
    assert paths == [str(tmp_path / "out" / f"{number:05}.png") for number in range(5)]
    assert "not connected to a bucket" in run("lake", "import", "", status=4).stderr


def test_a_job_is_killed(tmp_path, uploaded):
    end = tmp_path / "end"
    with ThreadPoolExecutor(1) as pool, framelode.connect(tmp_path / "engine") as engine:
        client = Client(engine=engine, executor=pool)
        lake = client.get_datalake()
        processing = client.register_processing(lake_files.wait_for, "wait")
        job = lake.launch_processing(processing, lake.list_data(), {"path": str(end)})
        job.wait_for_status("RUNNING", 0.01, 10_000)
        assert "KILLED" in run("lake", "jobs", str(job.id), "--kill").stdout
        assert "cannot go from KILLED" in run("lake", "jobs", str(job.id), "--kill", status=5).stderr
        assert "say which job" in run("lake", "jobs", "--kill", status=2).stderr
        assert job.wait_for_done(0.01, 10_000) == "KILLED"
        assert next(iter(engine.history(limit=1, newest_first=True))).actor == "cook"
        end.touch()
        while is_working(job):
            time.sleep(0.01)
    engine.close()


def is_working(job):
    return any(thread.name.endswith(job.id.hex[:8]) for thread in threading.enumerate())
