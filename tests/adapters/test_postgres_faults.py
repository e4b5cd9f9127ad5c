"""Connections and servers that are lost at the worst moment: what was acknowledged is there once, and the engine goes on."""

from __future__ import annotations

import itertools
from contextlib import closing, suppress

import cutting_proxy
import pytest
from cutting_proxy import Cut
from rival_writers import events_of, frames_of

import framelode
from framelode import DatasetVersion
from framelode.adapters.sql import database
from framelode.engine.encoding import FrameEncoder
from framelode.engine.errors import StorageError
from framelode.engine.keys import Operation


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    """Wait between tries as long as before, but try as often."""
    monkeypatch.setattr(database, "_WAITS", (0.001,) * 3)


@pytest.fixture
def direct(postgres_url):
    """An engine that no fault comes upon."""
    with framelode.connect(postgres_url) as opened, closing(opened):
        yield opened
        opened.verify()


@pytest.fixture
def draft(direct):
    DatasetVersion.create_new_dataset("d")
    return DatasetVersion.get_current(dataset_name="d")


@pytest.fixture
def proxy(postgres_url):
    with cutting_proxy.cutting_proxy(postgres_url) as made:
        yield made


@pytest.fixture
def engine(direct, proxy):
    """The same engine, whose connections may be cut."""
    with closing(framelode.connect(proxy.url)) as opened:
        yield opened


def at_turns(kind, _):
    """Whether the server answers a message; between those it only listens."""
    return kind in (cutting_proxy.QUERY, cutting_proxy.SYNC)


EVERYWHERE = pytest.mark.parametrize(
    "counts", [at_turns, pytest.param(lambda *_: True, marks=pytest.mark.long)], ids=["turns", "messages"]
)
CUTS = pytest.mark.parametrize("cut", Cut)


def cut_everywhere(proxy, cut, counts):
    """Yield numbers, each with the connection to be cut at that message, until there was none of that number."""
    for number in itertools.count():
        proxy.arm(cut, number, counts)
        yield number
        if not proxy.has_cut:
            assert number > 3, "it takes more messages than that"
            return


def until_done(act):
    """Act until it succeeds, as somebody who is told to call again would."""
    for _ in range(3):
        with suppress(StorageError):
            return act()
    raise AssertionError("a connection was cut once, and three calls have failed")


def add(engine, version_id, start, stop, **arguments):
    encoder = FrameEncoder(engine.new_id)
    return engine.writer.add(version_id, frames_of("w", start, stop), encoder, **arguments)


class TestCutConnections:
    def test_an_answer_that_was_lost_is_found_by_itself(self, direct, engine, proxy, draft):
        proxy.arm(Cut.AFTER, 0, lambda _, body: b"COMMIT" in body)
        report = add(engine, draft.version_id, 0, 5, batch_size=2)
        assert proxy.has_cut
        assert (report.added, len(draft)) == (5, 5)
        assert direct.log.head().position == report.spans[-1][1]

    @pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.TERMINATE])
    def test_who_has_lost_the_lock_does_not_decide_on(self, direct, engine, proxy, draft, cut):
        digest = "blake3:" + "0" * 64
        engine.commands.condemn_blobs([digest])
        head, deleted = direct.log.head(), []
        proxy.arm(cut, 0, lambda _, body: b"SELECT 1\0" in body)
        with pytest.raises(StorageError, match="postgresql"):
            engine.commands.collect_blobs({digest: head.position}, deleted.append)
        assert proxy.has_cut
        assert (direct.log.head(), deleted) == (head, [])
        assert engine.commands.collect_blobs({digest: head.position}, deleted.append) == [digest]
        assert deleted == [[digest]]

    @CUTS
    @EVERYWHERE
    def test_an_append_is_there_once(self, direct, engine, proxy, draft, cut, counts):
        for number in cut_everywhere(proxy, cut, counts):
            span, command_id = (2 * number, 2 * number + 2), f"c{number}"
            report = until_done(lambda: add(engine, draft.version_id, *span, command_id=command_id))  # noqa: B023
            assert report.added == 2
            assert direct.log.find_append(command_id).last_position == direct.log.head().position
        (found,) = events_of(direct).values()
        assert found == [(key, Operation.ADD) for key in range(2 * number + 2)]

    @CUTS
    @EVERYWHERE
    def test_a_command_is_done_once(self, direct, engine, proxy, cut, counts):
        for number in cut_everywhere(proxy, cut, counts):
            act = lambda: engine.commands.create_dataset(f"d{number}", command_id=f"c{number}")  # noqa: B023
            made = until_done(act)
            assert direct.dataset(f"d{number}").id == made

    @CUTS
    @EVERYWHERE
    def test_a_projection_moves_on_once(self, direct, engine, proxy, draft, cut, counts):
        engine.catch_up()
        for number in cut_everywhere(proxy, cut, counts):
            add(direct, draft.version_id, number, number + 1)
            until_done(engine.catch_up)
            assert until_done(engine.version_totals) == {draft.version_id: number + 1}
            reached = until_done(lambda: engine.runner.position(engine.stats))
            assert reached == direct.log.head().position

    @CUTS
    def test_reads_go_on(self, direct, engine, proxy, draft, cut):
        add(direct, draft.version_id, 0, 5)
        for _ in cut_everywhere(proxy, cut, at_turns):
            version = until_done(lambda: engine.version(draft.version_id))
            assert until_done(lambda: [frame.id for frame in version]) == [f"{key:032x}" for key in range(5)]  # noqa: B023
            assert until_done(engine.log.head) == direct.log.head()
