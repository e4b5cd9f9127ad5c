"""What all tests share: engines with a fixed clock and ids, and no deadline that a busy machine could miss."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import postgres_server
import pytest
from hypothesis import HealthCheck, settings

import framelode
from framelode.adapters.session import current
from framelode.adapters.sql.urls import postgres_schema

# To compile all modules again, in this process and in each that a test starts, is a third of the time of a run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Until all tests are collected nearly everything stays.
gc.disable()

_ALWAYS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _ALWAYS, max_examples=30, derandomize=True, database=None)
settings.register_profile("long", _ALWAYS)
settings.load_profile("default")


class Ticks:
    """A clock that moves by one second at each look, and ids that count."""

    def __init__(self, start=1_700_000_000_000_000):
        self._times = itertools.count(start, 1_000_000)
        self._ids = itertools.count(1)

    def clock(self):
        return next(self._times)

    def move(self, seconds, step=1_000_000):
        """Move on by some seconds, and from then on by so many microseconds at each look."""
        self._times = itertools.count(next(self._times) + seconds * 1_000_000, step)

    def new_id(self):
        return f"{next(self._ids):032x}"


@pytest.fixture(autouse=True)
def _no_engine_from_outside(monkeypatch):
    monkeypatch.delenv("FRAMELODE_URL", raising=False)
    monkeypatch.setenv("FRAMELODE_ACTOR", "tester")


@pytest.fixture(autouse=True)
def _no_engine_left_behind(request):
    if "tmp_path" in request.fixturenames:
        request.getfixturevalue("tmp_path")  # is removed after this fixture has closed what is in it
    yield
    closed = None
    # One that a fixture of a module entered stays the current one.
    while (left := current.connected_session()) is not closed and left is not None:
        left.close()
        closed = left
    if filesystem := sys.modules.get("framelode.adapters.integrations.filesystem"):
        # fsspec keeps each, and each its engine, until the process ends.
        for kept in filesystem.FramelodeFileSystem._cache.values():
            if kept._opened is not None:
                kept._opened.close()
        filesystem.FramelodeFileSystem.clear_instance_cache()


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture(scope="session")
def new_ticks():
    """Makes clocks and sources of ids that all tell the same."""
    return Ticks


ON_POSTGRES = {
    "test_hyperdatasets": ("TestStatistics",),
    "test_datalake": ("TestFinding",),
    "test_forks": (),
    "test_pins_on_engines": (),
    "test_stored_views": ("TestStoredViews",),
}
"""Modules, or classes of them, whose engine is one on files and in PostgreSQL in every run.

All others have one on files by default, and each of the three in the long form: the layers below have tests of
their own for each database.
"""

LONG_FILES = {
    "test_benchmarks",
    "test_concurrent_writers",
    "test_docs",
    "test_executors",
    "test_forks",
    "test_frames",
    "test_hostile_lake",
    "test_killed_rebuild",
    "test_pin_interchange",
    "test_to_torch",
    "test_typing",
    "test_workers",
}
"""Files of few but long tests. They come first, so that at the end no process waits for another."""


def pytest_collection_finish():
    """Spare the garbage collector what was collected: millions of objects that all stay."""
    gc.collect()
    gc.freeze()
    # A test makes some thousand objects that stay until its end.
    gc.set_threshold(5000)
    gc.enable()


def pytest_configure(config):
    if config.option.markexpr == "long":
        settings.load_profile("long")
    elif "TMPDIR" not in os.environ and _keeps_files_in_memory(Path("/dev/shm")):
        os.environ["TMPDIR"] = "/dev/shm"
        tempfile.tempdir = None


def _keeps_files_in_memory(folder):
    """Whether the files of a run fit into a folder in memory: the disk would be waited for a thousand times."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return False
    its = os.statvfs(folder)
    return its.f_bavail * its.f_frsize > 2 * 2**30 and not its.f_flag & os.ST_NOEXEC


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file in one process: what they share is made once. Files come in the order of the tests."""
    config.option.loadscopereorder = False
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


class _Backwards(pytest.Dir):
    """A folder of tests, the last file first."""

    def collect(self):
        return reversed(list(super().collect()))


def pytest_collect_directory(path, parent):
    """Let every other process read the tests backwards: each compiles a half, and takes over that of the other."""
    worker = getattr(parent.config, "workerinput", {"workerid": "gw0"})["workerid"]
    return _Backwards.from_parent(parent, path=path) if int(worker.removeprefix("gw")) % 2 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem not in LONG_FILES, -sizes[item.path], item.path))
    everything = config.option.markexpr == "long"
    for item in items:
        if _is_of_long_form(item) or (everything and _does_more(item)):
            item.add_marker(pytest.mark.long)


def _is_of_long_form(item):
    """Whether its engine is one that the default run leaves out; a test may say itself on which it runs."""
    place = item.callspec.params.get("engine") if hasattr(item, "callspec") else None
    if place not in {"memory", "postgres"} or any(
        mark.args[0] == "engine" for mark in item.iter_markers("parametrize")
    ):
        return False
    classes = ON_POSTGRES.get(item.path.stem)
    return (
        place == "memory"
        or classes is None
        or (bool(classes) and (item.cls and item.cls.__name__) not in classes)
    )


def _does_more(item):
    """Whether it does more in the long form."""
    return item.get_closest_marker("sized") is not None or getattr(item.obj, "is_hypothesis_test", False)


@pytest.fixture
def require_whole():
    """What is required of an engine when its test ends."""
    return lambda engine: engine.verify()


@pytest.fixture(params=["memory", "file", "postgres"])
def engine(request, tmp_path, ticks, require_whole):
    """An engine in memory, on files and in PostgreSQL, current inside the test, whole at its end."""
    places = {"memory": lambda: "sqlite://", "file": lambda: tmp_path / "engine"}
    url = places.get(request.param, lambda: request.getfixturevalue("postgres_url"))()
    blobs = {"blobs": tmp_path / "blobs"} if request.param == "postgres" else {}
    with framelode.connect(url, clock=ticks.clock, new_id=ticks.new_id, **blobs) as opened:
        yield opened
        require_whole(opened)
        opened.close()


@pytest.fixture
def draft(engine):
    """A version that can be written to, of the dataset ``food``."""
    framelode.DatasetVersion.create_new_dataset("food")
    return framelode.DatasetVersion.get_current(dataset_name="food")


@pytest.fixture(scope="session")
def postgres_databases(request):
    """Databases on the PostgreSQL server of FRAMELODE_TEST_POSTGRES, else on one that this run has for all its processes."""
    url = os.environ.get("FRAMELODE_TEST_POSTGRES")
    if not url and hasattr(request.config, "workerinput"):
        url = postgres_server.shared_server(os.getppid(), request.config.workerinput["testrunuid"])
    databases = postgres_server.Databases(
        url or postgres_server.shared_server(os.getpid(), f"run-{os.getpid()}")
    )
    yield databases
    if os.environ.get("FRAMELODE_TEST_POSTGRES"):
        databases.drop()


@pytest.fixture
def postgres_url(postgres_databases):
    """The URL of an empty PostgreSQL database."""
    with postgres_databases.one() as url:
        yield url


@pytest.fixture
def place_of(request, tmp_path):
    """Where a database is, by its kind: memory, file or postgres."""

    def place(kind):
        if kind == "postgres":
            return postgres_schema(request.getfixturevalue("postgres_url"))
        return tmp_path / "log.db" if kind == "file" else None

    return place
