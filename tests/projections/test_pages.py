"""Pages of the log, also of one whose tables are damaged."""

from __future__ import annotations

import pytest

from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import IntegrityError
from framelode.engine.events.domain import DatasetCreated
from framelode.engine.log.batch import EVENTS_SCHEMA
from framelode.projections.pages import cut_pages


@pytest.fixture
def headers(engine):
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")
    frames = [SingleFrame(source=f"s3://b/{number}.jpg") for number in range(30)]
    draft.add_frames(frames, batch_size=1, refresh_version_stats=False)
    return list(engine.log.headers())


def opened(engine, headers):
    return [
        (position, block.raw)
        for page in cut_pages(engine.log, headers)
        for header in page.frame_batches()
        for position, block in page.blocks(header)
    ]


def test_batches_out_of_order_are_opened_all_the_same(engine, headers):
    """A damaged table gives them so; the chain tells of it."""
    assert sorted(opened(engine, headers[::-1])) == opened(engine, headers)


def test_a_batch_that_comes_twice_is_opened_twice(engine, headers):
    twice = [headers[-1], *headers]
    assert opened(engine, twice) == [*opened(engine, headers[-1:]), *opened(engine, headers)]


def test_a_missing_body_is_told_with_its_position_though_another_comes_twice(engine, headers):
    last = headers[-1].first_position
    with pytest.raises(IntegrityError) as error:
        list(engine.log.bodies([last, last, last + 1]))
    assert error.value.position == last + 1


class TestEvents:
    """Lifecycle events are decoded from bodies that are read once, a few together."""

    @pytest.fixture
    def read(self, engine, monkeypatch):
        """The positions of the bodies that were read, of each statement."""
        read = []
        bodies = engine.log.bodies
        monkeypatch.setattr(engine.log, "bodies", lambda some: read.append(list(some)) or bodies(some))
        return read

    @pytest.fixture
    def page(self, engine, headers):
        for number in range(10):
            DatasetVersion.create_new_dataset(f"d{number}")
        (page,) = cut_pages(engine.log, list(engine.log.headers()))
        return page

    def test_of_a_kind(self, page, read):
        created = [event.name for _, _, event in page.lifecycle(DatasetCreated)]
        assert created == ["d", *(f"d{number}" for number in range(10))]
        assert list(map(len, read)) == [8, 3]
        assert [event.name for _, _, event in page.lifecycle(DatasetCreated)] == created
        assert list(map(len, read)) == [8, 3]

    def test_of_all_kinds_with_their_bodies(self, page, read):
        batches = [header for header in page if header.schema == EVENTS_SCHEMA]
        for header in batches:
            assert len(page.event_body(header)) == len(page.events(header)) == header.count
        assert [position for some in read for position in some] == [
            header.first_position for header in batches
        ]

    def test_a_damaged_body_is_told_at_its_batch(self, engine, page, monkeypatch):
        batches = [header for header in page if header.schema == EVENTS_SCHEMA]
        damaged, bodies = batches[3].first_position, engine.log.bodies

        def some_damaged(some):
            if damaged in some:
                raise IntegrityError("damaged", position=damaged)
            return bodies(some)

        with monkeypatch.context() as patch:
            patch.setattr(engine.log, "bodies", some_damaged)
            with pytest.raises(IntegrityError, match="damaged"):
                page.events(batches[3])
            assert [len(page.events(header)) for header in batches if header is not batches[3]]
