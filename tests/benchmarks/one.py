"""The ONE API: ``python tests/benchmarks/one.py tables [DATASETS]``, ``... setup [FILES]`` and ``... processes [SECONDS]``.

`tables` makes tables of DATASETS (a million) in sessions of 20, and measures how long they take to open, search and list. `setup` makes a folder
of FILES (100,000) small files, and registers it twice. `processes` lets eight processes search, load, record QC and save tables in one folder for
SECONDS (60), and counts what they did. Each figure is that of the best call, on the clock and of the processor.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
import warnings
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from framelode.adapters.one import One
from framelode.adapters.one.alf.cache import QC_TYPE, load_table, save_table
from framelode.adapters.one.recording import FolderRecords

OF_A_SESSION = 20
OBJECTS = ("trials", "wheel", "spikes", "clusters")
ATTRIBUTES = ("times", "depths", "amps", "position", "intervals")
NAMES = tuple(f"alf/_ibl_{name}.{attribute}.npy" for name in OBJECTS for attribute in ATTRIBUTES)
DAYS = 500
SEARCHES = (
    {"subject": "mouse_0042"},
    {"laboratory": ["lab_1", "lab_2"], "date": ["2020-03-01", "2020-04-01"]},
    {"number": 2, "task": "training"},
    {"dataset": "wheel.position"},
    {"dataset": ["trials.intervals", "spikes.times"], "subject": "^mouse_00"},
    {"dataset_qc_lte": "PASS"},
    {"projects": "ibl", "dataset": "clusters.amps", "dataset_qc_lte": "WARNING"},
)


def seconds_of(call, times=1):
    """Return the best seconds of some calls, on the clock and of the processor."""
    clock, processor = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def uuids(count, seed):
    """Return random UUIDs as text."""
    data = np.random.default_rng(seed).bytes(16 * count).hex()
    places = range(0, 32 * count, 32)
    return [
        f"{data[at : at + 8]}-{data[at + 8 : at + 12]}-4{data[at + 13 : at + 16]}-a{data[at + 17 : at + 20]}-{data[at + 20 : at + 32]}"
        for at in places
    ]


def session_of(number):
    """Return lab, subject, day and number of a session; they differ for each."""
    mouse, rest = divmod(number, DAYS)
    day, count = divmod(rest, 2)
    return f"lab_{mouse % 10}", f"mouse_{mouse:04}", date(2020, 1, 1) + timedelta(day), count + 1


def write_tables(folder, datasets):
    """Write tables as a database gives them."""
    eids = uuids(datasets // OF_A_SESSION, 1)
    described = [session_of(number) for number in range(len(eids))]
    sessions = pd.DataFrame(
        described, columns=["lab", "subject", "date", "number"], index=pd.Index(eids, name="id")
    )
    sessions["task_protocol"] = [("training", "recording", "habituation")[n % 3] for n in range(len(eids))]
    sessions["projects"] = [("ibl", "ibl,brain", "other")[n % 3] for n in range(len(eids))]
    paths = [f"{lab}/Subjects/{subject}/{day}/{number:03}" for lab, subject, day, number in described]
    generator = np.random.default_rng(2)
    codes = generator.integers(0, 5, datasets)
    index = pd.MultiIndex.from_arrays(
        [np.repeat(eids, OF_A_SESSION), uuids(datasets, 3)], names=["eid", "id"]
    )
    table = pd.DataFrame(
        {
            "session_path": np.repeat(paths, OF_A_SESSION),
            "rel_path": np.tile(NAMES, len(eids)),
            "file_size": generator.integers(100, 10**9, datasets),
            "hash": [each.replace("-", "") for each in uuids(datasets, 4)],
            "exists": True,
            "qc": pd.Categorical.from_codes(codes, dtype=QC_TYPE),
        },
        index=index,
    )
    made = {"date_created": "2099-01-01 00:00", "origin": "benchmark"}
    save_table(folder / "sessions.pqt", sessions.sort_index(), made)
    save_table(folder / "datasets.pqt", table.sort_index(), made)
    return eids[len(eids) // 2]


def measure_tables(base, datasets):
    eid = write_tables(base, datasets)
    print(f"{datasets:,} datasets in {datasets // OF_A_SESSION:,} sessions")
    tell("open", *seconds_of(lambda: One(base, mode="local"), 3))
    one = One(base, mode="local")
    tell("first search for a dataset", *seconds_of(lambda: one.search(dataset="wheel.position")))
    for terms in SEARCHES:
        tell(
            f"search {terms}: {len(one.search(**terms)):,}",
            *seconds_of(lambda terms=terms: one.search(**terms), 7),
        )
    tell("list a session", *seconds_of(lambda: one.list_datasets(eid), 50))
    tell("list its probes", *seconds_of(lambda: one.list_datasets(eid, "*wheel*", collection="alf"), 50))
    tell("list all names", *seconds_of(one.list_datasets, 3))


def write_files(folder, files):
    for number in range(files // OF_A_SESSION):
        lab, subject, day, count = session_of(number)
        session = folder / lab / "Subjects" / subject / str(day) / f"{count:03}"
        (session / "alf").mkdir(parents=True)
        for name in NAMES:
            (session / name).write_bytes(f"{number} {name}".encode())


def measure_setup(base, files):
    write_files(base, files)
    with FolderRecords(base) as records:
        for what in ("first", "second"):
            took = []
            clock, processor = seconds_of(
                lambda took=took: (took.append(records.register()), records.export())
            )
            print(
                f"{what} setup of {files:,} files: {files / clock:,.0f} files/s ({files / processor:,.0f} by processor), "
                f"recorded {took[0].recorded}",
                flush=True,
            )


def work(folder, number, seconds):
    """Search, load and save in a folder for some seconds; warnings are errors. Returns how many turns were done."""
    warnings.simplefilter("error")
    one, turns = One(folder, mode="local"), 0
    eids, until = one.search(), time.time() + seconds
    while time.time() < until:
        eid = eids[(turns * 8 + number) % len(eids)]
        assert one.search(dataset="wheel.position") == eids
        assert one.load_object(eid, "wheel", collection="alf").position.tolist() == [0, 1, 2]
        one.set_qc(one.list_datasets(eid, details=True).index[number], ("PASS", "WARNING")[turns % 2])
        one.save_cache(force=True)
        one.load_cache()
        assert len(one.list_datasets(eid)) == OF_A_SESSION
        turns += 1
    one.records.close()
    return turns


def measure_processes(base, seconds):
    write_files(base, 400)
    for file in base.rglob("*wheel*.npy"):
        np.save(file, np.arange(3))
    One.setup(base, silent=True).records.close()
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        turns = pool.starmap(work, [(base, number, seconds) for number in range(8)], chunksize=1)
    with FolderRecords(base) as records:
        tables = records.tables()
        saved = {name: load_table(base / f"{name}.pqt")[0].equals(table) for name, table in tables.items()}
        changes = sum(change.kind == "qc_changed" for change in records.history())
    print(
        f"8 processes, {seconds} s: {sum(turns):,} turns {turns}, {changes:,} changes, tables as in the log: {saved}"
    )


def tell(what, clock, processor):
    print(f"{clock * 1e3:>9.2f} ms ({processor * 1e3:>9.2f} of processor): {what}", flush=True)


def main(command="", size=""):
    with tempfile.TemporaryDirectory() as base:
        if command == "tables":
            measure_tables(Path(base), int(size or 1_000_000))
        elif command == "setup":
            measure_setup(Path(base), int(size or 100_000))
        elif command == "processes":
            measure_processes(Path(base), int(size or 60))
        else:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
