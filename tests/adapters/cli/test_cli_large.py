"""Commands on an engine of 200,000 frames: each answers within a second of processor time, or shows its progress."""

from __future__ import annotations

import shutil
import time

import pytest
from command_line import run
from rich.progress import Progress

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


@pytest.mark.parametrize(
    "command",
    [
        "ls street",
        "frames street",
        "frames street --label bus",
        "frames street --source s3://b/nothing*",
        "stats street@v2 --against street@v1",
        "stats street --as-of 150000",
        "show street {frame}",
        "show street {short}",
        "status",
        "config",
        "log",
        "log --graph",
        "history street -n 5",
        "history street {short}",
        "blame street {short}",
        "diff street@v1 street@v2 --names -n 5",
        "tag street checked",
        "rm street {short} --yes",
        "revert street --as-of {past}",
        "snapshot street --name v2 --child-name v3",
        "checkpoint export",
        "export log.jsonl.zst",
        "verify",
        "verify --quick",
        "rebuild",
    ],
)
def test_a_command(prepared, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(prepared, tmp_path / ".framelode")
    shown = []
    update = Progress.update
    monkeypatch.setattr(
        Progress, "update", lambda *given, **more: (shown.append(more), update(*given, **more))[1]
    )
    names = {"frame": frame_id(FRAMES - 1), "short": frame_id(FRAMES - 1)[:12], "past": FRAMES + 20}
    run("config")  # what every command does first is loaded
    start = time.process_time()
    run(*command.format(**names).split())
    taken = time.process_time() - start
    assert taken < SECONDS or shown, f"{command}: {taken:.2f} s of processor time without progress"
