"""The content that is measured, and what it is measured with; needs nothing but Python, since the peers import it, too."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

LABELS = ("car", "person", "bicycle", "dog")
PAGE = os.sysconf("SC_PAGE_SIZE")


def records(count: int) -> Iterator[dict[str, Any]]:
    """Yield the content of each frame: a random 128-bit id, two boxes of random doubles, four metadata keys."""
    source = random.Random(20241120)
    for number in range(count):
        boxes = [
            [source.random() * 1920, source.random() * 1080, source.random() * 300, source.random() * 300]
            for _ in range(2)
        ]
        yield {
            "id": f"{source.getrandbits(128):032x}",
            "uri": f"s3://bucket/images/{number:08d}.jpg",
            "width": 1920,
            "height": 1080,
            "boxes": [{"label": source.choice(LABELS), "box": box} for box in boxes],
            "meta": {
                "camera": f"cam{number % 8}",
                "split": "train" if number % 10 else "val",
                "iso": 100 * (1 + number % 7),
                "exposure": source.random(),
            },
        }


class PeakMemory:
    """Samples the process's resident memory while the block runs."""

    def __enter__(self) -> Self:
        self.start = self.peak = resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, resident())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def megabytes(self) -> float:
        return (max(self.peak, resident()) - self.start) / 1e6


def resident() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE


class Changes(NamedTuple):
    """What makes a child version: content that is changed, ids that are deleted, and content that is new."""

    changed: list[dict[str, Any]]
    deleted: list[str]
    new: list[dict[str, Any]]


def changes(rows: list[dict[str, Any]], shares: list[float]) -> list[Changes]:
    """Return changes of some shares of the rows, each of other rows."""
    source = random.Random(8)
    sizes = [max(1, round(share * len(rows))) for share in shares]
    touched = iter(source.sample(rows, 2 * sum(sizes)))
    made = []
    for size in sizes:
        changed, deleted = ([next(touched) for _ in range(size)] for _ in range(2))
        made.append(
            Changes(
                [row | {"meta": row["meta"] | {"exposure": -1.0}} for row in changed],
                [row["id"] for row in deleted],
                [row | {"id": f"{source.getrandbits(128):032x}"} for row in deleted],
            )
        )
    return made


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
