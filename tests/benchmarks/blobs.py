"""Storing files, measured beside restic, DVC and cp: many small files, the same with 1% changed, large files, memory.

Run ``python tests/benchmarks/blobs.py``; ``--only small`` (``large``, ``memory``) runs a part, ``--ways put restic``
some contestants, and ``--rounds`` says how often. `restic` (Debian's package) and `dvc` (PyPI; ``--dvc`` names its
program, so that it can live in an environment of its own) take part if they are found.

A way to store is one function, listed in `WAYS`: it opens a fresh place and returns what stores a folder there. In
each round the contestants run in turn on one folder, another one first each time; medians are printed with their
ratios. All make what they store durable, or are followed by ``sync``; each measurement begins after a ``sync`` of its
own. Ours run inside this process, but for ``upload, process``, which starts a new one as restic and DVC do. Nothing is
deleted until the end, since ext4 is slow to reuse what was just freed.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.blobs.uris import blob_uri

SMALL_BYTES = 20_000
FOLDERS = 50
MEGABYTE = 1_000_000


@dataclass
class Place:
    """A fresh place of one contestant.

    Attributes
    ----------
    store : callable
        Stores a folder, durable when it returns.
    kept : Path
        Where the contents end up.
    prepare : callable
        Called with the folder before each measurement.
    """

    store: Callable[[Path], None]
    kept: Path
    prepare: Callable[[Path], None] = lambda folder: None


def files_of(folder: Path) -> list[str]:
    return [f"{where}/{name}" for where, _, names in os.walk(folder) for name in sorted(names)]


def opened(place: Path) -> tuple[framelode.Engine, DatasetVersion]:
    engine = framelode.connect(place)
    DatasetVersion.create_new_dataset("files")
    return engine, DatasetVersion.get_current(dataset_name="files")


def put(place: Path) -> Place:
    """Files into the engine's store, then frames that name them."""
    engine, draft = opened(place)

    def store(folder: Path) -> None:
        report = engine.blobs.put_files(files_of(folder))
        assert not report.failures, report.failures[0]
        above = len(str(folder)) + 1
        draft.add_frames(
            SingleFrame(source=blob_uri(stored.digest, stored.source[above:])) for stored in report.stored
        )

    return Place(store, place / "blobs")


def upload_to(destination: str, draft: DatasetVersion, folder: Path) -> None:
    failures = draft.add_frames(
        (SingleFrame(source=path) for path in files_of(folder)),
        auto_upload_destination=destination,
        local_dataset_root_path=folder,
    )
    assert not failures, failures[0]


def upload_blobs(place: Path) -> Place:
    """Frames that name local files, uploaded into the engine's store: the public way."""
    _, draft = opened(place)
    return Place(lambda folder: upload_to("blobs:", draft, folder), place / "blobs")


def upload_file(place: Path) -> Place:
    """The same into a folder that keeps the names of the files."""
    _, draft = opened(place)
    return Place(lambda folder: upload_to(f"file://{place}/sent", draft, folder), place / "sent")


def upload_process(place: Path) -> Place:
    """Uploads into the engine's store from a process started for it, imports included."""
    opened(place)

    def store(folder: Path) -> None:
        subprocess.run([sys.executable, __file__, "--upload", str(folder), str(place)], check=True)

    return Place(store, place / "blobs")


