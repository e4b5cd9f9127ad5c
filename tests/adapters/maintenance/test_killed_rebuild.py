"""Kill -9 at any statement of a rebuild, of its swap, and of a catch-up: the next command works and is right."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context

import pytest
import rich_log
import sqlalchemy as sa
from projection_tables import rows_by_table
from sqlalchemy import event

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import StorageError
from framelode.projections import runner as runner_module


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    with closing(framelode.connect(folder)) as engine:
        rich_log.play(engine)
        engine.catch_up()
    return folder


@pytest.fixture(scope="module")
def before(rich):
    with closing(framelode.connect(rich)) as engine:
        return tables(engine)


def tables(engine):
    """Return all tables of the projections' database that hold what was folded."""
    return rows_by_table(engine.session.runner.store, engine.session.runner.projections)


def leftovers(engine):
    with engine.session.runner.store.read() as connection:
        return [name for name in sa.inspect(connection).get_table_names() if name.endswith("_rebuild")]


def statements_of(folder, work, kill_at=None):
    """Do some work in another process, which is killed before a statement, and return how many there were."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            runner_module._PAGE_EVENTS = 16
            with closing(framelode.connect(folder)) as engine:
                done = []

                def count(*_):
                    if len(done) == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    done.append(1)

                event.listen(engine.session.runner.store._engine, "before_cursor_execute", count)
                work(engine)
                os.write(writing, str(len(done)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    counted = os.read(reading, 20)
    os.close(reading)
    if kill_at is not None:
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
    return int(counted or 0)


def rebuild(engine):
    engine.rebuild()


def catch_up(engine):
    engine.catch_up()


WORK = {"rebuild": rebuild, "catch up": catch_up}


def kill_at_each(rich, before, tmp_path, name, chosen):
    start = tmp_path / "start"
    shutil.copytree(rich, start)
    if name == "catch up":
        (start / "projections.db").unlink()
    count = statements_of(shutil.copytree(start, tmp_path / "counted"), WORK[name])
    assert count > 60
    for at in chosen(count):
        folder = tmp_path / str(at)
        shutil.copytree(start, folder)
        statements_of(folder, WORK[name], at)
        with closing(framelode.connect(folder)) as engine:
            engine.catch_up()
            assert tables(engine) == before, f"killed at statement {at} of {count}"
            if at % 5 == 0:
                engine.verify()
                engine.rebuild()
                assert tables(engine) == before
                assert leftovers(engine) == []
        shutil.rmtree(folder)


def some(count):
    """Statements of the swap, which comes last, and a few before it."""
    return [*range(0, count - 25, 160), *range(count - 25, count, 5)]


@pytest.mark.parametrize("name", WORK)
def test_killed_at_some_statements(rich, before, tmp_path, name):
    kill_at_each(rich, before, tmp_path, name, some if name == "rebuild" else lambda n: range(0, n, 80))


@pytest.mark.long
@pytest.mark.parametrize("name", WORK)
def test_killed_at_every_statement(rich, before, tmp_path, name):
    kill_at_each(rich, before, tmp_path, name, range)


def test_killed_and_written_to_before_the_next_rebuild(rich, tmp_path):
    folder = shutil.copytree(rich, tmp_path / "engine")
    count = statements_of(shutil.copytree(rich, tmp_path / "counted"), rebuild)
    statements_of(folder, rebuild, count // 2)
    with closing(framelode.connect(folder)) as engine:
        DatasetVersion.get_current(dataset_name="meals").add_frames([SingleFrame(id="later")])
        engine.catch_up()
        now = tables(engine)
        assert leftovers(engine)
        engine.rebuild()
        assert tables(engine) == now
        assert leftovers(engine) == []
        engine.verify()


def test_the_swap_leaves_nobody_behind(rich, tmp_path, monkeypatch):
    """What others had caught up with while a rebuild was folding is in the tables that it swaps in."""
    folder = shutil.copytree(rich, tmp_path / "engine")
    with closing(framelode.connect(folder)) as engine, closing(framelode.connect(folder)) as other:
        swap = engine.session.runner._swap

        def write_first(*arguments):
            with other:
                DatasetVersion.get_current(dataset_name="meals").add_frames([SingleFrame(id="meanwhile")])
                other.catch_up()
            return swap(*arguments)

        monkeypatch.setattr(engine.session.runner, "_swap", write_first)
        expected = other.log.head().position
        engine.rebuild()
        assert other.log.head().position > expected
        for projection in other.session.runner.projections:
            assert other.session.runner.position(projection) == other.log.head().position
        other.verify()


def test_two_rebuilds_at_once(rich, before, tmp_path, monkeypatch):
    folder = shutil.copytree(rich, tmp_path / "engine")
    monkeypatch.setattr(runner_module, "_PAGE_EVENTS", 16)
    with closing(framelode.connect(folder)) as one, closing(framelode.connect(folder)) as other:
        told = []

        def interfere(done, total):
            told.append(done)
            if len(told) == 2:
                other.rebuild()

        one.rebuild(interfere)
        assert tables(one) == tables(other) == before
        assert leftovers(one) == []


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies(rich, before, tmp_path):
    folder = shutil.copytree(rich, tmp_path / "engine")
    with closing(framelode.connect(folder)) as engine:
        with (
            ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=die) as pool,
            pytest.raises(StorageError, match="call again"),
        ):
            engine.rebuild(executor=pool)
        assert tables(engine) == before
        engine.rebuild()
        assert tables(engine) == before
