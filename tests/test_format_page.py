"""The format page names every topic of the log."""

from __future__ import annotations

from pathlib import Path

from framelode.engine.events.registry import _EVENTS


def test_every_event_is_described():
    page = (Path(__file__).parents[1] / "docs/format.md").read_text("utf-8")
    assert [topic for topic in _EVENTS if f"`{topic}`" not in page] == []
