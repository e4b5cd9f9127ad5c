"""Connections and servers that are lost at the worst moment: what was acknowledged is there once, and the engine goes on."""

from __future__ import annotations

import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import cutting_proxy
import postgres_server
import pytest
from cutting_proxy import Cut
from rival_writers import events_of, frames_of

import framelode
from framelode import DatasetVersion
from framelode.adapters.sql import database
from framelode.adapters.sql.recorder import SqlFactory
from framelode.engine.errors import StorageError
from framelode.engine.keys import Operation
from framelode.engine.writes.encoder import FrameEncoder
from framelode.projections.tables.stats import Stats


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


def at_limits(kind, _):
    """Whether a message begins or ends a transaction, or is a query of the driver's own."""
    return kind == cutting_proxy.QUERY


EVERYWHERE = pytest.mark.parametrize(
    "counts",
    [
        pytest.param(at_limits, id="limits"),
        pytest.param(at_turns, id="turns", marks=pytest.mark.long),
        pytest.param(lambda *_: True, id="messages", marks=pytest.mark.long),
    ],
)
CUTS = pytest.mark.parametrize("cut", Cut)


def cut_everywhere(proxy, cut, counts):
    """Yield numbers, each with the connection to be cut at that message, until there was none of that number."""
    for number in itertools.count():
        proxy.arm(cut, number, counts)
        yield number
        if not proxy.has_cut:
            assert number > 0, "it takes more messages than that"
            return


def until_done(act):
    """Act until it succeeds, as somebody who is told to call again would."""
    for _ in range(3):
        with suppress(StorageError):
            return act()
    raise AssertionError("a connection was cut once, and three calls have failed")


def add(engine, version_id, start, stop, **arguments):
    encoder = FrameEncoder(engine.session.new_id)
    return engine.session.writes.frames.add(version_id, frames_of("w", start, stop), encoder, **arguments)


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
        engine.session.writes.blob_commands.condemn_blobs([digest])
        head, deleted = direct.log.head(), []
        proxy.arm(cut, 0, lambda _, body: b"SELECT 1\0" in body)
        with pytest.raises(StorageError, match="postgresql"):
            engine.session.writes.blob_commands.collect_blobs({digest: head.position}, deleted.append)
        assert proxy.has_cut
        assert (direct.log.head(), deleted) == (head, [])
        assert engine.session.writes.blob_commands.collect_blobs(
            {digest: head.position}, lambda digests: deleted.append(digests) or digests
        ) == [digest]
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
            act = lambda: engine.session.writes.datasets.create_dataset(f"d{number}", command_id=f"c{number}")  # noqa: B023
            made = until_done(act)
            assert direct.dataset(f"d{number}").id == made

    @CUTS
    @EVERYWHERE
    def test_a_projection_moves_on_once(self, direct, engine, proxy, draft, cut, counts):
        engine.catch_up()
        for number in cut_everywhere(proxy, cut, counts):
            add(direct, draft.version_id, number, number + 1)
            until_done(engine.catch_up)
            assert until_done(engine.session.version_totals) == {draft.version_id: number + 1}
            reached = until_done(lambda: engine.session.runner.position(engine.session.projection(Stats)))
            assert reached == direct.log.head().position

    @CUTS
    def test_reads_go_on(self, direct, engine, proxy, draft, cut):
        add(direct, draft.version_id, 0, 5)
        for _ in cut_everywhere(proxy, cut, at_turns):
            version = until_done(lambda: engine.version(draft.version_id))
            assert until_done(lambda: [frame.id for frame in version]) == [f"{key:032x}" for key in range(5)]  # noqa: B023
            assert until_done(engine.log.head) == direct.log.head()


@pytest.fixture(scope="module")
def server():
    with postgres_server.own_server() as started:
        yield started


