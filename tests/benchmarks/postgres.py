"""Appends on PostgreSQL, measured beside SQLite: the frames of the main job through `add_frames`, both durable.

Run ``python tests/benchmarks/postgres.py``. The server is one of its own that waits for the disk at each commit
(``fsync=on``, ``synchronous_commit=on``), reached by its socket or with ``--tcp`` by the network of this machine; ``--url`` takes one
that runs already. Each database is measured in processes of its own, in turn, and the medians of several rounds are printed
with their ratio. ``--batch-size`` and ``--parts`` show what small appends cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import main_job

import framelode
from framelode import BoundingBox2D, DatasetVersion, SingleFrame

sys.path.append(str(Path(__file__).parents[1] / "support"))
import postgres_server

SMALL_APPENDS = 200


def run(url: str, count: int, batch_size: int) -> dict[str, float]:
    """Measure the rate of one big `add_frames`, and of appends of one frame."""
    frames = [
        SingleFrame(
            id=record["id"],
            source=record["uri"],
            width=record["width"],
            height=record["height"],
            metadata=record["meta"],
            annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in record["boxes"]],
        )
        for record in main_job.records(count)
    ]
    with closing(framelode.connect(url)) as engine:
        DatasetVersion.create_new_dataset("bench")
        draft = DatasetVersion.get_current(dataset_name="bench")
        options = {"refresh_version_stats": False, "batch_size": batch_size}
        seconds, failures = main_job.timed(lambda: draft.add_frames(frames, **options))
        assert not failures
        assert engine.log.head().position >= count
        few = frames[:SMALL_APPENDS]
        for frame in few:
            frame.width = 1280
        small, _ = main_job.timed(lambda: [draft.add_frames([frame], **options) for frame in few])
    return {"frames_per_s": count / seconds, "small_appends_per_s": len(few) / small}


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """Give the URL of a new database of a server."""
    name = f"bench_{uuid.uuid4().hex}"
    with postgres_server._connect(server_url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        # What one round leaves to be written is not for the next one to pay.
        connection.execute("CHECKPOINT")
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with postgres_server._connect(server_url) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def run_apart(url: str, arguments: argparse.Namespace) -> dict[str, float]:
    options = ["--frames", str(arguments.frames), "--batch-size", str(arguments.batch_size)]
    command = [sys.executable, __file__, *options, "--only", url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--tcp", action="store_true", help="reach the server by TCP")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run(arguments.only, arguments.frames, arguments.batch_size)))
        return
    found: dict[str, list[dict[str, float]]] = {"postgres": [], "sqlite": []}
    started = nullcontext() if arguments.url else postgres_server.own_server(durable=True, tcp=arguments.tcp)
    with started as server:
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as folder:
                found["sqlite"].append(run_apart(folder, arguments))
            with database(arguments.url or server.url) as url:
                found["postgres"].append(run_apart(url, arguments))
    print(
        f"{arguments.frames} frames in batches of {arguments.batch_size}, medians of {arguments.rounds} rounds"
    )
    for figure in found["postgres"][0]:
        pairs = [(a[figure], b[figure]) for a, b in zip(found["postgres"], found["sqlite"], strict=True)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [a / b for a, b in pairs]
        print(
            f"{figure:22} postgres {ours:10,.0f}  sqlite {theirs:10,.0f}  "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
