"""Frames for tests."""

from __future__ import annotations

from framelode import SingleFrame


def make(number, **values):
    """Return a frame of one source with one box, different for each number."""
    frame = SingleFrame(source=f"s3://bucket/{number}.jpg", width=640, height=480, **values)
    frame.add_annotation(box2d_xywh=(number, 2, 30, 40), labels=["car"])
    return frame
