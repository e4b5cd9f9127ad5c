"""The frames that queries are measured with, and the ten questions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from .contestant import Figure, measure

LABELS = ("car", "bus", "dog", "cat", "van")
START = datetime(2024, 1, 1)  # noqa: DTZ001 - UTC in each library
CHUNK = 50_000


class Question(NamedTuple):
    """A question: how it is called, and the name of the method that answers it."""

    title: str
    name: str


QUESTIONS = (
    Question("a label, a metadata value, and not another label", "labels"),
    Question("two of a label with confidence", "several"),
    Question("frames by label, and by metadata value", "counts"),
    Question("wildcard on URIs of sources", "wildcard"),
    Question("range of a metadata number", "numbers"),
    Question("range of dates", "dates"),
    Question("a box larger than", "boxes"),
    Question("no annotations", "none"),
    Question("ids that begin with", "ids"),
    Question("first 100 in the order of a number", "order"),
)


def frames(count: int) -> Iterator[dict[str, Any]]:
    """Yield the content of frames: random ids, four metadata values, and two boxes of whole pixels on the average."""
    source = random.Random(20241129)
    for number in range(count):
        yield {
            "id": f"{source.getrandbits(128):032x}",
            "uri": f"s3://bucket/cam{number % 7}/{number:08d}.jpg",
            "camera": f"cam{number % 7}",
            "speed": source.randrange(1200) / 10,
            "city": f"city{source.randrange(50)}",
            "captured": START + timedelta(hours=number * 8760 // count),
            "boxes": [
                {
                    "label": source.choice(LABELS),
                    "confidence": source.randrange(1000) / 1000,
                    "box": [float(source.randrange(limit)) for limit in (1700, 900, 220, 180)],
                }
                for _ in range(0 if number % 20 == 0 else 2 + (number % 19 == 0))
            ],
        }


def chunks(count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the frames in lists."""
    source = frames(count)
    while some := list(islice(source, CHUNK)):
        yield some


def asked(*forms: Callable[[], Any]) -> Figure:
    """Return the figures of the fastest of several ways to answer a question, and the answer."""
    answers = [form() for form in forms]
    if any(answer != answers[0] for answer in answers):
        raise ValueError(f"the ways to ask differ: {answers}")
    figures = [measure(form, times=7, seconds=2) for form in forms]
    return {**min(figures, key=lambda figure: figure["clock"]), "answer": answers[0]}
