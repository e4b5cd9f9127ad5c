"""The recorders as a persistence module of eventsourcing: the cases that it ships, and applications that share a log."""

from __future__ import annotations

import zlib
from contextlib import closing
from threading import Event
from time import monotonic
from uuid import UUID

import pytest
import sqlalchemy as sa
from eventsourcing.application import Application
from eventsourcing.cipher import AESCipher
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import InfrastructureFactory, Tracking, TrackingRecorder
from eventsourcing.projection import BaseProjectionRunner, EventSourcedProjectionRunner, ProjectionRunner
from eventsourcing.system import ProcessApplication
from eventsourcing.tests import application as application_cases
from eventsourcing.tests import persistence as persistence_cases
from eventsourcing.tests import projection as projection_cases
from eventsourcing.tests.projection import (
    AggregateEventCountersProjection,
    Counter,
    Counters,
    EventCountersView,
)
from eventsourcing.utils import Environment, get_topic

import framelode
from framelode.adapters.sql import recorder as module
from framelode.adapters.sql.recorder import (
    SqlAggregateRecorder,
    SqlApplicationRecorder,
    SqlFactory,
    SqlProcessRecorder,
    SqlTrackingRecorder,
)
from framelode.engine.errors import IntegrityError, UsageError

WAIT = 30


class CountersView(EventCountersView, SqlTrackingRecorder):
    """A view in tables of its own, in the database of the log."""

    def __init__(self, database, **options):
        super().__init__(database, **options)
        self.table = sa.Table(
            "event_counters",
            sa.MetaData(),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("count", sa.BigInteger, nullable=False),
        )
        with database.write() as connection:
            self.table.create(connection, checkfirst=True)

    def _count(self, name):
        with self.database.read() as connection:
            query = sa.select(self.table.c.count).where(self.table.c.name == name)
            return connection.execute(query).scalar_one_or_none() or 0

    def _increase(self, name, tracking):
        count = self._count(name) + 1
        with self.database.write() as connection:
            connection.execute(self.table.delete().where(self.table.c.name == name))
            connection.execute(self.table.insert(), {"name": name, "count": count})
            # Last: what was done before is rolled back if it was processed already.
            self.write_tracking(connection, tracking)

    def get_created_event_counter(self):
        return self._count("created")

    def get_subsequent_event_counter(self):
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking):
        self._increase("created", tracking)

    def incr_subsequent_event_counter(self, tracking):
        self._increase("subsequent", tracking)


class PatientView(CountersView):
    """A view of which the cases may wait for longer than a second."""

    def wait(self, application_name, notification_id, timeout=WAIT, interrupt=None):
        super().wait(application_name, notification_id, timeout, interrupt)


class HastyView(CountersView):
    """A view of which the cases wait only for what is there, or never will be."""

    def wait(self, application_name, notification_id, timeout=0, interrupt=None):
        super().wait(application_name, notification_id, 0, interrupt)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    """Wait in short steps: those of the library are longer than most cases."""
    wait = TrackingRecorder.wait

    def wait_in_short_steps(self, application_name, notification_id, timeout=1.0, interrupt=None):
        deadline = monotonic() + timeout
        while not self.has_tracking_id(application_name, notification_id) and monotonic() < deadline:
            if (interrupt or Event()).wait(0.005):
                break
        wait(self, application_name, notification_id, 0, interrupt)

    monkeypatch.setattr(TrackingRecorder, "wait", wait_in_short_steps)


def url_of(place):
    return place.full_url if hasattr(place, "full_url") else f"sqlite:///{place}" if place else "sqlite://"


@pytest.fixture(params=["file", "postgres"])
def env(request, place_of):
    return {
        "PERSISTENCE_MODULE": module.__name__,
        "FRAMELODE_LOG": url_of(place_of(request.param)),
    }


def run(base, name, **attributes):
    """Run a method of one of the library's unittest cases."""
    case = type("Case", (base,), {"runTest": lambda self: None, **attributes})()
    case.setUp()
    try:
        getattr(case, name)()
    finally:
        case.tearDown()


def _names_of(base):
    return [name for name in dir(base) if name.startswith("test")]


