"""The same random calls to `One` and to ONE-api 2.9.0, which is in an environment of its own, give the same.

``FRAMELODE_TEST_ONE_API`` names the Python of that environment: ``python -m venv FOLDER && FOLDER/bin/pip install ONE-api==2.9.0 'pandas<3'``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import one_calls
import pandas as pd
import pytest

from framelode.adapters.one.alf.cache import load_table
from framelode.adapters.one.api import One
from framelode.adapters.one.recording import FolderRecords

pytestmark = pytest.mark.skipif(
    "FRAMELODE_TEST_ONE_API" not in os.environ,
    reason="FRAMELODE_TEST_ONE_API names no Python that has ONE-api 2.9.0",
)

CALLS = 1_000
SESSIONS = (
    "lab/Subjects/mouse/2021-02-05/001",
    "lab/Subjects/mouse/2021-02-05/002",
    "lab/Subjects/mouse2/2021-02-06/001",
    "other/Subjects/KS_005/2019-12-31/010",
    "mouse_3/2020-01-01/001",
)
FOLDERS = ("", "alf", "alf/probe00", "alf/probe01", "raw_data")
REVISIONS = ("", "#2020-01-08#", "#2021-07-06#")
FILES = (
    "_ibl_trials.choice.npy",
    "_ibl_trials.intervals_bpod.npy",
    "_ibl_trials.table.pqt",
    "_ibl_wheel.position.npy",
    "_ibl_wheel.timestamps.npy",
    "spikes.times.npy",
    "spikes.depths.npy",
    "spikes.amps.probe.npy",
    "obj.attr.csv",
    "obj.one.tsv",
    "_my_obj.data.json",
    "_ns_video.raw.mp4",
    "clusters.metrics.npz",
    "settings.task.yaml",
)


def make_folder(root):
    """Make sessions with collections, revisions and all kinds of files, registered, with QC of all values."""
    choose = random.Random(7)
    for session in SESSIONS:
        for folder in FOLDERS:
            for revision in REVISIONS:
                for name in FILES:
                    if choose.random() < (0.3 if revision == "" else 0.12):
                        file = root / session / folder / revision / name
                        file.parent.mkdir(parents=True, exist_ok=True)
                        write(file, choose)
    (root / "empty" / "2020-01-01" / "001").mkdir(parents=True)
    with FolderRecords(root) as records:
        records.register(hash_files=True)
        records.export()
    one = One(root, mode="local")
    for value in ("PASS", "WARNING", "FAIL", "CRITICAL"):
        ids = list(one._cache.datasets.index.get_level_values("id"))
        one.set_qc(choose.sample(ids, 15), value)
    one.records.close()
    return root


def write(file, choose):
    length = choose.randint(2, 6)
    match file.suffix:
        case ".npy":
            square = np.array([[0.0, 0.0], [length - 1.0, 10.0]])
            np.save(file, square if "timestamps" in file.name else np.arange(float(length)))
        case ".npz":
            np.savez(file, np.arange(length))
        case ".pqt":
            pd.DataFrame({"x": np.arange(length), "y": 2.0}).to_parquet(file)
        case ".json":
            file.write_text(json.dumps({"n": length}))
        case ".yaml":
            file.write_text(f"n: {length}\n")
        case ".csv" | ".tsv":
            mark = {".csv": ",", ".tsv": "\t"}[file.suffix]
            file.write_text("".join(f"{n}{mark}{2 * n}\n" for n in ("ab", *range(length))))
        case _:
            file.write_bytes(b"x" * length)


class Caller:
    """Makes random calls from what the tables of a folder have."""

    def __init__(self, root, seed):
        self._choose = random.Random(seed)
        one = One(root, mode="local")
        self.sessions, self.datasets = one._cache.sessions, one._cache.datasets
        self.paths = sorted(set(self.datasets["session_path"]))
        self.names = sorted(set(self.datasets["rel_path"]))
        self.eids = list(self.sessions.index)
        self.refs = [one.eid2ref(eid, as_dict=False) for eid in self.eids]
        self.ids = list(self.datasets.index.get_level_values("id"))

    def one_of(self, *makers):
        return self._choose.choice(makers)()

    def some(self, values):
        return self._choose.choice(values)

    def eid(self):
        def ref():
            return {
                **dict(zip(("date", "sequence", "subject"), self.some(self.refs).split("_", 2), strict=True))
            }

        return self.one_of(
            *[lambda: self.some(self.eids)] * 5,
            lambda: {"$uuid": self.some(self.eids)},
            lambda: {"$path": self.some(self.paths)},
            lambda: self.some(self.paths),
            lambda: self.some(self.refs),
            ref,
            lambda: f"https://host/sessions/{self.some(self.eids)}",
            lambda: "0f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11",
            lambda: "nobody/2020-01-01/001",
            lambda: "nonsense",
        )

    def name(self):
        name = self.some(self.names).rsplit("/", 1)[-1]
        parts = name.lstrip("_").split(".")
        return self.one_of(
            *[lambda: name] * 3,
            lambda: name.rsplit(".", 1)[0],
            lambda: self.some(self.names),
            lambda: f"*{parts[0].split('_')[-1]}*",
            lambda: f"*.{parts[-1]}",
            lambda: f"{name[:3]}*",
            lambda: "none.none.npy",
            self.part,
        )

    def part(self):
        name = self.some(self.names).rsplit("/", 1)[-1]
        _, _, (first, *rest) = name.rpartition("/")[0], "", name.split(".")
        objects = first.strip("_").split("_")[-1]
        return self.one_of(
            lambda: {"object": objects},
            lambda: {"object": objects, "attribute": rest[0].split("_")[0]},
            lambda: {"object": [objects, "wheel"], "extension": rest[-1]},
            lambda: {"attribute": [rest[0], "t*"]},
            lambda: {"extension": rest[-1]},
            lambda: {"namespace": "ibl"},
            lambda: {"timescale": "bpod"},
            lambda: {"object": objects, "extra": "probe"},
            lambda: {"wrong": "x"},
        )

    def filename(self):
        return self.one_of(lambda: None, self.name, self.name, lambda: [self.name_text(), self.name_text()])

    def name_text(self):
        while not isinstance(found := self.name(), str):
            pass
        return found

    def collection(self):
        folder = self.some(self.names).rpartition("/")[0].partition("#")[0].strip("/")
        return self.one_of(
            *[lambda: None] * 3,
            *[lambda: folder] * 3,
            lambda: "alf*",
            lambda: "*probe*",
            lambda: "",
            lambda: ["alf", folder],
            lambda: "none",
        )

    def revision(self):
        return self.some(
            (None, None, None, "2020-01-08", "2020-06-01", "2021-07-06", "2019-01-01", "2022-01-01")
        )

    def listed_revision(self):
        return self.some((None, None, "", "2020-01-08", "202*", "2020-06-01", ["", "2021-07-06"]))

    def keywords(self, **makers):
        """Return some of the keywords."""
        return {name: make() for name, make in makers.items() if self._choose.random() < 0.5}

    def call(self):
        """Return a call."""
        name, args, kwargs = self.one_of(
            *[self.search] * 4,
            *[self.lists] * 4,
            *[self.loads] * 5,
            *[self.converts] * 3,
            *[self.tables] * 2,
            *[self.names_of_files] * 4,
        )
        return [name, args, kwargs, self._choose.random() < 0.8]

    def search(self):
        rows = self.sessions
        text = {
            "subject": lambda: self.some(list(rows["subject"])),
            "lab": lambda: self.some([lab for lab in rows["lab"] if lab] or ["lab"]),
            "task_protocol": lambda: self.some(["training", "ephys", "", *rows["task_protocol"]]),
            "projects": lambda: self.some(["ibl", *rows["projects"]]),
        }
        terms = {
            **{
                name: lambda make=make: self.one_of(
                    make,
                    make,
                    lambda: [make(), make()],
                    lambda: make()[:3],
                    lambda: f"^{make()[:2]}",
                    lambda: f"{make()}$",
                )
                for name, make in text.items()
            },
            "number": lambda: self.some([1, 2, "1", [1, 2], "01", 99]),
            "date_range": self.dates,
            "dataset": lambda: self.one_of(
                lambda: self.some(self.names),
                lambda: "wheel",
                lambda: ["wheel", "spikes.times"],
                lambda: "none",
                lambda: ".*pos",
            ),
            "dataset_qc_lte": lambda: self.some(["PASS", "FAIL", 30, "warning", "CRITICAL", "NOPE"]),
        }
        chosen = self._choose.sample(sorted(terms), self._choose.randint(0, 3))
        kwargs = {self.some((name, name, name[:4])): terms[name]() for name in chosen}
        if self._choose.random() < 0.05:
            kwargs[self.some(("foo", "d", "data", "n"))] = "x"
        return "search", [], {**kwargs, **self.keywords(details=lambda: self.some((True, False)))}

    def dates(self):
        day = str(self.some(list(self.sessions["date"])))[:10]
        return self.some(
            [day, [day, None], [None, day], ["2019-01-01", day], [day], [day, "2025-01-01"], None, [1, 2, 3]]
        )

    def lists(self):
        name = self.some(
            ("list_datasets", "list_datasets", "list_collections", "list_revisions", "list_subjects")
        )
        if name == "list_subjects":
            return name, [], {}
        kwargs = self.keywords(
            filename=self.filename,
            collection=self.collection,
            revision=self.listed_revision,
            details=lambda: self.some((True, False)),
        )
        if name == "list_datasets":
            kwargs |= self.keywords(
                qc=lambda: self.some(("PASS", "WARNING", "CRITICAL", 30)), ignore_qc_not_set=lambda: True
            )
        return name, [self.eid()] if self._choose.random() < 0.8 else [], kwargs

    def loads(self):
        more = self.keywords(
            collection=self.collection, revision=self.revision, download_only=lambda: self.some((True, False))
        )
        objects = [name.rsplit("/", 1)[-1].split(".")[0].strip("_").split("_")[-1] for name in self.names]
        return self.one_of(
            lambda: (
                "load_object",
                [self.eid(), self.some([*objects, "wh*", "none"])],
                {**more, **self.keywords(attribute=lambda: self.some(("times", "*s")))},
            ),
            lambda: ("load_dataset", [self.eid(), self.name()], more),
            lambda: (
                "load_datasets",
                [self.eid(), [self.name() for _ in range(self._choose.randint(0, 3))]],
                {
                    **self.keywords(
                        collections=self.collection,
                        revisions=self.revision,
                        assert_present=lambda: False,
                        download_only=lambda: True,
                    )
                },
            ),
            lambda: (
                "load_collection",
                [self.eid(), self.collection() or "alf"],
                {**self.keywords(object=lambda: self.some(objects), download_only=lambda: True)},
            ),
            lambda: (
                "load_dataset_from_id",
                [self.one_of(lambda: self.some(self.ids), lambda: {"$uuid": self.some(self.ids)})],
                self.keywords(details=lambda: True),
            ),
        )

    def converts(self):
        file = f"{self.some(self.paths)}/{self.some(self.names)}"
        return self.one_of(
            lambda: (self.some(("to_eid", "eid2path", "eid2ref", "get_details")), [self.eid()], {}),
            lambda: ("to_eid", [[self.eid(), self.eid()]], {}),
            lambda: ("get_details", [self.eid()], {"full": True}),
            lambda: ("eid2ref", [self.eid()], self.keywords(as_dict=lambda: False, parse=lambda: False)),
            lambda: ("path2eid", [{"$path": self.some((file, self.some(self.paths)))}], {}),
            lambda: (
                "path2eid",
                [self.some((file, self.some(self.paths), "nobody/2020-01-01/001", "x"))],
                {},
            ),
            lambda: (
                self.some(("ref2eid", "ref2path", "ref2dict", "is_exp_ref")),
                [self.some((*self.refs, "2020-01-01_1_nobody"))],
                {},
            ),
            lambda: ("is_exp_ref", [self.some((self.some(self.eids), "x", "2020-1-1_1_m"))], {}),
            lambda: (
                "path2ref",
                [self.some((file, self.some(self.paths)))],
                self.keywords(as_dict=lambda: False),
            ),
            lambda: ("path2record", [{"$path": self.some((file, self.some(self.paths)))}], {}),
            lambda: ("search_terms", [], {}),
        )

    def tables(self):
        table = {"$table": self.some(self.eids)}
        return self.one_of(
            lambda: (
                "util.filter_datasets",
                [self.filename(), self.collection(), self.revision()],
                {
                    **table,
                    **self.keywords(
                        revision_last_before=lambda: False,
                        assert_unique=lambda: False,
                        wildcards=lambda: True,
                        qc=lambda: "WARNING",
                    ),
                },
            ),
            lambda: (
                "util.filter_revision_last_before",
                [self.revision()],
                {**table, "assert_unique": self.some((True, False))},
            ),
        )

    def names_of_files(self):
        path = f"{self.some(self.paths)}/{self.some(self.names)}"
        name = path.rsplit("/", 1)[-1]
        wrong = self.some(
            (name, name, "wrong", "a.b", "_x_.npy", ".npy", "a_b.c.npy", "a.b.c.d.npy", "_ns_a.b_c.npy")
        )
        did = self.some(self.ids)
        either = self.some((True, False))
        front, _, extension = path.rpartition(".")
        relative = self.some((*self.names, wrong, f"alf/#r#/{wrong}", "a/b/#2020#/x.y.z"))
        return self.one_of(
            lambda: (
                "alf.files.filename_parts",
                [wrong],
                {"as_dict": either, "assert_valid": self.some((True, False))},
            ),
            lambda: (
                "alf.files.rel_path_parts",
                [relative],
                {"as_dict": either, "assert_valid": self.some((True, False))},
            ),
            lambda: (
                "alf.files.session_path_parts",
                [self.some((path, "x/y", "mouse/2020-01-01/1"))],
                {"as_dict": either, "assert_valid": self.some((True, False))},
            ),
            lambda: ("alf.files.folder_parts", [path.rpartition("/")[0]], {"as_dict": either}),
            lambda: (
                "alf.files.full_path_parts",
                [self.some((path, wrong))],
                {"as_dict": either, "assert_valid": self.some((True, False))},
            ),
            lambda: (
                self.some(
                    (
                        "alf.files.get_session_path",
                        "alf.files.get_alf_path",
                        "alf.files.without_revision",
                        "alf.files.padded_sequence",
                    )
                ),
                [self.some((path, f"/a/b/{path}", wrong, "x/y"))],
                {},
            ),
            lambda: ("alf.files.add_uuid_string", [path, self.some((did, "x"))], {}),
            lambda: ("alf.files.remove_uuid_string", [self.some((path, f"{front}.{did}.{extension}"))], {}),
            lambda: (
                self.some(("alf.spec.is_valid", "alf.spec.readableALF", "alf.spec.is_uuid_string")),
                [self.some((wrong, did))],
                {},
            ),
            lambda: (
                "alf.spec.is_session_path",
                [self.some((self.some(self.paths), path, "x/2020-01-01/001/"))],
                {},
            ),
            lambda: (
                "alf.spec.to_alf",
                [
                    self.some(("spikes", "a_b", "fooBar")),
                    self.some(("times", "raw_x", "a")),
                    self.some(("npy", ".csv")),
                ],
                self.keywords(
                    namespace=lambda: self.some(("ibl", "a_b")),
                    timescale=lambda: self.some(("bpod", ["a", "bC"])),
                    extra=lambda: self.some(("x", ["x", "y"], [])),
                ),
            ),
            lambda: (
                "util.autocomplete",
                [
                    self.some(("sub", "d", "zzz", "lab", "date")),
                    ["dataset", "date_range", "subject", "laboratory", "lab"],
                ],
                {},
            ),
            lambda: (
                "util.index_last_before",
                [self._choose.sample(["2020-01-08", "2021-07-06", "", "2019"], 3), self.revision()],
                {},
            ),
            lambda: ("util.ensure_list", [self.some(("a", ["a"], 1, None))], {}),
            lambda: (
                "alf.io.exists",
                [{"$path": self.some(self.paths) + "/alf"}, self.some(("wheel", "trials", "none"))],
                self.keywords(attributes=lambda: self.some(("position", ["position", "x"]))),
            ),
            lambda: (
                "alf.io.filter_by",
                [{"$path": self.some(self.paths) + "/alf"}],
                {
                    **self.keywords(
                        object=lambda: self.some(("wheel", "tr*", ["wheel", "spikes"])),
                        extension=lambda: "npy",
                        extra=lambda: self.some((None, "probe")),
                        timescale=lambda: self.some((None, "bpod")),
                    )
                },
            ),
            lambda: (
                "alf.io.load_object",
                [{"$path": self.some(self.paths) + "/alf"}, self.some(("wheel", "trials", "none", "spikes"))],
                self.keywords(short_keys=lambda: True),
            ),
            lambda: ("alf.io.next_num_folder", [{"$path": self.some(self.paths).rsplit("/", 1)[0]}], {}),
        )


def reason(call, ours, theirs):
    """Return why ONE-api gives something else, as the documentation tells it; None if it does not tell."""
    (name, args, kwargs, wildcards), error, value = call, theirs.get("error", [None])[0], theirs.get("value")
    raised, found = ours.get("error", ()), ours.get("value")
    filename = kwargs.get("filename") or (args and args[0])
    rules = {
        "of a list of file names, ONE-api looks for all but the first outside of collections": isinstance(
            filename, list
        )
        and (name.startswith("list_") or name == "util.filter_datasets"),
        "a session without datasets has an empty list, and no rows": (name == "list_datasets" and found == [])
        or (name == "get_details" and kwargs.get("full") and found and not found["index"]),
        "an empty file gives None in an object, too": name
        in {"load_object", "load_collection", "alf.io.load_object"}
        and error == "AttributeError"
        and "NoneType" in theirs["text"],
        "searches go on beside sessions without datasets": name == "search"
        and "Categorical" in theirs.get("text", ""),
        "no range of dates is an open range": name == "search"
        and error == "TypeError"
        and None in kwargs.values(),
        "lists are taken without wildcards, too": name == "search"
        and not wildcards
        and any(isinstance(each, list) for each in kwargs.values()),
        "a wrong value is an error even if nothing is left to look at": value in ([], [[], None])
        and "ValueError" in raised
        and name == "search",
        "a wrong pattern is an error even if nothing is left to look at": "PatternError" in raised,
        "several datasets can be given by their parts": name == "load_datasets" and error == "TypeError",
        "a name of several datasets is told as such": name == "load_datasets"
        and "ALFMultipleObjectsFound" in raised,
        "all loaders take the last revision that is not after the one that is asked for": name.startswith(
            "load_dataset"
        )
        and error == "ALFMultipleRevisionsFound",
        "any identifier of a session is taken": name == "eid2path" and found is not None,
        "a session is found by its subject, day and number": name == "path2record"
        and value is None
        and "subject" in found,
        "a namespace is the whole one": '"namespace"' in json.dumps([args, kwargs]),
        "a dataset of the same name in another folder is another one": name == "path2record"
        and found is None,
        "the columns of a table keep their types": "load_" in name
        and untyped(found) == untyped(value) != None,  # noqa: E711
    }
    return next((why for why, is_so in rules.items() if is_so), None)


def untyped(value):
    """Return a result without the types of its arrays."""
    if isinstance(value, dict):
        return {name: untyped(each) for name, each in value.items() if name != "dtype"}
    return [untyped(each) for each in value] if isinstance(value, list) else value


def results(python, module, root, calls, place):
    """Return what each call gives in a process of its own."""
    file = place / "calls.json"
    file.write_text(json.dumps(calls))
    done = subprocess.run(
        [python, one_calls.__file__, module, str(root), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def agree(ours, theirs):
    """Whether two results are the same; an error must also be one of the class that ONE-api raises."""
    if "error" in theirs:
        return "error" in ours and theirs["error"][0] in ours["error"]
    return ours.get("value", ours) == theirs["value"]


def compare(root, place, seed):
    """Assert that random calls give the same, or differ for reasons that are told."""
    caller = Caller(root, seed)
    calls = [caller.call() for _ in range(CALLS)]
    twins = [place / name for name in ("ours", "theirs")]
    for twin in twins:
        shutil.copytree(root, twin)
    ours = results(sys.executable, "framelode.adapters.one", twins[0], calls, place)
    theirs = results(os.environ["FRAMELODE_TEST_ONE_API"], "one", twins[1], calls, place)
    different = [row for row in zip(calls, ours, theirs, strict=True) if not agree(*row[1:])]
    assert [json.dumps(row) for row in different if reason(*row) is None] == []
    assert len(different) < CALLS / 8


def test_registered_folder(tmp_path):
    compare(make_folder(tmp_path / "data"), tmp_path, seed=1)


def test_old_tables(ibl, tmp_path):
    compare(ibl, tmp_path, seed=2)


THEIR_TABLES = """
import sys
from pathlib import Path
from one.alf.cache import make_parquet_db
from one.api import One
from one.alf.spec import QC
root, made = Path(sys.argv[1]), Path(sys.argv[2])
make_parquet_db(root, out_dir=made)
one = One(cache_dir=root, mode="local")
one._cache["datasets"] = table = one._cache["datasets"].copy()
table["qc"] = table["qc"].where(~table["rel_path"].str.contains("wheel"), "CRITICAL")
one._cache["_meta"]["modified_time"] = one._cache["_meta"]["loaded_time"].replace(year=2099)
one._save_cache(save_dir=root, force=True)
"""


def test_each_reads_and_keeps_the_tables_of_the_other(tmp_path):
    root, made = make_folder(tmp_path / "data"), tmp_path / "made"
    made.mkdir()
    # ONE-api makes no tables of a folder with a session that has no datasets.
    shutil.rmtree(root / "empty")
    command = [os.environ["FRAMELODE_TEST_ONE_API"], "-c", THEIR_TABLES, root, made]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("sessions", "datasets"):
        (ours, our_keys), (theirs, their_keys) = (
            load_table(folder / f"{name}.pqt") for folder in (root, made)
        )
        assert set(their_keys) <= set(our_keys)
        same = ours.columns.intersection(theirs.columns)
        assert list(same) == list(theirs.columns)
        assert ours.index.names == theirs.index.names
        # Their hashes are missing, which makes no type.
        assert ours[same.drop("hash", errors="ignore")].dtypes.equals(
            theirs[same.drop("hash", errors="ignore")].dtypes
        )
    their_own = One(root, mode="local", tables_dir=made)
    assert len(their_own.list_datasets(details=True)) == len(
        One(root).list_datasets(details=True, qc="CRITICAL")
    )
    with FolderRecords(root) as records:
        assert records.register().recorded == {}
        records.export()
        table = load_table(root / "datasets.pqt")[0]
        assert set(table.loc[table["rel_path"].str.contains("wheel"), "qc"]) == {"CRITICAL"}
        pd.testing.assert_frame_equal(table, records.tables()["datasets"])
