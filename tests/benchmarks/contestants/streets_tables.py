"""The frames as two tables of Arrow: frames with lists of labels, and annotations."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .streets import chunks

FRAMES = pa.schema(
    {
        "number": pa.int32(),
        "id": pa.string(),
        "uri": pa.string(),
        "camera": pa.string(),
        "speed": pa.float64(),
        "city": pa.string(),
        "captured": pa.timestamp("us"),
        "labels": pa.list_(pa.string()),
    }
)
ANNOTATIONS = pa.schema(
    {
        "frame": pa.int32(),
        "label": pa.string(),
        "confidence": pa.float64(),
        "left": pa.float64(),
        "top": pa.float64(),
        "width": pa.float64(),
        "height": pa.float64(),
    }
)


def tables(count: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield frames and their annotations, some at a time."""
    first = 0
    for some in chunks(count):
        numbers = range(first, first + len(some))
        columns = [
            [frame[name] for frame in some] for name in ("id", "uri", "camera", "speed", "city", "captured")
        ]
        labels = [[box["label"] for box in frame["boxes"]] for frame in some]
        boxes = [
            (number, box["label"], box["confidence"], *box["box"])
            for number, frame in zip(numbers, some, strict=True)
            for box in frame["boxes"]
        ]
        yield (
            pa.table([list(numbers), *columns, labels], FRAMES),
            pa.table([list(column) for column in zip(*boxes, strict=True)], ANNOTATIONS),
        )
        first += len(some)
