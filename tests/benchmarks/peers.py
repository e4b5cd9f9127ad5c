"""framelode beside other libraries that keep versions of data: one workload, alternating rounds, and a page of the results.

Run ``python tests/benchmarks/peers.py`` (extra ``bench``). Each peer gets a virtual environment of its own in the folder
``--cache``, which pip fills the first time. In every round each contestant is a new process, and each step is done by all of
them in turn before the next step, so that what disturbs the machine disturbs all. ``--write`` writes `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import venv
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
sys.path.append(str(HERE))


class Peer(NamedTuple):
    """A contestant: how it is called, its class, what pip installs for it, and how it is used."""

    title: str
    place: str
    requirements: tuple[str, ...] = ()
    use: str = ""


PEERS = {
    "framelode": Peer(
        "framelode",
        "framelode_here.Framelode",
        use="An engine in a folder, made before the clock starts. The fastest way leaves statistics to publishing. "
        "Counts of labels are kept up to date, while the peers count when they are asked.",
    ),
    "lance": Peer(
        "Lance",
        "lance_there.Lance",
        ("pylance==14.0.2", "pyarrow==26.0.1"),
        "`write_dataset`, then a BTREE index of the ids, which its reads use. The documented way from dicts is `Table.from_pylist`, the fastest "
        "`pa.array` with a type. A child is `merge_insert`, `delete`, `insert` and a tag; the fastest way changes and inserts in one merge.",
    ),
    "ducklake": Peer(
        "DuckLake",
        "ducklake_there.DuckLake",
        ("duckdb==1.5.5", "duckdb-extension-ducklake==1.5.5", "pyarrow==26.0.1"),
        "DuckDB of the newest version for which PyPI has the extension; the catalog in a file. Dicts are made Arrow tables as for Lance. Parquet is "
        "compressed with zstd; the documented way leaves it at snappy. A child is a transaction of MERGE, DELETE and INSERT; the fastest way deletes "
        "what is changed, and inserts it.",
    ),
    "delta": Peer(
        "Delta",
        "delta_there.Delta",
        ("deltalake==1.6.6", "pyarrow==26.0.1"),
        "delta-rs. Dicts are made Arrow tables as for Lance. The documented way has the defaults, the fastest zstd and the change data feed, which "
        "differences and histories need. A child is a merge, a delete and an append; the fastest way does all in one merge.",
    ),
    "datachain": Peer(
        "DataChain",
        "datachain_there.DataChainHere",
        ("datachain==0.62.0",),
        "On its local SQLite database. The documented way from dicts is `read_values` of objects of a data model, the fastest `read_records` of flat "
        "dicts with a schema. A child is the rows that are not touched, united with others, saved as the next version.",
    ),
}


class Row(NamedTuple):
    """A line of the tables: the figure of framelode, that of the peers beside it, the unit, and why it is lost if it is."""

    title: str
    ours: str
    unit: str
    theirs: str = ""
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.title}, {self.unit}"


UNITS = {"us a frame": 1e6, "us": 1e6, "ms": 1e3, "s": 1.0, "bytes a frame": 1.0, "MB": 1e-6}

CAUSES = """Behind each name are its ratios by the clock and by processor time. Two causes are behind many of these rows:

- **Events.** framelode checks every value, and makes one canonical payload and one digest for each frame, so that each is an event that can
  be verified. The peers copy values into columns and check their types.
- **Commands.** Create, update, delete, add and publish are transactions of their own, about 100 SQL statements in all, and each waits until
  the disk has it. Lance and Delta never wait for the disk.
