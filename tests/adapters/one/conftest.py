"""Small folders with ALF files, and parameters that are not those of the user."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from framelode.adapters.one.alf.cache import load_table

SESSIONS = ("lab/Subjects/mouse/2021-02-05/001", "lab/Subjects/mouse/2021-02-06/002", "other/2020-01-01/001")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A home folder without parameters."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr("framelode.adapters.one.params.CACHE_DIR_DEFAULT", str(folder / "Downloads" / "ONE"))
    return folder


@pytest.fixture
def tree(tmp_path):
    """Three sessions; the first has trials, a wheel and two probes."""
    root = tmp_path / "data"
    first, second, third = (root / path for path in SESSIONS)
    for folder in (first / "alf/probe00", first / "alf/probe01", second / "alf", third):
        folder.mkdir(parents=True)
    for name in ("choice", "intervals_bpod"):
        np.save(first / "alf" / f"_ibl_trials.{name}.npy", np.arange(4.0))
    for name in ("position", "velocity"):
        np.save(first / "alf" / f"_ibl_wheel.{name}.npy", np.arange(6.0))
    for probe in ("probe00", "probe01"):
        np.save(first / "alf" / probe / "spikes.times.npy", np.arange(5.0))
        np.save(first / "alf" / probe / "spikes.depths.npy", np.arange(5.0))
    np.save(second / "alf" / "_ibl_trials.choice.npy", np.arange(3.0))
    (third / "x.settings.json").write_text(json.dumps({"a": 1}))
    (first / "notes.txt").write_text("no dataset")
    return root


@pytest.fixture(scope="session")
def ibl(tmp_path_factory):
    """The folder that two old tables of the International Brain Laboratory describe, with empty files."""
    if "FRAMELODE_TEST_ONE" not in os.environ:
        pytest.skip("FRAMELODE_TEST_ONE names no folder of tables")
    root = tmp_path_factory.mktemp("ibl")
    for name in ("sessions", "datasets"):
        shutil.copyfile(Path(os.environ["FRAMELODE_TEST_ONE"], f"{name}.pqt"), root / f"{name}.pqt")
    table = load_table(root / "datasets.pqt")[0]
    for session, path in zip(table["session_path"], table["rel_path"], strict=True):
        file = root / session / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root
