"""`One` on folders that are registered: search, list, load, revisions, the past, and what is recorded."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from forked import Program

import framelode
from framelode.adapters.one.alf.cache import (
    load_table,
    make_parquet_db,
    md5_of,
    remove_missing_datasets,
    save_table,
)
from framelode.adapters.one.alf.exceptions import (
    ALFError,
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
)
from framelode.adapters.one.api import DatasetMismatchWarning, One
from framelode.adapters.one.recording import FolderRecords
from framelode.engine.errors import ConflictError, NotFoundError, UsageError

SESSIONS = ("lab/Subjects/mouse/2021-02-05/001", "lab/Subjects/mouse/2021-02-06/002", "other/2020-01-01/001")
FIRST = "mouse/2021-02-05/001"


@pytest.fixture
def records(tree):
    with FolderRecords(tree) as made:
        made.register()
        made.export()
        yield made


@pytest.fixture
def one(records):
    opened = One(records.root, mode="local")
    yield opened
    opened.records.close()


def rewrite(path, data):
    path.write_bytes(data)
    return path


class TestSearch:
    @pytest.mark.parametrize(
        ("terms", "places"),
        [
            ({}, (1, 0, 2)),
            ({"subject": "mouse"}, (1, 0)),
            ({"subj": ["^oth", "none"]}, (2,)),
            ({"lab": "lab"}, (1, 0)),
            ({"date": "2021-02-05"}, (0,)),
            ({"date_range": ["2021-02-05", "2021-02-06"]}, (1, 0)),
            ({"date_range": [None, "2020-12-31"]}, (2,)),
            ({"number": "002"}, (1,)),
            ({"number": [1, 2]}, (1, 0, 2)),
            ({"dataset": "trials.choice"}, (1, 0)),
            ({"dataset": ["trials", "spikes"]}, (0,)),
            ({"dataset_qc_lte": "PASS"}, (1, 0, 2)),
            ({"subject": "mouse", "date": "2021-02-06"}, (1,)),
            ({"subject": "zzz"}, ()),
        ],
    )
    def test_terms(self, one, terms, places):
        assert one.search(**terms) == [one.to_eid(SESSIONS[place]) for place in places]

    @pytest.mark.parametrize(
        "terms",
        [{"foo": 1}, {"d": "x"}, {"dataset_qc_lte": "NOPE"}, {"subject": "["}, {"number": "x"}, {"date": []}],
    )
    def test_wrong_terms(self, one, terms):
        with pytest.raises(ValueError, match=r"search term|QC value|regular expression|integer|range"):
            one.search(**terms)

    def test_details(self, one):
        eids, details = one.search(subject="mouse", details=True)
        assert [each.subject for each in details] == ["mouse", "mouse"]
        assert set(details[0]) == {"lab", "subject", "date", "number", "task_protocol", "projects"}
        assert one.search(subject="zzz", details=True) == ([], None)
        assert one.search_terms()[0] == "dataset"
        assert len(eids) == 2

    def test_plain_text(self, one):
        one.wildcards = False
        assert len(one.search(subject="^mouse")) == 0
        assert len(one.search(subject="mous")) == 2

    def test_datasets_that_are_missing_or_bad_do_not_count(self, one):
        eid = one.to_eid(FIRST)
        one.set_qc(one.list_datasets(eid, "*spikes*", details=True).index, "FAIL")
        assert one.search(dataset="spikes", dataset_qc_lte="WARNING") == []
        assert one.search(dataset="spikes") == [eid]
        Path(one.cache_dir, SESSIONS[1], "alf/_ibl_trials.choice.npy").unlink()
        one.load_datasets(SESSIONS[1], ["_ibl_trials.choice.npy"], assert_present=False)
        assert one.search(dataset="trials.choice") == [eid]


class TestLists:
    def test_datasets(self, one):
        assert one.list_datasets(FIRST, collection="*probe*") == [
            f"alf/{probe}/spikes.{name}.npy"
            for probe in ("probe00", "probe01")
            for name in ("depths", "times")
        ]
        assert len(one.list_datasets(FIRST, {"object": ["wheel", "trial?"]})) == 4
        assert one.list_datasets("nobody/2021-01-01/001") == []
        assert one.list_datasets("nobody/2021-01-01/001", details=True).empty
        assert len(one.list_datasets()) == 9
        one.set_qc(one.list_datasets(FIRST, "*wheel*", details=True).index, 50)
        assert len(one.list_datasets(FIRST)) == 6
        assert len(one.list_datasets(FIRST, qc="CRITICAL")) == 8
        assert one.list_datasets(FIRST, ignore_qc_not_set=True) == []

    def test_the_rest(self, one):
        assert one.list_collections(FIRST) == ["alf", "alf/probe00", "alf/probe01"]
        assert one.list_collections() == ["", "alf", "alf/probe00", "alf/probe01"]
        assert set(one.list_collections(FIRST, details=True)) == {"alf", "alf/probe00", "alf/probe01"}
        assert one.list_revisions() == [""]
        assert one.list_collections("nobody/2021-01-01/001") == []
        assert one.list_subjects() == ["mouse", "other"]

    def test_details(self, one):
        eid = one.to_eid(FIRST)
        assert one.get_details(eid).subject == "mouse"
        assert one.get_details(eid, full=True).shape == (8, 12)
        with pytest.raises(ALFObjectNotFound, match="there is no session with the id"):
            one.get_details("0f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11")
        for wrong in ("nonsense", "nobody/2021-01-01/001"):
            with pytest.raises(ValueError, match="session"):
                one.get_details(wrong)

    def test_conversions(self, one):
        eid, path = one.to_eid(FIRST), Path(one.cache_dir, SESSIONS[0])
        same = (
            eid,
            UUID(eid),
            path,
            path / "alf",
            FIRST,
            "2021-02-05_1_mouse",
            f"https://h/sessions/{eid}",
            {"id": eid},
        )
        assert one.to_eid([*same, one.eid2ref(eid), one.get_details(eid).to_dict()]) == [eid] * 10
        assert one.eid2path([eid, path]) == [path, path]
        assert one.eid2ref(eid, as_dict=False) == "2021-02-05_1_mouse"
        assert one.ref2eid("2021-02-05_001_mouse") == eid
        assert one.ref2path(one.eid2ref(eid)) == path
        assert one.path2eid("nobody/2021-01-01/001") is None
        assert one.to_eid(None) is None
        file = path / "alf/_ibl_wheel.position.npy"
        assert one.record2path(one.path2record(str(file))) == file
        assert one.path2record(path).subject == "mouse"
        assert one.path2record(path / "alf/none.none.npy") is None
        for wrong in ("nonsense", 3, {"subject": "x"}):
            with pytest.raises(ValueError, match=r"does not identify|has no id"):
                one.to_eid(wrong)
        with pytest.raises(NotImplementedError, match="use OneAlyx"):
            one.path2url(file)


class TestLoads:
    def test_objects(self, one):
        assert one.load_object(FIRST, "wheel").keys() == {"position", "velocity"}
        assert one.load_object(FIRST, "spikes", collection="*probe01").times.tolist() == [0, 1, 2, 3, 4]
        assert one.load_object(FIRST, "trials", timescale="bpod").keys() == {"intervals_bpod"}
        assert len(one.load_object(FIRST, "wheel", download_only=True)) == 2
        with pytest.raises(ALFMultipleCollectionsFound, match="alf/probe00"):
            one.load_object(FIRST, "spikes")
        with pytest.raises(ALFMultipleObjectsFound, match="trials"):
            one.load_object(FIRST, "*", collection="alf")
        with pytest.raises(ALFObjectNotFound, match="lick"):
            one.load_object(FIRST, "lick")

    def test_datasets(self, one):
        for name in ("_ibl_wheel.position.npy", "_ibl_wheel.position", "alf/_ibl_wheel.position.npy"):
            assert one.load_dataset(FIRST, name).size == 6
        assert one.load_dataset(FIRST, {"object": "wheel", "attribute": "position"}).size == 6
        assert one.load_dataset(FIRST, "spikes.times.npy", collection="alf/probe00").size == 5
        for path in one.list_datasets(FIRST):
            assert one.load_dataset(FIRST, path, download_only=True) == Path(one.cache_dir, SESSIONS[0], path)
        with pytest.raises(ALFMultipleCollectionsFound):
            one.load_dataset(FIRST, "spikes.times.npy")
        with pytest.raises(ValueError, match="collection and revision must be None"):
            one.load_dataset(FIRST, "alf/_ibl_wheel.position.npy", collection="alf")
        with pytest.warns(UserWarning, match="not in relative paths"):
            one.load_dataset(FIRST, "alf*/_ibl_wheel.position.npy")
        with pytest.raises(ALFObjectNotFound, match='"a.b.npy" not found'):
            one.load_dataset(FIRST, "a.b.npy")

    def test_several_datasets(self, one, caplog):
        data, records = one.load_datasets(FIRST, ["_ibl_wheel.position.npy", "a.b.npy"], assert_present=False)
        assert (data[0].size, data[1], records[0]["rel_path"], records[1]) == (
            6,
            None,
            "alf/_ibl_wheel.position.npy",
            None,
        )
        assert "not in the cache: a.b.npy" in caplog.text
        with pytest.raises(ALFObjectNotFound, match="not in the cache: a.b.npy"):
            one.load_datasets(FIRST, ["a.b.npy"])
        with pytest.raises(TypeError, match="must be a list"):
            one.load_datasets(FIRST, "a.b.npy")
        with pytest.raises(ValueError, match="2 collections or revisions are given for 1"):
            one.load_datasets(FIRST, ["a.b.npy"], collections=["", ""])

    def test_collections_and_ids(self, one):
        assert set(one.load_collection(FIRST, "alf")) == {"trials", "wheel"}
        assert set(one.load_collection(FIRST, "alf", object="wheel").wheel) == {"position", "velocity"}
        with pytest.raises(ALFError, match="'none' was not found"):
            one.load_collection(FIRST, "none")
        (did,) = one.list_datasets(SESSIONS[1], details=True).index
        data, record = one.load_dataset_from_id(UUID(did), details=True)
        assert (data.size, record.rel_path) == (3, "alf/_ibl_trials.choice.npy")
        with pytest.raises(ALFObjectNotFound, match="there is none with the id"):
            one.load_dataset_from_id(did[::-1])

    def test_missing_files(self, one):
        file = one.load_dataset(FIRST, "_ibl_wheel.position.npy", download_only=True)
        file.unlink()
        assert one.load_object(FIRST, "wheel").keys() == {"velocity"}
        with pytest.raises(ALFObjectNotFound, match="not found on disk: .*_ibl_wheel.position.npy"):
            one.load_dataset(FIRST, "_ibl_wheel.position.npy")

    def test_a_changed_byte_and_a_changed_size_are_told(self, records):
        records.register(hash_files=True)
        records.export()
        one = One(records.root, mode="local")
        file = Path(records.root, SESSIONS[0], "alf/_ibl_wheel.position.npy")
        data = bytearray(file.read_bytes())
        before = md5_of(file)
        data[-1] ^= 1
        file.write_bytes(data)
        with pytest.warns(DatasetMismatchWarning, match=f"its MD5 is {md5_of(file)}, {before} is recorded"):
            assert one.load_object(FIRST, "wheel").keys() == {"position", "velocity"}
        file.write_bytes(bytes(data) + b"x")
        with pytest.warns(
            DatasetMismatchWarning, match=f"it has {len(data) + 1} bytes, {len(data)} are recorded"
        ):
            one.load_dataset(FIRST, "_ibl_wheel.position.npy", download_only=True)

    def test_what_can_run_code_needs_the_opt_in(self, one):
        file = one.load_dataset(FIRST, "_ibl_wheel.position.npy", download_only=True)
        np.save(file, np.array([{}], dtype=object))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DatasetMismatchWarning)
            with pytest.raises(ValueError, match="allow_pickle"):
                one.load_dataset(FIRST, "_ibl_wheel.position.npy")
            one.allow_pickle = True
            assert one.load_dataset(FIRST, "_ibl_wheel.position.npy").tolist() == [{}]


class TestRevisions:
    @pytest.fixture
    def revised(self, tmp_path):
        for revision in ("", "#2020-01-08#", "#2021-07-06#"):
            folder = tmp_path / "m/2019-01-01/001/alf" / revision
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / "spikes.times.npy", np.array([len(revision), int(revision[1:5] or 0)]))
        return One.setup(tmp_path, silent=True)

    @pytest.mark.parametrize(
        ("revision", "year"),
        [(None, 2021), ("2020-01-08", 2020), ("2020-02-01", 2020), ("2019-01-01", 0), ("2022-01-01", 2021)],
    )
    def test_loaders_agree(self, revised, revision, year):
        eid = "m/2019-01-01/001"
        assert revised.load_dataset(eid, "spikes.times.npy", revision=revision)[1] == year
        assert revised.load_datasets(eid, ["spikes.times.npy"], revisions=revision)[0][0][1] == year
        assert revised.load_object(eid, "spikes", revision=revision).times[1] == year
        assert revised.load_collection(eid, "alf", revision=revision).spikes.times[1] == year

    def test_lists_and_paths(self, revised):
        eid = "m/2019-01-01/001"
        assert revised.list_revisions(eid) == ["", "2020-01-08", "2021-07-06"]
        assert revised.list_revisions(eid, revision="202[01]*") == ["2020-01-08", "2021-07-06"]
        assert revised.list_datasets(eid, revision="2020-01-08") == ["alf/#2020-01-08#/spikes.times.npy"]
        assert revised.load_dataset(eid, "alf/#2020-01-08#/spikes.times.npy")[1] == 2020
        with pytest.warns(UserWarning, match="later default revision"):
            revised.load_datasets(eid, ["alf/spikes.times.npy"])

    def test_one_default_per_dataset(self, revised):
        datasets = revised.list_datasets(details=True)
        assert datasets.set_index("rel_path")["default_revision"].to_dict() == {
            "alf/spikes.times.npy": False,
            "alf/#2020-01-08#/spikes.times.npy": False,
            "alf/#2021-07-06#/spikes.times.npy": True,
        }
        folder = Path(revised.cache_dir, "m/2019-01-01/001/alf/#2022-01-01#")
        folder.mkdir()
        np.save(folder / "spikes.times.npy", np.zeros(1))
        with FolderRecords(revised.cache_dir) as records:
            assert records.register().recorded == {"datasets_registered": 1, "revisions_changed": 1}
            assert records.tables()["datasets"]["default_revision"].sum() == 1


class TestRecords:
    def test_tables_are_rebuilt_and_equal(self, records):
        first = {name: load_table(records.root / f"{name}.pqt")[0] for name in ("sessions", "datasets")}
        assert list(first["datasets"].columns) == [
            "session_path",
            "rel_path",
            "file_size",
            "hash",
            "exists",
            "qc",
        ]
        engine = framelode.connect(records.root / ".framelode")
        engine.rebuild()
        assert engine.verify().events
        engine.close()
        for name, table in records.tables().items():
            pd.testing.assert_frame_equal(table, first[name])

    def test_a_second_run_records_nothing(self, records):
        before = records.session.log.head().position
        assert records.register().recorded == {}
        assert records.session.log.head().position == before

    def test_changes(self, records):
        session = records.root / SESSIONS[0]
        rewrite(session / "alf/_ibl_wheel.position.npy", b"changed")
        (session / "alf/_ibl_wheel.velocity.npy").unlink()
        rewrite(session / "alf/_ibl_wheel.new.npy", b"new")
        assert records.register().recorded == {
            "datasets_registered": 1,
            "files_changed": 1,
            "datasets_missing": 1,
        }
        rewrite(session / "alf/_ibl_wheel.velocity.npy", b"again")
        assert records.register().recorded == {"datasets_found": 1, "files_changed": 1}
        kinds = [change.kind for change in records.history() if "velocity" in change.path]
        assert kinds == ["datasets_registered", "datasets_missing", "datasets_found", "files_changed"]

    def test_a_renamed_session_keeps_its_ids(self, records):
        before = records.tables()["datasets"].index
        shutil.move(records.root / SESSIONS[0], records.root / "lab/Subjects/mouse/2021-02-05/009")
        assert records.register().recorded == {"session_changed": 1}
        tables = records.tables()
        assert tables["datasets"].index.equals(before)
        assert 9 in set(tables["sessions"]["number"])
        shutil.copytree(records.root / "lab/Subjects/mouse/2021-02-05/009", records.root / SESSIONS[0])
        assert records.register().recorded == {"session_registered": 1, "datasets_registered": 8}
        assert records.tables()["datasets"].index.is_unique

    def test_ids_are_the_same_in_every_folder(self, records, tmp_path):
        shutil.copytree(records.root, tmp_path / "twin", ignore=shutil.ignore_patterns(".framelode", "*.pqt"))
        make_parquet_db(tmp_path / "twin")
        twin = load_table(tmp_path / "twin" / "datasets.pqt")[0]
        assert twin.index.equals(records.tables()["datasets"].index)

    def test_ids_of_tables_are_kept(self, tree):
        datasets = pd.DataFrame(
            {
                "eid": ["0f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11"] * 2,
                "id": ["1f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11"] * 2,
                "session_path": [SESSIONS[1], SESSIONS[1]],
                "rel_path": ["alf/_ibl_trials.choice.npy", "alf/_ibl_trials.gone.npy"],
                "file_size": [1.0, float("nan")],
                "hash": ["abc", None],
                "exists": True,
            }
        ).set_index(["eid", "id"])
        fields = {
            "lab": "lab",
            "subject": "mouse",
            "date": "2021-02-06",
            "number": 2,
            "project": "p",
            "task_protocol": "t",
        }
        sessions = pd.DataFrame(fields, index=pd.Index(datasets.index.unique("eid"), name="id"))
        for name, table in {"sessions": sessions, "datasets": datasets}.items():
            save_table(tree / f"{name}.pqt", table, {"date_created": "2020-01-01 00:00"})
        with FolderRecords(tree) as records:
            done = records.register()
            assert (done.sessions, done.datasets) == (3, 10)
            assert done.recorded["datasets_missing"] == 1
            tables = records.tables()
        rows = tables["datasets"].loc[datasets.index[0][0]]
        assert rows["rel_path"]["1f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11"] == "alf/_ibl_trials.choice.npy"
        assert rows.index.is_unique
        assert rows["hash"].iloc[0] != "abc"
        assert tables["sessions"].loc[datasets.index[0][0], "projects"] == "p"

    def test_quality_control_is_recorded(self, one):
        ids = one.list_datasets(FIRST, "*wheel*", details=True).index
        one.set_qc(ids, "WARNING")
        assert set(one.records.tables()["datasets"].xs(ids[0], level="id")["qc"]) == {"WARNING"}
        assert [change.values["qc"] for change in one.records.history(ids[0])] == [0, 30]
        assert set(One(one.cache_dir).list_datasets(FIRST, "*wheel*", details=True)["qc"]) == {"WARNING"}
        with pytest.raises(ALFObjectNotFound):
            one.set_qc("none", "PASS")

    def test_what_other_programs_changed_in_the_tables_is_kept(self, one):
        file = Path(one.cache_dir, "datasets.pqt")
        table, raw = load_table(file)
        eid, did = next(
            index for index in table.index if table.loc[index, "rel_path"].endswith("velocity.npy")
        )
        table.loc[(eid, did), "qc"] = "FAIL"
        new = table.loc[[(eid, did)]].rename(index={did: "1f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11"}, level="id")
        new = new.assign(rel_path="alf/_ibl_wheel.remote.npy", exists=False)
        save_table(file, pd.concat([table, new]).astype(table.dtypes).sort_index(), raw)
        velocity = Path(one.cache_dir, SESSIONS[0], "alf/_ibl_wheel.velocity.npy")
        np.save(velocity, np.arange(9.0))
        one.records.register()
        one.records.export()
        rows = load_table(file)[0].loc[eid]
        assert rows.loc[did, ["qc", "file_size"]].tolist() == ["FAIL", velocity.stat().st_size]
        assert rows.loc["1f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11", "rel_path"] == "alf/_ibl_wheel.remote.npy"
        assert [change.kind for change in one.records.history(did)] == [
            "datasets_registered",
            "files_changed",
            "qc_changed",
        ]
        position = one.records.session.log.head().position
        one.records.export()
        assert one.records.register().recorded == {}
        assert one.records.session.log.head().position == position

    def test_loads_are_recorded_when_asked(self, one):
        one.record_loaded = True
        one.load_object(FIRST, "wheel")
        ids, file = one.save_loaded_ids(clear_list=False)
        assert sorted(pd.read_csv(file)["dataset_uuid"]) == sorted(ids)
        assert {load.id for load in one.records.loads()} == set(ids)
        assert one.save_loaded_ids(sessions_only=True)[0].tolist() == [one.to_eid(FIRST)]
        with pytest.warns(UserWarning, match="no datasets were loaded"):
            assert one.save_loaded_ids() == ([], None)

    def test_the_engine_of_the_caller_is_used(self, tree, tmp_path):
        with framelode.connect(tmp_path / "engine") as engine, FolderRecords(tree) as records:
            records.register()
            assert records.session is engine.session
            records.export()
            assert One(tree, engine=engine).records.exists()
        assert not (tree / ".framelode" / "log.db").exists()
        engine.close()


def test_in_postgresql(tree, tmp_path, postgres_url):
    with framelode.connect(postgres_url, blobs=tmp_path / "blobs") as engine:
        one = One.setup(tree, silent=True)
        assert one.records.session is engine.session
        assert not (tree / ".framelode" / "log.db").exists()
        assert one.search(subject="mouse", dataset="trials.choice") == [
            one.to_eid(SESSIONS[n]) for n in (1, 0)
        ]
        assert one.load_object(FIRST, "wheel").keys() == {"position", "velocity"}
        one.set_qc(one.list_datasets(FIRST, "*wheel*", details=True).index, "WARNING")
        position = one.tag("before")
        for revision in ("#2020-01-08#", "#2021-07-06#"):
            folder = Path(tree, SESSIONS[0], "alf", revision)
            folder.mkdir()
            np.save(folder / "_ibl_wheel.position.npy", np.full(2, int(revision[1:5])))
        assert one.records.register().recorded == {"datasets_registered": 2, "revisions_changed": 1}
        one.records.export()
        one.load_cache()
        for revision, first in ((None, 2021), ("2020-02-01", 2020), ("2019-01-01", 0)):
            assert one.load_dataset(FIRST, "_ibl_wheel.position.npy", revision=revision)[0] == first
        for moment in (position, "before", ["before", position]):
            assert len(one.list_datasets(FIRST, as_of=moment)) == 8
            assert one.load_dataset(FIRST, "_ibl_wheel.position.npy", as_of=moment).size == 6
        one.record_loaded = True
        one.load_object(FIRST, "wheel")
        assert {load.id for load in one.records.loads()} == set() != set(one.save_loaded_ids()[0])
        assert len(one.records.loads()) == 2
        before = one.records.tables()
        engine.rebuild()
        assert engine.verify().events
        for name, table in one.records.tables().items():
            pd.testing.assert_frame_equal(table, before[name])
            pd.testing.assert_frame_equal(load_table(tree / f"{name}.pqt")[0], table)
        engine.close()


class TestPast:
    def test_search_list_and_load(self, one):
        position = one.records.session.log.head().position
        np.save(Path(one.cache_dir, SESSIONS[1], "alf/_ibl_trials.new.npy"), np.zeros(1))
        new = Path(one.cache_dir, "third/2022-01-01/001/a.b.npy")
        new.parent.mkdir(parents=True)
        np.save(new, np.zeros(2))
        one.tag("before")
        one.records.register()
        one.records.export()
        one.load_cache()
        assert (len(one.search()), len(one.search(as_of=position))) == (4, 3)
        assert len(one.list_datasets(SESSIONS[1])) == 2
        assert len(one.list_datasets(SESSIONS[1], as_of="before")) == 1
        with pytest.raises(ALFObjectNotFound):
            one.load_dataset(SESSIONS[1], "_ibl_trials.new.npy", as_of="before")
        with pytest.raises(ValueError, match="third"):
            one.get_details("third/2022-01-01/001", as_of=position)
        assert one.load_object(SESSIONS[1], "trials", as_of=position).keys() == {"choice"}
        past = one.at(position)
        for change in (past.save_cache, lambda: past.set_qc("x", 0)):
            with pytest.raises(UsageError, match="the past"):
                change()

    def test_several_tags_at_once(self, one):
        one.tag("all")
        shutil.rmtree(Path(one.cache_dir, SESSIONS[0]))
        one.records.register()
        one.tag("less")
        assert one.tags().keys() == {"all", "less"}
        assert len(one.search(dataset="spikes", as_of="all")) == 1
        assert len(one.search(dataset="spikes", as_of=["all", "less"])) == 0
        assert len(one.search(dataset="spikes", as_of=["less", "all"])) == 1
        one.records.untag("all")
        with pytest.raises(UsageError, match="'all' is not a point in time"):
            one.search(as_of="all")
        with pytest.raises(NotFoundError, match="there is no tag 'all'"):
            one.records.untag("all")
        with pytest.raises(UsageError, match="not a name for a tag"):
            one.tag("12")

    def test_a_folder_that_is_not_registered(self, tree):
        make_parquet_db(tree, hash_ids=False)
        with pytest.raises(NotFoundError, match="framelode one setup"):
            One(tree).search(as_of=1)


class TestTables:
    def test_opening_reads_only(self, tree):
        with pytest.warns(UserWarning, match="no tables were found"):
            opened = One(tree)
        assert opened.search() == []
        assert not (tree / ".framelode").exists()

    def test_newer_tables_have_no_session_path(self, one, tmp_path):
        for name in ("sessions", "datasets"):
            table, raw = load_table(Path(one.cache_dir, f"{name}.pqt"))
            save_table(tmp_path / f"{name}.pqt", table.drop(columns="session_path", errors="ignore"), raw)
        newer = One(one.cache_dir, tables_dir=tmp_path)
        assert newer.load_object(FIRST, "wheel").keys() == {"position", "velocity"}

    def test_large_tables_are_read_alike(self, one, tmp_path, monkeypatch):
        table, raw = load_table(Path(one.cache_dir, "datasets.pqt"))
        for name, rows in {
            "sorted": table,
            "shuffled": table.iloc[::-1],
            "twice": pd.concat([table, table]),
        }.items():
            save_table(tmp_path / name, rows.assign(hash=None), raw)
            small = load_table(tmp_path / name)[0]
            monkeypatch.setattr("framelode.adapters.one.alf.cache._LARGE", 0)
            pd.testing.assert_frame_equal(load_table(tmp_path / name)[0], small)
            monkeypatch.undo()

    def test_tables_stay_while_they_are_read_again(self, one, monkeypatch):
        def load(file):
            assert {"sessions", "datasets"} <= one._cache.keys()
            one._save_cache(force=True)
            return load_table(file)

        monkeypatch.setattr("framelode.adapters.one.api.load_table", load)
        one.load_cache()
        assert len(one.list_datasets()) == 9

    def test_saving_replaces_whole_files(self, one, tmp_path):
        one._save_cache(save_dir=tmp_path)
        assert not list(tmp_path.glob("*.pqt"))
        one._save_cache(save_dir=tmp_path, force=True)
        assert len(One(tmp_path).search()) == 3
        lock = Path(one.cache_dir, ".cache.lock")
        lock.touch()
        os.utime(lock, (0, 0))
        one._save_cache(save_dir=tmp_path, force=True)
        assert not lock.exists()

    def test_refresh(self, one):
        one._cache["datasets"] = one._cache["datasets"].iloc[:0]
        for mode in ("auto", "local", "remote"):
            one.refresh_cache(mode)
            assert one.list_datasets() == []
        one.refresh_cache("refresh")
        assert len(one.list_datasets()) == 9
        with pytest.raises(ValueError, match="unknown refresh mode 'x'"):
            one.refresh_cache("x")

    def test_foreign_tables_are_left_out(self, one, caplog):
        pd.DataFrame({"x": [1]}).to_parquet(Path(one.cache_dir, "other.pqt"))
        one.load_cache()
        assert "other.pqt is left out" in caplog.text
        table, raw = load_table(Path(one.cache_dir, "datasets.pqt"))
        save_table(Path(one.cache_dir, "datasets.pqt"), table.reset_index(drop=True), raw)
        with pytest.raises(KeyError, match="Failed to set index"):
            one.load_cache()

    def test_setup_asks_before_it_registers_again(self, tree, monkeypatch):
        One.setup(tree, silent=True).records.close()
        np.save(tree / SESSIONS[2] / "y.z.npy", np.zeros(1))
        assert len(One.setup(tree, silent=True).list_datasets()) == 9
        monkeypatch.setattr("builtins.input", lambda _: "y")
        assert len(One.setup(tree).list_datasets()) == 10
        with pytest.raises(AssertionError, match="there is no folder"):
            One.setup(tree / "none", silent=True)
        with pytest.raises(AssertionError, match="the lab is 'x'"):
            make_parquet_db(tree, lab="x")

    def test_missing_datasets_are_deleted(self, one):
        extra = Path(one.cache_dir, SESSIONS[2], "y.z.npy")
        extra.touch()
        assert remove_missing_datasets(one.cache_dir) == [extra]
        assert extra.exists()
        remove_missing_datasets(one.cache_dir, dry=False)
        assert not extra.exists()


def test_processes_share_a_folder(records):
    records.close()
    workers = [Program("one_worker", records.root, qc) for qc in ("PASS", "WARNING")]
    assert [worker.communicate()[0] for worker in workers] == ["done\n", "done\n"]
    assert set(records.tables()["datasets"]["qc"]) <= {"NOT_SET", "PASS", "WARNING"}
    assert not list(records.root.glob(".*.pqt.*"))


def test_errors_are_conflicts():
    assert issubclass(ALFMultipleObjectsFound, ConflictError)
