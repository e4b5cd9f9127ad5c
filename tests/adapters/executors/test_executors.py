"""Workers that die, schedulers that are not there, interrupts, and logs that workers do not find."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest
import rich_log
import worker_parts
from command_line import run, run_json
from dask_cluster import local_cluster, worker_pids
from distributed import Client
from distributed.threadpoolexecutor import ThreadPoolExecutor as DaskThreads
from patience import PATIENCE
from projection_tables import rows_by_table

import framelode
from framelode.adapters.executors import dask as cluster_module
from framelode.adapters.executors.dask import DaskExecutor, connected
from framelode.adapters.executors.processes import Processes
from framelode.adapters.executors.resolve import wrap_executor
from framelode.engine.errors import IntegrityError, StorageError, UsageError
from framelode.engine.log.worker_log import require_read, worker_log
from framelode.engine.parallel import ordered_map
from framelode.projections import runner as runner_module
from framelode.projections.verify import verify as check

PARTS = 8


@pytest.fixture(scope="module")
def scheduler():
    with local_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def dask(scheduler):
    with connected(scheduler.scheduler_address) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def processes():
    with Processes(2) as pool:
        yield pool


@pytest.fixture(params=["processes", "dask"])
def workers(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    with closing(framelode.connect(folder)) as engine:
        rich_log.play(engine)
        engine.catch_up()
    return folder


@pytest.fixture
def folder(rich, tmp_path):
    return shutil.copytree(rich, tmp_path / "engine")


@pytest.fixture
def engine(folder, monkeypatch):
    monkeypatch.setattr(runner_module, "_STRETCH_EVENTS", PARTS)
    monkeypatch.setattr(check, "_EVENTS_AT_ONCE_ELSEWHERE", PARTS)
    with closing(framelode.connect(folder)) as engine:
        yield engine


def tables(engine):
    return rows_by_table(engine.session.runner.store, engine.session.runner.projections)


def pids_of(workers):
    """Return the process ids of workers, which are all there."""
    if isinstance(workers, DaskExecutor):
        return worker_pids(workers)
    workers.submit(worker_parts.double, 1).result()
    return list(workers._pool._processes)


@contextmanager
def allowed_failures(workers, number):
    """Let a scheduler give a part up that has ended so many workers and one more."""
    if not isinstance(workers, DaskExecutor):
        yield
        return

    def swap(dask_scheduler, number):
        before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, number
        return before

    before = workers._client.run_on_scheduler(swap, number=number)
    yield
    workers._client.run_on_scheduler(swap, number=before)


class Killer:
    """Kills a worker when some work says for the first time how far it has come."""

    def __init__(self, workers):
        self.workers = workers
        self.killed = None

    def __call__(self, done, total):
        if self.killed is None:
            self.killed = pids_of(self.workers)[0]
            os.kill(self.killed, signal.SIGKILL)


class TestParts:
    def test_results_come_in_order(self, workers):
        numbers = range(100)
        assert list(ordered_map(workers, worker_parts.double, ((n,) for n in numbers))) == [
            2 * n for n in numbers
        ]

    def test_more_is_done_ahead_where_there_are_more_workers(self):
        handed = []

        class Many(ThreadPoolExecutor):
            slots = 40

            def submit(self, *arguments):
                handed.append(arguments)
                return super().submit(*arguments)

        with Many(1) as pool:
            next(ordered_map(pool, worker_parts.double, ((n,) for n in range(1000))))
        assert 40 < len(handed) < 1000

    def test_parts_whose_worker_died_are_done_again(self, workers, tmp_path):
        work = partial(worker_parts.end_once, tmp_path)
        assert list(ordered_map(workers, work, ((n,) for n in range(30)))) == list(range(30))
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_part_that_ends_every_worker_is_given_up(self, workers):
        # Four workers of a cluster otherwise, and starting each takes a while.
        with allowed_failures(workers, 0), pytest.raises(StorageError, match="memory"):
            list(ordered_map(workers, worker_parts.end, [(1,)]))
        assert list(ordered_map(workers, worker_parts.double, [(1,)])) == [2]

    def test_a_pool_that_nobody_renews(self):
        pool = ProcessPoolExecutor(1, get_context("forkserver"))
        with pool, pytest.raises(StorageError, match="new executor"):
            list(ordered_map(pool, worker_parts.end, [(1,)]))

    def test_errors_of_the_work_come_through(self, workers):
        with pytest.raises(ValueError, match="refused 1"):
            list(ordered_map(workers, worker_parts.refuse, [(1,)]))

    def test_equal_parts_are_done_each_time(self, dask, tmp_path):
        mark = tmp_path / "mark"
        work = partial(Path.exists, mark)
        first = dask.submit(work)
        assert first.result() is False
        mark.touch()
        assert dask.submit(work).result() is True


class TestKilledWorkers:
    def test_a_rebuild(self, engine, workers):
        before = tables(engine)
        kill = Killer(workers)
        engine.rebuild(kill, workers)
        assert kill.killed is not None
        assert tables(engine) == before

    def test_a_verification(self, engine, workers):
        expected = engine.verify()
        kill = Killer(workers)
        assert engine.verify(kill, executor=workers) == expected
        assert kill.killed is not None

    def test_no_worker_is_left(self, engine, scheduler, monkeypatch):
        before = tables(engine)
        monkeypatch.setattr(cluster_module, "_LOOK_SECONDS", 0.05)
        with Client(scheduler, set_as_default=False) as client:
            cluster = DaskExecutor(client, patience=0.1)
            scheduler.scale(0)
            client.sync(client._wait_for_workers, 0)
            with pytest.raises(StorageError, match="has had no worker"):
                engine.rebuild(executor=cluster)
            assert tables(engine) == before
            scheduler.scale(1)
            client.wait_for_workers(1)
            engine.rebuild(executor=cluster)
        assert tables(engine) == before

    def test_workers_end_with_who_started_them(self, tmp_path):
        mark = tmp_path / "mark"
        script = f"""