class TestShippedCases:
    @pytest.mark.parametrize("name", _names_of(persistence_cases.InfrastructureFactoryTestCase))
    def test_factory(self, env, name):
        run(
            persistence_cases.InfrastructureFactoryTestCase,
            name,
            env=Environment("TestCase", env),
            expected_factory_class=lambda self: SqlFactory,
            expected_aggregate_recorder_class=lambda self: SqlAggregateRecorder,
            expected_application_recorder_class=lambda self: SqlApplicationRecorder,
            expected_tracking_recorder_class=lambda self: SqlTrackingRecorder,
            tracking_recorder_subclass=lambda self: CountersView,
            expected_process_recorder_class=lambda self: SqlProcessRecorder,
        )

    def test_view(self, env):
        with closing(InfrastructureFactory.construct(Environment("view", env))) as factory:
            run(
                projection_cases.EventCountersViewTestCase,
                "test",
                construct_event_counters_view=lambda self: factory.tracking_recorder(HastyView),
            )

    @pytest.mark.parametrize("name", _names_of(projection_cases.AggregateEventCountersProjectionTestCase))
    def test_projection(self, env, name):
        view = HastyView if "error" in name else PatientView
        run(projection_cases.AggregateEventCountersProjectionTestCase, name, view_class=view, env=env)

    @pytest.mark.parametrize("name", _names_of(projection_cases.EventSourcedProjectionTestCase))
    def test_event_sourced_projection(self, env, name, monkeypatch):
        # Both applications are on one log. The case waits for a second, which a busy machine may need.
        monkeypatch.setattr(BaseProjectionRunner.wait, "__defaults__", (WAIT,))
        run(projection_cases.EventSourcedProjectionTestCase, name, env=env)

    def test_example_application(self, env, monkeypatch):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        run(
            application_cases.ExampleApplicationTestCase,
            "test_example_application",
            expected_factory_topic=get_topic(SqlFactory),
        )


class Upstream(Application):
    pass


class Other(Application):
    pass


class Follower(ProcessApplication):
    def policy(self, domain_event, processing_event):
        counter = Counter(str(domain_event.originator_id))
        processing_event.collect_events(counter)


class TestOneLog:
    def test_applications_see_their_own_events(self, env):
        with Upstream(env) as one, Other(env) as two:
            first, second = Counter("same"), Counter("same")
            one.save(first)
            second.increment()
            (*_, recording) = two.save(second)
            third = Counter("third")
            one.save(third)
            assert first.id == second.id
            assert [app.repository.get(first.id).count for app in (one, two)] == [0, 1]
            for app, ids in ((one, [first.id, third.id]), (two, [second.id] * 2)):
                notifications = app.recorder.select_notifications(None, 10)
                assert [each.originator_id for each in notifications] == ids
                assert app.recorder.max_notification_id() == notifications[-1].id
            assert recording.notification.id == 3
            assert one.recorder.max_notification_id() == 4
            topics = [get_topic(Counter.Incremented)]
            assert len(one.recorder.select_notifications(None, 10, topics=topics)) == 0
            assert len(two.recorder.select_notifications(None, 10, topics=topics)) == 1
        with Application(env | {"ORIGINATOR_ID_TYPE": "text"}) as unrelated:
            assert unrelated.recorder.max_notification_id() is None

    def test_a_projection_does_not_follow_itself(self, env):
        with EventSourcedProjectionRunner(
            application_class=Upstream, projection_class=Counters, env=env
        ) as runner:
            for _ in range(3):
                (*_, recording) = runner.app.save(Aggregate())
                runner.wait(recording.notification.id, timeout=WAIT)
            assert runner.projection.get_count(Aggregate.Created) == 3
            followed = runner.projection.recorder.max_tracking_id("Upstream")
            assert followed == recording.notification.id
            # What it recorded are its own events alone.
            assert len(runner.app.recorder.select_notifications(None, 100)) == 3
            assert len(runner.projection.recorder.select_notifications(None, 100)) == 4

    def test_followers_have_their_own_tracking(self, env):
        with Upstream(env) as app:
            (recording,) = app.save(Aggregate())
        for name in ("one", "two"):
            projection = type(name, (AggregateEventCountersProjection,), {"name": name})
            with ProjectionRunner(
                application_class=Upstream, projection_class=projection, view_class=CountersView, env=env
            ) as runner:
                runner.wait(recording.notification.id, timeout=WAIT)
        with closing(SqlFactory(env=Environment("two", env))) as factory:
            assert factory.tracking_recorder().max_tracking_id("Upstream") == recording.notification.id
        with closing(SqlFactory(env=Environment("three", env))) as factory:
            assert factory.tracking_recorder().max_tracking_id("Upstream") is None

    def test_names_with_slashes_are_told_apart(self, env):
        events = {}
        for name in ("a", "a/b", "a%2Fb"):
            with closing(SqlFactory(env=Environment(name, env | {"ORIGINATOR_ID_TYPE": "text"}))) as factory:
                recorder = factory.application_recorder()
                recorder.insert_events([module.StoredEvent("x", 1, "topic", name.encode())])
                events[name] = recorder.select_notifications(None, 10)
        assert {name: [each.state for each in found] for name, found in events.items()} == {
            name: [name.encode()] for name in events
        }

    def test_the_engines_log(self, tmp_path, env):
        with framelode.connect(tmp_path / "engine") as engine:
            framelode.DatasetVersion.create_new_dataset("food")
            head = engine.log.head().position
            url = f"sqlite:///{tmp_path / 'engine' / 'log.db'}"
            with Upstream({**env, "FRAMELODE_LOG": url}) as app:
                (recording,) = app.save(Aggregate())
                assert app.recorder.select_notifications(None, 10)[0].id == recording.notification.id
            assert recording.notification.id == engine.log.head().position == head + 1
            engine.verify()
            everything = SqlFactory(engine.log, uuid_ids=True).application_recorder()
            assert len(everything.select_notifications(None, 100)) == head + 1
        engine.close()

    def test_a_relative_path_stays_the_same_file(self, tmp_path, env, monkeypatch):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with Upstream({**env, "FRAMELODE_LOG": "sqlite:///log.db"}) as app:
            app.save(Aggregate())
            monkeypatch.chdir(tmp_path / "elsewhere")
            app.save(Aggregate())
        assert not any((tmp_path / "elsewhere").iterdir())

    def test_events_and_tracking_are_one_transaction(self, env):
        with Upstream(env) as app, Follower(env) as follower:
            (recording,) = app.save(Aggregate())
            event = app.mapper.to_domain_event(recording.notification)
            tracking = Tracking("Upstream", recording.notification.id)
            follower.process_event(event, tracking)
            with pytest.raises(module.IntegrityError):
                follower.process_event(event, tracking)
            assert len(follower.recorder.select_notifications(None, 10)) == 1


