"""Commands on an engine of 200,000 frames: each takes less than a second of processor time, or shows its progress."""

from __future__ import annotations

import os
import pty
import resource
import shutil
import subprocess
import sys

import pytest
from command_line import run

import framelode
from framelode import DatasetVersion

pytestmark = pytest.mark.long

FRAMES = 200_000
SECONDS = 1.0


def frame_id(number):
    """Return an id that looks random: the multiplier is odd, so no two are equal."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def wires(start, number):
    for at in range(start, start + number):
        labels = [("car", "bus", "person")[at % 3]]
        rois = [{"label": labels, "poly": [1, 2, 30, 2, 30, 40, 1, 40]}]
        yield {
            "id": frame_id(at),
            "sources": [{"uri": f"s3://b/{at:07}.jpg", "width": 640, "height": 480}],
            "rois": rois,
        }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "engine"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("street")
        first = DatasetVersion.get_current(dataset_name="street")
        first.add_dicts(wires(0, FRAMES))
        first.create_snapshot(publish_name="v1", child_name="v2").add_dicts(wires(FRAMES, FRAMES // 100))
        engine.close()
    run("--engine", folder, "verify", "--quick")
    return folder


def on_a_terminal(*arguments, folder):
    """Run a command as a process; returns its exit status, its seconds of processor time, and what it printed."""
    ours, theirs = pty.openpty()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-m", "framelode", *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "PYTHONDONTWRITEBYTECODE": ""},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    status = process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return status, taken, printed.decode()


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # all processes have closed the terminal
        return b""


@pytest.fixture(scope="module", autouse=True)
def compiled(prepared):
    """The first process compiles the modules, as an installation does."""
    on_a_terminal("--engine", str(prepared), "status", folder=prepared)


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "ls",
        "ls street",
        "frames street",
        "frames street --json",
        "frames street --label bus",
        "frames street --source s3://b/nothing*",
        "stats street",
        "stats street@v2 --against street@v1",
        "stats street --as-of 150000",
        "show street",
        "show street {frame}",
        "show street {short}",
        "status",
        "config",
        "log",
        "log --all",
        "log --graph",
        "history -n 5",
        "history street -n 5",
        "history street --reverse -n 5",
        "history street --kind deleted",
        "history street {short}",
        "blame street {short}",
        "diff street@v1 street@v2 --names -n 5",
        "diff street@v1 street@v2 --frames --json",
        "rename street road",
        "mv street town",
        "tag street checked",
        "describe street checked",
        "rm street {short} --yes",
        "rm street@v2 --yes",
        "rm street --force --yes",
        "revert street --as-of {past}",
        "publish street",
        "snapshot street --name v2 --child-name v3",
        "store ls",
        "store set s k 1",
        "pin ls",
        "pin log",
        "checkpoint export",
        "copy .framelode copied",
        "export log.jsonl.zst",
        "export street.jsonl.zst --dataset street",
        "verify",
        "verify --quick",
        "rebuild",
        "gc",
        "gc --delete",
        "share",
        "scrub",
        "completion bash",
        "init",
        "init new",
    ],
)
def test_a_command(prepared, tmp_path, command):
    shutil.copytree(prepared, tmp_path / ".framelode")
    names = {"frame": frame_id(FRAMES - 1), "short": frame_id(FRAMES - 1)[:12], "past": FRAMES + 20}
    status, taken, printed = on_a_terminal(*command.format(**names).split(), folder=tmp_path)
    assert status == 0, printed
    shows_progress = "\x1b[?25l" in printed  # a bar hides the cursor
    assert taken < SECONDS or shows_progress, f"{command}: {taken:.2f} s of processor time without progress"


@pytest.mark.parametrize("command", ["history", "history street", "history street --json"])
def test_a_long_listing_is_printed_as_it_is_read(prepared, command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "framelode", *command.split()]
    with subprocess.Popen(command, cwd=prepared, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode != 0  # it was not at its end
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