def restic(place: Path) -> Place:
    """`restic backup` into a repository of its own."""
    environment = os.environ | {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": f"{place}-cache"}

    def run(*arguments: str) -> None:
        command = ["restic", "--quiet", "--repo", str(place), *arguments]
        subprocess.run(command, env=environment, check=True)

    def store(folder: Path) -> None:
        run("backup", str(folder))
        os.sync()

    run("init")
    return Place(store, place)


def dvc(place: Path, program: str = "dvc") -> Place:
    """`dvc add` of a copy of the folder, since it works in the tree that it tracks."""
    place.mkdir()

    def run(*arguments: str) -> None:
        environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
        subprocess.run([program, *arguments], cwd=place, env=environment, check=True)

    def prepare(folder: Path) -> None:
        subprocess.run(["cp", "-a", "-T", str(folder), str(place / "data")], check=True)

    def store(_: Path) -> None:
        run("add", "--quiet", "data")
        os.sync()

    run("init", "--no-scm", "--quiet")
    run("config", "core.analytics", "false")
    return Place(store, place / ".dvc" / "cache" / "files", prepare)


def cp(place: Path) -> Place:
    """`cp -r` followed by `sync`."""

    def store(folder: Path) -> None:
        subprocess.run(["cp", "-r", str(folder), str(place)], check=True)
        os.sync()

    return Place(store, place)


Way = Callable[[Path], Place]
OURS: dict[str, Way] = {
    "put": put,
    "upload blobs:": upload_blobs,
    "upload file:": upload_file,
    "upload, process": upload_process,
}
WAYS: dict[str, Way] = OURS | {"restic": restic, "dvc": dvc, "cp; sync": cp}
GOALS = {("small", "restic"): 1.0, ("small", "dvc"): 1 / 3, ("large", "cp; sync"): 1.5}


def make_small(folder: Path, count: int) -> None:
    """Write files of 20 KB in folders; each fifth has the content of another."""
    source = random.Random(20241120)
    for number in range(count):
        if number % 5 != 4:
            content = source.randbytes(SMALL_BYTES)
        path = folder / f"{number % FOLDERS:02d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def change(folder: Path, part: float) -> int:
    """Give a part of the files other contents; returns how many."""
    paths = sorted(folder.rglob("*.jpg"))
    changed = random.sample(paths, int(len(paths) * part))
    for path in changed:
        path.write_bytes(random.randbytes(SMALL_BYTES))
    return len(changed)


def make_large(folder: Path, megabytes: int) -> None:
    """Write files of 100 MB."""
    folder.mkdir(parents=True)
    for number in range(max(1, megabytes // 100)):
        with (folder / f"{number}.mp4").open("wb") as file:
            for _ in range(min(100, megabytes)):
                file.write(random.randbytes(MEGABYTE))


def timed(place: Place, folder: Path) -> float:
    place.prepare(folder)
    os.sync()
    start = time.perf_counter()
    place.store(folder)
    return time.perf_counter() - start


def spread(work: str) -> None:
    """Have ext4 begin each contestant's place in another part of the disk.

    It makes files slowly, for five minutes, where many were deleted, and DVC deletes as many as it adds.
    """
    if chattr := shutil.which("chattr"):
        subprocess.run([chattr, "+T", work], check=False, capture_output=True)


def in_turn(work: Path, ways: dict[str, Way], rounds: int) -> Iterator[dict[str, Place]]:
    """Yield fresh places of all contestants for each round, another one first each time."""
    names = list(ways)
    for number in range(rounds):
        first = number % len(names)
        yield {
            name: ways[name](work / f"{name.strip(':')}-{number}") for name in names[first:] + names[:first]
        }


def show(part: str, title: str, seconds: dict[str, list[float]]) -> None:
    rounds = len(next(iter(seconds.values())))
    print(f"\n{title}: medians of {rounds} rounds, and how long ours take as a part of the others' time")
    others = [name for name in seconds if name not in OURS]
    for name in [name for name in WAYS if name in seconds]:
        middle = statistics.median(seconds[name])
        rounds_shown = " ".join(f"{value:.2f}" for value in seconds[name])
        line = f"  {name:16} {middle:7.3f} s  (best {min(seconds[name]):.3f}; {rounds_shown})"
        for other in others if name in OURS else ():
            line += f"  {ratio(part, other, middle / statistics.median(seconds[other]))}"
        print(line)


def ratio(part: str, other: str, value: float) -> str:
    goal = GOALS.get((part, other))
    verdict = f" [goal {goal:.2f}: {'met' if value <= goal else 'NOT met'}]" if goal else ""
    return f"{value:.2f} of {other}{verdict}"


def small_files(work: Path, ways: dict[str, Way], options: argparse.Namespace) -> None:
    folder = work / "small"
    make_small(folder, options.files)
    first: dict[str, list[float]] = {name: [] for name in ways}
    second: dict[str, list[float]] = {name: [] for name in ways}
    stored: dict[str, set[int]] = {name: set() for name in ways if name in OURS}
    for places in in_turn(work, ways, options.rounds):
        for name, place in places.items():
            first[name].append(timed(place, folder))
        changed = change(folder, 0.01)
        for name, place in places.items():
            before = len(files_of(place.kept))
            second[name].append(timed(place, folder))
            if name in stored:
                stored[name].add(len(files_of(place.kept)) - before)
    show("small", f"{options.files} files of 20 KB, a fifth of them duplicates", first)
    show("again", f"the same again, {changed} changed", second)
    for name, counts in stored.items():
        print(f"  {name:16} files stored: {', '.join(map(str, sorted(counts)))}")


def large_files(work: Path, ways: dict[str, Way], options: argparse.Namespace) -> None:
    folder = work / "large"
    make_large(folder, options.megabytes)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for places in in_turn(work, ways, options.rounds):
        for name, place in places.items():
            seconds[name].append(timed(place, folder))
    show("large", f"{options.megabytes} MB in files of 100 MB", seconds)


class Noise(io.RawIOBase):
    """A stream of so many megabytes that no file system can make smaller."""

    def __init__(self, megabytes: int) -> None:
        self._left = megabytes
        self._block = random.randbytes(MEGABYTE - 8)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        return self._left.to_bytes(8, "big") + self._block if self._left >= 0 else b""


def memory(work: Path, ways: dict[str, Way], options: argparse.Namespace) -> None:
    """Store one large content by each of our ways, each in a process of its own."""
    folder = work / "one"
    folder.mkdir()
    noise = Noise(options.memory_megabytes)
    with (folder / "one.mp4").open("wb") as file:
        while data := noise.read():
            file.write(data)
    print(f"\npeak memory while {options.memory_megabytes} MB are stored in one file")
    inside = [name for name in ways if name in OURS and name != "upload, process"]
    for name in ["put of a stream", *inside]:
        target = work / f"memory {name.strip(':')}"
        with get_context("spawn").Pool(1) as pool:
            before, peak = pool.apply(peak_memory, (name, target, folder, options.memory_megabytes))
        print(f"  {name:16} {peak:6.0f} MB, {peak - before:.0f} MB more than before")


def peak_memory(name: str, target: Path, folder: Path, megabytes: int) -> tuple[float, float]:
    """Return the peak of this process in megabytes before and after."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE

    if name in OURS:
        place = OURS[name](target)
        before = peak()
        place.store(folder)
    else:
        engine, _ = opened(target)
        before = peak()
        engine.blobs.put(Noise(megabytes))
    return before, peak()


PARTS = {"small": small_files, "large": large_files, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="contestants")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000, help="of 20 KB")
    parser.add_argument("--megabytes", type=int, default=2000, help="of large files")
    parser.add_argument(
        "--memory-megabytes", type=int, default=4000, help="of the one file of the memory part"
    )
    parser.add_argument("--dvc", default=shutil.which("dvc"), help="its program")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--upload", nargs=2, metavar=("FOLDER", "PLACE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upload:
        framelode.connect(options.upload[1])
        upload_to("blobs:", DatasetVersion.get_current(dataset_name="files"), Path(options.upload[0]))
        return
    missing = {
        name
        for name, program in {"restic": shutil.which("restic"), "dvc": options.dvc}.items()
        if not program
    }
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    ways = WAYS | {"dvc": lambda place: dvc(place, options.dvc)}
    for part in options.only:
        unfit = {"cp; sync"} if part == "small" else {"restic", "dvc"}
        chosen = {
            name: way for name, way in ways.items() if name in options.ways and name not in missing | unfit
        }
        with tempfile.TemporaryDirectory(dir=options.folder) as work:
            spread(work)
            PARTS[part](Path(work), chosen, options)


if __name__ == "__main__":
    main()
