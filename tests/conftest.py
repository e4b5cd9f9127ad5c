"""What all tests share: engines with a fixed clock and ids, and no deadline that a busy machine could miss."""

from __future__ import annotations

import itertools
import os

import postgres_server
import pytest
from hypothesis import HealthCheck, settings

import framelode
from framelode.adapters import connection

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


class Ticks:
    """A clock that moves by one second at each look, and ids that count."""

    def __init__(self, start=1_700_000_000_000_000):
        self._times = itertools.count(start, 1_000_000)
        self._ids = itertools.count(1)

    def clock(self):
        return next(self._times)

    def new_id(self):
        return f"{next(self._ids):032x}"


@pytest.fixture(autouse=True)
def _no_engine_from_outside(monkeypatch):
    monkeypatch.delenv("FRAMELODE_URL", raising=False)
    monkeypatch.setenv("FRAMELODE_ACTOR", "tester")


@pytest.fixture(autouse=True)
def _no_engine_left_behind():
    yield
    while connection._process_engine is not None:
        left = connection._process_engine
        left.close()
        if connection._process_engine is left:
            connection._process_engine = None


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture(params=["memory", "file"])
def engine(request, tmp_path, ticks):
    """An engine in memory and on files, current inside the test, its log verified at the end."""
    url = "sqlite://" if request.param == "memory" else tmp_path / "engine"
    with framelode.connect(url, clock=ticks.clock, new_id=ticks.new_id) as opened:
        yield opened
        opened.verify()
        opened.close()


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
