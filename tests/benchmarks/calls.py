"""Count the calls of framelode functions that one frame costs, added and read.

    python tests/benchmarks/calls.py [--where]

Counts calls of Python functions of the package, resumed generators included, in a warm engine in a folder: for one
`add_frames` of one frame, with its commit and the projections' catch-up, and for one `get_single_frame`. `--where`
lists the functions that are called most.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import framelode
from framelode import DatasetVersion, SingleFrame

_PACKAGE = str(Path(framelode.__file__).parent)
_FLOORS = tuple(f"{_PACKAGE}/{floor}/" for floor in ("engine", "projections", "adapters"))
_FRAMES = 1000
_ROUNDS = 3


@contextmanager
def counted() -> Generator[Counter[str]]:
    """Count calls of functions of the package by file and name."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_FLOORS):
            calls[f"{code.co_filename.removeprefix(_PACKAGE + '/')}:{code.co_qualname}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def measure() -> dict[str, Counter[str]]:
    """Return the calls of each operation in its last round, when everything is warm."""
    found: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder, framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        version = DatasetVersion.get_current(dataset_name="food")
        version.add_frames([SingleFrame(source=f"s3://b/{number}.jpg") for number in range(_FRAMES)])
        for number in range(_ROUNDS):
            frame = SingleFrame(source=f"s3://b/new-{number}.jpg")

            def read(frame: SingleFrame = frame) -> object:
                return version.get_single_frame(str(frame.id))

            operations: dict[str, Callable[[], object]] = {
                "add_frames of one frame": lambda frame=frame: version.add_frames([frame]),
                "the first get_single_frame": read,
                "get_single_frame": read,
            }
            for name, operation in operations.items():
                with counted() as calls:
                    operation()
                found[name] = calls
        engine.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--where", action="store_true", help="list the functions that are called most")
    where = parser.parse_args().where
    for name, calls in measure().items():
        print(f"{name:30} {calls.total():6} calls")
        for function, count in calls.most_common(60) if where else ():
            print(f"    {count:5} {function}")


if __name__ == "__main__":
    main()
