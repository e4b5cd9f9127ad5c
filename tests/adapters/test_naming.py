"""What is said about datasets and versions: names, projects, descriptions, tags and their filter, mask labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelode import ConflictError, DatasetVersion, InvalidValueError, NotFoundError
from framelode.adapters.hyperdatasets.tags import TagFilter


@pytest.fixture
def dataset(engine):
    return DatasetVersion.create_new_dataset("food", tags=["a"])


class TestDatasets:
    def test_rename_frees_the_old_name(self, engine, dataset):
        dataset.rename("meals")
        assert (dataset.name, engine.dataset("meals")) == ("meals", dataset)
        with pytest.raises(NotFoundError):
            engine.dataset("food")
        other = DatasetVersion.create_new_dataset("food", raise_if_exists=True)
        assert other != dataset
        with pytest.raises(ConflictError, match="dataset 'food' exists already in project 'default'"):
            dataset.rename("food")
        other.rename("dishes")
        dataset.rename("food")
        assert engine.dataset("food") == dataset

    def test_move(self, dataset):
        DatasetVersion.create_new_dataset("food", dataset_project="taken")
        dataset.move("lab")
        assert (dataset.project, dataset.name) == ("lab", "food")
        with pytest.raises(ConflictError, match="in project 'taken'"):
            dataset.move("taken")
        assert DatasetVersion.get_current(dataset_name="food", dataset_project="lab").dataset_id == dataset.id

    def test_describe_and_tag(self, dataset, engine):
        dataset.describe("what people eat")
        dataset.set_tags(["b", "c", "b"])
        assert (dataset.description, dataset.tags) == ("what people eat", ["b", "c"])
        head = engine.log.head().position
        dataset.describe("what people eat")
        dataset.set_tags(["b", "c"])
        dataset.rename("food")
        assert engine.log.head().position == head  # what changes nothing leaves no event
        dataset.describe("")
        assert dataset.description == ""

    @pytest.mark.parametrize("value", ["", 7, None, "\udc00"])
    def test_bad_values(self, dataset, value):
        for call in (dataset.rename, dataset.move, lambda bad: dataset.set_tags([bad])):
            if value is not None or call.__name__ == "<lambda>":
                with pytest.raises(InvalidValueError):
                    call(value)


class TestVersions:
    def test_names_tags_and_descriptions_of_published_versions_may_change(self, dataset, engine):
        version = DatasetVersion.get_current(dataset_name="food")
        version.publish_version()
        fingerprint = version.fingerprint
        version.rename("v1")
        version.describe("the first")
        version.set_tags(["prod"])
        assert (version.version_name, version.comment, version.tags) == ("v1", "the first", ["prod"])
        assert version.fingerprint == fingerprint
        topics = [
            topic for header in engine.log.headers(stream_id=version.version_id) for topic in header.topics
        ]
        assert topics[-3:] == ["VersionRenamed", "VersionDescribed", "VersionTagged"]

    def test_removed_ones_are_not_found(self, dataset):
        version = DatasetVersion.create_version("v", dataset_name="food")
        DatasetVersion.remove_version(version_id=version.version_id)
        with pytest.raises(NotFoundError):
            version.rename("w")

    @pytest.mark.parametrize("name", [None, "", " ", 5, b"x", "\ud800"])
    def test_bad_names(self, dataset, name):
        for change in (dataset.rename, dataset.move):
            with pytest.raises(InvalidValueError, match="dataset (name|project)"):
                change(name)
        assert (dataset.name, dataset.project) == ("food", "default")


class TestMasks:
    def test_stored_in_the_metadata(self, dataset):
        version = DatasetVersion.get_current(dataset_name="food")
        assert version.get_masks_labels() == {}
        version.set_metadata({"a": 1})
        assert version.set_masks_labels({(0, 0, 0): ["background"], (1, 1, 1): ("person", "sitting")}) is True
        assert version.get_masks_labels() == {(0, 0, 0): ("background",), (1, 1, 1): ("person", "sitting")}
        assert version.get_metadata() == {
            "a": 1,
            "mask_labels": {
                "_all_": [
                    {"value": [0, 0, 0], "labels": ["background"]},
                    {"value": [1, 1, 1], "labels": ["person", "sitting"]},
                ]
            },
        }
        child = version.create_snapshot()
        assert child.get_masks_labels() == version.get_masks_labels()
        assert version.set_masks_labels({}) is False

    def test_numbers_and_labels_may_be_numpy_s(self, dataset):
        version = DatasetVersion.get_current(dataset_name="food")
        version.set_masks_labels({tuple(np.array([1, 2, 255], np.uint8)): np.array(["a", "b"])})
        assert version.get_masks_labels() == {(1, 2, 255): ("a", "b")}

    @pytest.mark.parametrize(
        "mapping",
        [
            [],
            {"red": ["a"]},
            {(0, 300): ["a"]},
            {(): ["a"]},
            {(1.5,): ["a"]},
            {(True,): ["a"]},
            {(1,): None},
            {(1,): "a"},
            {(1,): [2]},
        ],
    )
    def test_bad_mappings(self, dataset, mapping):
        with pytest.raises(ValueError, match="mask"):
            DatasetVersion.get_current(dataset_name="food").set_masks_labels(mapping)


class TestTagFilter:
    LONG = ("__$all", "a", "b", "c", "__$or", "d", "__$not", "e", "__$and", "__$or", "f", "g")

    @pytest.mark.parametrize(
        ("filters", "tags", "fits"),
        [
            ([], [], True),
            (["best", "-debug"], ["best"], True),
            (["best", "-debug"], ["best", "debug"], False),
            (["best", "-debug"], ["other"], False),
            (["-debug"], [], True),
            (["-debug"], ["debug"], False),
            (["x", "y"], ["y"], True),
            (["__$all", "best", "experiment", "ever"], ["best", "experiment"], False),
            (["__$all", "best", "experiment", "ever"], ["ever", "best", "experiment"], True),
            (["__$all", "best", "__$not", "internal", "__$not", "test"], ["best"], True),
            (["__$all", "best", "__$not", "internal", "__$not", "test"], ["best", "test"], False),
            (["x", "__$all", "a", "b"], ["x"], True),
            (["x", "__$all", "a", "b"], ["a", "b"], True),
            (["x", "__$all", "a", "b"], ["a"], False),
            (["__$any", "a", "__$all", "b", "c"], ["b", "c"], True),
            (["__$not", "a", "b"], ["b"], True),
            (["__$not", "a", "b"], ["a", "b"], False),
            (LONG, ["a", "b", "c", "d", "f"], True),
            (LONG, ["a", "b", "c", "g"], True),
            (LONG, ["a", "b", "c", "e", "g"], False),
            (LONG, ["a", "b", "c", "d"], False),
            (LONG, ["a", "b", "d", "f"], False),
        ],
    )
    def test_examples(self, filters, tags, fits):
        assert TagFilter(list(filters))(tags) is fits

    @pytest.mark.parametrize(
        "filters",
        [
            ["__$not"],
            ["a", "__$not", "__$or", "b"],
            ["-"],
            [7],
            ["__$xor", "a"],
            "a",
            [""],
            ["__$not", "__$not", "a"],
        ],
    )
    def test_what_is_malformed(self, filters):
        with pytest.raises(ValueError):
            TagFilter(filters)

    @given(
        st.lists(st.sampled_from("abcd")),
        st.lists(st.sampled_from("abcd")),
        st.lists(st.sampled_from("abcd")),
    )
    def test_without_operators(self, included, excluded, tags):
        filters = included + [f"-{tag}" for tag in excluded]
        expected = (not included or bool(set(included) & set(tags))) and not set(excluded) & set(tags)
        assert TagFilter(filters)(tags) is expected

    def test_get_datasets_oldest_first(self, engine):
        for name, tags in (("one", ["a"]), ("two", ["b"]), ("three", ["a", "b"])):
            DatasetVersion.create_new_dataset(name, tags=tags)
        assert [dataset.name for dataset in DatasetVersion.get_datasets()] == ["one", "two", "three"]
        assert [dataset.name for dataset in DatasetVersion.get_datasets(["a"])] == ["one", "three"]
        assert [dataset.name for dataset in DatasetVersion.get_datasets(["__$all", "a", "b"])] == ["three"]