class TestEnvironment:
    def test_cipher_and_compressor(self, env):
        secret = env | {"CIPHER_KEY": AESCipher.create_key(16), "COMPRESSOR_TOPIC": "zlib"}
        with Upstream(secret) as app:
            account = Counter("plain text")
            app.save(account)
            assert app.mapper.compressor is zlib
            (stored,) = app.recorder.select_events(account.id)
            assert b"plain text" not in stored.state
        with Upstream(secret) as app:
            assert app.repository.get(account.id).name == "plain text"

    def test_snapshots_are_told_apart(self, env):
        kept = env | {"IS_SNAPSHOTTING_ENABLED": "y"}
        with Upstream(kept) as one, Other(kept) as two:
            for app in (one, two):
                counter = Counter("same")
                app.save(counter)
                app.take_snapshot(counter.id)
                assert len(list(app.snapshots.get(counter.id))) == 1

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"FRAMELODE_LOG": ""}, "set BANK_FRAMELODE_LOG, FRAMELODE_LOG to sqlite:///path"),
            ({"FRAMELODE_LOG": "food/log.db"}, "food/log.db is not the URL of a log: set FRAMELODE_LOG to"),
            ({"FRAMELODE_LOG": "sqlite:///"}, "is not the URL of a log"),
            ({"FRAMELODE_LOG": "sqlite://", "ORIGINATOR_ID_TYPE": "int"}, "must be 'uuid' or 'text'"),
        ],
    )
    def test_what_is_refused(self, given, message):
        with pytest.raises(UsageError, match=message):
            SqlFactory(env=Environment("bank", given))

    @pytest.mark.parametrize("kind", ["APPLICATION", "TRACKING", "PROCESS"])
    def test_topics_of_recorders(self, kind):
        make = f"{kind.lower()}_recorder"
        env = {"FRAMELODE_LOG": "sqlite://", f"{kind}_RECORDER_TOPIC": get_topic(Counter)}
        with closing(SqlFactory(env=env)) as factory:
            with pytest.raises(UsageError, match=f"{kind}_RECORDER_TOPIC must name a subclass of Sql"):
                getattr(factory, make)()
            factory.env[f"{kind}_RECORDER_TOPIC"] = get_topic(
                {"APPLICATION": SqlProcessRecorder, "PROCESS": SqlProcessRecorder}.get(kind, CountersView)
            )
            assert isinstance(getattr(factory, make)(), CountersView | SqlProcessRecorder)

    def test_kinds_of_ids(self, env):
        with Upstream(env) as app:
            (recording,) = app.save(Counter("c"))
            assert isinstance(recording.notification.originator_id, UUID)
        with Upstream(env | {"ORIGINATOR_ID_TYPE": "text"}) as app:
            (found,) = app.recorder.select_notifications(None, 10)
            assert found.originator_id == Counter.create_id("c").hex


