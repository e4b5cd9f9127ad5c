"""Every command has an example, which runs where nothing can be written and where nothing is there."""

from __future__ import annotations

import shlex
import shutil

import lake_files
import pytest
import typer
from command_line import run, run_json
from read_only import read_only
from typer.testing import CliRunner

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.cli.app import app
from framelode.adapters.formats.names import BUILT_IN

pytestmark = pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")

WRITES = {
    "config",
    "describe",
    "draft",
    "gc",
    "lake import",
    "lake rm",
    "lake tag",
    "lake untag",
    "lake upload",
    "mv",
    "publish",
    "rebuild",
    "rename",
    "revert",
    "rm",
    "share",
    "snapshot",
    "store rm",
    "store set",
    "tag",
    "import auto",
    "import log",
    "import voc",
    "pin add",
    "pin update",
}
"""Commands that change the engine."""

OF_OTHER_FILES = {f"import {name}" for name in BUILT_IN if name != "voc"}
"""Commands that import what no other example has written; `tests/adapters/formats` runs them."""

WITHOUT_ENGINE = {"init", "demo", "completion", "copy", "import auto", "import voc"} | OF_OTHER_FILES
"""Commands that need no engine, or look at another folder first."""


OF_FOLDERS = {f"one {name}" for name in ("setup", "search", "ls", "load", "history", "status", "tag")}
"""Commands about a folder of sessions, not an engine; `test_cli_one.py` runs them where nothing is there or can be written."""


def commands(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def example(name):
    epilog = COMMANDS[name].epilog
    assert epilog.startswith(f"Example: framelode {name}")
    return shlex.split(epilog.removeprefix("Example: framelode "))


def frame(name):
    made = SingleFrame(id=name, source=f"s3://b/{name}.jpg")
    made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"])
    return made


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "food"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        first = DatasetVersion.get_current(dataset_name="food")
        first.add_frames(map(frame, ["apple", "banana"]))
        first.create_snapshot(publish_name="v1", child_name="v2")
        engine.close()
    run("--engine", folder, "store", "set", "settings", "rate", "1")
    photo = lake_files.picture(folder.parent / "01.jpg", size=(700, 1))
    run("--engine", folder, "lake", "upload", photo, "--tag", "train", "--tag", "reviewed")
    return folder


def execute(arguments):
    """Run a command; whatever goes wrong is one line on stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert bool(errors) is (done.exit_code > 1), (done.exit_code, done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_is_described(name):
    command = COMMANDS[name]
    first = command.help.splitlines()[0]
    assert first.endswith((".", ")."))
    assert example(name)
    for parameter in command.params:
        assert parameter.help, parameter.name


def test_every_example_on_a_folder_that_cannot_be_written(prepared, tmp_path, monkeypatch):
    folder = shutil.copytree(prepared, tmp_path / "food")
    (tmp_path / "labels").write_text("labels")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    run("demo", "--voc", "photos")
    run("--engine", folder, "export", "log", "food.jsonl.zst")
    (tmp_path / "food.jsonl.zst").rename(tmp_path / "kept.jsonl.zst")
    skipped = {"demo", "init", "pin status"} | OF_FOLDERS | OF_OTHER_FILES
    with read_only(folder):
        for name in sorted(COMMANDS.keys() - skipped):
            if name == "import log":
                (tmp_path / "kept.jsonl.zst").replace(tmp_path / "food.jsonl.zst")
            elif name == "export log":
                (tmp_path / "food.jsonl.zst").unlink(missing_ok=True)
            done = execute(["--engine", folder, *example(name)])
            if name in WRITES:
                assert done.exit_code in {2, 4}, (name, done.stderr)
                assert done.exit_code == 4 or "is open read-only" in done.stderr
            elif name != "checkout":
                assert done.exit_code == 0, (name, done.stderr)
                told = [line for line in done.stderr.splitlines() if "is open read-only" in line]
                assert len(told) <= 1
            if name == "import log":
                (tmp_path / "food.jsonl.zst").replace(tmp_path / "kept.jsonl.zst")
    assert not (tmp_path / "dvc.yaml").exists()


def test_every_example_where_no_engine_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FRAMELODE_URL", raising=False)
    for name in COMMANDS.keys() - WITHOUT_ENGINE:
        if name.startswith("pin ") or name in OF_FOLDERS:
            continue
        done = execute(example(name))
        assert done.exit_code == 2, (name, done.stderr)
        assert "framelode init" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_example_on_a_new_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("init")
    changed = {"config", "demo", "init"}
    for name in COMMANDS.keys() - changed:
        execute(example(name))
    assert run_json("verify")["verified"]["problems"] == []


@pytest.mark.parametrize("command", ["rebuild", "revert", "verify", "ls"])
def test_an_interrupt_promises_to_resume_only_what_resumes(prepared, monkeypatch, tmp_path, command):
    folder = shutil.copytree(prepared, tmp_path / "food")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("framelode.adapters.hyperdatasets.address.version_at", interrupt)
    monkeypatch.setattr("framelode.adapters.cli.dataset_views.list_versions", interrupt)
    monkeypatch.setattr(framelode.Engine, "verify", interrupt)
    monkeypatch.setattr(framelode.Engine, "rebuild", interrupt)
    said = run("--engine", folder, *example(command), status=130).stderr
    resumes = command in {"rebuild", "revert"}
    assert said == (
        "interrupted: recorded changes are kept; run the same command again to resume\n"
        if resumes
        else "interrupted\n"
    )
