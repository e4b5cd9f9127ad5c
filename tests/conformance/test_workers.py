"""What a log comes to is the same wherever it is folded: in this process, in others, and on a Dask cluster."""

from __future__ import annotations

import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import histories
import msgspec
import pytest
import rich_log
from dask_cluster import local_cluster
from distributed import Client
from hypothesis import given
from projection_tables import rows_by_table
from sizes import examples, sized

import framelode
from framelode.adapters.executors.dask import connected
from framelode.adapters.executors.processes import Processes
from framelode.projections import runner as runner_module
from framelode.projections.verify import verify as check

FEW_EVENTS, MORE_EVENTS = 3, 30
"""In a part of a short log, and of a longer one."""


@pytest.fixture(scope="module")
def workers():
    """Executors by name; both kinds of processes are started once."""
    with (
        local_cluster() as cluster,
        connected(cluster.scheduler_address) as dask,
        Client(cluster, set_as_default=False) as client,
        Processes(2) as processes,
    ):
        yield {"processes": processes, "dask": dask, "dask's own": client.get_executor()}


def cut(patch, events):
    """Let parts be of so many events, so that a short log has many."""
    patch.setattr(runner_module, "_STRETCH_EVENTS", events)
    patch.setattr(check, "_EVENTS_AT_ONCE_ELSEWHERE", events)
    patch.setattr("framelode.projections.tables.blob_references._POSITIONS_OF_A_PART", events)
    patch.setattr("framelode.engine.blobs.scrub._DIGESTS_OF_A_PART", events)


def tables(engine):
    """Return the rows of all projections, by table."""
    return rows_by_table(engine.session.runner.store, engine.session.runner.kept())


def fingerprints(engine):
    return {
        version_id: engine.session.states.fingerprint(version_id).root
        for version_id in engine.session.version_ids()
    }


def looked_at(engine, executor=None):
    """Return what a rebuild, a verification and a scrub come to."""
    engine.rebuild(executor=executor)
    return {
        "tables": tables(engine),
        "fingerprints": fingerprints(engine),
        "verified": msgspec.to_builtins(engine.verify(executor=executor)),
        "chain": msgspec.to_builtins(engine.verify(quick=True, executor=executor)),
        "blobs": engine.referenced_blobs(),
        "scrubbed": scrubbed(engine, executor),
    }


def scrubbed(engine, executor):
    """Return what a scrub found; in which order files are listed says nothing."""
    found = engine.scrub(executor=executor)
    return found.checked, found.size, sorted(found.missing), sorted(found.altered), sorted(found.stray)


@contextmanager
def played(play, *arguments):
    with tempfile.TemporaryDirectory() as folder, closing(framelode.connect(Path(folder))) as engine:
        play(engine, *arguments)
        yield engine


def compare(workers, engine):
    here = looked_at(engine)
    for name, executor in workers.items():
        assert looked_at(engine, executor) == here, name


def test_a_log_of_everything(workers, monkeypatch):
    cut(monkeypatch, MORE_EVENTS)
    with played(rich_log.play) as engine:
        for number in range(10):
            engine.blobs.put(b"%d" % number)
        altered, *_ = (entry.name for entry in engine.blobs.entries())
        Path(engine.blobs.name, altered).write_bytes(b"altered")
        Path(engine.blobs.name, "stray").touch()
        compare(workers, engine)


def test_a_log_in_postgresql(workers, postgres_url, tmp_path, monkeypatch):
    cut(monkeypatch, MORE_EVENTS)
    with closing(framelode.connect(postgres_url, blobs=tmp_path / "blobs")) as engine:
        rich_log.play(engine)
        compare({"dask": workers["dask"]}, engine)


@examples(2, 100)
@given(histories.steps)
def test_random_logs(workers, history):
    with played(histories.play, history) as engine, pytest.MonkeyPatch.context() as patch:
        cut(patch, FEW_EVENTS)
        compare({name: workers[name] for name in sized(("processes",), workers)}, engine)
