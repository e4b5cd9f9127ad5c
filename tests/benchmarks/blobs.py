"""Storing files, measured beside restic and DVC: many small files, the same again with 1% changed, and large ones.

Run ``python tests/benchmarks/blobs.py``. `restic` (Debian's package) and `dvc` (PyPI; ``--dvc`` names its program, so
that it can live in an environment of its own) take part if they are found. Contestants run in turn on one folder, each
in a fresh place, and the medians of several rounds are printed with their ratios. All make what they store durable,
or are followed by ``sync``; each measurement begins after a ``sync`` of its own. Nothing is deleted in between, since
ext4 is slow to reuse what was just freed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.blob_uris import blob_uri

SMALL_BYTES = 20_000
FOLDERS = 50


def make_small(folder: Path, count: int) -> None:
    """Write files of 20 KB in folders; each fifth has the content of another."""
    source = random.Random(20241120)
    for number in range(count):
        if number % 5 != 4:
            content = source.randbytes(SMALL_BYTES)
        path = folder / f"{number % FOLDERS:02d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def change(folder: Path, part: float) -> None:
    """Give a part of the files other contents."""
    paths = sorted(folder.rglob("*.jpg"))
    for path in random.Random(1).sample(paths, int(len(paths) * part)):
        path.write_bytes(random.randbytes(SMALL_BYTES))


def make_large(folder: Path, megabytes: int) -> None:
    """Write files of 100 MB."""
    folder.mkdir(parents=True)
    for number in range(max(1, megabytes // 100)):
        with (folder / f"{number}.mp4").open("wb") as file:
            for _ in range(min(100, megabytes)):
                file.write(random.randbytes(1_000_000))


class Framelode:
    """Files into the engine's store, then frames that name them."""

    name = "framelode"

    def __init__(self, place: Path) -> None:
        self.engine = framelode.connect(place)
        DatasetVersion.create_new_dataset("files")
        self.draft = DatasetVersion.get_current(dataset_name="files")

    def store(self, folder: Path) -> None:
        report = self.engine.blobs.put_files(sorted(path for path in folder.rglob("*") if path.is_file()))
        assert not report.failures, report.failures[0]
        self.written = sum(stored.is_new for stored in report.stored)
        self.draft.add_frames(
            SingleFrame(source=blob_uri(stored.digest, os.path.relpath(stored.source, folder)))
            for stored in report.stored
        )


class Restic:
    """`restic backup` into a repository of its own."""

    name = "restic"

    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = os.environ | {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": f"{place}-cache"}
        self.run("init")

    def run(self, *arguments: str) -> None:
        command = ["restic", "--quiet", "--repo", str(self.place), *arguments]
        subprocess.run(command, env=self.environment, check=True)

    def store(self, folder: Path) -> None:
        self.run("backup", str(folder))
        os.sync()


class Dvc:
    """`dvc add` of a copy of the folder, since it works in the tree that it tracks."""

    name = "dvc"

    def __init__(self, place: Path, program: str = "dvc") -> None:
        self.place, self.program = place, program
        place.mkdir()
        self.run("init", "--no-scm", "--quiet")
        self.run("config", "core.analytics", "false")

    def run(self, *arguments: str) -> None:
        environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
        subprocess.run([self.program, *arguments], cwd=self.place, env=environment, check=True)

    def prepare(self, folder: Path) -> None:
        subprocess.run(["cp", "-a", "-T", str(folder), str(self.place / "data")], check=True)

    def store(self, folder: Path) -> None:
        self.run("add", "--quiet", "data")
        os.sync()


def timed(contestant, folder: Path) -> float:
    prepare: Callable[[Path], None] | None = getattr(contestant, "prepare", None)
    if prepare:
        prepare(folder)
    os.sync()
    start = time.perf_counter()
    contestant.store(folder)
    return time.perf_counter() - start


def copy_and_sync(source: Path, target: Path) -> float:
    os.sync()
    start = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    os.sync()
    return time.perf_counter() - start


def show(title: str, seconds: dict[str, list[float]], ours: str = "framelode") -> None:
    print(title)
    base = statistics.median(seconds[ours])
    for name, values in seconds.items():
        middle = statistics.median(values)
        rest = "" if name == ours else f"  framelode takes {base / middle:.2f} of that"
        print(f"  {name:10} {middle:7.3f} s  (best {min(values):.3f}){rest}")


def small_files(work: Path, count: int, rounds: int, makers: dict[str, Callable[[Path], object]]) -> None:
    folder = work / "small"
    make_small(folder, count)
    first: dict[str, list[float]] = {name: [] for name in makers}
    second: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(rounds):
        running = {name: make(work / f"{name}-{number}") for name, make in makers.items()}
        for name, contestant in running.items():
            first[name].append(timed(contestant, folder))
        change(folder, 0.01)
        for name, contestant in running.items():
            second[name].append(timed(contestant, folder))
        written = running["framelode"].written
    show(f"{count} files of 20 KB, a fifth of them duplicates", first)
    show(f"again, 1% changed ({written} written)", second)


def large_files(work: Path, megabytes: int, rounds: int) -> None:
    folder = work / "large"
    make_large(folder, megabytes)
    seconds: dict[str, list[float]] = {"framelode": [], "cp; sync": []}
    for number in range(rounds):
        seconds["framelode"].append(timed(Framelode(work / f"large-framelode-{number}"), folder))
        seconds["cp; sync"].append(copy_and_sync(folder, work / f"large-copy-{number}"))
    show(f"{megabytes} MB in files of 100 MB", seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=500, help="of large files: 2000 for the set of 2 GB")
    parser.add_argument(
        "--dvc", default=shutil.which("dvc"), help="the program, in an environment of its own"
    )
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    options = parser.parse_args()
    makers: dict[str, Callable[[Path], object]] = {"framelode": Framelode}
    if shutil.which("restic"):
        makers["restic"] = Restic
    if options.dvc:
        makers["dvc"] = lambda place: Dvc(place, options.dvc)
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        small_files(Path(work), options.files, options.rounds, makers)
        large_files(Path(work), options.megabytes, options.rounds)


if __name__ == "__main__":
    main()
