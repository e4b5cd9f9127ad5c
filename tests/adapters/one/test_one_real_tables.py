"""`One` on two old tables of the International Brain Laboratory, with the counts that ONE-api 2.9 gives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from framelode.adapters.one.alf.cache import load_table
from framelode.adapters.one.api import DatasetMismatchWarning, One
from framelode.adapters.one.recording import FolderRecords, indexed
from framelode.adapters.one.util import patch_cache

FIXTURES = Path(os.environ.get("FRAMELODE_TEST_ONE", ""))
EID = "d3372b15-f696-4279-9be5-98f15783b5bb"


@pytest.fixture(scope="module")
def one(ibl):
    return One(ibl, mode="local")


def test_tables(ibl, one):
    table = load_table(ibl / "datasets.pqt")[0]
    assert patch_cache(table, None, "datasets").index[0][1] == "da32e4c9-e2f6-4380-b02a-17f9d2ef2ff4"
    assert (len(one._cache.sessions), len(one._cache.datasets)) == (26, 693)
    assert "projects" in one._cache.sessions
    assert set(one._cache.datasets["qc"]) == {"NOT_SET"}


@pytest.mark.parametrize(
    ("terms", "number"),
    [
        ({}, 26),
        ({"subject": "ZM_335"}, 2),
        ({"sub": "KS005"}, 10),
        ({"laboratory": ["mainen", "cortexlab"]}, 25),
        ({"date": "2019-06-07"}, 1),
        ({"date": ["2019-04-01", "2019-04-10"]}, 9),
        ({"date": ["2021-01-01", None]}, 1),
        ({"number": 2}, 3),
        ({"number": [1, 2]}, 24),
        ({"projects": "ibl"}, 25),
        ({"task": "training"}, 19),
        ({"dataset": "wheel.position"}, 22),
        ({"dataset": ["wheel.position", "spikes"]}, 3),
        ({"dataset_qc_lte": "PASS"}, 23),
        ({"subject": "^KS"}, 10),
    ],
)
def test_search(one, terms, number):
    assert len(one.search(**terms)) == number


def test_lists(one):
    assert len(one.list_datasets(EID)) == 106
    assert len(one.list_datasets(EID, collection="*probe*")) == 43
    assert len(one.list_datasets(EID, {"object": ["wheel", "trial?"]})) == 17
    assert len(one.list_datasets()) == 153
    assert (len(one.list_collections()), len(one.list_collections(EID))) == (9, 7)
    assert one.list_revisions() == [""]
    assert len(one.list_subjects()) == 8
    assert len(one.get_details(EID, full=True)) == 106
    assert one.eid2ref(EID, as_dict=False) == "2021-02-05_1_ZFM-01935"
    assert one.to_eid("2021-02-05_1_ZFM-01935") == one.path2eid(one.eid2path(EID)) == EID
    for name, number in {"trials": 15, "wheel": 2}.items():
        with pytest.warns(DatasetMismatchWarning, match="it has 0 bytes"):
            assert len(one.load_object(EID, name, collection="alf", download_only=True)) == number


def test_a_registered_folder_keeps_its_ids(ibl, tmp_path):
    root = tmp_path / "twin"
    shutil.copytree(ibl, root)
    before = indexed(patch_cache(load_table(root / "datasets.pqt")[0], None, "datasets"))
    with FolderRecords(root) as records:
        assert (records.register().sessions, records.register().recorded) == (26, {})
        records.export()
    one = One(root, mode="local")
    after = one._cache.datasets
    assert (len(one._cache.sessions), len(after)) == (26, 693)
    assert len(set(before.index) - set(after.index)) <= 1
    ids = after.index.get_level_values("id")
    assert ids.is_unique
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len({one.load_dataset_from_id(did, download_only=True) for did in ids}) == 693


def test_contents(ibl, tmp_path):
    done = subprocess.run(
        [sys.executable, FIXTURES / "make_tree.py", FIXTURES, tmp_path, "--content"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with FolderRecords(tmp_path) as records:
        records.register(hash_files=True)
        records.export()
    one = One(tmp_path, mode="local")
    for name, collection, number in (
        ("trials", "alf", 15),
        ("wheel", "alf", 2),
        ("spikes", "alf/probe00", 6),
        ("clusters", "alf/probe00", 8),
    ):
        assert len(one.load_object(EID, name, collection=collection)) == number
    ids = one._cache.datasets.index.get_level_values("id")
    assert sum(one.load_dataset_from_id(did) is not None for did in ids) == 693
