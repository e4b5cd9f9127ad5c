"""Output of `framelode frames`: frames with their sources and labels."""

from __future__ import annotations

import csv
import io
import json as json_text
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ...engine.keys import is_plain_id
from .output import counted, note, print_json, print_table, say

_SHORT_ID = 12


class FrameView(msgspec.Struct, frozen=True):
    """A frame; `labels` counts the annotations with each label."""

    id: str
    sources: list[str | None]
    labels: dict[str, int]
    annotations: int


class FrameList(msgspec.Struct, frozen=True):
    """The frames to show, and how many more there are."""

    frames: list[FrameView]
    more: int


def list_frames(frames: Iterable[SingleFrame | FrameGroup], limit: int, more: int | None = None) -> FrameList:
    """Return the first frames, and how many more there are: `more`, or counted if that is None."""
    found = iter(frames)
    shown = [_view(frame) for frame in islice(found, limit)]
    return FrameList(shown, sum(1 for _ in found) if more is None else more)


def print_frames(listed: FrameList, form: str | None) -> None:
    """Print frames as a table, as a JSON object per line, or as CSV."""
    if form == "--json":
        for view in listed.frames:
            print(json_text.dumps(msgspec.to_builtins(view)))
    elif form == "--csv":
        rows = ((view.id, *map(" ".join, _texts_of(view)), view.annotations) for view in listed.frames)
        _print_csv(("id", "sources", "labels", "annotations"), rows)
    else:
        print_table(("frame", "source", "labels"), map(_row, listed.frames))
    if listed.more:
        note(f"and {counted(listed.more, 'more frame')}: give a larger --limit to see more")


def print_count(count: int, form: str | None) -> None:
    """Print the number of frames."""
    if form == "--json":
        print_json({"count": count})
    elif form == "--csv":
        _print_csv(("count",), [(count,)])
    else:
        say(f"{count:,}")


def print_counts(field: str, counts: Sequence[tuple[Any, int]], more: int, form: str | None) -> None:
    """Print the values of a field with their numbers of frames, in the forms of `print_frames`."""
    if form == "--json":
        for value, count in counts:
            print(json_text.dumps({"value": value, "count": count}))
    elif form == "--csv":
        _print_csv((field, "count"), ((_shown(value), count) for value, count in counts))
    else:
        print_table((field, "frames"), ((_shown(value), count) for value, count in counts))
    if more > 0:
        note(f"and {counted(more, 'more value')}: give a larger --limit to see more")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value)


def _texts_of(view: FrameView) -> tuple[Iterable[str], Iterable[str]]:
    return filter(None, view.sources), view.labels


def _print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    sys.stdout.write(lines.getvalue())


def _view(frame: SingleFrame | FrameGroup) -> FrameView:
    wire: dict[str, Any] = frame.to_dict()
    labels: dict[str, int] = {}
    for annotation in wire.get("rois", ()):
        for label in annotation.get("label", ()):
            labels[label] = labels.get(label, 0) + 1
    sources = [source.get("uri") for source in wire.get("sources", ())]
    return FrameView(wire["id"], sources, labels, len(wire.get("rois", ())))


def _row(view: FrameView) -> tuple[str, str, str]:
    # The first digits of a long id name it on the command line, too.
    shown = view.id[:_SHORT_ID] if is_plain_id(view.id) else view.id
    labels = ", ".join(label if n == 1 else f"{label} {n:,}" for label, n in view.labels.items())
    return shown, ", ".join(filter(None, view.sources)), labels
