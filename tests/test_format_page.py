"""The format page names every topic of the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from framelode.engine.events.registry import STREAMS, events_by_topic

PAGE = (Path(__file__).parents[1] / "docs/format.md").read_text("utf-8")


def test_every_event_is_described():
    assert [topic for topic in events_by_topic() if f"`{topic}`" not in PAGE] == []


@pytest.mark.parametrize("streams", STREAMS, ids=lambda streams: streams.id)
def test_every_stream_of_no_dataset_is_listed_with_its_events(streams):
    section = PAGE.partition("\n## Streams\n")[2].partition("\n## ")[0]
    (row,) = (line for line in section.splitlines() if line.startswith(f"| `{streams.id}`"))
    assert [topic for topic in sorted(streams.topics) if f"`{topic}`" not in row] == []
