"""Ten questions to frames, beside DuckDB and the scanner of Lance on the same columns.

Run ``python tests/benchmarks/queries.py [--frames 1000000]``. DuckDB and Lance get a virtual environment each in the folder ``--cache``,
as for `peers.py`. Every question is asked of all in turn, several times, with warm caches; the figures are medians, by the clock
and of processor time. All must give the same answers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))

from peers import Peer, Worker, environment, number, serve

PEERS = {
    "framelode": Peer("framelode", "streets_framelode.Streets"),
    "duckdb": Peer("DuckDB", "streets_duckdb.Streets", ("duckdb==1.5.5", "pyarrow==26.0.1")),
    "lance": Peer("Lance", "streets_lance.Streets", ("pylance==14.0.2", "pyarrow==26.0.1")),
}
OTHERS = tuple(name for name in PEERS if name != "framelode")
KINDS = ("clock", "processor")


def figures(worker: Worker, step: str) -> dict[str, Any]:
    found, _ = worker.ask(step)
    if "error" in found:
        raise SystemExit(f"{worker.name}: {step} failed\n{found['error']}")
    return found


def both(found: dict[str, Any]) -> str:
    return " / ".join(number(1e3 * found[kind]) for kind in KINDS)


def own_figures(worker: Worker, frames: int) -> list[str]:
    """Return the lines about framelode alone."""
    built = figures(worker, "build")
    lines = [f"columns built: {frames / built['processor']:,.0f} frames a second of processor time"]
    lines.append(f"bytes a frame on disk: {figures(worker, 'size')['amount'] / frames:.1f}")
    lines.append(f"a new process, opened and asked: {both(figures(worker, 'cold'))} ms")
    return lines


def compare(workers: dict[str, Worker], rounds: int) -> list[str]:
    """Return a table of the questions, and the medians of their ratios."""
    from contestants.streets import QUESTIONS

    lines = [
        "| question, ms by the clock / of processor time |"
        + "".join(f" {PEERS[name].title} |" for name in workers)
    ]
    lines[0] += "".join(f" {PEERS[name].title} over framelode |" for name in workers if name != "framelode")
    lines.append(f"| --- |{' --- |' * (2 * len(workers) - 1)}")
    ratios: dict[tuple[str, str], list[float]] = {}
    for question in QUESTIONS:
        taken: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                taken[name].append(figures(worker, question.name))
        answers = [found[0]["answer"] for found in taken.values()]
        if any(answer != answers[0] for answer in answers):
            raise SystemExit(f"{question.title}: the answers differ: {str(answers)[:1000]}")
        medians = {
            name: {kind: statistics.median(each[kind] for each in found) for kind in KINDS}
            for name, found in taken.items()
        }
        cells = [both(medians[name]) for name in workers]
        for name in (name for name in workers if name != "framelode"):
            own = [medians[name][kind] / medians["framelode"][kind] for kind in KINDS]
            for kind, ratio in zip(KINDS, own, strict=True):
                ratios.setdefault((name, kind), []).append(ratio)
            cells.append(" / ".join(number(ratio, 2) for ratio in own))
        lines.append(f"| {question.title} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    for (name, kind), found in ratios.items():
        lines.append(f"median of the ratios, {PEERS[name].title}, {kind}: {statistics.median(found):.2f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers", default=",".join(OTHERS), help="of duckdb and lance; empty for framelode alone"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "framelode-peers",
        help="folder of the environments",
    )
    parser.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder, arguments.frames, PEERS)
        return
    names = ["framelode", *filter(None, arguments.peers.split(","))]
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"unknown contestants: {', '.join(unknown)}; known are {', '.join(OTHERS)}")
    pythons = {name: environment(name, arguments.cache, PEERS) for name in names}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(closing(Worker(name, pythons[name], arguments.frames, __file__)))
            for name in names
        }
        for worker in workers.values():
            worker.answer()
        lines = own_figures(workers["framelode"], arguments.frames)
        lines += compare(workers, arguments.rounds)
        lines.append(f"first 100 hits: {both(figures(workers['framelode'], 'first'))} ms")
        lines.append(f"memory grew by {figures(workers['framelode'], 'grown')['amount'] / 1e6:.0f} MB")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
