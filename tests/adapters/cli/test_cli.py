"""The command line as its users meet it: what it prints, where, and with which exit status."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import run, run_json
from hypothesis import example, given
from hypothesis import strategies as st
from patience import PATIENCE

import framelode
from framelode.adapters.cli import output
from framelode.adapters.cli.app import app
from framelode.adapters.formats.names import BUILT_IN
from framelode.adapters.hyperdatasets.address import Address
from framelode.engine.errors import UsageError

ROOT = Path(framelode.__file__).parent
MODULE = (sys.executable, "-m", "framelode")


def spawn(*arguments, **options):
    """Run a command in a process of its own."""
    options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
    return subprocess.run([*MODULE, *map(str, arguments)], check=False, **options)


def error_of(done):
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def frames(*names, labels=("cat",)):
    made = [framelode.SingleFrame(id=name, source=f"s3://b/{name}.jpg", size=10) for name in names]
    for frame in made:
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=list(labels))
    return made


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "engine"
    with framelode.connect(folder) as engine:
        framelode.DatasetVersion.create_new_dataset("food")
        first = framelode.DatasetVersion.get_current(dataset_name="food")
        first.add_frames(frames("a", "b", "c"))
        second = first.create_snapshot(publish_name="v1", child_name="v2")
        second.delete_frames(["c"])
        second.add_frames(frames("d", labels=("dog",)))
        engine.close()
    return folder


@pytest.fixture
def home(prepared, tmp_path):
    """An engine with the dataset ``food``: ``v1`` published with frames a, b, c; the draft ``v2`` without c, with d."""
    return Path(shutil.copytree(prepared, tmp_path / ".framelode"))


# the engine


def test_init_makes_an_engine_here_and_says_where(tmp_path):
    assert run("init").stdout == f"created an engine in {tmp_path / '.framelode'}\n"
    assert (tmp_path / ".framelode" / "framelode.toml").is_file()


def test_init_again_changes_nothing(home, tmp_path):
    before = {file.name: file.read_bytes() for file in home.iterdir() if file.suffix != ".db-lock"}
    assert run_json("init") == {"engine": str(tmp_path / ".framelode"), "created": False}
    assert "nothing changed" in run("init").stdout
    assert {file.name: file.read_bytes() for file in home.iterdir() if file.suffix != ".db-lock"} == before


def test_init_inside_an_engine_means_that_one(tmp_path, monkeypatch):
    run("init", "food")
    monkeypatch.chdir(tmp_path / "food")
    assert run_json("init") == {"engine": str(tmp_path / "food"), "created": False}


@pytest.mark.parametrize("where", ["argument", "option", "environment"])
def test_an_engine_elsewhere(where, tmp_path, monkeypatch):
    place = tmp_path / "else where"
    if where == "argument":
        run("init", place)
        assert run_json("--engine", place, "ls") == {"datasets": []}
    elif where == "option":
        run("--engine", place, "init")
        assert run_json("--engine", f"sqlite:///{place}/log.db", "ls") == {"datasets": []}
    else:
        monkeypatch.setenv("FRAMELODE_URL", str(place))
        run("init")
        assert run_json("ls") == {"datasets": []}
    assert (place / "log.db").exists()


def test_an_engine_is_found_upwards(home, tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert [row["name"] for row in run_json("ls")["datasets"]] == ["food"]


@pytest.mark.parametrize(
    "command", ["ls", "stats x", "publish x", "snapshot x", "draft x y", "verify", "rebuild"]
)
def test_without_an_engine_the_way_out_is_named_and_nothing_made(command, tmp_path):
    assert "framelode init" in error_of(run(*command.split(), status=2))
    assert list(tmp_path.iterdir()) == []


def test_without_an_engine_those_in_folders_of_it_are_named():
    run("init", "food")
    assert "no engine here, but in ./food: name one with `framelode --engine FOLDER`" in error_of(
        run("ls", status=2)
    )


def test_an_engine_that_is_not_there_is_not_made(tmp_path):
    assert "framelode init" in error_of(run("--engine", "nowhere", "ls", status=2))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_engine(home):
    assert "log.db is a file: give the folder" in error_of(run("--engine", home / "log.db", "ls", status=2))


@pytest.mark.usefixtures("home")
def test_names_that_are_alike_are_asked_for():
    assert "'foood': did you mean 'food'?" in error_of(run("ls", "foood", status=4))
    assert "no version named 'v22': did you mean 'v2'" in error_of(run("stats", "food@v22", status=4))
    assert error_of(run("stats", "food@other", status=4)).rstrip().endswith("has no version named 'other'")


def test_init_refuses_what_no_engine_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in error_of(run("init", "file", status=2))
    assert "in-memory engine" in error_of(run("init", "sqlite://", status=2))
    assert "is not the URL of an engine" in error_of(run("init", "ftp://x", status=2))


def test_commands_leave_no_engine_behind(home, monkeypatch):
    run("ls")
    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match="framelode init"):
        framelode.current_engine()
    assert {file.name for file in home.iterdir()} >= {"log.db", "projections.db"}
    assert not list(home.glob("*-wal"))


# what there is


def test_ls_of_an_empty_engine():
    run("init")
    assert run("ls").stdout.split() == ["dataset", "project", "versions", "current", "frames"]
    assert run_json("ls") == {"datasets": []}


def test_ls_lists_datasets(home):
    (row,) = run_json("ls")["datasets"]
    assert row | {"id": "", "created": ""} == {
        "address": "default/food",
        "id": "",
        "name": "food",
        "project": "default",
        "description": "",
        "tags": [],
        "versions": 2,
        "current": "v2",
        "frames": 3,
        "created": "",
    }
    assert run("ls").stdout.splitlines()[1].split() == ["food", "default", "2", "v2", "3"]


def test_ls_lists_versions_latest_updated_first(home):
    second, first = run_json("ls", "food")["versions"]
    assert (second["name"], second["state"], second["frames"], second["parent"]) == (
        "v2",
        "draft",
        3,
        first["id"],
    )
    assert (first["name"], first["state"], first["frames"], first["parent"]) == ("v1", "published", 3, None)
    assert second["fingerprint"] is None
    assert re.fullmatch("[0-9a-f]{64}", first["fingerprint"])
    assert second["address"] == "default/food@v2"
    _, line, _ = run("ls", "default/food").stdout.splitlines()
    assert line.split()[:5] == ["v2", second["id"][:12], "draft", "v1", "3"]


def test_ls_takes_a_dataset_only(home):
    assert "a dataset is required" in error_of(run("ls", "food@v1", status=2))
    assert "'nope'" in error_of(run("ls", "nope", status=4))


def test_stats_of_the_current_version(home):
    shown = run_json("stats", "food")
    assert shown["against"] is None
    assert shown["version"]["version"]["name"] == "v2"
    stats = shown["version"]["stats"]
    assert (stats["total"], stats["annotated"]) == (3, 3)
    assert stats["labels"] == [{"name": "cat", "count": 2}, {"name": "dog", "count": 1}]
    assert stats["sources"] == [{"name": "default", "count": 3, "bytes": 30}]


def test_stats_side_by_side(home):
    lines = [line.split() for line in run("stats", "food@v2", "--against", "food@v1").stdout.splitlines()]
    assert lines[0] == ["default/food@v1", "default/food@v2", "change"]
    assert ["frames", "3", "3"] in lines
    assert ["label", "cat", "3", "2", "-1"] in lines
    assert ["label", "dog", "0", "1", "+1"] in lines
    both = run_json("stats", "food@v2", "--against", "food@v1")
    assert [both[key]["version"]["name"] for key in ("version", "against")] == ["v2", "v1"]


def test_a_version_by_id_or_the_first_digits_of_it(home):
    second, first = run_json("ls", "food")["versions"]
    for digits in (first["id"], first["id"][:8]):
        assert run_json("stats", f"id:{digits}")["version"]["version"] == first
    unused = next(digit for digit in "0123456789abcdef" if digit not in first["id"][0] + second["id"][0])
    run("stats", f"id:{unused}", status=4)
    run("stats", f"id:{unused * 32}", status=4)


def test_ambiguous_ids_are_refused_and_listed(home):
    for number in range(20):
        run("draft", "food", f"more {number}", "--empty")
    ids = [row["id"] for row in run_json("ls", "food")["versions"]]
    digit = next(digit for digit in "0123456789abcdef" if sum(i.startswith(digit) for i in ids) > 1)
    assert "versions have an id that begins with" in error_of(run("stats", f"id:{digit}", status=5))


def test_what_does_not_exist_is_not_found(home):
    assert "'nope'" in error_of(run("stats", "nope", status=4))
    assert "'v9'" in error_of(run("stats", "food@v9", status=4))
    assert "'kitchen'" in error_of(run("stats", "kitchen/food", status=4))
    run("stats", "food", "--against", "food@v9", status=4)


def test_a_name_in_several_projects_is_ambiguous(home):
    with framelode.connect(home) as engine:
        framelode.DatasetVersion.create_new_dataset("food", dataset_project="kitchen")
        engine.close()
    assert "'kitchen'" in error_of(run("stats", "food", status=5))
    assert run_json("stats", "kitchen/food")["version"]["stats"]["total"] == 0
    assert [row["address"] for row in run_json("ls")["datasets"]] == ["default/food", "kitchen/food"]


def test_names_cannot_drive_a_terminal_or_break_a_table(home):
    name = "[red]a\x1b[31m\n:cat:/@%"
    with framelode.connect(home) as engine:
        framelode.DatasetVersion.create_new_dataset(name, dataset_project="[b]")
        engine.close()
    shown = run("ls").stdout
    assert "\x1b" not in shown
    assert "[red]a\\x1b[31m\\n:cat:/@%" in shown
    address = next(row["address"] for row in run_json("ls")["datasets"] if row["project"] == "[b]")
    assert address == "[b]/[red]a%1B[31m%0A:cat:%2F%40%25"
    assert run_json("stats", address)["version"]["version"]["dataset"] == name


# versions


def test_publish(home):
    shown = run_json("publish", "food@v2")
    assert shown["changed"] is True
    assert shown["published"]["state"] == "published"
    assert shown["published"]["fingerprint"]
    again = run_json("publish", "food@v2")
    assert again == {"published": shown["published"], "changed": False}
    assert shown["published"]["id"] in run("publish", "food@v2").stdout


def test_snapshot_publishes_and_goes_on_in_a_child(home):
    before = run_json("verify")["verified"]["events"]
    options = ("--name", "v2.0", "--comment", "good", "--child-name", "v3", "--actor", "ci")
    shown = run_json("snapshot", "food", *options)
    published, draft = shown["published"], shown["draft"]
    assert (published["name"], published["description"], published["state"]) == ("v2.0", "good", "published")
    assert (draft["name"], draft["state"], draft["parent"]) == ("v3", "draft", published["id"])
    with framelode.connect(home) as engine:
        assert {header.actor for header in engine.log.headers(gt=before)} == {"ci"}
        engine.close()


def test_snapshot_prints_both_ids(home):
    lines = run("snapshot", "food@v2").stdout.splitlines()
    child, published, _ = run_json("ls", "food")["versions"]
    if published["state"] == "draft":
        child, published = published, child
    assert [published["id"] in lines[0], child["id"] in lines[1]] == [True, True]
    assert child["name"] == "v2"


def test_snapshot_of_a_published_version_is_a_conflict(home):
    assert "is published and cannot be changed" in error_of(run("snapshot", "food@v1", status=5))


def test_draft(home):
    child = run_json("draft", "food", "v3", "--parent", "food@v1", "--comment", "why")["draft"]
    assert (child["name"], child["description"], child["frames"], child["state"]) == ("v3", "why", 3, "draft")
    empty = run_json("draft", "default/food", "bare", "--empty")["draft"]
    assert (empty["frames"], empty["parent"]) == (0, None)
    assert empty["id"] not in run("draft", "food", "third", "--empty").stdout


def test_draft_starts_from_the_current_version(home):
    assert "the current version of food is the draft 'v2'" in error_of(run("draft", "food", "v3", status=2))
    published = run_json("publish", "food@v2")["published"]
    child = run_json("draft", "food", "v3")["draft"]
    assert (child["parent"], child["frames"]) == (published["id"], published["frames"])
    error = error_of(run("draft", "food", "v4", "--empty", "--parent", "food@v1", status=2))
    assert "exclude each other" in error


def test_a_taken_name_is_refused_at_every_door(home):
    v1 = next(row["id"] for row in run_json("ls", "food")["versions"] if row["name"] == "v1")
    for arguments in (
        ("draft", "food", "v1", "--empty"),
        ("snapshot", "food@v2", "--name", "v1"),
        ("snapshot", "food@v2", "--name", "v3", "--child-name", "v1"),
    ):
        assert f"id:{v1}" in error_of(run(*arguments, status=5))


def test_draft_refuses_a_taken_name_and_a_parent_that_can_move(home):
    assert "choose another name" in error_of(run("draft", "food", "v2", "--empty", status=5))
    assert "is a draft: publish it first" in error_of(
        run("draft", "food", "v3", "--parent", "food@v2", status=2)
    )
    run("draft", "nope", "v3", status=4)
    run("draft", "nope", "v3", "--empty", status=4)


# upkeep


def test_verify(home):
    found = run_json("verify")
    assert found["engine"] == str(home)
    checked = found["verified"]
    assert (checked["versions"], checked["fingerprints"], checked["problems"]) == (2, 1, [])
    assert str(checked["events"]) in run("verify").stdout


def test_verify_quick(home):
    found = run_json("verify", "--quick")["verified"]
    whole = run_json("verify")["verified"]
    assert (found["contents"], found["versions"], found["projections"]) == (False, 0, 0)
    assert (found["events"], found["batches"]) == (whole["events"], whole["batches"])
    assert "fingerprints" not in run("verify", "--quick").stdout
    run("verify", "--quick", "--blobs", status=2)


def test_rebuild(home):
    before = run_json("stats", "food@v2", "--against", "food@v1")
    events = run_json("verify")["verified"]["events"]
    done = run_json("rebuild")
    assert (done["engine"], done["events"]) == (str(home), events)
    assert {"catalog", "stats", "history"} <= set(done["projections"])
    assert ", ".join(done["projections"]) in run("rebuild").stdout
    assert run_json("stats", "food@v2", "--against", "food@v1") == before


DERIVED = [
    ("ls",),
    ("ls", "food"),
    ("stats", "food@v2", "--against", "food@v1"),
    ("show", "food@v1"),
    ("log", "food"),
    ("diff", "food@v2", "food@v1"),
    ("verify",),
]


@pytest.mark.parametrize("first", DERIVED, ids=" ".join)
def test_what_is_derived_can_be_deleted(home, first):
    """Whichever command comes first, everything is back and equal, fingerprints included."""
    before = [run(*command, "--json").stdout for command in DERIVED]
    for file in home.glob("projections.db*"):
        file.unlink()
    assert run(*first, "--json").stdout == before[DERIVED.index(first)]
    assert [run(*command, "--json").stdout for command in DERIVED] == before


def test_a_log_with_a_changed_value_is_damaged(home):
    database = sqlite3.connect(home / "log.db")
    triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    (position,) = database.execute("SELECT first_position FROM record_batch WHERE count = 3").fetchone()
    database.execute(
        "UPDATE record_body SET body = zeroblob(length(body)) WHERE first_position = ?", (position,)
    )
    for _, statement in triggers:
        database.execute(statement)
    database.commit()
    database.close()
    assert f"position {position}" in error_of(run("verify", status=3))
    (problem,) = run_json("verify", status=3)["problems"]
    assert f"position {position}" in problem


def test_a_log_that_is_cut_off_is_damaged(home):
    log = home / "log.db"
    os.truncate(log, log.stat().st_size // 2)
    for command in ("ls", "verify"):
        assert "log.db is truncated" in error_of(run(command, status=3))


def test_a_log_that_is_no_database_is_damaged(home):
    (home / "log.db").write_text("something else entirely")
    assert "not a SQLite database" in error_of(run("ls", status=3))


# the demo


def test_demo_in_a_folder_of_its_own(tmp_path):
    done = run("demo", "show")
    assert done.stdout.splitlines()[-1].startswith("Verified: ")
    assert "default/street@v1" in done.stdout
    assert run_json("--engine", "show", "ls")["datasets"][0]["frames"] == 310
    assert "not empty" in error_of(run("demo", "show", status=2))


@pytest.mark.parametrize("keep", [False, True])
def test_demo_removes_its_temporary_folder_unless_told_to_keep_it(keep, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("demo", *(["--keep"] if keep else []))
    made = list(tmp_path.iterdir())
    assert len(made) == keep
    assert all((folder / "log.db").exists() for folder in made)


def test_demo_fails_when_a_result_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(framelode.DatasetVersion, "__len__", lambda _: 299)
    done = run("demo", status=3)
    assert "Verified: the log" not in done.stdout
    kept, error = done.stderr.splitlines()
    assert error == "error: number of frames of 'Current': found 299, expected 300"
    assert Path(kept.removeprefix("kept the engine in ")).is_dir()


# the process


def test_python_m_framelode():
    done = spawn("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"framelode {framelode.__version__}\n", "")


def test_the_status_of_an_error_is_that_of_the_process(home):
    done = spawn("stats", "nope")
    assert (done.returncode, done.stdout) == (4, "")
    assert "'nope'" in error_of(done)


@pytest.mark.parametrize("arguments", [["bogus"], ["ls", "--bogus"], ["publish"], ["import", "voc", "x"]])
def test_wrong_arguments_are_a_usage_error(arguments):
    done = run(*arguments, status=2)
    assert done.stdout == ""
    assert "Usage: " in done.stderr


@pytest.mark.parametrize("command", [["ls"], ["store", "ls"]])
def test_an_option_that_stands_before_the_command(command):
    done = run(*command, "--engine", "shop", status=2)
    assert "--engine must come before the command: framelode --engine" in done.stderr
    assert "No such option" in run(*command, "--enigne", "shop", status=2).stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_the_command_silently(unbuffered, home, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = spawn("ls", capture_output=False, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_a_storage_error(unbuffered, home, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        done = spawn("ls", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 6
    assert "No space left" in error_of(done)


def test_a_warning_is_written_like_an_error(home):
    done = spawn("query", "food", "meta.nothing:1", "--count")
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert re.fullmatch(r"warning: no frame of version '\w+' has 'meta.nothing'[^\n]*\n", done.stderr)


def test_names_are_printed_in_any_encoding(home):
    with framelode.connect(home) as engine:
        framelode.DatasetVersion.create_new_dataset("größe 猫")
        engine.close()
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = spawn("ls", env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout
    assert run_json("ls")["datasets"][1]["name"] == "größe 猫"


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are bytes on Linux")
def test_an_argument_that_is_no_text_is_refused(home):
    done = subprocess.run(
        [*MODULE, "stats", b"caf\xe9"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert "not valid in the encoding" in error_of(done)


INTERRUPTED = """
import signal
from framelode.adapters.cli.main import main
from framelode.adapters.sql.log.log import SqlLog
from framelode.engine.log.batch import FRAMES_SCHEMA

