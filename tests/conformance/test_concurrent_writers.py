"""Many processes write to one log: nothing is lost, doubled or put in another order, whoever reads meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import rival_writers

import framelode
from framelode import DatasetVersion
from framelode.adapters.sql.recorder import SqlFactory
from framelode.engine.keys import Operation

FEW = (3, 60, 5)
"""Writers, events of each, and events of an append."""


def few_or(*many):
    """Run a test with few writers, and with many in the long form."""
    name = f"{many[0]}x{many[1]}"
    return pytest.mark.parametrize(
        ("writers", "events", "size"),
        [pytest.param(*FEW, id="few"), pytest.param(*many, id=name, marks=pytest.mark.long)],
    )


@pytest.fixture(params=["file", "postgres"])
def url(request, tmp_path):
    return tmp_path / "engine" if request.param == "file" else request.getfixturevalue("postgres_url")


@pytest.fixture
def engine(url):
    with framelode.connect(url) as opened, closing(opened):
        yield opened
        opened.verify()


def new_draft(name):
    DatasetVersion.create_new_dataset(name)
    return DatasetVersion.get_current(dataset_name=name)


def write(pool, engine, versions, spans, size):
    """Let writers add frames to versions, each numbers of its own span."""
    return [
        pool.submit(rival_writers.write, engine.url, version.version_id, writer, *span, size)
        for writer, (version, span) in enumerate(zip(versions, spans, strict=True))
    ]


@few_or(8, 20_000, 50)
def test_on_datasets_of_their_own_while_others_follow(engine, url, writers, events, size):
    drafts = [new_draft(f"d{number}") for number in range(writers)]
    end = engine.log.head().position + writers * events
    readers = [by_subscription, by_paging, by_projections]
    with rival_writers.rivals(writers) as pool, ThreadPoolExecutor(len(readers)) as threads:
        reading = [threads.submit(read, url, end, writers * events) for read in readers]
        writing = write(pool, engine, drafts, [(0, events)] * writers, size)
        assert [each.result() for each in writing] == [({"added": events, "updated": 0}, True)] * writers
        for each in reading:
            each.result()
    found = rival_writers.events_of(engine)
    assert engine.log.head().position == end
    for number, draft in enumerate(drafts):
        assert found[draft.version_id] == [(key, Operation.ADD) for key in range(events)]
        assert draft.get_stats().total == len(draft) == events
        assert draft.get_single_frame(f"{events - 1:032x}").metadata == {"by": number}


def by_subscription(url, end, events):
    """Follow the log by a subscription: each position once and in order."""
    with closing(framelode.connect(url)) as engine:
        recorder = SqlFactory(engine.session.sql_log, engine.session.new_id).application_recorder()
        with recorder.subscribe(gt=0) as subscription:
            for expected, notification in enumerate(subscription, 1):
                assert notification.id == expected
                if expected == end:
                    return


def by_paging(url, end, events):
    """Ask for what comes after the last position seen, again and again."""
    with closing(framelode.connect(url)) as engine:
        position = 0
        while position < end:
            for header in engine.log.headers(gt=position):
                assert header.first_position == position + 1
                position = header.last_position
        assert position == end


def by_projections(url, end, events):
    """Keep the projections level with the log."""
    with closing(framelode.connect(url)) as engine:
        stop, before = threading.Event(), -1
        for position in engine.session.runner.follow(stop):
            assert before < position <= end
            before = position
            if position == end:
                stop.set()
        assert sum(engine.session.version_totals().values()) == events


@few_or(8, 2000, 20)
def test_on_one_draft_with_ids_of_their_own(engine, writers, events, size):
    draft = new_draft("one")
    spans = [(writer * events, (writer + 1) * events) for writer in range(writers)]
    with rival_writers.rivals(writers) as pool:
        writing = write(pool, engine, [draft] * writers, spans, size)
        assert [each.result() for each in writing] == [({"added": events, "updated": 0}, True)] * writers
    (found,) = rival_writers.events_of(engine).values()
    for start, stop in spans:
        assert [each for each in found if start <= each[0] < stop] == [
            (key, Operation.ADD) for key in range(start, stop)
        ]
    assert len(draft) == len(found) == writers * events
    assert Counter(frame.metadata["by"] for frame in draft) == dict.fromkeys(range(writers), events)


@few_or(8, 1000, 20)
def test_on_one_draft_with_the_same_ids(engine, writers, events, size):
    draft = new_draft("one")
    with rival_writers.rivals(writers) as pool:
        writing = write(pool, engine, [draft] * writers, [(0, events)] * writers, size)
        reports = [each.result() for each in writing]
    assert all(is_whole and sum(counts.values()) == events for counts, is_whole in reports)
    assert sum(counts["added"] for counts, _ in reports) == len(draft) == events
    (found,) = rival_writers.events_of(engine).values()
    assert len(found) == writers * events
    for key in range(events):
        assert [kind for number, kind in found if number == key] == [
            Operation.ADD,
            *[Operation.UPDATE] * (writers - 1),
        ]
    for frame_id in (f"{0:032x}", f"{events - 1:032x}"):
        changes = list(draft.history(frame_id))
        assert sorted(change.after["meta"]["by"] for change in changes) == list(range(writers))
        assert [change.before for change in changes] == [None, *(change.after for change in changes[:-1])]
        assert changes[-1].after["meta"] == draft.get_single_frame(frame_id).metadata


@pytest.mark.parametrize(("writers", "rounds"), [(3, 1), pytest.param(8, 20, marks=pytest.mark.long)])
def test_nothing_slips_in_after_the_publish(engine, writers, rounds):
    with rival_writers.rivals(writers) as pool:
        for number in range(rounds):
            draft = new_draft(f"d{number}")
            spans = [(writer << 32, None) for writer in range(writers)]
            writing = write(pool, engine, [draft] * writers, spans, 5)
            while len(draft) < 50:
                assert [each.result() for each in writing if each.done()] == []
            draft.publish_version()
            position = engine.log.stream_version(draft.version_id)
            reports = [each.result() for each in writing]
            assert not any(is_whole for _, is_whole in reports)
            assert engine.log.stream_version(draft.version_id) == position
            acknowledged = sum(counts.get("added", 0) for counts, _ in reports)
            assert acknowledged == len(draft) == len(rival_writers.events_of(engine)[draft.version_id])
