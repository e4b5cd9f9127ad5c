"""The format page names every topic of the log."""

from __future__ import annotations

from pathlib import Path

from framelode.engine.events.registry import events_by_topic


def test_every_event_is_described():
    page = (Path(__file__).parents[1] / "docs/format.md").read_text("utf-8")
    assert [topic for topic in events_by_topic() if f"`{topic}`" not in page] == []