"""

ROWS = (
    Row(
        "plain dicts to disk, by objects; peers: the fastest way",
        "objects",
        "us a frame",
        theirs="dicts",
        cause="Events; and about half of the time goes into a Python object for each frame and each box, made and checked by a constructor call "
        "each. Arrow converts the list of dicts in one call.",
    ),
    Row(
        "plain dicts to disk, the documented way",
        "dicts_documented",
        "us a frame",
        cause="Events. Labels are counted, too.",
    ),
    Row(
        "plain dicts to disk, the fastest way",
        "dicts",
        "us a frame",
        cause="Events. Most of the processor time is the conversion of the dicts, which looks at ids, URIs and labels in Python.",
    ),
    Row(
        "ready objects, by default; peers: a ready Arrow table",
        "ready",
        "us a frame",
        theirs="table",
        cause="Events; the columns of the peers are ready.",
    ),
    Row(
        "ready objects, statistics not refreshed; peers: a ready Arrow table",
        "ready_unrefreshed",
        "us a frame",
        theirs="table",
        cause="Events; the columns of the peers are ready.",
    ),
    Row(
        "a ready Arrow table",
        "table",
        "us a frame",
        cause="Events: the table is turned into rows. The peers compress its columns as they are.",
    ),
    Row("peak memory of the fastest way from dicts, beside the dicts", "memory", "MB"),
    Row(
        "made ready to be read: published; peers: index and tag",
        "prepare.ready",
        "ms",
        cause="Publishing reads all frames once to count labels, and hashes the state of the version. An index sorts one column.",
    ),
    Row(
        "bytes on disk, without an index of ids where it is separate",
        "prepare.bytes",
        "bytes a frame",
        cause="A digest of 16 random bytes belongs to each frame, and the index of ids is part of the log. Rows in blocks of 128 frames, which "
        "can be read alone, compress less well than columns.",
    ),
    Row(
        "bytes on disk in all",
        "prepare.bytes_all",
        "bytes a frame",
        cause="A digest of 16 random bytes belongs to each frame. Rows in blocks of 128 frames, which can be read alone, compress less well "
        "than columns.",
    ),
    Row("one frame by id", "one", "ms"),
    Row(
        "1,000 random ids in one call",
        "many_ids",
        "ms",
        cause="Of 200,000 frames, 1,000 random ones lie in about half of all blocks of 128 frames, which are decompressed as a whole. Then a "
        "Python object is made of each frame and box; the peers make dicts.",
    ),
    Row("iterate as Python objects", "iterate", "us a frame"),
    Row("the same, after `gc.freeze()`", "iterate_frozen", "us a frame"),
    Row(
        "iterate as Arrow batches",
        "iterate_arrow",
        "us a frame",
        cause="The log stores rows, which are decoded and turned into columns. The peers hand out the columns that they store.",
    ),
    Row("count of each label", "statistics", "ms"),
    Row(
        "a new process opens and reads one frame",
        "cold",
        "ms",
        cause="Nearly all of it is the import of Python modules, a third of SQLAlchemy, a sixth of numpy, and their end.",
    ),
    Row(
        "child of 1% updated, 1% deleted, 1% new, published; the fastest way",
        "child",
        "ms",
        cause="Commands.",
    ),
    Row(
        "the same, the documented way",
        "child_documented",
        "ms",
        cause="Commands. Statistics are refreshed after each of three writes, and objects are made of the new frames.",
    ),
    Row("20 children of 0.1%, one after the other: the first", "children.first", "ms", cause="Commands."),
    Row("20 children of 0.1%: the last", "children.last", "ms", cause="Commands."),
    Row("20 children of 0.1%: each", "children.each", "ms", cause="Commands."),
    Row("20 children of 0.1%: size of each", "children.bytes", "MB"),
    Row(
        "one frame by id, of the version before the child",
        "past",
        "ms",
        cause="More than half is the search for the version by its name, with SQL statements that are built anew each time.",
    ),
    Row(
        "difference of the child of 1%: ids and names of changed fields; peers: rows",
        "difference",
        "ms",
        cause="framelode reads the events of both versions and compares their fields. The peers name no fields; Lance keeps with each row the "
        "version that wrote it last.",
    ),
    Row(
        "the same, with each frame as it was and as it is; peers: rows",
        "difference_contents",
        "ms",
        theirs="difference",
        cause="Most of the time goes into making dicts from payloads. The peers return rows; Lance and DataChain return none as they were.",
    ),
    Row("history of one frame", "history", "ms"),
    Row(
        "rebuild all that is derived: projections; peers: indexes",
        "rebuild",
        "ms",
        cause="Every projection is made again from the whole log; the peer sorts one column.",
    ),
)
"""All lines. A peer shows a dash where it has no such operation."""

STEPS = sorted(
    dict.fromkeys(name.split(".")[0] for row in ROWS for name in (row.ours, row.theirs) if name),
    key="memory".__ne__,  # first, in a process that has not written anything yet
)
"""The steps in the order in which they are done."""

NEEDED = ("child_documented", "child", "prepare", "dicts")
"""The steps that those behind them need."""


def environment(name: str, cache: Path, peers: dict[str, Peer] = PEERS) -> Path:
    """Return the Python of a peer's own environment, made if it is missing or has other versions."""
    peer = peers[name]
    if not peer.requirements:
        return Path(sys.executable)
    folder = cache / name
    python, mark = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(peer.requirements)
    if not mark.exists() or mark.read_text("utf-8") != wanted:
        print(f"making the environment of {peer.title} in {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.requirements], check=True)
        mark.write_text(wanted, "utf-8")
    return python


def serve(name: str, folder: Path, frames: int, peers: dict[str, Peer] = PEERS) -> None:
    """Do the steps named line by line on standard input, and answer each with its figures."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, kind = peers[name].place.split(".")
    contestant = getattr(import_module(f"contestants.{module}"), kind)(folder, frames)
    answer: Any = {package: metadata.version(package) for package in contestant.packages}
    while True:
        print(json.dumps(answer), file=answers, flush=True)
        step = sys.stdin.readline().strip()
        if not step:
            break
        began, work = time.process_time(), getattr(contestant, step, None)
        try:
            figures = work() if work else None
        except Exception:
            figures = {"error": traceback.format_exc()}
        answer = figures, time.process_time() - began


class Worker:
    """A contestant in a process of its own."""

    def __init__(self, name: str, python: Path, frames: int, script: str = __file__) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"peers-{name}-"))
        command = [python, "-P", script, "--serve", name, "--folder", self.folder, "--frames", str(frames)]
        # An installation has compiled modules, and a checkout writes them when it may.
        compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=compiled
        )

    def answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, step: str) -> Any:
        print(step, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder)


class Results:
    """The figures of all rounds, by contestant, name and kind."""

    def __init__(self, frames: int, rounds: int) -> None:
        self.frames, self.rounds = frames, rounds
        self.versions: dict[str, dict[str, str]] = {}
        self.figures: dict[tuple[str, str, str], list[float]] = {}
        self.failures: dict[tuple[str, str], str] = {}

    def note(self, name: str, step: str, answer: dict[str, Any] | None) -> None:
        if answer is None:
            return
        if "error" in answer:
            self.failures[name, step] = answer["error"]
            print(f"{name}: {step} failed\n{answer['error']}", file=sys.stderr, flush=True)
        elif "clock" in answer or "amount" in answer:
            for kind, value in answer.items():
                self.figures.setdefault((name, step, kind), []).append(value)
        else:
            for part, figure in answer.items():
                self.note(name, f"{step}.{part}", figure)

    def values(self, name: str, row: Row, kind: str) -> list[float]:
        """Return the figures of each round, in the unit of the row."""
        step = row.ours if name == "framelode" else row.theirs or row.ours
        scale = UNITS[row.unit] / (self.frames if row.unit.endswith("a frame") else 1)
        return [scale * value for value in self.figures.get((name, step, kind), [])]

    def cell(self, name: str, row: Row) -> str:
        """Return the medians: by the clock and of processor time, or the amount."""
        if (
            name,
            (row.ours if name == "framelode" else row.theirs or row.ours).split(".")[0],
        ) in self.failures:
            return "failed"
        found = [
            values for kind in ("clock", "processor", "amount") if (values := self.values(name, row, kind))
        ]
        once = " (once)" if found and len(found[0]) < self.rounds else ""
        return " / ".join(number(statistics.median(values)) for values in found) + once if found else "-"

    def ratios(self, name: str, row: Row, kind: str) -> list[float]:
        """Return for each round how much more the peer took, above 1 where framelode takes less."""
        return [
            theirs / max(ours, 1e-12)
            for ours, theirs in zip(
                self.values("framelode", row, kind), self.values(name, row, kind), strict=False
            )
        ]

    def ratio(self, name: str, row: Row, kind: str) -> str:
        found = self.ratios(name, row, kind) or self.ratios(name, row, "amount")
        if not found:
            return "-"
        middle = number(statistics.median(found), 2)
        if statistics.median(found) < 1:
            middle = f"**{middle}**"
        return f"{middle} ({number(min(found), 2)} to {number(max(found), 2)})"


def number(value: float, digits: int = 3) -> str:
    return f"{value:,.0f}" if value >= 10**digits - 0.5 else f"{value:.{digits}g}"


def run(arguments: argparse.Namespace, names: list[str]) -> Results:
    pythons = {name: environment(name, arguments.cache) for name in names}
    results = Results(arguments.frames, arguments.rounds)
    wanted = {step.split(".")[0] for row in arguments.rows for step in (row.ours, row.theirs) if step}
    slow: set[tuple[str, str]] = set()
    for needed in NEEDED:
        if any(STEPS.index(step) > STEPS.index(needed) for step in wanted):
            wanted.add(needed)
    began = time.perf_counter()
    for turn in range(arguments.rounds):
        with ExitStack() as stack:
            workers = [
                stack.enter_context(closing(Worker(name, pythons[name], arguments.frames))) for name in names
            ]
            results.versions = {worker.name: worker.answer() for worker in workers}
            for step in (step for step in STEPS if step in wanted):
                taken = []
                for worker in (worker for worker in workers if (worker.name, step) not in slow):
                    start = time.perf_counter()
                    figures, processor = worker.ask(step)
                    results.note(worker.name, step, figures)
                    taken.append(f"{worker.name} {time.perf_counter() - start:.1f}")
                    if processor > arguments.patience and worker.name != "framelode" and step not in NEEDED:
                        slow.add((worker.name, step))
                print(
                    f"{time.perf_counter() - began:5.0f} s  round {turn + 1}  {step:18} {'  '.join(taken)}",
                    flush=True,
                )
    return results


def table(results: Results, rows: list[Row], names: list[str], head: str, cell: Any) -> list[str]:
    titles = [PEERS[name].title for name in names]
    lines = [f"| {head} | {' | '.join(titles)} |", f"| --- |{' --- |' * len(names)}"]
    return lines + [f"| {row} | {' | '.join(cell(name, row) for name in names)} |" for row in rows]


def lost(results: Results, rows: list[Row], peers: list[str]) -> list[str]:
    """Return a line for each row that some peer wins, with its cause."""
    lines = []
    for row in rows:
        ahead = []
        for name in peers:
            kinds = (results.ratios(name, row, kind) for kind in ("clock", "processor", "amount"))
            medians = [statistics.median(found) for found in kinds if found]
            if medians and min(medians) < 1:
                ahead.append(f"{PEERS[name].title} {' / '.join(number(median, 2) for median in medians)}")
        if ahead:
            lines.append(f"- **{row.title}** ({', '.join(ahead)}). {row.cause or 'The cause is not known.'}")
    return lines


def machine() -> str:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB of memory, {platform.system()}, Python {platform.python_version()}"


def report(results: Results, arguments: argparse.Namespace, names: list[str], load: float) -> str:
    rows, peers = arguments.rows, [name for name in names if name != "framelode"]
    versions = [
        f"- **{PEERS[name].title}** ({', '.join(f'{package} {version}' for package, version in results.versions[name].items())}). "
        f"{PEERS[name].use}"
        for name in names
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "<!-- Written by tests/benchmarks/peers.py --write. Change that script, not this page. -->",
            "",
            "framelode beside other libraries that keep versions of data, with the same content on the same machine in the same minutes. Rows that",
            "framelode loses are in the tables like all others, and listed with their causes below them.",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}: {arguments.frames:,} frames, {arguments.rounds} rounds; {machine()}; load {load:.1f} when it began.",
            "",
            "## Medians",
            "",
            "Two numbers are seconds by the clock and of the processor, of the process and its children. A dash: there is no such operation.",
            f"What takes a peer more than {arguments.patience:.0f} s of processor time is done in one round only.",
            "",
            *table(results, rows, names, "step", results.cell),
            "",
            "## Ratios",
            "",
            "What the peer took over what framelode took: the median of the rounds, with the smallest and the largest. Above 1 framelode",
            "takes less; below 1, in bold, the peer does.",
            "",
            "By the clock (memory and sizes as they are):",
            "",
            *table(results, rows, peers, "step", lambda name, row: results.ratio(name, row, "clock")),
            "",
            "By processor time:",
            "",
            *table(results, rows, peers, "step", lambda name, row: results.ratio(name, row, "processor")),
            "",
            "## Where framelode takes more",
            "",
            CAUSES,
            *(lost(results, rows, peers) or ["None in this run."]),
            "",
            "## The workload",
            "",
            "Each frame has a random id of 128 bits, a URI, a size, two boxes of random doubles with one of four labels, and four metadata keys. The content is",
            "the same in every run. Each library takes it in the form that it asks for: framelode dicts in wire form, the others dicts as the content comes.",
            "Every round starts new processes and new stores. A step is done by all contestants in turn before the next one. Steps of milliseconds are",
            "repeated, and their median counts. The dicts stay in memory during all steps, as those of an application would. Files are in the page cache.",
            "",
            *versions,
            "",
            "To repeat it:",
            "",
            "```sh",
            "pip install -e '.[bench]'",
            "python tests/benchmarks/peers.py --write",
            "```",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS), help="contestants, separated by commas")
    parser.add_argument("--rows", default="", help="steps such as one,child; all by default")
    parser.add_argument(
        "--patience",
        type=float,
        default=8.0,
        help="seconds of processor time; a peer that needs more for a step does it in one round only",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "framelode-peers",
        help="folder of the environments",
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument(
        "--list", action="store_true", help="list the lines of the tables, and do nothing else"
    )
    parser.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder, arguments.frames)
        return
    if arguments.list:
        print("\n".join(map(str, ROWS)))
        return
    names = arguments.peers.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"unknown contestants: {', '.join(unknown)}; known are {', '.join(PEERS)}")
    chosen = arguments.rows.split(",") if arguments.rows else STEPS
    if unknown := [step for step in chosen if step not in STEPS]:
        parser.error(f"unknown rows: {', '.join(unknown)}; known are {', '.join(STEPS)}")
    if arguments.write and arguments.rows:
        parser.error("--write needs all rows")
    arguments.rows = [row for row in ROWS if row.ours.split(".")[0] in chosen]
    load = os.getloadavg()[0]
    results = run(arguments, names)
    page = report(results, arguments, names, load)
    print(page)
    if arguments.write:
        PAGE.write_text(page, "utf-8")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