append = SqlLog.append

def append_and_interrupt(self, request, *rest, **named):
    header = append(self, request, *rest, **named)
    if any(batch.schema == FRAMES_SCHEMA for batch in request.batches):
        signal.raise_signal(signal.SIGINT)
    return header

signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
SqlLog.append = append_and_interrupt
main()
"""


def test_an_interrupt_keeps_what_was_recorded_and_running_again_finishes(tmp_path):
    count, recorded = 1_100, 1_000
    folder = big_voc_folder(tmp_path / "voc", count)
    run("init")
    command = ("import", "voc", folder, "--dataset", "big")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1].startswith("interrupted: recorded changes are kept")
    assert run_json("ls")["datasets"][0]["frames"] == recorded
    done = run_json(*command)
    assert (done["added"], done["unchanged"], done["version"]["frames"]) == (
        count - recorded,
        recorded,
        count,
    )
    run("verify")


def big_voc_folder(root, count):
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    image = root / "image"
    image.write_bytes(b"image")
    for number in range(count):
        xml = f"<annotation><filename>{number}.jpg</filename><size><width>9</width><height>9</height></size></annotation>"
        (root / "Annotations" / f"{number}.xml").write_text(xml)
        (root / "JPEGImages" / f"{number}.jpg").hardlink_to(image)
    return root


def test_an_interrupt_anywhere_is_told(home, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(framelode.Engine, "verify", interrupted)
    assert run("verify", status=130).stderr == "interrupted\n"


def test_loading_the_command_line_loads_no_more_than_it_needs():
    heavy = (
        "rich",
        "framelode.adapters.formats.registry",
        "framelode.adapters.cli.demo",
        "pandas",
        "pyarrow",
        "PIL",
        "dask",
    )
    code = (
        f"import framelode.adapters.cli.app, sys; print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout == "[]\n"


def test_parameters_are_read_of_the_command_that_runs(monkeypatch):
    read, get_params = [], typer.main.get_params_from_function
    monkeypatch.setattr(
        typer.main, "get_params_from_function", lambda function: read.append(function) or get_params(function)
    )
    group = typer.main.get_command(app)
    assert len(group.commands) > 30
    assert not [function.__name__ for function in read if function.__module__.endswith(".ls")]
    assert [parameter.name for parameter in group.commands["ls"].params] == [
        "dataset",
        "limit",
        "as_of",
        "json",
    ]
    assert {function.__name__ for function in read if function.__module__.endswith(".ls")} == {"list_all"}


def test_colours_and_bars_are_for_terminals_only(home, monkeypatch, capsys):
    assert "\x1b" not in run("ls").stdout + run("verify").stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with output.progress_bar("{working} [b]\n") as advance:
        advance(1, 2)
    assert "{working} [b]\\n" in capsys.readouterr().err
    assert "\x1b[1m" in run("ls").stdout


# addresses

names = st.text(st.characters(codec="utf-8"), min_size=1)


@given(names, st.none() | names, st.none() | names)
@example("id:ab", None, None)
@example("a", "id:b", None)
@example("%2F", "%", "100%25")
@example("a\n@b/c", "@", "/")
def test_an_address_round_trips(dataset, project, version):
    address = Address(dataset, project, version)
    text = str(address)
    assert text.isprintable()
    assert Address.parse(text) == address


@given(st.text("0123456789abcdef", min_size=1, max_size=32))
def test_an_address_by_id_round_trips(digits):
    address = Address(version_id=digits)
    assert Address.parse(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text):
    try:
        address = Address.parse(text)
    except UsageError:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("food", Address("food")),
        ("food@v1", Address("food", version="v1")),
        ("kitchen/food", Address("food", "kitchen")),
        ("my kitchen/food@1.0 final", Address("food", "my kitchen", "1.0 final")),
        ("a%2Fb@c%40d", Address("a/b", version="c@d")),
        ("50%", Address("50%")),
        ("id:0a1b", Address(version_id="0a1b")),
    ],
)
def test_addresses(text, address):
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@v1",
        "food@",
        "/food",
        "food/",
        "a/b/c",
        "a@b@c",
        "a@b/c",
        "id:",
        "id:x",
        "id:" + "0" * 33,
        "%ff",
    ],
)
def test_what_is_no_address_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is not an address"):
        Address.parse(text)


# the documentation

DOCUMENTED = (ROOT / "docs" / "cli.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENTED, re.MULTILINE | re.DOTALL))


FORMATS = re.compile(rf"^(framelode (?:import|export)) (?:auto|{'|'.join(BUILT_IN)})$")


def section_of(name):
    """Return the title of the section about a command. Those of all formats have one."""
    return FORMATS.sub(r"\1 FORMAT", name)


def commands(command=None, path=("framelode",)):
    """Yield every command with its words, the program itself first."""
    command = command or typer.main.get_command(app)
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands())
RUNNABLE = [
    pytest.param(name, found, id=name) for name, found in COMMANDS.items() if not hasattr(found, "commands")
]


@pytest.mark.parametrize(("name", "command"), RUNNABLE)
def test_every_command_and_option_is_documented(name, command):
    section = SECTIONS[section_of(name)]
    assert " ".join(command.help.split()) in " ".join(section.split())
    for parameter in command.params:
        written = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for word in written:
            assert re.search(rf"^- `{re.escape(word)}\b", section, re.MULTILINE), f"{name} {word}"


def test_every_global_option_is_documented():
    section = SECTIONS["Options of all commands"]
    for parameter in COMMANDS["framelode"].params:
        for word in parameter.opts:
            assert f"- `{word}" in section


def test_nothing_is_documented_that_is_not_there():
    documented = {section_of(name): command for name, command in reversed(COMMANDS.items())}
    for name, section in SECTIONS.items():
        if name.startswith("framelode "):
            known = {word for parameter in documented[name].params for word in parameter.opts}
            assert set(re.findall(r"^- `(--[\w-]+)", section, re.MULTILINE)) <= known


def test_every_exit_status_is_documented():
    kinds = [framelode.FramelodeError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    statuses = {str(kind.exit_status) for kind in kinds} | {"0", "130", "141"}
    assert statuses == set(re.findall(r"^\| (\d+) \|", SECTIONS["Exit statuses"], re.MULTILINE))


@pytest.mark.parametrize(("name", "command"), RUNNABLE)
def test_help_is_one_sentence(name, command):
    assert len(re.findall(r"\.(?!\w)", command.help)) == 1
    assert command.help.endswith(".")
    assert command.help.splitlines()[0] in " ".join(run(*name.split()[1:], "--help").stdout.split())


@pytest.mark.parametrize(("name", "command"), RUNNABLE)
def test_help_of_options_is_printed_whole(name, command):
    """Brackets would be taken for markup and left out."""
    assert [each.help for each in command.params if "[" in (getattr(each, "help", "") or "")] == []
