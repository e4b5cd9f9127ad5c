"""Lifecycle commands, and what eventsourcing sees of the log."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from patience import join

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    IntegrityError,
    InvalidValueError,
    SingleFrame,
    UsageError,
)
from framelode.engine.canonical import encode_canonical
from framelode.engine.datasets.repository import AggregateRepository
from framelode.engine.events import domain as events
from framelode.engine.events import registry
from framelode.engine.events.base import Event, Streams
from framelode.engine.events.registry import decode_event, encode_event
from framelode.engine.log.mapper import EventMapper
from framelode.engine.times import iso_time


def add(engine, version_id, *names):
    engine.version(version_id).add_frames([SingleFrame(id=name, source=f"s3://b/{name}") for name in names])


@pytest.fixture
def version_id(engine):
    DatasetVersion.create_new_dataset("food")
    return DatasetVersion.get_current(dataset_name="food").version_id


class TestCommands:
    def test_a_repeated_command_does_nothing_twice(self, engine):
        first = engine.session.writes.datasets.create_dataset("food", command_id="c1")
        head = engine.log.head().position
        assert engine.session.writes.datasets.create_dataset("food", command_id="c1") == first
        assert engine.log.head().position == head
        with pytest.raises(ConflictError, match="command c1 was recorded for another request"):
            engine.session.writes.datasets.create_dataset("drink", command_id="c1")

    def test_every_command_takes_a_command_id(self, engine, version_id):
        engine.version(version_id).add_frames([SingleFrame(id="a")], refresh_version_stats=False)
        commands, application = engine.session.writes.versions, engine.session.writes.application
        dataset_id = application.version(version_id).dataset_id

        def run_all():
            counts = commands.commit_version(version_id, command_id="commit")
            commands.set_metadata(version_id, {"a": 1}, command_id="metadata")
            child = commands.create_snapshot(version_id, command_id="snapshot")
            side = commands.create_version(dataset_id, "side", parent_id=version_id, command_id="create")
            assert commands.publish_version(side, command_id="publish") is True
            commands.remove_version(side, force=True, command_id="remove")
            return counts, child, side, engine.log.head().position

        assert run_all() == run_all()

    def test_a_name_is_claimed_once_however_many_try(self, engine):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: engine.session.writes.datasets.create_dataset("food"), range(16)))
        assert len(set(made)) == 1
        claims = [header for header in engine.log.headers() if "NameClaimed" in header.topics]
        assert len(claims) == 1

    def test_a_child_cannot_be_made_of_a_version_that_is_being_removed(self, engine, version_id, monkeypatch):
        commands, application = engine.session.writes.versions, engine.session.writes.application
        commands.publish_version(version_id)
        dataset_id = application.version(version_id).dataset_id

        def removed_meanwhile(*_):
            if not application.version(version_id).removed:
                commands.remove_version(version_id, force=True)
            return []

        monkeypatch.setattr(application, "versions_named", removed_meanwhile)

        with pytest.raises(KeyError, match="was removed"):
            commands.create_version(dataset_id, "v2", parent_id=version_id)

    def test_a_parent_of_another_dataset_is_refused(self, engine, version_id):
        engine.session.writes.versions.publish_version(version_id)
        other = engine.session.writes.datasets.create_dataset("other")
        with pytest.raises(UsageError, match="belongs to another dataset"):
            engine.session.writes.versions.create_version(other, "v", parent_id=version_id)

    def test_neither_frames_nor_commits_are_opened_to_load_an_aggregate(
        self, engine, version_id, monkeypatch
    ):
        for number in range(20):
            add(engine, version_id, f"f{number}")
        engine.session.writes.versions.rename_version(version_id, "other")
        opened, bodies = [], engine.log.bodies

        def watched(first_positions):
            opened.extend(first_positions)
            return bodies(first_positions)

        monkeypatch.setattr(engine.log, "bodies", watched)
        aggregates = AggregateRepository(engine.log)
        version = aggregates.version(version_id)
        topics = {header.first_position: header.topics for header in engine.log.headers()}
        assert [topics[position] for position in opened] == [("VersionCreated",), ("VersionRenamed",)]
        head = engine.log.stream_version(version_id)
        assert (version.name, version.version, version.committed_version) == ("other", head, head - 1)
        add(engine, version_id, "g")
        opened.clear()
        assert aggregates.version(version_id).committed_version == engine.log.stream_version(version_id)
        assert opened == []

    def test_a_commit_costs_the_same_after_a_hundred_others(self, engine, version_id, monkeypatch):
        bodies, read = engine.log.bodies, []

        def counted(first_positions):
            read.extend(first_positions)
            return bodies(first_positions)

        monkeypatch.setattr(engine.log, "bodies", counted)
        costs = []
        for number in range(100):
            read.clear()
            add(engine, version_id, str(number))
            costs.append(len(read))
        assert costs[-1] == costs[1]

    def test_an_aggregate_that_was_changed_in_vain_is_as_it_was(self, engine, version_id):
        application = engine.session.writes.application
        dataset_id = application.version(version_id).dataset_id
        dataset, version = application.dataset(dataset_id), application.version(version_id)
        dataset.attach("0" * 32, version_id)
        dataset.tag(["a"])
        version.publish("0" * 64, 0)
        assert application.dataset(dataset_id).parents == {version_id: None}
        assert application.dataset(dataset_id).tags == []
        assert not application.version(version_id).published


UNSTORABLE = (5, 0, 1.5, b"x", True, ["a"], {}, "\ud800", object())
"""Values of arguments that are text; a stored one would make every later reader stop."""


class TestRefusals:
    """What reading would take for damage never gets into the log; the fixture verifies it."""

    @pytest.mark.parametrize("value", UNSTORABLE, ids=lambda value: type(value).__name__)
    def test_text_that_is_none_is_refused_before_it_is_recorded(self, engine, version_id, value):
        version = engine.version(version_id)
        head = engine.log.head()
        calls = [
            ("description", lambda: DatasetVersion.create_new_dataset("drink", description=value)),
            ("description", lambda: DatasetVersion.create_version("side", value, dataset_name="food")),
            ("publish name", lambda: version.create_snapshot(publish_name=value)),
            ("publish comment", lambda: version.create_snapshot(publish_comment=value)),
            ("child name", lambda: version.create_snapshot(child_name=value)),
            ("child comment", lambda: version.create_snapshot(child_comment=value)),
            ("command_id", lambda: version.add_frames([SingleFrame(id="a")], command_id=value)),
            ("command_id", lambda: version.delete_frames(["a"], command_id=value)),
            ("command_id", lambda: engine.session.writes.datasets.create_dataset("drink", command_id=value)),
            ("description", lambda: version.describe(value)),
        ]
        for name, call in calls:
            kind = (
                "a string"
                if name in {"description", "publish comment", "child comment"}
                else "a non-empty string"
            )
            message = f"{name} must be {kind}, not "
            if isinstance(value, str):
                message = f"{name} {value!r} contains a lone surrogate, which cannot be stored"
            with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}"):
                call()
        assert engine.log.head() == head

    def test_a_name_holds_no_nul_for_two_would_be_one(self, engine):
        DatasetVersion.create_new_dataset("c", dataset_project="a")
        for name, project in (("b\0c", "a"), ("c", "a\0b")):
            with pytest.raises(InvalidValueError, match="NUL"):
                DatasetVersion.create_new_dataset(name, dataset_project=project)

    @pytest.mark.parametrize("value", [1.5, None, "now", 2**62])
    def test_a_clock_that_tells_no_time_is_refused(self, tmp_path, value):
        with framelode.connect(tmp_path, clock=lambda: value) as engine:
            with pytest.raises(UsageError, match="the clock must return integer microseconds"):
                DatasetVersion.create_new_dataset("food")
            assert engine.verify().events == 0

    def test_flags_may_be_of_any_kind(self, engine, version_id):
        DatasetVersion.create_new_dataset("food", raise_if_exists=np.bool_(False))
        DatasetVersion.remove_version(version_id=version_id, force=np.bool_(True))

    def test_an_actor_that_is_no_text_is_told_apart(self, engine, monkeypatch):
        with pytest.raises(InvalidValueError, match="actor"), framelode.acting(actor="\ud800"):
            pass
        monkeypatch.setenv("FRAMELODE_ACTOR", "m\udce9")
        DatasetVersion.create_new_dataset("food")
        assert {header.actor for header in engine.log.headers()} == {"m\\udce9"}


class TestEventsourcing:
    def test_notifications_are_the_log(self, engine, version_id):
        add(engine, version_id, "a", "f" * 32)
        engine.version(version_id).delete_frames(["a"])
        notifications = engine.session.writes.application.recorder.select_notifications(start=1, limit=100)
        assert [n.id for n in notifications] == list(range(1, engine.log.head().position + 1))
        frames = [n for n in notifications if n.topic.startswith("Frame")]
        decoded = [engine.session.writes.application.mapper.to_domain_event(n) for n in frames]
        assert [type(event) for event in decoded] == [
            events.FrameAdded,
            events.FrameAdded,
            events.FrameDeleted,
        ]
        assert [event.frame_id for event in decoded] == ["a", "f" * 32, "a"]
        assert decoded[0].record == {"sources": [{"uri": "s3://b/a"}]}
        assert decoded[2].previous == frames[0].id
        section = engine.session.writes.application.notification_log["1,5"]
        assert [item.id for item in section.items] == [1, 2, 3, 4, 5]

    def test_a_subscription_sees_what_comes(self, engine, version_id):
        head = engine.log.head().position
        seen = []
        with engine.session.writes.application.recorder.subscribe(
            gt=head, topics=["FrameAdded"]
        ) as subscription:
            writer = threading.Thread(target=add, args=(engine, version_id, "a", "b"))
            writer.start()
            for notification in subscription:
                seen.append(notification.topic)
                if len(seen) == 2:
                    break
            join(writer)
        assert seen == ["FrameAdded", "FrameAdded"]

    def test_only_our_events_are_stored(self, engine):
        class Foreign:
            originator_id, originator_version = "x", 1

        with pytest.raises(UsageError, match="Foreign is not a framelode event"):
            EventMapper(transcoder=None).to_stored_event(Foreign())


class TestEvents:
    def test_states_of_older_schemas_are_upcast(self, monkeypatch):
        class BoxMoved(Event, frozen=True):
            schema_version: ClassVar[int] = 3
            left: int
            top: int = 0

            @staticmethod
            def upcast_v1_v2(fields):
                return {"left": fields["x"]}

            @staticmethod
            def upcast_v2_v3(fields):
                return fields | {"top": -1}

        monkeypatch.setattr(registry, "STREAMS", (Streams("box", (BoxMoved,)),))
        old = encode_canonical([1, {"x": 7}])
        assert decode_event("BoxMoved", "s", 4, old) == BoxMoved(
            originator_id="s", originator_version=4, left=7, top=-1
        )
        topic, state = encode_event(BoxMoved(originator_id="s", originator_version=4, left=1))
        assert decode_event(topic, "s", 4, state).left == 1

    @pytest.mark.parametrize(
        ("topic", "state", "reason"),
        [
            ("NeverHeardOf", b"", "unknown topic 'NeverHeardOf'"),
            ("VersionRenamed", b"\xc1", "is damaged"),
            ("VersionRenamed", b"\x92\x01\x80", "is damaged"),
        ],
    )
    def test_what_cannot_be_read_is_damage(self, topic, state, reason):
        with pytest.raises(IntegrityError, match=reason):
            decode_event(topic, "s", 1, state)


def test_times_are_exact_to_the_microsecond():
    assert iso_time(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001+00:00"
    assert iso_time(-1) == "1969-12-31T23:59:59.999999+00:00"
