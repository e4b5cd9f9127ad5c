"""Copies of an engine between SQLite and PostgreSQL, beside export and import of the same log and `cp` of the same blobs.

Run ``python tests/benchmarks/copying.py``. The server is one of its own that waits for the disk at each commit. Each step
runs in a process of its own; the ratios are to export and import together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import portable
from main_job import PeakMemory, timed
from postgres import database, postgres_server

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.blobs.uris import blob_uri

BLOBS, BLOB_BYTES = 2_000, 100_000


def write_small(folder: Path, count: int) -> dict[str, float]:
    """Write appends of one frame each."""
    with closing(framelode.connect(folder / "small")) as engine:
        DatasetVersion.create_new_dataset("bench")
        draft = DatasetVersion.get_current(dataset_name="bench")
        # A command of its own for every hundred: few commands have many parts.
        for start in range(0, count, 100):
            frames = [SingleFrame(id=f"{number:032x}", width=1) for number in range(start, start + 100)]
            draft.add_frames(frames, batch_size=1, refresh_version_stats=False)
        return {"small_events": engine.log.head().position}


def write_blobs(folder: Path) -> dict[str, float]:
    """Write frames with contents."""
    with closing(framelode.connect(folder / "blobs")) as engine:
        DatasetVersion.create_new_dataset("bench")
        digests = [engine.blobs.put(os.urandom(BLOB_BYTES)).digest for _ in range(BLOBS)]
        frames = [SingleFrame(source=blob_uri(digest)) for digest in digests]
        DatasetVersion.get_current(dataset_name="bench").add_frames(frames)
    seconds, _ = timed(lambda: shutil.copytree(folder / "blobs" / "blobs", folder / "cp"))
    return {"cp_blobs_mb_per_s": BLOBS * BLOB_BYTES / 1e6 / seconds}


def copy(_: Path, name: str, source: str, target: str) -> dict[str, float]:
    """Copy an engine, and check the end of the copy."""
    with closing(framelode.connect(source)) as engine, PeakMemory() as memory:
        seconds, done = timed(lambda: engine.copy_to(target, blobs=name == "blobs"))
        with closing(framelode.connect(target)) as made:
            assert made.log.head() == engine.log.head()
    if name == "blobs":
        return {"copy_blobs_mb_per_s": done.blob_bytes / 1e6 / seconds}
    return {f"{name}_per_s": done.events / seconds, f"{name}_mb": memory.megabytes}


def run_apart(folder: Path, *step: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--folder", str(folder), "--step", *map(str, step)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_round(count: int, small: int, server_url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place, database(server_url) as one, database(server_url) as two:
        folder = Path(place)
        figures = run_apart(folder, "write", count) | run_apart(folder, "small", small)
        figures |= run_apart(folder, "export", count, "jsonl") | run_apart(folder, "import", count, "jsonl")
        there, back = figures["jsonl_export_per_s"], figures["jsonl_import_per_s"]
        figures["export_and_import_per_s"] = 1 / (1 / there + 1 / back)
        for what, source, url in (("large", folder / "engine", one), ("small", folder / "small", two)):
            figures |= run_apart(folder, "copy", f"{what}_to_sqlite", source, folder / f"{what}-copy")
            figures |= run_apart(folder, "copy", f"{what}_to_postgres", source, url)
            figures |= run_apart(folder, "copy", f"{what}_from_postgres", url, folder / f"{what}-back")
        figures |= run_apart(folder, "blobs")
        return figures | run_apart(folder, "copy", "blobs", folder / "blobs", folder / "blobs-copy")


STEPS = {
    "write": lambda folder, count: portable.write(folder, int(count)),
    "small": lambda folder, count: write_small(folder, int(count)),
    "blobs": write_blobs,
    "export": lambda folder, count, form: portable.export(folder, int(count), form),
    "import": lambda folder, count, form: portable.take_over(folder, int(count), form),
    "copy": copy,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--small", type=int, default=5_000, help="appends of one frame")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        name, *rest = arguments.step
        print(json.dumps(STEPS[name](arguments.folder, *rest)))
        return
    with postgres_server.own_server(durable=True) as server:
        rounds = [one_round(arguments.frames, arguments.small, server.url) for _ in range(arguments.rounds)]
    print(f"{arguments.frames} frames, medians of {arguments.rounds} rounds; ratio to export and import")
    for figure in rounds[0]:
        ratios = [each[figure] / each["export_and_import_per_s"] for each in rounds]
        ratio = (
            f"  ratio {statistics.median(ratios):.2f}"
            if figure.startswith("large") and "per_s" in figure
            else ""
        )
        print(f"{figure:26} {statistics.median(each[figure] for each in rounds):12,.1f}{ratio}")


if __name__ == "__main__":
    main()
