"""`Dataset`: its methods do what the class methods of `DatasetVersion` do, for one dataset."""

from __future__ import annotations

import pytest

import framelode
from framelode import (
    ConflictError,
    Dataset,
    DatasetVersion,
    InvalidValueError,
    NotFoundError,
    PublishedError,
    SingleFrame,
    UsageError,
)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        yield engine


@pytest.fixture
def dataset(engine):
    return Dataset.create("food", description="meals", tags=["a"])


class TestLookUps:
    def test_create_and_get(self, dataset):
        assert (dataset.name, dataset.description, dataset.tags) == ("food", "meals", ["a"])
        assert Dataset.get(dataset_id=dataset.id) == Dataset.get(dataset_name="food") == dataset
        assert Dataset.create("food") == dataset
        with pytest.raises(ValueError, match="'food' exists already"):
            Dataset.create("food", raise_if_exists=True)
        with pytest.raises(UsageError, match="dataset_id or dataset_name"):
            Dataset.get()
        with pytest.raises(ValueError, match="did you mean 'food'"):
            Dataset.get(dataset_name="fod")

    def test_projects(self, dataset):
        other = Dataset.create("food", dataset_project="lab")
        assert Dataset.get(dataset_name="food", dataset_project="lab") == other
        with pytest.raises(ConflictError, match="'default', 'lab'"):
            Dataset.get(dataset_name="food")

    def test_as_of(self, engine, dataset):
        before = engine.log.head().position
        dataset.rename("meals")
        assert Dataset.get(dataset_name="food", as_of=before).name == "food"

    def test_tags(self, dataset):
        dataset.add_tags(["b", "a"])
        assert dataset.tags == ["a", "b"]
        dataset.remove_tags(["a", "z"])
        assert dataset.tags == ["b"]


class TestVersions:
    def test_create_and_get(self, dataset):
        draft = dataset.create_version("v1", description="first")
        assert (draft.dataset_id, draft.comment) == (dataset.id, "first")
        assert dataset.get_version(version_name="v1") == dataset.get_version(draft.version_id) == draft
        draft.publish_version()
        child = dataset.create_version("v2", parent_version_names=["v1"])
        assert child.get_parent() == draft.version_id
        assert dataset.get_version() == child
        assert dataset.get_versions(only_published=True) == [draft]
        assert {version.version_name for version in dataset.get_versions(only_draft=True)} == {
            "v2",
            "Current",
        }
        with pytest.raises(ConflictError, match="named 'v1' already, published"):
            dataset.create_version("v1")

    def test_uploads(self, dataset, tmp_path):
        (tmp_path / "a.txt").write_text("a")
        draft = dataset.create_version(
            "v", auto_upload_destination="blobs:", local_dataset_root_path=tmp_path
        )
        draft.add_frames([SingleFrame(source=tmp_path / "a.txt")])
        assert [frame.source[:6] for frame in draft] == ["blobs:"]

    def test_delete(self, dataset):
        dataset.create_version("v1").publish_version()
        dataset.delete_version(version_name="Current")
        with pytest.raises(PublishedError, match="force=True"):
            dataset.delete_version(version_name="v1")
        dataset.delete_version(version_name="v1", force=True)
        assert dataset.versions() == []

    def test_the_dataset_uses_its_own_engine(self, dataset, tmp_path):
        with framelode.connect(tmp_path / "other") as other:
            dataset.create_version("v1")
            assert DatasetVersion.get_datasets() == []
            assert framelode.current_engine().session is other.session
        assert dataset.get_version(version_name="v1").version_name == "v1"

    def test_a_version_of_another_dataset(self, dataset):
        other = Dataset.create("drinks").get_version()
        with pytest.raises(NotFoundError, match="belongs to dataset 'drinks'"):
            dataset.get_version(version_id=other.version_id)


class TestDelete:
    def test_what_it_asks_for(self, engine, dataset):
        dataset.get_version().publish_version()
        head = engine.log.head().position
        with pytest.raises(ConflictError, match="has 1 version: pass delete_all_versions=True"):
            Dataset.delete(dataset_name="food")
        with pytest.raises(PublishedError, match="published versions: 'Current'; pass force=True"):
            Dataset.delete(dataset_name="food", delete_all_versions=True)
        with pytest.raises(NotFoundError):
            Dataset.delete(dataset_name="drinks")
        assert engine.log.head().position == head

    def test_sources_that_cannot_be_deleted(self, engine, dataset, tmp_path):
        draft = dataset.get_version()
        draft.add_frames([SingleFrame(id="1", source=tmp_path / "1.jpg")])
        head = engine.log.head().position
        with pytest.raises(UsageError, match="1.jpg cannot be deleted: its scheme must be"):
            Dataset.delete(dataset.id, delete_all_versions=True, delete_sources=True)
        with pytest.raises(InvalidValueError, match="show_progress must be True or False"):
            Dataset.delete(dataset.id, delete_all_versions=True, show_progress="yes")
        assert engine.log.head().position == head
        assert len(draft) == 1

    def test_its_progress(self, dataset):
        empty = Dataset.delete(dataset.id, delete_all_versions=True, delete_sources=True, show_progress=True)
        assert repr(empty) == "SourceDeletion(deleted=0, kept=0, failures=0)"

    def test_a_tree_goes_at_once_and_the_past_stays(self, engine, dataset):
        draft = dataset.get_version()
        draft.add_frames([SingleFrame(id="1", source="s3://b/1.jpg")])
        child = draft.create_snapshot(publish_name="v1")
        before = engine.log.head().position
        Dataset.delete(dataset_id=dataset.id, delete_all_versions=True, force=True)
        assert DatasetVersion.get_datasets() == []
        for read in (dataset.versions, lambda: dataset.tags, lambda: dataset.rename("meals")):
            with pytest.raises(NotFoundError):
                read()
        with pytest.raises(NotFoundError):
            DatasetVersion.create_version("v2", dataset_id=dataset.id)
        past = Dataset.get(dataset_name="food", as_of=before)
        assert past.tags == ["a"]
        assert {version.version_id for version in past.versions()} == {draft.version_id, child.version_id}
        assert [frame.id for frame in past.get_version(version_name="v1")] == ["1"]
        engine.verify()

    def test_created_again(self, engine, dataset):
        Dataset.delete(dataset_name="food", delete_all_versions=True)
        with pytest.raises(NotFoundError):
            Dataset.delete(dataset_name="food")
        again = Dataset.create("food", description="new", tags=["b"], raise_if_exists=True)
        assert again.id != dataset.id
        assert (again.description, again.tags) == ("new", ["b"])
        assert [version.version_name for version in again.versions()] == ["Current"]
        assert len(again.get_version()) == 0
        kinds = [(change.subject, change.kind) for change in engine.history() if change.subject == "dataset"]
        assert kinds == [("dataset", "created"), ("dataset", "removed"), ("dataset", "created")]
        engine.verify()
