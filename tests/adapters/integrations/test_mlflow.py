"""Versions as datasets of MLflow: recorded in real runs, found again, and read back."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import pytest
from late import Late
from patience import PATIENCE

import framelode
from framelode import ConflictError, DatasetVersion, InvalidValueError, SingleFrame, UsageError

mlflow = Late("mlflow")
integration = Late("framelode.adapters.integrations.mlflow")


@pytest.fixture(scope="module", autouse=True)
def raised():
    """What the import of MLflow warns of: it imports modules that are deprecated in others."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        import mlflow.data  # noqa: F401
    return raised


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of a tracking store in files; the fluent API uses the same."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def version(engine):
    DatasetVersion.create_new_dataset("food", dataset_project="kitchen")
    draft = DatasetVersion.get_current(dataset_name="food")
    for number, label in enumerate(["pizza", "pizza", "salad"]):
        frame = SingleFrame(id=str(number), source=f"s3://photos/{number}.jpg")
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
        draft.add_frames([frame])
    draft.add_frames([SingleFrame(id="empty", source="s3://photos/empty.jpg")])
    DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    return DatasetVersion.get_version(dataset_name="food", version_name="v1")


def logged(dataset, client):
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
    (found,) = client.get_run(run.info.run_id).inputs.dataset_inputs
    return found


def test_a_version_is_recorded_with_a_run_and_read_back(version, engine, client):
    found = logged(mlflow.data.from_framelode(version), client)
    assert found.dataset.name == "food"
    assert found.dataset.digest == version.fingerprint[:16]
    assert found.dataset.source_type == "framelode"
    assert json.loads(found.dataset.profile) == {
        "version": "v1",
        "frames": 4,
        "annotated_frames": 3,
        "labels": {"pizza": 2, "salad": 1},
        "labels_in_all": 2,
        "fingerprint": version.fingerprint,
    }
    assert json.loads(found.dataset.source) == {
        "uri": "framelode://kitchen/food@v1",
        "version_id": version.version_id,
        "fingerprint": version.fingerprint,
        "position": engine.log.head().position,
        "log": engine.log.uuid,
        "engine": engine.url,
    }
    source = mlflow.data.get_source(found)
    assert isinstance(source, integration.FramelodeDatasetSource)
    assert [frame.id for frame in source.load()] == ["0", "1", "2", "empty"]


def test_a_draft_is_read_back_as_it_was(version, client):
    draft = DatasetVersion.get_current(dataset_name="food")
    source = mlflow.data.get_source(
        logged(integration.from_framelode(draft, name="pasta", digest="abc"), client)
    )
    before = draft.fingerprint
    draft.delete_frames(["0"])
    draft.rename("later")
    loaded = source.load()
    assert loaded.fingerprint == before != draft.fingerprint
    assert "0" in loaded
    assert loaded.version_name != "later"
    # An engine that shows the past records its own position.
    again = integration.from_framelode(loaded).source
    assert (again.position, again.fingerprint) == (source.position, before)


def test_sources_are_found_by_url(version):
    for raw in ("framelode://kitchen/food@v1", f"framelode://id:{version.version_id[:9]}", version):
        source = mlflow.data.dataset_source_registry.resolve_dataset_source(raw)
        assert source.uri == "framelode://kitchen/food@v1"
        assert source.load() == version.at(source.position)
    assert not integration.FramelodeDatasetSource._can_resolve("framelode://food@v1/0.jpg")
    assert not integration.FramelodeDatasetSource._can_resolve("s3://food@v1")
    assert not integration.FramelodeDatasetSource._can_resolve(7)
    assert integration.FramelodeDatasetSource.from_json(source.to_json()).to_dict() == source.to_dict()
    with pytest.raises(InvalidValueError, match="not the source of a version"):
        integration.FramelodeDatasetSource.from_dict({"uri": "framelode://food@v1"})


def test_a_copy_of_the_engine_serves_and_another_log_does_not(version, engine, tmp_path):
    source = integration.from_framelode(version).source
    engine.copy_to(tmp_path / "copy")
    assert source.load(str(tmp_path / "copy")).fingerprint == version.fingerprint
    with framelode.connect(tmp_path / "other") as other:
        with pytest.raises(ConflictError, match="was recorded from log"):
            source.load(other)
        assert source.load().fingerprint == version.fingerprint  # of the engine that was recorded
        other.close()
    with pytest.raises(UsageError):
        source.load(str(tmp_path / "nothing"))
    source.fingerprint = "0" * 64
    with pytest.raises(ConflictError, match="has fingerprint"):
        source.load(engine)


def test_many_labels_are_cut_off(engine, client):
    DatasetVersion.create_new_dataset("words")
    draft = DatasetVersion.get_current(dataset_name="words")
    frame = SingleFrame(id="a", source="s3://b/a.jpg")
    for number in range(1200):
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[f"label {number:04}"])
    draft.add_frames([frame])
    profile = json.loads(logged(integration.from_framelode(draft), client).dataset.profile)
    assert len(profile["labels"]) == 1000
    assert profile["labels_in_all"] == 1200


def test_mlflow_may_be_imported_first(raised):
    assert not [each for each in raised if "framelode" in str(each.message)]
    assert mlflow.data.from_framelode is integration.from_framelode


@pytest.mark.parametrize(
    "first", [pytest.param("mlflow", marks=pytest.mark.long), "framelode.adapters.integrations.mlflow"]
)
def test_both_orders_of_import_and_none_before_it_is_used(first):
    code = f"""import sys, warnings
import framelode.adapters.integrations.filesystem
assert "mlflow" not in sys.modules
with warnings.catch_warnings(record=True) as raised:
    warnings.simplefilter("always")
    import {first}
    import mlflow.data
assert not [each for each in raised if "framelode" in str(each.message)]
from framelode.adapters.integrations.mlflow import from_framelode
assert mlflow.data.from_framelode is from_framelode"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
