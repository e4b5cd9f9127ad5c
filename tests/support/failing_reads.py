"""Opens and reads an engine again and again, and lets one more read of its files fail each time; run with the library preloaded."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

import framelode
from framelode import DatasetVersion, FramelodeError


def use(folder):
    with framelode.connect(folder) as engine, closing(engine):
        version = DatasetVersion.get_version(dataset_name="food")
        return [version.get_single_frame("f7").source, version.get_stats().total, len(list(version))]


def main(folder, step, last):
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    expected, outcomes, bare = use(folder), {}, {}
    for number in range(1, last + 1, step):
        copy = Path(shutil.copytree(folder, f"{folder}-{number}"))
        library.fail_read(ctypes.c_long(number), str(copy).encode())
        try:
            outcome = "read" if use(copy) == expected else "wrong"
        except FramelodeError as error:
            outcome = type(error).__name__
        except Exception as error:
            outcome, bare[number] = "bare", repr(error)
        reached = library.reads_left() == 0
        library.fail_read(ctypes.c_long(0), b"")
        if use(copy) != expected:
            bare[number] = "something was lost"
        shutil.rmtree(copy)
        if not reached:
            break
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(json.dumps({"outcomes": outcomes, "bare": bare}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
