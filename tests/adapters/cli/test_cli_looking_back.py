"""The commands that look back, and those that look after the blobs, as their users meet them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run, run_json
from patience import PATIENCE
from PIL import Image

import framelode
from framelode import DatasetVersion, SingleFrame

MODULE = (sys.executable, "-m", "framelode")
# A process started in the background ignores SIGINT.
INTERRUPTIBLE = """
import signal
from framelode.adapters.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def frame(name, label="cat", **fields):
    made = SingleFrame(id=name, source=f"s3://b/{name}.jpg", **fields)
    made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label], id="box")
    return made


class Clock:
    """A second later each time it is asked."""

    def __init__(self):
        self.time = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z

    def __call__(self):
        self.time += 1_000_000
        return self.time


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "engine"
    with framelode.connect(folder, clock=Clock()) as engine:
        with framelode.acting("ada"):
            DatasetVersion.create_new_dataset("food")
            first = DatasetVersion.get_current(dataset_name="food")
            first.add_frames([frame("a"), frame("b"), frame("c")], batch_size=2)
            second = first.create_snapshot(publish_name="v1", child_name="v2")
        with framelode.acting("ben", context={"run": "7"}):
            second.update_frames([frame("a", "dog", metadata={"seen": True})])
            second.delete_frames(["c"])
            second.add_frames([frame("d", "dog")])
            DatasetVersion.create_new_dataset("other", dataset_project="p")
        engine.close()
    return folder


@pytest.fixture(autouse=True)
def home(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(prepared, tmp_path / ".framelode"))


def entries(*arguments):
    return [json.loads(line) for line in run("log", *arguments, "--json").stdout.splitlines()]


class TestLog:
    def test_newest_first_a_line_for_each_run_of_changes(self):
        found = entries()
        assert [entry["last_position"] for entry in found] == sorted(
            (entry["last_position"] for entry in found), reverse=True
        )
        (added,) = [entry for entry in found if entry["added"] == 3]
        assert added["last_position"] - added["first_position"] == 2
        assert (added["actor"], added["dataset"], added["version"]) == ("ada", "default/food", "v1")
        assert {entry["actor"] for entry in found} == {"ada", "ben"}
        assert any("version published" in entry["events"] for entry in found)
        assert entries("--reverse") == found[::-1]

    def test_of_a_dataset_of_a_version_of_an_actor_of_a_time_of_a_kind(self):
        everything = entries()
        food = entries("food")
        assert {entry["dataset"] for entry in food} == {"default/food"}
        assert {entry["version"] for entry in entries("food@v2")} == {"v2"}
        assert entries("id:" + DatasetVersion_id("v2")) == entries("food@v2")
        assert {entry["actor"] for entry in entries("--by", "ben")} == {"ben"}
        middle = everything[4]
        since = entries("--since", middle["first_position"])
        assert since == everything[:5]
        assert entries("--since", middle["at"]) == since
        assert entries("--until", middle["last_position"]) == everything[4:]
        assert all(entry["deleted"] for entry in entries("--kind", "deleted"))
        (published,) = entries("food", "--kind", "published")
        assert "version published" in published["events"]
        assert entries("-n", "2") == everything[:2]
        assert entries("-n", "0") == []

    def test_as_text(self):
        lines = run("log", "food").stdout.splitlines()
        assert any("ada  default/food@v1  3 frames added" in line for line in lines)
        assert any("ben  default/food@v2  1 frame deleted" in line for line in lines)
        assert all("2026-01-01 00:00:" in line for line in lines)

    def test_the_graph_of_versions(self):
        drawn = run("log", "--graph").stdout.splitlines()
        assert drawn[0] == "default/food"
        assert drawn[1].startswith("└── food@v1  published  3 frames  2026-01-01")
        assert drawn[2].startswith("    food@v2  draft  3 frames")
        assert drawn[3] == "p/other"
        (graph,) = run_json("log", "food", "--graph")["datasets"]
        assert graph["roots"][0]["children"][0]["version"]["name"] == "v2"
        assert run("log", "food@v2", "--graph").stdout.splitlines()[1].startswith("└── food@v2")

    def test_what_does_not_go_together(self):
        assert (
            "--follow and --until exclude each other"
            in run("log", "--follow", "--until", "3", status=2).stderr
        )
        assert "--graph can only be combined" in run("log", "--graph", "--by", "ada", status=2).stderr
        assert "is not a point in time" in run("log", "--since", "last week", status=2).stderr
        assert "has no time zone" in run("log", "--since", "2026-01-01T00:00:00", status=2).stderr
        assert "unknown kind of change 'eaten'" in run("log", "--kind", "eaten", status=2).stderr
        run("log", "nothing", status=4)

    def test_follow_goes_on_until_it_is_interrupted(self, home):
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "log", "food", "--follow", "-n", "1", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert json.loads(process.stdout.readline())["version"] == "v2"
        with framelode.connect(home) as engine:
            draft = DatasetVersion.get_current(dataset_name="food")
            draft.add_frames([frame("x"), frame("y")], refresh_version_stats=False)
            entry = json.loads(process.stdout.readline())
            assert (entry["added"], entry["last_position"]) == (2, engine.log.head().position)
            DatasetVersion.get_current(dataset_name="other").add_frames([frame("z")])
            draft.delete_frames(["x"], refresh_version_stats=False)
            assert json.loads(process.stdout.readline())["deleted"] == 1
            engine.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (130, "")
        assert err.startswith("interrupted")


