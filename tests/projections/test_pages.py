"""Pages of the log, also of one whose tables are damaged."""

from __future__ import annotations

import pytest

from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import IntegrityError
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