class TestServers:
    """A server of our own that stops, at once as in a crash or in order, and starts again."""

    @pytest.fixture
    def engine(self, server):
        with (
            postgres_server.Databases(server.url).one() as url,
            framelode.connect(url) as opened,
            closing(opened),
        ):
            yield opened
            opened.verify()

    def test_restarted_under_load(self, engine, server):
        drafts = [make_draft(f"d{number}") for number in range(3)]
        load = Load(engine)
        with ThreadPoolExecutor(len(drafts) + 2) as pool:
            writing = [pool.submit(load.write, draft.version_id) for draft in drafts]
            reading = [pool.submit(load.follow), pool.submit(load.tail)]
            try:
                for how in ("fast", "immediate"):
                    load.await_more(20)
                    server.stop(how)
                    server.start()
                load.await_more(20)
            finally:
                load.stop.set()
            acknowledged = {
                draft.version_id: each.result() for draft, each in zip(drafts, writing, strict=True)
            }
            again_and_again(drafts[0].publish_version)
            for each in reading:
                each.result()
        for version_id, found in events_of(engine).items():
            assert found == [(key, Operation.ADD) for key in range(acknowledged[version_id])]
        # A writer that never had its turn leaves a version without frames, which has no total.
        holding = {version_id: number for version_id, number in acknowledged.items() if number}
        assert engine.session.version_totals() == holding

    def test_down_for_a_while(self, engine, server):
        draft = make_draft("d")
        add(engine, draft.version_id, 0, 5)
        iterator = iter(draft)
        next(iterator)
        server.stop("fast")
        try:
            for _ in range(2):
                for act in (
                    lambda: add(engine, draft.version_id, 5, 6),
                    lambda: len(draft),
                    lambda: draft.get_single_frame(f"{0:032x}"),
                    lambda: engine.session.writes.versions.publish_version(draft.version_id),
                    engine.catch_up,
                    engine.log.head,
                    lambda: framelode.connect(engine.url),
                ):
                    with pytest.raises(
                        StorageError, match=r"postgresql\+psycopg://.*(connection|shutting down)"
                    ):
                        act()
        finally:
            server.start()
        assert len(list(iterator)) == 4
        assert add(engine, draft.version_id, 5, 6).added == 1
        assert len(draft) == draft.get_stats().total == 6
        assert draft.publish_version()


def make_draft(name):
    DatasetVersion.create_new_dataset(name)
    return DatasetVersion.get_current(dataset_name=name)


class Load:
    """Threads that write and read until they are stopped, and call again when they are told to."""

    def __init__(self, engine):
        self._engine = engine
        self.stop = threading.Event()
        self._acknowledged = 0
        self._changed = threading.Condition()

    def await_more(self, number):
        """Return when so many more appends were acknowledged."""
        with self._changed:
            wanted = self._acknowledged + number
            self._changed.wait_for(lambda: self._acknowledged >= wanted)

    def _another(self):
        return again_and_again(lambda: pickle.loads(pickle.dumps(self._engine)))

    def write(self, version_id):
        """Add frames three by three; returns how many were acknowledged."""
        with closing(self._another()) as engine:
            start = 0
            while not self.stop.is_set():
                act = lambda: add(engine, version_id, start, start + 3, command_id=f"{version_id} {start}")  # noqa: B023
                assert again_and_again(act).added == 3
                with self._changed:
                    self._acknowledged += 1
                    self._changed.notify_all()
                start += 3
        return start

    def follow(self):
        """Keep the projections level until the writers were stopped."""
        position = 0
        with closing(self._another()) as engine:
            while not self.stop.is_set():
                with suppress(StorageError):
                    for reached in engine.session.runner.follow(self.stop):
                        assert reached >= position
                        position = reached

    def tail(self):
        """Read every event by subscriptions until a version is published."""
        position, topic = 0, ""
        with closing(self._another()) as engine:
            recorder = SqlFactory(engine.session.sql_log, engine.session.new_id).application_recorder()
            while topic != "VersionPublished":
                with suppress(StorageError), recorder.subscribe(gt=position) as subscription:
                    for notification in subscription:
                        assert notification.id == position + 1
                        position, topic = notification.id, notification.topic
                        if topic == "VersionPublished":
                            break


def again_and_again(act):
    while True:
        with suppress(StorageError):
            return act()