def DatasetVersion_id(name):
    (found,) = [row["id"] for row in run_json("ls", "food")["versions"] if row["name"] == name]
    return found[:12]


class TestHistory:
    def changes(self, *arguments):
        return [json.loads(line) for line in run("history", *arguments, "--json").stdout.splitlines()]

    def test_of_a_frame_inherited_changes_included(self):
        found = self.changes("food@v2", "a")
        assert [(change["kind"], change["actor"]) for change in found] == [
            ("added", "ada"),
            ("updated", "ben"),
        ]
        assert found[1]["fields"] == ["meta", "rois"]
        assert found[1]["context"] == {"run": "7"}
        images = self.changes("food@v2", "a", "--images")
        assert images[1]["before"]["rois"][0]["label"] == ["cat"]
        assert images[1]["after"]["meta"] == {"seen": True}
        assert self.changes("food@v2", "a", "--reverse", "-n", "1") == found[1:]
        assert len(run("history", "food@v2", "a").stdout.splitlines()) == 2

    def test_of_a_version(self):
        kinds = [change["kind"] for change in self.changes("food@v2")]
        assert kinds[0] == "created"
        assert kinds.count("added") == 4
        assert [c["frame_id"] for c in self.changes("food@v2", "--kind", "deleted")] == ["c"]
        assert {c["actor"] for c in self.changes("food@v2", "--by", "ben")} == {"ben"}

    def test_of_what_never_was(self):
        assert "never had a frame 'nobody'" in run("history", "food", "nobody", status=4).stderr
        assert "--images requires --json" in run("history", "food", "a", "--images", status=2).stderr


class TestBlame:
    def test_who_added_which_label(self):
        (annotation,) = run_json("blame", "food@v2", "a")["annotations"]
        assert annotation["change"]["actor"] == "ada"
        assert annotation["labels"]["dog"]["actor"] == "ben"
        text = run("blame", "food@v2", "a").stdout
        assert "ben" in text
        assert "'dog'" in text

    def test_as_it_was(self):
        position = entries("food@v1")[0]["last_position"]
        (annotation,) = run_json("blame", "food", "a", "--as-of", position)["annotations"]
        assert list(annotation["labels"]) == ["cat"]


class TestDiff:
    def test_of_two_versions(self):
        found = run_json("diff", "food@v1", "food@v2")
        assert (found["added"], found["removed"], found["changed"]) == (["d"], ["c"], ["a"])
        assert found["stats"]["labels_gained"] == {"dog": 2}
        lines = run("diff", "food@v1", "food@v2", "--names").stdout.splitlines()
        assert "frames: 1 added, 1 changed, 1 removed" in " ".join(lines)
        assert lines[-3:] == ["+ d", "- c", "~ a"]
        whole = run_json("diff", "food@v1", "food@v2", "--frames")
        assert whole["changed"][0]["labels_lost"] == {"cat": 1}

    def test_of_two_moments(self):
        published = entries("food@v1", "--kind", "published")[0]["last_position"]
        found = run_json("diff", "food", "--since", published + 2)
        assert found["added"] == ["d"]
        same = run_json("diff", "food@v1", "food@v1")
        assert not same["added"] + same["removed"] + same["changed"]

    def test_what_is_missing(self):
        assert "give two versions" in run("diff", "food", status=2).stderr
        assert "--frames requires --json" in run("diff", "food", "food", "--frames", status=2).stderr


