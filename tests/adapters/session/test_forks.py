"""A forked child uses the engine of its parent, whatever other threads are doing; and nothing keeps a process from ending."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing, contextmanager

import pytest
from patience import PATIENCE, join

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine import forks
from framelode.engine.errors import FramelodeError
from framelode.engine.parallel import ThreadWorkers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(params=["file", "postgres"])
def engine(request, tmp_path):
    """An engine of random ids: a child would make the same ones."""
    url = tmp_path / "engine" if request.param == "file" else request.getfixturevalue("postgres_url")
    with framelode.connect(url, blobs=tmp_path / "blobs") as opened, closing(opened):
        yield opened


@pytest.fixture
def version(engine):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    draft.add_frames([SingleFrame(id=f"f{number}", source=f"{number % 7}.jpg") for number in range(100)])
    return draft


def forked(do):
    """Begin `do` in a child; returns what waits for its end and says whether it went well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            do()
            status = 0
        except BaseException:
            logging.getLogger().exception("in the child")
        finally:
            os._exit(status)

    def ended_well():
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if (found := os.waitpid(child, os.WNOHANG)) != (0, 0):
                return found[1] == 0
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    return ended_well


@contextmanager
def busy(*works):
    """Do each of some works again and again in a thread of its own, which has begun inside the block."""
    stop, failed = threading.Event(), []

    def run(work, begun):
        try:
            while not stop.is_set():
                work()
                begun.set()
        except BaseException as error:
            failed.append(error)
            begun.set()

    begins = [threading.Event() for _ in works]
    threads = [
        threading.Thread(target=run, args=pair, daemon=True) for pair in zip(works, begins, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        for begun in begins:
            assert begun.wait(PATIENCE)
        yield
    finally:
        stop.set()
        join(*threads)
    assert failed == []


def works(kind, engine, version):
    """Return what a busy thread does."""
    numbers = itertools.count()

    def read():
        version.get_single_frame("f1")
        version.get_stats()
        DatasetVersion.get_current(dataset_name="d")

    def write():
        version.add_frames([SingleFrame(id=f"w{next(numbers)}")])

    def iterate():
        assert sum(1 for _ in version) >= 100
        assert sum(1 for _ in engine.at(engine.log.head().position).version(version.version_id)) >= 100

    def follow():
        with engine.session.writes.application.recorder.subscribe() as subscription:
            next(subscription)

    return {
        "readers": (read, read),
        "writers": (write, write),
        "iterators": (iterate, read),
        "subscriptions": (follow, write),
    }[kind]


@pytest.mark.parametrize(
    "forks", [pytest.param(2, id="2"), pytest.param(200, id="200", marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        *(("file", kind) for kind in ("readers", "writers", "iterators", "subscriptions")),
        *(("postgres", kind) for kind in ("writers", "subscriptions")),
        *(pytest.param("postgres", kind, marks=pytest.mark.long) for kind in ("readers", "iterators")),
    ],
    indirect=["engine"],
)
def test_children_read_and_write_beside_busy_threads(engine, version, kind, forks):
    def use(number):
        version.add_frames([SingleFrame(id=f"c{number}")])
        assert version.get_single_frame(f"c{number}").id == f"c{number}"
        assert version.get_stats().total > 100
        assert f"c{number}" in {frame.id for frame in version}
        with engine.session.writes.application.recorder.subscribe() as subscription:
            assert next(subscription).id == 1

    with busy(*works(kind, engine, version)):
        for number in range(forks):
            assert forked(lambda number=number: use(number))()
    assert {f"c{number}" for number in range(forks)} <= {frame.id for frame in version}
    engine.verify()


def test_nobody_gives_way_to_a_fork_that_is_over():
    child = os.fork()
    if not child:
        os._exit(forks.pending.is_set())
    assert not forks.pending.is_set()
    assert os.waitpid(child, 0)[1] == 0


def test_what_a_child_writes_outlives_the_end_of_its_parent(engine, version):
    """SQLite would delete the write-ahead log that a child goes on writing into."""
    reading, writing = os.pipe()
    url = engine.url

    def write():
        version.add_frames([SingleFrame(id="c1")])
        assert os.read(reading, 1)
        version.add_frames([SingleFrame(id="c2")])

    ended_well = forked(write)
    while not any(frame.id == "c1" for frame in version):
        time.sleep(0.01)
    version.add_frames([SingleFrame(id="p1")])
    engine.close()
    os.write(writing, b"x")
    assert ended_well()
    with framelode.connect(url) as again, closing(again):
        assert {"c1", "c2", "p1"} <= {frame.id for frame in again.version(version.version_id)}
        again.verify()


def test_a_transaction_that_is_open_stays_with_the_parent(engine, version):
    def use():
        with pytest.raises(FramelodeError, match=r"connection was lost|when this process was forked"):
            version.add_frames([SingleFrame(id="c")])

    with engine.log.exclusive():
        if "sqlite" in type(engine.log.database).__name__.lower():
            assert forked(use)()
        else:
            forked(engine.log.require_exclusive)()
        version.add_frames([SingleFrame(id="p")])
    assert {frame.id for frame in version} >= {"p"}
    assert len(version) == 101
    engine.verify()


def test_a_block_that_was_entered_before_the_fork_commits_nothing(engine, version):
    def leave():
        with pytest.raises(FramelodeError, match="connection was lost"):
            block.__exit__(None, None, None)

    block = engine.log.database.write()
    block.__enter__()
    assert forked(leave)()
    block.__exit__(None, None, None)
    version.add_frames([SingleFrame(id="p")])
    engine.verify()


def test_loaders_beside_a_logging_thread(engine, version):
    """Worker processes that read by index while a thread of the parent logs what it counts: the shape of a DataLoader."""
    logger = logging.getLogger("loader")
    context = multiprocessing.get_context("fork")
    ids = [frame.id for frame in version]

    def work(asked, answers):
        for index in iter(asked.get, None):
            answers.put((index, version.get_single_frame(ids[index]).id))

    with warnings.catch_warnings(), busy(lambda: logger.warning("%s frames", version.get_stats().total)):
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(3):
            asked, answers = context.Queue(), context.Queue()
            loaders = [context.Process(target=work, args=(asked, answers)) for _ in range(2)]
            for loader in loaders:
                loader.start()
            for index in [*range(100), None, None]:
                asked.put(index)
            loaded = dict(answers.get(timeout=PATIENCE) for _ in range(100))
            join(*loaders)
            assert [loader.exitcode for loader in loaders] == [0, 0]
            assert loaded == dict(enumerate(ids))


def test_what_was_gathered_before_a_fork_is_recorded_once(engine, version):
    with version.get_bulk_context() as bulk:
        bulk.add_frame(SingleFrame(id="gathered"))
        assert forked(bulk.flush)()
        assert len(version) == 100
    assert len(version) == 101
    assert len(version.history("gathered")) == 1


def test_workers_are_started_again():
    workers = ThreadWorkers(2, "test")
    assert workers.map(str, [1, 2, 3]) == ["1", "2", "3"]
    assert forked(lambda: workers.map(str, [1, 2, 3]) == ["1", "2", "3"] or os._exit(2))()
    workers.close()


class TestEnds:
    @pytest.mark.parametrize("wait", ["subscription", "follow"])
    def test_closing_an_engine_ends_who_waits(self, engine, version, wait):
        position = engine.log.head().position
        met = threading.Event()

        def follow():
            waiting = (
                engine.session.writes.application.recorder.subscribe(gt=position - 1)
                if wait == "subscription"
                else engine.session.runner.follow(threading.Event())
            )
            for _ in waiting:
                met.set()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        assert met.wait(PATIENCE)
        engine.close()
        join(thread)

    def test_a_process_ends_that_closes_nothing(self, tmp_path, postgres_url):
        script = """
import sys, framelode
from framelode.engine.parallel import ThreadWorkers
kept = []
for url in sys.argv[1:]:
    engine = framelode.connect(url)
    subscription = engine.session.writes.application.recorder.subscribe()
    print(next(subscription).id)
    workers = ThreadWorkers(2, "test")
    workers.map(str, [1, 2, 3])
    framelode.DatasetVersion.get_current(dataset_name="d").add_frames([framelode.SingleFrame(id="x")])
    kept += [engine, subscription, workers]
"""
        urls = [str(tmp_path / "engine"), postgres_url]
        for url in urls:
            with framelode.connect(url) as engine, closing(engine):
                DatasetVersion.create_new_dataset("d")
        done = subprocess.run(
            [sys.executable, "-c", script, *urls],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "1\n1\n"), done.stderr
