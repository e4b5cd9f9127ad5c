"""Export and import of a log in each form: events a second, bytes a frame, memory.

Run ``python tests/benchmarks/portable.py`` (extra ``arrow``). Each step runs in a process of its own, beside a
write of the same frames, so that the ratios tell what a form costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from main_job import PeakMemory, records, size_of, timed

FORMS = {"jsonl": "log.jsonl", "jsonl.zst": "log.jsonl.zst", "parquet": "log.parquet"}


def write(folder: Path, count: int) -> dict[str, float]:
    import framelode
    from framelode import BoundingBox2D, DatasetVersion, SingleFrame

    frames = [
        SingleFrame(
            id=record["id"],
            source=record["uri"],
            width=record["width"],
            height=record["height"],
            metadata=record["meta"],
            annotations=[BoundingBox2D(*box["box"], labels=[box["label"]]) for box in record["boxes"]],
        )
        for record in records(count)
    ]
    with framelode.connect(folder / "engine") as engine:
        DatasetVersion.create_new_dataset("bench")
        draft = DatasetVersion.get_current(dataset_name="bench")
        seconds, _ = timed(lambda: draft.add_frames(frames, refresh_version_stats=False))
        draft.publish_version()
    engine.close()
    return {"write_per_s": count / seconds, "log_bytes": size_of(folder / "engine") / count}


def export(folder: Path, count: int, form: str) -> dict[str, float]:
    import framelode

    with framelode.connect(folder / "engine") as engine, PeakMemory() as memory:
        seconds, done = timed(lambda: engine.export_log(folder / FORMS[form]))
    engine.close()
    return {
        f"{form}_export_per_s": done.events / seconds,
        f"{form}_bytes": done.bytes / count,
        f"{form}_export_mb": memory.megabytes,
    }


def take_over(folder: Path, _: int, form: str) -> dict[str, float]:
    import framelode

    with framelode.connect(folder / form) as engine, PeakMemory() as memory:
        seconds, done = timed(lambda: engine.import_log(folder / FORMS[form]))
    engine.close()
    return {f"{form}_import_per_s": done.events / seconds, f"{form}_import_mb": memory.megabytes}


def run_apart(folder: Path, count: int, *step: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--frames", str(count), "--folder", str(folder), "--step", *step]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_round(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        figures = run_apart(folder, count, "write")
        for form in FORMS:
            figures |= run_apart(folder, count, "export", form)
            figures |= run_apart(folder, count, "import", form)
    return figures


STEPS = {"write": write, "export": export, "import": take_over}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        name, *rest = arguments.step
        print(json.dumps(STEPS[name](arguments.folder, arguments.frames, *rest)))
        return
    rounds = [one_round(arguments.frames) for _ in range(arguments.rounds)]
    print(f"{arguments.frames} frames, medians of {arguments.rounds} rounds; ratio to the rate of writing")
    for figure in rounds[0]:
        ratios = [each[figure] / each["write_per_s"] for each in rounds]
        ratio = f"  ratio {statistics.median(ratios):.2f}" if figure.endswith("_per_s") else ""
        print(f"{figure:24} {statistics.median(each[figure] for each in rounds):12,.1f}{ratio}")


if __name__ == "__main__":
    main()