class TestShow:
    def test_a_version(self):
        shown = run_json("show", "food@v1")
        assert shown["version"]["state"] == "published"
        assert "fingerprint" in run("show", "food@v1").stdout
        assert shown["stats"]["total"] == 3

    def test_a_frame_and_its_picture(self, tmp_path):
        Image.new("RGB", (20, 10)).save(tmp_path / "pic.png")
        with framelode.connect(tmp_path / ".framelode") as engine:
            made = SingleFrame(id="p", source=tmp_path / "pic.png")
            made.add_annotation(box2d_xywh=(1, 1, 5, 5), labels=["cat"])
            DatasetVersion.get_current(dataset_name="food").add_frames([made])
            engine.close()
        assert json.loads(run("show", "food", "p").stdout)["id"] == "p"
        run("show", "food", "p", "--draw", tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as picture:
            assert picture.size == (20, 10)
        assert "already exists" in run("show", "food", "p", "--draw", tmp_path / "out.png", status=5).stderr
        assert (
            "does not have the suffix of an image format"
            in run("show", "food", "p", "--draw", tmp_path / "out.txt", status=2).stderr
        )
        assert not (tmp_path / "out.txt").exists()
        assert "requires a frame id" in run("show", "food", "--draw", tmp_path / "o.png", status=2).stderr
        run("show", "food", "nobody", status=4)


def test_everything_can_be_listed_as_it_was():
    first = entries("--reverse")[2]["last_position"]
    assert [row["name"] for row in run_json("ls", "--as-of", first)["datasets"]] == ["food"]
    added = entries("food@v1", "--kind", "added")[0]["last_position"]
    (version,) = run_json("ls", "food", "--as-of", added)["versions"]
    assert (version["name"], version["state"], version["frames"]) == ("Current", "draft", 3)
    assert run_json("stats", "food", "--as-of", added)["version"]["stats"]["labels"] == [
        {"name": "cat", "count": 3}
    ]
    assert run_json("ls", "--as-of", "0")["datasets"] == []
    assert "no position 9999" in run("ls", "--as-of", "9999", status=2).stderr


class TestBlobs:
    @pytest.fixture
    def blobs(self, home):
        with framelode.connect(home) as engine:
            stored = [engine.blobs.put(data) for data in (b"one", b"two")]
            made = SingleFrame(id="blob", source=f"blobs:{stored[0].digest}/one.jpg")
            DatasetVersion.get_current(dataset_name="food").add_frames([made])
            engine.close()
        return [stored.digest for stored in stored]

    def test_gc_says_what_it_would_do_and_does_it_when_told_to(self, blobs):
        done = run("gc", "--young", "0s")
        assert "1 would be marked for deletion" in done.stdout
        assert "dry run: nothing changed" in done.stderr
        assert run_json("gc", "--young", "0s", "--grace", "0s", "--delete")["gc"]["condemned"] == [blobs[1]]
        assert run_json("gc", "--young", "0s", "--grace", "0s", "--delete")["gc"]["collected"] == [blobs[1]]
        assert "blobs condemned" in entries("-n", "2")[1]["events"]
        assert "is not a duration" in run("gc", "--grace", "soon", status=2).stderr

    def test_scrub_finds_what_is_altered_and_missing(self, home, blobs):
        assert "2 blobs read" in run("scrub").stdout
        assert "blobs equal to their digests" in run("verify", "--blobs").stdout
        path = next(home.rglob(blobs[1]))
        path.chmod(0o644)
        path.write_bytes(b"TWO")
        next(home.rglob(blobs[0])).unlink()
        done = run("scrub", status=3)
        assert f"altered: blob {blobs[1]}" in done.stdout
        assert "1 blob missing, 1 altered" in done.stderr
        assert run_json("scrub", status=3)["scrub"]["missing"] == [blobs[0]]
        assert f"blob {blobs[0]} is missing" in run("verify", "--blobs", status=3).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion(shell):
    script = run("completion", shell).stdout
    assert "_FRAMELODE_COMPLETE" in script
    asked = {
        "_FRAMELODE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "framelode his",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "framelode his",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": "his",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        MODULE, capture_output=True, text=True, env=os.environ | asked, check=False, timeout=PATIENCE
    )
    assert "history" in done.stdout, done.stderr