class TestReads:
    @pytest.fixture
    def recorder(self):
        with closing(SqlFactory(env={"FRAMELODE_LOG": "sqlite://", "ORIGINATOR_ID_TYPE": "text"})) as factory:
            yield factory.application_recorder()

    def fill(self, recorder, sizes):
        """Record one stream in batches of some sizes, each followed by an event of another."""
        version, other = 0, 0
        for size in sizes:
            events = [
                module.StoredEvent("long", version + n + 1, f"t{(version + n) % 3}", b"s")
                for n in range(size)
            ]
            version, other = version + size, other + 1
            recorder.insert_events(events)
            recorder.insert_events([module.StoredEvent("other", other, "o", b"")])
        return version

    @pytest.mark.parametrize("sizes", [[1] * 90, [3, 1, 50, 2, 200, 1]], ids=["single", "mixed"])
    def test_any_part_of_a_stream(self, recorder, sizes):
        count = self.fill(recorder, sizes)
        whole = recorder.select_events("long")
        assert [each.originator_version for each in whole] == list(range(1, count + 1))
        for gt in (None, 0, 1, 3, count - 1, count, count + 5):
            for lte in (None, 0, 1, 40, count, count + 5):
                wanted = [
                    each
                    for each in whole
                    if each.originator_version > (gt or 0) and (lte is None or each.originator_version <= lte)
                ]
                for limit in (None, 1, 35):
                    assert recorder.select_events("long", gt=gt, lte=lte, limit=limit) == wanted[:limit]
                    found = recorder.select_events("long", gt=gt, lte=lte, limit=limit, desc=True)
                    assert found == wanted[::-1][:limit]
        assert recorder.select_events("missing") == []

    @pytest.mark.parametrize("sizes", [[1] * 90, [3, 1, 50, 2, 200, 1]], ids=["single", "mixed"])
    def test_any_part_of_the_log(self, recorder, sizes):
        self.fill(recorder, sizes)
        whole = recorder.select_notifications(None, 1000)
        last = whole[-1].id
        assert [each.id for each in whole] == list(range(1, last + 1))
        for start in (None, 0, 1, 5, last, last + 5):
            for stop in (None, 1, 60, last + 5):
                for topics in ((), ("t1",), ("o", "t2"), ("missing",)):
                    for inclusive in (True, False):
                        first = (start or 0) + (not inclusive if start else 0)
                        wanted = [
                            each
                            for each in whole
                            if each.id >= first
                            and (stop is None or each.id <= stop)
                            and (not topics or each.topic in topics)
                        ]
                        found = recorder.select_notifications(
                            start, 40, stop, topics, inclusive_of_start=inclusive
                        )
                        assert found == wanted[:40]
        assert recorder.select_notifications(1, 0) == []

    def test_pages_take_one_query_for_many_batches(self, recorder):
        self.fill(recorder, [1] * 500)
        with recorder.database.read() as connection:
            raw = connection.connection.driver_connection
        statements = []
        raw.set_trace_callback(statements.append)
        found = recorder.select_notifications(1, 1000)
        raw.set_trace_callback(None)
        assert (len(found), len(statements)) == (1000, 1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("DELETE FROM record_body WHERE first_position = 3", "record_body misses a batch"),
            ("UPDATE record_body SET body = x'00' WHERE first_position = 3", "does not match its checksum"),
            ("UPDATE record_batch SET topics = '[ ]' WHERE first_position = 3", "its topics are written as"),
            ("UPDATE record_batch SET schema = x'00' WHERE first_position = 3", "is damaged"),
            ("UPDATE record_batch SET count = 2 WHERE first_position = 3", "another number of events"),
        ],
    )
    def test_damage_is_found(self, recorder, change, message):
        self.fill(recorder, [1] * 5)
        with recorder.database.write() as connection:
            for (name,) in connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            connection.exec_driver_sql(change)
        with pytest.raises(IntegrityError, match=message):
            recorder.select_notifications(1, 100)
        with pytest.raises(IntegrityError, match=message):
            recorder.select_events("long")
