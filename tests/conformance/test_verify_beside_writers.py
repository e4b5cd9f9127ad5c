"""`verify` finds nothing wrong with a sound engine, however others write to it meanwhile."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import pytest
import restless
from forked import FORKED

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.sql.log import reads as log_reads
from framelode.engine.writes.encoder import FrameEncoder
from framelode.projections import pages
from framelode.projections.projection import Projection
from framelode.projections.states import snapshots
from framelode.projections.verify import chain
from framelode.projections.verify import states as check_states
from framelode.projections.verify import stretch as examine
from framelode.projections.verify import verify as check


@pytest.fixture(params=["file", "postgres"])
def url(request, tmp_path):
    return tmp_path / "engine" if request.param == "file" else request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(url):
    with closing(framelode.connect(url)) as opened, opened:
        DatasetVersion.create_new_dataset("d", tags=["t"])
        draft().add_frames([SingleFrame(id=f"{n:032x}", width=n) for n in range(20)])
        yield opened


def draft(name="d"):
    return DatasetVersion.get_current(dataset_name=name)


class Others:
    """Another process, as it were: it adds a frame, and brings the projections level."""

    def __init__(self, url):
        self.url, self.times = url, 0

    def write(self):
        self.times += 1
        with closing(framelode.connect(self.url)) as other, other:
            draft().add_frames([SingleFrame(id=f"other {self.times}")], command_id=f"other {self.times}")
            DatasetVersion.create_new_dataset(f"other {self.times}")
            other.catch_up()

    def append(self, version):
        """Add a frame, and leave the projections as they are."""
        self.times += 1
        with closing(framelode.connect(self.url)) as other:
            frames = [SingleFrame(id=f"other {self.times}")]
            other.session.writes.frames.add(
                version.version_id, iter(frames), FrameEncoder(other.session.new_id)
            )


@pytest.fixture
def others(engine, url):
    return Others(url)


def at_each(monkeypatch, owner, name, stop):
    """Stop before each call of a function, and do something."""
    function = getattr(owner, name)

    def stopped(*arguments, **options):
        stop(*arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, stopped)


def test_tables_are_compared_at_one_position(engine, others, monkeypatch):
    at_each(monkeypatch, Projection, "rows", lambda *_: others.write() if others.times < 6 else None)
    kept = len(engine.session.runner.kept())
    assert engine.verify().projections == kept
    assert others.times == 6
    monkeypatch.undo()
    engine.verify()


def test_projections_that_never_catch_up_with_the_log(engine, others, monkeypatch):
    version = draft()
    for owner, name in ((type(engine.session.runner), "catch_up_all"), (check, "_differences")):
        at_each(monkeypatch, owner, name, lambda *_: others.append(version))
    engine.verify()
    assert others.times > len(engine.session.runner.kept())


def test_tables_that_a_rebuild_replaces_meanwhile(engine, others, url, monkeypatch):
    """A rebuild waits for the tables, or has replaced them before they are read."""
    rebuilt = []

    def rebuild(*_):
        if not rebuilt:
            rebuilt.append(True)
            others.write()
            with closing(framelode.connect(url)) as other:
                other.rebuild()

    at_each(monkeypatch, type(engine.session.runner), "snapshot", rebuild)
    engine.verify()
    assert rebuilt


def test_an_append_that_comes_between_two_pages_of_batches(engine, others, monkeypatch):
    batches, appends = len(list(engine.log.headers())), len(list(engine.log.appends()))
    assert appends < batches
    monkeypatch.setattr(log_reads, "PAGE_ROWS", batches)
    monkeypatch.setattr(examine, "cut_pages", partial(pages.cut_pages, page_events=1))
    taken = []
    at_each(
        monkeypatch,
        chain.ChainWalk,
        "take",
        lambda *_: taken.append(True) or (len(taken) == 2 and others.write()),
    )
    assert engine.verify().batches > batches


def test_a_state_in_memory_that_another_thread_advances(engine, monkeypatch):
    version, calls = draft(), []
    engine.session.states.current(version.version_id)

    def advance(_):
        calls.append(True)
        if len(calls) == 2:
            # The first is of the fresh fold, the second of the state in memory.
            version.add_frames([SingleFrame(id="meanwhile")])

    at_each(monkeypatch, check_states, "state_digest", advance)
    engine.verify()
    assert len(calls) == 2


def test_a_snapshot_that_is_replaced_by_a_newer_one(engine, monkeypatch):
    monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)
    version = draft()
    engine.session.states.read(version.version_id)
    assert engine.session.snapshots.positions()
    fold = check_states.fold_versions

    def replaced(*arguments):
        for folded in fold(*arguments):
            if not folded.complete:
                version.add_frames([SingleFrame(id=f"later {n}") for n in range(40)])
                engine.session.states.read(version.version_id)
                assert engine.session.snapshots.positions()[version.version_id] > folded.last_position
            yield folded

    monkeypatch.setattr(check_states, "fold_versions", replaced)
    engine.verify()
    monkeypatch.undo()
    assert engine.verify().snapshots == 1


WRITERS, RUNS = 3, 300


@pytest.mark.long
def test_many_times_beside_real_writers(url):
    with closing(framelode.connect(url)):
        pass
    stop = FORKED.Event()
    writers = [FORKED.Process(target=restless.write, args=(url, stop, number)) for number in range(WRITERS)]
    writers.append(FORKED.Process(target=restless.rebuild, args=(url, stop)))
    for writer in writers:
        writer.start()
    positions = set()
    try:
        with closing(framelode.connect(url)) as engine:
            for run in range(RUNS):
                engine.verify(quick=run % 10 == 9)
                positions.add(engine.log.head().position)
                assert all(writer.is_alive() for writer in writers)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(positions) > RUNS // 2
    assert [writer.exitcode for writer in writers] == [0] * len(writers)
