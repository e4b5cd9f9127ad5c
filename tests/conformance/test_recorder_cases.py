"""The cases that eventsourcing ships for recorders, on every database and both kinds of ids."""

from __future__ import annotations

from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from framelode.adapters.sql.log.log import SqlLog
from framelode.adapters.sql.open import open_database
from framelode.adapters.sql.recorder import SqlFactory

WHERE = [
    ("memory", "uuid"),
    ("file", "uuid"),
    ("file", "str"),
    ("postgres", "uuid"),
    *(pytest.param((place, "str"), marks=pytest.mark.long) for place in ("memory", "postgres")),
]
"""Databases and kinds of ids, which no database sees."""


class _Recorders:
    """Makes recorders for a case; filled in by the parametrised fixture."""

    @pytest.fixture(autouse=True, params=WHERE, ids="-".join)
    def _place(self, request, place_of):
        place, self.ids = request.param
        self.log = SqlLog(open_database(place_of(place)), lambda: 0, lambda: uuid4().hex)
        self.factory = SqlFactory(self.log, lambda: uuid4().hex, uuid_ids=self.ids == "uuid")
        yield
        self.log.close()

    def new_id(self):
        return uuid4() if self.ids == "uuid" else f"stream {uuid4()}"


def _case(base, make, tests):
    """Turn one of the library's unittest cases into a pytest class over all places and ids."""

    class Case(base):
        def runTest(self):
            """Never run: the methods are called one by one."""

        def create_recorder(self):
            return make(self.outer.factory)

        def new_originator_id(self):
            return self.outer.new_id()

    class Tests(_Recorders):
        @pytest.mark.parametrize("name", tests)
        def test_case(self, name):
            case = Case()
            case.outer = self
            getattr(case, name)()

    return Tests


TestAggregateRecorder = _case(
    AggregateRecorderTestCase,
    lambda f: f.aggregate_recorder(),
    ["test_insert_and_select", "test_performance"],
)
TestSnapshotRecorder = _case(
    AggregateRecorderTestCase,
    lambda f: f.aggregate_recorder("snapshots"),
    ["test_insert_and_select", "test_performance"],
)
TestApplicationRecorder = _case(
    ApplicationRecorderTestCase,
    lambda f: f.application_recorder(),
    [
        "test_insert_select",
        "test_performance",
        "test_concurrent_no_conflicts",
        "test_concurrent_throughput",
        "optional_test_insert_subscribe",
    ],
)
TestTrackingRecorder = _case(
    TrackingRecorderTestCase, lambda f: f.tracking_recorder(), ["test_insert_tracking", "test_wait"]
)
TestProcessRecorder = _case(
    ProcessRecorderTestCase,
    lambda f: f.process_recorder(),
    [
        "test_insert_select",
        "test_has_tracking_id",
        "test_raises_when_lower_inserted_later",
        "test_performance",
    ],
)
TestNonInterleaving = _case(
    NonInterleavingNotificationIDsBaseCase, lambda f: f.application_recorder(), ["test"]
)


def test_every_shipped_case_is_run():
    """A case that the library adds is noticed here."""
    for base, tests in (
        (AggregateRecorderTestCase, TestAggregateRecorder),
        (ApplicationRecorderTestCase, TestApplicationRecorder),
        (TrackingRecorderTestCase, TestTrackingRecorder),
        (ProcessRecorderTestCase, TestProcessRecorder),
        (NonInterleavingNotificationIDsBaseCase, TestNonInterleaving),
    ):
        shipped = {name for name in dir(base) if name.startswith(("test", "optional_test"))}
        (mark,) = tests.test_case.pytestmark
        assert shipped == set(mark.args[1])


def test_a_call_with_several_originators_opens_one_batch_per_run(tmp_path):
    log = SqlLog(open_database(tmp_path / "log.db"), lambda: 0, lambda: uuid4().hex)
    recorder = SqlFactory(log, lambda: uuid4().hex).application_recorder()
    events = [StoredEvent(stream, version, "t", b"s") for stream in "ab" for version in (1, 2, 3)]
    assert recorder.insert_events(events) == [1, 2, 3, 4, 5, 6]
    assert [(h.stream_id, h.first_position, h.count) for h in log.headers()] == [("a", 1, 3), ("b", 4, 3)]
    log.close()
