"""The history projection: a row for each batch, found by index, whichever way it was folded."""

from __future__ import annotations

from contextlib import closing

import histories
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.engine.keys import Operation
from framelode.projections import runner as runner_module
from framelode.projections.history.table import History, HistoryQuery
from framelode.projections.runner import Runner


def rows(engine, **filters):
    return list(engine.session.history_page(HistoryQuery(**filters), None, 1000))


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    with framelode.acting("anna", {"run": 1}):
        draft.add_frames([SingleFrame(id=f"{n}") for n in range(4)], refresh_version_stats=False)
        draft.add_frames(
            [SingleFrame(id=f"{n}", source="a") for n in range(2, 7)], refresh_version_stats=False
        )
    draft.delete_frames(["0"])
    return draft


def test_a_row_for_each_batch(engine, draft):
    headers = list(engine.log.headers())
    found = rows(engine)
    assert [(row.first_position, row.count, row.stream_id) for row in found] == [
        (header.first_position, header.count, header.stream_id) for header in headers
    ]
    for row, header in zip(found, headers, strict=True):
        assert (row.actor, row.context, row.recorded_at) == (
            header.actor,
            header.context,
            header.recorded_at,
        )
        assert (tuple(row.topics), row.last_position) == (header.topics, header.last_position)
    frames = [(row.added, row.updated, row.deleted) for row in found if row.is_frames]
    assert frames == [(4, 0, 0), (3, 2, 0), (0, 0, 1)]
    assert {row.version_id for row in found if row.is_frames} == {draft.version_id}
    datasets = [row for row in found if row.dataset_id == row.stream_id]
    assert [row.version_id for row in datasets] == [None]


def test_pages_follow_each_other(engine, draft):
    whole = rows(engine)
    for newest_first in (False, True):
        wanted = HistoryQuery(newest_first=newest_first)
        read, last = [], None
        while page := engine.session.history_page(wanted, last, 2):
            read += page
            last = page[-1].first_position
        assert read == (whole[::-1] if newest_first else whole)


@pytest.mark.parametrize("engine", ["memory"], indirect=True)
@pytest.mark.parametrize("name", ["stream_id", "dataset_id", "actor", "recorded_at"])
def test_rows_are_found_by_index(engine, draft, name):
    filters = {"since_time": 1, "until_time": 2} if name == "recorded_at" else {name: "x"}
    history = engine.session.projection(History)
    query = sa.select(history.batch).where(*history._conditions(HistoryQuery(**filters)))
    engine.catch_up()
    with engine.session.database.read() as connection:
        compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
        explained = f"EXPLAIN QUERY PLAN {compiled}"
        plan = [row[3] for row in connection.exec_driver_sql(explained, tuple(compiled.params.values()))]
    column = "actor_key" if name == "actor" else name
    assert any("USING INDEX" in line and f"({column}" in line for line in plan), plan


def test_a_rebuild_can_be_repeated(engine, draft):
    before = rows(engine)
    for _ in range(3):
        engine.rebuild()
        assert rows(engine) == before


@examples(8, 25)
@given(histories.steps, st.integers(1, 3), st.integers(2, 9))
def test_counts_are_those_of_the_key_rows(history, batch_size, page):
    with pytest.MonkeyPatch.context() as patch, framelode.connect("sqlite://") as engine:
        patch.setattr(runner_module, "_PAGE_EVENTS", page)
        histories.play(engine, history, batch_size)
        with closing(SqliteDatabase(None, durable=False)) as store:
            folded = History(engine.log)
            Runner(engine.log, store, [folded]).catch_up_all()
            with store.read() as connection:
                found = folded.page(connection, HistoryQuery(), None, 1000)
        assert list(found) == rows(engine)
        for row in found:
            if row.is_frames:
                (pages,) = [
                    stream
                    for stream in engine.log.stream_rows(row.stream_id)
                    if stream.first_position == row.first_position
                ]
                counts = [pages.counts()[operation] for operation in Operation]
                assert [row.added, row.updated, row.deleted] == counts
                assert row.dataset_id == engine.session.version_row(row.version_id).dataset_id
    engine.close()
