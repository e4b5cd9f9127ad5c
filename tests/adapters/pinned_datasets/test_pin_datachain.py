"""Datasets of a DataChain catalog: of the real package if it is installed, else of a stand-in with its signatures.

DataChain is no test dependency, because it installs clients of several language models.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from plain_web import web

from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.engine.errors import NotFoundError

VERSIONS = ("1.0.0", "1.0.1", "2.0.0", "2.1.0")
TIME = "2026-01-02T00:00:00+00:00"
REMOTE = ("team", "project", "dogs")
QUERY = "api/datachain/datasets/info?namespace=team&project=project&name=dogs&team_name=team"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the imports of the real package


class DatasetNotFoundError(Exception):
    pass


class Record:
    latest_version = VERSIONS[-1]

    def get_version(self, version: str):
        if version not in VERSIONS:
            raise DatasetNotFoundError(f"does not have version {version}")
        return SimpleNamespace(version=version, created_at=datetime.fromisoformat(TIME))

    def latest_major_version(self, major: int):
        return max((version for version in VERSIONS if version.startswith(f"{major}.")), default=None)


class Catalog:
    """What DataChain 0.62 has, as far as it is called."""

    def get_full_dataset_name(self, name, project_name=None, namespace_name=None):
        return tuple(["local", "local", *name.split(".")][-3:])

    def get_dataset_with_remote_fallback(
        self, name, namespace_name, project_name, version=None, pull_dataset=False, update=False,
        include_incomplete=True,
    ):  # fmt: skip
        if namespace_name != "local" and update:
            return self.get_remote_dataset(namespace_name, project_name, name)
        if (namespace_name, project_name, name) != ("local", "local", "cats") or include_incomplete:
            raise DatasetNotFoundError(f"Dataset {name} not found")
        return Record()

    def get_remote_dataset(self, namespace: str, project: str, name: str):
        if (namespace, project, name) != REMOTE:
            raise DatasetNotFoundError(f"Dataset {name} not found")
        return Record()


def answer():
    """Return what the server says about a dataset."""
    parts = {"id": 1, "uuid": "u", "descr": None, "created_at": TIME}
    project = {**parts, "name": "project", "namespace": {**parts, "name": "team"}}
    version = {
        "id": 1, "uuid": "u", "dataset_id": 1, "status": 4, "feature_schema": {}, "schema": {}, "created_at": TIME,
        "finished_at": None, "error_message": "", "error_stack": "", "script_output": "", "num_objects": 1, "size": 1,
        "preview": [], "_preview_loaded": True,
    }  # fmt: skip
    versions = [version | {"version": each} for each in VERSIONS]
    record = {"id": 1, "name": "dogs", "description": None, "attrs": [], "schema": {}, "feature_schema": {}}
    return record | {"project": project, "versions": versions, "_versions_loaded": True, "finished_at": None}


def stand_in(monkeypatch, catalog=Catalog):
    module = SimpleNamespace(get_catalog=catalog)
    monkeypatch.setitem(sys.modules, "datachain", SimpleNamespace(catalog=module))
    monkeypatch.setitem(sys.modules, "datachain.catalog", module)


def real(monkeypatch, folder):
    """Create a dataset in a catalog, with a last version that was not finished."""
    monkeypatch.setenv("DATACHAIN_ROOT_DIR", str(folder))
    import datachain
    from datachain.catalog import get_catalog
    from sqlalchemy import Column

    for version in VERSIONS:
        datachain.read_values(number=[1]).save("cats", version=version)
    number = Column("number", datachain.sql.types.Int64())
    get_catalog().create_dataset("cats", version="3.0.0", columns=[number])


@pytest.fixture(scope="module", params=["stand-in", "real"])
def _catalog(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param == "stand-in":
            stand_in(monkeypatch)
            yield
            return
        if importlib.util.find_spec("datachain") is None:
            pytest.skip("DataChain is not installed")
        real(monkeypatch, tmp_path_factory.mktemp("catalog"))
        with web(**{QUERY: (json.dumps(answer()).encode(), None)}) as (url, _):
            for name, value in {"URL": url, "TOKEN": "token", "TEAM": "team"}.items():
                monkeypatch.setenv(f"DATACHAIN_STUDIO_{name}", value)
            yield


@pytest.fixture
def datasets(_catalog, tmp_path):
    (tmp_path / "project").mkdir()
    with Datasets(tmp_path / "project") as made:
        yield made


def test_versions_of_a_local_dataset(datasets):
    assert datasets.add("d", "dc://cats", "dc").lock.version == "2.1.0"
    assert "  version: 2.1.0\n" in Path(datasets.root_dir, "dvc.lock").read_text()
    assert datasets.update("d", version="1.0.1")[1].lock.version == "1.0.1"
    assert datasets["d"].lock.version == "1.0.1"
    assert datasets["d"].lock.created_at.tzinfo is not None
    assert datasets.status() == {"d": "stale"}
    assert datasets.update("d", version=1)[1].lock.version == "1.0.1"
    assert datasets.update("d")[1].lock.version == "2.1.0"
    pinned = datasets.add("e", "dc://local.cats@1.0.0", "dc")
    assert (pinned.pinned, pinned.lock.version) == (True, "1.0.0")
    assert datasets.add("f", "local.local.cats@v2.0.0", "dc").lock.version == "2.0.0"
    assert datasets.status() == {"d": "ok", "e": "ok", "f": "ok"}
    assert datasets.at(datasets.history()[0].position)["d"].lock.version == "2.1.0"


def test_versions_of_a_dataset_of_a_server(datasets):
    assert datasets.add("d", "dc://team.project.dogs", "dc").lock.version == "2.1.0"
    assert datasets.add("e", "team.project.dogs@v1", "dc").lock.version == "1.0.1"
    assert datasets.status() == {"d": "ok", "e": "ok"}
    with pytest.raises(NotFoundError, match="the catalog has no dataset 'team.project.none'"):
        datasets.add("f", "team.project.none", "dc")


def test_there_is_no_such_version(datasets):
    for url, version in (("cats", 3), ("cats", "1.0.2"), ("cats@v3.0.0", None), ("none", None)):
        with pytest.raises(NotFoundError, match=f"the catalog has no dataset '{url.partition('@')[0]}'"):
            datasets.add("d", url, "dc", version=version)


def test_an_old_release_has_integers_and_names_of_one_part(monkeypatch, tmp_path):
    made = datetime.fromisoformat(TIME)
    record = SimpleNamespace(
        latest_version=2, get_version=lambda version: SimpleNamespace(version=version, created_at=made)
    )
    stand_in(monkeypatch, lambda: SimpleNamespace(get_remote_dataset={"cats": record}.__getitem__))
    with Datasets(tmp_path) as old:
        assert old.add("d", "dc://cats", "dc").lock.version == 2
        assert old.update("d", version=1)[1].lock.version == 1
        assert old.status() == {"d": "stale"}
