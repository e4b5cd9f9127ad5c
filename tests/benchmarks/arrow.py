"""Tables in and out, measured beside Lance with the same table: by the clock, and by the processor time of the process.

Run ``python tests/benchmarks/arrow.py`` (extra ``bench``). Each contestant runs in processes of its own, in turn; the medians
of several rounds are printed with their ratios. Lance's dataset has no index, without which it does not find a row by its id
fast; it is written once more with one. It is opened anew to be read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from main_job import records

COLUMNS = {"uri": "source", "boxes": "rois", "boxes.box": "rois.poly"}
READS = 3


def measured(work: Callable[[], Any], count: int) -> tuple[dict[str, float], Any]:
    """Return rows a second by the clock and by processor time, and the result."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return {"clock": count / clock, "processor": count / processor}, result


def named(name: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{name}_per_s_by_{by}": value for by, value in figures.items()}


def table_of(count: int) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(list(records(count))).combine_chunks()


def run_framelode(folder: Path, count: int) -> dict[str, float]:
    import framelode
    from framelode import DatasetVersion

    table = table_of(count)
    framelode.connect(folder / "warm")
    DatasetVersion.create_new_dataset("warm")
    DatasetVersion.get_current(dataset_name="warm").add_table(table.slice(0, 1000), COLUMNS)
    engine = framelode.connect(folder / "engine")
    DatasetVersion.create_new_dataset("bench")
    draft = DatasetVersion.get_current(dataset_name="bench")
    written, failures = measured(lambda: draft.add_table(table, COLUMNS, refresh_version_stats=False), count)
    assert not failures
    draft.publish_version()
    figures = named("write", written) | named("write_with_index", written)
    found = []
    for _ in range(READS):
        read, whole = measured(draft.to_arrow, count)
        assert len(whole) == count
        del whole
        found.append(read)
    figures |= named("first_read", found[0]) | named("next_read", found[-1])
    figures |= named("iterate_batches", measured(lambda: sum(map(len, draft.to_arrow_reader())), count)[0])
    engine.close()
    return figures


def run_lance(folder: Path, count: int) -> dict[str, float]:
    import lance

    table = table_of(count)
    lance.write_dataset(table.slice(0, 1000), folder / "warm.lance")
    written, _ = measured(lambda: lance.write_dataset(table, folder / "bench.lance"), count)
    figures = named("write", written)

    def write_with_index() -> None:
        lance.write_dataset(table, folder / "indexed.lance").create_scalar_index("id", "BTREE")

    figures |= named("write_with_index", measured(write_with_index, count)[0])
    found = []
    for _ in range(READS):
        read, whole = measured(lambda: lance.dataset(folder / "bench.lance").to_table(), count)
        assert len(whole) == count
        del whole
        found.append(read)
    figures |= named("first_read", found[0]) | named("next_read", found[-1])
    batches = lance.dataset(folder / "bench.lance").to_batches
    return figures | named("iterate_batches", measured(lambda: sum(map(len, batches())), count)[0])


CONTESTANTS = {"framelode": run_framelode, "lance": run_lance}


def run_apart(name: str, count: int) -> dict[str, float]:
    folder = tempfile.mkdtemp()
    try:
        command = [sys.executable, __file__, "--rows", str(count), "--only", name, "--folder", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        shutil.rmtree(folder)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(CONTESTANTS[arguments.only](arguments.folder, arguments.rows)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.rounds):
        for name in CONTESTANTS:
            found[name].append(run_apart(name, arguments.rows))
    print(f"{arguments.rows:,} rows, medians of {arguments.rounds} rounds, rows a second")
    for figure in found["framelode"][0]:
        ours, theirs = ([run[figure] for run in found[name]] for name in CONTESTANTS)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        print(
            f"{figure:32} framelode {statistics.median(ours):12,.0f}  lance {statistics.median(theirs):12,.0f}  "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