import sys
sys.path.insert(0, {str(Path(worker_parts.__file__).parent)!r})
import worker_parts
from framelode.adapters.executors.processes import Processes
if __name__ == "__main__":
    Processes(1).submit(worker_parts.wait_for_ever, {str(mark)!r}).result()
"""
        (tmp_path / "script.py").write_text(script)
        with subprocess.Popen([sys.executable, tmp_path / "script.py"], stderr=subprocess.DEVNULL) as parent:
            worker = int(until(lambda: mark.exists() and mark.read_text()))
            parent.kill()
        until(lambda: not is_running(worker))


def until(found):
    """Wait for something that comes, or fail."""
    for _ in range(6000):
        if value := found():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come in a minute")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestInterrupts:
    def test_what_was_handed_over_is_cancelled(self, engine, dask):
        before = tables(engine)

        def tasks():
            return set(dask._client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))

        known = tasks()

        def interrupt(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.rebuild(interrupt, dask)
        assert tables(engine) == before
        until(lambda: tasks() <= known)
        engine.rebuild(executor=dask)
        assert tables(engine) == before

    @pytest.mark.parametrize("option", ["--on", "--workers"])
    def test_on_the_command_line(self, folder, scheduler, option, tmp_path):
        with closing(framelode.connect(folder)) as engine:
            before = tables(engine)
        value = scheduler.scheduler_address if option == "--on" else "2"
        mark = tmp_path / "mark"
        script = f"""
import signal, sys
sys.path.insert(0, {str(Path(worker_parts.__file__).parent)!r})
import worker_parts
from functools import partial
from framelode.projections import runner
from framelode.engine.parallel import ordered_map
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def fold(executor, *_):
        yield from ordered_map(executor, worker_parts.wait_until_dropped, [({str(mark)!r},)])
    import framelode.projections.stretches
    framelode.projections.stretches.fold_stretches = fold
    from framelode.adapters.cli.main import main
    main()
