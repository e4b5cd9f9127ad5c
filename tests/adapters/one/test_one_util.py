"""Filters, ranges of dates, search terms and records of the ONE API."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from framelode.adapters.one import util
from framelode.adapters.one.alf.exceptions import (
    ALFError,
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFMultipleRevisionsFound,
)
from framelode.adapters.one.converters import (
    ConversionMixin,
    one_path_from_dataset,
    path_from_dataset,
    session_record2path,
)

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(10)]


def table(*paths, **columns):
    rows = pd.DataFrame(
        {"rel_path": paths, "qc": "NOT_SET", "exists": True}, index=pd.Index(IDS[: len(paths)], name="id")
    )
    return rows.assign(**columns).astype({"qc": util.QC_TYPE})


def listed(datasets, *args, **kwargs):
    kwargs = {"assert_unique": False, "wildcards": True, **kwargs}
    return list(util.filter_datasets(datasets, *args, **kwargs)["rel_path"])


class TestFilter:
    paths = ("a/_ibl_b.c.npy", "b.c.npy", "a/b.c_bpod.npy", "a/sub/x.y.npy", "a/_ns_b.c.ex.tra.npy")

    @pytest.mark.parametrize(
        ("given", "places"),
        [
            (("b.c.npy",), (1,)),
            (("*b.c*",), (0, 1, 2, 4)),
            (("b.c*", "a"), (2,)),
            (("a/b.c*",), (2,)),
            ((["x.*", "b.c.npy"],), (1, 3)),
            ((None, "a"), (0, 2, 4)),
            ((None, "a*"), (0, 2, 3, 4)),
            ((None, ""), (1,)),
            ((None, ["a/sub", "none"]), (3,)),
            (({"namespace": "ibl"},), (0,)),
            (({"object": "b", "timescale": "bpod"},), (2,)),
            (({"object": ["b", "x"], "extra": None},), (0, 1, 2, 3, 4)),
            (({"extra": ["tra", "ex"]},), (4,)),
            (({"object": "x", "collection": "a/*"},), (3,)),
        ],
    )
    def test_names_and_collections(self, given, places):
        assert listed(table(*self.paths), *given) == [self.paths[place] for place in places]

    def test_regular_expressions(self):
        assert listed(table(*self.paths), r"_ibl_.*\.npy", wildcards=False) == ["a/_ibl_b.c.npy"]
        with pytest.raises(ValueError, match="is not a regular expression: .*wildcards are off"):
            listed(table(*self.paths), "*b", wildcards=False)
        with pytest.raises(KeyError, match="unknown part 'foo'"):
            listed(table(*self.paths), {"foo": "x"})

    def test_many_rows_are_filtered_alike(self):
        many = pd.concat([table(*self.paths)] * 2000)
        assert len(listed(many, "*b.c*", "a*", revision_last_before=False)) == 3 * 2000

    def test_qc(self):
        rows = table(
            "a.a.npy",
            "a.b.npy",
            "a.c.npy",
            "a.d.npy",
            "a.e.npy",
            qc=["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"],
        )
        assert len(listed(rows)) == 4
        assert len(listed(rows, qc="PASS")) == 2
        assert len(listed(rows, qc=30, ignore_qc_not_set=True)) == 2

    def test_unique(self):
        with pytest.raises(ALFMultipleCollectionsFound, match='"", "a", "a/sub"'):
            util.filter_datasets(table(*self.paths))
        with pytest.raises(ALFMultipleObjectsFound, match=r"a/_ibl_b\.c\.npy"):
            util.filter_datasets(table(*self.paths), "*b.c*", "a", wildcards=True)
        assert set(listed(table(*self.paths), None, "a", assert_unique=True)) <= set(self.paths)


class TestRevisions:
    paths = ("x.y.npy", "#2020-01-08#/x.y.npy", "#2021-07-06#/x.y.npy")

    @pytest.mark.parametrize(
        ("revision", "place"),
        [(None, 2), ("2020-01-08", 1), ("2020-02-01", 1), ("2019-01-01", 0), ("2022-01-01", 2), ("", 0)],
    )
    def test_the_last_before(self, revision, place):
        assert listed(table(*self.paths), revision=revision) == [self.paths[place]]

    def test_none_is_early_enough(self):
        assert listed(table(*self.paths[1:]), revision="2019-01-01") == []

    def test_the_default_wins(self):
        marked = table(*self.paths, default_revision=[False, True, False])
        assert listed(marked) == [self.paths[1]]
        assert listed(marked, revision="2022-01-01") == [self.paths[2]]

    def test_none_or_several_are_marked(self, caplog):
        unmarked = table(*self.paths, default_revision=False)
        assert listed(unmarked) == [self.paths[2]]
        assert "no revision of x.y.npy is marked" in caplog.text
        with pytest.raises(ALFError, match="none is marked as the default"):
            util.filter_revision_last_before(unmarked)
        with pytest.raises(ALFMultipleRevisionsFound, match="2020-01-08"):
            util.filter_revision_last_before(table(*self.paths, default_revision=True))
        with pytest.raises(ALFMultipleRevisionsFound):
            util.filter_revision_last_before(table(*self.paths), "2020-01-08")

    def test_as_a_pattern(self):
        assert listed(table(*self.paths), revision="202?-0[17]*", revision_last_before=False) == list(
            self.paths[1:]
        )
        assert listed(table(*self.paths), revision="", revision_last_before=False) == [self.paths[0]]
        with pytest.raises(ALFMultipleRevisionsFound):
            util.filter_datasets(table(*self.paths), revision="202.*", revision_last_before=False)


def test_ranges_of_dates():
    day = (pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01 23:59:59.999"))
    for given in (
        "2020-01-01",
        dt.date(2020, 1, 1),
        pd.Timestamp(2020, 1, 1),
        np.datetime64("2020-01-01"),
    ):
        assert util.validate_date_range(given) == day
    assert util.validate_date_range(["2020-01-01", None]) == (day[0], pd.Timestamp.max)
    assert util.validate_date_range([None, "2020-01-01"]) == (pd.Timestamp.min, day[0])
    for wrong in ("tomorrowish", ["2020-01-01"] * 3, []):
        with pytest.raises(ValueError, match=r"is not a date|first and a last"):
            util.validate_date_range(wrong)


def test_search_terms():
    terms = ("dataset", "date_range", "subject", "dataset_qc_lte")
    assert util.autocomplete("Subj", terms) == "subject"
    assert util.autocomplete("dataset", terms) == "dataset"
    with pytest.raises(ValueError, match="'d' is ambiguous: it may be dataset or date_range"):
        util.autocomplete("d", terms)
    with pytest.raises(ValueError, match="'foo' is unknown: use one of dataset,"):
        util.autocomplete("foo", terms)


def test_old_tables_are_patched():
    old = pd.DataFrame(
        {"id_0": [-9204203870374650458], "id_1": [-6411285612086772563], "project": ["p"]}
    ).set_index(["id_0", "id_1"])
    new = util.patch_cache(old, None, "sessions")
    assert list(new.index) == ["a61d0b8a-5819-4480-adbc-fe49b48906a7"]
    assert list(new.columns) == ["projects"]
    assert list(util.patch_cache(table("a.b.c").drop(columns="qc"), "2.6.9", "datasets")["qc"]) == ["NOT_SET"]


def test_lazy_ids_are_taken_when_asked_for():
    ids = util.LazyId([{"id": each} for each in IDS])
    assert (ids[0], ids[1:3], list(ids), len(ids)) == (IDS[0], IDS[1:3], IDS, 10)
    assert util.LazyId([{"url": f"https://host/sessions/{IDS[0]}"}])[0] == IDS[0]


RECORD = {
    "url": f"https://host/datasets/{IDS[1]}",
    "name": "channels.coordinates.npy",
    "session": f"https://host/sessions/{IDS[2]}",
    "file_size": 10,
    "hash": "abc",
    "default_dataset": True,
    "qc": "PASS",
    "file_records": [
        {
            "data_repository": "local",
            "data_repository_path": "/mnt/Data/Subjects/",
            "relative_path": "m/2019-12-11/001/alf/channels.coordinates.npy",
            "data_url": None,
            "exists": True,
        },
        {
            "data_repository": "server",
            "data_repository_path": "/lab/Subjects/",
            "relative_path": "m/2019-12-11/001/alf/channels.coordinates.npy",
            "data_url": f"https://data/lab/Subjects/m/2019-12-11/001/alf/channels.coordinates.{IDS[1]}.npy",
            "exists": True,
        },
    ],
}


def test_records_of_the_server_become_rows():
    (row,) = util.datasets2records(RECORD, additional=("name",)).reset_index().to_dict("records")
    assert row == {
        "eid": IDS[2],
        "id": IDS[1],
        "file_size": 10,
        "hash": "abc",
        "session_path": "lab/Subjects/m/2019-12-11/001",
        "rel_path": "alf/channels.coordinates.npy",
        "default_revision": True,
        "qc": "PASS",
        "exists": True,
        "name": "channels.coordinates.npy",
    }
    gone = RECORD | {"file_records": [each | {"exists": False} for each in RECORD["file_records"]]}
    assert util.datasets2records([gone]).empty
    assert one_path_from_dataset(RECORD, "/one").as_posix() == (
        "/one/lab/Subjects/m/2019-12-11/001/alf/channels.coordinates.npy"
    )
    assert IDS[1] in path_from_dataset(RECORD, repository="local", uuid=True).name
    with pytest.raises(ValueError, match="no file record in the repository 'none'"):
        path_from_dataset(RECORD, repository="none")


def test_references():
    path = "/data/lab/Subjects/m_1/2021-02-05/001/alf"
    ref = ConversionMixin.path2ref(path)
    assert ref == {"subject": "m_1", "date": dt.date(2021, 2, 5), "sequence": 1}
    assert ConversionMixin.dict2ref(ref) == "2021-02-05_1_m_1"
    assert ConversionMixin.path2ref(path, as_dict=False) == "2021-02-05_001_m_1"
    assert ConversionMixin.ref2dict("2021-02-05_1_m_1") == ref
    assert ConversionMixin.path2ref([path, "nowhere"], parse=False)[1] is None
    assert ConversionMixin.is_exp_ref(["2021-02-05_1_m_1", "nothing", ref]) == [True, False, True]
    assert (
        session_record2path(ref | {"number": 1, "lab": "lab"}).as_posix() == "lab/Subjects/m_1/2021-02-05/001"
    )
