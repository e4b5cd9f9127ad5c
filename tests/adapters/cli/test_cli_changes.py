"""The commands that rename, move, tag, describe and remove, and the methods behind them; and the status of an engine."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import typer
from command_line import run, run_json

import framelode
from framelode import DatasetVersion, SingleFrame


def frame(name):
    made = SingleFrame(id=name, source=f"s3://b/{name}.jpg")
    made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"])
    return made


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "engine"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        first = DatasetVersion.get_current(dataset_name="food")
        first.add_frames(map(frame, ["apple", "apricot", "banana"]))
        second = first.create_snapshot(publish_name="v1", child_name="v2")
        second.add_frames([frame("cherry")], refresh_version_stats=False)
        DatasetVersion.create_new_dataset("drinks")
        engine.close()
    return folder


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(prepared, tmp_path / ".framelode")


@pytest.fixture
def engine(home):
    with framelode.connect(home) as opened:
        yield opened
        opened.close()


def names():
    return [row["address"] for row in run_json("ls")["datasets"]]


@pytest.mark.usefixtures("home")
class TestNames:
    def test_a_dataset_is_renamed(self):
        assert run("rename", "food", "meals").stdout == "renamed food to default/meals\n"
        assert names() == ["default/meals", "default/drinks"]
        assert "exists already" in run("rename", "meals", "drinks", status=5).stderr

    def test_a_draft_is_renamed_and_a_published_version_is_not(self):
        assert run_json("rename", "food@v2", "next")["renamed"]["name"] == "next"
        assert "is published" in run("rename", "food@v1", "old", status=5).stderr

    def test_a_dataset_is_moved_to_another_project(self):
        assert run("mv", "food", "kitchen").stdout == "moved food to kitchen/food\n"
        assert run_json("stats", "kitchen/food@v1")["version"]["stats"]["total"] == 3
        assert "names a version" in run("mv", "food@v1", "kitchen", status=2).stderr

    def test_what_is_not_there(self):
        for command in ("rename fud x", "mv fud x", "tag fud x", "describe fud x", "rm fud --yes"):
            assert "fud" in run(*command.split(), status=4).stderr


@pytest.mark.usefixtures("home")
class TestTags:
    @pytest.mark.parametrize("address", ["food", "food@v1", "food@v2"])
    def test_tags_are_added_removed_and_shown(self, address):
        assert run("tag", address).stdout == f"{address}: no tags\n"
        assert run_json("tag", address, "a", "b")["tags"] == ["a", "b"]
        assert run_json("tag", address, "c", "a", "--remove", "b", "--remove", "x")["tags"] == ["a", "c"]
        assert run("tag", address).stdout == f"{address}: a, c\n"

    @pytest.mark.parametrize("address", ["food", "food@v1", "food@v2"])
    def test_a_description(self, address):
        assert run_json("describe", address, "what it is")["described"]["description"] == "what it is"

    def test_the_rest_of_the_tags_stays_whoever_sets_it(self, engine):
        dataset = engine.dataset("food")
        dataset.set_tags(["a", "b"])
        dataset.add_tags(["c"])
        dataset.remove_tags(["a", "unknown"])
        assert dataset.tags == ["b", "c"]
        version = DatasetVersion.get_current(dataset_name="food")
        version.add_tags(["x"])
        version.add_tags(["y", "x"])
        version.remove_tags(["x"])
        assert version.tags == ["y"]

    def test_a_change_that_changes_nothing_is_not_recorded(self, engine):
        dataset = engine.dataset("food")
        dataset.add_tags(["a"])
        before = engine.log.head().position
        dataset.add_tags(["a"])
        dataset.remove_tags(["b"])
        assert engine.log.head().position == before


@pytest.mark.usefixtures("home")
class TestRemoving:
    def test_frames_of_a_draft(self):
        done = run("rm", "food", "appl", "banana", "--yes")
        assert done.stdout.startswith("deleted 2 frames from default/food@v2; ")
        assert [json.loads(line)["id"] for line in run("frames", "food", "--json").stdout.splitlines()] == [
            "apricot",
            "cherry",
        ]
        assert run_json("stats", "food@v1")["version"]["stats"]["total"] == 3
        assert run("history", "food", "apple").stdout.count("apple deleted") == 1

    def test_an_unclear_or_unknown_frame_removes_nothing(self):
        run("rm", "food", "banana", "ap", "--yes", status=5)
        run("rm", "food", "banana", "zebra", "--yes", status=4)
        assert run_json("stats", "food")["version"]["stats"]["total"] == 4

    def test_frames_of_a_published_version_stay(self):
        assert "framelode draft" in run("rm", "food@v1", "apple", "--yes", status=5).stderr

    def test_a_version(self):
        assert "has children: 'v2'" in run("rm", "food@v1", "--force", "--yes", status=5).stderr
        assert run_json("rm", "food@v2", "--yes")["removed"]["state"] == "removed"
        assert "add --force" in run("rm", "food@v1", "--yes", status=5).stderr
        run("rm", "food@v1", "--force", "--yes")
        assert run_json("ls", "food") == {"versions": []}
        assert "removed" in run("log", "food").stdout

    def test_a_dataset_keeps_its_history(self):
        before = run_json("status")["position"]
        assert "1 published version: add --force" in run("rm", "food", "--yes", status=5).stderr
        assert run_json("status")["position"] == before
        assert run_json("rm", "food", "--force", "--yes")["removed"]["versions"] == 2
        assert [each["name"] for each in run_json("ls")["datasets"]] == ["drinks"]
        assert len(run_json("ls", "food", "--as-of", before)["versions"]) == 2
        assert run("history").stdout.count("added") >= 4
        assert "dataset removed" in run("log").stdout
        run("verify")

    def test_without_a_terminal_the_way_out_is_named(self):
        done = run("rm", "food", "apple", status=2)
        assert "Delete frame apple from default/food@v2?" in done.stderr
        assert "add --yes" in done.stderr
        assert run_json("stats", "food")["version"]["stats"]["total"] == 4

    @pytest.mark.parametrize(("answer", "status", "left"), [(True, 0, 3), (False, 2, 4)])
    def test_it_asks_first(self, monkeypatch, answer, status, left):
        asked = []
        monkeypatch.setattr("framelode.adapters.cli.options.sys", _Terminal)
        monkeypatch.setattr(typer, "confirm", lambda question, err: asked.append((question, err)) or answer)
        done = run("rm", "food", "apple", status=status)
        assert asked == [
            ("Delete frame apple from default/food@v2? Earlier versions and the history keep it.", True)
        ]
        assert ("nothing changed" in done.stderr) is not answer
        assert run_json("stats", "food")["version"]["stats"]["total"] == left


class _Terminal:
    """The module `sys` with a terminal for stdin."""

    stdin = type("Stdin", (), {"isatty": staticmethod(lambda: True)})
    stderr = sys.stderr


@pytest.mark.usefixtures("home")
class TestStatus:
    def test_json(self):
        found = run_json("status", "--blobs")
        assert (found["datasets"], found["versions"]) == (2, 3)
        drafts = {each["dataset"]: (each["frames"], each["uncommitted"]) for each in found["drafts"]}
        assert drafts == {"food": (4, 1), "drinks": (0, 0)}
        assert found["log_bytes"] > 0
        assert found["blobs"]["count"] == found["blobs"]["size"] == 0
        run("ls")
        reached = {each["name"]: each["position"] for each in run_json("status")["projections"]}
        assert reached["catalog"] == found["position"]

    def test_on_the_terminal(self, home):
        lines = run("status").stdout.splitlines()
        assert lines[0] == f"engine       {home}"
        assert lines[1].startswith("log          position ")
        assert "2 with 3 versions" in lines[2]
        assert any(line.split() == ["default/food@v2", "4", "1"] for line in lines)

    def test_projections_that_are_behind(self, home):
        (home / "projections.db").unlink()
        assert "behind" in run("status").stdout
        assert "up to date" not in run("status").stdout
        run("rebuild")
        assert "up to date" in run("status").stdout


@pytest.mark.usefixtures("home")
def test_revert_says_how_to_undo_it():
    position = run_json("status")["position"]
    run("rm", "food", "apple", "--yes")
    done = run("revert", "food", "--as-of", position)
    assert done.stdout.startswith(
        "default/food@v2: 1 frame added, 0 updated, 0 deleted; to undo this: framelode revert "
    )
    assert run_json("stats", "food")["version"]["stats"]["total"] == 4
    run(*done.stdout.rstrip().partition("to undo this: framelode ")[2].split())
    assert run_json("stats", "food")["version"]["stats"]["total"] == 3
    assert "published" in run("revert", "food@v1", "--as-of", position, status=5).stderr


@pytest.mark.parametrize("command", ["checkout", "pull"])
def test_checkout_lists_what_it_cannot_write(engine, tmp_path, command):
    picture = tmp_path / "one.jpg"
    picture.write_bytes(b"picture")
    version = DatasetVersion.get_current(dataset_name="drinks")
    frames = [SingleFrame(id="x", source=picture), SingleFrame(id="y", source=tmp_path / "gone.jpg")]
    version.add_frames(frames)
    done = run(command, "drinks", "out", status=1)
    assert (
        done.stdout
        == f"{tmp_path / 'out'}: 1 file of default/drinks@Current written, 0 already there; 1 problem\n"
    )
    assert "gone.jpg" in done.stderr
    assert (tmp_path / "out" / "one.jpg").read_bytes() == b"picture"
    assert run_json(command, "drinks", "out", status=1)["checkout"]["present"] == 1


def test_checkout_prints_the_first_of_many_problems(engine, tmp_path):
    version = DatasetVersion.get_current(dataset_name="drinks")
    version.add_frames(SingleFrame(id=f"{number}", source=tmp_path / f"{number}.jpg") for number in range(30))
    *first, last = run("checkout", "drinks", "out", status=1).stderr.splitlines()
    assert len(first) == 20
    assert last == "and 10 more problems: --json lists them all"
    assert len(run_json("checkout", "drinks", "out", status=1)["checkout"]["failures"]) == 30


@pytest.mark.usefixtures("home")
class TestConfig:
    def test_settings_are_shown_and_changed(self, home, tmp_path):
        assert run_json("config")["settings"] == {
            "blobs": "blobs",
            "projections": "projections.db",
            "shared": False,
        }
        assert (
            run("config", "blobs", tmp_path / "elsewhere").stdout == f'blobs = "{tmp_path / "elsewhere"}"\n'
        )
        assert f'blobs = "{tmp_path / "elsewhere"}"' in (home / "framelode.toml").read_text()
        assert run("config", "shared", "True").stdout == "shared = true\n"
        assert home.stat().st_mode & 0o2070 == 0o2070

    def test_wrong_values_are_refused(self, home):
        before = (home / "framelode.toml").read_bytes()
        assert "must be true or false, not 'maybe'" in run("config", "shared", "maybe", status=2).stderr
        run("config", "colour", "red", status=2)
        assert "cannot be stored" in run("config", "projections", "ftp://host/x", status=2).stderr
        assert (home / "framelode.toml").read_bytes() == before

    def test_no_engine_is_made(self, tmp_path, monkeypatch):
        (tmp_path / "empty").mkdir()
        run("--engine", tmp_path / "empty", "config", "shared", "true", status=2)
        assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.usefixtures("home")
def test_log_shows_bookkeeping_only_when_asked():
    short, whole = run("log").stdout, run("log", "--all").stdout
    assert "dataset created" in short
    assert "attached" not in short
    assert "name claimed" not in short
    assert "dataset created, version attached" in whole
    assert whole.count("name claimed") == 2
    assert run("log", "--kind", "claimed").stdout.count("name claimed") == 2
    assert len(run("log").stdout.splitlines()) < len(run("log", "--all").stdout.splitlines())