"""
        (tmp_path / "script.py").write_text(script)
        command = [sys.executable, tmp_path / "script.py", "--engine", folder, "rebuild", option, value]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            until(mark.exists)
            process.send_signal(signal.SIGINT)
            mark.unlink()
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert said.startswith("interrupted")
        assert "Traceback" not in said
        with closing(framelode.connect(folder)) as engine:
            assert tables(engine) == before


class TestReachingAScheduler:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.5)

    def reach(self, address):
        with connected(address):
            raise AssertionError("connected")

    @pytest.fixture
    def _at_once(self, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.05)

    @pytest.mark.usefixtures("_at_once")
    def test_nobody_listens(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
            with pytest.raises(StorageError, match="cannot be reached"):
                self.reach(address)
            done = run("--engine", folder, "rebuild", "--on", address, status=6)
        assert f"the Dask scheduler {address} cannot be reached" in done.stderr

    @pytest.mark.usefixtures("_at_once")
    def test_somebody_who_says_nothing(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            with pytest.raises(StorageError, match="no answer within"):
                self.reach(f"tcp://127.0.0.1:{silent.getsockname()[1]}")

    @pytest.mark.parametrize("address", ["", "scheduler", "nonsense://x:1", "tcp://127.0.0.1:x"])
    def test_no_address(self, address):
        with pytest.raises(UsageError, match="is not the address of a Dask scheduler"):
            self.reach(address)

    def test_a_worker_is_no_scheduler(self, dask):
        address = next(iter(dask._client.nthreads()))
        with pytest.raises(UsageError, match="is not a Dask scheduler but a worker"):
            self.reach(address)

    def test_without_the_extra(self, monkeypatch, folder):
        monkeypatch.setitem(sys.modules, "distributed", None)
        done = run("--engine", folder, "scrub", "--on", "tcp://127.0.0.1:1", status=2)
        assert "pip install 'framelode[dask]'" in done.stderr

    def test_a_scheduler_that_goes_away(self, engine):
        before = tables(engine)
        with local_cluster(1) as cluster, connected(cluster.scheduler_address) as dask:

            def close(done, total):
                cluster.close()

            with pytest.raises(StorageError, match="does not respond"):
                engine.rebuild(close, dask)
        assert tables(engine) == before

    def test_another_release(self, dask, monkeypatch):
        monkeypatch.setattr(cluster_module, "_release", lambda: "0.0.0")
        with pytest.raises(UsageError, match="install the same release"):
            dask.submit(worker_parts.double, 1).result()


class TestFindingTheLog:
    def test_an_empty_log(self, workers, tmp_path):
        with closing(framelode.connect(tmp_path / "empty")) as engine:
            engine.rebuild(executor=workers)
            assert engine.verify(executor=workers).events == 0
            assert engine.scrub(executor=workers).is_sound

    def test_a_log_in_memory(self, workers):
        with closing(framelode.connect("sqlite://")) as engine, pytest.raises(UsageError, match="in memory"):
            rich_log.play(engine)
            engine.rebuild(executor=workers)

    def test_one_that_workers_do_not_see(self, engine, workers, tmp_path):
        shared = worker_log(engine.log)
        shutil.move(engine.session.location.folder / "log.db", tmp_path / "hidden.db")
        with pytest.raises(
            UsageError, match=r"a worker on .* cannot open the log: .*log.db does not exist.*share"
        ):
            list(ordered_map(workers, partial(worker_parts.position_of, shared), [()]))
        assert not (engine.session.location.folder / "log.db").exists()

    def test_another_one(self, engine, workers):
        shared = msgspec.structs.replace(worker_log(engine.log), uuid="0" * 32)
        with pytest.raises(UsageError, match="finds another log in .*log.db"):
            list(ordered_map(workers, partial(worker_parts.position_of, shared), [()]))

    def test_an_older_copy(self, engine, workers):
        head = engine.log.head().position
        shared = msgspec.structs.replace(worker_log(engine.log), position=head + 1)
        with pytest.raises(UsageError, match=f"it ends at position {head}, not {head + 1} or later"):
            list(ordered_map(workers, partial(worker_parts.position_of, shared), [()]))

    def test_a_copy_that_went_its_own_way(self, engine):
        head = engine.log.head()
        require_read(engine.log, head.position, head.digest)
        with pytest.raises(UsageError, match=f"another digest at position {head.position}"):
            require_read(engine.log, head.position, bytes(32))

    def test_blobs_that_workers_do_not_see(self, folder, processes):
        with closing(framelode.connect(folder, blobs="memory://here")) as engine:
            engine.blobs.put(b"content")
            with pytest.raises(UsageError, match="a worker cannot find blob"):
                engine.scrub(executor=processes)

    def test_a_damaged_log(self, engine, workers):
        with engine.log.database.write() as connection:
            for name in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS record_body_no_{name}")
            connection.exec_driver_sql(DAMAGE)
        found = [problems(engine, executor) for executor in (None, workers)]
        assert found[0] == found[1] != ()


DAMAGE = """UPDATE record_body SET body = zeroblob(length(body))
WHERE first_position = (SELECT max(first_position) / 2 FROM record_body)"""


def problems(engine, executor):
    with pytest.raises(IntegrityError) as raised:
        engine.verify(executor=executor)
    return raised.value.problems


def test_an_executor_of_dask_without_a_client_is_refused():
    with DaskThreads(1) as pool, pytest.raises(UsageError, match="has no Dask client"):
        wrap_executor(pool)


class TestCommands:
    @pytest.mark.parametrize("command", ["rebuild", "verify", "scrub"])
    def test_on_workers(self, folder, scheduler, command):
        plain = run_json("--engine", folder, command, status=3 if command == "scrub" else 0)
        for options in (("--workers", 2), ("--on", scheduler.scheduler_address)):
            status = 3 if command == "scrub" else 0
            assert run_json("--engine", folder, command, *options, status=status) == plain

    def test_not_both(self, folder):
        done = run("--engine", folder, "verify", "--workers", 2, "--on", "tcp://x:1", status=2)
        assert "exclude each other" in done.stderr

    def test_no_workers(self, folder):
        done = run("--engine", folder, "verify", "--workers", 0, status=2)
        assert "an integer between 1 and 1,000, not 0" in done.stderr
